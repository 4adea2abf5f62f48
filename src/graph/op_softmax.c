/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_softmax: e^x / Σ e^x over features, or over channels at every pixel.
 * Over features it is the library's one softmax; over channels the same steps
 * at a distance, so that both give the same bits.
 * Backward needs the output alone: dx = y · (dy − Σ dy · y).
 */
#include <math.h>

#include "graph/loss.h"
#include "graph/op_channels.h"
#include "graph/shape.h"

/* n values, `step` apart. */
static void softmax(const ex_real *x, ex_real *y, int64_t n, int64_t step) {
  double top = x[0], sum = 0;
  for (int64_t i = 1; i < n; i++)
    if (x[i * step] > top) top = x[i * step];
  for (int64_t i = 0; i < n; i++) sum += exp(x[i * step] - top);
  for (int64_t i = 0; i < n; i++) y[i * step] = (ex_real)(exp(x[i * step] - top) / sum);
}

static void add_gradient(const ex_real *y, const ex_real *dy, ex_real *dx, int64_t n,
                         int64_t step) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)dy[i * step] * y[i * step];
  for (int64_t i = 0; i < n; i++) dx[i * step] += (ex_real)(y[i * step] * (dy[i * step] - sum));
}

static void forward(const struct ex_op_call *call) {
  if (call->node->shape.rank == 1)
    ex__softmax(call->in[0], call->batch, (int32_t)call->node->shape.dim[0], 1, call->out);
  else
    ex__channels_forward(call, softmax);
}

static void backward(const struct ex_op_call *call) { ex__channels_backward(call, add_gradient); }

const struct ex_op ex__op_softmax = {
    .name = "softmax",
    .version = 1,
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_OUTPUT | EX_OP_IN_PLACE,
    .shape = ex__shape_of_inputs,
    .forward = forward,
    .backward = backward,
};
