/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_pcee: the decision of policy/policy_pcee.c.
 */
#ifndef EX_EXPORT_KERNELS_RULE_PCEE_H
#define EX_EXPORT_KERNELS_RULE_PCEE_H

#include "export/kernels/answer.h"

/* Rule pcee: leave where samples of like confidence were right often enough. */
struct memory {
  int none;
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  int band = BANDS - 1;
  (void)memory;
  while (band > 0 && bands[exit][band].from > 1 / seen->sum) band--;
  return bands[exit][band].leaves ? exit : GO_ON;
}

#endif
