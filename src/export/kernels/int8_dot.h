/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_dot: sums of products of 8-bit numbers.
 */
#ifndef EX_EXPORT_KERNELS_INT8_DOT_H
#define EX_EXPORT_KERNELS_INT8_DOT_H

#include <stdint.h>

/* sum + Σ (a[i] − zero) · b[i] */
static int32_t dot(const int8_t *a, int zero, const int8_t *b, int n, int32_t sum) {
  for (int i = 0; i < n; i++) sum += (a[i] - zero) * b[i];
  return sum;
}

#endif
