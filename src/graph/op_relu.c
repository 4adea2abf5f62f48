/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_relu: max(x, 0). Its gradient at 0 is 0, so the sign of the output
 * is all that backward needs, and it may work in place. A NaN stays one.
 */
#include "graph/shape.h"

static void forward(const struct ex_op_call *call) {
  int64_t n = ex__call_count(call);
  for (int64_t i = 0; i < n; i++) call->out[i] = call->in[0][i] < 0 ? 0 : call->in[0][i];
}

static void backward(const struct ex_op_call *call) {
  if (call->din[0] == NULL) return;
  int64_t n = ex__call_count(call);
  for (int64_t i = 0; i < n; i++) call->din[0][i] += call->out[i] > 0 ? call->dout[i] : 0;
}

const struct ex_op ex__op_relu = {
    .name = "relu",
    .version = 1,
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_OUTPUT | EX_OP_IN_PLACE | EX_OP_PER_CHANNEL,
    .shape = ex__shape_of_inputs,
    .forward = forward,
    .backward = backward,
};
