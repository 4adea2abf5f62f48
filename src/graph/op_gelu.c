/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_gelu: x · Φ(x) (Hendrycks & Gimpel 2016), Φ being the normal
 * distribution function by erf; not the tanh approximation.
 */
#include <math.h>

#include "graph/shape.h"

static double distribution(double x) { return 0.5 * (1 + erf(x * 0.70710678118654752440)); }

static double density(double x) { return 0.39894228040143267794 * exp(-0.5 * x * x); }

static void forward(const struct ex_op_call *call) {
  int64_t n = ex__call_count(call);
  for (int64_t i = 0; i < n; i++) {
    double x = call->in[0][i];
    call->out[i] = (ex_real)(x * distribution(x));
  }
}

static void backward(const struct ex_op_call *call) {
  if (call->din[0] == NULL) return;
  int64_t n = ex__call_count(call);
  for (int64_t i = 0; i < n; i++) {
    double x = call->in[0][i];
    call->din[0][i] += (ex_real)(call->dout[i] * (distribution(x) + x * density(x)));
  }
}

const struct ex_op ex__op_gelu = {
    .name = "gelu",
    .version = 1,
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_INPUT | EX_OP_PER_CHANNEL,
    .shape = ex__shape_of_inputs,
    .forward = forward,
    .backward = backward,
};
