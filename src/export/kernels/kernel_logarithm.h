/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/kernel_logarithm: the natural logarithm in float, as
 * kernel_exponential: m in [√½, √2) and 2 artanh((m − 1) / (m + 1)) by its series.
 */
#ifndef EX_EXPORT_KERNELS_KERNEL_LOGARITHM_H
#define EX_EXPORT_KERNELS_KERNEL_LOGARITHM_H

#include "export/kernels/kernel_exponential.h"

/* ln x to 3e-7, x > 0. */
static float logarithm(float x) {
  union float_bits part = {x < 0x1p-126f ? x * 0x1p24f : x};
  int k = (int)(part.bits >> 23) - (x < 0x1p-126f ? 127 + 24 : 127);
  part.bits = (part.bits & 0x7fffff) | 0x3f800000; /* [1, 2) */
  if (part.value > 0x1.6a09e6p+0f) {
    part.value *= 0.5f;
    k++;
  }
  const float t = (part.value - 1) / (part.value + 1), s = t * t;
  const float series = s * (1.0f / 3 + s * (1.0f / 5 + s * (1.0f / 7 + s * (1.0f / 9))));
  return (float)k * 0x1.62e43p-1f + 2 * (t + t * series);
}

#endif
