/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_add: the sum of 2 to 8 inputs of one shape, in order. An element is
 * finished before the next is read, so the output may lie on the first input
 * even where a further input is the same array.
 */
#include "graph/shape.h"

static void forward(const struct ex_op_call *call) {
  int64_t n = ex__call_count(call);
  for (int64_t i = 0; i < n; i++) {
    ex_real sum = call->in[0][i];
    for (int32_t k = 1; k < call->node->n_in; k++) sum += call->in[k][i];
    call->out[i] = sum;
  }
}

static void backward(const struct ex_op_call *call) {
  int64_t n = ex__call_count(call);
  for (int32_t k = 0; k < call->node->n_in; k++) {
    if (call->din[k] == NULL) continue;
    for (int64_t i = 0; i < n; i++) call->din[k][i] += call->dout[i];
  }
}

const struct ex_op ex__op_add = {
    .name = "add",
    .version = 1,
    .min_in = 2,
    .max_in = EX_MAX_INPUTS,
    .flags = EX_OP_IN_PLACE | EX_OP_PER_CHANNEL,
    .shape = ex__shape_of_inputs,
    .forward = forward,
    .backward = backward,
};
