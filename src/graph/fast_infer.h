/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_infer: what the files of the inference backend share.
 *
 * A segment becomes a row of steps. A step computes one value from others, and
 * stands for a chain of nodes: a convolution with the batch-norm, addition and
 * relu behind it. Values lie in buffers; a value whose home is another one is
 * a part of that one's buffer (an input of a concat is written where the
 * concat wants it, a reshape is its input under another shape).
 */
#ifndef EX_GRAPH_FAST_INFER_H
#define EX_GRAPH_FAST_INFER_H

#include "graph/fast_kernels.h"
#include "graph/onednn.h"
#include "graph/program_backend.h"
#include "graph/strided.h"

struct fast_value {
  int32_t id; /* in the graph */
  struct ex_shape shape;
  bool nhwc;                 /* channels last; else planar, as the twins have it */
  int32_t in_port, out_port; /* −1: none */
  int32_t n_uses;            /* by nodes of the segment */
  int32_t home;              /* the value that it is a part of; itself: it owns a buffer */
  int64_t home_offset;       /* elements from its first one */
  int32_t first, last;       /* steps between which the buffer of an owner lives */
  int64_t at;                /* of an owner that is no port: bytes into transient */
};

/* Where the elements of a value are, from its owner's address on. */
struct fast_place {
  int32_t owner;
  int64_t offset;      /* elements */
  int64_t sample_step; /* elements from one sample to the next */
  int64_t pixel_step;  /* channels last: from one pixel to the next */
};

struct fast;
struct fast_step;

/* What one run has of its own. */
struct fast_run {
  float **owner;      /* [n_values] addresses of the buffers of owners */
  ex_dnn_call **call; /* [n_steps]; NULL: no oneDNN in this step */
  char *scratch;
};

/* How a kind of step works. All but `run` may be NULL. */
struct fast_kind {
  const char *name;
  enum ex_status (*make)(struct fast *fast, struct fast_step *step, struct ex_error *err);
  void (*run)(const struct fast *fast, const struct fast_step *step, const struct fast_run *run);
  /* Writes the packed weights of the step, from the slabs of fast. */
  void (*pack)(const struct fast *fast, struct fast_step *step);
  bool writes_parts; /* its output may be a part of a wider buffer */
  bool fuses;        /* it computes the rest of a chain too: norm, residual, relu */
  /* Instead of `fuses`: whether the step, whose chain ends before node `id`, takes that in. */
  bool (*absorbs)(const struct fast *fast, struct fast_step *step, const struct ex_node *node,
                  int32_t id);
};

/* Operands of a step by elements: out, then inputs. Steps are those in memory. */
enum { EX_FAST_OPERANDS = 3 };
struct fast_strides {
  int32_t n; /* ≥ 2 */
  int64_t dim[EX_MAX_DIMS];
  int64_t step[EX_FAST_OPERANDS][EX_MAX_DIMS], offset[EX_FAST_OPERANDS];
};

struct fast_step {
  const struct fast_kind *kind;
  const struct ex_node *node; /* the first of the chain */
  const struct ex_node *norm; /* folded into it; NULL: none */
  int32_t end;                /* id of the chain's last node: the value that the step makes */
  int32_t n_in;
  int32_t in[EX_MAX_INPUTS]; /* values */
  int32_t residual;          /* value that is added before relu; −1: none */
  int32_t out;               /* value */
  bool relu;
  /* Rows: what follows a product or a standardised row, number by number. */
  const struct ex_node *factor, *shift; /* whose parameters; NULL: none */
  enum ex_curve curve;
  int64_t macs;    /* per call */
  int64_t scratch; /* bytes */
  struct fast_place in_place[EX_MAX_INPUTS], residual_place, out_place;
  /* Owned by the step, as its kind has them. */
  float *weights, *bias;
  int64_t n_weights, n_bias;
  struct ex_planar_source source; /* planar convolutions */
  bool direct;                    /* the source needs no laying out */
  int32_t n_taps, n_vectors, block, n_blocks, last;
  int32_t *tap, *start;
  uint16_t *mask;
  int64_t *pixel; /* channels last: offsets of pixels, then of taps */
  struct fast_strides strides;
  const ex_dnn_op *op; /* oneDNN */
  const ex_dnn_op *reorder;
  ex_dnn_call *reorder_call;
  void *reorder_scratch;
};

struct fast {
  const ex_program *program;
  const struct ex_kernels *kernels;
  ex_dnn *dnn; /* NULL: nothing of this program needs it */
  int32_t batch, threads;
  int32_t block;    /* of the ports of a frozen segment, where training has blocks; else 0 */
  bool nhwc;        /* the layout of rank-3 values but those that are plain */
  bool *plain;      /* [nodes of the graph] of rank 3, and plain though nhwc */
  int32_t n_values; /* in ports first, then the nodes */
  struct fast_value *values;
  int32_t n_steps;
  struct fast_step *steps;
  int64_t scratch_at; /* bytes into transient */
  float *staging;     /* weights before a change of layout; of the widest step */
  /* Of the compile or repack that is under way. */
  const ex_slabs *params, *buffers;
};

/* ---- fast_infer_plan.c --------------------------------------------------- */

/* Values, fused steps, homes; buffers in the transient arena. */
enum ex_status ex__fast_find_steps(struct fast *fast, struct ex_error *err);
enum ex_status ex__fast_place_values(struct fast *fast, struct ex_error *err);
struct fast_place ex__fast_place(const struct fast *fast, int32_t value);
int32_t ex__fast_value(const struct fast *fast, int32_t id);
/* Whether rank-3 values of this segment are channels last: a rule on all that hang
 * together with it, so that their programs agree about ports. */
bool ex__fast_wants_nhwc(const ex_graph *graph, int32_t segment, enum ex_layout layout);
/* Which values stay plain in it: rows of numbers (EX_OP_ROWS), and what is made of them. */
void ex__fast_find_plain(const ex_graph *graph, bool *plain);

/* ---- fast_infer_{step,conv,lanes,winograd,…}.c: choosing and making what runs a step ------------- */

/* First a kind is chosen, by the operator of the first node and the layouts of
 * its operands; it decides what the step may absorb. When all values have
 * their places, the kind makes what it needs. */
void ex__fast_choose_kind(const struct fast *fast, struct fast_step *step);
/* Whether a step may be Winograd's, and pays as one. */
bool ex__fast_winograd_can(const struct fast *fast, const struct fast_step *step);
/* Whether the planar kernels can do this convolution. */
bool ex__fast_planar_can(const struct ex_node *node, const struct ex_shape *in);
extern const struct fast_kind ex__fast_nothing, ex__fast_twin, ex__fast_elements,
    ex__fast_conv_planar, ex__fast_conv_lanes, ex__fast_conv_winograd, ex__fast_linear,
    ex__fast_matmul, ex__fast_view, ex__fast_arithmetic, ex__fast_standardise, ex__fast_sums,
    ex__fast_softmax_rows, ex__fast_curve;

/* ---- fast_infer_{rows,strided}.c ------------------------------------------------------------ */

/* Whether the step's operator is one of these kinds', in the layouts of its operands; sets its kind. */
bool ex__fast_choose_rows(const struct fast *fast, struct fast_step *step);
/* Whether the views and arithmetic of a step are steps in memory, whatever the layouts. */
bool ex__fast_strides_can(const struct fast *fast, const struct fast_step *step);
/* Whether `next` works on all numbers of a value of shape `in` by one of its own for each of n
 * columns, and is of this kind (enum ex_arithmetic_kind). */
bool ex__fast_is_by_column(const struct ex_node *next, int32_t kind, const struct ex_shape *in,
                           int32_t n);
/* Of a view that is one run of neighbours: its first element; else −1. */
int64_t ex__fast_run_of(const struct ex_node *view);

/* One sample of a value of rank 3, from channels last (pixel_step apart) to plain and back. */
void ex__fast_to_plain(const struct ex_shape *shape, const float *in, int64_t pixel_step,
                       float *out);
void ex__fast_from_plain(const struct ex_shape *shape, const float *in, int64_t pixel_step,
                         float *out);
/* Sets n_weights and n_bias and allocates both, zeroed. */
enum ex_status ex__fast_make_weights(struct fast_step *step, int64_t n_weights, int64_t n_bias,
                                     struct ex_error *err);

/* What a folded batch-norm does to channel c: y = x · scale + shift; also of
 * the layer's own bias. Without either, 1 and 0. */
void ex__fast_affine(const struct fast *fast, const struct fast_step *step, int32_t c,
                     double *scale, double *shift);
const ex_real *ex__fast_tensor(const struct fast *fast, const struct ex_node *node, int32_t i);

/* A value of one pixel is its channels in a row in both layouts: neither here.
 * All but convolutions ask this, and not value->nhwc: the graph's input is
 * never marked, and meets marked values of one pixel. */
static inline bool ex__fast_is_nhwc(const struct fast_value *value) {
  return value->nhwc && ex__shape_plane(&value->shape) > 1;
}

/* The same of a node of the segment. */
static inline bool ex__fast_is_plain(const struct fast *fast, int32_t id) {
  return !ex__fast_is_nhwc(&fast->values[ex__fast_value(fast, id)]);
}

static inline float *ex__fast_at(const struct fast_run *run, const struct fast_place *place,
                                 int64_t sample) {
  return run->owner[place->owner] + place->offset + sample * place->sample_step;
}

#endif
