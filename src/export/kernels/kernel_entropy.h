/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/kernel_entropy: the entropy of an exit's probabilities.
 */
#ifndef EX_EXPORT_KERNELS_KERNEL_ENTROPY_H
#define EX_EXPORT_KERNELS_KERNEL_ENTROPY_H

#include "export/kernels/answer.h"
#include "export/kernels/kernel_logarithm.h"

/* In nats. */
static float entropy_of(const struct answer *seen) {
  return logarithm(seen->sum) - seen->weighted / seen->sum;
}

#endif
