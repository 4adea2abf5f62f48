/* SPDX-License-Identifier: Apache-2.0
 *
 * base/logistic: weighted logistic regression of a few features, with an
 * intercept, and the best cut of one score: what rules that learn when to leave
 * are made of.
 *
 * The regression minimises
 *
 *     Σ w_i log(1 + exp(−s_i (b + c·x_i))) / Σ w_i + l2 / 2 (|c|² + b² / 1000),
 *
 * s_i = ±1, by Newton's method (iteratively reweighted least squares) with
 * halved steps. Weights are divided by their sum, so l2 means the same for few
 * samples and many, for large weights and small. The intercept is held back by a
 * thousandth of the rest, which keeps it finite where one side has no weight. So
 * the problem is strictly convex: there is one minimum, and the same input gives
 * the same bits.
 */
#ifndef EX_BASE_LOGISTIC_H
#define EX_BASE_LOGISTIC_H

#include <stdint.h>

enum { EX_MAX_FEATURES = 31 };

struct ex_logistic {       /* everything is borrowed */
  int32_t n, d;            /* n ≥ 1 samples of 0 ≤ d ≤ EX_MAX_FEATURES features */
  const double *x;         /* [n][d], finite, each feature of about unit size */
  const uint8_t *positive; /* [n]: s_i = +1 */
  const double *weight;    /* [n], finite, ≥ 0, at least one > 0 */
  double l2;               /* > 0 */
};

/* The objective at `coefficient` [1 + d], intercept first; gradient [1 + d] and
 * hessian [1 + d][1 + d] of it, each NULL where not wanted. */
double ex__logistic_loss(const struct ex_logistic *problem, const double *coefficient,
                         double *gradient, double *hessian);

/* The minimum; coefficient [1 + d], intercept first. Positive is likelier than
 * not where b + c·x > 0. */
void ex__logistic_fit(const struct ex_logistic *problem, double *coefficient);

/* The same minimum to rounding, sought from `coefficient`: soon found where that is near. */
void ex__logistic_fit_from(const struct ex_logistic *problem, double *coefficient);

/* ---- the best cut ----------------------------------------------------------- */

/* A sample on a line. `gain`: what it is worth to have it at or above the cut; what
 * it is worth to have it below is −gain. (A weight with the label's sign.) */
struct ex_scored {
  double score, gain; /* finite */
};

struct ex_cut {
  double at;   /* ±INFINITY: everybody, nobody */
  double gain; /* sum over those whose score is ≥ at */
};

/* Exact minimiser of the weighted risk of "score ≥ at": of all cuts, half-way
 * between two neighbours, the one above which the gains sum to the most; of equals
 * the highest. Sorts `samples` [n ≥ 0] by score, falling. */
struct ex_cut ex__best_cut(struct ex_scored *samples, int32_t n);

#endif
