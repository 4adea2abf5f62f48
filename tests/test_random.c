/* SPDX-License-Identifier: Apache-2.0
 *
 * The generator against its authors' reference implementation: xoshiro256++
 * from the state {1, 2, 3, 4} begins with 41943041, 58720359, 3588806011781223.
 */
#include <math.h>

#include "base/random.h"
#include "tests/testing.h"

static void published_sequence(void **state) {
  (void)state;
  struct ex_random random = {{1, 2, 3, 4}};
  assert_true(ex__random_u64(&random) == 41943041u);
  assert_true(ex__random_u64(&random) == 58720359u);
  assert_true(ex__random_u64(&random) == 3588806011781223u);
}

static void seeds_and_streams_differ(void **state) {
  (void)state;
  struct ex_random a = ex__random_seed(1, 2), b = ex__random_seed(2, 1), c = ex__random_seed(1, 2);
  assert_true(memcmp(&a, &c, sizeof a) == 0);
  assert_true(memcmp(&a, &b, sizeof a) != 0);
  struct ex_random zero = ex__random_seed(0, 0);
  assert_true((zero.state[0] | zero.state[1] | zero.state[2] | zero.state[3]) != 0);
}

static void moments(void **state) {
  (void)state;
  struct ex_random random = ex__random_seed(7, 0);
  enum { N = 200000 };
  double uniform = 0, mean = 0, square = 0, fourth = 0;
  for (int i = 0; i < N; i++) {
    double u = ex__random_uniform(&random), z = ex__random_normal(&random);
    assert_true(u >= 0 && u < 1 && isfinite(z));
    uniform += u / N;
    mean += z / N;
    square += z * z / N;
    fourth += z * z * z * z / N;
  }
  assert_true(fabs(uniform - 0.5) < 0.005);
  assert_true(fabs(mean) < 0.01 && fabs(square - 1) < 0.02 && fabs(fourth - 3) < 0.15);
}

static void below_is_even(void **state) {
  (void)state;
  struct ex_random random = ex__random_seed(3, 9);
  int count[7] = {0};
  for (int i = 0; i < 70000; i++) count[ex__random_below(&random, 7)]++;
  for (int i = 0; i < 7; i++) assert_in_range(count[i], 9600, 10400);
  for (int i = 0; i < 100; i++) assert_int_equal(ex__random_below(&random, 1), 0);
}

static void shuffle_permutes(void **state) {
  (void)state;
  struct ex_random random = ex__random_seed(3, 9);
  int32_t items[100], seen[100] = {0}, moved = 0;
  for (int32_t i = 0; i < 100; i++) items[i] = i;
  ex__random_shuffle(&random, items, 100);
  for (int32_t i = 0; i < 100; i++) {
    seen[items[i]]++;
    moved += items[i] != i;
  }
  for (int32_t i = 0; i < 100; i++) assert_int_equal(seen[i], 1);
  assert_true(moved > 80);
  ex__random_shuffle(&random, items, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(published_sequence),
      cmocka_unit_test(seeds_and_streams_differ),
      cmocka_unit_test(moments),
      cmocka_unit_test(below_is_even),
      cmocka_unit_test(shuffle_permutes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
