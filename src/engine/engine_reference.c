/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine_reference: the oracle of the engine: every stage and every
 * head of one sample after another on the twin backend, and only then the
 * decisions, one by one, as if read from a trace. It shares with the engine
 * the task's answer and the policy's decision, and nothing else.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "engine/engine.h"

struct reference {
  const ex_net *net;
  ex_policy policy;
  struct ex_cost cost;
  ex_compiled *compiled;
  ex_lane *lane;
  ex_real *state, *input, *raw, *transform; /* of one sample */
  ex_real *output, *probability;            /* [n_points][n_outputs] */
  ex_real gate[EX_MAX_POINTS];
  struct ex_answer answer[EX_MAX_POINTS];
  _Alignas(16) unsigned char scratch[EX_MAX_POLICY_SCRATCH];
};

static void run_everything(struct reference *ref) {
  const ex_net *net = ref->net;
  ex__lane_input(ref->lane, ref->input, ref->state);
  ex__transform_start(&net->transform, net->n_outputs, ref->transform);
  for (int32_t s = 0; s < net->n_stages; s++) {
    ex__lane_body(ref->lane, s, &ref->state, 1);
    int32_t p = ex__net_point_of(net, s);
    if (p < 0) continue;
    ex_real *output = ref->output + (int64_t)p * net->n_outputs;
    ex__lane_head(ref->lane, p, &ref->state, 1, ref->raw);
    ref->gate[p] = (ex_real)NAN;
    if (net->points[p].gate >= 0) ex__lane_gate(ref->lane, p, &ref->state, 1, &ref->gate[p]);
    ex__transform_apply(&net->transform, p, net->n_outputs, ref->raw, ref->transform, output);
    net->task->answer(output, net->n_outputs, ref->probability + (int64_t)p * net->n_outputs,
                      &ref->answer[p]);
  }
}

struct paid { /* stages and points, as bits */
  uint32_t bodies, heads;
};

/* Multiply-adds of looking at the point `to`, beside what has been paid for. */
static int64_t charge(const struct reference *ref, int32_t to, struct paid *paid) {
  const ex_net *net = ref->net;
  bool gated = (ref->policy.class->needs & EX_POLICY_NEEDS_GATE) != 0;
  int64_t macs = gated ? ref->cost.gate_macs[to] : 0;
  uint32_t bodies = ex__net_bodies(net, to), heads = ex__net_closure(net, to);
  for (int32_t s = 0; s <= net->points[to].stage; s++)
    if ((bodies & ~paid->bodies) >> s & 1) macs += ref->cost.body_macs[s];
  for (int32_t p = 0; p <= to; p++)
    if ((heads & ~paid->heads) >> p & 1) macs += ref->cost.head_macs[p];
  paid->bodies |= bodies;
  paid->heads |= heads;
  return macs;
}

static enum ex_status decide(struct reference *ref, struct ex_result *result) {
  const ex_net *net = ref->net;
  const struct ex_env env = {
      .time_left_ns = INT64_MAX, .max_point = net->n_points - 1, .target = -1};
  memset(ref->scratch, 0, sizeof ref->scratch);
  struct paid paid = {0};
  int32_t point = -1, next = ex__policy_next(&ref->policy, -1, env.max_point);
  struct ex_decision decision = {EX_GO_ON, -1};
  result->macs = 0;
  while (decision.action != EX_LEAVE) {
    result->macs += charge(ref, next, &paid);
    point = next;
    int64_t at = (int64_t)point * net->n_outputs;
    struct ex_observation seen = {point,
                                  net->n_points,
                                  net->n_outputs,
                                  ref->output + at,
                                  ref->probability + at,
                                  ref->answer[point],
                                  ref->gate[point]};
    decision = ex__policy_decide(&ref->policy, ref->scratch, &env, &seen);
    next = decision.action == EX_GO_TO ? decision.point
                                       : ex__policy_next(&ref->policy, point, env.max_point);
  }
  int32_t exit = paid.heads >> decision.point & 1 ? decision.point : point;
  result->label = ref->answer[exit].label;
  result->exit = exit;
  result->stage = net->points[point].stage;
  result->confidence = ref->answer[exit].max_probability;
  for (int32_t i = 0; result->logits != NULL && i < net->n_outputs; i++)
    result->logits[i] = (float)ref->output[(int64_t)exit * net->n_outputs + i];
  return result->label < 0 ? EX_ENOTFINITE : EX_OK;
}

static enum ex_status reference_new(struct reference *ref, struct ex_error *err) {
  const ex_net *net = ref->net;
  const struct ex_compile_options options = {
      .backend = EX_BACKEND_TWIN, .threads = 1, .max_batch = 1};
  EX_TRY(ex__compiled_new(net, &options, &ref->compiled, err));
  EX_TRY(ex__lane_new(ref->compiled, &ref->lane, err));
  size_t n_outputs = (size_t)net->n_outputs, n_points = (size_t)net->n_points;
  int32_t transform = ex__transform_state_size(&net->transform, net->n_outputs);
  ref->state = ex__calloc((size_t)ex__compiled_state_size(ref->compiled), sizeof(ex_real));
  ref->input = ex__calloc((size_t)ex__shape_count(&net->input), sizeof(ex_real));
  ref->raw = ex__calloc(n_outputs, sizeof(ex_real));
  ref->transform = ex__calloc((size_t)transform, sizeof(ex_real));
  ref->output = ex__calloc(n_points * n_outputs, sizeof(ex_real));
  ref->probability = ex__calloc(n_points * n_outputs, sizeof(ex_real));
  if (ref->state == NULL || ref->input == NULL || ref->raw == NULL || ref->transform == NULL ||
      ref->output == NULL || ref->probability == NULL)
    return ex__fail(err, EX_ENOMEM, "reference: no memory");
  ex__net_cost(net, &ref->cost);
  return EX_OK;
}

static void reference_free(struct reference *ref) {
  ex__lane_free(ref->lane);
  ex__compiled_free(ref->compiled);
  ex__free(ref->state);
  ex__free(ref->input);
  ex__free(ref->raw);
  ex__free(ref->transform);
  ex__free(ref->output);
  ex__free(ref->probability);
  ex__free(ref);
}

enum ex_status ex__engine_reference(const ex_model *model, const ex_policy *policy,
                                    bool ready_input, const float *x, int32_t n,
                                    struct ex_result *results, struct ex_error *err) {
  int64_t features = ex__shape_count(&model->net->input);
  struct reference *ref = ex__calloc(1, sizeof *ref);
  if (ref == NULL) return ex__fail(err, EX_ENOMEM, "reference: no memory");
  ref->net = model->net;
  enum ex_status status = EX_OK, worst = EX_OK;
  if (policy != NULL)
    ref->policy = *policy;
  else
    status = ex__policy_from_json(model->policy, ref->net->n_points, ref->net->n_outputs,
                                  &ref->policy, err);
  if (status == EX_OK) status = reference_new(ref, err);
  for (int32_t i = 0; status == EX_OK && i < n; i++) {
    for (int64_t f = 0; f < features; f++) ref->input[f] = x[i * features + f];
    if (!ready_input) ex__preprocess_apply(&model->preprocess, ref->input, features, ref->input);
    run_everything(ref);
    if (decide(ref, &results[i]) != EX_OK)
      worst = ex__fail(err, EX_ENOTFINITE, "reference: sample %d has no finite answer", (int)i);
  }
  reference_free(ref);
  return status != EX_OK ? status : worst;
}
