/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_log_softmax: x − log Σ e^x over features, or over channels at every
 * pixel; exact where softmax itself has long become 0.
 * Backward needs the output alone: dx = dy − e^y · Σ dy.
 */
#include <math.h>

#include "graph/op_channels.h"
#include "graph/shape.h"

/* n values, `step` apart. */
static void log_softmax(const ex_real *x, ex_real *y, int64_t n, int64_t step) {
  double top = x[0], sum = 0;
  for (int64_t i = 1; i < n; i++)
    if (x[i * step] > top) top = x[i * step];
  for (int64_t i = 0; i < n; i++) sum += exp(x[i * step] - top);
  /* n ≥ 1, and the largest has added 1: */
  /* cppcheck-suppress invalidFunctionArg */
  double log_sum = log(sum);
  for (int64_t i = 0; i < n; i++) y[i * step] = (ex_real)(x[i * step] - top - log_sum);
}

static void add_gradient(const ex_real *y, const ex_real *dy, ex_real *dx, int64_t n,
                         int64_t step) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += dy[i * step];
  for (int64_t i = 0; i < n; i++) dx[i * step] += (ex_real)(dy[i * step] - exp(y[i * step]) * sum);
}

static void forward(const struct ex_op_call *call) { ex__channels_forward(call, log_softmax); }

static void backward(const struct ex_op_call *call) { ex__channels_backward(call, add_gradient); }

const struct ex_op ex__op_log_softmax = {
    .name = "log_softmax",
    .version = 1,
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_OUTPUT | EX_OP_IN_PLACE,
    .shape = ex__shape_of_inputs,
    .forward = forward,
    .backward = backward,
};
