/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_eval: a plain typed evaluator of ONNX graphs.
 *
 * It runs a graph node by node, as the specification reads, in double and
 * int64_t. What it is for: folding constants; finding shapes (a value that
 * depends on the model's input goes through as a shape without numbers); the
 * integer and boolean work around shapes; and being the second opinion on an
 * imported network. It is not fast.
 *
 * A name is defined once, before it is read; so a graph with a cycle, or one
 * that reads what nobody makes, is refused.
 */
#ifndef EX_ONNX_ONNX_EVAL_H
#define EX_ONNX_ONNX_EVAL_H

#include "onnx/onnx_tensor.h"

enum { EX_ONNX_MAX_IN = 256, EX_ONNX_MAX_OUT = 64 };

struct ex_onnx_limits {
  int64_t elements; /* that may be held, all tensors together; counted down */
  int64_t work;     /* multiply-adds that may be made; counted down */
};
#define EX_ONNX_LIMITS ((struct ex_onnx_limits){INT64_C(1) << 30, INT64_C(1) << 42})

typedef struct ex_onnx_eval ex_onnx_eval;
struct ex_onnx_call;

/* Registers the constants of the file; borrows onnx and limits. */
enum ex_status ex__onnx_eval_new(const ex_onnx *onnx, struct ex_onnx_limits *limits,
                                 ex_onnx_eval **out, struct ex_error *err);
void ex__onnx_eval_free(ex_onnx_eval *eval); /* accepts NULL */
/* A model that was exported for a fixed batch says so in reshapes. Where the
 * first number of a Reshape's shape is `declared`, `batch` is meant; 0: none. */
void ex__onnx_eval_batch(ex_onnx_eval *eval, int64_t declared, int64_t batch);

/* Gives a value to an input; takes what the tensor owns, in every case. */
enum ex_status ex__onnx_eval_input(ex_onnx_eval *eval, const char *name,
                                   struct ex_onnx_tensor *tensor, struct ex_error *err);
/* Runs node i of the graph; errors name node and operator. */
enum ex_status ex__onnx_eval_node(ex_onnx_eval *eval, size_t i, struct ex_error *err);
enum ex_status ex__onnx_eval_run(ex_onnx_eval *eval, struct ex_error *err); /* all of them */
/* NULL where no value has that name (yet). */
struct ex_onnx_tensor *ex__onnx_eval_find(const ex_onnx_eval *eval, const char *name);
/* Gives back what the inputs of a call were unpacked to, where that is much. */
void ex__onnx_eval_unload(const struct ex_onnx_call *call);
enum ex_status ex__onnx_eval_load(ex_onnx_eval *eval, struct ex_onnx_tensor *tensor,
                                  struct ex_error *err);
/* Runs a graph within a node of `outer` and moves its outputs to out [n_out]. */
enum ex_status ex__onnx_eval_inner(ex_onnx_eval *outer, const Onnx__GraphProto *graph,
                                   struct ex_onnx_tensor *out, int32_t n_out, struct ex_error *err);

/* ---- operators -------------------------------------------------------------- */

/* One call of an operator. */
struct ex_onnx_call {
  ex_onnx_eval *eval;
  const Onnx__NodeProto *node;
  int64_t opset;
  int64_t declared_batch, batch; /* see ex__onnx_eval_batch */
  int32_t n_in, n_out;
  struct ex_onnx_tensor *in[EX_ONNX_MAX_IN];  /* NULL: left out. Loaded, unless `unknown` */
  struct ex_onnx_tensor out[EX_ONNX_MAX_OUT]; /* type 0: left out by the operator */
  bool depends;                               /* some input depends on the model's */
  bool unknown; /* some input has no numbers: shapes are all that is wanted */
  struct ex_onnx_limits *limits;
  enum ex_status status; /* of reading attributes */
  struct ex_error *err;
};

struct ex_onnx_op {
  const char *name;
  int32_t min_in, max_in; /* the first min_in must be given; max_in −1: any number */
  int32_t max_out;
  enum ex_status (*run)(struct ex_onnx_call *call);
};

/* Fills a call with node i of the graph and its inputs, which must have been
 * run: for those who want to know what the node is told. */
enum ex_status ex__onnx_eval_call(ex_onnx_eval *eval, size_t i, struct ex_onnx_call *call,
                                  struct ex_error *err);
/* In front of an error: `node "/fc/Gemm" (Gemm): `. */
enum ex_status ex__onnx_name_node(const Onnx__NodeProto *node, size_t i, enum ex_status status,
                                  struct ex_error *err);

/* NULL where the evaluator has no such operator. */
const struct ex_onnx_op *ex__onnx_op_find(const char *name);

/* Attributes of the call's node, with a default. One of another type makes the
 * call fail when the operator is done. Lists and texts are borrowed. */
const Onnx__AttributeProto *ex__onnx_attribute(const Onnx__NodeProto *node, const char *name);
int64_t ex__onnx_int(struct ex_onnx_call *call, const char *name, int64_t fallback);
double ex__onnx_float(struct ex_onnx_call *call, const char *name, double fallback);
const char *ex__onnx_string(struct ex_onnx_call *call, const char *name, const char *fallback,
                            char text[32]);
/* *n = −1 and NULL where it is absent. */
const int64_t *ex__onnx_ints(struct ex_onnx_call *call, const char *name, int32_t *n);

/* Makes output k; *numbers tells whether they are wanted too (else it is done). */
enum ex_status ex__onnx_out(struct ex_onnx_call *call, int32_t k, int32_t type, int32_t rank,
                            const int64_t *dim, bool *numbers);
/* The same in the shape and type of input 0. */
enum ex_status ex__onnx_out_like(struct ex_onnx_call *call, int32_t k, bool *numbers);
/* The integers of input k, wanted for a shape even where other inputs are unknown. */
enum ex_status ex__onnx_list(struct ex_onnx_call *call, int32_t k, const int64_t **list,
                             int64_t *n);
/* That a list holds 0 to EX_ONNX_MAX_RANK numbers. */
enum ex_status ex__onnx_check_list(struct ex_onnx_call *call, const char *what, int64_t n);
/* Axis from −rank to rank − 1 as one from 0. */
enum ex_status ex__onnx_axis(struct ex_onnx_call *call, int64_t axis, int32_t rank, int32_t *out);
enum ex_status ex__onnx_spend(struct ex_onnx_call *call, double work); /* of the limit */
/* That input k has a type of floating numbers. */
enum ex_status ex__onnx_want_real(struct ex_onnx_call *call, int32_t k);
enum ex_status ex__onnx_want_whole(struct ex_onnx_call *call, int32_t k);

#define onnx_fail(call, code, ...) ex__fail((call)->err, code, __VA_ARGS__)
#define ONNX(name) ONNX__TENSOR_PROTO__DATA_TYPE__##name

static inline bool ex__onnx_has(const struct ex_onnx_call *call, int32_t k) {
  return k < call->n_in && call->in[k] != NULL;
}
/* A number of a tensor that is loaded, of whatever type. */
static inline double ex__onnx_at(const struct ex_onnx_tensor *tensor, int64_t i) {
  return tensor->real != NULL ? tensor->real[i] : (double)tensor->whole[i];
}
static inline void ex__onnx_copy(struct ex_onnx_tensor *to, int64_t i,
                                 const struct ex_onnx_tensor *from, int64_t k) {
  if (to->real != NULL && from->real != NULL)
    to->real[i] = from->real[k];
  else if (to->whole != NULL && from->whole != NULL)
    to->whole[i] = from->whole[k];
}
/* Elements before, at, and behind an axis. */
static inline int64_t ex__onnx_product(const int64_t *dim, int32_t begin, int32_t end) {
  int64_t product = 1;
  for (int32_t i = begin; i < end; i++) product *= dim[i];
  return product;
}
/* Distances between elements in a plain array. */
static inline void ex__onnx_steps(const int64_t *dim, int32_t rank, int64_t *step) {
  int64_t product = 1;
  for (int32_t i = rank - 1; i >= 0; product *= dim[i], i--) step[i] = product;
}
/* The next index of a counter that runs through dim; false after the last. */
static inline bool ex__onnx_next(int64_t *index, const int64_t *dim, int32_t rank) {
  for (int32_t i = rank <= EX_ONNX_MAX_RANK ? rank - 1 : -1; i >= 0; i--) {
    if (++index[i] < dim[i]) return true;
    index[i] = 0;
  }
  return false;
}
static inline int64_t ex__onnx_offset(const int64_t *index, const int64_t *step, int32_t rank) {
  int64_t at = 0;
  for (int32_t i = 0; i < rank; i++) at += index[i] * step[i];
  return at;
}

#endif
