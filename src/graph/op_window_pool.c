/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_window_pool: pooling by windows of any height and width, stride,
 * dilation and padding on each side: what ONNX allows beyond the squares of
 * max_pool and avg_pool. The first of equals takes the gradient, a NaN wins.
 */
#include "graph/shape.h"

#define SIDE(name, field, low, high, fallback, help) \
  { name, EX_PARAM_INT, offsetof(struct ex_window_pool, field), low, high, fallback, NULL, help }
static const struct ex_param attrs[] = {
    SIDE("kernel-h", kernel_h, 1, 65536, "1", "Height of the window."),
    SIDE("kernel-w", kernel_w, 1, 65536, "1", "Width of the window."),
    SIDE("stride-h", stride_h, 1, 65536, "1", "Rows between windows."),
    SIDE("stride-w", stride_w, 1, 65536, "1", "Columns between windows."),
    SIDE("dilation-h", dilation_h, 1, 65536, "1", "Rows between elements of a window."),
    SIDE("dilation-w", dilation_w, 1, 65536, "1", "Columns between elements of a window."),
    SIDE("top", top, 0, 65536, "0", "Rows of padding above."),
    SIDE("bottom", bottom, 0, 65536, "0", "Rows of padding below."),
    SIDE("left", left, 0, 65536, "0", "Columns of padding on the left."),
    SIDE("right", right, 0, 65536, "0", "Columns of padding on the right."),
    {"max", EX_PARAM_BOOL, offsetof(struct ex_window_pool, max), 0, 1, "false", NULL,
     "Whether the maximum is taken, not the mean."},
    {"count-include-pad", EX_PARAM_BOOL, offsetof(struct ex_window_pool, count_include_pad), 0, 1,
     "false", NULL, "Whether padding counts in the divisor of a mean."},
    {.name = NULL},
};

struct axis {
  int64_t size, kernel, stride, dilation, before, after;
};

static struct axis rows_of(const struct ex_window_pool *attr, const struct ex_shape *in) {
  return (struct axis){in->dim[1],       attr->kernel_h, attr->stride_h,
                       attr->dilation_h, attr->top,      attr->bottom};
}

static struct axis columns_of(const struct ex_window_pool *attr, const struct ex_shape *in) {
  return (struct axis){in->dim[2],       attr->kernel_w, attr->stride_w,
                       attr->dilation_w, attr->left,     attr->right};
}

static enum ex_status windows(struct axis axis, int64_t *count, struct ex_error *err) {
  int64_t reach = (axis.kernel - 1) * axis.dilation + 1;
  int64_t room = axis.size + axis.before + axis.after - reach;
  if (room < 0 || axis.before >= reach || axis.after >= reach)
    return ex__fail(err, EX_ESHAPE,
                    "window_pool: a window over %lld in %lld padded by %lld, %lld; must fit, and "
                    "not lie in the padding alone",
                    (long long)reach, (long long)axis.size, (long long)axis.before,
                    (long long)axis.after);
  *count = room / axis.stride + 1;
  return EX_OK;
}

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_window_pool *attr = node->attr;
  EX_TRY(ex__shape_is_image("window_pool", in[0], err));
  int64_t dim[3] = {in[0]->dim[0]};
  EX_TRY(windows(rows_of(attr, in[0]), &dim[1], err));
  EX_TRY(windows(columns_of(attr, in[0]), &dim[2], err));
  return ex__shape_make("window_pool", 3, dim, out, err);
}

/* First and last element of window i that lie inside, [*first, *last) of the kernel. */
static int64_t span(struct axis axis, int64_t i, int64_t *first, int64_t *last) {
  int64_t begin = i * axis.stride - axis.before;
  *first = begin >= 0 ? 0 : (-begin + axis.dilation - 1) / axis.dilation;
  *last = axis.kernel;
  while (*last > *first && begin + (*last - 1) * axis.dilation >= axis.size) (*last)--;
  return begin;
}

struct window {
  int64_t top, left;         /* where element 0 lies */
  int64_t row[2], column[2]; /* elements inside */
  int64_t step_h, step_w, width;
};

static struct window window_at(const struct ex_op_call *call, int64_t row, int64_t column) {
  const struct ex_window_pool *attr = call->node->attr;
  const struct ex_shape *in = call->in_shape[0];
  struct window w = {.step_h = attr->dilation_h, .step_w = attr->dilation_w, .width = in->dim[2]};
  w.top = span(rows_of(attr, in), row, &w.row[0], &w.row[1]);
  w.left = span(columns_of(attr, in), column, &w.column[0], &w.column[1]);
  return w;
}

static int64_t place(const struct window *w, int64_t y, int64_t x) {
  return (w->top + y * w->step_h) * w->width + w->left + x * w->step_w;
}

static int64_t winner(const struct window *w, const ex_real *plane) {
  int64_t best = place(w, w->row[0], w->column[0]);
  for (int64_t y = w->row[0]; y < w->row[1]; y++)
    for (int64_t x = w->column[0]; x < w->column[1]; x++) {
      ex_real value = plane[place(w, y, x)];
      if (value > plane[best] || value != value) best = place(w, y, x);
    }
  return best;
}

static ex_real divisor(const struct ex_window_pool *attr, const struct window *w) {
  int64_t inside = (w->row[1] - w->row[0]) * (w->column[1] - w->column[0]);
  return (ex_real)(attr->count_include_pad ? (int64_t)attr->kernel_h * attr->kernel_w : inside);
}

static ex_real mean(const struct ex_window_pool *attr, const struct window *w,
                    const ex_real *plane) {
  double sum = 0;
  for (int64_t y = w->row[0]; y < w->row[1]; y++)
    for (int64_t x = w->column[0]; x < w->column[1]; x++) sum += (double)plane[place(w, y, x)];
  return (ex_real)sum / divisor(attr, w);
}

static void forward(const struct ex_op_call *call) {
  const struct ex_window_pool *attr = call->node->attr;
  const struct ex_shape *out = &call->node->shape;
  int64_t n_planes = (int64_t)call->batch * out->dim[0], i = 0;
  for (int64_t p = 0; p < n_planes; p++) {
    const ex_real *plane = call->in[0] + p * ex__shape_plane(call->in_shape[0]);
    for (int64_t row = 0; row < out->dim[1]; row++)
      for (int64_t column = 0; column < out->dim[2]; column++, i++) {
        struct window w = window_at(call, row, column);
        call->out[i] = attr->max ? plane[winner(&w, plane)] : mean(attr, &w, plane);
      }
  }
}

static void backward(const struct ex_op_call *call) {
  const struct ex_window_pool *attr = call->node->attr;
  const struct ex_shape *out = &call->node->shape;
  if (call->din[0] == NULL) return;
  int64_t n_planes = (int64_t)call->batch * out->dim[0], i = 0;
  for (int64_t p = 0; p < n_planes; p++) {
    int64_t base = p * ex__shape_plane(call->in_shape[0]);
    ex_real *din = call->din[0] + base;
    for (int64_t row = 0; row < out->dim[1]; row++)
      for (int64_t column = 0; column < out->dim[2]; column++, i++) {
        struct window w = window_at(call, row, column);
        if (attr->max) {
          din[winner(&w, call->in[0] + base)] += call->dout[i];
          continue;
        }
        ex_real share = call->dout[i] / divisor(attr, &w);
        for (int64_t y = w.row[0]; y < w.row[1]; y++)
          for (int64_t x = w.column[0]; x < w.column[1]; x++) din[place(&w, y, x)] += share;
      }
  }
}

const struct ex_op ex__op_window_pool = {
    .name = "window_pool",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_window_pool),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_INPUT | EX_OP_PER_CHANNEL,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
