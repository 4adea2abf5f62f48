/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_softmax: softmax over the channels of each pixel.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_SOFTMAX_H
#define EX_EXPORT_KERNELS_FLOAT_SOFTMAX_H

#include "export/kernels/kernel_exponential.h"

/* in and out [pixels][channels], may be the same */
static void softmax(const float *in, float *out, int pixels, int channels) {
  for (int p = 0; p < pixels; p++, in += channels, out += channels) {
    float most = in[0], sum = 0;
    for (int i = 1; i < channels; i++)
      if (in[i] > most) most = in[i];
    for (int i = 0; i < channels; i++) {
      out[i] = exponential(in[i] - most);
      sum += out[i];
    }
    for (int i = 0; i < channels; i++) out[i] /= sum;
  }
}

#endif
