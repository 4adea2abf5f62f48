/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine_slot: what happens to one sample between two stages.
 */
#include <math.h>

#include "engine/pipeline_internal.h"

static bool ends_at_cut(const struct ex_ticket *ticket) {
  return ticket->crossing != NULL && ticket->x != NULL;
}

/* Whose body is the last that runs here. */
static int32_t last_stage(const ex_engine *engine, const struct ex_ticket *ticket) {
  return ends_at_cut(ticket) ? engine->net->points[ticket->crossing->point].stage
                             : engine->net->n_stages - 1;
}

static int32_t last_exit(const ex_engine *engine, const struct ex_ticket *ticket) {
  int32_t last = engine->net->n_points - 1;
  return ticket->max_exit >= 0 && ticket->max_exit < last ? ticket->max_exit : last;
}

static void tell(struct ex_mover *mover, const struct ex_slot *slot, enum ex_status status,
                 int32_t point, bool final) {
  const struct ex_engine_sample *sample = slot->sample;
  struct ex_pipeline_answer answer = {.status = status,
                                      .final = final,
                                      .hurried = slot->hurried,
                                      .wanted = slot->wanted,
                                      .first = slot->first,
                                      .first_confidence = NAN,
                                      .crosses = slot->crosses,
                                      .logits = mover->logits,
                                      .result = {.exit = -1, .label = -1, .stage = -1}};
  answer.result.logits = mover->logits;
  if (slot->first >= 0) answer.first_confidence = sample->answer[slot->first].max_probability;
  if (status == EX_OK)
    answer.status = ex__engine_answer(mover->engine, sample, point, &answer.result);
  slot->ticket->answered(slot->ticket->context, &answer);
}

static struct ex_env surroundings(const ex_engine *engine, const struct ex_ticket *ticket) {
  struct ex_env env = ex__engine_env(engine);
  env.max_point = last_exit(engine, ticket);
  if (ticket->deadline_ns != INT64_MAX) env.time_left_ns = ticket->deadline_ns - ex__now_ns();
  if (ticket->classes != NULL) {
    env.classes = ticket->classes;
    env.n_classes = ticket->n_classes;
  }
  return env;
}

void ex__slot_enter(struct ex_mover *mover, struct ex_slot *slot) {
  const ex_engine *engine = mover->engine;
  const struct ex_ticket *ticket = slot->ticket;
  slot->entered = true;
  if (ticket->x != NULL) {
    ex__engine_enter(engine, &mover->tools, slot->sample, ticket->x);
    slot->sample->target = ex__policy_next(&engine->policy, -1, last_exit(engine, ticket));
    return;
  }
  const struct ex_env env = surroundings(engine, ticket);
  ex__engine_resume(engine, slot->sample, mover->partition, ticket->crossing, &env);
  if (ticket->crossing->stops) slot->stop_at = ticket->crossing->target;
}

/* The stages of this machine have run, and there is no answer: it crosses, and the
 * best so far is told. */
static bool cross(struct ex_mover *mover, struct ex_slot *slot) {
  const ex_engine *engine = mover->engine;
  const struct ex_ticket *ticket = slot->ticket;
  struct ex_engine_sample *sample = slot->sample;
  if (!ends_at_cut(ticket) || ex__engine_next_stage(engine, sample) <= last_stage(engine, ticket))
    return false;
  int32_t best = ex__engine_best(sample);
  ex__engine_carry(engine, &mover->tools, sample, mover->partition, ticket->crossing->point,
                   ticket->crossing);
  ticket->crossing->stops = slot->stop_at >= 0;
  slot->crosses = true;
  if (slot->wanted >= 0) best = slot->wanted;
  tell(mover, slot, best >= 0 ? EX_OK : EX_EDEADLINE, best, true);
  return true;
}

/* The policy has left: it ends here, or some exits later, or at the last. */
static void leave(const ex_engine *engine, struct ex_slot *slot) {
  struct ex_engine_sample *sample = slot->sample;
  int32_t last = last_exit(engine, slot->ticket), point = sample->point;
  slot->wanted = sample->exit;
  if (slot->ticket->later == 0 || point >= last) return;
  slot->stop_at = slot->ticket->later < last - point ? point + slot->ticket->later : last;
  sample->target = slot->stop_at;
  sample->exit = -1;
}

/* What follows after a point was looked at; true: its final answer was given. */
static bool decide(struct ex_mover *mover, struct ex_slot *slot) {
  const ex_engine *engine = mover->engine;
  struct ex_engine_sample *sample = slot->sample;
  const struct ex_ticket *ticket = slot->ticket;
  int32_t last = last_exit(engine, ticket);
  if (slot->first < 0) slot->first = sample->point;
  if (slot->stop_at < 0) {
    const struct ex_env env = surroundings(engine, ticket);
    ex__engine_decide(engine, &mover->tools, sample, &env);
    if (sample->exit < 0) return false;
    leave(engine, slot);
  } else {
    sample->exit = sample->point;
  }
  if (sample->exit < 0) return false;
  bool more = ticket->both && !slot->told && sample->point < last;
  tell(mover, slot, EX_OK, sample->exit, !more);
  if (!more) return true;
  slot->told = true;
  slot->stop_at = sample->target = last;
  sample->exit = -1;
  return false;
}

bool ex__slot_hurry(struct ex_mover *mover, struct ex_slot *slot) {
  struct ex_engine_sample *sample = slot->sample;
  if (slot->ticket->deadline_ns == INT64_MAX) return false;
  int64_t left = slot->ticket->deadline_ns - ex__now_ns();
  if (ex__slot_time(mover->engine, slot) <= left) return false;
  slot->hurried = true;
  int32_t best = ex__engine_best(sample);
  if (best < 0) best = sample->point;
  tell(mover, slot, best >= 0 ? EX_OK : EX_EDEADLINE, best, true);
  return true;
}

bool ex__slot_move(struct ex_mover *mover, struct ex_slot *slot) {
  if (ex__engine_arrived(slot->sample) && decide(mover, slot)) return true;
  return cross(mover, slot);
}

/* ---- before and between ------------------------------------------------------ */

void ex__slot_place(const ex_engine *engine, struct ex_slot *slot) {
  struct ex_engine_sample *sample = slot->sample;
  if (slot->ticket->x == NULL) {
    ex__engine_place(engine, sample, slot->ticket->crossing);
    return;
  }
  sample->point = sample->exit = -1;
  sample->ran = sample->bodies = 0;
  sample->target = ex__policy_next(&engine->policy, -1, last_exit(engine, slot->ticket));
}

int64_t ex__slot_time(const ex_engine *engine, const struct ex_slot *slot) {
  const struct ex_engine_sample *sample = slot->sample;
  int32_t last = last_stage(engine, slot->ticket);
  if (engine->net->points[sample->target].stage <= last)
    return ex__engine_time_to_target(engine, sample);
  uint32_t here = (uint32_t)((UINT64_C(2) << last) - 1);
  return ex__sum_over(engine->cost.body_ns,
                      ex__engine_bodies_to(engine, sample, sample->target) & here);
}
