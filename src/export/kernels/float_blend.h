/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_blend: a weighted mean of two values.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_BLEND_H
#define EX_EXPORT_KERNELS_FLOAT_BLEND_H

/* out may be a or b */
static void blend(float share, const float *a, const float *b, float *out, int n) {
  for (int i = 0; i < n; i++) out[i] = share * a[i] + (1 - share) * b[i];
}

#endif
