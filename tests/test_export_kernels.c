/* SPDX-License-Identifier: Apache-2.0
 *
 * The arithmetic that generated code brings along: exp and log in float, and the
 * rounding of int8.
 */
#include <math.h>

#include "export/kernels/answer.h"
#include "export/kernels/int8_requantise.h"
#include "export/kernels/kernel_logarithm.h"
#include "export/kernels/kernel_span.h"
#include "tests/testing.h"

static void exponential_is_within_its_bound(void **state) {
  (void)state;
  assert_true(exponential(0) == 1);
  assert_true(exponential(-87.5f) == 0 && exponential(-1e30f) == 0);
  for (float x = 0; x > -87; x -= 0.0137f) {
    double exact = exp((double)x);
    if (!(fabs((double)exponential(x) - exact) <= 3e-7 * exact)) fail_msg("exp(%g)", (double)x);
  }
}

static void logarithm_is_within_its_bound(void **state) {
  (void)state;
  assert_true(logarithm(1) == 0);
  for (float x = 1e-40f; x < 1e6f; x *= 1.0091f) {
    double exact = log((double)x);
    if (!(fabs((double)logarithm(x) - exact) <= 3e-7 * fmax(1, fabs(exact))))
      fail_msg("log(%g)", (double)x);
  }
}

static void sums_round_to_the_nearest(void **state) {
  (void)state;
  assert_int_equal(shifted(3, 1), 2); /* 1.5, and halves go upwards */
  assert_int_equal(shifted(-3, 1), -1);
  assert_int_equal(shifted(-4, 1), -2);
  assert_int_equal(shifted(5, 2), 1);
  assert_int_equal(shifted(-7, 2), -2);
  assert_int_equal(shifted(INT64_C(1) << 61, 62), 1);
  assert_int_equal(shifted(-(INT64_C(1) << 61), 62), 0);
  for (int32_t sum = -100000; sum < 100000; sum += 37)
    for (int shift = 31; shift < 40; shift++) {
      int32_t multiplier = INT32_C(1518500249);
      double exact = floor(ldexp((double)sum * multiplier, -shift) + 0.5);
      assert_int_equal(requantise(sum, multiplier, shift), (int32_t)exact);
    }
  assert_int_equal(clamped(200, -128), 127);
  assert_int_equal(clamped(-200, -128), -128);
  assert_int_equal(clamped(-5, 3), 3);
}

static void answers_are_those_of_the_task(void **state) {
  (void)state;
  const float z[] = {1, 3, 3, -2}, one[] = {7}, bad[] = {1, INFINITY, 2}, none[] = {NAN, 1};
  struct answer answer = answer_of(z, 4);
  assert_int_equal(answer.label, 1); /* the lowest on ties */
  assert_true(answer.most == 3 && answer.second == 3);
  double sum = exp(-2) + 1 + 1 + exp(-5);
  assert_true(fabs((double)answer.sum - sum) < 1e-6);
  assert_true(fabs((double)answer.weighted - (-2 * exp(-2) - 5 * exp(-5))) < 1e-6);
  answer = answer_of(one, 1);
  assert_true(answer.label == 0 && answer.sum == 1 && answer.second < -900);
  assert_int_equal(answer_of(bad, 3).label, -1);
  assert_int_equal(answer_of(none, 2).label, -1);
}

static void spans_stay_inside(void **state) {
  (void)state;
  struct span span = span_of(-2, 5, 1, 28);
  assert_true(span.first == 2 && span.end == 5);
  span = span_of(-2, 3, 3, 4);
  assert_true(span.first == 1 && span.end == 2);
  span = span_of(-9, 3, 1, 4); /* all of it in the padding */
  assert_true(span.first >= span.end);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exponential_is_within_its_bound),
      cmocka_unit_test(logarithm_is_within_its_bound),
      cmocka_unit_test(sums_round_to_the_nearest),
      cmocka_unit_test(answers_are_those_of_the_task),
      cmocka_unit_test(spans_stay_inside),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
