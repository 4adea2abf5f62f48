/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_kernels_template: the loops, in terms of what the including file
 * defines: TARGET, LANES, VECTOR and its operations, BLOCKS, NHWC_BLOCKS, FINISH. A NaN
 * goes through every relu and maximum: who reads an answer must see it.
 *
 * Not a header in the usual sense: it is included once per instruction set.
 * Each (block, count) of BLOCKS becomes a function whose sums stay in
 * registers; that is why it is made by macros and not by a loop.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "graph/fast_kernels.h"

/* Sums are arrays that become registers only if every loop over them is
 * unrolled. A build under a sanitizer, or without optimisation, is not for
 * speed: there one function serves all sizes, and compiles in seconds. */
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SMALL_CODE
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define SMALL_CODE
#endif
#if defined(SMALL_CODE)
#define UNROLL
#define BLOCK_FUNCTION static __attribute__((noinline)) TARGET
#elif defined(__clang__)
#define UNROLL _Pragma("unroll")
#define BLOCK_FUNCTION INLINE
#else
#define UNROLL _Pragma("GCC unroll 24")
#define BLOCK_FUNCTION INLINE
#endif
#define INLINE static inline __attribute__((always_inline, unused)) TARGET

/* ---- planar convolution ----------------------------------------------------- */

/* Where no instruction presses lanes together. */
INLINE void finish_by_lane(const float *lane, unsigned mask, float *out, const float *residual,
                           bool relu) {
  int32_t at = 0;
  for (int32_t i = 0; i < LANES; i++) {
    if (!(mask >> i & 1U)) continue;
    float value = residual != NULL ? lane[i] + residual[at] : lane[i];
    out[at++] = relu && value < 0 ? 0 : value;
  }
}

BLOCK_FUNCTION void planar_block(const struct ex_planar_call *call, int32_t first, const int block,
                                 const int count) {
  VECTOR sum[EX_PLANAR_BLOCKS][12], source[12];
  bool is_last = first + count == call->n_vectors;
  int32_t last = is_last ? call->last : LANES;
  UNROLL for (int o = 0; o < block; o++) {
    VECTOR bias = SPREAD(call->bias[o]);
    UNROLL for (int v = 0; v < count; v++) sum[o][v] = bias;
  }
  const float *weight = call->weights;
  const float *channel = call->src + (int64_t)first * LANES;
  for (int32_t c = 0; c < call->n_channels; c++, channel += call->channel_step)
    for (int32_t t = 0; t < call->n_taps; t++, weight += block) {
      const float *from = channel + call->tap[t];
      UNROLL for (int v = 0; v < count - 1; v++) source[v] = LOAD(from + v * LANES);
      source[count - 1] = LOAD_SOME(from + (count - 1) * LANES, last);
      UNROLL for (int o = 0; o < block; o++) {
        VECTOR w = SPREAD(weight[o]);
        UNROLL for (int v = 0; v < count; v++) sum[o][v] = FMA(source[v], w, sum[o][v]);
      }
    }
  float lane[32 * LANES];
  UNROLL for (int o = 0; o < block; o++) UNROLL for (int v = 0; v < count; v++)
      STORE(lane + (o * count + v) * LANES, sum[o][v]);
  for (int v = 0; v < count; v++) {
    unsigned mask = call->mask[first + v];
    int32_t start = call->start[first + v];
    for (int o = 0; o < block; o++)
      FINISH(lane + (o * count + v) * LANES, mask, call->out + o * call->plane + start,
             call->residual != NULL ? call->residual + o * call->plane + start : NULL, call->relu);
  }
}

#define KERNEL(block, count)                                                                      \
  TARGET static void planar_##block##_##count(const struct ex_planar_call *call, int32_t first) { \
    planar_block(call, first, block, count);                                                      \
  }
#define KERNELS_1(b) KERNEL(b, 1)
#define KERNELS_2(b) KERNELS_1(b) KERNEL(b, 2)
#define KERNELS_3(b) KERNELS_2(b) KERNEL(b, 3)
#define KERNELS_4(b) KERNELS_3(b) KERNEL(b, 4)
#define KERNELS_5(b) KERNELS_4(b) KERNEL(b, 5)
#define KERNELS_6(b) KERNELS_5(b) KERNEL(b, 6)
#define KERNELS_7(b) KERNELS_6(b) KERNEL(b, 7)
#define KERNELS_10(b) KERNELS_7(b) KERNEL(b, 8) KERNEL(b, 9) KERNEL(b, 10)
#define KERNELS_12(b) KERNELS_10(b) KERNEL(b, 11) KERNEL(b, 12)
#define DEFINE(block, count) KERNELS_##count(block)
BLOCKS(DEFINE)

#define ENTRIES_1(b) planar_##b##_1
#define ENTRIES_2(b) ENTRIES_1(b), planar_##b##_2
#define ENTRIES_3(b) ENTRIES_2(b), planar_##b##_3
#define ENTRIES_4(b) ENTRIES_3(b), planar_##b##_4
#define ENTRIES_5(b) ENTRIES_4(b), planar_##b##_5
#define ENTRIES_6(b) ENTRIES_5(b), planar_##b##_6
#define ENTRIES_7(b) ENTRIES_6(b), planar_##b##_7
#define ENTRIES_10(b) ENTRIES_7(b), planar_##b##_8, planar_##b##_9, planar_##b##_10
#define ENTRIES_12(b) ENTRIES_10(b), planar_##b##_11, planar_##b##_12
#define ENTRY(block, count) {ENTRIES_##count(block)},
static ex_planar_kernel *const planar_table[EX_PLANAR_BLOCKS][12] = {BLOCKS(ENTRY)};

/* One plane of stride 1. Whole vectors are stored, over the padding and into
 * the next row, which is written afterwards: to `to` belong LANES elements more. */
INLINE void lay_rows(const struct ex_planar_source *s, const float *in, float *to) {
  const VECTOR zero = SPREAD(0.0F);
  float *end = to + (int64_t)s->rows * s->pitch;
  for (float *p = to; p < to + (int64_t)s->pad_h * s->pitch; p += LANES) STORE(p, zero);
  for (int32_t y = 0; y < s->height && y + s->pad_h < s->rows; y++, in += s->width) {
    float *row = to + (int64_t)(y + s->pad_h) * s->pitch;
    for (int32_t x = 0; x < s->pad_w; x += LANES) STORE(row + x, zero);
    int32_t x = 0, width = s->width < s->pitch - s->pad_w ? s->width : s->pitch - s->pad_w;
    for (; x + LANES <= width; x += LANES) STORE(row + s->pad_w + x, LOAD(in + x));
    if (x < width) STORE(row + s->pad_w + x, LOAD_SOME(in + x, width - x));
    for (x = s->pad_w + width; x < s->pitch; x += LANES) STORE(row + x, zero);
  }
  for (float *p = to + (int64_t)(s->height + s->pad_h) * s->pitch; p < end; p += LANES)
    STORE(p, zero);
}

/* One phase of a strided plane. */
INLINE void lay_phase(const struct ex_planar_source *s, const float *in, int32_t phase_y,
                      int32_t phase_x, float *to) {
  for (int32_t r = 0; r < s->rows; r++, to += s->pitch) {
    int32_t y = r * s->stride + phase_y - s->pad_h, x = phase_x - s->pad_w, c = 0;
    if (y < 0 || y >= s->height) {
      memset(to, 0, (size_t)s->pitch * sizeof *to);
      continue;
    }
    const float *row = in + (int64_t)y * s->width;
    for (; c < s->pitch && x < 0; c++, x += s->stride) to[c] = 0;
    for (; c < s->pitch && x < s->width; c++, x += s->stride) to[c] = row[x];
    for (; c < s->pitch; c++) to[c] = 0;
  }
}

TARGET static void planar_source(const struct ex_planar_source *s, const float *in,
                                 int32_t n_channels, int64_t in_step, float *to) {
  for (int32_t c = 0; c < n_channels; c++, in += in_step, to += s->channel_step)
    for (int32_t p = 0; p < s->n_phases; p++)
      if (s->stride == 1)
        lay_rows(s, in, to);
      else
        lay_phase(s, in, s->phase[p][0], s->phase[p][1], to + (int64_t)p * s->phase_step);
}

/* ---- channels-last convolution ----------------------------------------------- */

INLINE void nhwc_store(VECTOR sum, float *out, int32_t n) {
  if (n == LANES) {
    STORE(out, sum);
    return;
  }
  float lane[LANES];
  STORE(lane, sum);
  for (int32_t i = 0; i < n; i++) out[i] = lane[i];
}

BLOCK_FUNCTION void nhwc_block(const struct ex_nhwc_call *call, const int vectors,
                               const int pixels) {
  VECTOR sum[EX_NHWC_PIXELS][EX_NHWC_VECTORS], w[EX_NHWC_VECTORS];
  const float *from[EX_NHWC_PIXELS];
  UNROLL for (int v = 0; v < vectors; v++) {
    VECTOR bias = LOAD(call->bias + v * LANES);
    UNROLL for (int p = 0; p < pixels; p++) sum[p][v] = bias;
  }
  const float *weight = call->weights;
  for (int32_t t = 0; t < call->n_taps; t++) {
    UNROLL for (int p = 0; p < pixels; p++) from[p] = call->src + call->pixel[p] + call->tap[t];
    for (int64_t c = 0; c < call->n_channels; c++, weight += vectors * LANES) {
      UNROLL for (int v = 0; v < vectors; v++) w[v] = LOAD(weight + v * LANES);
      UNROLL for (int p = 0; p < pixels; p++) {
        VECTOR x = SPREAD(from[p][c]);
        UNROLL for (int v = 0; v < vectors; v++) sum[p][v] = FMA(x, w[v], sum[p][v]);
      }
    }
  }
  UNROLL for (int p = 0; p < pixels; p++) {
    float *out = call->out + p * call->out_step;
    UNROLL for (int v = 0; v < vectors; v++) {
      VECTOR y = sum[p][v];
      int32_t n = v == vectors - 1 ? call->last : LANES;
      if (call->residual != NULL)
        y = ADD(y, LOAD_SOME(call->residual + p * call->residual_step + v * LANES, n));
      if (call->relu) y = RELU(y);
      nhwc_store(y, out + v * LANES, n);
    }
  }
}

#define NHWC(v, p) \
  TARGET static void nhwc_##v##_##p(const struct ex_nhwc_call *call) { nhwc_block(call, v, p); }
#define NHWC_3(v) NHWC(v, 1) NHWC(v, 2) NHWC(v, 3)
#define NHWC_6(v) NHWC_3(v) NHWC(v, 4) NHWC(v, 5) NHWC(v, 6)
#define NHWC_9(v) NHWC_6(v) NHWC(v, 7) NHWC(v, 8) NHWC(v, 9)
#define NHWC_12(v) NHWC_9(v) NHWC(v, 10) NHWC(v, 11) NHWC(v, 12)
#define NHWC_16(v) NHWC_12(v) NHWC(v, 13) NHWC(v, 14) NHWC(v, 15) NHWC(v, 16)
#define NHWC_20(v) NHWC_16(v) NHWC(v, 17) NHWC(v, 18) NHWC(v, 19) NHWC(v, 20)
#define NHWC_24(v) NHWC_20(v) NHWC(v, 21) NHWC(v, 22) NHWC(v, 23) NHWC(v, 24)
#define DEFINE_NHWC(v, p) NHWC_##p(v)
NHWC_BLOCKS(DEFINE_NHWC)

#define NHWC_ENTRIES_3(v) nhwc_##v##_1, nhwc_##v##_2, nhwc_##v##_3
#define NHWC_ENTRIES_6(v) NHWC_ENTRIES_3(v), nhwc_##v##_4, nhwc_##v##_5, nhwc_##v##_6
#define NHWC_ENTRIES_9(v) NHWC_ENTRIES_6(v), nhwc_##v##_7, nhwc_##v##_8, nhwc_##v##_9
#define NHWC_ENTRIES_12(v) NHWC_ENTRIES_9(v), nhwc_##v##_10, nhwc_##v##_11, nhwc_##v##_12
#define NHWC_ENTRIES_24(v)                                                                       \
  NHWC_ENTRIES_12(v), nhwc_##v##_13, nhwc_##v##_14, nhwc_##v##_15, nhwc_##v##_16, nhwc_##v##_17, \
      nhwc_##v##_18, nhwc_##v##_19, nhwc_##v##_20, nhwc_##v##_21, nhwc_##v##_22, nhwc_##v##_23,  \
      nhwc_##v##_24
#define NHWC_ENTRY(v, p) {NHWC_ENTRIES_##p(v)},
static ex_nhwc_kernel *const nhwc_table[EX_NHWC_VECTORS][EX_NHWC_PIXELS] = {
    NHWC_BLOCKS(NHWC_ENTRY)};

/* ---- linear ------------------------------------------------------------------- */

/* Four sums per output, over inputs 0, 4, 8 …, 1, 5, 9 … and so on, joined as
 * (s0 + s1) + (s2 + s3): a single sum would wait for itself. */
TARGET static void linear(const float *in, int32_t n_in, int32_t n_out, const float *weights,
                          const float *bias, bool relu, float *out) {
  for (int32_t o = 0; o < n_out; o += LANES, weights += (int64_t)n_in * LANES) {
    VECTOR s0 = LOAD(bias + o), s1 = SPREAD(0.0F), s2 = s1, s3 = s1;
    int32_t i = 0;
    const float *w = weights;
    for (; i + 4 <= n_in; i += 4, w += 4 * LANES) {
      s0 = FMA(SPREAD(in[i]), LOAD(w), s0);
      s1 = FMA(SPREAD(in[i + 1]), LOAD(w + LANES), s1);
      s2 = FMA(SPREAD(in[i + 2]), LOAD(w + 2 * LANES), s2);
      s3 = FMA(SPREAD(in[i + 3]), LOAD(w + 3 * LANES), s3);
    }
    for (; i < n_in; i++, w += LANES) s0 = FMA(SPREAD(in[i]), LOAD(w), s0);
    VECTOR sum = ADD(ADD(s0, s1), ADD(s2, s3));
    if (relu) sum = RELU(sum);
    float lane[LANES];
    STORE(lane, sum);
    for (int32_t k = 0; k < LANES && o + k < n_out; k++) out[o + k] = lane[k];
  }
}

/* ---- rows ---------------------------------------------------------------------- */

TARGET static void add(const struct ex_rows *rows, bool relu) {
  for (int64_t r = 0; r < rows->n_rows; r++) {
    const float *a = rows->in[0] + r * rows->in_step[0], *b = rows->in[1] + r * rows->in_step[1];
    float *out = rows->out + r * rows->out_step;
    if (relu)
      for (int64_t i = 0; i < rows->n; i++) out[i] = a[i] + b[i] < 0 ? 0 : a[i] + b[i];
    else
      for (int64_t i = 0; i < rows->n; i++) out[i] = a[i] + b[i];
  }
}

TARGET static void mul(const struct ex_rows *rows) {
  for (int64_t r = 0; r < rows->n_rows; r++) {
    const float *a = rows->in[0] + r * rows->in_step[0], *b = rows->in[1] + r * rows->in_step[1];
    float *out = rows->out + r * rows->out_step;
    for (int64_t i = 0; i < rows->n; i++) out[i] = a[i] * b[i];
  }
}

TARGET static void relu(const struct ex_rows *rows) {
  for (int64_t r = 0; r < rows->n_rows; r++) {
    const float *a = rows->in[0] + r * rows->in_step[0];
    float *out = rows->out + r * rows->out_step;
    for (int64_t i = 0; i < rows->n; i++) out[i] = a[i] < 0 ? 0 : a[i];
  }
}

TARGET static void scale(const struct ex_rows *rows, const float *factor, const float *shift,
                         bool clip) {
  for (int64_t r = 0; r < rows->n_rows; r++) {
    const float *a = rows->in[0] + r * rows->in_step[0];
    float *out = rows->out + r * rows->out_step;
    for (int64_t i = 0; i < rows->n; i++) {
      float value = a[i] * factor[i] + shift[i];
      out[i] = clip && value < 0 ? 0 : value;
    }
  }
}

TARGET static void scale_plane(const float *in, float *out, int64_t n, float factor, float shift,
                               bool clip) {
  for (int64_t i = 0; i < n; i++) {
    float value = in[i] * factor + shift;
    out[i] = clip && value < 0 ? 0 : value;
  }
}

/* ---- pooling --------------------------------------------------------------------- */

struct span {
  int32_t begin, end, padded;
};

INLINE struct span window(int32_t i, int32_t kernel, int32_t stride, int32_t pad, int32_t size) {
  int32_t begin = i * stride - pad, end = begin + kernel;
  int32_t clipped = end < size + pad ? end : size + pad;
  return (struct span){begin > 0 ? begin : 0, end < size ? end : size, clipped - begin};
}

INLINE float divisor(const struct ex_pool_call *call, struct span y, struct span x) {
  return (float)(call->count_padding ? y.padded * x.padded : (y.end - y.begin) * (x.end - x.begin));
}

INLINE float larger(float best, float value) {
  return value > best || value != value ? value : best;
}

/* Two by two without padding, the common case: whole rows at once. */
INLINE void pool_pairs(const struct ex_pool_call *call, const float *in, float *out) {
  for (int32_t y = 0; y < call->out_h; y++, out += call->out_w) {
    const float *a = in + (int64_t)2 * y * call->in_w, *b = a + call->in_w;
    if (call->max)
      for (int32_t x = 0; x < call->out_w; x++)
        out[x] = larger(larger(larger(a[2 * x], a[2 * x + 1]), b[2 * x]), b[2 * x + 1]);
    else
      for (int32_t x = 0; x < call->out_w; x++)
        out[x] = (((a[2 * x] + a[2 * x + 1]) + b[2 * x]) + b[2 * x + 1]) / 4;
  }
}

INLINE void pool_plane(const struct ex_pool_call *call, const float *in, float *out) {
  for (int32_t row = 0; row < call->out_h; row++) {
    struct span y = window(row, call->kernel, call->stride, call->pad, call->in_h);
    for (int32_t column = 0; column < call->out_w; column++) {
      struct span x = window(column, call->kernel, call->stride, call->pad, call->in_w);
      float best = in[y.begin * call->in_w + x.begin], sum = 0;
      for (int32_t v = y.begin; v < y.end; v++)
        for (int32_t u = x.begin; u < x.end; u++) {
          float value = in[v * call->in_w + u];
          best = larger(best, value);
          sum += value;
        }
      *out++ = call->max ? best : sum / divisor(call, y, x);
    }
  }
}

INLINE void pool_pixel(const struct ex_pool_call *call, struct span y, struct span x, float *out) {
  const float *first = call->in + ((int64_t)y.begin * call->in_w + x.begin) * call->in_step;
  int32_t n = call->channels;
  for (int32_t c = 0; c < n; c++) out[c] = call->max ? first[c] : 0;
  for (int32_t v = y.begin; v < y.end; v++)
    for (int32_t u = x.begin; u < x.end; u++) {
      const float *in = call->in + ((int64_t)v * call->in_w + u) * call->in_step;
      if (call->max)
        for (int32_t c = 0; c < n; c++) out[c] = larger(out[c], in[c]);
      else
        for (int32_t c = 0; c < n; c++) out[c] += in[c];
    }
  if (call->max) return;
  float by = divisor(call, y, x);
  for (int32_t c = 0; c < n; c++) out[c] /= by;
}

TARGET static void pool(const struct ex_pool_call *call) {
  bool pairs = call->kernel == 2 && call->stride == 2 && call->pad == 0 &&
               2 * call->out_h <= call->in_h && 2 * call->out_w <= call->in_w;
  if (call->planar) {
    for (int32_t c = 0; c < call->channels; c++)
      if (pairs)
        pool_pairs(call, call->in + c * call->in_step, call->out + c * call->out_step);
      else
        pool_plane(call, call->in + c * call->in_step, call->out + c * call->out_step);
    return;
  }
  for (int32_t row = 0; row < call->out_h; row++)
    for (int32_t column = 0; column < call->out_w; column++)
      pool_pixel(call, window(row, call->kernel, call->stride, call->pad, call->in_h),
                 window(column, call->kernel, call->stride, call->pad, call->in_w),
                 call->out + ((int64_t)row * call->out_w + column) * call->out_step);
}

/* LANES partial sums, joined in order. */
TARGET static void plane_means(const float *in, int64_t n_planes, int64_t n, int64_t step,
                               float *out) {
  for (int64_t p = 0; p < n_planes; p++, in += step) {
    VECTOR sum = SPREAD(0.0F);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) sum = ADD(sum, LOAD(in + i));
    if (i < n) sum = ADD(sum, LOAD_SOME(in + i, (int32_t)(n - i)));
    float lane[LANES], total = 0;
    STORE(lane, sum);
    for (int32_t k = 0; k < LANES; k++) total += lane[k];
    out[p] = total / (float)n;
  }
}

TARGET static void pixel_means(const float *in, int64_t n_pixels, int64_t step, int32_t n_channels,
                               float *out) {
  for (int32_t c = 0; c < n_channels; c++) out[c] = 0;
  for (int64_t p = 0; p < n_pixels; p++, in += step)
    for (int32_t c = 0; c < n_channels; c++) out[c] += in[c];
  for (int32_t c = 0; c < n_channels; c++) out[c] /= (float)n_pixels;
}

#include "graph/fast_rows_template.h"

#define MAX_COUNT(block, count) count,

const struct ex_kernels KERNELS = {
    .name = NAME,
    .lanes = LANES,
    .planar = planar_table,
    .max_count = {BLOCKS(MAX_COUNT)},
    .block_for = BLOCK_FOR,
    .nhwc = nhwc_table,
    .max_pixels = {NHWC_BLOCKS(MAX_COUNT)},
    .planar_source = planar_source,
    .linear = linear,
    .add = add,
    .mul = mul,
    .relu = relu,
    .scale = scale,
    .scale_plane = scale_plane,
    .pool = pool,
    .plane_means = plane_means,
    .pixel_means = pixel_means,
    .curve = curve,
    .row_sums = row_sums,
    .standardise = standardise,
    .softmax_rows = softmax_rows,
    .binary = binary_table,
};
