/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_lrn: local response normalisation across channels.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_LRN_H
#define EX_EXPORT_KERNELS_FLOAT_LRN_H

#include "export/kernels/kernel_power.h"

struct lrn {
  int pixels, channels, size;
  float alpha, beta, k; /* alpha: over the size already */
};

/* in and out [pixels][channels], not the same */
static void lrn(const struct lrn *l, const float *in, float *out) {
  for (int p = 0; p < l->pixels; p++, in += l->channels, out += l->channels)
    for (int channel = 0; channel < l->channels; channel++) {
      const int first = channel - l->size / 2, last = channel + l->size / 2;
      float sum = 0;
      for (int i = first < 0 ? 0 : first; i <= last && i < l->channels; i++) sum += in[i] * in[i];
      out[channel] = in[channel] * lrn_power(l->k + l->alpha * sum, l->beta);
    }
}

#endif
