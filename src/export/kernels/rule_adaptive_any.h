/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_adaptive_any: the decision of policy/policy_adaptive.c, to any later exit.
 */
#ifndef EX_EXPORT_KERNELS_RULE_ADAPTIVE_ANY_H
#define EX_EXPORT_KERNELS_RULE_ADAPTIVE_ANY_H

#include "export/kernels/kernel_confidences.h"

/* Rule adaptive among whole networks: a chain of gates says to leave, or to go to the next
 * exit, or to the one after, and so on. Besides confidences they read how sure the exit
 * before was, if it said the same, and if it did not. */
struct memory {
  int begun, label;
  float probability;
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  const int same = memory->label == seen->label;
  float x[TOP + 3];
  int option = 0;
  confidences(seen, x);
  x[TOP + 1] = memory->begun && same ? memory->probability : 0;
  x[TOP + 2] = memory->begun && !same ? memory->probability : 0;
  for (; option < EXITS - 1 - exit; option++) {
    const float *gate = gates_of[first_gate[exit] + option];
    float sum = 0;
    for (int i = 0; i < TOP + 3; i++) sum += gate[i + 1] * x[i];
    if (sum >= gate[0]) break;
  }
  memory->begun = 1;
  memory->label = seen->label;
  memory->probability = 1 / seen->sum;
  return exit + option;
}

#endif
