/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine_sample: one step of a few samples: body, heads, gate, answer,
 * decision. One sample and many go through this one code, so they cannot
 * differ.
 *
 * The loop over points is in engine_one.c (ex_engine_run) and engine_many.c;
 * policy/policy.h says what it must do and what is charged: the bodies that the
 * point needs and that have not run, in ascending order; the heads in its closure
 * that have not run (they run on arrival, not when their stage is passed: a later
 * jump may not need them), and the gate where the rule reads it.
 */
#include <math.h>
#include <string.h>

#include "engine/engine_internal.h"

void ex__engine_enter(const ex_engine *engine, struct ex_engine_worker *worker,
                      struct ex_engine_sample *sample, const float *x) {
  const ex_net *net = engine->net;
#ifdef EX_REAL_IS_DOUBLE
  for (int64_t i = 0; i < engine->features; i++) worker->input[i] = x[i];
  const ex_real *ready = worker->input;
#else
  const ex_real *ready = x;
#endif
  if (!engine->ready_input) {
    ex__preprocess_apply(&engine->model->preprocess, ready, engine->features, worker->input);
    ready = worker->input;
  }
  ex__lane_input(worker->lane[0], ready, sample->state);
  ex__transform_start(&net->transform, net->n_outputs, sample->transform);
  if (engine->has_policy) memset(sample->scratch, 0, engine->policy.class->scratch_size);
  sample->ran = sample->looked = sample->bodies = 0;
  sample->point = sample->exit = -1;
  sample->gate = NAN;
  sample->asked = false;
  sample->macs = 0;
  sample->target = ex__engine_first_target(engine);
  ex__engine_lap(worker, &worker->ledger.input_ns);
}

static void gather_states(struct ex_engine_worker *worker, struct ex_engine_sample *const *samples,
                          int32_t n) {
  for (int32_t i = 0; i < n; i++) worker->state[i] = samples[i]->state;
}

static void run_head(const ex_engine *engine, struct ex_engine_worker *worker, int32_t point,
                     struct ex_engine_sample *const *samples, int32_t n) {
  const ex_net *net = engine->net;
  gather_states(worker, samples, n);
  int32_t segment = ex__net_segment(net->points[point].stage, EX_PART_HEAD);
  ex__lane_head(worker->lane[segment], point, worker->state, n, worker->raw);
  worker->ledger.head += n * engine->cost.head_macs[point];
  ex__engine_lap(worker, &worker->ledger.head_ns);
  for (int32_t i = 0; i < n; i++) {
    struct ex_engine_sample *sample = samples[i];
    ex_real *output = sample->output + (int64_t)point * net->n_outputs;
    ex__transform_apply(&net->transform, point, net->n_outputs,
                        worker->raw + (int64_t)i * net->n_outputs, sample->transform, output);
    net->task->answer(output, net->n_outputs, sample->probability, &sample->answer[point]);
    sample->ran |= UINT32_C(1) << point;
    sample->macs += engine->cost.head_macs[point];
  }
  ex__engine_lap(worker, &worker->ledger.decide_ns);
}

static void run_gate(const ex_engine *engine, struct ex_engine_worker *worker, int32_t point,
                     struct ex_engine_sample *const *samples, int32_t n) {
  gather_states(worker, samples, n);
  int32_t segment = ex__net_segment(engine->net->points[point].stage, EX_PART_GATE);
  ex__lane_gate(worker->lane[segment], point, worker->state, n, worker->gate);
  worker->ledger.gate += n * engine->cost.gate_macs[point];
  for (int32_t i = 0; i < n; i++) {
    samples[i]->gate = samples[i]->gates[point] = worker->gate[i];
    samples[i]->macs += engine->cost.gate_macs[point];
  }
  ex__engine_lap(worker, &worker->ledger.gate_ns);
}

void ex__engine_heads(const ex_engine *engine, struct ex_engine_worker *worker, uint32_t heads,
                      struct ex_engine_sample *sample) {
  for (int32_t p = 0; heads != 0; p++, heads >>= 1)
    if (heads & 1) run_head(engine, worker, p, &sample, 1);
}

/* Those whose answer at `point` still needs the head of the point p. */
static int32_t select_lacking(struct ex_engine_sample *const *samples, int32_t n, int32_t p,
                              struct ex_engine_sample **out) {
  int32_t m = 0;
  for (int32_t i = 0; i < n; i++)
    if ((samples[i]->ran >> p & 1) == 0) out[m++] = samples[i];
  return m;
}

static void run_point(const ex_engine *engine, struct ex_engine_worker *worker, int32_t point,
                      struct ex_engine_sample *const *samples, int32_t n) {
  struct ex_engine_sample *here[EX_MICRO_BATCH], *lacking[EX_MICRO_BATCH];
  int32_t n_here = 0;
  for (int32_t i = 0; i < n; i++)
    if (samples[i]->target == point) {
      samples[i]->point = point;
      samples[i]->gate = samples[i]->gates[point] = NAN;
      samples[i]->asked = false;
      here[n_here++] = samples[i];
    }
  if (n_here == 0) return;
  for (int32_t p = 0; p <= point; p++) {
    if ((engine->closure[point] >> p & 1) == 0) continue;
    int32_t m = select_lacking(here, n_here, p, lacking);
    if (m > 0) run_head(engine, worker, p, lacking, m);
  }
  if (engine->gates && engine->net->points[point].gate >= 0)
    run_gate(engine, worker, point, here, n_here);
}

void ex__engine_stage(const ex_engine *engine, struct ex_engine_worker *worker, int32_t stage,
                      struct ex_engine_sample *const *samples, int32_t n) {
  gather_states(worker, samples, n);
  ex__lane_body(worker->lane[ex__net_segment(stage, EX_PART_BODY)], stage, worker->state, n);
  int64_t macs = engine->cost.body_macs[stage];
  worker->ledger.body += n * macs;
  for (int32_t i = 0; i < n; i++) {
    samples[i]->macs += macs;
    samples[i]->bodies |= UINT32_C(1) << stage;
  }
  ex__engine_lap(worker, &worker->ledger.body_ns);
  if (engine->point_of[stage] >= 0) run_point(engine, worker, engine->point_of[stage], samples, n);
}

struct ex_env ex__engine_env(const ex_engine *engine) {
  return (struct ex_env){.time_left_ns = INT64_MAX,
                         .max_point = engine->net->n_points - 1,
                         .target = -1,
                         .classes = engine->asks_for_classes ? engine->classes : NULL,
                         .n_classes = engine->n_classes};
}

struct ex_observation ex__engine_observe(const ex_engine *engine,
                                         const struct ex_engine_sample *sample) {
  const ex_net *net = engine->net;
  return (struct ex_observation){.point = sample->point,
                                 .n_points = net->n_points,
                                 .n_outputs = net->n_outputs,
                                 .output = sample->output + (int64_t)sample->point * net->n_outputs,
                                 .probability = sample->probability,
                                 .answer = sample->answer[sample->point],
                                 .gate = sample->gate};
}

struct ex_decision ex__engine_decide(const ex_engine *engine, struct ex_engine_worker *worker,
                                     struct ex_engine_sample *sample, const struct ex_env *env) {
  int32_t point = sample->point;
  const struct ex_observation seen = ex__engine_observe(engine, sample);
  struct ex_decision decision = ex__policy_decide(&engine->policy, sample->scratch, env, &seen);
  sample->asked = true;
  sample->looked |= UINT32_C(1) << point;
  switch (decision.action) {
    case EX_LEAVE: /* a rule that jumped may name an answer that it jumped over */
      sample->exit = sample->ran >> decision.point & 1 ? decision.point : point;
      break;
    case EX_GO_TO: sample->target = decision.point; break;
    case EX_GO_ON: sample->target = ex__policy_next(&engine->policy, point, env->max_point); break;
  }
  ex__engine_lap(worker, &worker->ledger.decide_ns);
  return decision;
}

enum ex_status ex__engine_answer(const ex_engine *engine, const struct ex_engine_sample *sample,
                                 int32_t point, struct ex_result *result) {
  const ex_net *net = engine->net;
  const struct ex_answer *answer = &sample->answer[point];
  result->label = answer->label;
  result->exit = point;
  result->stage = net->points[sample->point].stage;
  result->confidence = answer->max_probability;
  result->macs = sample->macs;
  if (result->logits != NULL) {
    const ex_real *output = sample->output + (int64_t)point * net->n_outputs;
    for (int32_t i = 0; i < net->n_outputs; i++) result->logits[i] = (float)output[i];
  }
  return answer->label < 0 ? EX_ENOTFINITE : EX_OK;
}

int64_t ex__engine_time_to_target(const ex_engine *engine, const struct ex_engine_sample *sample) {
  const struct ex_cost *cost = &engine->cost;
  int32_t target = sample->target;
  return ex__sum_over(cost->body_ns, ex__engine_bodies_to(engine, sample, target)) +
         ex__sum_over(cost->head_ns, ex__engine_heads_to(engine, sample, target)) +
         (engine->gates ? cost->gate_ns[target] : 0);
}

int32_t ex__engine_best(const struct ex_engine_sample *sample) {
  if (sample->exit >= 0) return sample->exit;
  for (int32_t p = sample->point; p >= 0; p--)
    if (sample->ran >> p & 1 && sample->answer[p].label >= 0) return p;
  return -1;
}
