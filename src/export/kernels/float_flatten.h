/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_flatten: from channels last to channels first.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_FLATTEN_H
#define EX_EXPORT_KERNELS_FLOAT_FLATTEN_H

/* in [pixels][channels] to out [channels][pixels] */
static void flatten(const float *in, float *out, int pixels, int channels) {
  for (int channel = 0; channel < channels; channel++)
    for (int p = 0; p < pixels; p++) *out++ = in[p * channels + channel];
}

#endif
