/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_relu: what is below zero becomes zero.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_RELU_H
#define EX_EXPORT_KERNELS_FLOAT_RELU_H

static void relu(const float *in, float *out, int n) {
  for (int i = 0; i < n; i++) out[i] = in[i] < 0 ? 0 : in[i];
}

#endif
