/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_nearest: from float to 8 bits, where a layer computes in float.
 */
#ifndef EX_EXPORT_KERNELS_INT8_NEAREST_H
#define EX_EXPORT_KERNELS_INT8_NEAREST_H

#include <stdint.h>

/* zero + units to the nearest, halves away from zero, within [−128, 127]. */
static int8_t nearest(float units, int zero) {
  const float value = units + (float)zero;
  if (!(value > -128)) return -128;
  if (value > 127) return 127;
  return (int8_t)(value < 0 ? value - 0.5f : value + 0.5f);
}

#endif
