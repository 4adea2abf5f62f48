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
  int32_t last = trace->n_points - 1;
  uint32_t before = 0;
  *out = (struct ex_exit_costs){.full = ex__sum_over(bodies, trace->bodies[last]) +
                                        ex__sum_over(heads, trace->closure[last])};
  for (int32_t p = 0; p <= last; p++) {
    uint32_t here = trace->bodies[p] & ~before, later_bodies = p == last ? here : 0, later = 0;
    for (int32_t q = p + 1; q <= last; q++) {
      later_bodies |= trace->bodies[q];
      later |= trace->closure[q];
    }
    before |= here;
    out->way[p] = ex__sum_over(bodies, here & later_bodies);
    out->look[p] = ex__sum_over(bodies, here & ~later_bodies) + heads[p] + (gates ? gate[p] : 0);
    out->look_off[p] = later >> p & 1 ? heads[p] : 0;
  }
}

int64_t ex__exit_step(const ex_trace *trace, bool ns, int32_t from, int32_t to) {
  const struct ex_cost *cost = &trace->cost;
  uint32_t bodies = from >= 0 ? trace->bodies[from] : 0;
  uint32_t heads = from >= 0 ? trace->closure[from] : 0;
  return ex__sum_over(ns ? cost->body_ns : cost->body_macs, trace->bodies[to] & ~bodies) +
         ex__sum_over(ns ? cost->head_ns : cost->head_macs, trace->closure[to] & ~heads);
}
