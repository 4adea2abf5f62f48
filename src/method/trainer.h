/* SPDX-License-Identifier: Apache-2.0
 *
 * method/trainer: what a method with a step of its own asks of training.
 *
 * Most methods are a loss, and never see this. A method whose step looks ahead
 * (virtual steps, differences along a direction, displacements) drives the
 * passes itself, through functions that the room above fills in: so this
 * folder needs no engine, no files and no clock, and methods can be tried
 * against a trainer that a test has made.
 *
 * None of the functions fails or allocates. What a method needs beside the
 * parameters (slabs, state, scratch) it declares in `needs`, and training takes
 * it before the first step.
 */
#ifndef EX_METHOD_TRAINER_H
#define EX_METHOD_TRAINER_H

#include "method/method.h"

/* Which parts an update moves; what is left out keeps its weights and moments
 * bit for bit, and is not decayed. Bits of heads and gates are points. */
struct ex_update {
  bool bodies;
  uint32_t heads, gates;
};
static const struct ex_update ex_update_everything = {true, UINT32_MAX, UINT32_MAX};

enum { EX_ALL_POINTS = -1 }; /* as a set of bits */

struct ex_trainer {
  void *self;        /* the trainer's own */
  const ex_net *net; /* `update` moves its parameters, `forward` its buffers */
  enum ex_phase phase;
  int32_t epoch, n_epochs; /* of this phase; epoch from 0 */
  int32_t step, n_steps;   /* of this epoch, from 0 */
  int64_t at;              /* steps of the whole run before this one: the batch that is due */
  uint64_t seed;           /* of this step: the only source of what is drawn in it */
  double learning_rate;
  int32_t n_meta;            /* meta samples; 0 where none were asked for */
  ex_slabs *const *kept;     /* [needs.kept], laid out like parameters; saved in checkpoints */
  ex_slabs *const *work;     /* [needs.work], the same; lost between two steps */
  ex_slabs *grads;           /* for gradients; holds anything when the step begins */
  void *scratch;             /* [needs.scratch] bytes; lost between two steps */
  struct ex_loss_call *call; /* of the last forward */

  /* Puts a batch where forward reads it and its classes into call->target.
   * Training batches are numbered through all epochs; `index` may be any of
   * them, and the same number gives the same samples and augmentation. */
  void (*read)(struct ex_trainer *trainer, enum ex_source source, int64_t index);
  /* Outputs at `params` into call->output; sets call->doutput to zero. Batch
   * norm takes the statistics of the batch; `move`: the net's running ones
   * move, which only a step that trains should let them. */
  void (*forward)(struct ex_trainer *trainer, const ex_slabs *params, bool move);
  /* Adds to `grads` what the seeds in call->doutput and dgate give at the points
   * whose bit is set. After a forward at the same params. */
  void (*backward)(struct ex_trainer *trainer, const ex_slabs *params, int32_t points,
                   ex_slabs *grads);
  /* Between aside(true) and aside(false) batches are read, and passes go, to a
   * place of their own, and `call` shows what lies there; behind it, what the last
   * forward kept and `call` are as they were. Aside a forward is followed by at most
   * one backward. Only where needs.aside is set: it takes as much memory again. */
  void (*aside)(struct ex_trainer *trainer, bool away);
  /* Once in every step: the loss that the progress line shows, with the
   * call's point losses. */
  void (*note)(struct ex_trainer *trainer, double loss);
  /* The optimiser's step, with clipping, decay and moments. Nothing moves where
   * the gradient is not finite, and training then stops as diverged. */
  void (*update)(struct ex_trainer *trainer, const ex_slabs *grads, struct ex_update what);
  /* out ← where that step would lead; nothing else moves, nothing is clipped. */
  void (*look_ahead)(struct ex_trainer *trainer, const ex_slabs *grads, ex_slabs *out);
  /* out ← by × what look_ahead moves per unit of gradient, at these gradients.
   * Optimisers are elementwise, so this is the derivative of look_ahead along
   * `by`, and its transpose too. `out` is another slab than `by`. */
  void (*sensitivity)(struct ex_trainer *trainer, const ex_slabs *grads, const ex_slabs *by,
                      ex_slabs *out);
  /* Begins the moments anew. */
  void (*forget)(struct ex_trainer *trainer);
};

/* ---- for the files of methods -------------------------------------------- */

/* The end of a step that goes down one loss of the last forward, at the net's own
 * parameters: notes it, goes backward from all points, updates everything. */
void ex__method_descend(struct ex_trainer *trainer, double loss);
/* Sets the seeds at all heads and gates to zero, as a forward does. */
void ex__method_clear_seeds(const struct ex_loss_call *call);

#endif
