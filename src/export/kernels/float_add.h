/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_add: the sum of two values.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_ADD_H
#define EX_EXPORT_KERNELS_FLOAT_ADD_H

/* out may be a or b */
static void add(const float *a, const float *b, float *out, int n, int relu) {
  for (int i = 0; i < n; i++) {
    const float sum = a[i] + b[i];
    out[i] = relu && sum < 0 ? 0 : sum;
  }
}

#endif
