/* SPDX-License-Identifier: Apache-2.0
 *
 * The fit of a running ensemble: its gradient against central differences, its
 * loss against the cross-entropy of the answers that a network would give with
 * it, and its result against every point near it.
 */
#include <math.h>

#include "base/memory.h"
#include "base/random.h"
#include "graph/loss.h"
#include "method/ensemble_fit.h"
#include "tests/testing.h"

enum { N = 200, POINTS = 3, CLASSES = 4, MOST = POINTS + CLASSES };

static ex_real raw[N][POINTS][CLASSES], opinion[N][POINTS][CLASSES], weight[N];
static int32_t target[N];
static struct ex_finish_call call;

/* Heads that are right more often the later they are, and too sure of it. */
static void make(enum ex_mean mean, bool weighted) {
  struct ex_random random = ex__random_seed(5, 6);
  for (int32_t i = 0; i < N; i++) {
    target[i] = (int32_t)ex__random_below(&random, CLASSES);
    weight[i] = 0.5 + ex__random_uniform(&random);
    for (int32_t p = 0; p < POINTS; p++) {
      for (int32_t c = 0; c < CLASSES; c++)
        raw[i][p][c] = 3 * ex__random_normal(&random) + (c == target[i]) * (p + 1.5) + 0.3 * c;
      ex__ensemble_opinion(mean, raw[i][p], CLASSES, opinion[i][p]);
    }
  }
  call = (struct ex_finish_call){.n = N,
                                 .n_points = POINTS,
                                 .n_outputs = CLASSES,
                                 .output = opinion[0][0],
                                 .target = target,
                                 .weight = weighted ? weight : NULL};
}

struct prepared {
  struct ex_ensemble_fit fit;
  double factor[POINTS], sum[CLASSES];
};

static void prepare(struct prepared *prepared, enum ex_mean mean, int32_t point) {
  prepared->fit = (struct ex_ensemble_fit){
      .mean = mean, .point = point, .call = &call, prepared->factor, prepared->sum};
}

static void the_gradient_is_that_of_the_loss(void **state) {
  (void)state;
  const double step = 1e-5;
  struct ex_random random = ex__random_seed(7, 8);
  for (int32_t variant = 0; variant < 4 * POINTS; variant++) {
    enum ex_mean mean = variant % 2 == 0 ? EX_MEAN_GEOMETRIC : EX_MEAN_ARITHMETIC;
    struct prepared prepared;
    make(mean, variant % 4 < 2);
    prepare(&prepared, mean, variant / 4);
    double x[MOST], gradient[MOST], none[MOST], size = 0;
    int32_t n = prepared.fit.point + 1 + CLASSES;
    for (int32_t i = 0; i < n; i++) x[i] = ex__random_normal(&random);
    ex__ensemble_fit_loss(&prepared.fit, x, gradient);
    for (int32_t i = 0; i < n; i++) {
      double held = x[i];
      x[i] = held + step;
      double above = ex__ensemble_fit_loss(&prepared.fit, x, none);
      x[i] = held - step;
      double below = ex__ensemble_fit_loss(&prepared.fit, x, none);
      x[i] = held;
      size += fabs(gradient[i]);
      assert_true(fabs((above - below) / (2 * step) - gradient[i]) < 1e-9);
    }
    assert_true(size > 0.05);
  }
}

/* Mean cross-entropy of the answers at `point` of a network with this row. */
static double loss_of_answers(enum ex_mean mean, int32_t point, const double *row) {
  struct ex_transform transform = {.kind = EX_TRANSFORM_ENSEMBLE,
                                   .ensemble = ex__ensemble_new(mean, POINTS, CLASSES)};
  double *to = ex__ensemble_row(transform.ensemble, point), sum = 0;
  memcpy(to, row, (size_t)(point + 1 + CLASSES) * sizeof *to);
  for (int32_t i = 0; i < N; i++) {
    ex_real held[POINTS * CLASSES], output[CLASSES];
    ex__transform_start(&transform, CLASSES, held);
    for (int32_t p = 0; p <= point; p++)
      ex__transform_apply(&transform, p, CLASSES, raw[i][p], held, output);
    sum += ex__loss_cross_entropy(output, 1, CLASSES, &target[i],
                                  call.weight != NULL ? &weight[i] : NULL, NULL, NULL);
  }
  ex__transform_clear(&transform);
  return sum / N;
}

/* What is fitted is what the network answers with, at any x. */
static void the_loss_is_that_of_the_answers(void **state) {
  (void)state;
  struct ex_random random = ex__random_seed(9, 8);
  for (int32_t variant = 0; variant < 4 * POINTS; variant++) {
    enum ex_mean mean = variant % 2 == 0 ? EX_MEAN_GEOMETRIC : EX_MEAN_ARITHMETIC;
    struct prepared prepared;
    double x[MOST], row[MOST], none[MOST];
    make(mean, variant % 4 < 2);
    prepare(&prepared, mean, variant / 4);
    for (int32_t i = 0; i < MOST; i++) x[i] = ex__random_normal(&random);
    ex__ensemble_fit_row(&prepared.fit, x, row);
    double loss = ex__ensemble_fit_loss(&prepared.fit, x, none);
    assert_true(fabs(loss - loss_of_answers(mean, variant / 4, row)) < 1e-12);
  }
}

/* Better than without weights, than any one of its heads, and than all that is near. */
static void the_fit_is_a_minimum(void **state) {
  (void)state;
  struct ex_random random = ex__random_seed(3, 8);
  for (int32_t variant = 0; variant < 2 * POINTS; variant++) {
    enum ex_mean mean = variant % 2 == 0 ? EX_MEAN_GEOMETRIC : EX_MEAN_ARITHMETIC;
    int32_t point = variant / 2;
    make(mean, variant % 4 == 0);
    struct ex_ensemble_fit fit = {.mean = mean, .point = point, .call = &call};
    double scratch[500], row[MOST], other[MOST];
    assert_true(ex__ensemble_fit_scratch(POINTS, CLASSES) <= sizeof scratch / sizeof *scratch);
    ex__ensemble_fit(&fit, scratch, row);
    double least = loss_of_answers(mean, point, row);
    int32_t n = point + 1 + CLASSES;
    for (int32_t j = 0; j <= point; j++) {
      for (int32_t i = 0; i < n; i++) other[i] = i == j;
      assert_true(least < loss_of_answers(mean, point, other) - 1e-4);
    }
    for (int32_t trial = 0; trial < 50; trial++) {
      for (int32_t i = 0; i < n; i++)
        other[i] = row[i] * exp(0.1 * ex__random_normal(&random)) +
                   (mean == EX_MEAN_GEOMETRIC && i > point ? 0.1 * ex__random_normal(&random) : 0);
      assert_true(least < loss_of_answers(mean, point, other));
    }
  }
}

/* With the same head three times the ensemble is no better than the head, and with
 * one head that knows nothing it does without it. */
static void what_says_nothing_new_adds_nothing(void **state) {
  (void)state;
  double scratch[500], one[MOST], all[MOST];
  make(EX_MEAN_GEOMETRIC, false);
  struct ex_ensemble_fit fit = {.mean = EX_MEAN_GEOMETRIC, .point = 0, .call = &call};
  for (int32_t i = 0; i < N; i++)
    for (int32_t p = 1; p < POINTS; p++)
      for (int32_t c = 0; c < CLASSES; c++)
        raw[i][p][c] = opinion[i][p][c] = p == 1 ? opinion[i][0][c] : -log((double)CLASSES);
  ex__ensemble_fit(&fit, scratch, one);
  fit.point = 2;
  ex__ensemble_fit(&fit, scratch, all);
  assert_true(fabs(all[0] + all[1] - one[0]) < 1e-4);
  assert_true(fabs(loss_of_answers(EX_MEAN_GEOMETRIC, 2, all) -
                   loss_of_answers(EX_MEAN_GEOMETRIC, 0, one)) < 1e-9);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_gradient_is_that_of_the_loss),
      cmocka_unit_test(the_loss_is_that_of_the_answers),
      cmocka_unit_test(the_fit_is_a_minimum),
      cmocka_unit_test(what_says_nothing_new_adds_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
