/* SPDX-License-Identifier: Apache-2.0
 *
 * base/logistic: Newton's steps by a Cholesky factor of a matrix that the penalty
 * keeps positive definite; one pass over sorted scores for the cut.
 */
#include "base/logistic.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 1 + EX_MAX_FEATURES, MAX_STEPS = 100, MAX_HALVINGS = 40 };

static const double INTERCEPT = 1e-3; /* its share of the penalty */
static const double FLAT = 1e-12;     /* no gradient worth a further step */
static const double SEEN = 1e-13;     /* what a loss of about 1 shows of a fall */

/* ---- the objective ---------------------------------------------------------- */

static double penalty_of(const struct ex_logistic *problem, int32_t j) {
  return j == 0 ? INTERCEPT * problem->l2 : problem->l2;
}

/* log(1 + exp(−m)), and its derivative's size 1 / (1 + exp(m)). */
static double loss_of_margin(double m, double *slope) {
  double small = exp(-fabs(m));
  *slope = m > 0 ? small / (1 + small) : 1 / (1 + small);
  return (m > 0 ? 0 : -m) + log1p(small);
}

struct sums {
  double loss, weight;
  double *gradient, *hessian; /* each may be NULL */
};

static void add_sample(const struct ex_logistic *problem, int32_t i, const double *coefficient,
                       struct sums *sums) {
  int32_t d = problem->d, size = 1 + d;
  const double *x = problem->x + (int64_t)i * d;
  double z = coefficient[0], w = problem->weight[i], side = problem->positive[i] ? 1 : -1, slope;
  for (int32_t j = 0; j < d; j++) z += coefficient[1 + j] * x[j];
  sums->loss += w * loss_of_margin(side * z, &slope);
  sums->weight += w;
  if (sums->gradient != NULL) {
    double pull = -w * side * slope;
    sums->gradient[0] += pull;
    for (int32_t j = 0; j < d; j++) sums->gradient[1 + j] += pull * x[j];
  }
  if (sums->hessian == NULL) return;
  double bend = w * slope * (1 - slope); /* the lower half: rows of the factor */
  sums->hessian[0] += bend;
  for (int32_t r = 0; r < d; r++) {
    double *row = sums->hessian + (int64_t)(1 + r) * size, scaled = bend * x[r];
    row[0] += scaled;
    for (int32_t c = 0; c <= r; c++) row[1 + c] += scaled * x[c];
  }
}

static void finish(const struct ex_logistic *problem, const double *coefficient,
                   struct sums *sums) {
  int32_t size = 1 + problem->d;
  sums->loss /= sums->weight;
  for (int32_t j = 0; j < size; j++) {
    double penalty = penalty_of(problem, j);
    sums->loss += penalty / 2 * coefficient[j] * coefficient[j];
    if (sums->gradient != NULL)
      sums->gradient[j] = sums->gradient[j] / sums->weight + penalty * coefficient[j];
    for (int32_t c = 0; sums->hessian != NULL && c <= j; c++) {
      double value = sums->hessian[j * size + c] / sums->weight + (c == j ? penalty : 0);
      sums->hessian[j * size + c] = sums->hessian[c * size + j] = value;
    }
  }
}

double ex__logistic_loss(const struct ex_logistic *problem, const double *coefficient,
                         double *gradient, double *hessian) {
  size_t size = 1 + (size_t)problem->d;
  struct sums sums = {.gradient = gradient, .hessian = hessian};
  if (gradient != NULL) memset(gradient, 0, size * sizeof *gradient);
  if (hessian != NULL) memset(hessian, 0, size * size * sizeof *hessian);
  for (int32_t i = 0; i < problem->n; i++)
    if (problem->weight[i] > 0) add_sample(problem, i, coefficient, &sums);
  finish(problem, coefficient, &sums);
  return sums.loss;
}

/* ---- the minimum ------------------------------------------------------------ */

/* a ← its Cholesky factor (lower half), x ← a⁻¹ x. */
static void solve(double *a, int32_t size, double *x) {
  for (int32_t r = 0; r < size; r++) {
    for (int32_t c = 0; c <= r; c++) {
      double sum = a[r * size + c];
      for (int32_t k = 0; k < c; k++) sum -= a[r * size + k] * a[c * size + k];
      a[r * size + c] = c < r ? sum / a[c * size + c] : sqrt(fmax(sum, 1e-300));
    }
  }
  for (int32_t r = 0; r < size; r++) {
    for (int32_t k = 0; k < r; k++) x[r] -= a[r * size + k] * x[k];
    x[r] /= a[r * size + r];
  }
  for (int32_t r = size - 1; r >= 0; r--) {
    for (int32_t k = r + 1; k < size; k++) x[r] -= a[k * size + r] * x[k];
    x[r] /= a[r * size + r];
  }
}

/* Along −step, halved until the loss falls as the gradient promises. What is
 * promised may be too little to be seen in the loss, where rounding would fail every
 * length: that step is the last, and taken whole. */
static bool move(const struct ex_logistic *problem, double loss, const double *gradient,
                 const double *step, double *coefficient) {
  int32_t size = 1 + problem->d;
  double promised = 0, length = 1, tried[SIZE] = {0};
  for (int32_t j = 0; j < size; j++) promised += gradient[j] * step[j];
  if (promised <= SEEN * fmax(1, loss)) {
    for (int32_t j = 0; j < size; j++) coefficient[j] -= step[j];
    return false;
  }
  for (int32_t h = 0; h < MAX_HALVINGS; h++, length /= 2) {
    for (int32_t j = 0; j < size; j++) tried[j] = coefficient[j] - length * step[j];
    if (!(ex__logistic_loss(problem, tried, NULL, NULL) <= loss - 1e-4 * length * promised))
      continue;
    memcpy(coefficient, tried, (size_t)size * sizeof *tried);
    return promised > 0;
  }
  return false;
}

void ex__logistic_fit(const struct ex_logistic *problem, double *coefficient) {
  int32_t size = 1 + problem->d;
  double gradient[SIZE], hessian[SIZE * SIZE], step[SIZE] = {0};
  for (int32_t j = 0; j < size; j++) coefficient[j] = 0;
  for (int32_t s = 0; s < MAX_STEPS; s++) {
    double loss = ex__logistic_loss(problem, coefficient, gradient, hessian), most = 0;
    for (int32_t j = 0; j < size; j++) most = fmax(most, fabs(gradient[j]));
    if (most < FLAT) return;
    memcpy(step, gradient, (size_t)size * sizeof *step);
    solve(hessian, size, step);
    if (!move(problem, loss, gradient, step, coefficient)) return;
  }
}

/* ---- the best cut ----------------------------------------------------------- */

static int falling(const void *left, const void *right) {
  const struct ex_scored *a = left, *b = right;
  return (a->score < b->score) - (a->score > b->score);
}

/* Half-way, but above the lower also where no number lies between. */
static double between(double lower, double upper) {
  double middle = lower + (upper - lower) / 2;
  return middle > lower ? middle : upper;
}

struct ex_cut ex__best_cut(struct ex_scored *samples, int32_t n) {
  struct ex_cut best = {INFINITY, 0};
  double gain = 0;
  if (n > 0) qsort(samples, (size_t)n, sizeof *samples, falling);
  for (int32_t i = 0; i < n; i++) {
    gain += samples[i].gain;
    bool last = i == n - 1;
    if (!last && samples[i + 1].score == samples[i].score) continue;
    if (gain <= best.gain) continue;
    best.gain = gain;
    best.at = last ? -INFINITY : between(samples[i + 1].score, samples[i].score);
  }
  return best;
}
