/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_conv2d: convolution as PyTorch has it, weights [out][in / groups][kh][kw].
 *
 * The twin is a matrix product over patches. A patch is what one output pixel
 * sees: depth = in/groups · kh · kw elements. Patches are gathered a small tile
 * at a time (PIXELS × DEPTH, on the stack), so that no workspace grows with the
 * image, and the tile stays in the first-level cache while all output channels
 * of the group use it. Per group and sample:
 *
 *   out  [out][pixel]  += weight [out][depth]    · patch [depth][pixel]
 *   dw   [out][depth]  += dout   [out][pixel]    · patchᵀ [pixel][depth]
 *   dpatch [depth][pixel] = weightᵀ [depth][out] · dout [out][pixel], scattered into din
 */
#include "graph/multiply.h"
#include "graph/shape.h"

static const struct ex_param attrs[] = {
    {"channels", EX_PARAM_INT, offsetof(struct ex_conv2d, channels), 1, 1 << 20, "1", NULL,
     "Output channels."},
    {"kernel-h", EX_PARAM_INT, offsetof(struct ex_conv2d, kernel_h), 1, 1024, "1", NULL,
     "Height of the kernel."},
    {"kernel-w", EX_PARAM_INT, offsetof(struct ex_conv2d, kernel_w), 1, 1024, "1", NULL,
     "Width of the kernel."},
    {"stride", EX_PARAM_INT, offsetof(struct ex_conv2d, stride), 1, 1024, "1", NULL,
     "Pixels between windows, in both directions."},
    {"pad-h", EX_PARAM_INT, offsetof(struct ex_conv2d, pad_h), 0, 1024, "0", NULL,
     "Rows of zeros above and below."},
    {"pad-w", EX_PARAM_INT, offsetof(struct ex_conv2d, pad_w), 0, 1024, "0", NULL,
     "Columns of zeros left and right."},
    {"dilation", EX_PARAM_INT, offsetof(struct ex_conv2d, dilation), 1, 1024, "1", NULL,
     "Pixels between the elements of a kernel."},
    {"groups", EX_PARAM_INT, offsetof(struct ex_conv2d, groups), 1, 1 << 20, "1", NULL,
     "Groups of channels that do not see each other."},
    {"bias", EX_PARAM_BOOL, offsetof(struct ex_conv2d, bias), 0, 1, "true", NULL,
     "Whether a bias is added."},
    {.name = NULL},
};

enum { WEIGHT, BIAS };

/* ---- schema ------------------------------------------------------------- */

static int64_t patch_depth(const struct ex_conv2d *attr, const struct ex_shape *in) {
  return (int64_t)(in->dim[0] / attr->groups) * attr->kernel_h * attr->kernel_w;
}

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_conv2d *attr = node->attr;
  char text[EX_SHAPE_TEXT_SIZE];
  EX_TRY(ex__shape_is_image("conv2d", in[0], err));
  if (in[0]->dim[0] % attr->groups != 0 || attr->channels % attr->groups != 0)
    return ex__fail(err, EX_ESHAPE,
                    "conv2d: groups = %d; must divide %d input and %d output channels",
                    (int)attr->groups, (int)in[0]->dim[0], (int)attr->channels);
  int64_t dim[3] = {attr->channels,
                    ex__window_count(in[0]->dim[1], attr->kernel_h, attr->dilation, attr->stride,
                                     attr->pad_h, false),
                    ex__window_count(in[0]->dim[2], attr->kernel_w, attr->dilation, attr->stride,
                                     attr->pad_w, false)};
  if (dim[1] < 1 || dim[2] < 1)
    return ex__fail(err, EX_ESHAPE,
                    "conv2d: kernel %d×%d with dilation %d on input %s padded by %d, %d; must fit",
                    (int)attr->kernel_h, (int)attr->kernel_w, (int)attr->dilation,
                    ex__shape_text(in[0], text), (int)attr->pad_h, (int)attr->pad_w);
  int64_t depth = patch_depth(attr, in[0]);
  if (depth > INT32_MAX / attr->channels)
    return ex__fail(err, EX_ESHAPE, "conv2d: weight of %d × %lld; must have at most %d elements",
                    (int)attr->channels, (long long)depth, INT32_MAX);
  return ex__shape_make("conv2d", 3, dim, out, err);
}

static int64_t macs(const struct ex_node *node, const struct ex_shape *const *in) {
  return ex__shape_count(&node->shape) * patch_depth(node->attr, in[0]);
}

static int32_t tensors(const struct ex_node *node, const struct ex_shape *const *in,
                       struct ex_tensor_decl decl[EX_MAX_NODE_TENSORS]) {
  const struct ex_conv2d *attr = node->attr;
  decl[WEIGHT] = (struct ex_tensor_decl){
      "weight",
      {4, {attr->channels, in[0]->dim[0] / attr->groups, attr->kernel_h, attr->kernel_w}},
      EX_ROLE_WEIGHT,
      EX_INIT_DEFAULT};
  decl[BIAS] =
      (struct ex_tensor_decl){"bias", {1, {attr->channels}}, EX_ROLE_BIAS, EX_INIT_DEFAULT};
  return attr->bias ? 2 : 1;
}

/* ---- twin --------------------------------------------------------------- */

enum { PIXELS = 32, DEPTH = 128 };

struct geometry {
  const struct ex_conv2d *attr;
  int64_t height, width, out_width;
  int64_t in_channels, out_channels; /* of one group */
  int64_t in_plane, out_plane;       /* pixels of one channel */
  int64_t depth;                     /* of a patch */
};

static struct geometry geometry_of(const struct ex_op_call *call) {
  const struct ex_conv2d *attr = call->node->attr;
  const struct ex_shape *in = call->in_shape[0], *out = &call->node->shape;
  return (struct geometry){.attr = attr,
                           .height = in->dim[1],
                           .width = in->dim[2],
                           .out_width = out->dim[2],
                           .in_channels = in->dim[0] / attr->groups,
                           .out_channels = attr->channels / attr->groups,
                           .in_plane = ex__shape_plane(in),
                           .out_plane = ex__shape_plane(out),
                           .depth = patch_depth(attr, in)};
}

/* A part of the patches of one group of one sample. */
struct tile {
  int64_t pixel, n_pixels; /* of the output */
  int64_t depth, n_depth;
  int64_t pixel_step, depth_step;    /* in `patch` */
  int64_t top[PIXELS], left[PIXELS]; /* of each pixel's window, may lie in the padding */
  ex_real patch[PIXELS * DEPTH];
};

static void tile_windows(const struct geometry *g, int64_t pixel, struct tile *tile) {
  tile->pixel = pixel;
  tile->n_pixels = g->out_plane - pixel < PIXELS ? g->out_plane - pixel : PIXELS;
  for (int64_t p = 0; p < tile->n_pixels; p++) {
    tile->top[p] = (pixel + p) / g->out_width * g->attr->stride - g->attr->pad_h;
    tile->left[p] = (pixel + p) % g->out_width * g->attr->stride - g->attr->pad_w;
  }
}

static void tile_depth(const struct geometry *g, int64_t depth, struct tile *tile) {
  tile->depth = depth;
  tile->n_depth = g->depth - depth < DEPTH ? g->depth - depth : DEPTH;
}

/* Where element `d` of every patch lies relative to its window. */
struct element {
  int64_t row, column, plane; /* plane: offset of its channel */
};

static struct element element_at(const struct geometry *g, int64_t d) {
  int64_t kernel = (int64_t)g->attr->kernel_h * g->attr->kernel_w, inside = d % kernel;
  return (struct element){inside / g->attr->kernel_w * g->attr->dilation,
                          inside % g->attr->kernel_w * g->attr->dilation, d / kernel * g->in_plane};
}

/* Offset into the group's input; −1 in the padding. */
static int64_t offset_of(const struct geometry *g, const struct tile *tile, int64_t p,
                         struct element e) {
  int64_t y = tile->top[p] + e.row, x = tile->left[p] + e.column;
  bool inside = (uint64_t)y < (uint64_t)g->height && (uint64_t)x < (uint64_t)g->width;
  return inside ? e.plane + y * g->width + x : -1;
}

static void tile_gather(const struct geometry *g, const ex_real *in, struct tile *tile) {
  for (int64_t d = 0; d < tile->n_depth; d++) {
    struct element e = element_at(g, tile->depth + d);
    ex_real *to = tile->patch + d * tile->depth_step;
    for (int64_t p = 0; p < tile->n_pixels; p++) {
      int64_t offset = offset_of(g, tile, p, e);
      to[p * tile->pixel_step] = offset >= 0 ? in[offset] : 0;
    }
  }
}

static void tile_scatter(const struct geometry *g, const struct tile *tile, ex_real *din) {
  for (int64_t d = 0; d < tile->n_depth; d++) {
    struct element e = element_at(g, tile->depth + d);
    for (int64_t p = 0; p < tile->n_pixels; p++) {
      int64_t offset = offset_of(g, tile, p, e);
      if (offset >= 0) din[offset] += tile->patch[d * tile->depth_step + p * tile->pixel_step];
    }
  }
}

/* One sample, one group: in [in_channels][in_plane], weight [out_channels][depth],
 * out [out_channels][out_plane], which holds the bias already. */
static void forward_group(const struct geometry *g, const ex_real *in, const ex_real *weight,
                          ex_real *out) {
  struct tile tile = {.pixel_step = 1, .depth_step = PIXELS};
  for (int64_t pixel = 0; pixel < g->out_plane; pixel += PIXELS) {
    tile_windows(g, pixel, &tile);
    for (int64_t depth = 0; depth < g->depth; depth += DEPTH) {
      tile_depth(g, depth, &tile);
      tile_gather(g, in, &tile);
      ex__multiply_add(g->out_channels, tile.n_pixels, tile.n_depth,
                       (struct ex_matrix){weight + depth, g->depth, 1}, tile.patch, PIXELS,
                       out + pixel, g->out_plane);
    }
  }
}

static void backward_input(const struct geometry *g, const ex_real *dout, const ex_real *weight,
                           ex_real *din) {
  struct tile tile = {.pixel_step = 1, .depth_step = PIXELS};
  for (int64_t pixel = 0; pixel < g->out_plane; pixel += PIXELS) {
    tile_windows(g, pixel, &tile);
    for (int64_t depth = 0; depth < g->depth; depth += DEPTH) {
      tile_depth(g, depth, &tile);
      for (int64_t i = 0; i < tile.n_depth * PIXELS; i++) tile.patch[i] = 0;
      ex__multiply_add(tile.n_depth, tile.n_pixels, g->out_channels,
                       (struct ex_matrix){weight + depth, 1, g->depth}, dout + pixel, g->out_plane,
                       tile.patch, PIXELS);
      tile_scatter(g, &tile, din);
    }
  }
}

static void backward_weight(const struct geometry *g, const ex_real *in, const ex_real *dout,
                            ex_real *dweight) {
  struct tile tile = {.pixel_step = DEPTH, .depth_step = 1};
  for (int64_t pixel = 0; pixel < g->out_plane; pixel += PIXELS) {
    tile_windows(g, pixel, &tile);
    for (int64_t depth = 0; depth < g->depth; depth += DEPTH) {
      tile_depth(g, depth, &tile);
      tile_gather(g, in, &tile);
      ex__multiply_add(g->out_channels, tile.n_depth, tile.n_pixels,
                       (struct ex_matrix){dout + pixel, g->out_plane, 1}, tile.patch, DEPTH,
                       dweight + depth, g->depth);
    }
  }
}

static void forward(const struct ex_op_call *call) {
  struct geometry g = geometry_of(call);
  const ex_real *bias = g.attr->bias ? call->tensor[BIAS] : NULL;
  for (int64_t b = 0; b < call->batch; b++)
    for (int64_t group = 0; group < g.attr->groups; group++) {
      int64_t index = b * g.attr->groups + group;
      ex_real *out = call->out + index * g.out_channels * g.out_plane;
      for (int64_t o = 0; o < g.out_channels; o++)
        for (int64_t p = 0; p < g.out_plane; p++)
          out[o * g.out_plane + p] = bias != NULL ? bias[group * g.out_channels + o] : 0;
      forward_group(&g, call->in[0] + index * g.in_channels * g.in_plane,
                    call->tensor[WEIGHT] + group * g.out_channels * g.depth, out);
    }
}

static void backward_bias(const struct geometry *g, int64_t batch, const ex_real *dout,
                          ex_real *dbias) {
  for (int64_t b = 0; b < batch; b++)
    for (int64_t o = 0; o < g->attr->channels; o++) {
      double sum = 0;
      for (int64_t p = 0; p < g->out_plane; p++) sum += *dout++;
      dbias[o] += (ex_real)sum;
    }
}

static void backward(const struct ex_op_call *call) {
  struct geometry g = geometry_of(call);
  for (int64_t b = 0; b < call->batch; b++)
    for (int64_t group = 0; group < g.attr->groups; group++) {
      int64_t index = b * g.attr->groups + group;
      int64_t in = index * g.in_channels * g.in_plane;
      int64_t weight = group * g.out_channels * g.depth;
      const ex_real *dout = call->dout + index * g.out_channels * g.out_plane;
      if (call->din[0] != NULL)
        backward_input(&g, dout, call->tensor[WEIGHT] + weight, call->din[0] + in);
      if (call->dtensor[WEIGHT] != NULL)
        backward_weight(&g, call->in[0] + in, dout, call->dtensor[WEIGHT] + weight);
    }
  if (g.attr->bias && call->dtensor[BIAS] != NULL)
    backward_bias(&g, call->batch, call->dout, call->dtensor[BIAS]);
}

const struct ex_op ex__op_conv2d = {
    .name = "conv2d",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_conv2d),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_INPUT,
    .shape = shape,
    .macs = macs,
    .tensors = tensors,
    .forward = forward,
    .backward = backward,
};
