/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_row_softmax: softmax of groups of neighbours, as attention has it
 * for each row of its scores. `softmax` is over channels, which lie apart.
 * Backward needs the output alone: dx = y · (dy − Σ dy · y).
 */
#include <math.h>

#include "graph/shape.h"

static const struct ex_param attrs[] = {
    {"size", EX_PARAM_INT, offsetof(struct ex_row_softmax, size), 1, INT32_MAX, "1", NULL,
     "Elements of a group."},
    {.name = NULL},
};

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_row_softmax *attr = node->attr;
  *out = *in[0];
  if (ex__shape_count(in[0]) % attr->size == 0) return EX_OK;
  return ex__fail(err, EX_ESHAPE, "row_softmax: groups of %d of %lld elements; must divide them",
                  (int)attr->size, (long long)ex__shape_count(in[0]));
}

static void softmax(const ex_real *x, ex_real *y, int64_t n) {
  double top = (double)x[0], sum = 0;
  for (int64_t i = 1; i < n; i++) top = (double)x[i] > top ? (double)x[i] : top;
  for (int64_t i = 0; i < n; i++) sum += exp((double)x[i] - top);
  for (int64_t i = 0; i < n; i++) y[i] = (ex_real)(exp((double)x[i] - top) / sum);
}

static void forward(const struct ex_op_call *call) {
  const struct ex_row_softmax *attr = call->node->attr;
  int64_t n = ex__call_count(call), size = attr->size;
  for (int64_t first = 0; first < n; first += size)
    softmax(call->in[0] + first, call->out + first, size);
}

static void backward(const struct ex_op_call *call) {
  const struct ex_row_softmax *attr = call->node->attr;
  if (call->din[0] == NULL) return;
  int64_t n = ex__call_count(call), size = attr->size;
  for (int64_t first = 0; first < n; first += size) {
    const ex_real *y = call->out + first, *dy = call->dout + first;
    double sum = 0;
    for (int64_t i = 0; i < size; i++) sum += (double)dy[i] * (double)y[i];
    for (int64_t i = 0; i < size; i++)
      call->din[0][first + i] += (ex_real)((double)y[i] * ((double)dy[i] - sum));
  }
}

const struct ex_op ex__op_row_softmax = {
    .name = "row_softmax",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_row_softmax),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_OUTPUT | EX_OP_ROWS,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
