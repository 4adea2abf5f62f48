/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_adaptive: the decision of policy/policy_adaptive.c, at the next exit.
 */
#ifndef EX_EXPORT_KERNELS_RULE_ADAPTIVE_H
#define EX_EXPORT_KERNELS_RULE_ADAPTIVE_H

#include "export/kernels/kernel_confidences.h"

/* Rule adaptive: leave where the exit's gate, a weighted sum of confidences, says that going
 * on is not worth its price. */
struct memory {
  int none;
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  float x[TOP + 1], sum = 0;
  (void)memory;
  confidences(seen, x);
  for (int i = 0; i < TOP + 1; i++) sum += gates_of[exit][i + 1] * x[i];
  return sum >= gates_of[exit][0] ? exit : GO_ON;
}

#endif
