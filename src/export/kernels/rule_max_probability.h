/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_max_probability: the decision of policy/policy_max_probability.c, and of
 * policy/policy_latency_aware.c.
 */
#ifndef EX_EXPORT_KERNELS_RULE_MAX_PROBABILITY_H
#define EX_EXPORT_KERNELS_RULE_MAX_PROBABILITY_H

#include "export/kernels/answer.h"

/* Rules max-probability and latency-aware: leave where the largest probability reaches the
 * threshold. */
struct memory {
  int none;
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  (void)memory;
  return 1 / seen->sum >= thresholds[exit] ? exit : GO_ON;
}

#endif
