/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_leaky_relu: graph/op_function.c, leaky-relu.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_LEAKY_RELU_H
#define EX_EXPORT_KERNELS_FLOAT_LEAKY_RELU_H

/* x, or a · x below zero. */
static void leaky_relu(const float *in, float *out, int n, float a, float b) {
  (void)b;
  for (int i = 0; i < n; i++) out[i] = in[i] < 0 ? a * in[i] : in[i];
}

#endif
