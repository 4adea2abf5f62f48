/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_flatten: from channels last to channels first.
 */
#ifndef EX_EXPORT_KERNELS_INT8_FLATTEN_H
#define EX_EXPORT_KERNELS_INT8_FLATTEN_H

#include <stdint.h>

/* in [pixels][channels] to out [channels][pixels] */
static void flatten(const int8_t *in, int8_t *out, int pixels, int channels) {
  for (int channel = 0; channel < channels; channel++)
    for (int p = 0; p < pixels; p++) *out++ = in[p * channels + channel];
}

#endif
