/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_input: normalisation, as data/preprocess.c.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_INPUT_H
#define EX_EXPORT_KERNELS_FLOAT_INPUT_H

/* input [channels][pixels] to out [pixels][channels]; each channel has its own mean and
 * factor where step is 1, all have the first where it is 0. */
static void normalise(const input_type *input, int channels, int pixels, int step, float *out) {
  for (int c = 0; c < channels; c++)
    for (int p = 0; p < pixels; p++)
      out[p * channels + c] = ((float)*input++ / divisor - means[c * step]) * factors[c * step];
}

#endif
