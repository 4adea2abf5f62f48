/* SPDX-License-Identifier: Apache-2.0
 *
 * method/cagrad: conflict-averse gradient descent, Liu, Liu, Jin, Stone, Liu,
 * NeurIPS 2021, with one exit as one task.
 *
 * Of all directions d within c · |g0| of the mean gradient g0 the one is taken
 * whose smallest inner product with the gradient of an exit is largest. By its
 * dual (their equation 3)
 *
 *     w = argmin over the simplex of  g_w · g0 + sqrt(φ) |g_w|,  φ = c² |g0|²,
 *     d = g0 + sqrt(φ) / |g_w| · g_w,          g_w = Σ w_i g_i,
 *
 * which needs the inner products alone. The authors solve it with a general
 * optimiser; here weight is moved between pairs of exits, each time to the
 * minimum on that line, which has a closed form, until nothing moves.
 *
 * The result is times the number of exits, so that c = 0 is the joint step.
 * `rescale` divides by 1 + c², which we remember to be what the authors' code
 * does by default and have not checked.
 */
#include <math.h>

#include "method/method.h"

struct cagrad {
  double c;
  int32_t rescale;
};

static const struct ex_param params[] = {
    {"c", EX_PARAM_REAL, offsetof(struct cagrad, c), 0, 0.999, "0.5", NULL,
     "How far the step may be from the mean gradient, as a share of its length; 0: joint."},
    {"rescale", EX_PARAM_BOOL, offsetof(struct cagrad, rescale), 0, 1, "true", NULL,
     "Whether the step is divided by 1 + c²."},
    {0}};

enum { MOST_SWEEPS = 500 };

static double loss(const void *values, void *state, const struct ex_loss_call *call) {
  (void)values, (void)state;
  double sum = 0;
  for (int32_t k = 0; k < call->n_points; k++) sum += ex__method_cross_entropy(call, k, 1, 0);
  return sum;
}

/* The dual: F(w) = Σ w_i b_i + s sqrt(w' G w). */
struct dual {
  int32_t n;
  const double *product;
  double b[EX_MAX_POINTS], s;
  double w[EX_MAX_POINTS], gw[EX_MAX_POINTS]; /* G w */
};

static double squared(const struct dual *dual) {
  double sum = 0;
  for (int32_t i = 0; i < dual->n; i++) sum += dual->w[i] * dual->gw[i];
  return sum > 0 ? sum : 0;
}

/* Moves t from j to i, to the minimum of a t + s sqrt(A t² + 2 B t + C) within
 * [−w_i, w_j]. With u = t + B/A and D = (C − B²/A)/A the derivative
 * a + s sqrt(A) u / sqrt(u² + D) is zero at u = −a sqrt(D / (s² A − a²)). */
static double move(struct dual *dual, int32_t i, int32_t j) {
  const double *g = dual->product;
  int32_t n = dual->n;
  double a = dual->b[i] - dual->b[j];
  double quadratic = g[i * n + i] - 2 * g[i * n + j] + g[j * n + j];
  if (!(quadratic > 0)) return 0; /* the same gradient */
  double linear = dual->gw[i] - dual->gw[j];
  double rest = fmax((squared(dual) - linear * linear / quadratic) / quadratic, 0);
  double slope = dual->s * dual->s * quadratic - a * a;
  double t = a > 0 ? -dual->w[i] : dual->w[j];
  if (slope > 0) t = -a * sqrt(rest / slope) - linear / quadratic;
  t = fmin(fmax(t, -dual->w[i]), dual->w[j]);
  dual->w[i] += t;
  dual->w[j] -= t;
  for (int32_t k = 0; k < n; k++) dual->gw[k] += t * (g[k * n + i] - g[k * n + j]);
  return fabs(t);
}

static void solve(struct dual *dual) {
  int32_t n = dual->n;
  for (int32_t sweep = 0; sweep < MOST_SWEEPS; sweep++) {
    double moved = 0;
    for (int32_t i = 0; i < n; i++) { /* anew, against rounding */
      dual->gw[i] = 0;
      for (int32_t j = 0; j < n; j++) dual->gw[i] += dual->product[i * n + j] * dual->w[j];
    }
    for (int32_t i = 0; i < n; i++)
      for (int32_t j = 0; j < i; j++) moved = fmax(moved, move(dual, i, j));
    if (moved < 1e-12) return;
  }
}

static void merge(const void *values, void *state, const struct ex_merge_call *call) {
  (void)state;
  const struct cagrad *cagrad = values;
  int32_t n = call->n;
  struct dual dual = {.n = n, .product = call->product};
  double mean = 0, largest = 0; /* |g0|², and the largest |g_i|² */
  for (int32_t i = 0; i < n; i++) {
    dual.w[i] = 1.0 / n;
    for (int32_t j = 0; j < n; j++) dual.b[i] += call->product[i * n + j] / n;
    mean += dual.b[i] / n;
    largest = fmax(largest, call->product[i * n + i]);
  }
  dual.s = cagrad->c * sqrt(fmax(mean, 0));
  if (dual.s > 0) solve(&dual);
  double length = squared(&dual), lambda = 0; /* |g_w|² is 0 where no step helps all exits */
  if (length > 1e-12 * largest) lambda = dual.s / sqrt(length);
  double scale = cagrad->rescale ? 1 + cagrad->c * cagrad->c : 1;
  for (int32_t i = 0; i < n; i++) call->weight[i] = (1 + n * lambda * dual.w[i]) / scale;
}

const struct ex_method ex__method_cagrad = {
    .name = "cagrad",
    .cite = "Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021",
    .summary = "Trains all exits together along the direction near their mean gradient that helps "
               "the exit it helps least, in the weights that several reach. A step costs one "
               "forward pass and a backward pass per exit, and memory for a gradient of each. "
               "Choose it where exits are few and one of them is left behind.",
    .params = params,
    .size = sizeof(struct cagrad),
    .loss = loss,
    .merge = merge,
};
