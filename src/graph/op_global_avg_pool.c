/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_global_avg_pool: [channels][height][width] → [channels], the mean
 * of every plane: what stands between a convolutional body and a linear head.
 */
#include "graph/shape.h"

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  (void)node;
  EX_TRY(ex__shape_is_image("global_avg_pool", in[0], err));
  *out = (struct ex_shape){1, {in[0]->dim[0]}};
  return EX_OK;
}

static void forward(const struct ex_op_call *call) {
  int64_t n_planes = ex__call_count(call), n = ex__shape_plane(call->in_shape[0]);
  for (int64_t plane = 0; plane < n_planes; plane++) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += call->in[0][plane * n + i];
    call->out[plane] = (ex_real)(sum / (double)n);
  }
}

static void backward(const struct ex_op_call *call) {
  if (call->din[0] == NULL) return;
  int64_t n_planes = ex__call_count(call), n = ex__shape_plane(call->in_shape[0]);
  for (int64_t plane = 0; plane < n_planes; plane++) {
    ex_real share = call->dout[plane] / (ex_real)n;
    for (int64_t i = 0; i < n; i++) call->din[0][plane * n + i] += share;
  }
}

const struct ex_op ex__op_global_avg_pool = {
    .name = "global_avg_pool",
    .version = 1,
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_PER_CHANNEL,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
