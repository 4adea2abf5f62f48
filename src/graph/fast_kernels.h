/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_kernels: our own loops of inference, once per instruction set.
 *
 * fast_kernels_template.h holds the code; fast_kernels_{avx512,avx2,base}.c
 * compile it for theirs, and ex__kernels picks by the processor it runs on.
 *
 * The law: an output's sum starts from the bias and goes over its inputs in
 * one fixed order, one fused multiply-add after another. How outputs are cut
 * into blocks, and how many samples or threads there are, changes no bit.
 */
#ifndef EX_GRAPH_FAST_KERNELS_H
#define EX_GRAPH_FAST_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

/* ---- planar convolution -------------------------------------------------- */

/* Vectors lie along the pixels of one channel: whatever the number of channels,
 * no lane is idle. The source is a row of channels, each cut into planes such
 * that the tap t of output position f is at tap[t] + f. Positions are "flat":
 * rows follow one another with `pitch`, and what lies between out_w and pitch
 * is computed and thrown away: `mask` says which lanes of a vector count, and
 * `start` where its first one goes in the dense output plane. */
struct ex_planar_call {
  const float *src;
  int64_t channel_step; /* elements from one input channel to the next */
  int32_t n_channels, n_taps;
  const int32_t *tap;      /* [n_taps] */
  const float *weights;    /* [n_channels][n_taps][block] */
  const float *bias;       /* [block] */
  float *out;              /* [block][plane] */
  const float *residual;   /* [block][plane], added before relu; NULL: none */
  int64_t plane;           /* elements from one output channel to the next */
  const uint16_t *mask;    /* [n_vectors] */
  const int32_t *start;    /* [n_vectors] */
  int32_t n_vectors, last; /* lanes that may be read in the last vector */
  bool relu;
};
/* Computes `block` channels at vectors [first, first + count). */
typedef void ex_planar_kernel(const struct ex_planar_call *call, int32_t first);

enum { EX_PLANAR_BLOCKS = 24 };

/* Lays one channel [height][width] out for the convolution: padded, and for a
 * stride cut into its phases. */
enum { EX_PLANAR_PHASES = 16 };
struct ex_planar_source {
  int32_t height, width, pad_h, pad_w, stride;
  int32_t rows, pitch;                          /* of a phase */
  int32_t n_phases, phase[EX_PLANAR_PHASES][2]; /* the (row, column) phases that taps use */
  int32_t phase_step, channel_step;             /* elements */
};

/* ---- channels-last convolution ---------------------------------------------- */

/* Vectors lie along the output channels. Pixel p sees, for tap t and input
 * channel c, src[pixel[p] + tap[t] + c]. */
struct ex_nhwc_call {
  const float *src;
  const int64_t *pixel; /* of the first pixel of the block */
  const int64_t *tap;   /* [n_taps] */
  int32_t n_channels, n_taps;
  const float *weights;  /* [n_taps][n_channels][vectors × lanes] */
  const float *bias;     /* [vectors × lanes] */
  float *out;            /* first pixel, first channel */
  int64_t out_step;      /* elements from pixel to pixel */
  const float *residual; /* NULL: none */
  int64_t residual_step;
  int32_t last; /* channels of the last vector */
  bool relu;
};
typedef void ex_nhwc_kernel(const struct ex_nhwc_call *call);

enum { EX_NHWC_VECTORS = 4, EX_NHWC_PIXELS = 24 };

/* ---- rows ------------------------------------------------------------------ */

/* n_rows rows of n elements; a row of operand i begins row_step[i] after the last. */
struct ex_rows {
  int64_t n_rows, n, out_step, in_step[2];
  float *out;
  const float *in[2]; /* in[1] may be NULL */
};

struct ex_pool_call {
  const float *in; /* one sample */
  float *out;
  int32_t channels, in_h, in_w, out_h, out_w, kernel, stride, pad;
  bool max, count_padding;
  bool planar;               /* else channels last */
  int64_t in_step, out_step; /* planar: of a channel; else of a pixel */
};

/* Functions of single elements that have loops of their own. */
enum ex_curve { EX_CURVE_NONE, EX_CURVE_EXP, EX_CURVE_ERF, EX_CURVE_GELU, EX_CURVE_TANH };

/* out [n] from two operands, whose elements lie a step apart; 0: one for all. */
typedef void ex_binary_kernel(int64_t n, const float *first, int64_t first_step,
                              const float *second, int64_t second_step, float *out);

struct ex_kernels {
  const char *name; /* "avx512" */
  int32_t lanes;
  /* Blocks of outputs: [block − 1][count − 1]; NULL beyond what registers hold. */
  ex_planar_kernel *const (*planar)[12];
  int32_t max_count[EX_PLANAR_BLOCKS]; /* vectors per block size − 1 */
  int32_t block_for[4];                /* the largest block where 1, 2, 3, ≥ 4 vectors are left */
  /* [vectors − 1][pixels − 1] */
  ex_nhwc_kernel *const (*nhwc)[EX_NHWC_PIXELS];
  int32_t max_pixels[EX_NHWC_VECTORS];
  void (*planar_source)(const struct ex_planar_source *source, const float *in, int32_t n_channels,
                        int64_t in_step, float *to);
  /* out [n_out] = bias + in [n_in] · weights [n_out / lanes][n_in][lanes] */
  void (*linear)(const float *in, int32_t n_in, int32_t n_out, const float *weights,
                 const float *bias, bool relu, float *out);
  void (*add)(const struct ex_rows *rows, bool relu);
  void (*mul)(const struct ex_rows *rows);
  void (*relu)(const struct ex_rows *rows);
  /* out = in · scale [n] + shift [n], along the elements of a row */
  void (*scale)(const struct ex_rows *rows, const float *scale, const float *shift, bool relu);
  /* the same with one scale and shift for a whole row */
  void (*scale_plane)(const float *in, float *out, int64_t n, float scale, float shift, bool relu);
  void (*pool)(const struct ex_pool_call *call);
  void (*plane_means)(const float *in, int64_t n_planes, int64_t n, int64_t step, float *out);
  /* Means over n_pixels of [n_pixels][n_channels]. */
  void (*pixel_means)(const float *in, int64_t n_pixels, int64_t step, int32_t n_channels,
                      float *out);
  void (*curve)(enum ex_curve which, const float *in, float *out, int64_t n);
  /* Of [n_rows][n]: sums by a divisor [n_rows]; rows with mean 0 and variance 1, then times
   * factor [n] plus shift [n] where these are not NULL; softmax of each row. */
  void (*row_sums)(const float *in, int64_t n_rows, int64_t n, float divisor, float *out);
  void (*standardise)(const float *in, int64_t n_rows, int64_t n, float eps, const float *factor,
                      const float *shift, float *out);
  void (*softmax_rows)(const float *in, int64_t n_rows, int64_t n, float *out);
  ex_binary_kernel *const *binary; /* by enum ex_arithmetic_kind */
};

extern const struct ex_kernels ex__kernels_avx512, ex__kernels_avx2, ex__kernels_base;

/* The table for this processor. */
const struct ex_kernels *ex__kernels(void);

#endif
