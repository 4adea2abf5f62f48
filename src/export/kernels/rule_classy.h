/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_classy: the decision of policy/policy_classy.c, without the classes of
 * a request.
 */
#ifndef EX_EXPORT_KERNELS_RULE_CLASSY_H
#define EX_EXPORT_KERNELS_RULE_CLASSY_H

#include "export/kernels/answer.h"

/* Rule classy: leave with an answer that is of interest and reaches the threshold of its
 * class at this exit; or, refused, where all of interest together is improbable. */
struct memory {
  int none;
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  float mass = 0;
  (void)memory;
  for (int i = 0; i < COLUMNS; i++) {
    if (classes[i] == seen->label) return 1 / seen->sum >= leaves_at[exit][i] ? exit : GO_ON;
    mass += exponential(seen->z[classes[i]] - seen->most) / seen->sum;
  }
  return mass < refuses_below[exit] ? exit : GO_ON;
}

#endif
