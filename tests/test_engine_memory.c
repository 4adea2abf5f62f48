/* SPDX-License-Identifier: Apache-2.0
 *
 * Nothing allocates while an engine runs. The allocator's functions are
 * replaced by counting ones over glibc's own. Under a sanitizer, to which the
 * allocator belongs, all calls are made and none is counted.
 */
#include <errno.h>
#include <stdatomic.h>

#include "tests/engine_fixture.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 1
#else
#define COUNTS_ALLOCATIONS 0
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#undef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 0
#endif
#endif

static atomic_long n_calls;

#if COUNTS_ALLOCATIONS
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);

void *malloc(size_t size) {
  atomic_fetch_add(&n_calls, 1);
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  atomic_fetch_add(&n_calls, 1);
  return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
  atomic_fetch_add(&n_calls, 1);
  return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  atomic_fetch_add(&n_calls, 1);
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
  atomic_fetch_add(&n_calls, 1);
  *out = __libc_memalign(alignment, size);
  return *out != NULL ? 0 : ENOMEM;
}

void free(void *block) {
  if (block != NULL) atomic_fetch_add(&n_calls, 1);
  __libc_free(block);
}
#endif

/* All calls of the hot path, the first time they are made and later. */
static void run_everything(const struct fixture *f, ex_engine *engine,
                           struct ex_result results[N_SAMPLES]) {
  assert_int_equal(ex_engine_run(engine, f->x[0], results), EX_OK);
  assert_int_equal(ex_engine_run_many(engine, f->x[0], 7, results), EX_OK);
  assert_int_equal(ex_engine_run_many(engine, f->x[0], N_SAMPLES, results), EX_OK);
  assert_int_equal(ex_engine_begin(engine, f->x[0]), EX_OK);
  assert_int_equal(ex_engine_advance(engine, 1, results), EX_OK);
  assert_int_equal(ex_engine_advance_until(engine, INT64_MAX, results), EX_OK);
}

static void running_allocates_nothing(void **state) {
  (void)state;
  struct fixture *f = fixture_new();
  struct ex_result results[N_SAMPLES] = {{0}};
  ex_policy policy = fixture_max_probability(f);
  for (int32_t threads = 1; threads <= 2; threads++)
    for (int32_t untimed = 0; untimed < 2; untimed++) {
      long before_new = atomic_load(&n_calls);
      ex_engine *engine = fixture_engine(f, &policy, threads, untimed);
      assert_true(!COUNTS_ALLOCATIONS || atomic_load(&n_calls) > before_new);
      long before = atomic_load(&n_calls);
      for (int32_t round = 0; round < 3; round++) run_everything(f, engine, results);
      assert_int_equal(atomic_load(&n_calls), before);
      ex_engine_free(engine);
    }
  fixture_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(running_allocates_nothing)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
