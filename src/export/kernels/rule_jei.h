/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_jei: the decision of policy/policy_jei.c.
 */
#ifndef EX_EXPORT_KERNELS_RULE_JEI_H
#define EX_EXPORT_KERNELS_RULE_JEI_H

#include "export/kernels/answer.h"
#include "export/kernels/kernel_logistic.h"

/* Rule jei: leave where the chance of leaving here, once this exit was reached, is high
 * enough; the exit's gate is the chance of leaving here among all. */
struct memory {
  float left; /* chance of having left before */
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  const float here = 1 - memory->left;
  if (seen->gate != seen->gate) return GO_ON; /* not a number */
  const float gate = logistic(seen->gate), capped = gate < here ? gate : here;
  const float leaves = capped > 0 ? capped : 0;
  const float hazard = here > 0 ? leaves / here : 1;
  memory->left += leaves;
  return hazard >= threshold ? exit : GO_ON;
}

#endif
