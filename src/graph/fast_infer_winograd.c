/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_infer_winograd: wide 3×3 convolutions by oneDNN's Winograd
 * F(4×4, 3×3), for programs that need not keep bits (options.fast).
 *
 * It spends 2.25 multiplications where a direct convolution spends 9, and its
 * result depends in the last bits on batch and threads, so it is never chosen
 * without being asked for. It works in blocks of 16 channels: source and
 * output change layout on the way, and the residual is added and relu applied
 * on the way back (oneDNN's own relu turns a NaN into 0). Those passes cost
 * more than it saves unless a call has many pixels: ResNet-18 at 32×32 took
 * 1.15 of the direct time at batch 1, 1.0 at batch 8, 0.77–0.95 at 32 and 64.
 */
#include <string.h>

#include "base/memory.h"
#include "graph/fast_infer.h"
#include "graph/shape.h"

enum { BLOCK = 16, NARROWEST = 64, FEWEST_PIXELS = 8192 };

static const struct fast_value *in_of(const struct fast *fast, const struct fast_step *step) {
  return &fast->values[step->in[0]];
}

static const struct ex_shape *out_shape(const struct fast *fast, const struct fast_step *step) {
  return &fast->values[step->out].shape;
}

bool ex__fast_winograd_can(const struct fast *fast, const struct fast_step *step) {
  const struct ex_conv2d *attr = step->node->attr;
  const struct ex_shape *in = &in_of(fast, step)->shape, *out = out_shape(fast, step);
  bool square = attr->kernel_h == 3 && attr->kernel_w == 3 && attr->pad_h == 1 && attr->pad_w == 1;
  bool plain = attr->stride == 1 && attr->dilation == 1 && attr->groups == 1;
  bool wide = in->dim[0] % BLOCK == 0 && out->dim[0] % BLOCK == 0 && in->dim[0] >= NARROWEST &&
              out->dim[0] >= NARROWEST && fast->batch * ex__shape_plane(out) >= FEWEST_PIXELS;
  return fast->program->options.fast && square && plain && wide && in_of(fast, step)->nhwc;
}

/* ---- making -------------------------------------------------------------------------- */

static enum ex_status make_op(struct fast *fast, struct fast_step *step, struct ex_error *err) {
  const struct ex_shape *in = &in_of(fast, step)->shape, *out = out_shape(fast, step);
  struct ex_dnn_conv conv = {
      .pass = EX_DNN_INFER,
      .algorithm = EX_DNN_WINOGRAD,
      .threads = fast->threads,
      .batch = fast->batch,
      .in_channels = in->dim[0],
      .in_h = in->dim[1],
      .in_w = in->dim[2],
      .out_channels = out->dim[0],
      .out_h = out->dim[1],
      .out_w = out->dim[2],
      .kernel_h = 3,
      .kernel_w = 3,
      .stride = 1,
      .pad_h = 1,
      .pad_w = 1,
      .dilation = 1,
      .groups = 1,
      .bias = true,
  };
  int64_t src[] = {fast->batch, in->dim[0], in->dim[1], in->dim[2]};
  int64_t dst[] = {fast->batch, out->dim[0], out->dim[1], out->dim[2]};
  if (fast->dnn == NULL) EX_TRY(ex__dnn_new(&fast->dnn, err));
  EX_TRY(ex__dnn_layout_new(fast->dnn, 4, src, EX_DNN_NCHW16C, &conv.src, err));
  EX_TRY(ex__dnn_layout_new(fast->dnn, 4, dst, EX_DNN_NCHW16C, &conv.dst, err));
  return ex__dnn_conv(fast->dnn, &conv, &step->op, err);
}

static int64_t rounded(int64_t bytes) { return (bytes + 63) & ~(int64_t)63; }

static int64_t bytes_of(const struct fast *fast, const struct ex_shape *shape) {
  return rounded(fast->batch * ex__shape_count(shape) * (int64_t)sizeof(float));
}

/* Scratch: oneDNN's, then the source and the output in blocks. */
static enum ex_status make_winograd(struct fast *fast, struct fast_step *step,
                                    struct ex_error *err) {
  if (make_op(fast, step, NULL) != EX_OK) { /* a processor for which it has none */
    step->op = NULL;
    step->kind = &ex__fast_conv_lanes;
    return step->kind->make(fast, step, err);
  }
  const struct ex_shape *in = &in_of(fast, step)->shape, *out = out_shape(fast, step);
  int64_t dim[] = {out->dim[0], in->dim[0], 3, 3};
  const ex_dnn_layout *plain, *packed = ex__dnn_op_layout(step->op, EX_DNN_WEIGHTS);
  EX_TRY(ex__dnn_layout_new(fast->dnn, 4, dim, EX_DNN_PLAIN, &plain, err));
  EX_TRY(ex__dnn_reorder(fast->dnn, plain, packed, false, 1, &step->reorder, err));
  if (ex__dnn_call_new(step->reorder, &step->reorder_call) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "conv2d: no memory for its weights");
  step->reorder_scratch = ex__alloc(ex__dnn_op_scratch(step->reorder) + 1, 1);
  if (step->reorder_scratch == NULL)
    return ex__fail(err, EX_ENOMEM, "conv2d: no memory for its weights");
  step->scratch =
      rounded((int64_t)ex__dnn_op_scratch(step->op)) + bytes_of(fast, in) + bytes_of(fast, out);
  int64_t n_weights = (int64_t)(ex__dnn_layout_bytes(packed) / sizeof(float));
  int64_t n_plain = dim[0] * dim[1] * 9; /* `staging` must hold the larger */
  return ex__fast_make_weights(step, n_weights > n_plain ? n_weights : n_plain, dim[0], err);
}

static void pack_winograd(const struct fast *fast, struct fast_step *step) {
  const ex_real *weight = ex__fast_tensor(fast, step->node, 0);
  int64_t depth = (int64_t)in_of(fast, step)->shape.dim[0] * 9;
  for (int32_t o = 0; o < step->n_bias; o++) {
    double scale, shift;
    ex__fast_affine(fast, step, o, &scale, &shift);
    step->bias[o] = (float)shift;
    for (int64_t d = 0; d < depth; d++)
      fast->staging[o * depth + d] = (float)(weight[o * depth + d] * scale);
  }
  ex__dnn_call_set(step->reorder_call, EX_DNN_SRC, fast->staging);
  ex__dnn_call_set(step->reorder_call, EX_DNN_DST, step->weights);
  ex__dnn_call_set(step->reorder_call, EX_DNN_SCRATCHPAD, step->reorder_scratch);
  int32_t before = ex__dnn_threads(1);
  ex__dnn_call_run(step->reorder_call);
  ex__dnn_threads(before);
}

/* ---- running --------------------------------------------------------------------------- */

static void into_blocks(const struct fast *fast, const struct fast_step *step,
                        const struct fast_run *run, float *to) {
  const struct ex_shape *shape = &in_of(fast, step)->shape;
  int64_t plane = ex__shape_plane(shape), pixel_step = step->in_place[0].pixel_step;
  for (int32_t b = 0; b < fast->batch; b++) {
    const float *from = ex__fast_at(run, &step->in_place[0], b);
    for (int32_t c = 0; c < shape->dim[0]; c += BLOCK)
      for (int64_t p = 0; p < plane; p++, to += BLOCK)
        memcpy(to, from + p * pixel_step + c, BLOCK * sizeof *to);
  }
}

/* One pixel of one block, with what is fused behind the convolution. */
static void finish_block(const float *from, const float *residual, int64_t residual_step, bool relu,
                         float *to) {
  for (int32_t i = 0; i < BLOCK; i++) {
    float value = residual != NULL ? from[i] + residual[i * residual_step] : from[i];
    to[i] = relu && value < 0 ? 0 : value;
  }
}

static void out_of_blocks(const struct fast *fast, const struct fast_step *step,
                          const struct fast_run *run, const float *from) {
  const struct ex_shape *shape = out_shape(fast, step);
  int64_t plane = ex__shape_plane(shape);
  bool nhwc = step->residual >= 0 && fast->values[step->residual].nhwc;
  for (int32_t b = 0; b < fast->batch; b++) {
    float *to = ex__fast_at(run, &step->out_place, b);
    const float *residual = step->residual >= 0 ? ex__fast_at(run, &step->residual_place, b) : NULL;
    for (int64_t c = 0; c < shape->dim[0]; c += BLOCK)
      for (int64_t p = 0; p < plane; p++, from += BLOCK) {
        const float *add = residual;
        if (add != NULL) add += nhwc ? p * step->residual_place.pixel_step + c : c * plane + p;
        finish_block(from, add, nhwc ? 1 : plane, step->relu,
                     to + p * step->out_place.pixel_step + c);
      }
  }
}

static void run_winograd(const struct fast *fast, const struct fast_step *step,
                         const struct fast_run *run) {
  ex_dnn_call *call = run->call[step - fast->steps];
  char *at = run->scratch + rounded((int64_t)ex__dnn_op_scratch(step->op));
  float *src = (float *)(void *)at;
  float *dst = (float *)(void *)(at + bytes_of(fast, &in_of(fast, step)->shape));
  into_blocks(fast, step, run, src);
  ex__dnn_call_set(call, EX_DNN_SRC, src);
  ex__dnn_call_set(call, EX_DNN_DST, dst);
  ex__dnn_call_set(call, EX_DNN_WEIGHTS, step->weights);
  ex__dnn_call_set(call, EX_DNN_BIAS, step->bias);
  ex__dnn_call_set(call, EX_DNN_SCRATCHPAD, run->scratch);
  ex__dnn_call_run(call);
  out_of_blocks(fast, step, run, dst);
}

const struct fast_kind ex__fast_conv_winograd = {.name = "winograd",
                                                 .make = make_winograd,
                                                 .run = run_winograd,
                                                 .pack = pack_winograd,
                                                 .writes_parts = true,
                                                 .fuses = true};
