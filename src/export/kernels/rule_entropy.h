/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_entropy: the decision of policy/policy_entropy.c.
 */
#ifndef EX_EXPORT_KERNELS_RULE_ENTROPY_H
#define EX_EXPORT_KERNELS_RULE_ENTROPY_H

#include "export/kernels/answer.h"
#include "export/kernels/kernel_logarithm.h"

/* Rule entropy: leave where the entropy of the probabilities, in nats, lies below the
 * threshold. */
struct memory {
  int none;
};

static int leaves(struct memory *memory, int exit, const struct answer *seen) {
  (void)memory;
  return logarithm(seen->sum) - seen->weighted / seen->sum < thresholds[exit];
}

#endif
