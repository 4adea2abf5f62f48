/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_predictive_learned: the decision of policy/policy_predictive.c, where a
 * regression predicts.
 */
#ifndef EX_EXPORT_KERNELS_RULE_PREDICTIVE_LEARNED_H
#define EX_EXPORT_KERNELS_RULE_PREDICTIVE_LEARNED_H

#include "export/kernels/kernel_entropy.h"

/* Rule predictive, learned: leave where the exit is sure enough, by its largest output or
 * its largest probability; else go to the first exit that a regression says will be. */
struct memory {
  int none;
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  const int rest = EXITS - 1 - exit, limit = rest < FURTHEST ? rest : FURTHEST;
  const float probability = 1 / seen->sum, entropy = entropy_of(seen);
  const float lead = (1 - exponential(seen->second - seen->most)) / seen->sum;
  float own = BY_PROBABILITY ? probability : 0;
  (void)memory;
  for (int i = 0; !BY_PROBABILITY && i < OUTPUTS; i++) {
    const float size = seen->z[i] < 0 ? -seen->z[i] : seen->z[i];
    if (size > own) own = size;
  }
  if (own >= leaves_at[exit]) return exit;
  for (int i = 1; i < limit; i++) {
    const float *c = regressions[exit][i - 1];
    if (c[0] + c[1] * probability + c[2] * lead + c[3] * entropy >= wanted) return exit + i;
  }
  return exit + limit;
}

#endif
