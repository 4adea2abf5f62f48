/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/kernel_logistic: 1 / (1 + exp(−x)).
 */
#ifndef EX_EXPORT_KERNELS_KERNEL_LOGISTIC_H
#define EX_EXPORT_KERNELS_KERNEL_LOGISTIC_H

#include "export/kernels/kernel_exponential.h"

static float logistic(float x) {
  const float small = exponential(x < 0 ? x : -x);
  return (x < 0 ? small : 1) / (1 + small);
}

#endif
