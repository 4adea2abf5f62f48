/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_concat: 1 to 8 inputs one after another along channels (or features).
 */
#include <string.h>

#include "graph/shape.h"

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  char first[EX_SHAPE_TEXT_SIZE], other[EX_SHAPE_TEXT_SIZE];
  int64_t dim[EX_MAX_RANK] = {0};
  for (int32_t i = 0; i < in[0]->rank; i++) dim[i] = i > 0 ? in[0]->dim[i] : 0;
  for (int32_t k = 0; k < node->n_in; k++) {
    struct ex_shape alike = *in[k];
    alike.dim[0] = in[0]->dim[0];
    if (!ex__shape_equal(in[0], &alike))
      return ex__fail(err, EX_ESHAPE, "concat: input %d is %s; must be as %s behind the channels",
                      (int)k, ex__shape_text(in[k], other), ex__shape_text(in[0], first));
    dim[0] += in[k]->dim[0];
  }
  return ex__shape_make("concat", in[0]->rank, dim, out, err);
}

static void forward(const struct ex_op_call *call) {
  ex_real *to = call->out;
  for (int64_t b = 0; b < call->batch; b++)
    for (int32_t k = 0; k < call->node->n_in; k++) {
      int64_t n = ex__shape_count(call->in_shape[k]);
      memcpy(to, call->in[k] + b * n, (size_t)n * sizeof *to);
      to += n;
    }
}

static void backward(const struct ex_op_call *call) {
  const ex_real *dout = call->dout;
  for (int64_t b = 0; b < call->batch; b++)
    for (int32_t k = 0; k < call->node->n_in; k++) {
      int64_t n = ex__shape_count(call->in_shape[k]);
      if (call->din[k] != NULL)
        for (int64_t i = 0; i < n; i++) call->din[k][b * n + i] += dout[i];
      dout += n;
    }
}

const struct ex_op ex__op_concat = {
    .name = "concat",
    .version = 1,
    .min_in = 1,
    .max_in = EX_MAX_INPUTS,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
