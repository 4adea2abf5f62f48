/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_conv2d: convolution, channels last.
 */
#ifndef EX_EXPORT_KERNELS_INT8_CONV2D_H
#define EX_EXPORT_KERNELS_INT8_CONV2D_H

#include <stddef.h>

#include "export/kernels/int8_dot.h"
#include "export/kernels/int8_requantise.h"
#include "export/kernels/kernel_span.h"

struct conv2d {
  int height, width, channels; /* of the input */
  int out_height, out_width, out_channels;
  int kernel_h, kernel_w, stride, pad_h, pad_w, dilation, groups;
  int residual_zero;           /* its unit over the output's is residual_multiplier */
  int32_t residual_multiplier; /* / 2^residual_shift */
  int residual_shift;
  int in_zero, out_zero, low; /* low: the least output, which is zero behind a relu */
  const int8_t *weight;       /* [out_channels][kernel_h][kernel_w][channels / groups] */
  const int32_t *bias;        /* [out_channels], in units of the sums */
  const int32_t *multiplier;  /* [out_channels] */
  const uint8_t *shift;       /* [out_channels] */
};

/* One row of a kernel, its columns from columns.first to columns.end: neighbours lie
 * side by side in memory where there are no gaps, and are then one sum. */
static int32_t conv2d_row(const struct conv2d *c, const int8_t *in, const int8_t *weight,
                          struct span columns, int32_t sum) {
  const int depth = c->channels / c->groups;
  if (c->groups == 1 && c->dilation == 1)
    return dot(in, c->in_zero, weight, (columns.end - columns.first) * depth, sum);
  for (int k = columns.first; k < columns.end; k++) {
    sum = dot(in, c->in_zero, weight, depth, sum);
    in += c->dilation * c->channels;
    weight += depth;
  }
  return sum;
}

static int32_t conv2d_at(const struct conv2d *c, const int8_t *in, int top, int left,
                         struct span rows, struct span columns, int channel) {
  const int depth = c->channels / c->groups;
  const int8_t *weight = c->weight + channel * c->kernel_h * c->kernel_w * depth;
  int32_t sum = c->bias[channel];
  in += channel / (c->out_channels / c->groups) * depth; /* its group */
  if (columns.first >= columns.end) return sum;          /* all of the kernel lies in the padding */
  for (int k = rows.first; k < rows.end; k++) {
    const int at = (top + k * c->dilation) * c->width + left + columns.first * c->dilation;
    sum = conv2d_row(c, in + at * c->channels, weight + (k * c->kernel_w + columns.first) * depth,
                     columns, sum);
  }
  return sum;
}

/* in [height][width][channels] to out [out_height][out_width][out_channels]; residual,
 * NULL or as out and possibly the same, is added before the relu. */
static void conv2d(const struct conv2d *c, const int8_t *in, const int8_t *residual, int8_t *out) {
  for (int y = 0; y < c->out_height; y++)
    for (int x = 0; x < c->out_width; x++) {
      const int top = y * c->stride - c->pad_h, left = x * c->stride - c->pad_w;
      const struct span rows = span_of(top, c->kernel_h, c->dilation, c->height);
      const struct span columns = span_of(left, c->kernel_w, c->dilation, c->width);
      for (int channel = 0; channel < c->out_channels; channel++) {
        const int32_t sum = conv2d_at(c, in, top, left, rows, columns, channel);
        int32_t value = c->out_zero + requantise(sum, c->multiplier[channel], c->shift[channel]);
        if (residual != NULL)
          value +=
              requantise(*residual++ - c->residual_zero, c->residual_multiplier, c->residual_shift);
        *out++ = clamped(value, c->low);
      }
    }
}

#endif
