/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_fallback: the decision of policy/policy_max_probability.c with its
 * fallback. It is asked at the last exit too.
 */
#ifndef EX_EXPORT_KERNELS_RULE_FALLBACK_H
#define EX_EXPORT_KERNELS_RULE_FALLBACK_H

#include "export/kernels/answer.h"

/* Rule max-probability with fallback: leave where the largest probability reaches the
 * threshold; where none does, with the surest answer of all, the earliest of equals. */
struct memory {
  int exit;
  float probability;
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  const float probability = 1 / seen->sum;
  if (probability > memory->probability) {
    memory->probability = probability;
    memory->exit = exit;
  }
  if (exit == EXITS - 1) return memory->exit;
  return probability >= thresholds[exit] ? exit : GO_ON;
}

#endif
