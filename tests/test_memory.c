/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "tests/testing.h"

static void blocks_are_aligned_and_zeroed(void **state) {
  (void)state;
  for (size_t n = 0; n < 300; n += 37) {
    unsigned char *block = ex__calloc(n, 3);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 64, 0);
    for (size_t i = 0; i < 3 * n; i++) assert_int_equal(block[i], 0);
    ex__free(block);
  }
}

static void overflow_is_refused(void **state) {
  (void)state;
  size_t out;
  assert_null(ex__calloc(SIZE_MAX / 2, 3));
  assert_null(ex__alloc(SIZE_MAX, 1));
  assert_false(ex__mul_size(SIZE_MAX, 2, &out));
  assert_false(ex__add_size(SIZE_MAX, 1, &out));
  assert_true(ex__mul_size(6, 7, &out) && out == 42);
}

static void growing_keeps_and_zeroes(void **state) {
  (void)state;
  int32_t *items = ex__alloc(3, sizeof *items);
  for (int32_t i = 0; i < 3; i++) items[i] = i + 1;
  items = ex__grow(items, 3, 100, sizeof *items);
  assert_int_equal(items[2], 3);
  for (int32_t i = 3; i < 100; i++) assert_int_equal(items[i], 0);
  assert_null(ex__grow(items, 100, SIZE_MAX, sizeof *items));
  assert_int_equal(items[0], 1); /* still alive */
  ex__free(items);
  ex__free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks_are_aligned_and_zeroed),
      cmocka_unit_test(overflow_is_refused),
      cmocka_unit_test(growing_keeps_and_zeroes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
