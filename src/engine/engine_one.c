/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine_one: one sample: straight through, or step by step.
 *
 * The anytime calls keep their sample in a place of its own, so that other
 * samples may be run between two steps. A step never goes back: what it needs
 * was left by the step before in the sample's state, and so nothing is
 * computed twice.
 */
#include "engine/engine_internal.h"

/* Runs on until the next point has been looked at. */
static void arrive(ex_engine *engine, struct ex_engine_sample *sample) {
  while (!ex__engine_arrived(sample))
    ex__engine_stage(engine, &engine->lone, ex__engine_next_stage(engine, sample), &sample, 1);
}

/* Multiply-adds until the next point would have been looked at. */
static int64_t macs_to(const ex_engine *engine, const struct ex_engine_sample *sample,
                       int32_t target) {
  const struct ex_cost *cost = &engine->cost;
  return ex__sum_over(cost->body_macs, ex__engine_bodies_to(engine, sample, target)) +
         ex__sum_over(cost->head_macs, ex__engine_heads_to(engine, sample, target)) +
         (engine->gates ? cost->gate_macs[target] : 0);
}

static void show(const ex_engine *engine, const struct ex_engine_sample *sample,
                 struct ex_decision decision, ex_engine_watcher *watch, void *context) {
  const struct ex_observation seen = ex__engine_observe(engine, sample);
  int32_t last = engine->net->n_points - 1;
  struct ex_engine_step step = {.seen = &seen, .decision = decision, .macs = sample->macs};
  step.has_reading = ex__policy_read(&engine->policy, sample->scratch, &seen, &step.reading);
  if (seen.point < last) {
    step.next = decision.action == EX_GO_TO ? decision.point
                                            : ex__policy_next(&engine->policy, seen.point, last);
    step.next_macs = macs_to(engine, sample, step.next);
    step.last_macs = macs_to(engine, sample, last);
  }
  watch(context, &step);
}

static enum ex_status run(ex_engine *engine, const float *x, ex_engine_watcher *watch,
                          void *context, struct ex_result *result) {
  struct ex_engine_sample *sample = &engine->samples[0];
  const struct ex_env env = ex__engine_env(engine);
  ex__engine_open(engine, &engine->lone, 1);
  ex__engine_enter(engine, &engine->lone, sample, x);
  do {
    arrive(engine, sample);
    struct ex_decision decision = ex__engine_decide(engine, &engine->lone, sample, &env);
    if (watch != NULL) show(engine, sample, decision, watch, context);
  } while (sample->exit < 0);
  ex__engine_close(engine, &engine->lone, 1, 1);
  return ex__engine_answer(engine, sample, sample->exit, result);
}

enum ex_status ex_engine_run(ex_engine *engine, const float *x, struct ex_result *result) {
  if (engine == NULL || x == NULL || result == NULL || !engine->has_policy) return EX_EINVAL;
  return run(engine, x, NULL, NULL, result);
}

enum ex_status ex__engine_watch(ex_engine *engine, const float *x, ex_engine_watcher *watch,
                                void *context, struct ex_result *result) {
  if (!engine->has_policy) return EX_EINVAL;
  return run(engine, x, watch, context, result);
}

/* ---- anytime -------------------------------------------------------------- */

static struct ex_engine_sample *anytime_sample(const ex_engine *engine) {
  return &engine->samples[engine->max_batch];
}

enum ex_status ex_engine_begin(ex_engine *engine, const float *x) {
  if (engine == NULL || x == NULL) return EX_EINVAL;
  ex__engine_open(engine, &engine->lone, 1);
  ex__engine_enter(engine, &engine->lone, anytime_sample(engine), x);
  ex__engine_close(engine, &engine->lone, 1, 1);
  engine->begun = true;
  return EX_OK;
}

enum ex_status ex_engine_advance(ex_engine *engine, int32_t exit, struct ex_result *result) {
  if (engine == NULL || result == NULL || !engine->begun) return EX_EINVAL;
  struct ex_engine_sample *sample = anytime_sample(engine);
  if (exit < 0 || exit < sample->point || exit >= engine->net->n_points) return EX_EINVAL;
  ex__engine_open(engine, &engine->lone, 1);
  if (exit > sample->point) {
    sample->exit = -1;
    sample->target = exit;
    arrive(engine, sample);
  }
  ex__engine_close(engine, &engine->lone, 1, 1);
  return ex__engine_answer(engine, sample, exit, result);
}

/* One decision, where it is due; false: the sample is to stay where it is. */
static bool go_on(ex_engine *engine, struct ex_engine_sample *sample, int64_t time_left_ns) {
  if (sample->exit >= 0) return false;
  if (sample->point >= 0 && !sample->asked && engine->has_policy) {
    struct ex_env env = ex__engine_env(engine);
    env.time_left_ns = time_left_ns;
    ex__engine_decide(engine, &engine->lone, sample, &env);
  } else if (ex__engine_arrived(sample) && sample->point < engine->net->n_points - 1) {
    sample->target = sample->point + 1;
  }
  return sample->exit < 0 && !ex__engine_arrived(sample) &&
         ex__engine_time_to_target(engine, sample) <= time_left_ns;
}

enum ex_status ex_engine_advance_until(ex_engine *engine, int64_t budget_ns,
                                       struct ex_result *result) {
  if (engine == NULL || result == NULL || !engine->begun) return EX_EINVAL;
  int64_t end = 0, left = budget_ns;
  if (__builtin_add_overflow(ex__now_ns(), budget_ns, &end)) end = INT64_MAX;
  struct ex_engine_sample *sample = anytime_sample(engine);
  ex__engine_open(engine, &engine->lone, 1);
  while (go_on(engine, sample, left)) {
    arrive(engine, sample);
    left = end - ex__now_ns();
  }
  ex__engine_close(engine, &engine->lone, 1, 1);
  if (sample->point < 0) return EX_EDEADLINE;
  int32_t best = ex__engine_best(sample);
  return ex__engine_answer(engine, sample, best >= 0 ? best : sample->point, result);
}
