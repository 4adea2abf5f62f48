/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine: runs a network under a policy, for real. The public calls are
 * in exeunt.h; this header adds what the rooms above need of the inside.
 */
#ifndef EX_ENGINE_ENGINE_H
#define EX_ENGINE_ENGINE_H

#include "net/model.h"
#include "policy/policy.h"

/* What one call spent; the parts sum to the total. Multiply-adds, whole call. */
struct ex_ledger {
  int64_t body, head, gate;
  int64_t executed; /* by the programs' own counters */
  int64_t samples;
  int64_t body_ns, head_ns, gate_ns, decide_ns, gather_ns, total_ns; /* 0 unless profiled */
};

/* As ex_engine_new, with a policy that is not the model's (NULL: the model's). */
enum ex_status ex__engine_new(const ex_model *model, const ex_policy *policy,
                              const struct ex_engine_options *options, ex_engine **out,
                              struct ex_error *err);
const struct ex_ledger *ex__engine_ledger(const ex_engine *engine); /* of the last call */
const ex_compiled *ex__engine_compiled(const ex_engine *engine);    /* of its one-thread programs */

/* The oracle (engine_reference.c): every stage on the slow twin backend, then
 * the decisions one by one. results [n] as the engine's. */
enum ex_status ex__engine_reference(const ex_model *model, const ex_policy *policy, const float *x,
                                    int32_t n, struct ex_result *results, struct ex_error *err);

#endif
