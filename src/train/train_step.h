/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_step: the stepper: a network's segments compiled for training,
 * and their passes.
 *
 * This is the trainer interface of the design. Forward runs every segment that
 * the phase needs. Backward goes stage by stage, from the last to the first,
 * from the seeds at the heads and gates of chosen points into a chosen slab:
 * whole-network training, per-exit gradients and pipelines are loops over it.
 * A two-point difference along a direction of parameters (Jacobian–vector
 * product) is two forwards with other slabs; snapshot and restore are
 * ex__slabs_copy. The stepper owns activations only: parameters, buffers and
 * gradients are named in each pass, so several methods of moving them fit.
 *
 * Nothing allocates or fails after ex__stepper_new.
 */
#ifndef EX_TRAIN_TRAIN_STEP_H
#define EX_TRAIN_TRAIN_STEP_H

#include "graph/program.h"
#include "method/trainer.h"

typedef struct ex_stepper ex_stepper;

/* Of passes through the network, or of the multiply-adds that they execute. */
struct ex_pass_counts {
  int64_t forward, backward;
};

struct ex_stepper_options {
  int32_t batch, threads;
  enum ex_backend backend;
  enum ex_layout layout;
  ex_plan *plan; /* NULL: nothing is timed */
  enum ex_phase phase;
  const struct ex_flows *flows; /* borrowed while the stepper is made; NULL: none */
  bool one_backward; /* at most one backward follows a forward: it may use up what that kept */
  /* NULL, or a stepper whose memory for activations is used where it is large
   * enough: each forward (and backward) of one ruins what the other kept. It
   * outlives this one. */
  const ex_stepper *lender;
};

enum ex_status ex__stepper_new(const ex_net *net, const struct ex_stepper_options *options,
                               ex_stepper **out, struct ex_error *err); /* borrows the net */
void ex__stepper_free(ex_stepper *stepper);                             /* accepts NULL */
/* Frozen segments may have packed the net's weights when they were compiled:
 * packs the current ones. */
void ex__stepper_repack(ex_stepper *stepper);

/* Whether the phase trains this tensor of the graph (buffers: whether they move). */
bool ex__stepper_trains(const ex_stepper *stepper, int32_t tensor);
bool ex__stepper_trains_point(const ex_stepper *stepper, int32_t point);
/* Multiply-adds that its passes executed so far. */
struct ex_pass_counts ex__stepper_macs(const ex_stepper *stepper);
/* Activations, gradients of ports, scratch: what is its own. */
int64_t ex__stepper_bytes(const ex_stepper *stepper);

/* x [batch][input], plain: where the caller writes the batch. */
ex_real *ex__stepper_input(ex_stepper *stepper);
void ex__stepper_forward(ex_stepper *stepper, const struct ex_pass *pass);
/* Outputs of the last forward, and places for their gradients, which a forward
 * has set to zero: what a loss reads and adds to. [n_points], as in struct
 * ex_loss_call. */
const ex_real *const *ex__stepper_output(const ex_stepper *stepper);
const ex_real *const *ex__stepper_gate(const ex_stepper *stepper);
ex_real *const *ex__stepper_doutput(const ex_stepper *stepper);
ex_real *const *ex__stepper_dgate(const ex_stepper *stepper);

/* After a forward: backward from the seeds at the points whose bit is set in
 * `points`, adding to pass->grads. May be called again, for other points or
 * into other slabs, before the next forward, unless `one_backward` is set. A seed that is zero everywhere is
 * not propagated, so work above the deepest exit that has a loss is skipped. */
void ex__stepper_backward(ex_stepper *stepper, const struct ex_pass *pass, int32_t points);
/* The same in parts: begin, then every stage from the last to 0. */
void ex__stepper_backward_begin(ex_stepper *stepper, int32_t points);
void ex__stepper_backward_stage(ex_stepper *stepper, const struct ex_pass *pass, int32_t stage);

#endif
