/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_infer_conv: convolutions on planar values, by our own kernels.
 *
 * Vectors lie along pixels, so that five channels are as well served as
 * sixty-four. The source is laid out once per sample and group (padded, cut
 * into phases where there is a stride), except for 1×1 convolutions, which
 * read it where it lies. Weights are packed [group][block of outputs][input
 * channel][tap][output of the block], with batch-norm folded in.
 */
#include <string.h>

#include "base/memory.h"
#include "graph/fast_infer.h"
#include "graph/shape.h"

static const struct ex_conv2d *attr_of(const struct fast_step *step) { return step->node->attr; }

static const struct ex_shape *in_shape(const struct fast *fast, const struct fast_step *step) {
  return &fast->values[step->in[0]].shape;
}

/* ---- geometry ---------------------------------------------------------------------- */

static int32_t phase_of(struct ex_planar_source *source, int32_t y, int32_t x) {
  for (int32_t p = 0; p < source->n_phases; p++)
    if (source->phase[p][0] == y && source->phase[p][1] == x) return p;
  source->phase[source->n_phases][0] = y;
  source->phase[source->n_phases][1] = x;
  return source->n_phases++;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

bool ex__fast_planar_can(const struct ex_node *node, const struct ex_shape *in) {
  const struct ex_conv2d *attr = node->attr;
  const struct ex_shape *out = &node->shape;
  int64_t phases = least(attr->kernel_h, attr->stride) * least(attr->kernel_w, attr->stride);
  int64_t reach_h = (int64_t)(attr->kernel_h - 1) * attr->dilation / attr->stride;
  int64_t reach_w = (int64_t)(attr->kernel_w - 1) * attr->dilation / attr->stride;
  int64_t elements = (out->dim[1] + reach_h) * (out->dim[2] + reach_w); /* < 2^63: both < 2^32 */
  return phases <= EX_PLANAR_PHASES && elements < INT32_MAX / 32 / EX_PLANAR_PHASES &&
         in->dim[1] < INT32_MAX / 4096 && in->dim[2] < INT32_MAX / 4096;
}

/* How the source is laid out, and where in it each tap finds position 0. */
static void lay_out(const struct ex_conv2d *attr, const struct ex_shape *in,
                    const struct ex_shape *out, struct fast_step *step) {
  struct ex_planar_source *s = &step->source;
  int32_t reach_h = (attr->kernel_h - 1) * attr->dilation / attr->stride;
  int32_t reach_w = (attr->kernel_w - 1) * attr->dilation / attr->stride;
  *s = (struct ex_planar_source){.height = in->dim[1],
                                 .width = in->dim[2],
                                 .pad_h = attr->pad_h,
                                 .pad_w = attr->pad_w,
                                 .stride = attr->stride,
                                 .rows = out->dim[1] + reach_h,
                                 .pitch = out->dim[2] + reach_w};
  step->direct = attr->kernel_h == 1 && attr->kernel_w == 1 && attr->stride == 1 &&
                 attr->pad_h == 0 && attr->pad_w == 0;
  s->phase_step = s->rows * s->pitch;
  for (int32_t i = 0; i < step->n_taps; i++) {
    int32_t y = i / attr->kernel_w * attr->dilation, x = i % attr->kernel_w * attr->dilation;
    int32_t phase = phase_of(s, y % attr->stride, x % attr->stride);
    step->tap[i] = phase * s->phase_step + y / attr->stride * s->pitch + x / attr->stride;
  }
  s->channel_step = step->direct ? in->dim[1] * in->dim[2] : s->n_phases * s->phase_step;
}

/* Which lanes of each vector of flat positions are outputs. */
static void mark_lanes(const struct ex_shape *out, int32_t lanes, struct fast_step *step) {
  int32_t pitch = step->direct ? out->dim[2] : step->source.pitch, dense = 0;
  int32_t flat = (out->dim[1] - 1) * pitch + out->dim[2];
  for (int32_t v = 0; v < step->n_vectors; v++) {
    step->start[v] = dense;
    for (int32_t i = 0; i < lanes; i++) {
      int32_t f = v * lanes + i;
      if (f >= flat || f % pitch >= out->dim[2]) continue;
      step->mask[v] |= (uint16_t)(1U << i);
      dense++;
    }
  }
  step->last = flat - (step->n_vectors - 1) * lanes;
  if (!step->direct) step->last = lanes; /* what was laid out has room behind it */
}

static int32_t even_part(int32_t total, int32_t limit) {
  int32_t parts = (total + limit - 1) / limit;
  return (total + parts - 1) / parts;
}

static enum ex_status make_planar(struct fast *fast, struct fast_step *step, struct ex_error *err) {
  const struct ex_conv2d *attr = attr_of(step);
  const struct ex_shape *in = in_shape(fast, step), *out = &fast->values[step->out].shape;
  const struct ex_kernels *kernels = fast->kernels;
  step->n_taps = attr->kernel_h * attr->kernel_w;
  step->tap = ex__calloc((size_t)step->n_taps, sizeof *step->tap);
  if (step->tap == NULL) return ex__fail(err, EX_ENOMEM, "conv2d: no memory for its plan");
  lay_out(attr, in, out, step);
  int32_t pitch = step->direct ? out->dim[2] : step->source.pitch;
  int32_t flat = (out->dim[1] - 1) * pitch + out->dim[2];
  step->n_vectors = (flat + kernels->lanes - 1) / kernels->lanes;
  step->mask = ex__calloc((size_t)step->n_vectors, sizeof *step->mask);
  step->start = ex__calloc((size_t)step->n_vectors, sizeof *step->start);
  if (step->mask == NULL || step->start == NULL)
    return ex__fail(err, EX_ENOMEM, "conv2d: no memory for its plan");
  mark_lanes(out, kernels->lanes, step);
  int32_t out_group = attr->channels / attr->groups, in_group = in->dim[0] / attr->groups;
  int32_t widest = kernels->block_for[step->n_vectors < 4 ? step->n_vectors - 1 : 3];
  step->block = even_part(out_group, widest);
  step->n_blocks = (out_group + step->block - 1) / step->block;
  if (!step->direct) /* vectors are stored and read up to two beyond the end */
    step->scratch = ((int64_t)in_group * step->source.channel_step + 4 * kernels->lanes) *
                    (int64_t)sizeof(float);
  return ex__fast_make_weights(step, (int64_t)attr->channels * in_group * step->n_taps,
                               attr->channels, err);
}

/* ---- weights ------------------------------------------------------------------------- */

static void pack_planar(const struct fast *fast, struct fast_step *step) {
  const struct ex_conv2d *attr = attr_of(step);
  const ex_real *weight = ex__fast_tensor(fast, step->node, 0);
  int32_t out_group = attr->channels / attr->groups;
  int64_t depth = step->n_weights / attr->channels; /* of one output */
  for (int32_t o = 0; o < attr->channels; o++) {
    double scale, shift;
    ex__fast_affine(fast, step, o, &scale, &shift);
    step->bias[o] = (float)shift;
    int32_t inside = o % out_group, first = inside / step->block * step->block;
    int32_t block = out_group - first < step->block ? out_group - first : step->block;
    float *to = step->weights + (o - inside + first) * depth + (inside - first);
    for (int64_t d = 0; d < depth; d++) to[d * block] = (float)(weight[o * depth + d] * scale);
  }
}

/* ---- running --------------------------------------------------------------------------- */

/* All outputs of one group of one sample. */
static void run_group(const struct fast *fast, const struct fast_step *step,
                      struct ex_planar_call *call, int32_t group) {
  const struct ex_conv2d *attr = attr_of(step);
  int32_t out_group = attr->channels / attr->groups;
  int64_t depth = step->n_weights / attr->channels;
  float *out = call->out + group * out_group * call->plane;
  const float *residual = call->residual;
  if (residual != NULL) residual += group * out_group * call->plane;
  int32_t widest = fast->kernels->max_count[step->block - 1];
  int32_t count = even_part(step->n_vectors, widest);
  struct ex_planar_call part = *call;
  for (int32_t first = 0; first < step->n_vectors; first += count)
    for (int32_t o = 0; o < out_group; o += step->block) {
      int32_t block = out_group - o < step->block ? out_group - o : step->block;
      int32_t n = step->n_vectors - first < count ? step->n_vectors - first : count;
      part.weights = step->weights + (group * out_group + o) * depth;
      part.bias = step->bias + group * out_group + o;
      part.out = out + o * call->plane;
      part.residual = residual != NULL ? residual + o * call->plane : NULL;
      fast->kernels->planar[block - 1][n - 1](&part, first);
    }
}

static void run_planar(const struct fast *fast, const struct fast_step *step,
                       const struct fast_run *run) {
  const struct ex_conv2d *attr = attr_of(step);
  const struct ex_shape *in = in_shape(fast, step), *out = &fast->values[step->out].shape;
  int32_t in_group = in->dim[0] / attr->groups;
  int64_t in_plane = ex__shape_plane(in);
  struct ex_planar_call call = {.channel_step = step->source.channel_step,
                                .n_channels = in_group,
                                .n_taps = step->n_taps,
                                .tap = step->tap,
                                .plane = ex__shape_plane(out),
                                .mask = step->mask,
                                .start = step->start,
                                .n_vectors = step->n_vectors,
                                .last = step->last,
                                .relu = step->relu};
  float *laid = (float *)(void *)run->scratch;
  for (int32_t b = 0; b < fast->batch; b++) {
    const float *from = ex__fast_at(run, &step->in_place[0], b);
    call.out = ex__fast_at(run, &step->out_place, b);
    call.residual = step->residual >= 0 ? ex__fast_at(run, &step->residual_place, b) : NULL;
    for (int32_t g = 0; g < attr->groups; g++, from += in_group * in_plane) {
      call.src = from;
      if (!step->direct) {
        fast->kernels->planar_source(&step->source, from, in_group, in_plane, laid);
        call.src = laid;
      }
      run_group(fast, step, &call, g);
    }
  }
}

const struct fast_kind ex__fast_conv_planar = {.name = "planar",
                                               .make = make_planar,
                                               .run = run_planar,
                                               .pack = pack_planar,
                                               .writes_parts = true,
                                               .fuses = true};

/* ---- linear -------------------------------------------------------------------------------- */

static enum ex_status make_linear(struct fast *fast, struct fast_step *step, struct ex_error *err) {
  const struct ex_linear *attr = step->node->attr;
  int64_t lanes = fast->kernels->lanes;
  int64_t rounded = (attr->features + lanes - 1) / lanes * lanes;
  return ex__fast_make_weights(step, rounded * in_shape(fast, step)->dim[0], rounded, err);
}

/* [features / lanes][in][lanes]; what is beyond the features stays zero. */
static void pack_linear(const struct fast *fast, struct fast_step *step) {
  const struct ex_linear *attr = step->node->attr;
  const ex_real *weight = ex__fast_tensor(fast, step->node, 0);
  int64_t lanes = fast->kernels->lanes, n_in = in_shape(fast, step)->dim[0];
  for (int32_t o = 0; o < attr->features; o++) {
    double scale, shift;
    ex__fast_affine(fast, step, o, &scale, &shift);
    step->bias[o] = (float)shift;
    float *to = step->weights + o / lanes * lanes * n_in + o % lanes;
    for (int64_t i = 0; i < n_in; i++) to[i * lanes] = (float)(weight[o * n_in + i] * scale);
  }
}

static void run_linear(const struct fast *fast, const struct fast_step *step,
                       const struct fast_run *run) {
  const struct ex_linear *attr = step->node->attr;
  for (int32_t b = 0; b < fast->batch; b++)
    fast->kernels->linear(ex__fast_at(run, &step->in_place[0], b), in_shape(fast, step)->dim[0],
                          attr->features, step->weights, step->bias, step->relu,
                          ex__fast_at(run, &step->out_place, b));
}

const struct fast_kind ex__fast_linear = {.name = "linear",
                                          .make = make_linear,
                                          .run = run_linear,
                                          .pack = pack_linear,
                                          .writes_parts = true,
                                          .fuses = true};
