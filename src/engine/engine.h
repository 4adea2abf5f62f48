/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine: runs a network under a policy, for real. The public calls are
 * in exeunt.h; this header adds what the rooms above need of the inside.
 */
#ifndef EX_ENGINE_ENGINE_H
#define EX_ENGINE_ENGINE_H

#include "data/data.h"
#include "net/model.h"
#include "net/net_run.h"
#include "policy/policy.h"

/* What the last call spent, all samples together. */
struct ex_ledger {
  int64_t samples;
  int64_t body, head, gate; /* multiply-adds by the cost table; they sum to… */
  int64_t executed;         /* …what the programs' own counters say */
  /* Nanoseconds of all workers together, 0 unless profiled. The parts sum to
   * total_ns; decide_ns holds transform, softmax and rule; queue_ns taking
   * from the queues and waiting for other workers. */
  int64_t input_ns, body_ns, head_ns, gate_ns, decide_ns, queue_ns, total_ns;
  int64_t wall_ns; /* of the call */
};

/* As ex_engine_new, with a policy that is not the model's (NULL: the model's). */
enum ex_status ex__engine_new(const ex_model *model, const ex_policy *policy,
                              const struct ex_engine_options *options, ex_engine **out,
                              struct ex_error *err);
/* One decision of a sample on its way. */
struct ex_engine_step {
  const struct ex_observation *seen; /* valid during the call */
  struct ex_decision decision;
  struct ex_reading reading; /* what it went by, where has_reading */
  bool has_reading;
  int64_t macs; /* spent so far */
  /* Where the sample would go, or goes, from here, and what getting there and to
   * the last exit takes; all 0 at the last. */
  int32_t next;
  int64_t next_macs, last_macs;
};
typedef void ex_engine_watcher(void *context, const struct ex_engine_step *step);
/* As ex_engine_run, and `watch` is shown every decision. EX_EINVAL without a policy. */
enum ex_status ex__engine_watch(ex_engine *engine, const float *x, ex_engine_watcher *watch,
                                void *context, struct ex_result *result);

void ex__engine_profile(ex_engine *engine, bool on); /* costs about 25 ns per part and stage */
const struct ex_ledger *ex__engine_ledger(ex_engine *engine);    /* of the last call */
const ex_compiled *ex__engine_compiled(const ex_engine *engine); /* its one-thread programs */
/* Multiply-adds, and times of one sample as this engine runs it, measured when it was made. */
const struct ex_cost *ex__engine_cost(const ex_engine *engine);
/* Fills the ns columns of `cost` with medians over differing samples, as a
 * caller of this engine meets them: pre-processing is in the first body;
 * transform, softmax and confidence are in the heads. x [n][features], as the
 * engine takes inputs, n ≥ 1. A sample that was begun is given up. */
enum ex_status ex__engine_measure(ex_engine *engine, const float *x, int32_t n,
                                  struct ex_cost *cost, struct ex_error *err);
/* The same over samples spread over a split, of which there must be some. `cost`
 * is filled whole, multiply-adds included. */
enum ex_status ex__engine_measure_split(ex_engine *engine, const ex_data *data, enum ex_split split,
                                        struct ex_cost *cost, struct ex_error *err);
bool ex__engine_minds_classes(const ex_engine *engine); /* of a request: its rule reads them */
/* What was chosen by timing: samples per micro-batch, threads of a lone sample. */
void ex__engine_describe(const ex_engine *engine, struct ex_text *text);

/* The oracle (engine_reference.c): every stage on the slow twin backend, then
 * the decisions one by one. x as the model was trained on, or pre-processed
 * where `ready_input`. results [n] as the engine's. */
enum ex_status ex__engine_reference(const ex_model *model, const ex_policy *policy,
                                    bool ready_input, const float *x, int32_t n,
                                    struct ex_result *results, struct ex_error *err);

#endif
