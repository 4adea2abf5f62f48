/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_infer_lanes: convolutions on channels-last values, by our own
 * kernels, whose vectors lie along the output channels.
 *
 * All pixels of all samples form one row that is cut into blocks, so that a
 * micro-batch of small maps (8 samples of 4×4) reads each weight once: there
 * oneDNN, which goes image by image, reaches half of its usual speed. Source
 * and output may be parts of wider buffers, every shape is possible, and a
 * NaN goes through relu. Weights are packed [group][block of vectors][tap]
 * [input channel][output of the block].
 */
#include <string.h>

#include "base/memory.h"
#include "graph/fast_infer.h"
#include "graph/shape.h"

static const struct ex_conv2d *attr_of(const struct fast_step *step) { return step->node->attr; }

static const struct fast_value *in_of(const struct fast *fast, const struct fast_step *step) {
  return &fast->values[step->in[0]];
}

static int32_t even_part(int32_t total, int32_t limit) {
  int32_t parts = (total + limit - 1) / limit;
  return (total + parts - 1) / parts;
}

/* ---- making ------------------------------------------------------------------------ */

/* Vectors of a block. Where one block of pixels holds them all, weights are
 * read once anyway, and narrow blocks stream them best. */
static int32_t choose_block(const struct fast *fast, const struct fast_step *step,
                            int32_t n_vectors) {
  int64_t pixels = fast->batch * ex__shape_plane(&fast->values[step->out].shape);
  int32_t widest = 1;
  while (widest < EX_NHWC_VECTORS && fast->kernels->max_pixels[widest] > 0) widest++;
  if (pixels <= fast->kernels->max_pixels[0] && n_vectors > 4) return 1;
  for (int32_t v = widest; v > 1; v--)
    if (n_vectors % v == 0) return v;
  return even_part(n_vectors, widest);
}

/* Rows and columns of a laid-out sample. */
static int64_t laid_height(const struct fast *fast, const struct fast_step *step) {
  return (int64_t)in_of(fast, step)->shape.dim[1] + 2 * (int64_t)attr_of(step)->pad_h;
}

static int64_t laid_width(const struct fast *fast, const struct fast_step *step) {
  return (int64_t)in_of(fast, step)->shape.dim[2] + 2 * (int64_t)attr_of(step)->pad_w;
}

static void find_offsets(const struct fast *fast, struct fast_step *step) {
  const struct ex_conv2d *attr = attr_of(step);
  const struct ex_shape *in = &in_of(fast, step)->shape, *out = &fast->values[step->out].shape;
  int64_t width = step->direct ? in->dim[2] : laid_width(fast, step);
  int64_t pixel = step->direct ? step->in_place[0].pixel_step : in->dim[0];
  int64_t sample =
      step->direct ? step->in_place[0].sample_step : laid_height(fast, step) * width * in->dim[0];
  int64_t *to = step->pixel;
  for (int32_t b = 0; b < fast->batch; b++)
    for (int32_t y = 0; y < out->dim[1]; y++)
      for (int32_t x = 0; x < out->dim[2]; x++)
        *to++ =
            b * sample + (y * (int64_t)attr->stride * width + x * (int64_t)attr->stride) * pixel;
  for (int32_t t = 0; t < step->n_taps; t++)
    to[t] = (t / attr->kernel_w * (int64_t)attr->dilation * width +
             t % attr->kernel_w * (int64_t)attr->dilation) *
            pixel;
}

static int64_t residual_bytes(const struct fast *fast, const struct fast_step *step) {
  if (step->residual < 0 || fast->values[step->residual].nhwc) return 0;
  return fast->batch * ex__shape_count(&fast->values[step->out].shape) * (int64_t)sizeof(float);
}

static enum ex_status make_lanes(struct fast *fast, struct fast_step *step, struct ex_error *err) {
  const struct ex_conv2d *attr = attr_of(step);
  const struct fast_value *in = in_of(fast, step);
  int64_t pixels = fast->batch * ex__shape_plane(&fast->values[step->out].shape);
  int32_t lanes = fast->kernels->lanes, out_group = attr->channels / attr->groups;
  int32_t n_vectors = (out_group + lanes - 1) / lanes;
  step->n_taps = attr->kernel_h * attr->kernel_w;
  step->direct = in->nhwc && attr->pad_h == 0 && attr->pad_w == 0;
  step->pixel = ex__calloc((size_t)(pixels + step->n_taps), sizeof *step->pixel);
  if (step->pixel == NULL) return ex__fail(err, EX_ENOMEM, "conv2d: no memory for its plan");
  find_offsets(fast, step);
  step->block = choose_block(fast, step, n_vectors);
  step->n_vectors = n_vectors;
  int64_t laid = 0;
  if (!step->direct &&
      (__builtin_mul_overflow(laid_height(fast, step) * laid_width(fast, step),
                              (int64_t)fast->batch * in->shape.dim[0] * 4, &laid) ||
       laid > INT64_MAX / 4))
    return ex__fail(err, EX_ESHAPE, "conv2d: its padded input has 2^61 bytes or more");
  step->scratch = ((laid + 63) & ~(int64_t)63) + residual_bytes(fast, step);
  int64_t depth = (int64_t)in->shape.dim[0] / attr->groups * step->n_taps;
  return ex__fast_make_weights(step, depth * attr->groups * n_vectors * lanes,
                               (int64_t)attr->groups * n_vectors * lanes, err);
}

/* Lanes beyond the last channel of a group stay zero. */
static void pack_lanes(const struct fast *fast, struct fast_step *step) {
  const struct ex_conv2d *attr = attr_of(step);
  const ex_real *weight = ex__fast_tensor(fast, step->node, 0);
  int32_t lanes = fast->kernels->lanes, out_group = attr->channels / attr->groups;
  int64_t in_group = in_of(fast, step)->shape.dim[0] / attr->groups;
  int64_t depth = in_group * step->n_taps, group_size = (int64_t)step->n_vectors * lanes;
  for (int32_t o = 0; o < attr->channels; o++) {
    double scale, shift;
    ex__fast_affine(fast, step, o, &scale, &shift);
    int64_t group = o / out_group, inside = o % out_group;
    int64_t first = inside / lanes / step->block * step->block; /* vector of its block */
    int64_t block = step->n_vectors - first < step->block ? step->n_vectors - first : step->block;
    step->bias[group * group_size + inside] = (float)shift;
    float *to =
        step->weights + (group * group_size + first * lanes) * depth + inside - first * lanes;
    for (int64_t c = 0; c < in_group; c++)
      for (int64_t t = 0; t < step->n_taps; t++)
        to[(t * in_group + c) * block * lanes] =
            (float)(weight[o * depth + c * step->n_taps + t] * scale);
  }
}

/* ---- running ------------------------------------------------------------------------- */

/* One sample with zeros around it. */
static void lay_sample(const struct fast *fast, const struct fast_step *step, const float *from,
                       float *to) {
  const struct ex_conv2d *attr = attr_of(step);
  const struct fast_value *in = in_of(fast, step);
  int64_t channels = in->shape.dim[0], height = in->shape.dim[1], width = in->shape.dim[2];
  int64_t pitch = laid_width(fast, step) * channels, left = attr->pad_w * channels;
  int64_t plane = height * width, pixel_step = step->in_place[0].pixel_step;
  memset(to, 0, (size_t)(attr->pad_h * pitch) * sizeof *to);
  to += attr->pad_h * pitch;
  for (int64_t y = 0; y < height; y++, to += pitch) {
    memset(to, 0, (size_t)left * sizeof *to);
    if (!in->nhwc)
      for (int64_t x = 0; x < width; x++)
        for (int64_t c = 0; c < channels; c++)
          to[left + x * channels + c] = from[c * plane + y * width + x];
    else if (pixel_step == channels)
      memcpy(to + left, from + y * width * channels, (size_t)(width * channels) * sizeof *to);
    else
      for (int64_t x = 0; x < width; x++)
        memcpy(to + left + x * channels, from + (y * width + x) * pixel_step,
               (size_t)channels * sizeof *to);
    memset(to + left + width * channels, 0, (size_t)left * sizeof *to);
  }
  memset(to, 0, (size_t)(attr->pad_h * pitch) * sizeof *to);
}

static const float *lay_residual(const struct fast *fast, const struct fast_step *step,
                                 const struct fast_run *run) {
  const struct ex_shape *shape = &fast->values[step->out].shape;
  float *laid = (float *)(void *)(run->scratch + step->scratch - residual_bytes(fast, step));
  for (int32_t b = 0; b < fast->batch; b++)
    ex__fast_from_plain(shape, ex__fast_at(run, &step->residual_place, b), shape->dim[0],
                        laid + b * ex__shape_count(shape));
  return laid;
}

/* A block of output channels, at the pixels [first, first + n). */
static void run_block(const struct fast *fast, const struct fast_step *step,
                      const struct ex_nhwc_call *whole, int32_t block, int64_t first, int64_t n) {
  const struct ex_conv2d *attr = attr_of(step);
  int32_t lanes = fast->kernels->lanes, out_group = attr->channels / attr->groups;
  int32_t blocks_of_group = (step->n_vectors + step->block - 1) / step->block;
  int32_t group = block / blocks_of_group, vector = block % blocks_of_group * step->block;
  int32_t vectors = step->n_vectors - vector < step->block ? step->n_vectors - vector : step->block;
  int64_t channel = (int64_t)group * out_group + vector * lanes;
  int64_t packed = (int64_t)group * step->n_vectors * lanes + vector * lanes;
  struct ex_nhwc_call call = *whole;
  call.src += group * call.n_channels;
  call.bias = step->bias + packed;
  call.weights = step->weights + packed * call.n_channels * call.n_taps;
  call.last =
      vector + vectors == step->n_vectors ? out_group - (step->n_vectors - 1) * lanes : lanes;
  int32_t widest = fast->kernels->max_pixels[vectors - 1];
  int64_t parts = (n + widest - 1) / widest, part = (n + parts - 1) / parts;
  for (int64_t p = first; p < first + n; p += part) {
    int64_t pixels = first + n - p < part ? first + n - p : part;
    call.pixel = step->pixel + p;
    call.out = whole->out + p * call.out_step + channel;
    if (whole->residual != NULL) call.residual = whole->residual + p * call.residual_step + channel;
    fast->kernels->nhwc[vectors - 1][pixels - 1](&call);
  }
}

static void run_lanes(const struct fast *fast, const struct fast_step *step,
                      const struct fast_run *run) {
  const struct ex_conv2d *attr = attr_of(step);
  const struct ex_shape *in = &in_of(fast, step)->shape, *out = &fast->values[step->out].shape;
  int64_t pixels = fast->batch * ex__shape_plane(out);
  int64_t laid_step = laid_height(fast, step) * laid_width(fast, step) * in->dim[0];
  float *laid = (float *)(void *)run->scratch;
  for (int32_t b = 0; !step->direct && b < fast->batch; b++)
    lay_sample(fast, step, ex__fast_at(run, &step->in_place[0], b), laid + b * laid_step);
  struct ex_nhwc_call call = {.src = step->direct ? ex__fast_at(run, &step->in_place[0], 0) : laid,
                              .tap = step->pixel + pixels,
                              .n_channels = in->dim[0] / attr->groups,
                              .n_taps = step->n_taps,
                              .out = ex__fast_at(run, &step->out_place, 0),
                              .out_step = step->out_place.pixel_step,
                              .relu = step->relu};
  if (step->residual >= 0) {
    bool lay = residual_bytes(fast, step) > 0;
    call.residual =
        lay ? lay_residual(fast, step, run) : ex__fast_at(run, &step->residual_place, 0);
    call.residual_step = lay ? out->dim[0] : step->residual_place.pixel_step;
  }
  int32_t blocks = attr->groups * ((step->n_vectors + step->block - 1) / step->block);
  if (fast->threads == 1) {
    for (int32_t b = 0; b < blocks; b++) run_block(fast, step, &call, b, 0, pixels);
    return;
  }
  /* Each thread computes whole outputs, so that their number changes no bit. */
  int64_t cuts = blocks >= 2 * fast->threads ? 1 : 4 * fast->threads;
  int64_t size = (pixels + cuts - 1) / cuts;
#pragma omp parallel for num_threads(fast->threads) schedule(static)
  for (int64_t task = 0; task < blocks * cuts; task++) {
    int64_t first = task % cuts * size, n = pixels - first < size ? pixels - first : size;
    if (n > 0) run_block(fast, step, &call, (int32_t)(task / cuts), first, n);
  }
}

const struct fast_kind ex__fast_conv_lanes = {.name = "nhwc",
                                              .make = make_lanes,
                                              .run = run_lanes,
                                              .pack = pack_lanes,
                                              .writes_parts = true,
                                              .fuses = true};
