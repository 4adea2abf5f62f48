/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_lrn: local response normalisation across channels, in float.
 */
#ifndef EX_EXPORT_KERNELS_INT8_LRN_H
#define EX_EXPORT_KERNELS_INT8_LRN_H

#include "export/kernels/int8_nearest.h"
#include "export/kernels/kernel_power.h"

struct lrn {
  int pixels, channels, size, in_zero, out_zero;
  float alpha, beta, k; /* alpha: over the size, and of squares in units of the input */
  float per_unit;       /* units of the output in one of the input */
};

/* in and out [pixels][channels], not the same */
static void lrn(const struct lrn *l, const int8_t *in, int8_t *out) {
  for (int p = 0; p < l->pixels; p++, in += l->channels, out += l->channels)
    for (int channel = 0; channel < l->channels; channel++) {
      const int first = channel - l->size / 2, last = channel + l->size / 2;
      int32_t sum = 0; /* exact: of at most 65,025 a channel */
      for (int i = first < 0 ? 0 : first; i <= last && i < l->channels; i++)
        sum += (in[i] - l->in_zero) * (in[i] - l->in_zero);
      const float own = (float)(in[channel] - l->in_zero) * l->per_unit;
      out[channel] = nearest(own * lrn_power(l->k + l->alpha * (float)sum, l->beta), l->out_zero);
    }
}

#endif
