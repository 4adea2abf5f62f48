/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_softmax: softmax over the channels of each pixel, in float.
 */
#ifndef EX_EXPORT_KERNELS_INT8_SOFTMAX_H
#define EX_EXPORT_KERNELS_INT8_SOFTMAX_H

#include "export/kernels/int8_nearest.h"
#include "export/kernels/kernel_exponential.h"

struct softmax {
  int pixels, channels, out_zero;
  float in_unit, per_unit; /* what one unit of the input is; units of the output in 1 */
};

/* in and out [pixels][channels], may be the same */
static void softmax(const struct softmax *l, const int8_t *in, int8_t *out) {
  for (int p = 0; p < l->pixels; p++, in += l->channels, out += l->channels) {
    int most = in[0];
    float sum = 0;
    for (int i = 1; i < l->channels; i++)
      if (in[i] > most) most = in[i];
    for (int i = 0; i < l->channels; i++) sum += exponential(l->in_unit * (float)(in[i] - most));
    for (int i = 0; i < l->channels; i++)
      out[i] =
          nearest(exponential(l->in_unit * (float)(in[i] - most)) / sum * l->per_unit, l->out_zero);
  }
}

#endif
