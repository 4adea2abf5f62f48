/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_eenet: the decision of policy/policy_eenet.c.
 */
#ifndef EX_EXPORT_KERNELS_RULE_EENET_H
#define EX_EXPORT_KERNELS_RULE_EENET_H

#include "export/kernels/kernel_entropy.h"
#include "export/kernels/kernel_largest.h"
#include "export/kernels/kernel_logistic.h"

/* Rule eenet: leave where a learned score reaches the threshold. It is made of the
 * probabilities of all classes and the largest of them (TOP = 0), or of the TOP largest;
 * of the entropy; and of the scores of the exits before. */
struct memory {
  float score[EXITS];
};

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  const float *weight = scores[exit];
  float sum = *weight++;
  if (TOP > 0) {
    float most[TOP > 0 ? TOP : 1];
    largest(seen->z, OUTPUTS, TOP, most);
    for (int i = 0; i < TOP; i++) sum += *weight++ * exponential(most[i] - seen->most) / seen->sum;
  } else {
    for (int i = 0; i < OUTPUTS; i++)
      sum += *weight++ * exponential(seen->z[i] - seen->most) / seen->sum;
    sum += *weight++ / seen->sum;
  }
  sum += *weight++ * (1 - entropy_of(seen) * per_nat);
  for (int i = 0; i < exit && i < PAST; i++) sum += *weight++ * memory->score[i];
  memory->score[exit] = logistic(sum);
  return memory->score[exit] >= thresholds[exit] ? exit : GO_ON;
}

#endif
