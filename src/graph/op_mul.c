/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_mul: the product of 2 to 8 inputs of one shape. The gradient of one
 * is the product of the others, multiplied anew: dividing the whole product
 * by it would fail where it is zero.
 */
#include "graph/shape.h"

/* Of element i over all inputs but `except`. */
static ex_real product(const struct ex_op_call *call, int64_t i, int32_t except) {
  ex_real value = 1;
  for (int32_t k = 0; k < call->node->n_in; k++)
    if (k != except) value *= call->in[k][i];
  return value;
}

static void forward(const struct ex_op_call *call) {
  int64_t n = ex__call_count(call);
  for (int64_t i = 0; i < n; i++) call->out[i] = product(call, i, -1);
}

static void backward(const struct ex_op_call *call) {
  int64_t n = ex__call_count(call);
  for (int32_t k = 0; k < call->node->n_in; k++) {
    if (call->din[k] == NULL) continue;
    for (int64_t i = 0; i < n; i++) call->din[k][i] += call->dout[i] * product(call, i, k);
  }
}

const struct ex_op ex__op_mul = {
    .name = "mul",
    .version = 1,
    .min_in = 2,
    .max_in = EX_MAX_INPUTS,
    .flags = EX_OP_NEEDS_INPUT,
    .shape = ex__shape_of_inputs,
    .forward = forward,
    .backward = backward,
};
