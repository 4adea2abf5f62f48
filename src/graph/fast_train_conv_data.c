/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_conv_data: samples and weights as the loops of a
 * convolution read them.
 */
#include <string.h>

#include "graph/fast_train_conv.h"

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

struct source ex__train_conv_open(const struct frame *f, struct fast_rows rows, int64_t sample,
                                  bool plain, bool in_place, float *to) {
  int64_t pixels = (int64_t)f->height * f->width;
  const float *from = rows.data + sample * pixels * (plain ? f->channels : rows.ld);
  if (in_place) return (struct source){from, rows.ld, rows.ld * f->width};
  fill_frame(f, from, rows.ld, plain, to);
  return (struct source){to, f->channels, (int64_t)f->columns * f->channels};
}

bool ex__train_conv_in_place(const struct conv *c, const struct frame *f, struct fast_rows rows,
                             bool slack) {
  bool one_pixel = c->attr.kernel_h * c->attr.kernel_w == 1; /* only its taps can be a slice's */
  return without_margin(f) && !slack && (one_pixel || rows.ld == f->channels);
}

/* ---- weights ------------------------------------------------------------------ */

/* Lanes: [elements of taps][blocks][16]. */
static void pack_lanes(const struct taps *taps, const float *weight, int32_t inputs,
                       int64_t input_step, int32_t outputs, int64_t output_step, float *to) {
  int32_t lanes = (outputs + 15) / 16 * 16;
  for (int32_t t = 0; t < taps->n; t++)
    for (int32_t i = 0; i < inputs; i++, to += lanes) {
      const float *from = weight + taps->kernel[t] + i * input_step;
      for (int32_t o = 0; o < outputs; o++) to[o] = from[o * output_step];
    }
}

/* Dots: [groups of 4 outputs][registers of taps][4][16]. */
static void pack_dots(const struct taps *taps, const float *weight, int32_t inputs,
                      int64_t input_step, int32_t outputs, int64_t output_step, float *to) {
  int64_t group = taps->weight_floats / ((outputs + 3) / 4);
  int32_t tap = 0;
  for (int32_t s = 0; s < taps->n_segments; s++) {
    for (int32_t e = 0; e < taps->length[s]; e++) {
      const float *from = weight + taps->kernel[tap + e / inputs] + e % inputs * input_step;
      float *at = to + e / 16 * 64 + e % 16;
      for (int32_t o = 0; o < outputs; o++) at[o / 4 * group + o % 4 * 16] = from[o * output_step];
    }
    tap += taps->length[s] / inputs;
    to += (taps->length[s] + 15) / 16 * 64;
  }
}

void ex__train_conv_pack(const struct taps *taps, const float *weight, int32_t inputs,
                         int64_t input_step, int32_t outputs, int64_t output_step, float *to) {
  if (taps->dots || outputs % 16 != 0) memset(to, 0, 4 * (size_t)taps->weight_floats);
  if (taps->dots)
    pack_dots(taps, weight, inputs, input_step, outputs, output_step, to);
  else
    pack_lanes(taps, weight, inputs, input_step, outputs, output_step, to);
}

void ex__train_conv_set_taps(const struct taps *taps, const float *weight, struct fast_conv *loop) {
  loop->n_segments = taps->n_segments;
  memcpy(loop->offset, taps->offset, sizeof loop->offset);
  memcpy(loop->length, taps->length, sizeof loop->length);
  loop->weight = weight;
}
