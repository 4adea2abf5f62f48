/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_loops: the hot inner loops of training on one thread, compiled
 * for several instruction sets and chosen once by what the processor has.
 *
 * Arrays are seen as `rows` rows of `width` floats, `ld` floats apart: an
 * image in channels-last order has one row per pixel, one channel block of a
 * blocked image likewise, and a dense array is one long row. A row may be a
 * slice of a longer one, which is how a growing concatenation is no copy.
 *
 * Sums run in blocks of float and then in double, in an order that depends on
 * the arguments alone, so the same call gives the same bits.
 */
#ifndef EX_GRAPH_FAST_LOOPS_H
#define EX_GRAPH_FAST_LOOPS_H

#include <stdbool.h>
#include <stdint.h>

struct fast_rows {
  float *data;
  int64_t ld;
};

/* Batch-norm of `rows` rows of `width` channels. Absent arrays have data NULL. */
struct fast_norm {
  int64_t rows;
  int32_t width;
  struct fast_rows x;     /* input */
  struct fast_rows other; /* forward: added before the ReLU */
  struct fast_rows y;     /* output; in backward its sign is the ReLU's mask */
  struct fast_rows dy;
  struct fast_rows dx;     /* written over; may be dy */
  struct fast_rows dother; /* gradient of `other` */
  bool relu;
  bool add_dx, add_dother;       /* add to what is there */
  const float *scale, *shift;    /* [width] y = x · scale + shift */
  const float *mean;             /* [width]; in the forward sums a pivot near the mean */
  const float *a, *b, *c;        /* [width] dx = a · dy + b · x + c */
  double *sum, *sum_of_products; /* [width]; the loops add to them */
};

/* Rows of a convolution over channels-last images with their padding in
 * place: every kernel row is `length` consecutive floats of the image. */
enum { FAST_MAX_SEGMENTS = 49 };
struct fast_conv {
  const float *in;    /* first tap of the first output pixel */
  int64_t in_step;    /* floats from one output pixel's taps to the next one's */
  int32_t n_segments; /* runs of taps that are consecutive in memory */
  int32_t offset[FAST_MAX_SEGMENTS], length[FAST_MAX_SEGMENTS];
  const float *weight; /* [sum of lengths][blocks][16], in the order of the segments */
  int32_t blocks;      /* of 16 output channels */
  float *out;          /* [pixels][channels], channels ≤ 16 · blocks */
  int64_t out_step;    /* floats from one output pixel to the next */
  int32_t channels;
  int32_t pixels;
  bool add;
  const float *bias; /* [16 · blocks], or NULL */
};

/* The weight's gradient: for every segment element k, dweight[k][blocks][16]
 * += sum over rows and pixels of in[k] · dout. dout has 16 · blocks channels. */
struct fast_conv_weight {
  const float *in;
  int64_t in_step, in_row; /* from one pixel, from one row of pixels to the next */
  int32_t length;          /* of one segment */
  const float *dout;
  int64_t dout_step, dout_row;
  int32_t blocks, pixels, rows;
  float *dweight;
};

/* `n` max pooling windows side by side, all of `height` by `width` pixels. A
 * byte per output says which tap won, counted row by row; the first on ties,
 * and a NaN. Arrays of gradients take the places of `in` and `out`. */
struct fast_pool {
  float *in;       /* first tap of the first window; written by backward alone */
  int64_t in_ld;   /* floats from pixel to pixel */
  int64_t in_row;  /* from row to row */
  int64_t in_step; /* from window to window */
  float *out;      /* read by backward alone */
  int64_t out_ld;
  uint8_t *won; /* [n][channels] */
  int32_t n, height, width, channels;
  bool write; /* backward: over what is there, instead of adding; windows must not overlap */
};
enum { FAST_POOL_CHANNELS = 4 }; /* at least */

struct fast_loops {
  const char *name; /* "avx512", "avx2", "base" */
  /* sum += Σ(x − pivot), sum_of_products += Σ(x − pivot)² */
  void (*norm_sums)(const struct fast_norm *norm);
  /* y = x · scale + shift (+ other), cut at 0 with relu */
  void (*norm_apply)(const struct fast_norm *norm);
  /* sum += Σ dy', sum_of_products += Σ dy' · (x − mean), dy' = dy where the
   * ReLU let it pass; without y, where x · scale + shift > 0 */
  void (*norm_grad_sums)(const struct fast_norm *norm);
  void (*norm_grad)(const struct fast_norm *norm);
  void (*relu)(int64_t n, const float *x, float *y);
  void (*relu_grad)(int64_t n, const float *y, const float *dy, float *dx, bool add);
  void (*add)(int64_t n, const float *a, const float *b, float *y, bool relu);
  void (*conv)(const struct fast_conv *conv);
  /* The same for few output channels, with registers along the taps; NULL: not
   * in this set. `weight` is [groups of 4 channels][registers of 16 elements,
   * each segment filled up with zeros][4][16]; up to 15 floats behind a segment
   * are read too. */
  void (*conv_dots)(const struct fast_conv *conv);
  void (*conv_weight)(const struct fast_conv_weight *conv);
  void (*max_pool)(const struct fast_pool *pool);
  void (*max_pool_grad)(const struct fast_pool *pool);
};

/* Before loops over arrays of vectors that shall be registers. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 28")
#endif

/* Sets beyond the base one. Not with clang's sanitizers: they check every load
 * of the unrolled tiles, and to compile that takes minutes. */
#if !defined(__x86_64__) || !defined(__GNUC__)
#define EX_FAST_LOOPS_SETS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define EX_FAST_LOOPS_SETS 0
#endif
#endif
#ifndef EX_FAST_LOOPS_SETS
#define EX_FAST_LOOPS_SETS 1
#endif

extern const struct fast_loops ex__loops_base, ex__loops_avx2, ex__loops_avx512;
const struct fast_loops *ex__fast_loops(void); /* the best that this processor has */

#endif
