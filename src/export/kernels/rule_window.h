/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_window: the decision of policy/policy_window.c.
 */
#ifndef EX_EXPORT_KERNELS_RULE_WINDOW_H
#define EX_EXPORT_KERNELS_RULE_WINDOW_H

#include "export/kernels/answer.h"

/* Rule window: leave where the confidence is clearly below or clearly above the boundary
 * between what will be refused and what will be accepted. */
struct memory {
  int none;
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  const float probability = 1 / seen->sum;
  (void)memory;
  return probability < windows[exit].low || probability > windows[exit].high ? exit : GO_ON;
}

#endif
