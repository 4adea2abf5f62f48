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
 * is exact for rows of stages and at worst too much. Replay gives the figures. */
struct ex_exit_costs {
  int64_t way[EX_MAX_POINTS]; /* bodies from the exit before to this one */
  int64_t look[EX_MAX_POINTS], look_off[EX_MAX_POINTS];
  int64_t full; /* full depth: all bodies and the last answer's closure of heads */
};

/* `gates`: looking at an exit runs its gate too. */
void ex__exit_costs(const ex_trace *trace, bool ns, bool gates, struct ex_exit_costs *out);

#endif
