/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_input_reals: normalised and brought to 8 bits.
 */
#ifndef EX_EXPORT_KERNELS_INT8_INPUT_REALS_H
#define EX_EXPORT_KERNELS_INT8_INPUT_REALS_H

/* To the nearest integer from −128 to 127; what is not a number becomes −128. */
static int8_t to_int8(float value) {
  if (!(value > -128)) return -128;
  if (value > 127) return 127;
  return (int8_t)(value < 0 ? value - 0.5f : value + 0.5f);
}

/* input [channels][pixels] to out [pixels][channels]; each channel has its own mean and
 * factor where step is 1, all have the first where it is 0. */
static void normalise(const input_type *input, int channels, int pixels, int step, int8_t *out) {
  for (int c = 0; c < channels; c++)
    for (int p = 0; p < pixels; p++)
      out[p * channels + c] =
          to_int8((*input++ - means[c * step]) * factors[c * step] / input_unit + input_zero);
}

#endif
