/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_input_bytes: normalised and brought to 8 bits, by a table.
 */
#ifndef EX_EXPORT_KERNELS_INT8_INPUT_BYTES_H
#define EX_EXPORT_KERNELS_INT8_INPUT_BYTES_H

/* input [channels][pixels] to out [pixels][channels]; each channel has its own table
 * where step is 1, all have the first where it is 0. */
static void normalise(const input_type *input, int channels, int pixels, int step, int8_t *out) {
  for (int c = 0; c < channels; c++)
    for (int p = 0; p < pixels; p++) out[p * channels + c] = levels[c * step][*input++];
}

#endif
