/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_conv: convolutions of channels-last images in own loops,
 * for fast_train_conv*.c.
 *
 * oneDNN pads channels to 16 and pays for small images and strided slices;
 * these loops take any number of channels and any slice. Samples are shared
 * out among threads. Each thread copies a sample into an image with its
 * padding in place (small enough to stay in the second cache), so that the
 * loops know no edges; where there is no padding they read in place.
 *
 * A convolution is *gathered* in one of two ways. By lanes: a register holds
 * 16 output channels, and every element of the taps is spread over it. By
 * dots, where there are few output channels and the former would leave lanes
 * idle: a register holds 16 consecutive elements of the taps, and a sum over
 * its lanes ends a pixel. The weight's gradient likewise spreads elements of
 * the image over registers of dout, or, *turned*, elements of dout over
 * registers of the image. What takes fewer multiply-adds is chosen.
 */
#ifndef EX_GRAPH_FAST_TRAIN_CONV_H
#define EX_GRAPH_FAST_TRAIN_CONV_H

#include "graph/fast_train.h"

/* A gathered convolution: where its taps lie in the padded image. */
struct taps {
  int32_t n_segments, offset[FAST_MAX_SEGMENTS], length[FAST_MAX_SEGMENTS];
  int32_t n, kernel[FAST_MAX_SEGMENTS]; /* kernel element (kh · kernel_w + kw) of each, in order */
  bool dots;
  int64_t weight_floats; /* packed, for lanes or dots */
};

/* The image that the loops read, with margins of zeros around it. */
struct frame {
  int32_t height, width, channels;  /* of the image inside */
  int32_t top, left, rows, columns; /* margins before; whole size */
};

/* Neighbouring input channels whose gradient is computed; others are blocked. */
struct data_part {
  int32_t channel, channels, blocks;
  struct taps *phases; /* [stride][stride] */
};

struct conv {
  struct ex_conv2d attr;
  int32_t in_c, in_h, in_w, out_c, out_h, out_w;
  bool in_plain; /* the input is an image of the graph: [c][h][w] */
  int32_t out_blocks;
  struct frame in_frame, dout_frame;
  struct taps forward;
  int32_t n_parts; /* of the input's gradient */
  struct data_part part[2];
  bool turned;          /* the weight's gradient */
  int64_t frame_floats; /* per thread, the larger of both */
  int64_t phase_floats, dweight_floats, lane_floats;
};

/* What a thread reads a sample from: the sample itself, or a frame with it. */
struct source {
  const float *data;
  int64_t step, row; /* floats from pixel to pixel, from row to row */
};

/* What the threads of one forward or backward call share. */
struct conv_work {
  const struct train_call *call;
  const struct conv *conv;
  const struct fast_loops *loops;
  float *weight, *bias, *phases, *frames, *lanes, *sums;
  bool data, weights; /* which gradients */
  struct fast_rows din;
  bool add;
};

enum { CONV_WEIGHT, CONV_BIAS };

enum ex_status ex__train_conv_plan(const ex_program *program, struct train_step *step,
                                   struct ex_error *err);
void ex__train_conv_free(void *impl);
void ex__train_conv_backward(const struct train_call *call);

/* Packs the weights of `outputs` channels that read `inputs` channels at each
 * tap, which lie `input_step` and `output_step` floats apart in `weight`. */
void ex__train_conv_pack(const struct taps *taps, const float *weight, int32_t inputs,
                         int64_t input_step, int32_t outputs, int64_t output_step, float *to);
/* The loop's fields that come from the taps. */
void ex__train_conv_set_taps(const struct taps *taps, const float *weight, struct fast_conv *loop);

/* Whether samples of `rows` need no frame. `slack`: the loops may read up to
 * 15 floats behind the taps, which is safe in frames only. */
bool ex__train_conv_in_place(const struct conv *conv, const struct frame *frame,
                             struct fast_rows rows, bool slack);
/* Puts a sample into `to` (already with zero margins) unless it is read in place. */
struct source ex__train_conv_open(const struct frame *frame, struct fast_rows rows, int64_t sample,
                                  bool plain, bool in_place, float *to);

/* Whether some segment is not whole registers. */
static inline bool taps_ragged(const struct taps *taps) {
  for (int32_t s = 0; s < taps->n_segments; s++)
    if (taps->length[s] % 16 != 0) return true;
  return false;
}

#endif
