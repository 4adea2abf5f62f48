/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/stopping: linear gates that stop or go on, learned from the last exit to
 * the first so that cost and priced errors are least (Bolukbasi, Wang, Dekel,
 * Saligrama; ICML 2017: from its abstract and third-party summaries; the recursion
 * below is our reconstruction of the reduction that they describe).
 *
 * At exit k of K a sample may stop, for a price e_k ≥ 0, or go on, for what lies
 * ahead: the way to the next exit, its head, and what is spent from there under
 * the gates that were learned before,
 *
 *     J_k = e_k where gate k stops, c_k = way_{k+1} + head_{k+1} + J_{k+1} where it
 *     goes on; J_K = 0.
 *
 * For any gate, Σ J_k = Σ min(e_k, c_k) + Σ |e_k − c_k| · [gate errs], where stopping
 * is right if e_k ≤ c_k. So learning a gate is binary classification with these
 * weights, exactly; only its solution is approximate. A sample that later exits get
 * wrong too is one that should stop, and weighs what going on would waste.
 *
 * A gate must pay for its head: where all samples together would spend less with
 * the exit switched off, it is off, its head does not run, and what lies ahead of
 * the exit before is the longer way (ours). At an exit that is off J_k is c_k.
 *
 * `sweeps` (optional in the paper's file, ours in form): gates are learned again,
 * last to first, on the samples that come so far under the gates before. A gate is
 * replaced only where those spend less with the new one, so the cost never rises.
 */
#ifndef EX_POLICY_STOPPING_H
#define EX_POLICY_STOPPING_H

#include "policy/gate.h"

struct ex_stopping {      /* everything is borrowed */
  int32_t n, n_exits, d;  /* n ≥ 1 samples; exits before the last, ≥ 0; features, ≥ 1 */
  const double *feature;  /* [n_exits][n][d]; finite where the price is */
  const double *price;    /* [n_exits][n], ≥ 0; INFINITY: nobody can stop here */
  const double *way;      /* [n_exits + 1], from the exit before to here, heads left out */
  const double *look;     /* [n_exits + 1], the exit's head */
  const double *look_off; /* [n_exits + 1], what is paid at an exit that is off */
  double l2;              /* of the regression, > 0 */
  bool exact;             /* thresholds by exact risk, not by the regression alone */
  bool oracle;            /* what lies ahead is what an oracle would spend (optimistic) */
  int32_t sweeps;         /* ≥ 0 */
};

/* gates [n_exits]. *expected, where not NULL: the mean over samples that the backward
 * pass ends with: cost and price from the input on, under the gates; under the
 * oracle instead where that lies ahead. Deterministic. */
enum ex_status ex__stopping_fit(const struct ex_stopping *problem, struct ex_gate *gates,
                                double *expected, struct ex_error *err);

/* The same mean for given gates, by running the samples forward. */
double ex__stopping_cost(const struct ex_stopping *problem, const struct ex_gate *gates);

#endif
