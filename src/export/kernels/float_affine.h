/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_affine: graph/op_function.c, affine.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_AFFINE_H
#define EX_EXPORT_KERNELS_FLOAT_AFFINE_H

/* a · x + b */
static void affine(const float *in, float *out, int n, float a, float b) {
  for (int i = 0; i < n; i++) out[i] = a * in[i] + b;
}

#endif
