/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_hyperbolic: graph/op_function.c, tanh.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_HYPERBOLIC_H
#define EX_EXPORT_KERNELS_FLOAT_HYPERBOLIC_H

#include "export/kernels/kernel_logistic.h"

/* tanh(x) = 2 / (1 + exp(−2x)) − 1 */
static void hyperbolic(const float *in, float *out, int n, float a, float b) {
  (void)a, (void)b;
  for (int i = 0; i < n; i++) out[i] = 2 * logistic(2 * in[i]) - 1;
}

#endif
