/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/onednn: our names over oneDNN's C API; no type of oneDNN leaves it.
 *
 * 1. A context owns an engine, a stream, and everything created from it:
 *    layouts and operations live until ex__dnn_free. What is created only to
 *    be timed belongs in a context of its own.
 * 2. An operation is immutable, and may be executed by several threads at the
 *    same time, each through calls of its own with a scratchpad of its own.
 *    (Without a user's scratchpad, one primitive run from two threads gives
 *    wrong numbers in Debian's build; here there is no other mode.)
 * 3. A call binds an operation to addresses; it belongs to one thread at a
 *    time and is freed with ex__dnn_call_free.
 * 4. An operation is created for a number of threads and must run under the
 *    same number: bracket what runs with ex__dnn_threads.
 *
 * A layout that is asked for may be NULL: oneDNN chooses, and ex__dnn_layout
 * tells what it chose. Dimensions are in oneDNN's logical order, [n][c][h][w],
 * weights [o][i][h][w] or [g][o/g][i/g][h][w], whatever the order in memory.
 */
#ifndef EX_GRAPH_ONEDNN_H
#define EX_GRAPH_ONEDNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { EX_DNN_MAX_RANK = 5 };

typedef struct ex_dnn ex_dnn;
typedef struct ex_dnn_layout ex_dnn_layout;
typedef struct ex_dnn_op ex_dnn_op;
typedef struct ex_dnn_call ex_dnn_call;

/* Whether this library runs against oneDNN at all, and which ("2.6.3"). */
const char *ex__dnn_version(char text[24]);
/* The widest instruction set that oneDNN uses here ("avx512_core"), part of the
 * key under which timed choices are stored. */
const char *ex__dnn_isa(void);

enum ex_status ex__dnn_new(ex_dnn **out, struct ex_error *err);
void ex__dnn_free(ex_dnn *dnn); /* accepts NULL */

/* Sets how many threads this thread's operations use; returns what it was. */
int32_t ex__dnn_threads(int32_t threads);

/* ---- layouts ------------------------------------------------------------ */

enum ex_dnn_tag {
  EX_DNN_ANY,
  EX_DNN_PLAIN, /* as the logical order: nchw, nc, oihw, goihw */
  EX_DNN_NHWC,  /* rank 4: channels last */
  EX_DNN_NCHW16C,
  EX_DNN_NCHW8C,
  EX_DNN_TRANSPOSED, /* rank 2: [columns][rows] in memory */
  EX_DNN_HWIO        /* rank 4 weights: [h][w][i][o] in memory */
};

enum ex_status ex__dnn_layout_new(ex_dnn *dnn, int32_t rank, const int64_t *dim,
                                  enum ex_dnn_tag tag, const ex_dnn_layout **out,
                                  struct ex_error *err);
enum ex_status ex__dnn_layout_strided(ex_dnn *dnn, int32_t rank, const int64_t *dim,
                                      const int64_t *stride, const ex_dnn_layout **out,
                                      struct ex_error *err);
size_t ex__dnn_layout_bytes(const ex_dnn_layout *layout);
bool ex__dnn_layout_equal(const ex_dnn_layout *a, const ex_dnn_layout *b);
/* "plain", "nhwc", "nChw16c", "nChw8c", else "other". */
const char *ex__dnn_layout_name(const ex_dnn_layout *layout);

/* ---- operations --------------------------------------------------------- */

enum ex_dnn_pass {
  EX_DNN_INFER,
  EX_DNN_FORWARD, /* of training */
  EX_DNN_BACKWARD_DATA,
  EX_DNN_BACKWARD_WEIGHTS,
  EX_DNN_BACKWARD /* where there is one for both: pooling, eltwise, batch-norm */
};

enum ex_dnn_algorithm { EX_DNN_AUTO, EX_DNN_DIRECT, EX_DNN_WINOGRAD };

/* The arguments of an operation; a gradient argument has the same place as
 * in oneDNN: DIFF_SRC is written by backward data. */
enum ex_dnn_arg {
  EX_DNN_SRC,
  EX_DNN_SRC1, /* second operand of add, mul */
  EX_DNN_WEIGHTS,
  EX_DNN_BIAS,
  EX_DNN_DST,
  EX_DNN_DIFF_SRC,
  EX_DNN_DIFF_WEIGHTS,
  EX_DNN_DIFF_BIAS,
  EX_DNN_DIFF_DST,
  EX_DNN_MEAN,
  EX_DNN_VARIANCE,
  EX_DNN_SCALE,
  EX_DNN_SHIFT,
  EX_DNN_DIFF_SCALE,
  EX_DNN_DIFF_SHIFT,
  EX_DNN_WORKSPACE,
  EX_DNN_SCRATCHPAD,
  EX_DNN_N_ARGS
};

/* What is fused behind a result, in this order. */
struct ex_dnn_post {
  bool sum;  /* dst = result + dst */
  bool relu; /* then max(·, 0) */
};

struct ex_dnn_conv {
  enum ex_dnn_pass pass;
  enum ex_dnn_algorithm algorithm;
  int32_t threads;
  int64_t batch, in_channels, in_h, in_w, out_channels, out_h, out_w;
  int64_t kernel_h, kernel_w, stride, pad_h, pad_w, dilation /* 1: dense */, groups;
  bool bias;
  struct ex_dnn_post post;                  /* forward only */
  const ex_dnn_layout *src, *weights, *dst; /* or of their gradients; NULL: chosen */
  const ex_dnn_op *forward;                 /* backward: the hint; may be NULL */
  bool admit_reference;                     /* else `ref` implementations are refused */
  bool admit_gemm;                          /* else im2col + gemm is refused */
};
/* Padding behind the last row and column follows from the sizes. Refuses with
 * EX_EUNSUPPORTED where no admitted implementation exists. */
enum ex_status ex__dnn_conv(ex_dnn *dnn, const struct ex_dnn_conv *conv, const ex_dnn_op **out,
                            struct ex_error *err);

/* dst [rows][out] = src [rows][in] · weightsᵀ [out][in] + bias. */
struct ex_dnn_linear {
  enum ex_dnn_pass pass;
  int32_t threads;
  int64_t rows, in, out;
  bool bias;
  struct ex_dnn_post post;
  const ex_dnn_layout *src, *weights, *dst;
  const ex_dnn_op *forward;
};
enum ex_status ex__dnn_linear(ex_dnn *dnn, const struct ex_dnn_linear *linear,
                              const ex_dnn_op **out, struct ex_error *err);

/* dst [m][n] = src [m][k] · weights [k][n] + bias [n]; leading dimensions are
 * distances of rows in elements, 0: dense; transposed: stored as [n][k], [k][m]. */
struct ex_dnn_matmul {
  int32_t threads;
  int64_t m, n, k;
  int64_t src_stride, weights_stride, dst_stride;
  bool src_transposed, weights_transposed;
  bool weights_any; /* oneDNN chooses the layout of weights */
  bool bias;
  struct ex_dnn_post post;
};
enum ex_status ex__dnn_matmul(ex_dnn *dnn, const struct ex_dnn_matmul *matmul,
                              const ex_dnn_op **out, struct ex_error *err);

struct ex_dnn_pool {
  enum ex_dnn_pass pass; /* INFER, FORWARD (max makes a workspace), BACKWARD */
  int32_t threads;
  int64_t batch, channels, in_h, in_w, out_h, out_w;
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
  bool max, count_padding;
  const ex_dnn_layout *src, *dst; /* or of their gradients; src must be given */
  const ex_dnn_op *forward;       /* backward: needed */
};
enum ex_status ex__dnn_pool(ex_dnn *dnn, const struct ex_dnn_pool *pool, const ex_dnn_op **out,
                            struct ex_error *err);

enum ex_dnn_function { EX_DNN_RELU, EX_DNN_GELU /* by erf */, EX_DNN_SIGMOID };
/* Backward: relu and sigmoid read DST, gelu reads SRC; DIFF_DST → DIFF_SRC. */
struct ex_dnn_eltwise {
  enum ex_dnn_pass pass; /* INFER, FORWARD, BACKWARD */
  enum ex_dnn_function function;
  int32_t threads;
  const ex_dnn_layout *data;
};
enum ex_status ex__dnn_eltwise(ex_dnn *dnn, const struct ex_dnn_eltwise *eltwise,
                               const ex_dnn_op **out, struct ex_error *err);

/* Scale and shift are separate arguments, both also of BACKWARD. FORWARD writes MEAN and (biased)
 * VARIANCE, INFER reads them. `relu` is fused; FORWARD then makes a workspace. */
struct ex_dnn_norm {
  enum ex_dnn_pass pass; /* INFER, FORWARD, BACKWARD */
  int32_t threads;
  float eps;
  bool relu;
  const ex_dnn_layout *data;
  const ex_dnn_op *forward; /* backward: needed */
};
enum ex_status ex__dnn_norm(ex_dnn *dnn, const struct ex_dnn_norm *norm, const ex_dnn_op **out,
                            struct ex_error *err);

/* DST = SRC ∘ SRC1, all of one layout; DST may be SRC. */
struct ex_dnn_binary {
  int32_t threads;
  bool multiply; /* else add */
  bool relu;
  const ex_dnn_layout *data;
};
enum ex_status ex__dnn_binary(ex_dnn *dnn, const struct ex_dnn_binary *binary,
                              const ex_dnn_op **out, struct ex_error *err);

/* SRC → DST, between two layouts of the same dimensions; `add`: DST += SRC. */
enum ex_status ex__dnn_reorder(ex_dnn *dnn, const ex_dnn_layout *from, const ex_dnn_layout *to,
                               bool add, int32_t threads, const ex_dnn_op **out,
                               struct ex_error *err);

/* ---- queries ------------------------------------------------------------ */

/* The layout of an argument; NULL where the operation has no such argument.
 * Gradients are asked for as themselves (EX_DNN_DIFF_SRC …). */
const ex_dnn_layout *ex__dnn_op_layout(const ex_dnn_op *op, enum ex_dnn_arg arg);
size_t ex__dnn_op_scratch(const ex_dnn_op *op);             /* bytes; 0: none */
size_t ex__dnn_op_workspace(const ex_dnn_op *op);           /* bytes; 0: none */
const char *ex__dnn_op_implementation(const ex_dnn_op *op); /* "brgconv:avx512_core" */
bool ex__dnn_op_is_reference(const ex_dnn_op *op);

/* ---- calls -------------------------------------------------------------- */

enum ex_status ex__dnn_call_new(const ex_dnn_op *op, ex_dnn_call **out);
void ex__dnn_call_free(ex_dnn_call *call); /* accepts NULL */
/* 64-byte aligned wherever possible; a pointer that has not changed costs nothing. */
void ex__dnn_call_set(ex_dnn_call *call, enum ex_dnn_arg arg, const void *data);
/* Every argument of the operation was set (else false, and nothing is done; a
 * call that ran once runs always). Returns when the work is done. */
bool ex__dnn_call_run(ex_dnn_call *call);

/* Once, when compiling: reorders `from` into `to`, which has its layout's size. */
enum ex_status ex__dnn_reorder_now(ex_dnn *dnn, const ex_dnn_layout *from_layout, const void *from,
                                   const ex_dnn_layout *to_layout, void *to, struct ex_error *err);

#endif
