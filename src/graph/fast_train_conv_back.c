/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_conv_back: the gradients of convolutions in own loops.
 *
 * Gradients of weights are summed per thread and then in the order of threads:
 * same bits for the same number of threads.
 */
#include <string.h>

#include "graph/fast_train_conv.h"

static void data_phase(const struct conv_work *w, const struct data_part *part,
                       const struct source *from, int64_t sample, int32_t row, int32_t column,
                       struct fast_conv *loop, const float *weight) {
  const struct conv *c = w->conv;
  const struct taps *taps = &part->phases[row * c->attr.stride + column];
  int32_t stride = c->attr.stride;
  ex__train_conv_set_taps(taps, weight, loop);
  void (*run)(const struct fast_conv *) = taps->dots ? w->loops->conv_dots : w->loops->conv;
  loop->pixels = (c->in_w - 1 - column) / stride + 1;
  float *to = w->din.data + sample * c->in_h * c->in_w * w->din.ld + part->channel;
  for (int32_t y = row, a = 0; y < c->in_h; y += stride, a++) {
    loop->in = from->data + a * from->row;
    loop->out = to + ((int64_t)y * c->in_w + column) * w->din.ld;
    run(loop);
  }
}

static void backward_data(const struct conv_work *w, const struct source *from, int64_t sample) {
  const struct conv *c = w->conv;
  const float *weight = w->phases;
  for (int32_t p = 0; p < c->n_parts; p++) {
    const struct data_part *part = &c->part[p];
    struct fast_conv loop = {.in_step = from->step,
                             .blocks = part->blocks,
                             .out_step = w->din.ld * c->attr.stride,
                             .channels = part->channels,
                             .add = w->add};
    for (int32_t r = 0; r < c->attr.stride; r++)
      for (int32_t q = 0; q < c->attr.stride; q++) {
        if (r < c->in_h && q < c->in_w) data_phase(w, part, from, sample, r, q, &loop, weight);
        weight += part->phases[r * c->attr.stride + q].weight_floats;
      }
  }
}

/* dout, with its channels filled up to whole blocks where they are read as such. */
static struct source fill_lanes(const struct conv *c, struct fast_rows dout, int64_t sample,
                                float *lanes) {
  const float *from = dout.data + sample * c->out_h * c->out_w * dout.ld;
  int64_t wide = 16 * c->out_blocks;
  if (c->lane_floats == 0) return (struct source){from, dout.ld, dout.ld * c->out_w};
  for (int32_t p = 0; p < c->out_h * c->out_w; p++)
    for (int32_t o = 0; o < c->out_c; o++) lanes[p * wide + o] = from[p * dout.ld + o];
  return (struct source){lanes, wide, wide * c->out_w};
}

/* Straight: sums of [elements of taps][blocks of outputs][16]. */
static void weight_straight(const struct conv_work *w, const struct source *in,
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

/* Turned: for every segment, sums of [outputs][its registers][16]. The loop's
 * `in` is dout, and its `dout` the image. */
static void weight_turned(const struct conv_work *w, const struct source *in,
                          const struct source *dout, float *dweight) {
  const struct conv *c = w->conv;
  struct fast_conv_weight loop = {.in = dout->data,
                                  .in_step = dout->step,
                                  .in_row = dout->row,
                                  .length = c->out_c,
                                  .dout_step = in->step * c->attr.stride,
                                  .dout_row = in->row * c->attr.stride,
                                  .pixels = c->out_w,
                                  .rows = c->out_h};
  for (int32_t s = 0; s < c->forward.n_segments; s++) {
    loop.dout = in->data + c->forward.offset[s];
    loop.blocks = (c->forward.length[s] + 15) / 16;
    loop.dweight = dweight;
    w->loops->conv_weight(&loop);
    dweight += 16LL * loop.blocks * c->out_c;
  }
}

static bool phases_ragged(const struct conv *c) {
  for (int32_t p = 0; p < c->n_parts; p++)
    for (int32_t i = 0; i < c->attr.stride * c->attr.stride; i++)
      if (c->part[p].phases[i].dots && taps_ragged(&c->part[p].phases[i])) return true;
  return false;
}

static void backward_samples(void *context, int32_t thread, int64_t begin, int64_t end) {
  const struct conv_work *w = context;
  const struct conv *c = w->conv;
  const struct train_call *call = w->call;
  float *frame = w->frames + thread * 2 * c->frame_floats, *dframe = frame + c->frame_floats;
  float *lanes = w->lanes + thread * c->lane_floats, *sums = w->sums + thread * c->dweight_floats;
  bool x_in_place = !c->in_plain && ex__train_conv_in_place(c, &c->in_frame, call->in[0],
                                                            c->turned && taps_ragged(&c->forward));
  bool d_in_place = ex__train_conv_in_place(c, &c->dout_frame, call->dout, phases_ragged(c));
  memset(frame, 0, 4 * (size_t)(2 * c->frame_floats));
  if (c->lane_floats > 0) memset(lanes, 0, 4 * (size_t)c->lane_floats);
  if (w->weights) memset(sums, 0, 4 * (size_t)c->dweight_floats);
  for (int64_t s = begin; s < end; s++) {
    if (w->data) {
      struct source dout =
          ex__train_conv_open(&c->dout_frame, call->dout, s, false, d_in_place, dframe);
      backward_data(w, &dout, s);
    }
    if (w->weights) {
      struct source in =
          ex__train_conv_open(&c->in_frame, call->in[0], s, c->in_plain, x_in_place, frame);
      struct source dout = fill_lanes(c, call->dout, s, lanes);
      (c->turned ? weight_turned : weight_straight)(w, &in, &dout, sums);
    }
  }
}

/* Adds the sums of all threads, [kernel][in][out] or turned, to [out][in][kernel]. */
static void add_weights(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct conv_work *w = context;
  const struct conv *c = w->conv;
  const struct taps *taps = &c->forward;
  int32_t kernel = c->attr.kernel_h * c->attr.kernel_w, tap = 0;
  int32_t threads = train_of(w->call->program)->threads;
  const float *sums = w->sums;
  for (int32_t s = 0; s < taps->n_segments; s++) {
    int32_t length = taps->length[s], wide = (length + 15) / 16 * 16;
    int64_t element = c->turned ? 1 : 16 * c->out_blocks, output = c->turned ? wide : 1;
    for (int64_t o = begin; o < end; o++)
      for (int32_t e = 0; e < length; e++) {
        const float *from = sums + e * element + o * output;
        float sum = 0;
        for (int32_t t = 0; t < threads; t++) sum += from[t * c->dweight_floats];
        int64_t at = (o * c->in_c + e % c->in_c) * kernel + taps->kernel[tap + e / c->in_c];
        w->call->dtensor[CONV_WEIGHT][at] += sum;
      }
    tap += length / c->in_c;
    sums += c->turned ? (int64_t)wide * c->out_c : element * length;
  }
}

static void sum_bias(void *context, int32_t thread, int64_t begin, int64_t end) {
  const struct conv_work *w = context;
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

static void backward_bias(struct conv_work *w) {
  const struct train *train = train_of(w->call->program);
  const struct conv *c = w->conv;
  w->lanes = w->frames;
  memset(w->lanes, 0, 4 * (size_t)c->out_c);
  ex__train_parallel(train->threads, (int64_t)train->batch * c->out_h * c->out_w, sum_bias, w);
  for (int32_t o = 0; o < c->out_c; o++) {
    double sum = 0;
    for (int32_t t = 0; t < train->threads; t++)
      sum += ((double *)(void *)(w->sums + t * c->dweight_floats))[o];
    w->call->dtensor[CONV_BIAS][o] += (float)sum;
  }
}

/* The weights of every part of the input's gradient, phase by phase. */
static void pack_phases(const struct conv *c, const float *weight, float *to) {
  int64_t kernel = c->attr.kernel_h * c->attr.kernel_w;
  for (int32_t p = 0; p < c->n_parts; p++)
    for (int32_t i = 0; i < c->attr.stride * c->attr.stride; i++) {
      const struct taps *taps = &c->part[p].phases[i];
      ex__train_conv_pack(taps, weight + c->part[p].channel * kernel, c->out_c, c->in_c * kernel,
                          c->part[p].channels, kernel, to);
      to += taps->weight_floats;
    }
}

static void rearrange_gradient(const struct train_call *call, struct fast_rows made) {
  const struct train *train = train_of(call->program);
  struct train_value nhwc = *train_in(call, 0);
  struct fast_rows plain = {made.data + nhwc.count, nhwc.channels};
  nhwc.order = TRAIN_NHWC;
  ex__train_to_plain(train, &nhwc, train->batch, made, plain.data);
  ex__train_copy(train, train_in(call, 0), plain, call->din[0], call->add[0]);
}

void ex__train_conv_backward(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  const struct conv *c = call->step->impl;
  struct conv_work w = {.call = call,
                        .conv = c,
                        .loops = train->loops,
                        .data = call->din[0].data != NULL,
                        .din = call->din[0],
                        .add = call->add[0],
                        .weights = call->dtensor[CONV_WEIGHT] != NULL};
  w.phases = (float *)(void *)call->scratch;
  w.frames = w.phases + c->phase_floats;
  w.lanes = w.frames + train->threads * 2 * c->frame_floats;
  w.sums = w.lanes + train->threads * c->lane_floats;
  bool rearrange = w.data && c->in_plain && c->in_c > 1;
  if (rearrange) {
    w.din = (struct fast_rows){w.sums + train->threads * c->dweight_floats, c->in_c};
    w.add = false;
  }
  if (w.data) pack_phases(c, call->tensor[CONV_WEIGHT], w.phases);
  if (w.data || w.weights) ex__train_parallel(train->threads, train->batch, backward_samples, &w);
  if (w.weights) ex__train_parallel(train->threads, c->out_c, add_weights, &w);
  if (rearrange) rearrange_gradient(call, w.din);
  if (c->attr.bias && call->dtensor[CONV_BIAS] != NULL) backward_bias(&w);
}
