/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_sigmoid: 1 / (1 + exp(−x)) of each number.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_SIGMOID_H
#define EX_EXPORT_KERNELS_FLOAT_SIGMOID_H

#include "export/kernels/kernel_logistic.h"

static void sigmoid(const float *in, float *out, int n) {
  for (int i = 0; i < n; i++) out[i] = logistic(in[i]);
}

#endif
