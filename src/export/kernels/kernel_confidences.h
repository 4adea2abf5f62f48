/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/kernel_confidences: what rules that learn read of an exit's
 * probabilities, as policy/confidences.c.
 */
#ifndef EX_EXPORT_KERNELS_KERNEL_CONFIDENCES_H
#define EX_EXPORT_KERNELS_KERNEL_CONFIDENCES_H

#include "export/kernels/kernel_entropy.h"
#include "export/kernels/kernel_largest.h"

/* x [TOP + 1]: the largest probability, its lead over the next, the entropy, and the
 * third to the TOP-th largest probability. */
static void confidences(const struct answer *seen, float *x) {
  float most[TOP];
  largest(seen->z, OUTPUTS, TOP, most);
  x[0] = 1 / seen->sum;
  x[1] = (1 - exponential(seen->second - seen->most)) / seen->sum;
  x[2] = entropy_of(seen);
  for (int i = 2; i < TOP; i++) x[i + 1] = exponential(most[i] - seen->most) / seen->sum;
}

#endif
