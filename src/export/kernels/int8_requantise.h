/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_requantise: from sums of products to 8 bits.
 */
#ifndef EX_EXPORT_KERNELS_INT8_REQUANTISE_H
#define EX_EXPORT_KERNELS_INT8_REQUANTISE_H

#include <stdint.h>

/* value / 2^shift to the nearest integer, halves upwards; |value| < 2^62, 1 ≤ shift ≤ 62.
 * 2^62 is added meanwhile, so that nothing negative is shifted, which C leaves open. */
static int32_t shifted(int64_t value, int shift) {
  const uint64_t up = (uint64_t)1 << 62, half = (uint64_t)1 << (shift - 1);
  return (int32_t)((int64_t)(((uint64_t)value + up + half) >> shift) - (int64_t)(up >> shift));
}

/* sum · multiplier / 2^shift, so rounded: what one unit of the sum is in units of the
 * output. */
static int32_t requantise(int32_t sum, int32_t multiplier, int shift) {
  return shifted((int64_t)sum * multiplier, shift);
}

static int8_t clamped(int32_t value, int low) {
  return (int8_t)(value < low ? low : value > 127 ? 127 : value);
}

#endif
