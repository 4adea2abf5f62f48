/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_adaptive_pool: pools any image to a given height and width, by mean
 * or maximum. Window i of n over `size` is [⌊i·size/n⌋, ⌈(i+1)·size/n⌉), as in
 * PyTorch; windows may overlap. For the maximum the workspace keeps who won;
 * a NaN wins over every number, so that it is seen behind the pool too. The
 * mean is summed in double: a window may be a whole plane, where a float sum
 * would lose the last digits.
 */
#include "graph/shape.h"

static const struct ex_param attrs[] = {
    {"height", EX_PARAM_INT, offsetof(struct ex_adaptive_pool, height), 1, 65536, "1", NULL,
     "Height of the output."},
    {"width", EX_PARAM_INT, offsetof(struct ex_adaptive_pool, width), 1, 65536, "1", NULL,
     "Width of the output."},
    {"max", EX_PARAM_BOOL, offsetof(struct ex_adaptive_pool, max), 0, 1, "false", NULL,
     "Whether the maximum is taken, not the mean."},
    {.name = NULL},
};

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_adaptive_pool *attr = node->attr;
  EX_TRY(ex__shape_is_image("adaptive_pool", in[0], err));
  int64_t dim[3] = {in[0]->dim[0], attr->height, attr->width};
  return ex__shape_make("adaptive_pool", 3, dim, out, err);
}

/* [batch][shape] offsets of the winners in their planes. */
static size_t workspace(const struct ex_node *node, const struct ex_shape *const *in,
                        int32_t batch) {
  (void)in;
  const struct ex_adaptive_pool *attr = node->attr;
  if (!attr->max) return 0;
  return (size_t)batch * (size_t)ex__shape_count(&node->shape) * sizeof(int32_t);
}

struct area {
  int64_t top, bottom, left, right;
};

static struct area area_at(const struct ex_op_call *call, int64_t row, int64_t column) {
  const struct ex_adaptive_pool *attr = call->node->attr;
  int64_t height = call->in_shape[0]->dim[1], width = call->in_shape[0]->dim[2];
  return (struct area){
      row * height / attr->height, ((row + 1) * height + attr->height - 1) / attr->height,
      column * width / attr->width, ((column + 1) * width + attr->width - 1) / attr->width};
}

static ex_real area_mean(const ex_real *plane, int64_t width, struct area area) {
  double sum = 0;
  for (int64_t y = area.top; y < area.bottom; y++)
    for (int64_t x = area.left; x < area.right; x++) sum += (double)plane[y * width + x];
  return (ex_real)(sum / (double)((area.bottom - area.top) * (area.right - area.left)));
}

static int32_t area_winner(const ex_real *plane, int64_t width, struct area area) {
  int64_t best = area.top * width + area.left;
  for (int64_t y = area.top; y < area.bottom; y++)
    for (int64_t x = area.left; x < area.right; x++) {
      ex_real value = plane[y * width + x];
      if (value > plane[best] || value != value) best = y * width + x;
    }
  return (int32_t)best;
}

static void area_spread(ex_real dout, ex_real *din, int64_t width, struct area area) {
  ex_real share = dout / (ex_real)((area.bottom - area.top) * (area.right - area.left));
  for (int64_t y = area.top; y < area.bottom; y++)
    for (int64_t x = area.left; x < area.right; x++) din[y * width + x] += share;
}

static void forward(const struct ex_op_call *call) {
  const struct ex_adaptive_pool *attr = call->node->attr;
  int64_t n_planes = (int64_t)call->batch * call->node->shape.dim[0], i = 0;
  int64_t size = ex__shape_plane(call->in_shape[0]), width = call->in_shape[0]->dim[2];
  int32_t *won = call->workspace;
  for (int64_t plane = 0; plane < n_planes; plane++) {
    const ex_real *from = call->in[0] + plane * size;
    for (int64_t row = 0; row < attr->height; row++)
      for (int64_t column = 0; column < attr->width; column++, i++) {
        struct area area = area_at(call, row, column);
        if (attr->max) won[i] = area_winner(from, width, area);
        call->out[i] = attr->max ? from[won[i]] : area_mean(from, width, area);
      }
  }
}

static void backward(const struct ex_op_call *call) {
  if (call->din[0] == NULL) return;
  const struct ex_adaptive_pool *attr = call->node->attr;
  int64_t n_planes = (int64_t)call->batch * call->node->shape.dim[0], i = 0;
  int64_t size = ex__shape_plane(call->in_shape[0]), width = call->in_shape[0]->dim[2];
  const int32_t *won = call->workspace;
  for (int64_t plane = 0; plane < n_planes; plane++) {
    ex_real *din = call->din[0] + plane * size;
    for (int64_t row = 0; row < attr->height; row++)
      for (int64_t column = 0; column < attr->width; column++, i++)
        if (attr->max)
          din[won[i]] += call->dout[i];
        else
          area_spread(call->dout[i], din, width, area_at(call, row, column));
  }
}

const struct ex_op ex__op_adaptive_pool = {
    .name = "adaptive_pool",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_adaptive_pool),
    .min_in = 1,
    .max_in = 1,
    .shape = shape,
    .workspace = workspace,
    .forward = forward,
    .backward = backward,
};
