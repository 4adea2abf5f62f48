/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/exit_costs: what the parts of the way through a row of exits cost, for
 * rules that weigh answers against cost.
 */
#ifndef EX_POLICY_EXIT_COSTS_H
#define EX_POLICY_EXIT_COSTS_H

#include "trace/trace.h"

/* Multiply-adds or nanoseconds. Leaving at exit k costs Σ_{j≤k} way[j], and for each
 * j ≤ k look[j], or look_off[j] where nobody can leave and the rule skips it. That is
 * 0 unless a later answer needs the head: then everybody who passes is charged, which
 * is exact for rows of stages and whole networks, and at worst too much. Replay gives
 * the figures.
 * Bodies that no later exit needs (all of a whole network among several) belong to
 * looking at the exit, not to the way past it. */
struct ex_exit_costs {
  int64_t way[EX_MAX_POINTS]; /* bodies from the exit before to this one that lead further */
  int64_t look[EX_MAX_POINTS], look_off[EX_MAX_POINTS];
  int64_t full; /* straight to the last exit: its bodies and closure of heads */
};

/* `gates`: looking at an exit runs its gate too. */
void ex__exit_costs(const ex_trace *trace, bool ns, bool gates, struct ex_exit_costs *out);

/* From looking at the exit `from` (−1: the input) to having looked at the later exit
 * `to`, by a jump: what `to` needs and `from` did not. Exact in rows and among whole
 * networks; elsewhere at worst too much, where exits before `from` ran some of it. */
int64_t ex__exit_step(const ex_trace *trace, bool ns, int32_t from, int32_t to);

#endif
