/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_copy: part of the channels of each pixel, for slice.
 */
#ifndef EX_EXPORT_KERNELS_INT8_COPY_H
#define EX_EXPORT_KERNELS_INT8_COPY_H

#include <stdint.h>

/* n channels of each pixel; a pixel has in_channels in `in` and out_channels in `out` */
static void copy_channels(const int8_t *in, int in_channels, int8_t *out, int out_channels, int n,
                          int pixels) {
  for (int p = 0; p < pixels; p++)
    for (int i = 0; i < n; i++) out[p * out_channels + i] = in[p * in_channels + i];
}

#endif
