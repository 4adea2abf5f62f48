/* SPDX-License-Identifier: Apache-2.0
 *
 * The arithmetic that generated code brings along: exp and log in float, and the
 * rounding of int8.
 */
#include <math.h>

#include "export/kernels/answer.h"
#include "export/kernels/int8_lrn.h"
#include "export/kernels/int8_requantise.h"
#include "export/kernels/int8_softmax.h"
#include "export/kernels/int8_table.h"
#include "export/kernels/kernel_largest.h"
#include "export/kernels/kernel_logarithm.h"
#include "export/kernels/kernel_logistic.h"
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

static void the_largest_fall(void **state) {
  (void)state;
  const float z[] = {1, 5, -2, 5, 3};
  float most[6];
  largest(z, 5, 3, most);
  assert_true(most[0] == 5 && most[1] == 5 && most[2] == 3);
  largest(z, 5, 6, most);
  assert_true(most[4] == -2 && most[5] < -1e38f);
  largest(z, 1, 1, most);
  assert_true(most[0] == 1);
}

static void logistic_is_within_its_bound(void **state) {
  (void)state;
  for (float x = -86; x < 90; x += 0.0371f) {
    double exact = 1 / (1 + exp(-(double)x));
    if (!(fabs((double)logistic(x) - exact) <= 4e-7 * exact)) fail_msg("at %g", (double)x);
  }
  assert_true(logistic(INFINITY) == 1 && logistic(-INFINITY) == 0);
}

static void floats_become_the_nearest_of_8_bits(void **state) {
  (void)state;
  assert_int_equal(nearest(2.5f, 1), 4);
  assert_int_equal(nearest(-2.5f, 0), -3);
  assert_int_equal(nearest(2.4f, -3), -1);
  assert_int_equal(nearest(1e30f, 0), 127);
  assert_int_equal(nearest(-1e30f, 5), -128);
  assert_int_equal(nearest(126.9f, 0), 127);
  assert_int_equal(nearest(-127.9f, 0), -128);
}

/* Inputs of unit 1/16 and zero 3, outputs of unit 1/64 and zero -5. */
static void normalising_in_8_bits_is_that_of_reals(void **state) {
  (void)state;
  const int8_t in[] = {-128, 127, 3, 40, -60, 9};
  int8_t out[6];
  const struct lrn layer = {2, 3, 3, 3, -5, 0.5f / 3 / 256, 0.75f, 2, 4};
  lrn(&layer, in, out);
  for (int p = 0; p < 2; p++)
    for (int c = 0; c < 3; c++) {
      double sum = 0, own = (in[p * 3 + c] - 3) / 16.0;
      for (int i = c > 0 ? c - 1 : 0; i <= c + 1 && i < 3; i++)
        sum += pow((in[p * 3 + i] - 3) / 16.0, 2);
      double exact = fmin(fmax(own * pow(2 + 0.5 / 3 * sum, -0.75) * 64 - 5, -128), 127);
      assert_true(fabs(out[p * 3 + c] - exact) < 0.501);
    }
}

/* Inputs of unit 1/16, outputs of unit 1/255 and zero -128; in place. */
static void softmax_in_8_bits_is_that_of_reals(void **state) {
  (void)state;
  const int8_t in[] = {-128, 127, 100, 96, 0, 0, 0, -1};
  int8_t out[8];
  memcpy(out, in, sizeof in);
  softmax(&(struct softmax){2, 4, -128, 1.0f / 16, 255}, out, out);
  for (int p = 0; p < 2; p++) {
    double sum = 0;
    for (int i = 0; i < 4; i++) sum += exp(in[p * 4 + i] / 16.0);
    for (int i = 0; i < 4; i++)
      assert_true(fabs(out[p * 4 + i] - (exp(in[p * 4 + i] / 16.0) / sum * 255 - 128)) < 0.501);
  }
}

static void tables_begin_at_the_least(void **state) {
  (void)state;
  const int8_t in[] = {-128, 0, 127};
  int8_t table[256], out[3];
  for (int i = 0; i < 256; i++) table[i] = (int8_t)(127 - i);
  look_up(table, in, out, 3);
  assert_true(out[0] == 127 && out[1] == -1 && out[2] == -128);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exponential_is_within_its_bound),
      cmocka_unit_test(logarithm_is_within_its_bound),
      cmocka_unit_test(sums_round_to_the_nearest),
      cmocka_unit_test(answers_are_those_of_the_task),
      cmocka_unit_test(spans_stay_inside),
      cmocka_unit_test(the_largest_fall),
      cmocka_unit_test(logistic_is_within_its_bound),
      cmocka_unit_test(floats_become_the_nearest_of_8_bits),
      cmocka_unit_test(normalising_in_8_bits_is_that_of_reals),
      cmocka_unit_test(softmax_in_8_bits_is_that_of_reals),
      cmocka_unit_test(tables_begin_at_the_least),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
