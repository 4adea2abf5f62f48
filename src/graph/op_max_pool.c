/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_max_pool: the largest of each window; padding never wins. The
 * first of equals takes the gradient, and a NaN wins, as in PyTorch. The
 * workspace keeps who won, so backward needs neither input nor output.
 */
#include "graph/shape.h"
#include "graph/window.h"

static const struct ex_param attrs[] = {
    {"kernel", EX_PARAM_INT, offsetof(struct ex_pool, kernel), 1, 1024, "2", NULL,
     "Height and width of the window."},
    {"stride", EX_PARAM_INT, offsetof(struct ex_pool, stride), 0, 1024, "0", NULL,
     "Pixels between windows; 0 is the kernel."},
    {"pad", EX_PARAM_INT, offsetof(struct ex_pool, pad), 0, 512, "0", NULL,
     "Pixels of padding on every side."},
    {"ceil-mode", EX_PARAM_BOOL, offsetof(struct ex_pool, ceil_mode), 0, 1, "false", NULL,
     "Whether a window may begin inside and end outside."},
    {.name = NULL},
};

/* [batch][shape] offsets of the winners in their planes. */
static size_t workspace(const struct ex_node *node, const struct ex_shape *const *in,
                        int32_t batch) {
  (void)in;
  return (size_t)batch * (size_t)ex__shape_count(&node->shape) * sizeof(int32_t);
}

static int32_t winner(const ex_real *plane, int32_t width, struct ex_window window) {
  int32_t best = window.top * width + window.left;
  for (int32_t y = window.top; y < window.bottom; y++)
    for (int32_t x = window.left; x < window.right; x++) {
      ex_real value = plane[y * width + x];
      if (value > plane[best] || value != value) best = y * width + x;
    }
  return best;
}

static void forward(const struct ex_op_call *call) {
  const struct ex_shape *in = call->in_shape[0], *out = &call->node->shape;
  int64_t n_planes = (int64_t)call->batch * out->dim[0], i = 0;
  int32_t *won = call->workspace;
  for (int64_t plane = 0; plane < n_planes; plane++) {
    const ex_real *from = call->in[0] + plane * ex__shape_plane(in);
    for (int32_t row = 0; row < out->dim[1]; row++)
      for (int32_t column = 0; column < out->dim[2]; column++, i++) {
        won[i] = winner(from, in->dim[2], ex__window_at(call->node->attr, in, row, column));
        call->out[i] = from[won[i]];
      }
  }
}

static void backward(const struct ex_op_call *call) {
  if (call->din[0] == NULL) return;
  const struct ex_shape *in = call->in_shape[0], *out = &call->node->shape;
  int64_t n_planes = (int64_t)call->batch * out->dim[0], n_windows = ex__shape_plane(out), i = 0;
  const int32_t *won = call->workspace;
  for (int64_t plane = 0; plane < n_planes; plane++) {
    ex_real *din = call->din[0] + plane * ex__shape_plane(in);
    for (int64_t window = 0; window < n_windows; window++, i++) din[won[i]] += call->dout[i];
  }
}

const struct ex_op ex__op_max_pool = {
    .name = "max_pool",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_pool),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_PER_CHANNEL,
    .shape = ex__window_shape,
    .workspace = workspace,
    .forward = forward,
    .backward = backward,
};
