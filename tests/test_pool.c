/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <time.h>

#include "base/pool.h"
#include "tests/testing.h"

struct tally {
  int32_t n_workers;
  atomic_int done[1000], bad_worker;
};

static void count(void *context, int64_t task, int32_t worker) {
  struct tally *tally = context;
  atomic_fetch_add(&tally->done[task], 1);
  if (worker < 0 || worker >= tally->n_workers) atomic_fetch_add(&tally->bad_worker, 1);
}

static void every_task_runs_once(void **state) {
  (void)state;
  struct ex_error err;
  for (int32_t n_workers = 1; n_workers <= 5; n_workers += 2) {
    ex_pool *pool;
    assert_ok(ex__pool_new(n_workers, &pool, &err), &err);
    assert_int_equal(ex__pool_size(pool), n_workers);
    for (int64_t n_tasks = 0; n_tasks <= 1000; n_tasks = 3 * n_tasks + 1) {
      static struct tally tally;
      memset(&tally, 0, sizeof tally);
      tally.n_workers = n_workers;
      ex__pool_run(pool, count, &tally, n_tasks);
      for (int64_t i = 0; i < 1000; i++) assert_int_equal(tally.done[i], i < n_tasks);
      assert_int_equal(tally.bad_worker, 0);
    }
    ex__pool_free(pool);
  }
}

/* Many short batches, some after the workers went to sleep: a lost wake-up
 * would hang here, and a late worker would write into the next batch. */
static void no_wake_up_is_lost(void **state) {
  (void)state;
  struct ex_error err;
  ex_pool *pool;
  assert_ok(ex__pool_new(3, &pool, &err), &err);
  static struct tally tally;
  memset(&tally, 0, sizeof tally);
  tally.n_workers = 3;
  for (int i = 0; i < 3000; i++) {
    ex__pool_run(pool, count, &tally, 5);
    if (i % 300 == 0) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    for (int task = 0; task < 5; task++) assert_int_equal(tally.done[task], i + 1);
  }
  ex__pool_free(pool);
}

/* Two tasks that wait for each other finish only if two workers run them. */
static void meet(void *context, int64_t task, int32_t worker) {
  (void)task, (void)worker;
  atomic_int *arrived = context;
  atomic_fetch_add(arrived, 1);
  while (atomic_load(arrived) < 2) nanosleep(&(struct timespec){.tv_nsec = 10000}, NULL);
}

static void workers_run_at_the_same_time(void **state) {
  (void)state;
  struct ex_error err;
  ex_pool *pool;
  assert_ok(ex__pool_new(2, &pool, &err), &err);
  atomic_int arrived = 0;
  ex__pool_run(pool, meet, &arrived, 2);
  assert_int_equal(arrived, 2);
  ex__pool_free(pool);
}

static void bounds(void **state) {
  (void)state;
  struct ex_error err;
  ex_pool *pool;
  assert_refused(ex__pool_new(0, &pool, &err), EX_EINVAL, &err, "[1, 256]");
  assert_refused(ex__pool_new(257, &pool, &err), EX_EINVAL, &err, "257 workers");
  ex__pool_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_task_runs_once),
      cmocka_unit_test(no_wake_up_is_lost),
      cmocka_unit_test(workers_run_at_the_same_time),
      cmocka_unit_test(bounds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
