/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_scale: a batch-norm that no other layer took in.
 */
#ifndef EX_EXPORT_KERNELS_INT8_SCALE_H
#define EX_EXPORT_KERNELS_INT8_SCALE_H

#include "export/kernels/int8_requantise.h"

struct scale {
  int pixels, channels, in_zero, out_zero, low; /* low: the least output */
  const int32_t *factor; /* [channels]: units of the input over that of the output, · 2^shift */
  const int32_t *offset; /* [channels]: in units of the output, · 2^shift / 256 */
  const uint8_t *shift;  /* [channels] */
};

/* in and out [pixels][channels], may be the same */
static void scale(const struct scale *s, const int8_t *in, int8_t *out) {
  for (int p = 0; p < s->pixels; p++)
    for (int channel = 0; channel < s->channels; channel++) {
      const int64_t sum =
          (int64_t)(*in++ - s->in_zero) * s->factor[channel] + (int64_t)s->offset[channel] * 256;
      *out++ = clamped(s->out_zero + shifted(sum, s->shift[channel]), s->low);
    }
}

#endif
