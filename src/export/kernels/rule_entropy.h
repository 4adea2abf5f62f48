/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_entropy: the decision of policy/policy_entropy.c.
 */
#ifndef EX_EXPORT_KERNELS_RULE_ENTROPY_H
#define EX_EXPORT_KERNELS_RULE_ENTROPY_H

#include "export/kernels/kernel_entropy.h"

/* Rule entropy: leave where the entropy of the probabilities, in nats, lies below the
 * threshold. */
struct memory {
  int none;
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  (void)memory;
  return entropy_of(seen) < thresholds[exit] ? exit : GO_ON;
}

#endif
