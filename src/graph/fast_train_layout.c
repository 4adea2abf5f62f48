/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_layout: the order of each value's elements, and moving
 * values between orders and between slices.
 *
 * The order of a value depends on mode, layout option and shape alone, so the
 * segments of a network agree about the ports between them.
 */
#include <string.h>

#include "graph/fast_train.h"

enum train_order ex__train_order(const ex_program *program, int32_t id, int32_t block) {
  const struct ex_node *node = ex__graph_node(program->graph, id);
  if (node->shape.rank != 3 || node->op->max_in == 0) return TRAIN_PLAIN;
  bool blocked = train_of(program)->layout == EX_LAYOUT_BLOCKED;
  return blocked && node->shape.dim[0] % block == 0 ? TRAIN_BLOCKED : TRAIN_NHWC;
}

struct copy {
  struct fast_rows from, to;
  int64_t width;
  bool add;
};

static void copy_rows(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct copy *copy = context;
  for (int64_t r = begin; r < end; r++) {
    const float *from = copy->from.data + r * copy->from.ld;
    float *to = copy->to.data + r * copy->to.ld;
    if (!copy->add)
      for (int64_t i = 0; i < copy->width; i++) to[i] = from[i];
    else
      for (int64_t i = 0; i < copy->width; i++) to[i] += from[i];
  }
}

static void copy_dense(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct copy *copy = context;
  const float *from = copy->from.data;
  float *to = copy->to.data;
  if (copy->add)
    for (int64_t i = begin; i < end; i++) to[i] += from[i];
  else
    memcpy(to + begin, from + begin, (size_t)(end - begin) * sizeof *to);
}

void ex__train_copy(const struct train *train, const struct train_value *value,
                    struct fast_rows from, struct fast_rows to, bool add) {
  struct copy copy = {from, to, value->channels, add};
  if (train_dense(value, from) && train_dense(value, to))
    ex__train_parallel(train->threads, value->count, copy_dense, &copy);
  else
    ex__train_parallel(train->threads, (int64_t)train->batch * value->plane, copy_rows, &copy);
}

struct convert {
  const struct train_value *value;
  int32_t block;
  struct fast_rows rows;
  float *plain;
  bool add;
};

/* Floats from one channel of a sample to the next, and from pixel to pixel. */
static float *channel_at(const struct convert *c, int64_t sample, int32_t channel, int64_t *step) {
  const struct train_value *v = c->value;
  if (v->order == TRAIN_NHWC) {
    *step = c->rows.ld;
    return c->rows.data + sample * v->plane * c->rows.ld + channel;
  }
  if (v->order == TRAIN_BLOCKED) {
    *step = c->block;
    return c->rows.data + sample * v->channels * v->plane +
           (int64_t)(channel / c->block) * v->plane * c->block + channel % c->block;
  }
  *step = 1;
  return c->rows.data + (sample * v->channels + channel) * v->plane;
}

static void to_plain(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct convert *c = context;
  for (int64_t s = begin; s < end; s++)
    for (int32_t k = 0; k < c->value->channels; k++) {
      int64_t step;
      const float *from = channel_at(c, s, k, &step);
      float *to = c->plain + (s * c->value->channels + k) * c->value->plane;
      for (int32_t p = 0; p < c->value->plane; p++) to[p] = from[p * step];
    }
}

static void from_plain(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct convert *c = context;
  for (int64_t s = begin; s < end; s++)
    for (int32_t k = 0; k < c->value->channels; k++) {
      int64_t step;
      float *to = channel_at(c, s, k, &step);
      const float *from = c->plain + (s * c->value->channels + k) * c->value->plane;
      if (c->add)
        for (int32_t p = 0; p < c->value->plane; p++) to[p * step] += from[p];
      else
        for (int32_t p = 0; p < c->value->plane; p++) to[p * step] = from[p];
    }
}

void ex__train_to_plain(const struct train *train, const struct train_value *value, int32_t n,
                        struct fast_rows from, float *to) {
  struct convert convert = {value, train->block, from, to, false};
  ex__train_parallel(train->threads, n, to_plain, &convert);
}

void ex__train_from_plain(const struct train *train, const struct train_value *value, int32_t n,
                          const float *from, struct fast_rows to, bool add) {
  struct convert convert = {value, train->block, to, (float *)(uintptr_t)from, add};
  ex__train_parallel(train->threads, n, from_plain, &convert);
}
