/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_conv: convolutions of channels-last images in own loops.
 *
 * oneDNN pads channels to 16 and pays for small images and strided slices;
 * these loops take any number of channels and any slice. Samples are shared
 * out among threads. Each thread copies a sample into an image with its
 * padding in place (small enough to stay in the second cache), so that the
 * loops know no edges; where there is no padding they read in place.
 *
 * The gradient of the input is a convolution of dout by stride phases: input
 * rows y = s·a + r see kernel rows k with s | r + pad − k·dilation, at dout row
 * a + (r + pad − k·dilation) / s, so each phase is a stride-1 convolution with
 * its own taps. Gradients of weights are summed per thread and then in the
 * order of threads: same bits for the same number of threads.
 */
#include <string.h>

#include "base/memory.h"
#include "graph/fast_train.h"

enum { WEIGHT, BIAS };

/* A gathered convolution: where its taps lie in the padded image. */
struct taps {
  int32_t n_segments, offset[FAST_MAX_SEGMENTS], length[FAST_MAX_SEGMENTS];
  int32_t n,
      kernel[FAST_MAX_SEGMENTS]; /* kernel element (kh · kernel_w + kw) of each tap, in order */
};

/* The image that the loops read, with margins of zeros around it. */
struct frame {
  int32_t height, width, channels;  /* of the image inside */
  int32_t top, left, rows, columns; /* margins before; whole size */
};

struct conv {
  struct ex_conv2d attr;
  int32_t in_c, in_h, in_w, out_c, out_h, out_w;
  bool in_plain; /* the input is an image of the graph: [c][h][w] */
  int32_t out_blocks, in_blocks;
  struct frame in_frame, dout_frame;
  struct taps forward, *phases; /* phases: [stride][stride] of the input's gradient */
  int64_t frame_floats;         /* per thread, the larger of both */
  int64_t weight_floats, phase_floats, dweight_floats, lane_floats;
};

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

bool ex__train_conv_fits(const ex_program *program, const struct train_step *step) {
  const struct train *train = train_of(program);
  const struct ex_conv2d *attr = step->node->attr;
  return attr->groups == 1 && attr->kernel_h * attr->kernel_w <= FAST_MAX_SEGMENTS &&
         train->values[step->out].order == TRAIN_NHWC &&
         train->values[step->in[0]].order != TRAIN_BLOCKED;
}

static void add_tap(struct taps *taps, int32_t offset, int32_t length, int32_t kernel) {
  int32_t last = taps->n_segments - 1;
  taps->kernel[taps->n++] = kernel;
  if (last >= 0 && taps->offset[last] + taps->length[last] == offset) {
    taps->length[last] += length;
    return;
  }
  taps->offset[last + 1] = offset;
  taps->length[last + 1] = length;
  taps->n_segments++;
}

static void plan_forward(struct conv *c) {
  const struct ex_conv2d *a = &c->attr;
  struct frame *f = &c->in_frame;
  *f = (struct frame){c->in_h, c->in_w, c->in_c, a->pad_h, a->pad_w, 0, 0};
  f->rows = c->in_h + 2 * a->pad_h;
  f->columns = c->in_w + 2 * a->pad_w;
  for (int32_t h = 0; h < a->kernel_h; h++)
    for (int32_t w = 0; w < a->kernel_w; w++)
      add_tap(&c->forward, (h * f->columns + w) * a->dilation * c->in_c, c->in_c,
              h * a->kernel_w + w);
}

/* Along one axis: dout position of input position s·a + r under tap k, less a;
 * false where no output reads it there. */
static bool tap_shift(const struct ex_conv2d *attr, int32_t r, int32_t pad, int32_t k,
                      int32_t *shift) {
  int32_t at = r + pad - k * attr->dilation;
  *shift = at / attr->stride;
  return at % attr->stride == 0;
}

/* Margins of dout along one axis, so that every tap of every phase is inside. */
static void plan_margin(const struct ex_conv2d *attr, int32_t kernel, int32_t pad, int32_t in,
                        int32_t out, int32_t *before, int32_t *whole) {
  int32_t behind = 0, shift;
  *before = 0;
  for (int32_t r = 0; r < attr->stride; r++)
    for (int32_t k = 0; k < kernel; k++) {
      if (!tap_shift(attr, r, pad, k, &shift) || r >= in) continue;
      int32_t last = (in - 1 - r) / attr->stride + shift;
      if (-shift > *before) *before = -shift;
      if (last - (out - 1) > behind) behind = last - (out - 1);
    }
  *whole = *before + out + behind;
}

static void plan_phase(struct conv *c, int32_t row, int32_t column, struct taps *taps) {
  const struct ex_conv2d *a = &c->attr;
  const struct frame *f = &c->dout_frame;
  int32_t dy, dx;
  for (int32_t h = a->kernel_h - 1; h >= 0; h--) {
    if (!tap_shift(a, row, a->pad_h, h, &dy)) continue;
    for (int32_t w = a->kernel_w - 1; w >= 0; w--)
      if (tap_shift(a, column, a->pad_w, w, &dx))
        add_tap(taps, ((dy + f->top) * f->columns + dx + f->left) * c->out_c, c->out_c,
                h * a->kernel_w + w);
  }
}

static enum ex_status plan_backward(struct conv *c, struct ex_error *err) {
  const struct ex_conv2d *a = &c->attr;
  struct frame *f = &c->dout_frame;
  *f = (struct frame){.height = c->out_h, .width = c->out_w, .channels = c->out_c};
  plan_margin(a, a->kernel_h, a->pad_h, c->in_h, c->out_h, &f->top, &f->rows);
  plan_margin(a, a->kernel_w, a->pad_w, c->in_w, c->out_w, &f->left, &f->columns);
  size_t n = (size_t)a->stride * (size_t)a->stride;
  c->phases = ex__calloc(n, sizeof *c->phases);
  if (c->phases == NULL) return ex__fail(err, EX_ENOMEM, "convolution: no memory");
  for (int32_t r = 0; r < a->stride; r++)
    for (int32_t q = 0; q < a->stride; q++) plan_phase(c, r, q, &c->phases[r * a->stride + q]);
  return EX_OK;
}

static int64_t frame_floats(const struct frame *f) {
  return round_up((int64_t)f->rows * f->columns * f->channels + 16, 16);
}

/* The gradient of a plain image is made channels-last, and turned. */
static bool wants_plain(const struct conv *c, const struct train_value *in) {
  return c->in_plain && c->in_c > 1 && in->wanted;
}

static enum ex_status plan(const ex_program *program, struct train_step *step,
                           struct ex_error *err) {
  const struct train *train = train_of(program);
  const struct train_value *in = &train->values[step->in[0]], *out = &train->values[step->out];
  struct conv *c = step->impl = ex__calloc(1, sizeof *c);
  if (c == NULL) return ex__fail(err, EX_ENOMEM, "convolution: no memory");
  *c = (struct conv){.attr = *(const struct ex_conv2d *)step->node->attr,
                     .in_c = in->channels,
                     .in_h = in->shape.dim[1],
                     .in_w = in->shape.dim[2],
                     .out_c = out->channels,
                     .out_h = out->shape.dim[1],
                     .out_w = out->shape.dim[2],
                     .in_plain = in->order == TRAIN_PLAIN};
  c->out_blocks = (c->out_c + 15) / 16;
  c->in_blocks = (c->in_c + 15) / 16;
  plan_forward(c);
  EX_TRY(plan_backward(c, err));
  int64_t kernel = c->attr.kernel_h * c->attr.kernel_w;
  int64_t a = frame_floats(&c->in_frame), b = frame_floats(&c->dout_frame);
  c->frame_floats = a > b ? a : b;
  c->weight_floats = 16 * kernel * c->in_c * c->out_blocks + 16 * c->out_blocks;
  c->phase_floats = 16 * kernel * c->out_c * c->in_blocks;
  c->dweight_floats = 16 * kernel * c->in_c * c->out_blocks + 64 * c->out_blocks; /* or two sums */
  c->lane_floats = c->out_c % 16 != 0 ? 16LL * c->out_blocks * c->out_h * c->out_w : 0;
  step->scratch_forward = 4 * (c->weight_floats + train->threads * c->frame_floats);
  step->scratch_backward =
      4 * (c->phase_floats +
           train->threads * (2 * c->frame_floats + c->lane_floats + c->dweight_floats) +
           (wants_plain(c, in) ? 2 * in->count : 0));
  return EX_OK;
}

static void free_conv(void *impl) {
  struct conv *c = impl;
  ex__free(c->phases);
  ex__free(c);
}

/* ---- packing ---------------------------------------------------------------- */

/* [taps][in][blocks][16] out of [out][in][kernel]. */
static void pack_forward(const struct conv *c, const float *weight, float *to) {
  int32_t kernel = c->attr.kernel_h * c->attr.kernel_w, lanes = 16 * c->out_blocks;
  if (c->out_c != lanes) memset(to, 0, 4 * (size_t)(kernel * c->in_c) * (size_t)lanes);
  for (int32_t o = 0; o < c->out_c; o++)
    for (int32_t i = 0; i < c->in_c; i++)
      for (int32_t k = 0; k < kernel; k++) to[(k * c->in_c + i) * lanes + o] = *weight++;
}

/* One phase: [taps][out][blocks of in][16]. Returns what it has written. */
static int64_t pack_phase(const struct conv *c, const struct taps *taps, const float *weight,
                          float *to) {
  int32_t kernel = c->attr.kernel_h * c->attr.kernel_w, lanes = 16 * c->in_blocks;
  int64_t n = (int64_t)taps->n * c->out_c * lanes;
  if (c->in_c != lanes) memset(to, 0, 4 * (size_t)n);
  for (int32_t t = 0; t < taps->n; t++)
    for (int32_t o = 0; o < c->out_c; o++) {
      const float *from = weight + (int64_t)o * c->in_c * kernel + taps->kernel[t];
      float *row = to + ((int64_t)t * c->out_c + o) * lanes;
      for (int32_t i = 0; i < c->in_c; i++) row[i] = from[(int64_t)i * kernel];
    }
  return n;
}

/* ---- images -------------------------------------------------------------------- */

static void copy_pixels(const float *from, int64_t ld, float *to, int32_t channels, int32_t n) {
  if (ld == channels) {
    memcpy(to, from, 4 * (size_t)n * (size_t)channels);
    return;
  }
  for (int32_t p = 0; p < n; p++, from += ld, to += channels)
    for (int32_t i = 0; i < channels; i++) to[i] = from[i];
}

/* Puts sample `from` into a frame whose margins are zero. */
static void fill_frame(const struct frame *f, const float *from, int64_t ld, bool plain,
                       float *to) {
  to += ((int64_t)f->top * f->columns + f->left) * f->channels;
  for (int32_t y = 0; y < f->height; y++, to += (int64_t)f->columns * f->channels) {
    if (!plain || f->channels == 1) {
      copy_pixels(from + (int64_t)y * f->width * (plain ? 1 : ld), plain ? 1 : ld, to, f->channels,
                  f->width);
      continue;
    }
    for (int32_t i = 0; i < f->channels; i++)
      for (int32_t x = 0; x < f->width; x++)
        to[x * f->channels + i] = from[((int64_t)i * f->height + y) * f->width + x];
  }
}

static bool without_margin(const struct frame *f) {
  return f->rows == f->height && f->columns == f->width;
}

/* What a thread reads a sample from: the sample itself, or a frame with it. */
struct source {
  const float *data;
  int64_t step, row; /* floats from pixel to pixel, from row to row */
};

static struct source open_source(const struct frame *f, struct fast_rows rows, int64_t sample,
                                 bool plain, bool in_place, float *frame) {
  int64_t pixels = (int64_t)f->height * f->width;
  const float *from = rows.data + sample * pixels * (plain ? f->channels : rows.ld);
  if (in_place) return (struct source){from, rows.ld, rows.ld * f->width};
  fill_frame(f, from, rows.ld, plain, frame);
  return (struct source){frame, f->channels, (int64_t)f->columns * f->channels};
}

/* Only taps of one pixel can be read from a slice. */
static bool reads_in_place(const struct conv *c, const struct frame *f, struct fast_rows rows) {
  bool one_pixel = c->attr.kernel_h * c->attr.kernel_w == 1;
  return without_margin(f) && (one_pixel || rows.ld == f->channels);
}

/* ---- forward --------------------------------------------------------------------- */

struct work {
  const struct train_call *call;
  const struct conv *conv;
  const struct fast_loops *loops;
  float *weight, *phases, *frames, *lanes, *sums;
  bool data, weights; /* which gradients */
  struct fast_rows din;
  bool add;
};

static void forward_samples(void *context, int32_t thread, int64_t begin, int64_t end) {
  const struct work *w = context;
  const struct conv *c = w->conv;
  const struct train_call *call = w->call;
  float *frame = w->frames + thread * c->frame_floats;
  bool in_place = !c->in_plain && reads_in_place(c, &c->in_frame, call->in[0]);
  if (!in_place) memset(frame, 0, 4 * (size_t)c->frame_floats);
  struct fast_conv loop = {.n_segments = c->forward.n_segments,
                           .weight = w->weight,
                           .blocks = c->out_blocks,
                           .out_step = call->out.ld,
                           .channels = c->out_c,
                           .pixels = c->out_w};
  memcpy(loop.offset, c->forward.offset, sizeof loop.offset);
  memcpy(loop.length, c->forward.length, sizeof loop.length);
  if (c->attr.bias) loop.bias = w->weight + c->weight_floats - 16 * c->out_blocks;
  for (int64_t s = begin; s < end; s++) {
    struct source from = open_source(&c->in_frame, call->in[0], s, c->in_plain, in_place, frame);
    float *out = call->out.data + s * c->out_h * c->out_w * call->out.ld;
    loop.in_step = from.step * c->attr.stride;
    if (in_place && c->forward.n == 1 && c->attr.stride == 1) { /* one long row */
      loop.in = from.data;
      loop.out = out;
      loop.pixels = c->out_h * c->out_w;
      w->loops->conv(&loop);
      continue;
    }
    for (int32_t y = 0; y < c->out_h; y++) {
      loop.in = from.data + (int64_t)y * c->attr.stride * from.row;
      loop.out = out + (int64_t)y * c->out_w * call->out.ld;
      w->loops->conv(&loop);
    }
  }
}

static void forward(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  const struct conv *c = call->step->impl;
  struct work w = {.call = call, .conv = c, .loops = train->loops};
  w.weight = (float *)(void *)call->scratch;
  w.frames = w.weight + c->weight_floats;
  pack_forward(c, call->tensor[WEIGHT], w.weight);
  if (c->attr.bias) {
    float *bias = w.weight + c->weight_floats - 16 * c->out_blocks;
    memset(bias, 0, 64 * (size_t)c->out_blocks);
    memcpy(bias, call->tensor[BIAS], 4 * (size_t)c->out_c);
  }
  ex__train_parallel(train->threads, train->batch, forward_samples, &w);
}

/* ---- backward ---------------------------------------------------------------------- */

static void data_phase(const struct work *w, const struct source *from, int64_t sample, int32_t row,
                       int32_t column, struct fast_conv *loop, const float *weight) {
  const struct conv *c = w->conv;
  const struct taps *taps = &c->phases[row * c->attr.stride + column];
  int32_t stride = c->attr.stride;
  loop->n_segments = taps->n_segments;
  memcpy(loop->offset, taps->offset, sizeof loop->offset);
  memcpy(loop->length, taps->length, sizeof loop->length);
  loop->weight = weight;
  loop->pixels = (c->in_w - 1 - column) / stride + 1;
  float *to = w->din.data + sample * c->in_h * c->in_w * w->din.ld;
  for (int32_t y = row, a = 0; y < c->in_h; y += stride, a++) {
    loop->in = from->data + a * from->row;
    loop->out = to + ((int64_t)y * c->in_w + column) * w->din.ld;
    w->loops->conv(loop);
  }
}

static void backward_data(const struct work *w, const struct source *from, int64_t sample) {
  const struct conv *c = w->conv;
  const float *weight = w->phases;
  struct fast_conv loop = {.in_step = from->step,
                           .blocks = c->in_blocks,
                           .out_step = w->din.ld * c->attr.stride,
                           .channels = c->in_c,
                           .add = w->add};
  for (int32_t r = 0; r < c->attr.stride; r++)
    for (int32_t q = 0; q < c->attr.stride; q++) {
      if (r < c->in_h && q < c->in_w) data_phase(w, from, sample, r, q, &loop, weight);
      weight += 16LL * c->phases[r * c->attr.stride + q].n * c->out_c * c->in_blocks;
    }
}

/* dout with its channels filled up to whole blocks. */
static struct source fill_lanes(const struct conv *c, struct fast_rows dout, int64_t sample,
                                float *lanes) {
  const float *from = dout.data + sample * c->out_h * c->out_w * dout.ld;
  int64_t wide = 16 * c->out_blocks;
  if (c->out_c % 16 == 0) return (struct source){from, dout.ld, dout.ld * c->out_w};
  for (int32_t p = 0; p < c->out_h * c->out_w; p++)
    for (int32_t o = 0; o < c->out_c; o++) lanes[p * wide + o] = from[p * dout.ld + o];
  return (struct source){lanes, wide, wide * c->out_w};
}

static void backward_weight(const struct work *w, const struct source *in,
                            const struct source *dout, float *dweight) {
  const struct conv *c = w->conv;
  struct fast_conv_weight loop = {.in_step = in->step * c->attr.stride,
                                  .in_row = in->row * c->attr.stride,
                                  .dout = dout->data,
                                  .dout_step = dout->step,
                                  .dout_row = dout->row,
                                  .blocks = c->out_blocks,
                                  .pixels = c->out_w,
                                  .rows = c->out_h};
  for (int32_t s = 0; s < c->forward.n_segments; s++) {
    loop.in = in->data + c->forward.offset[s];
    loop.length = c->forward.length[s];
    loop.dweight = dweight;
    w->loops->conv_weight(&loop);
    dweight += 16LL * c->out_blocks * loop.length;
  }
}

static void backward_samples(void *context, int32_t thread, int64_t begin, int64_t end) {
  const struct work *w = context;
  const struct conv *c = w->conv;
  const struct train_call *call = w->call;
  float *frame = w->frames + thread * 2 * c->frame_floats, *dframe = frame + c->frame_floats;
  float *lanes = w->lanes + thread * c->lane_floats, *sums = w->sums + thread * c->dweight_floats;
  bool x_in_place = !c->in_plain && reads_in_place(c, &c->in_frame, call->in[0]);
  bool d_in_place = reads_in_place(c, &c->dout_frame, call->dout);
  memset(frame, 0, 4 * (size_t)(2 * c->frame_floats));
  if (c->lane_floats > 0) memset(lanes, 0, 4 * (size_t)c->lane_floats);
  if (w->weights) memset(sums, 0, 4 * (size_t)c->dweight_floats);
  for (int64_t s = begin; s < end; s++) {
    if (w->data) {
      struct source dout = open_source(&c->dout_frame, call->dout, s, false, d_in_place, dframe);
      backward_data(w, &dout, s);
    }
    if (w->weights) {
      struct source in = open_source(&c->in_frame, call->in[0], s, c->in_plain, x_in_place, frame);
      struct source dout = fill_lanes(c, call->dout, s, lanes);
      backward_weight(w, &in, &dout, sums);
    }
  }
}

/* Adds the sums of all threads, [kernel][in][out] each, to [out][in][kernel]. */
static void add_weights(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct work *w = context;
  const struct conv *c = w->conv;
  int32_t kernel = c->attr.kernel_h * c->attr.kernel_w, lanes = 16 * c->out_blocks;
  int32_t threads = train_of(w->call->program)->threads;
  for (int64_t o = begin; o < end; o++)
    for (int32_t i = 0; i < c->in_c; i++)
      for (int32_t k = 0; k < kernel; k++) {
        const float *from = w->sums + ((int64_t)k * c->in_c + i) * lanes + o;
        float sum = 0;
        for (int32_t t = 0; t < threads; t++) sum += from[t * c->dweight_floats];
        w->call->dtensor[WEIGHT][(o * c->in_c + i) * kernel + k] += sum;
      }
}

static void sum_bias(void *context, int32_t thread, int64_t begin, int64_t end) {
  const struct work *w = context;
  const struct conv *c = w->conv;
  double *sums = (double *)(void *)(w->sums + thread * c->dweight_floats);
  float *zero = w->lanes; /* any zeroed floats: the pivot */
  memset(sums, 0, 16 * (size_t)c->out_c);
  struct fast_norm norm = {.rows = end - begin,
                           .width = c->out_c,
                           .mean = zero,
                           .x = {w->call->dout.data + begin * w->call->dout.ld, w->call->dout.ld},
                           .sum = sums,
                           .sum_of_products = sums + c->out_c};
  w->loops->norm_sums(&norm);
}

static void backward_bias(struct work *w) {
  const struct train *train = train_of(w->call->program);
  const struct conv *c = w->conv;
  w->lanes = w->frames;
  memset(w->lanes, 0, 4 * (size_t)c->out_c);
  ex__train_parallel(train->threads, (int64_t)train->batch * c->out_h * c->out_w, sum_bias, w);
  for (int32_t o = 0; o < c->out_c; o++) {
    double sum = 0;
    for (int32_t t = 0; t < train->threads; t++)
      sum += ((double *)(void *)(w->sums + t * c->dweight_floats))[o];
    w->call->dtensor[BIAS][o] += (float)sum;
  }
}

static void turn_gradient(const struct train_call *call, struct fast_rows made) {
  const struct train *train = train_of(call->program);
  struct train_value nhwc = *train_in(call, 0);
  struct fast_rows plain = {made.data + nhwc.count, nhwc.channels};
  nhwc.order = TRAIN_NHWC;
  ex__train_to_plain(train, &nhwc, train->batch, made, plain.data);
  ex__train_copy(train, train_in(call, 0), plain, call->din[0], call->add[0]);
}

static void backward(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  const struct conv *c = call->step->impl;
  struct work w = {.call = call,
                   .conv = c,
                   .loops = train->loops,
                   .data = call->din[0].data != NULL,
                   .din = call->din[0],
                   .add = call->add[0],
                   .weights = call->dtensor[WEIGHT] != NULL};
  w.phases = (float *)(void *)call->scratch;
  w.frames = w.phases + c->phase_floats;
  w.lanes = w.frames + train->threads * 2 * c->frame_floats;
  w.sums = w.lanes + train->threads * c->lane_floats;
  bool turn = w.data && wants_plain(c, train_in(call, 0));
  if (turn) {
    w.din = (struct fast_rows){w.sums + train->threads * c->dweight_floats, c->in_c};
    w.add = false;
  }
  float *to = w.phases;
  for (int32_t p = 0; w.data && p < c->attr.stride * c->attr.stride; p++)
    to += pack_phase(c, &c->phases[p], call->tensor[WEIGHT], to);
  if (w.data || w.weights) ex__train_parallel(train->threads, train->batch, backward_samples, &w);
  if (w.weights) ex__train_parallel(train->threads, c->out_c, add_weights, &w);
  if (turn) turn_gradient(call, w.din);
  if (c->attr.bias && call->dtensor[BIAS] != NULL) backward_bias(&w);
}

static void describe(const struct train_step *step, struct ex_text *text) {
  const struct conv *c = step->impl;
  ex__text_add(text, ", own %s %dx%d, %d segments", ex__fast_loops()->name, (int)c->attr.kernel_h,
               (int)c->attr.kernel_w, (int)c->forward.n_segments);
}

const struct train_step_class ex__train_conv = {
    .name = "conv",
    .strided = true,
    .plan = plan,
    .forward = forward,
    .backward = backward,
    .free_impl = free_conv,
    .describe = describe,
};
