/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_step_internal: the inside of a stepper, for train_step*.c.
 */
#ifndef EX_TRAIN_TRAIN_STEP_INTERNAL_H
#define EX_TRAIN_TRAIN_STEP_INTERNAL_H

#include "train/train_step.h"

struct port {
  ex_real *value, *grad; /* in the port's own layout; grad is NULL where nothing wants it */
  int64_t size;          /* elements */
  int32_t segment;       /* that makes it; −1: the input */
  bool used;             /* some segment reads or makes it */
  bool wants_grad;
  bool asked;                /* a point's output or gate: the caller reads it */
  bool filled;               /* this backward has reached grad */
  int64_t value_at, grad_at; /* bytes into the arena */
};

/* Elements of a sample, one after another. */
struct neighbours {
  int64_t at, n;
};

/* How a gradient leaves a segment at one of its in ports. */
struct leak {
  bool stopped; /* nothing leaves */
  ex_real *own; /* [port's size] where it is written first; NULL: all leaves as it is */
  ex_real scale;
  int32_t n_runs, n_gaps;
  struct neighbours *runs, *gaps; /* of a sample: what leaves, and what is between */
};

struct segment {
  bool used, trains;
  int32_t stage;
  ex_program *program;
  ex_run *run;
  int64_t saved_at, forward_at, backward_at; /* bytes into the arena; the last two: scratch */
  int32_t n_in, n_out;
  int32_t *in_id, *out_id;    /* values of the graph */
  const ex_real **in, **dout; /* [n_in], [n_out] */
  ex_real **out, **din;       /* [n_out], [n_in] */
  bool *din_add;              /* [n_in] */
  struct leak *leak;          /* [n_in] */
};

struct ex_stepper {
  const ex_net *net;
  struct ex_stepper_options options;
  int32_t n_segments, n_ports;
  struct segment *segments; /* [n_segments] */
  struct port *ports;       /* [n_ports], by value of the graph */
  int32_t input;            /* value; −1: the network reads nothing */
  char *arena;              /* own memory, or a lender's */
  void *memory;             /* own */
  int64_t arena_bytes;
  int64_t bytes; /* own, of all kinds */
  bool trains_point[EX_MAX_POINTS];
  const ex_real *output[EX_MAX_POINTS], *gate[EX_MAX_POINTS];
  ex_real *doutput[EX_MAX_POINTS], *dgate[EX_MAX_POINTS]; /* seeds */
};

static inline bool ex__stepper_trains_value(const ex_stepper *stepper, int32_t id) {
  int32_t segment = stepper->ports[id].segment;
  return segment >= 0 && stepper->segments[segment].trains;
}

/* Zeroed memory of its own for n numbers, counted. */
enum ex_status ex__stepper_reserve(ex_stepper *stepper, int64_t n, ex_real **out,
                                   struct ex_error *err);
/* Once all segments are compiled: finds a place for everything that lives in
 * the arena, and takes the memory. */
enum ex_status ex__stepper_place(ex_stepper *stepper, struct ex_error *err);

/* ---- flows (train_step_flow.c) --------------------------------------------- */

/* Prepares a leak for a flow that is not stopped. */
enum ex_status ex__stepper_bind_flow(ex_stepper *stepper, const struct segment *segment,
                                     const struct ex_flow *flow, struct leak *leak,
                                     struct ex_error *err);
/* What the segment of this number need not compute; returns how many there are. */
int32_t ex__stepper_find_blocked(const ex_stepper *stepper, int32_t index,
                                 struct ex_blocked blocked[EX_MAX_FLOWS]);
/* Where the segment writes the gradient: its own place, or at once the port's. */
ex_real *ex__stepper_leak_target(const struct leak *leak, const struct port *port);
/* What the segment wrote there goes on, and nothing else. */
void ex__stepper_pass_leak(const ex_stepper *stepper, const struct leak *leak, struct port *port);

#endif
