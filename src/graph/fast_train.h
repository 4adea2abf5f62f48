/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train: the insides of the training backend, for fast_train*.c.
 *
 * A segment becomes a row of steps. A step is one operator, or several that
 * are done in one pass over memory (batch-norm + add + ReLU). Each step class
 * is a small vtable in a file of its own; fast_train_build.c makes the steps,
 * fast_train_memory.c decides where values and gradients lie, fast_train.c
 * runs them.
 *
 * Orders. A rank-3 value is channels-last (NHWC layout, and channels that do
 * not fill blocks), blocked ([batch][c / block][h][w][block]) or plain (inputs
 * of the graph). A channels-last value may be a slice of the channels of a
 * wider one, its *host*: the parts of a concatenation, and its gradient's.
 *
 * Values that backward reads lie in the run's saved memory, all others, the
 * gradients and scratch in the transient arena by live interval. In blocked
 * layout the output of batch-norm + ReLU is not kept but made again from the
 * norm's input, which is kept anyway: a pass over memory is cheap beside wide
 * convolutions, and a quarter of all activations is saved. So is every other
 * residual sum of a row, from the one below it.
 */
#ifndef EX_GRAPH_FAST_TRAIN_H
#define EX_GRAPH_FAST_TRAIN_H

#include "graph/fast_loops.h"
#include "graph/onednn.h"
#include "graph/program_backend.h"

enum train_order { TRAIN_PLAIN, TRAIN_NHWC, TRAIN_BLOCKED };
enum train_place { TRAIN_SAVED, TRAIN_TRANSIENT, TRAIN_IN_PORT, TRAIN_OUT_PORT };

struct train_value {
  int32_t id; /* in the graph */
  struct ex_shape shape;
  enum train_order order;
  int32_t channels, plane;                      /* plane: pixels of one channel; 1 for rank 1 */
  int64_t count;                                /* elements, whole batch */
  int32_t in_port, out_port;                    /* −1: none */
  int32_t producer;                             /* step; −1: an in port */
  int32_t n_readers, first_reader, last_reader; /* steps; a step counts once per input */
  bool saved;                                   /* backward reads it */
  bool remade;                                  /* backward reads it, and makes it again */
  int32_t host, channel; /* whose array it lies in (itself: its own), and where */
  bool slice; /* of a concatenation; without it, a host other than itself is work in place */
  int64_t ld; /* floats from pixel to pixel */
  enum train_place place;           /* hosts only, as the next two */
  int64_t offset;                   /* bytes */
  int64_t remake_offset;            /* bytes into the transient arena, backward */
  int32_t remake_step;              /* the first step of backward that wants it */
  bool wanted;                      /* somebody below wants its gradient… */
  int32_t blocked_from, blocked_to; /* …but in these channels; none where they are equal */
  int32_t grad_host, grad_channel;
  int64_t grad_ld, grad_offset; /* offset −1: no array of its own */
};

struct train_step;

/* What one execution of a step works on. Rows with data NULL are absent. */
struct train_call {
  const ex_program *program;
  const struct train_step *step;
  const struct ex_pass *pass;
  void *state; /* of this step in this run; step class's own */
  struct fast_rows in[EX_MAX_INPUTS], out;
  void *saved;                         /* step->saved_bytes, from forward to backward */
  char *scratch;                       /* step->scratch_{forward,backward} bytes */
  struct fast_rows dout;               /* backward; not to be written, unless it is din[0] too */
  struct fast_rows din[EX_MAX_INPUTS]; /* NULL: not wanted */
  bool add[EX_MAX_INPUTS];             /* add to din instead of writing over it */
  float *tensor[EX_MAX_NODE_TENSORS], *dtensor[EX_MAX_NODE_TENSORS];
};

struct train_step_class {
  const char *name;
  bool strided;     /* reads, writes and differentiates slices */
  bool elementwise; /* din[0] may be dout: same place, same time */
  /* Sets impl, saved_bytes, scratch_*; orders of the values are known, places not yet. */
  enum ex_status (*plan)(const ex_program *program, struct train_step *step, struct ex_error *err);
  void (*forward)(const struct train_call *call);
  void (*backward)(const struct train_call *call);
  void (*remake)(const struct train_call *call); /* out again, in backward; or NULL */
  void (*free_impl)(void *impl);                 /* or NULL: ex__free */
  enum ex_status (*state_new)(const struct train_step *step, void **state); /* or NULL */
  void (*state_free)(void *state);
  void (*describe)(const struct train_step *step, struct ex_text *text); /* or NULL */
};

struct train_step {
  const struct train_step_class *class;
  const struct ex_node *node; /* whose tensors and attributes it uses */
  int32_t node_id;
  int32_t n_in, in[EX_MAX_INPUTS], out; /* values */
  bool relu;                            /* fused behind */
  bool residual;                        /* norm: in[1] is added before the ReLU */
  bool has_params;
  bool needs_input[EX_MAX_INPUTS], needs_output; /* backward reads them */
  int64_t macs;                                  /* per call */
  int64_t data_macs;                             /* of the gradient of in[0], as planned */
  int64_t saved_bytes, saved_offset;
  int64_t scratch_forward, scratch_backward, offset_forward, offset_backward;
  void *impl;
};

struct train {
  const struct fast_loops *loops;
  enum ex_layout layout; /* never EX_LAYOUT_AUTO */
  int32_t block;         /* channels per block: 16 or 8 */
  int32_t batch, threads;
  int32_t n_values, n_steps;
  struct train_value *values; /* in ports first */
  struct train_step *steps;
  bool frozen;          /* run as inference would; nothing is wanted */
  ex_slabs *statistics; /* frozen: batch-norm's, as of compiling or packing */
  ex_dnn *dnn;          /* made by the first step that wants it */
};

static inline struct train *train_of(const ex_program *program) { return program->impl; }
static inline const struct train_value *train_in(const struct train_call *call, int32_t i) {
  return &train_of(call->program)->values[call->step->in[i]];
}
static inline const struct train_value *train_out(const struct train_call *call) {
  return &train_of(call->program)->values[call->step->out];
}
/* Whether a channels-last value (or any dense one) is one long row. */
static inline bool train_dense(const struct train_value *value, struct fast_rows rows) {
  return value->order != TRAIN_NHWC || rows.ld == value->channels;
}

/* ---- building and placing ------------------------------------------------- */

enum ex_status ex__train_build(ex_program *program, struct ex_error *err);
enum ex_status ex__train_place(ex_program *program, struct ex_error *err);
/* Sets `wanted` and the blocked channels of all values. */
void ex__train_find_wanted(const ex_program *program);
/* Parts [from, to) of a value's channels in which its gradient is wanted: 1, or
 * 2 around what is blocked. */
int32_t ex__train_wanted_parts(const struct train_value *value, int32_t from[2], int32_t to[2]);
enum train_order ex__train_order(const ex_program *program, int32_t id, int32_t block);

/* ---- work on several threads ------------------------------------------------ */

/* Runs [0, n) in `threads` equal parts, the same for the same n and threads. */
typedef void train_range(void *context, int32_t thread, int64_t begin, int64_t end);
void ex__train_parallel(int32_t threads, int64_t n, train_range *run, void *context);

/* Rows of one value as element-wise loops see them: few long rows. */
struct train_rows_shape {
  int64_t rows, width;
};
/* to (=|+=) from, both of one value's shape and order. */
void ex__train_copy(const struct train *train, const struct train_value *value,
                    struct fast_rows from, struct fast_rows to, bool add);
/* Between a value's own order and plain [n][c][h][w]. */
void ex__train_to_plain(const struct train *train, const struct train_value *value, int32_t n,
                        struct fast_rows from, float *to);
void ex__train_from_plain(const struct train *train, const struct train_value *value, int32_t n,
                          const float *from, struct fast_rows to, bool add);

/* ---- steps made of oneDNN's operations ----------------------------------------- */

/* A call for each of op [n], NULL where that is; the state is ex_dnn_call *[n]. */
enum ex_status ex__train_calls_new(const ex_dnn_op *const *op, int32_t n, void **state);
void ex__train_calls_free(void *state, int32_t n);
/* The most bytes that one of them wants while it runs. */
size_t ex__train_calls_scratch(const ex_dnn_op *const *op, int32_t n);

/* ---- step classes ------------------------------------------------------------ */

extern const struct train_step_class ex__train_norm;     /* batch_norm (+ add) (+ relu) */
extern const struct train_step_class ex__train_conv;     /* own loops, channels last */
extern const struct train_step_class ex__train_dnn_conv; /* oneDNN, blocked */
extern const struct train_step_class ex__train_linear;
extern const struct train_step_class ex__train_relu;
extern const struct train_step_class ex__train_add; /* (+ relu) */
extern const struct train_step_class ex__train_concat;
extern const struct train_step_class ex__train_global_pool;
extern const struct train_step_class ex__train_pool;
extern const struct train_step_class ex__train_twin; /* anything, by its twin */

/* Whether a class can do this convolution. */
bool ex__train_conv_fits(const ex_program *program, const struct train_step *step);
bool ex__train_dnn_conv_fits(const ex_program *program, const struct train_step *step);

#endif
