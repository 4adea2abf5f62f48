/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_join: concatenation: inputs come to the units of the output.
 */
#ifndef EX_EXPORT_KERNELS_INT8_JOIN_H
#define EX_EXPORT_KERNELS_INT8_JOIN_H

#include "export/kernels/int8_requantise.h"

struct join {
  int pixels, channels, out_channels, in_zero, out_zero;
  int32_t multiplier;
  int shift;
};

/* in [pixels][channels] to the first channels of each pixel of out */
static void join(const struct join *j, const int8_t *in, int8_t *out) {
  for (int p = 0; p < j->pixels; p++)
    for (int i = 0; i < j->channels; i++) {
      const int value = in[p * j->channels + i] - j->in_zero;
      out[p * j->out_channels + i] =
          clamped(j->out_zero + requantise(value, j->multiplier, j->shift), -128);
    }
}

#endif
