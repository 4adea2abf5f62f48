/* SPDX-License-Identifier: Apache-2.0
 *
 * Gradient and Hessian against differences, the minimum against what is known of
 * it, and the best cut against all cuts.
 */
#include <math.h>

#include "base/logistic.h"
#include "base/random.h"
#include "tests/testing.h"

enum { N = 200, D = 4, SIZE = 1 + D };

struct data {
  double x[N][D], weight[N];
  uint8_t positive[N];
};

static struct ex_logistic problem_of(const struct data *data, double l2) {
  return (struct ex_logistic){N, D, data->x[0], data->positive, data->weight, l2};
}

static void make(uint64_t seed, struct data *data) {
  struct ex_random random = ex__random_seed(seed, 3);
  for (int32_t i = 0; i < N; i++) {
    double z = 0.5 * ex__random_normal(&random);
    for (int32_t j = 0; j < D; j++) {
      data->x[i][j] = ex__random_normal(&random);
      z += (j - 1) * data->x[i][j];
    }
    data->positive[i] = z > 0.4;
    data->weight[i] = i % 7 == 0 ? 0 : exp(2 * ex__random_normal(&random));
  }
}

static void derivatives_are_those_of_differences(void **state) {
  (void)state;
  struct data data;
  make(1, &data);
  const struct ex_logistic problem = problem_of(&data, 0.3);
  double at[SIZE] = {0.7, -1, 0.2, 0.5, 2}, gradient[SIZE], hessian[SIZE][SIZE], up[SIZE],
         down[SIZE];
  ex__logistic_loss(&problem, at, gradient, hessian[0]);
  for (int32_t j = 0; j < SIZE; j++) {
    const double step = 1e-5, here = at[j];
    at[j] = here + step;
    double above = ex__logistic_loss(&problem, at, up, NULL);
    at[j] = here - step;
    double below = ex__logistic_loss(&problem, at, down, NULL);
    at[j] = here;
    assert_true(fabs(gradient[j]) > 1e-3); /* zero would prove nothing */
    assert_true(fabs((above - below) / (2 * step) - gradient[j]) < 1e-8);
    for (int32_t k = 0; k < SIZE; k++) {
      assert_true(fabs((up[k] - down[k]) / (2 * step) - hessian[j][k]) < 1e-8);
      assert_true(hessian[j][k] == hessian[k][j]);
    }
  }
}

static void the_minimum_is_flat(void **state) {
  (void)state;
  static const double penalties[] = {1e-6, 1e-3, 1};
  for (size_t p = 0; p < sizeof penalties / sizeof *penalties; p++) {
    struct data data;
    make(2 + p, &data);
    const struct ex_logistic problem = problem_of(&data, penalties[p]);
    double best[SIZE], gradient[SIZE];
    ex__logistic_fit(&problem, best);
    ex__logistic_loss(&problem, best, gradient, NULL);
    for (int32_t j = 0; j < SIZE; j++) assert_true(fabs(gradient[j]) < 1e-9);
    assert_true(best[1] < best[4]); /* the signs of z = −x₀ + x₂ + 2 x₃ */
  }
}

/* There is one minimum: found from near, from far, and from itself without moving much. */
static void any_start_ends_at_the_minimum(void **state) {
  (void)state;
  struct data data;
  make(7, &data);
  const struct ex_logistic problem = problem_of(&data, 1e-3);
  double best[SIZE], other[SIZE];
  static const double reach[] = {0, 0.1, 20};
  ex__logistic_fit(&problem, best);
  for (size_t k = 0; k < 3; k++) {
    for (int32_t j = 0; j < SIZE; j++) other[j] = best[j] + reach[k] * (j % 2 == 0 ? 1 : -1);
    ex__logistic_fit_from(&problem, other);
    for (int32_t j = 0; j < SIZE; j++) assert_true(fabs(other[j] - best[j]) < 1e-8);
  }
}

/* With no features and l2 → 0 the intercept is the log odds of the weights. */
static void an_intercept_alone_is_the_log_odds(void **state) {
  (void)state;
  const uint8_t positive[] = {1, 1, 0};
  const double weight[] = {1, 5, 2};
  const struct ex_logistic problem = {3, 0, NULL, positive, weight, 1e-9};
  double intercept;
  ex__logistic_fit(&problem, &intercept);
  assert_true(fabs(intercept - log(3)) < 1e-9);
}

/* All weight on one side, perfectly separated, and weights of every size: finite. */
static void extremes_stay_finite(void **state) {
  (void)state;
  struct data data;
  double best[SIZE], gradient[SIZE];
  for (int32_t kind = 0; kind < 3; kind++) {
    make(5, &data);
    for (int32_t i = 0; i < N; i++) {
      if (kind == 0) data.positive[i] = 1;
      if (kind == 1) data.positive[i] = data.x[i][0] > 0;
      if (kind == 2) data.weight[i] = i < 3 ? 1e12 : 1e-6;
    }
    const struct ex_logistic problem = problem_of(&data, 1e-4);
    ex__logistic_fit(&problem, best);
    ex__logistic_loss(&problem, best, gradient, NULL);
    for (int32_t j = 0; j < SIZE; j++) assert_true(isfinite(best[j]) && fabs(gradient[j]) < 1e-8);
    if (kind == 0) assert_true(best[0] > 5);
  }
}

/* Weights times a constant, and samples in another order: the same line. */
static void only_shares_of_the_weight_count(void **state) {
  (void)state;
  struct data data, changed;
  make(6, &data);
  double best[SIZE], other[SIZE];
  const struct ex_logistic problem = problem_of(&data, 1e-3), scaled = problem_of(&changed, 1e-3);
  ex__logistic_fit(&problem, best);
  for (int32_t i = 0; i < N; i++) {
    int32_t from = (int32_t)((int64_t)i * 77 % N); /* 77 and 200 share no factor */
    memcpy(changed.x[i], data.x[from], sizeof data.x[from]);
    changed.positive[i] = data.positive[from];
    changed.weight[i] = 1000 * data.weight[from];
  }
  ex__logistic_fit(&scaled, other);
  for (int32_t j = 0; j < SIZE; j++) assert_true(fabs(best[j] - other[j]) < 1e-9);
}

/* ---- cuts ------------------------------------------------------------------- */

static double gain_of(const struct ex_scored *samples, int32_t n, double at) {
  double gain = 0;
  for (int32_t i = 0; i < n; i++) gain += samples[i].score >= at ? samples[i].gain : 0;
  return gain;
}

static void the_best_cut_is_that_of_all(void **state) {
  (void)state;
  struct ex_random random = ex__random_seed(9, 9);
  int32_t inside = 0;
  for (int32_t round = 0; round < 300; round++) {
    struct ex_scored samples[40], sorted[40];
    int32_t n = (int32_t)ex__random_below(&random, 40);
    for (int32_t i = 0; i < n; i++) { /* many ties; whole gains, so that sums are exact */
      samples[i].score = ex__random_below(&random, 12) * (round % 2 == 0 ? 0.1 : 1e-17);
      samples[i].gain = (int32_t)ex__random_below(&random, 21) - 10;
    }
    memcpy(sorted, samples, (size_t)n * sizeof *samples);
    struct ex_cut cut = ex__best_cut(sorted, n);
    assert_true(gain_of(samples, n, cut.at) == cut.gain);
    double most = 0; /* nobody */
    for (int32_t i = 0; i < n; i++) most = fmax(most, gain_of(samples, n, samples[i].score));
    assert_true(cut.gain == most);
    inside += isfinite(cut.at);
    if (cut.gain == 0) assert_true(cut.at == INFINITY);
  }
  assert_true(inside > 150);
}

/* Two neighbours with no number between them are still told apart. */
static void neighbours_are_told_apart(void **state) {
  (void)state;
  double next = nextafter(1, 2);
  struct ex_scored samples[] = {{1, -3}, {next, 2}};
  struct ex_cut cut = ex__best_cut(samples, 2);
  assert_true(cut.at == next && cut.gain == 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(derivatives_are_those_of_differences),
      cmocka_unit_test(the_minimum_is_flat),
      cmocka_unit_test(any_start_ends_at_the_minimum),
      cmocka_unit_test(an_intercept_alone_is_the_log_odds),
      cmocka_unit_test(extremes_stay_finite),
      cmocka_unit_test(only_shares_of_the_weight_count),
      cmocka_unit_test(the_best_cut_is_that_of_all),
      cmocka_unit_test(neighbours_are_told_apart),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
