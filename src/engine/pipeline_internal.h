/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/pipeline_internal: one sample on its way through a pipeline, without its
 * queues: what it wants (its ticket), where it is, and what was told of it.
 */
#ifndef EX_ENGINE_PIPELINE_INTERNAL_H
#define EX_ENGINE_PIPELINE_INTERNAL_H

#include "engine/engine_internal.h"
#include "engine/pipeline.h"

struct ex_slot {
  const struct ex_ticket *ticket;
  struct ex_engine_sample *sample;
  int64_t came;    /* when it was submitted */
  int64_t since;   /* when it was put into its queue */
  int64_t due;     /* when it must be run at the latest */
  int32_t first;   /* the point that was looked at first; −1: none yet */
  int32_t wanted;  /* where the policy would leave; −1: nowhere so far */
  int32_t stop_at; /* the point that ends it, once the policy has left; −1 */
  bool entered;    /* its input was read */
  bool told;       /* the first of both answers was given */
  bool hurried;
  bool crosses; /* it ends at the cut, and goes on elsewhere */
};

/* What a worker moves samples with. */
struct ex_mover {
  const ex_engine *engine;
  const ex_partition *partition;
  struct ex_engine_worker tools;
  float *logits; /* [n_outputs] */
};

/* Of a ticket that was just submitted: what queues go by before it is entered. */
void ex__slot_place(const ex_engine *engine, struct ex_slot *slot);
/* Nanoseconds, by the measured times, until it was looked at again, or has come to
 * the cut behind which another machine goes on. */
int64_t ex__slot_time(const ex_engine *engine, const struct ex_slot *slot);
/* The deadline is nearer than that: the best so far was told, if any, and it ends. */
bool ex__slot_hurry(struct ex_mover *mover, struct ex_slot *slot);
/* Its input, or what it brings over a cut, is read. */
void ex__slot_enter(struct ex_mover *mover, struct ex_slot *slot);
/* After a stage has run: the policy decides, where a point was reached. true: its
 * final answer was told. */
bool ex__slot_move(struct ex_mover *mover, struct ex_slot *slot);

#endif
