/* SPDX-License-Identifier: Apache-2.0
 *
 * Losses against central differences in double, and against values worked out
 * by hand. Each check first asks that the gradient is not all zero.
 */
#include <math.h>

#include "graph/loss.h"
#include "tests/testing.h"

enum { N = 5, K = 4 };
static const ex_real logits[N * K] = {0.3, -1.2, 2.5, 0.1, 30,  -40, 5,   29.5, 0,   0,
                                      0,   0,    -3,  2,   1.5, 1.9, 0.7, -0.2, 1.1, -2.6};
static const ex_real other[N * K] = {1, 0.5, -0.5, 2, 0,   3,    1,   -1,  0.2, 0.1,
                                     0, 0.9, 2,    1, 1.5, -0.3, 0.4, 0.8, -2,  0};
static const ex_real weights[N] = {1, 0.25, 2, 0, 0.5};
static const int32_t labels[N] = {2, 3, 0, 1, -1};

/* One loss, with what it needs beside the logits. */
typedef double loss_call(const ex_real *x, const ex_real *weight, ex_real *each, ex_real *dx);

static void soft_targets(ex_real *p) { ex__softmax(other, N, K, 1, p); }

static double cross_entropy(const ex_real *x, const ex_real *weight, ex_real *each, ex_real *dx) {
  return ex__loss_cross_entropy(x, N, K, labels, weight, each, dx);
}
static double soft(const ex_real *x, const ex_real *weight, ex_real *each, ex_real *dx) {
  ex_real p[N * K];
  soft_targets(p);
  return ex__loss_soft_cross_entropy(x, N, K, p, weight, each, dx);
}
static double soft_not_normed(const ex_real *x, const ex_real *weight, ex_real *each, ex_real *dx) {
  ex_real p[N * K];
  soft_targets(p);
  for (int i = 0; i < N * K; i++) p[i] *= 1.5;
  return ex__loss_soft_cross_entropy(x, N, K, p, weight, each, dx);
}
static double distil(const ex_real *x, const ex_real *weight, ex_real *each, ex_real *dx) {
  return ex__loss_distillation(x, N, K, other, 3, weight, each, dx);
}
static double distil_cold(const ex_real *x, const ex_real *weight, ex_real *each, ex_real *dx) {
  return ex__loss_distillation(x, N, K, other, 0.7, weight, each, dx);
}
static double mse(const ex_real *x, const ex_real *weight, ex_real *each, ex_real *dx) {
  return ex__loss_mse(x, N, K, other, weight, each, dx);
}
static double bce(const ex_real *x, const ex_real *weight, ex_real *each, ex_real *dx) {
  ex_real p[N * K];
  soft_targets(p);
  return ex__loss_bce(x, N, K, p, weight, each, dx);
}
static loss_call *const losses[] = {cross_entropy, soft, soft_not_normed, distil, distil_cold,
                                    mse,           bce};
enum { N_LOSSES = sizeof losses / sizeof *losses };

/* Central differences of every element, with these weights. */
static void check_gradient(loss_call *loss, const ex_real *weight) {
  ex_real x[N * K], dx[N * K] = {0};
  memcpy(x, logits, sizeof x);
  loss(x, weight, NULL, dx);
  double size = 0;
  for (int i = 0; i < N * K; i++) size += fabs(dx[i]);
  assert_true(size > 0.1);
  const double h = 1e-5;
  for (int i = 0; i < N * K; i++) {
    x[i] = logits[i] + h;
    double above = loss(x, weight, NULL, NULL);
    x[i] = logits[i] - h;
    double below = loss(x, weight, NULL, NULL);
    x[i] = logits[i];
    double numeric = (above - below) / (2 * h);
    if (fabs(numeric - dx[i]) > 1e-7 * (1 + fabs(numeric)))
      fail_msg("element %d: %.12g by differences, %.12g given", i, numeric, dx[i]);
  }
}

static void gradients(void **state) {
  (void)state;
  for (int l = 0; l < N_LOSSES; l++) {
    check_gradient(losses[l], NULL);
    check_gradient(losses[l], weights);
  }
}

static void sum_each_and_adding_agree(void **state) {
  (void)state;
  for (int l = 0; l < N_LOSSES; l++) {
    ex_real each[N], once[N * K] = {0}, twice[N * K] = {0};
    double sum = losses[l](logits, weights, each, once), expected = 0;
    for (int s = 0; s < N; s++) expected += weights[s] * each[s];
    assert_true(fabs(sum - expected) < 1e-12 * (1 + fabs(sum)));
    losses[l](logits, weights, NULL, twice);
    losses[l](logits, weights, NULL, twice);
    for (int i = 0; i < N * K; i++) assert_true(fabs(twice[i] - 2 * once[i]) < 1e-12);
  }
}

/* A weight per (sample, exit): two exits seeded from one row of weights each. */
static void weights_per_sample_and_exit(void **state) {
  (void)state;
  const ex_real w[2][N] = {{1, 0, 0.5, 0, 2}, {0, 3, 0, 1, 0}};
  ex_real sum_dx[N * K] = {0}, unit[N * K] = {0}, *each = NULL;
  ex__loss_mse(logits, N, K, other, NULL, each, unit);
  for (int e = 0; e < 2; e++) ex__loss_mse(logits, N, K, other, w[e], each, sum_dx);
  for (int i = 0; i < N * K; i++)
    assert_true(fabs(sum_dx[i] - (w[0][i / K] + w[1][i / K]) * unit[i]) < 1e-12);
}

static void unlabelled_adds_nothing(void **state) {
  (void)state;
  ex_real each[N], dx[N * K] = {0};
  cross_entropy(logits, NULL, each, dx);
  assert_true(each[4] == 0);
  for (int c = 0; c < K; c++) assert_true(dx[4 * K + c] == 0);
  assert_true(each[2] == log(4.0)); /* four equal logits */
}

static void weight_zero_keeps_nan_out(void **state) {
  (void)state;
  ex_real x[N * K], dx[N * K] = {0};
  memcpy(x, logits, sizeof x);
  x[3 * K] = (ex_real)NAN;
  for (int l = 0; l < N_LOSSES; l++) {
    assert_true(isfinite(losses[l](x, weights, NULL, dx)));
    assert_true(isnan(losses[l](x, NULL, NULL, NULL)));
  }
  for (int i = 0; i < N * K; i++) assert_true(isfinite(dx[i]));
}

static void large_logits_stay_finite(void **state) {
  (void)state;
  const ex_real x[2 * 3] = {1e30, -1e30, 0, -800, 0, 800};
  const int32_t target[2] = {1, 2};
  ex_real each[2], dx[6] = {0}, p[6];
  double sum = ex__loss_cross_entropy(x, 2, 3, target, NULL, each, dx);
  assert_true(isfinite(sum) && each[0] == 2e30 && each[1] == 0);
  assert_true(dx[0] == 1 && dx[1] == -1 && dx[2] == 0);
  ex__softmax(x, 2, 3, 1, p);
  assert_true(p[0] == 1 && p[1] == 0 && p[5] == 1);
  const ex_real score[2] = {1000, -1000}, goal[2] = {0, 1};
  ex_real dscore[2] = {0};
  assert_true(ex__loss_bce(score, 2, 1, goal, NULL, NULL, dscore) == 2000);
  assert_true(dscore[0] == 1 && dscore[1] == -1);
  const ex_real sure[2] = {0, -INFINITY}, one[2] = {1, 0};
  assert_true(ex__loss_soft_cross_entropy(sure, 1, 2, one, NULL, NULL, NULL) == 0);
}

static void softmax_is_a_distribution(void **state) {
  (void)state;
  ex_real p[N * K], alone[K];
  ex__softmax(logits, N, K, 2, p);
  for (int s = 0; s < N; s++) {
    double total = 0;
    for (int c = 0; c < K; c++) total += p[s * K + c];
    assert_true(fabs(total - 1) < 1e-12);
    ex__softmax(logits + s * K, 1, K, 2, alone); /* bits do not depend on the batch */
    assert_memory_equal(alone, p + s * K, sizeof alone);
  }
  assert_true(fabs(p[2] / p[0] - exp((2.5 - 0.3) / 2)) < 1e-12);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients),
      cmocka_unit_test(sum_each_and_adding_agree),
      cmocka_unit_test(weights_per_sample_and_exit),
      cmocka_unit_test(unlabelled_adds_nothing),
      cmocka_unit_test(weight_zero_keeps_nan_out),
      cmocka_unit_test(large_logits_stay_finite),
      cmocka_unit_test(softmax_is_a_distribution),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
