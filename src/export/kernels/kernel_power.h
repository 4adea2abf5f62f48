/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/kernel_power: what local response normalisation divides by.
 */
#ifndef EX_EXPORT_KERNELS_KERNEL_POWER_H
#define EX_EXPORT_KERNELS_KERNEL_POWER_H

#include "export/kernels/kernel_logarithm.h"

/* base^−beta, base > 0 */
static float lrn_power(float base, float beta) {
  const float exponent = -beta * logarithm(base);
  return exponent > 0 ? 1 / exponential(-exponent) : exponential(exponent);
}

#endif
