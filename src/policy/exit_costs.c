/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/exit_costs: see the header.
 */
#include "policy/exit_costs.h"

void ex__exit_costs(const ex_trace *trace, bool ns, bool gates, struct ex_exit_costs *out) {
  const struct ex_cost *cost = &trace->cost;
  const int64_t *bodies = ns ? cost->body_ns : cost->body_macs;
  const int64_t *heads = ns ? cost->head_ns : cost->head_macs;
  const int64_t *gate = ns ? cost->gate_ns : cost->gate_macs;
  int32_t stage = 0, last = trace->n_points - 1;
  *out = (struct ex_exit_costs){.full = 0};
  for (int32_t p = 0; p <= last; p++) {
    bool needed = false;
    for (; stage <= trace->stage[p]; stage++) out->way[p] += bodies[stage];
    for (int32_t q = p + 1; q <= last; q++) needed = needed || (trace->closure[q] >> p & 1);
    out->look[p] = heads[p] + (gates ? gate[p] : 0);
    out->look_off[p] = needed ? heads[p] : 0;
    out->full += out->way[p] + (trace->closure[last] >> p & 1 ? heads[p] : 0);
  }
}
