/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_margin: the decision of policy/policy_margin.c.
 */
#ifndef EX_EXPORT_KERNELS_RULE_MARGIN_H
#define EX_EXPORT_KERNELS_RULE_MARGIN_H

#include "export/kernels/answer.h"

/* Rule margin: leave where the largest probability is ahead of the next by the threshold. */
struct memory {
  int none;
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  const float lead = (1 - exponential(seen->second - seen->most)) / seen->sum;
  (void)memory;
  return lead >= thresholds[exit] ? exit : GO_ON;
}

#endif
