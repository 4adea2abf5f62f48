/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_reduce: groups of neighbours become one number each. What is not
 * neighbours is made so by a view. Sums are in double; the first of equal
 * winners takes the gradient, and a NaN wins.
 */
#include "graph/strided.h"

static const char *const kinds[] = {"sum", "mean", "max", "min", NULL};

static const struct ex_param attrs[] = {
    {"kind", EX_PARAM_ENUM, offsetof(struct ex_reduce, kind), 0, 0, "sum", kinds,
     "What becomes of a group."},
    {"size", EX_PARAM_INT, offsetof(struct ex_reduce, size), 1, INT32_MAX, "1", NULL,
     "Elements of a group."},
    {"shape", EX_PARAM_LIST, offsetof(struct ex_reduce, shape), 1, INT32_MAX, "1", NULL,
     "Of the output."},
    {.name = NULL},
};

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_reduce *attr = node->attr;
  int64_t count = ex__shape_count(in[0]);
  if (count % attr->size != 0)
    return ex__fail(err, EX_ESHAPE, "reduce: groups of %d of %lld elements; must divide them",
                    (int)attr->size, (long long)count);
  return ex__strided_shape("reduce", &attr->shape, count / attr->size, out, err);
}

static double sum_of(const ex_real *x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)x[i];
  return sum;
}

static int64_t winner_of(const ex_real *x, int64_t n, bool largest) {
  int64_t best = 0;
  for (int64_t i = 1; i < n && x[best] == x[best]; i++)
    if ((largest ? x[i] > x[best] : x[i] < x[best]) || x[i] != x[i]) best = i;
  return best;
}

static void forward(const struct ex_op_call *call) {
  const struct ex_reduce *attr = call->node->attr;
  int64_t n = ex__call_count(call), size = attr->size;
  for (int64_t i = 0; i < n; i++) {
    const ex_real *x = call->in[0] + i * size;
    switch (attr->kind) {
      case EX_REDUCE_SUM: call->out[i] = (ex_real)sum_of(x, size); break;
      case EX_REDUCE_MEAN: call->out[i] = (ex_real)(sum_of(x, size) / (double)size); break;
      default: call->out[i] = x[winner_of(x, size, attr->kind == EX_REDUCE_MAX)]; break;
    }
  }
}

static void backward(const struct ex_op_call *call) {
  const struct ex_reduce *attr = call->node->attr;
  if (call->din[0] == NULL) return;
  int64_t n = ex__call_count(call), size = attr->size;
  for (int64_t i = 0; i < n; i++) {
    ex_real *dx = call->din[0] + i * size;
    if (attr->kind == EX_REDUCE_MAX || attr->kind == EX_REDUCE_MIN) {
      dx[winner_of(call->in[0] + i * size, size, attr->kind == EX_REDUCE_MAX)] += call->dout[i];
      continue;
    }
    ex_real share = attr->kind == EX_REDUCE_MEAN ? call->dout[i] / (ex_real)size : call->dout[i];
    for (int64_t k = 0; k < size; k++) dx[k] += share;
  }
}

const struct ex_op ex__op_reduce = {
    .name = "reduce",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_reduce),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_INPUT | EX_OP_ROWS,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
