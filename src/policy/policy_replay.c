/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_replay: what a rule would have done with recorded samples, and
 * what that would have cost.
 *
 * The same steps as the engine's (engine_one.c), but nothing is computed: outputs
 * are those that the trace recorded, costs those of its table, so a saving that
 * is told here is one by table. That the engine does the same is a test's matter.
 * A body is charged once, on the way to the first point that needs it, a head
 * when first it runs, be it for its own answer or in the closure of another;
 * gates are charged to rules that declare that they read them.
 */
#include <math.h>
#include <string.h>

#include "policy/policy.h"

struct replay {
  const ex_policy *policy;
  const ex_trace *trace;
  struct ex_env env;
  bool gates;
  int32_t next[EX_MAX_POINTS + 1]; /* of point − 1: ex__policy_next */
};

static void charge(const struct replay *replay, int32_t point, struct ex_outcome *out) {
  const ex_trace *trace = replay->trace;
  const struct ex_cost *cost = &trace->cost;
  uint32_t bodies = trace->bodies[point] & ~out->bodies;
  uint32_t heads = trace->closure[point] & ~out->heads;
  out->bodies |= bodies;
  out->heads |= heads;
  out->macs += ex__sum_over(cost->body_macs, bodies) + ex__sum_over(cost->head_macs, heads);
  out->ns += ex__sum_over(cost->body_ns, bodies) + ex__sum_over(cost->head_ns, heads);
  if (!replay->gates) return;
  out->macs += cost->gate_macs[point];
  out->ns += cost->gate_ns[point];
}

static void replay_sample(const struct replay *replay, int32_t sample, void *scratch,
                          struct ex_outcome *out) {
  *out = (struct ex_outcome){0};
  int32_t point = replay->next[0];
  for (;;) {
    charge(replay, point, out);
    struct ex_observation seen = ex__policy_observe(replay->trace, point, sample);
    struct ex_decision decision = ex__policy_decide(replay->policy, scratch, &replay->env, &seen);
    if (decision.action == EX_LEAVE) {
      out->point = point;
      out->answer = decision.point;
      return;
    }
    point = decision.action == EX_GO_TO ? decision.point : replay->next[point + 1];
  }
}

static struct replay begin(const ex_policy *policy, const ex_trace *trace,
                           const struct ex_env *env) {
  const struct ex_env unlimited = {
      .time_left_ns = INT64_MAX, .max_point = trace->n_points - 1, .target = -1};
  struct replay replay = {policy,
                          trace,
                          env != NULL ? *env : unlimited,
                          (policy->class->needs & EX_POLICY_NEEDS_GATE) != 0,
                          {0}};
  if (replay.env.max_point >= trace->n_points) replay.env.max_point = trace->n_points - 1;
  for (int32_t p = 0; p < trace->n_points; p++)
    replay.next[p] = ex__policy_next(policy, p - 1, replay.env.max_point);
  return replay;
}

static void show_target(struct replay *replay, int32_t sample) {
  bool shown = (replay->policy->class->needs & EX_POLICY_NEEDS_TARGET) != 0;
  replay->env.target = shown ? replay->trace->target[sample] : -1;
}

void ex__policy_replay(const ex_policy *policy, const ex_trace *trace, const struct ex_env *env,
                       struct ex_outcome *outcomes) {
  _Alignas(16) unsigned char scratch[EX_MAX_POLICY_SCRATCH];
  struct replay replay = begin(policy, trace, env);
  for (int32_t i = 0; i < trace->n; i++) {
    show_target(&replay, i);
    memset(scratch, 0, policy->class->scratch_size);
    replay_sample(&replay, i, scratch, &outcomes[i]);
  }
}

/* ---- jumps ---------------------------------------------------------------- */

/* The first exit behind `point` at which a sample leaves that goes straight to it. */
static int32_t first_leaving(const struct replay *replay, int32_t sample, int32_t point,
                             const void *scratch) {
  _Alignas(16) unsigned char copy[EX_MAX_POLICY_SCRATCH];
  for (int32_t p = point + 1; p < replay->env.max_point; p++) {
    memcpy(copy, scratch, replay->policy->class->scratch_size);
    struct ex_observation seen = ex__policy_observe(replay->trace, p, sample);
    if (ex__policy_decide(replay->policy, copy, &replay->env, &seen).action == EX_LEAVE) return p;
  }
  return replay->env.max_point;
}

static void follow(const struct replay *replay, int32_t sample, void *scratch,
                   struct ex_jumps *jumps) {
  int32_t point = replay->next[0];
  for (;;) {
    struct ex_observation seen = ex__policy_observe(replay->trace, point, sample);
    struct ex_decision decision = ex__policy_decide(replay->policy, scratch, &replay->env, &seen);
    jumps->looked++;
    if (decision.action == EX_LEAVE) return;
    if (decision.action == EX_GO_TO) {
      int32_t first = first_leaving(replay, sample, point, scratch);
      jumps->jumped++;
      jumps->right += first == decision.point;
      jumps->over += first < decision.point;
      jumps->under += first > decision.point;
    }
    point = decision.action == EX_GO_TO ? decision.point : replay->next[point + 1];
  }
}

void ex__policy_jumps(const ex_policy *policy, const ex_trace *trace, const struct ex_env *env,
                      struct ex_jumps *jumps) {
  _Alignas(16) unsigned char scratch[EX_MAX_POLICY_SCRATCH];
  struct replay replay = begin(policy, trace, env);
  *jumps = (struct ex_jumps){0};
  for (int32_t i = 0; i < trace->n; i++) {
    show_target(&replay, i);
    memset(scratch, 0, policy->class->scratch_size);
    follow(&replay, i, scratch, jumps);
  }
}
