/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_elu: graph/op_function.c, elu.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_ELU_H
#define EX_EXPORT_KERNELS_FLOAT_ELU_H

#include "export/kernels/kernel_exponential.h"

/* x, or a · (exp(x) − 1) below zero. */
static void elu(const float *in, float *out, int n, float a, float b) {
  (void)b;
  for (int i = 0; i < n; i++) out[i] = in[i] > 0 ? in[i] : a * (exponential(in[i]) - 1);
}

#endif
