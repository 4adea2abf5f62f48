/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_sigmoid: 1 / (1 + exp(−x)).
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_SIGMOID_H
#define EX_EXPORT_KERNELS_FLOAT_SIGMOID_H

#include "export/kernels/kernel_exponential.h"

static void sigmoid(const float *in, float *out, int n) {
  for (int i = 0; i < n; i++) {
    const float small = exponential(in[i] < 0 ? in[i] : -in[i]);
    out[i] = (in[i] < 0 ? small : 1) / (1 + small);
  }
}

#endif
