/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_patience: the decision of policy/policy_patience.c.
 */
#ifndef EX_EXPORT_KERNELS_RULE_PATIENCE_H
#define EX_EXPORT_KERNELS_RULE_PATIENCE_H

#include "export/kernels/answer.h"

/* Rule patience: leave when PATIENCE exits in a row have each said what the one before
 * them said. */
struct memory {
  int begun, label, equal;
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  memory->equal = memory->begun && memory->label == seen->label ? memory->equal + 1 : 0;
  memory->label = seen->label;
  memory->begun = 1;
  return memory->equal >= PATIENCE ? exit : GO_ON;
}

#endif
