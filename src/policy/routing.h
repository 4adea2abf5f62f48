/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/routing: linear gates that stop or choose which later exit to look at next,
 * learned from the last exit to the first: the choice among whole networks, a DAG
 * with an edge i → j for every i < j (Bolukbasi, Wang, Dekel, Saligrama; ICML 2017:
 * from its abstract and third-party summaries; what follows is our reconstruction).
 *
 * At exit v a sample may stop, for a price e_v ≥ 0, or go to any later exit u, for the
 * step there and what is spent from there on under the gates that were learned before:
 *
 *     J_v = min-or-chosen of  e_v  and  step_{v,u} + J_u, u = v + 1 … last;  J_last = 0.
 *
 * The choice is a chain of gates, one per option but the last: stop; else go to v + 1;
 * else to v + 2; …; else to the last exit. Each gate is learned from the last of the
 * chain to the first, when what the rest of the chain spends is known, so that each is
 * weighted binary classification (policy/gate) by the same identity as in
 * policy/stopping.
 *
 * Features may depend on the exit that was looked at before (on earlier answers), and
 * so does J then. A gate of v is learned on all samples, once for each exit that may
 * have been looked at before; `sweeps` learn it again on those that come, as they come, and keep
 * a chain only where these spend less with it, so the cost never rises.
 *
 * Which exit is looked at first is chosen by the mean (ours): the first, or a later
 * one, or the last at once, with gates of its own for each. A sample without a finite
 * answer goes on to the next exit, and the exit before stays the one before.
 */
#ifndef EX_POLICY_ROUTING_H
#define EX_POLICY_ROUTING_H

#include "policy/gate.h"

enum { EX_MAX_ROUTED = 8 }; /* exits: EX_MAX_ROUTED · (EX_MAX_ROUTED − 1) / 2 ≤ EX_MAX_LIST */

struct ex_routing {      /* everything is borrowed */
  int32_t n, n_exits, d; /* n ≥ 1 samples; exits with the last, 2 … EX_MAX_ROUTED; features, ≥ 1 */
  /* [n_exits − 1][n_exits][n][d]: at an exit, by the exit before (0: none, 1 + p: p);
   * finite where both have an answer that is. */
  const double *feature;
  const double *price; /* [n_exits − 1][n], ≥ 0; INFINITY: there is no answer */
  double step[1 + EX_MAX_ROUTED][EX_MAX_ROUTED]; /* from (0: the input, 1 + p: p) to */
  double l2;                                     /* of the regression, > 0 */
  bool exact, oracle;                            /* as in struct ex_stopping */
  int32_t sweeps;
};

struct ex_route {
  int32_t first;                                             /* exit; the last: full depth */
  struct ex_gate gate[EX_MAX_ROUTED - 1][EX_MAX_ROUTED - 1]; /* [exit][option]: stop, next, … */
};

/* Where the gate of an exit's option lies where all are in one row. */
static inline int32_t ex__route_row(int32_t n_exits, int32_t exit, int32_t option) {
  return exit * (n_exits - 1) - exit * (exit - 1) / 2 + option;
}

/* Deterministic. */
enum ex_status ex__routing_fit(const struct ex_routing *problem, struct ex_route *out,
                               struct ex_error *err);
/* Cost and price, mean over samples, by running them forward. */
double ex__routing_cost(const struct ex_routing *problem, const struct ex_route *route);

#endif
