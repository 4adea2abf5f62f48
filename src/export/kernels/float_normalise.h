/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_normalise: graph/op_normalise.c: pre-processing within a network,
 * in the arithmetic of float_input.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_NORMALISE_H
#define EX_EXPORT_KERNELS_FLOAT_NORMALISE_H

struct standardise {
  int pixels, channels, per_channel; /* else one mean and factor for all */
  float divisor;
  const float *mean, *factor; /* [channels] or [1] */
};

static void standardise(const struct standardise *l, const float *in, float *out) {
  for (int p = 0; p < l->pixels; p++)
    for (int c = 0; c < l->channels; c++, in++, out++) {
      const int which = l->per_channel ? c : 0;
      *out = (*in / l->divisor - l->mean[which]) * l->factor[which];
    }
}

#endif
