/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_sigmoid: 1 / (1 + e^−x). The exponential is taken of −|x|, so that
 * it never overflows. Backward needs the output alone: dy · y · (1 − y).
 */
#include <math.h>

#include "graph/shape.h"

static void forward(const struct ex_op_call *call) {
  int64_t n = ex__call_count(call);
  for (int64_t i = 0; i < n; i++) {
    double x = call->in[0][i], small = exp(-fabs(x));
    call->out[i] = (ex_real)((x < 0 ? small : 1) / (1 + small));
  }
}

static void backward(const struct ex_op_call *call) {
  if (call->din[0] == NULL) return;
  int64_t n = ex__call_count(call);
  for (int64_t i = 0; i < n; i++)
    call->din[0][i] += call->dout[i] * call->out[i] * (1 - call->out[i]);
}

const struct ex_op ex__op_sigmoid = {
    .name = "sigmoid",
    .version = 1,
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_OUTPUT | EX_OP_IN_PLACE | EX_OP_PER_CHANNEL,
    .shape = ex__shape_of_inputs,
    .forward = forward,
    .backward = backward,
};
