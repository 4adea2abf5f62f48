/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_matmul: products of matrices, [count][rows][depth] by
 * [count][depth][columns] or by one [depth][columns] for all. With one input
 * the second are parameters: a linear layer at every row.
 */
#include <string.h>

#include "graph/multiply.h"
#include "graph/strided.h"

static const struct ex_param attrs[] = {
    {"count", EX_PARAM_INT, offsetof(struct ex_matmul, count), 1, INT32_MAX, "1", NULL,
     "Products of one sample."},
    {"rows", EX_PARAM_INT, offsetof(struct ex_matmul, rows), 1, INT32_MAX, "1", NULL,
     "Rows of the first matrix."},
    {"depth", EX_PARAM_INT, offsetof(struct ex_matmul, depth), 1, INT32_MAX, "1", NULL,
     "Columns of the first, rows of the second."},
    {"columns", EX_PARAM_INT, offsetof(struct ex_matmul, columns), 1, INT32_MAX, "1", NULL,
     "Columns of the second."},
    {"shared", EX_PARAM_BOOL, offsetof(struct ex_matmul, shared), 0, 1, "false", NULL,
     "Whether one second matrix serves all products."},
    {"shape", EX_PARAM_LIST, offsetof(struct ex_matmul, shape), 1, INT32_MAX, "1", NULL,
     "Of the output."},
    {.name = NULL},
};

/* a · b · c; above 2^31 it stays there. */
static int64_t product(int64_t a, int64_t b, int64_t c) {
  int64_t first = a * b;
  return first > INT32_MAX ? first : first * c;
}

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_matmul *attr = node->attr;
  int64_t first = product(attr->count, attr->rows, attr->depth);
  int64_t second = product(attr->shared ? 1 : attr->count, attr->depth, attr->columns);
  if (first != ex__shape_count(in[0]) || second > INT32_MAX ||
      (node->n_in > 1 && second != ex__shape_count(in[1])))
    return ex__fail(err, EX_ESHAPE,
                    "matmul: %d of %d × %d by %d columns; must have as many elements as its inputs",
                    (int)attr->count, (int)attr->rows, (int)attr->depth, (int)attr->columns);
  int64_t count = product(attr->count, attr->rows, attr->columns);
  return ex__strided_shape("matmul", &attr->shape, count, out, err);
}

static int64_t macs(const struct ex_node *node, const struct ex_shape *const *in) {
  const struct ex_matmul *attr = node->attr;
  return ex__shape_count(in[0]) * attr->columns;
}

static int32_t tensors(const struct ex_node *node, const struct ex_shape *const *in,
                       struct ex_tensor_decl decl[EX_MAX_NODE_TENSORS]) {
  const struct ex_matmul *attr = node->attr;
  (void)in;
  decl[0] =
      (struct ex_tensor_decl){"weight",
                              {3, {attr->shared ? 1 : attr->count, attr->depth, attr->columns}},
                              EX_ROLE_WEIGHT,
                              EX_INIT_DEFAULT};
  return node->n_in > 1 ? 0 : 1;
}

/* The second matrix of product i of the whole batch. */
static int64_t second_at(const struct ex_op_call *call, int64_t i) {
  const struct ex_matmul *attr = call->node->attr;
  int64_t sample = call->node->n_in > 1 ? i / attr->count : 0;
  int64_t own = attr->shared ? 0 : i % attr->count, each = attr->shared ? 1 : attr->count;
  return (sample * each + own) * attr->depth * attr->columns;
}

static void forward(const struct ex_op_call *call) {
  const struct ex_matmul *attr = call->node->attr;
  const ex_real *second = call->node->n_in > 1 ? call->in[1] : call->tensor[0];
  int64_t size = (int64_t)attr->rows * attr->columns, depth = attr->depth;
  memset(call->out, 0, (size_t)ex__call_count(call) * sizeof *call->out);
  for (int64_t i = 0; i < (int64_t)call->batch * attr->count; i++)
    ex__multiply_add(attr->rows, attr->columns, depth,
                     (struct ex_matrix){call->in[0] + i * attr->rows * depth, depth, 1},
                     second + second_at(call, i), attr->columns, call->out + i * size,
                     attr->columns);
}

static void backward(const struct ex_op_call *call) {
  const struct ex_matmul *attr = call->node->attr;
  bool both = call->node->n_in > 1;
  const ex_real *second = both ? call->in[1] : call->tensor[0];
  ex_real *dfirst = call->din[0], *dsecond = both ? call->din[1] : call->dtensor[0];
  int64_t rows = attr->rows, columns = attr->columns, depth = attr->depth;
  for (int64_t i = 0; i < (int64_t)call->batch * attr->count; i++) {
    const ex_real *dout = call->dout + i * rows * columns;
    const ex_real *b = second + second_at(call, i);
    /* dA = dC · Bᵀ, row by row since B lies the other way. */
    for (int64_t r = 0; dfirst != NULL && r < rows; r++)
      for (int64_t k = 0; k < depth; k++)
        dfirst[(i * rows + r) * depth + k] += ex__dot(dout + r * columns, b + k * columns, columns);
    if (dsecond != NULL) /* dB = Aᵀ · dC */
      ex__multiply_add(depth, columns, rows,
                       (struct ex_matrix){call->in[0] + i * rows * depth, 1, depth}, dout, columns,
                       dsecond + second_at(call, i), columns);
  }
}

const struct ex_op ex__op_matmul = {
    .name = "matmul",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_matmul),
    .min_in = 1,
    .max_in = 2,
    .flags = EX_OP_NEEDS_INPUT | EX_OP_ROWS,
    .shape = shape,
    .macs = macs,
    .tensors = tensors,
    .forward = forward,
    .backward = backward,
};
