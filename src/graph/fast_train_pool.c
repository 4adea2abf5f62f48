/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_pool: max, average and global average pooling where
 * channels lie side by side (channels-last order, slices too, or blocks).
 *
 * An image is a set of groups of channels: all channels of a sample in
 * channels-last order, one block of them in blocked order. Samples are shared
 * out among threads, so windows may overlap in backward. Max pooling keeps per
 * output which tap of its window won, one byte (kernels up to 15 × 15); ties go to the first tap and a
 * NaN wins, as in PyTorch. From FAST_POOL_CHANNELS channels on it is done by
 * the loops of graph/fast_loops, a run of whole windows at a time.
 */
#include <string.h>

#include "graph/fast_train.h"
#include "graph/window.h"

struct group {
  float *data;
  int64_t ld; /* from pixel to pixel */
};

struct pool_work {
  const struct train_call *call;
  const struct train_value *in, *out;
  int32_t lanes, groups; /* channels of a group; groups of a sample */
};

static struct group group_at(const struct train_value *value, struct fast_rows rows, int64_t sample,
                             int32_t group, int32_t lanes) {
  if (value->order == TRAIN_NHWC)
    return (struct group){rows.data + sample * value->plane * rows.ld, rows.ld};
  int64_t at = (sample * value->channels + (int64_t)group * lanes) * value->plane;
  return (struct group){rows.data + at, lanes};
}

static struct pool_work make_work(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  struct pool_work w = {.call = call, .in = train_in(call, 0), .out = train_out(call)};
  w.lanes = w.in->order == TRAIN_BLOCKED ? train->block : w.in->channels;
  w.groups = w.in->channels / w.lanes;
  return w;
}

static enum ex_status plan(const ex_program *program, struct train_step *step,
                           struct ex_error *err) {
  (void)err;
  const struct train *train = train_of(program);
  if (strcmp(step->node->op->name, "max_pool") == 0)
    step->saved_bytes = train->values[step->out].count;
  return EX_OK;
}

static void max_window(const float *in, int64_t ld, int32_t width, struct ex_window at,
                       int32_t lanes, float *out, uint8_t *won) {
  const float *first = in + ((int64_t)at.top * width + at.left) * ld;
  uint8_t tap = 0;
  memcpy(out, first, (size_t)lanes * sizeof *out);
  memset(won, 0, (size_t)lanes);
  for (int32_t y = at.top; y < at.bottom; y++)
    for (int32_t x = at.left; x < at.right; x++, tap++) {
      const float *from = in + ((int64_t)y * width + x) * ld;
      for (int32_t i = 0; i < lanes; i++) {
        bool better = from[i] > out[i] || from[i] != from[i];
        out[i] = better ? from[i] : out[i];
        won[i] = better ? tap : won[i];
      }
    }
}

/* What the loops need of one sample's group, window by window. */
static struct fast_pool fast_pool_of(const struct pool_work *w, struct group in, struct group out,
                                     uint8_t *won) {
  const struct ex_pool *attr = w->call->step->node->attr;
  int32_t stride = attr->stride > 0 ? attr->stride : attr->kernel;
  return (struct fast_pool){.in = in.data,
                            .in_ld = in.ld,
                            .in_row = in.ld * w->in->shape.dim[2],
                            .in_step = in.ld * stride,
                            .out = out.data,
                            .out_ld = out.ld,
                            .won = won,
                            .channels = w->lanes,
                            .write = stride >= attr->kernel && !w->call->add[0]};
}

/* How many windows from this one on, in its row, are whole along the row. */
static int32_t whole_windows(const struct pool_work *w, int32_t column) {
  const struct ex_pool *attr = w->call->step->node->attr;
  int32_t stride = attr->stride > 0 ? attr->stride : attr->kernel;
  int32_t room = w->in->shape.dim[2] + attr->pad - attr->kernel - column * stride;
  if (column * stride < attr->pad || room < 0) return 0;
  int32_t n = room / stride + 1, left = w->out->shape.dim[2] - column;
  return n < left ? n : left;
}

static void run_windows(const struct pool_work *w, const struct fast_pool *group,
                        void (*run)(const struct fast_pool *)) {
  const struct ex_pool *attr = w->call->step->node->attr;
  struct fast_pool pool = *group;
  for (int32_t row = 0; row < w->out->shape.dim[1]; row++)
    for (int32_t column = 0; column < w->out->shape.dim[2]; column += pool.n) {
      struct ex_window at = ex__window_at(attr, &w->in->shape, row, column);
      int32_t whole = whole_windows(w, column);
      pool.n = whole > 0 ? whole : 1;
      pool.height = at.bottom - at.top;
      pool.width = at.right - at.left;
      pool.in = group->in + at.top * pool.in_row + at.left * pool.in_ld;
      run(&pool);
      pool.out += pool.n * pool.out_ld;
      pool.won += pool.n * pool.channels;
    }
}

static float divisor(const struct ex_pool *attr, struct ex_window at) {
  int32_t inside = (at.bottom - at.top) * (at.right - at.left);
  return (float)(attr->count_include_pad ? at.padded : inside);
}

static void mean_window(const float *in, int64_t ld, int32_t width, struct ex_window at,
                        int32_t lanes, float divisor, float *out) {
  memset(out, 0, (size_t)lanes * sizeof *out);
  for (int32_t y = at.top; y < at.bottom; y++)
    for (int32_t x = at.left; x < at.right; x++) {
      const float *from = in + ((int64_t)y * width + x) * ld;
      for (int32_t i = 0; i < lanes; i++) out[i] += from[i];
    }
  for (int32_t i = 0; i < lanes; i++) out[i] /= divisor;
}

static void forward_group(const struct pool_work *w, int64_t sample, int32_t g) {
  const struct train_call *call = w->call;
  const struct ex_pool *attr = call->step->node->attr;
  const struct ex_shape *shape = &w->in->shape;
  struct group from = group_at(w->in, call->in[0], sample, g, w->lanes);
  struct group to = group_at(w->out, call->out, sample, g, w->lanes);
  uint8_t *won = call->saved; /* max pooling alone saves */
  if (won != NULL) won += (sample * w->groups + g) * w->out->plane * w->lanes;
  if (won != NULL && w->lanes >= FAST_POOL_CHANNELS) {
    struct fast_pool pool = fast_pool_of(w, from, to, won);
    run_windows(w, &pool, train_of(call->program)->loops->max_pool);
    return;
  }
  for (int32_t row = 0; row < w->out->shape.dim[1]; row++)
    for (int32_t column = 0; column < w->out->shape.dim[2]; column++) {
      struct ex_window at = ex__window_at(attr, shape, row, column);
      if (won != NULL)
        max_window(from.data, from.ld, shape->dim[2], at, w->lanes, to.data, won);
      else
        mean_window(from.data, from.ld, shape->dim[2], at, w->lanes, divisor(attr, at), to.data);
      to.data += to.ld;
      won = won != NULL ? won + w->lanes : NULL;
    }
}

static void forward_samples(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct pool_work *w = context;
  for (int64_t s = begin; s < end; s++)
    for (int32_t g = 0; g < w->groups; g++) forward_group(w, s, g);
}

static void forward(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  struct pool_work w = make_work(call);
  ex__train_parallel(train->threads, train->batch, forward_samples, &w);
}

static void spread_max(float *din, int64_t ld, int32_t width, struct ex_window at, int32_t lanes,
                       const float *dout, const uint8_t *won) {
  uint8_t tap = 0;
  for (int32_t y = at.top; y < at.bottom; y++)
    for (int32_t x = at.left; x < at.right; x++, tap++) {
      float *to = din + ((int64_t)y * width + x) * ld;
      for (int32_t i = 0; i < lanes; i++) to[i] += won[i] == tap ? dout[i] : 0;
    }
}

static void spread_mean(float *din, int64_t ld, int32_t width, struct ex_window at, int32_t lanes,
                        float divisor, const float *dout) {
  for (int32_t y = at.top; y < at.bottom; y++)
    for (int32_t x = at.left; x < at.right; x++) {
      float *to = din + ((int64_t)y * width + x) * ld;
      for (int32_t i = 0; i < lanes; i++) to[i] += dout[i] / divisor;
    }
}

static void clear_group(const struct pool_work *w, struct group to) {
  if (to.ld == w->lanes) {
    memset(to.data, 0, (size_t)(w->in->plane * w->lanes) * sizeof *to.data);
    return;
  }
  for (int32_t p = 0; p < w->in->plane; p++)
    memset(to.data + p * to.ld, 0, (size_t)w->lanes * sizeof *to.data);
}

static void backward_group(const struct pool_work *w, int64_t sample, int32_t g) {
  const struct train_call *call = w->call;
  const struct ex_pool *attr = call->step->node->attr;
  const struct ex_shape *shape = &w->in->shape;
  struct group to = group_at(w->in, call->din[0], sample, g, w->lanes);
  struct group from = group_at(w->out, call->dout, sample, g, w->lanes);
  uint8_t *won = call->saved; /* max pooling alone saves */
  if (won != NULL) won += (sample * w->groups + g) * w->out->plane * w->lanes;
  if (!call->add[0]) clear_group(w, to);
  if (won != NULL && w->lanes >= FAST_POOL_CHANNELS) {
    struct fast_pool pool = fast_pool_of(w, to, from, won);
    run_windows(w, &pool, train_of(call->program)->loops->max_pool_grad);
    return;
  }
  for (int32_t row = 0; row < w->out->shape.dim[1]; row++)
    for (int32_t column = 0; column < w->out->shape.dim[2]; column++) {
      struct ex_window at = ex__window_at(attr, shape, row, column);
      if (won != NULL)
        spread_max(to.data, to.ld, shape->dim[2], at, w->lanes, from.data, won);
      else
        spread_mean(to.data, to.ld, shape->dim[2], at, w->lanes, divisor(attr, at), from.data);
      from.data += from.ld;
      won = won != NULL ? won + w->lanes : NULL;
    }
}

static void backward_samples(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct pool_work *w = context;
  for (int64_t s = begin; s < end; s++)
    for (int32_t g = 0; g < w->groups; g++) backward_group(w, s, g);
}

static void backward(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  if (call->din[0].data == NULL) return;
  struct pool_work w = make_work(call);
  ex__train_parallel(train->threads, train->batch, backward_samples, &w);
}

const struct train_step_class ex__train_pool = {
    .name = "pool",
    .strided = true,
    .plan = plan,
    .forward = forward,
    .backward = backward,
};

/* ---- global average ------------------------------------------------------------- */

static void global_samples(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct pool_work *w = context;
  for (int64_t s = begin; s < end; s++)
    for (int32_t g = 0; g < w->groups; g++) {
      struct group from = group_at(w->in, w->call->in[0], s, g, w->lanes);
      float *to = w->call->out.data + s * w->in->channels + (int64_t)g * w->lanes;
      memset(to, 0, (size_t)w->lanes * sizeof *to);
      for (int32_t p = 0; p < w->in->plane; p++, from.data += from.ld)
        for (int32_t i = 0; i < w->lanes; i++) to[i] += from.data[i];
      for (int32_t i = 0; i < w->lanes; i++) to[i] /= (float)w->in->plane;
    }
}

static void global_forward(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  struct pool_work w = make_work(call);
  ex__train_parallel(train->threads, train->batch, global_samples, &w);
}

static void global_grad_samples(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct pool_work *w = context;
  float part = 1 / (float)w->in->plane;
  for (int64_t s = begin; s < end; s++)
    for (int32_t g = 0; g < w->groups; g++) {
      struct group to = group_at(w->in, w->call->din[0], s, g, w->lanes);
      const float *from = w->call->dout.data + s * w->in->channels + (int64_t)g * w->lanes;
      for (int32_t p = 0; p < w->in->plane; p++, to.data += to.ld)
        for (int32_t i = 0; i < w->lanes; i++)
          to.data[i] = (w->call->add[0] ? to.data[i] : 0) + from[i] * part;
    }
}

static void global_backward(const struct train_call *call) {
  const struct train *train = train_of(call->program);
  if (call->din[0].data == NULL) return;
  struct pool_work w = make_work(call);
  ex__train_parallel(train->threads, train->batch, global_grad_samples, &w);
}

const struct train_step_class ex__train_global_pool = {
    .name = "global average",
    .strided = true,
    .forward = global_forward,
    .backward = global_backward,
};
