/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/budget: the thresholds that answer best under a bound of the mean cost, from
 * recorded scores and right answers (Tan, Li, Wang, Huang, Xu; AAAI 2021).
 *
 *     maximise  Σ_n right at the exit where n leaves    over a threshold per exit
 *     subject to  mean over n of the cost of leaving there ≤ bound.
 *
 * The bound is one of the mean over samples, not of any one of them.
 *
 * Verified: the problem, a smooth approximation of it, the inexact proximal-point
 * penalty method, a warm start. Reconstruction: the sigmoids, all constants, and what
 * follows the smooth solution. In particular scores are replaced by their ranks among
 * the samples of the exit, so that one steepness serves saturated softmaxes and
 * exits of different scales alike; and where the smooth solution is found it is
 * made feasible by hard counts and improved one and two exits at a time.
 *
 * Samples that look alike everywhere are one sample with a count, in an order of
 * their own: neither the order nor a second copy of a data set changes anything.
 */
#ifndef EX_POLICY_BUDGET_H
#define EX_POLICY_BUDGET_H

#include "policy/exit_costs.h"

struct ex_budget {
  int32_t n, n_exits; /* samples that differ; exits before the last */
  int64_t total;      /* samples with their copies */
  struct ex_exit_costs costs;
  double
      leave[EX_MAX_POINTS]; /* cost of leaving at an exit, all heads before it on; 1: full depth */
  int32_t able[EX_MAX_POINTS]; /* samples that have a score at the exit */
  int32_t *count;              /* [n] */
  uint8_t *right;              /* [n_exits + 1][n] */
  double *score;               /* [n_exits][n]; below 0: none, it never leaves there */
  double *rank;           /* [n_exits][n], share of those below, in (0, 1); of none: far below */
  int32_t *order, *place; /* [n_exits][n]: samples, surest first; a sample's place in that */
};

/* From `n` samples first, first + step … of a labelled trace; scores are largest
 * probabilities. `ns`: costs are measured nanoseconds. */
enum ex_status ex__budget_new(const ex_trace *trace, int32_t first, int32_t step, bool ns,
                              struct ex_budget *out, struct ex_error *err);
void ex__budget_free(struct ex_budget *budget); /* accepts one that is all zero */

/* ---- hard: what thresholds do ------------------------------------------------ */

/* How many of an exit's order leave if they come there; 0: the exit is off and its
 * head does not run. Never between equals. */
struct ex_cuts {
  int32_t at[EX_MAX_POINTS]; /* [n_exits] */
};

struct ex_spent {
  int64_t right, cost; /* over all samples; cost in multiply-adds or nanoseconds */
};
struct ex_spent ex__budget_spent(const struct ex_budget *budget, const struct ex_cuts *cuts);

/* `bound`: mean cost, 1: full depth. */
bool ex__budget_keeps(const struct ex_budget *budget, int64_t cost, double bound);

/* Leave at or above thresholds [n_exits], and back; `off`: nobody reaches it. */
void ex__budget_thresholds(const struct ex_budget *budget, const struct ex_cuts *cuts, double off,
                           double *threshold);
void ex__budget_cuts(const struct ex_budget *budget, const double *threshold, struct ex_cuts *cuts);

/* ---- smooth (budget_smooth.c) ------------------------------------------------ */

struct ex_smooth {
  double wrong, cost; /* − mean of right answers; mean cost, 1: full depth */
  double d_wrong[EX_MAX_POINTS], d_cost[EX_MAX_POINTS];
};

/* At exit k a sample leaves with probability s_k = sigmoid(alpha (rank − t_k)) if it
 * came there; t [n_exits] in [0, 1]. `work` [ex__budget_work()]. */
void ex__budget_smooth(const struct ex_budget *budget, double alpha, const double *t, double *work,
                       struct ex_smooth *out);
size_t ex__budget_work(const struct ex_budget *budget);

/* Inexact proximal-point penalty method from t, in place. `warm`: t is near already. */
void ex__budget_penalty(const struct ex_budget *budget, double bound, bool warm, double *work,
                        double *t);

/* ---- solving (budget_search.c) ----------------------------------------------- */

enum ex_budget_search {
  EX_BUDGET_PENALTY,  /* the above, then hard repair and local search */
  EX_BUDGET_SHARED,   /* baseline: one threshold for all exits, the highest that keeps the bound */
  EX_BUDGET_GEOMETRIC /* baseline: MSDNet's quotas, the largest ratio that keeps the bound */
};

/* `start`: the solution for a wider bound, or NULL. *out keeps the bound. Where no
 * policy does, EX_EINFEASIBLE; from full depth's cost on, every exit is off. */
enum ex_status ex__budget_solve(const struct ex_budget *budget, double bound,
                                enum ex_budget_search search, const struct ex_cuts *start,
                                struct ex_cuts *out, struct ex_error *err);

#endif
