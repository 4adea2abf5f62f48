/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/plan: choices that were timed once, by key.
 *
 * A key says all that the choice depends on, in words that a person can read:
 *   "conv fwd 16x32x28x28 k3 s1 b8 t1 | EPYC 9V74 | oneDNN 2.6.3"
 * Keys and choices are printable ASCII, at most 240 and 80 characters. In
 * JSON a plan is {key: {"choice": "brgemm nhwc", "ns": 81234}, …}.
 */
#ifndef EX_GRAPH_PLAN_H
#define EX_GRAPH_PLAN_H

#include "graph/program.h"

/* The choice stored under the key, or NULL; borrowed until the next put. */
const char *ex__plan_find(const ex_plan *plan, const char *key);
/* Writes over what was there. `ns`: the time that the choice took, ≥ 0; for people. */
enum ex_status ex__plan_put(ex_plan *plan, const char *key, const char *choice, int64_t ns);
int32_t ex__plan_count(const ex_plan *plan);

#endif
