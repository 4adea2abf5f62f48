/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_lte: the decision of policy/policy_lte.c.
 */
#ifndef EX_EXPORT_KERNELS_RULE_LTE_H
#define EX_EXPORT_KERNELS_RULE_LTE_H

#include "export/kernels/kernel_confidences.h"

/* Rule lte: leave where one learned layer, the same for all exits, holds a wrong answer
 * unlikely enough; both as log-odds. */
struct memory {
  int none;
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  float x[TOP + 1], sum = weights[0];
  (void)memory;
  confidences(seen, x);
  for (int i = 0; i < TOP + 1; i++) sum += weights[i + 1] * x[i];
  return sum < bound ? exit : GO_ON;
}

#endif
