/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_dot: sums of products. One sum, in order: the result does
 * not depend on the compiler, as long as it contracts and reorders nothing.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_DOT_H
#define EX_EXPORT_KERNELS_FLOAT_DOT_H

/* sum + Σ a[i] · b[i], in order */
static float dot(const float *a, const float *b, int n, float sum) {
  for (int i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

#endif
