/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/kernel_exponential: exp in float, of additions and
 * multiplications alone, so that every processor gives the same bits: 2^k · exp(r)
 * with |r| ≤ ln 2 / 2, by the Taylor polynomial of degree 7; ln 2 in two parts
 * (Cody and Waite) keeps r exact.
 */
#ifndef EX_EXPORT_KERNELS_KERNEL_EXPONENTIAL_H
#define EX_EXPORT_KERNELS_KERNEL_EXPONENTIAL_H

#include <stdint.h>

union float_bits {
  float value;
  uint32_t bits;
};

/* exp(x), x ≤ 0, to 3e-7 of its value; 0 below −87. No library function: its bits are
 * the same on every processor. */
static float exponential(float x) {
  if (x < -87) return 0;
  const int k = (int)(x * 0x1.715476p+0f - 0.5f); /* the nearest to x / ln 2; never above 0 */
  const float r = (x - (float)k * 0x1.62ep-1f) - (float)k * 0x1.0bfbe8p-15f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1;
  p = p * r + 1;
  union float_bits power = {.bits = (uint32_t)(k + 127) << 23};
  return p * power.value;
}

#endif
