/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_avg_pool: the mean of each window. count_include_pad divides by
 * the window with its padding, otherwise by what lies inside the image; what
 * ceil_mode adds beyond the padding is never counted (PyTorch).
 */
#include "graph/shape.h"
#include "graph/window.h"

static const struct ex_param attrs[] = {
    {"kernel", EX_PARAM_INT, offsetof(struct ex_pool, kernel), 1, 1024, "2", NULL,
     "Height and width of the window."},
    {"stride", EX_PARAM_INT, offsetof(struct ex_pool, stride), 0, 1024, "0", NULL,
     "Pixels between windows; 0 is the kernel."},
    {"pad", EX_PARAM_INT, offsetof(struct ex_pool, pad), 0, 512, "0", NULL,
     "Pixels of zeros on every side."},
    {"ceil-mode", EX_PARAM_BOOL, offsetof(struct ex_pool, ceil_mode), 0, 1, "false", NULL,
     "Whether a window may begin inside and end outside."},
    {"count-include-pad", EX_PARAM_BOOL, offsetof(struct ex_pool, count_include_pad), 0, 1, "true",
     NULL, "Whether padding counts in the divisor."},
    {.name = NULL},
};

static ex_real divisor(const struct ex_pool *attr, struct ex_window window) {
  int32_t inside = (window.bottom - window.top) * (window.right - window.left);
  return (ex_real)(attr->count_include_pad ? window.padded : inside);
}

static ex_real window_mean(const struct ex_pool *attr, const ex_real *plane, int32_t width,
                           struct ex_window window) {
  ex_real sum = 0;
  for (int32_t y = window.top; y < window.bottom; y++)
    for (int32_t x = window.left; x < window.right; x++) sum += plane[y * width + x];
  return sum / divisor(attr, window);
}

static void window_spread(const struct ex_pool *attr, ex_real dout, ex_real *din, int32_t width,
                          struct ex_window window) {
  ex_real share = dout / divisor(attr, window);
  for (int32_t y = window.top; y < window.bottom; y++)
    for (int32_t x = window.left; x < window.right; x++) din[y * width + x] += share;
}

static void forward(const struct ex_op_call *call) {
  const struct ex_shape *in = call->in_shape[0], *out = &call->node->shape;
  int64_t n_planes = (int64_t)call->batch * out->dim[0], i = 0;
  for (int64_t plane = 0; plane < n_planes; plane++) {
    const ex_real *from = call->in[0] + plane * ex__shape_plane(in);
    for (int32_t row = 0; row < out->dim[1]; row++)
      for (int32_t column = 0; column < out->dim[2]; column++, i++)
        call->out[i] = window_mean(call->node->attr, from, in->dim[2],
                                   ex__window_at(call->node->attr, in, row, column));
  }
}

static void backward(const struct ex_op_call *call) {
  if (call->din[0] == NULL) return;
  const struct ex_shape *in = call->in_shape[0], *out = &call->node->shape;
  int64_t n_planes = (int64_t)call->batch * out->dim[0], i = 0;
  for (int64_t plane = 0; plane < n_planes; plane++) {
    ex_real *din = call->din[0] + plane * ex__shape_plane(in);
    for (int32_t row = 0; row < out->dim[1]; row++)
      for (int32_t column = 0; column < out->dim[2]; column++, i++)
        window_spread(call->node->attr, call->dout[i], din, in->dim[2],
                      ex__window_at(call->node->attr, in, row, column));
  }
}

const struct ex_op ex__op_avg_pool = {
    .name = "avg_pool",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_pool),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_PER_CHANNEL,
    .shape = ex__window_shape,
    .forward = forward,
    .backward = backward,
};
