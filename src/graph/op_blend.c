/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_blend: a·x + (1 − a)·y with one learnable scalar a. Between max and
 * average pooling this is the mixed pooling of SDN's heads (Kaya, Hong &
 * Dumitras, "Shallow-Deep Networks", ICML 2019). a starts uniform in [0, 1), is
 * not bounded while it trains, and is not decayed: its role is that of a bias.
 */
#include "graph/shape.h"

enum { SHARE };

static int32_t tensors(const struct ex_node *node, const struct ex_shape *const *in,
                       struct ex_tensor_decl decl[EX_MAX_NODE_TENSORS]) {
  (void)node, (void)in;
  decl[SHARE] = (struct ex_tensor_decl){"alpha", {1, {1}}, EX_ROLE_BIAS, EX_INIT_UNIT};
  return 1;
}

static void forward(const struct ex_op_call *call) {
  int64_t n = ex__call_count(call);
  ex_real share = call->tensor[SHARE][0];
  for (int64_t i = 0; i < n; i++)
    call->out[i] = share * call->in[0][i] + (1 - share) * call->in[1][i];
}

static void backward(const struct ex_op_call *call) {
  int64_t n = ex__call_count(call);
  ex_real share = call->tensor[SHARE][0];
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)call->dout[i] * (call->in[0][i] - call->in[1][i]);
  if (call->dtensor[SHARE] != NULL) call->dtensor[SHARE][0] += (ex_real)sum;
  for (int32_t k = 0; k < 2; k++) {
    if (call->din[k] == NULL) continue;
    ex_real factor = k == 0 ? share : 1 - share;
    for (int64_t i = 0; i < n; i++) call->din[k][i] += factor * call->dout[i];
  }
}

const struct ex_op ex__op_blend = {
    .name = "blend",
    .version = 1,
    .min_in = 2,
    .max_in = 2,
    .flags = EX_OP_NEEDS_INPUT,
    .shape = ex__shape_of_inputs,
    .tensors = tensors,
    .forward = forward,
    .backward = backward,
};
