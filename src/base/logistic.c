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

enum { BLOCK = 4 };

struct sums {
  double loss, weight;
  double *gradient, *hessian; /* each may be NULL */
  int32_t waiting;            /* samples that are to be added to the Hessian */
  double bend[BLOCK];
  const double *x[BLOCK];
};

/* The lower half, rows of the factor. Four samples to a pass over it: it is then read and
 * written a quarter as often. Those that are lacking at the end count nothing. */
static void add_bends(struct sums *sums, int32_t d) {
  const double *x0 = sums->x[0], *x1 = sums->x[1], *x2 = sums->x[2], *x3 = sums->x[3];
  for (int32_t b = 0; b < BLOCK; b++) sums->hessian[0] += sums->bend[b];
  for (int32_t r = 0; r < d; r++) {
    double *row = sums->hessian + (int64_t)(1 + r) * (1 + d);
    double s0 = sums->bend[0] * x0[r], s1 = sums->bend[1] * x1[r];
    double s2 = sums->bend[2] * x2[r], s3 = sums->bend[3] * x3[r];
    row[0] += (s0 + s1) + (s2 + s3);
    for (int32_t c = 0; c <= r; c++)
      row[1 + c] += (s0 * x0[c] + s1 * x1[c]) + (s2 * x2[c] + s3 * x3[c]);
  }
  sums->waiting = 0;
}

static void add_last_bends(struct sums *sums, int32_t d) {
  if (sums->hessian == NULL || sums->waiting == 0) return;
  for (int32_t b = sums->waiting; b < BLOCK; b++) {
    sums->bend[b] = 0;
    sums->x[b] = sums->x[0];
  }
  add_bends(sums, d);
}

static void add_sample(const struct ex_logistic *problem, int32_t i, const double *coefficient,
                       struct sums *sums) {
  int32_t d = problem->d;
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
  sums->bend[sums->waiting] = w * slope * (1 - slope);
  sums->x[sums->waiting++] = x;
  if (sums->waiting == BLOCK) add_bends(sums, d);
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
  add_last_bends(&sums, problem->d);
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

/* All that is known at one place. */
struct place {
  double loss, coefficient[SIZE], gradient[SIZE], hessian[SIZE * SIZE];
};

static void look(const struct ex_logistic *problem, struct place *place) {
  place->loss = ex__logistic_loss(problem, place->coefficient, place->gradient, place->hessian);
}

/* Along −step, halved until the loss falls as the gradient promises; false: to no other
 * place. What is promised may be too little to be seen in the loss, where rounding
 * would fail every length: that step is the last, and taken whole. */
static bool move(const struct ex_logistic *problem, struct place *here, const double *step,
                 struct place *there) {
  int32_t size = 1 + problem->d;
  double promised = 0, length = 1;
  for (int32_t j = 0; j < size; j++) promised += here->gradient[j] * step[j];
  if (promised <= SEEN * fmax(1, here->loss)) {
    for (int32_t j = 0; j < size; j++) here->coefficient[j] -= step[j];
    return false;
  }
  for (int32_t h = 0; h < MAX_HALVINGS; h++, length /= 2) {
    for (int32_t j = 0; j < size; j++)
      there->coefficient[j] = here->coefficient[j] - length * step[j];
    look(problem, there); /* the first length does mostly, so its curvature will be wanted */
    if (there->loss <= here->loss - 1e-4 * length * promised) return true;
  }
  return false;
}

void ex__logistic_fit_from(const struct ex_logistic *problem, double *coefficient) {
  size_t size = 1 + (size_t)problem->d;
  struct place places[2] = {{0}}, *here = &places[0], *there = &places[1];
  double step[SIZE] = {0};
  memcpy(here->coefficient, coefficient, size * sizeof *coefficient);
  look(problem, here);
  for (int32_t s = 0; s < MAX_STEPS; s++) {
    double most = 0;
    for (size_t j = 0; j < size; j++) most = fmax(most, fabs(here->gradient[j]));
    if (most < FLAT) break;
    memcpy(step, here->gradient, size * sizeof *step);
    solve(here->hessian, (int32_t)size, step);
    if (!move(problem, here, step, there)) break;
    struct place *swap = here;
    here = there;
    there = swap;
  }
  memcpy(coefficient, here->coefficient, size * sizeof *coefficient);
}

void ex__logistic_fit(const struct ex_logistic *problem, double *coefficient) {
  for (int32_t j = 0; j <= problem->d; j++) coefficient[j] = 0;
  ex__logistic_fit_from(problem, coefficient);
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
