/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op: what an operator is.
 *
 * One operator is one file (op_NAME.c: schema and readable twin) and one line
 * in ops.def; the fast backends have loops for those that are worth it. The twin
 * computes in `ex_real` on plain arrays ([batch][channels][height][width] or
 * [batch][features]); compiled in double it is the oracle of every gradient
 * check, compiled in float it runs where oneDNN has nothing to offer.
 */
#ifndef EX_GRAPH_OP_H
#define EX_GRAPH_OP_H

#include "graph/graph.h"

/* One call of a twin. Absent things are NULL. */
struct ex_op_call {
  const struct ex_node *node;
  const struct ex_shape *in_shape[EX_MAX_INPUTS];
  int32_t batch;
  bool training;                    /* dropout drops, batch-norm uses and moves batch statistics */
  uint64_t seed;                    /* of this call, for dropout */
  const ex_real *in[EX_MAX_INPUTS]; /* [batch][in_shape] */
  ex_real *out;                     /* [batch][node->shape]; read only in backward */
  ex_real *tensor[EX_MAX_NODE_TENSORS];  /* parameters and buffers, as declared */
  void *workspace;                       /* op->workspace bytes, kept from forward to backward */
  const ex_real *dout;                   /* backward: gradient of out */
  ex_real *din[EX_MAX_INPUTS];           /* backward ADDS; NULL: not wanted */
  ex_real *dtensor[EX_MAX_NODE_TENSORS]; /* backward ADDS; NULL: frozen, or a buffer */
};

enum ex_op_flag {
  EX_OP_NEEDS_INPUT = 1,  /* backward reads in[] */
  EX_OP_NEEDS_OUTPUT = 2, /* backward reads out */
  EX_OP_IN_PLACE = 4,     /* forward may write over in[0] */
  EX_OP_PER_CHANNEL = 8,  /* a channel of the output is made of that channel of the inputs alone */
  EX_OP_PLAIN = 16,       /* inference keeps its value plain, whatever the layout of others */
  EX_OP_ROWS = 32         /* sees a sample as a row of numbers, so its value is plain too, and what
                           * is made of such values alone */
};

struct ex_op {
  const char *name;
  int32_t version;              /* written to files; raised when the meaning changes */
  const struct ex_param *attrs; /* may be NULL */
  size_t attr_size;
  int32_t min_in, max_in;
  unsigned flags;
  enum ex_status (*shape)(const struct ex_node *node, const struct ex_shape *const *in,
                          struct ex_shape *out, struct ex_error *err);
  /* Multiply-adds per sample: convolutions and linear layers, bias not counted
   * (the field's convention); 0 for everything else. May be NULL. */
  int64_t (*macs)(const struct ex_node *node, const struct ex_shape *const *in);
  int32_t (*tensors)(
      const struct ex_node *node, const struct ex_shape *const *in,
      struct ex_tensor_decl decl[EX_MAX_NODE_TENSORS]); /* may be NULL; returns how many */
  size_t (*workspace)(const struct ex_node *node, const struct ex_shape *const *in,
                      int32_t batch); /* may be NULL */
  void (*forward)(const struct ex_op_call *call);
  void (*backward)(const struct ex_op_call *call); /* NULL: not differentiable */
};

/* NULL where there is no such operator. */
const struct ex_op *ex__op_find(const char *name);
const struct ex_op *ex__op_at(int32_t index); /* NULL past the last */

/* Attribute structs of the operators (defaults in each op's table). */
struct ex_conv2d {
  int32_t channels, kernel_h, kernel_w, stride, pad_h, pad_w, dilation, groups, bias;
};
struct ex_linear {
  int32_t features, bias;
};
struct ex_normalise {
  int32_t bytes;
  struct ex_list mean, deviation;
}; /* as struct ex_preprocess */
struct ex_batch_norm {
  double eps, momentum;
};
struct ex_pool {
  int32_t kernel, stride, pad, ceil_mode, count_include_pad;
}; /* max_pool, avg_pool */
struct ex_adaptive_pool {
  int32_t height, width, max;
};
struct ex_slice {
  int32_t begin, end;
}; /* along channels (or features) */
struct ex_reshape {
  struct ex_list shape;
}; /* input: its shape; reshape: of its output, per sample; none given means flatten */
struct ex_dropout {
  double rate;
};
struct ex_lrn {
  int32_t size; /* odd */
  double alpha, beta, k;
};

/* What imported networks are made of besides. These see a sample as a row of
 * numbers; `shape`, of their output, is 1 or 3 dimensions of any meaning. */
enum ex_function_kind {
  EX_FUNCTION_ABS,
  EX_FUNCTION_AFFINE, /* a · x + b */
  EX_FUNCTION_CELU,   /* of a */
  EX_FUNCTION_CLIP,   /* to [a, b] */
  EX_FUNCTION_COS,
  EX_FUNCTION_ELU, /* of a */
  EX_FUNCTION_ERF,
  EX_FUNCTION_EXP,
  EX_FUNCTION_HARD_SIGMOID, /* of a · x + b */
  EX_FUNCTION_HARD_SWISH,
  EX_FUNCTION_LEAKY_RELU, /* of slope a */
  EX_FUNCTION_LOG,
  EX_FUNCTION_POWER, /* x to the a */
  EX_FUNCTION_RECIPROCAL,
  EX_FUNCTION_SELU, /* of a, b */
  EX_FUNCTION_SIN,
  EX_FUNCTION_SOFTPLUS,
  EX_FUNCTION_SOFTSIGN,
  EX_FUNCTION_SQRT,
  EX_FUNCTION_TANH,
  EX_FUNCTION_THRESHOLDED_RELU /* x above a, else 0 */
};
struct ex_function {
  int32_t kind; /* enum ex_function_kind */
  double a, b;
};
enum ex_arithmetic_kind {
  EX_ARITHMETIC_ADD,
  EX_ARITHMETIC_SUB,
  EX_ARITHMETIC_MUL,
  EX_ARITHMETIC_DIV,
  EX_ARITHMETIC_MAX,
  EX_ARITHMETIC_MIN,
  EX_ARITHMETIC_PRELU /* the second is the slope */
};
struct ex_arithmetic {
  int32_t kind;       /* enum ex_arithmetic_kind */
  int32_t parameters; /* of the second operand, where there is one input */
  int32_t swap;       /* whether the second operand is the left one */
  struct ex_list shape, dims, first_steps, second_steps;
};
struct ex_view {
  struct ex_list shape, dims, steps;
  int32_t offset;
}; /* out[i] = in[offset + Σ i · steps] */
struct ex_pad {
  struct ex_list shape, dims, before, after; /* dims: of the input */
  double value;
};
enum ex_reduce_kind { EX_REDUCE_SUM, EX_REDUCE_MEAN, EX_REDUCE_MAX, EX_REDUCE_MIN };
struct ex_reduce {
  int32_t kind; /* enum ex_reduce_kind */
  int32_t size; /* of the groups of neighbours that become one number each */
  struct ex_list shape;
};
struct ex_matmul {
  int32_t count, rows, depth, columns; /* count products [rows][depth] · [depth][columns] */
  int32_t shared;                      /* one second matrix for all */
  struct ex_list shape;
};
struct ex_standardise {
  int32_t size; /* of the groups of neighbours that are given mean 0 and variance 1 */
  double eps;
};
struct ex_row_softmax {
  int32_t size; /* of the groups of neighbours */
};
struct ex_window_pool {
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  int32_t top, bottom, left, right; /* padding */
  int32_t max, count_include_pad;
};

#endif
