/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_relu: what is below zero becomes zero.
 */
#ifndef EX_EXPORT_KERNELS_INT8_RELU_H
#define EX_EXPORT_KERNELS_INT8_RELU_H

#include <stdint.h>

static void relu(const int8_t *in, int8_t *out, int n, int zero) {
  for (int i = 0; i < n; i++) out[i] = (int8_t)(in[i] < zero ? zero : in[i]);
}

#endif
