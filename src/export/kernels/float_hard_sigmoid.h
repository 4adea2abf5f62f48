/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_hard_sigmoid: graph/op_function.c, hard-sigmoid.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_HARD_SIGMOID_H
#define EX_EXPORT_KERNELS_FLOAT_HARD_SIGMOID_H

/* a · x + b, within 0 and 1. */
static void hard_sigmoid(const float *in, float *out, int n, float a, float b) {
  for (int i = 0; i < n; i++) {
    const float y = a * in[i] + b;
    out[i] = y < 0 ? 0 : y > 1 ? 1 : y;
  }
}

#endif
