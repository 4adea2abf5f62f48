/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_scale: a batch-norm that no other layer took in.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_SCALE_H
#define EX_EXPORT_KERNELS_FLOAT_SCALE_H

struct scale {
  int pixels, channels, relu;
  const float *factor, *shift; /* [channels] */
};

/* in and out [pixels][channels], may be the same */
static void scale(const struct scale *s, const float *in, float *out) {
  for (int p = 0; p < s->pixels; p++)
    for (int channel = 0; channel < s->channels; channel++) {
      const float value = *in++ * s->factor[channel] + s->shift[channel];
      *out++ = s->relu && value < 0 ? 0 : value;
    }
}

#endif
