/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/rule_predictive: the decision of policy/policy_predictive.c, where sums of
 * neighbouring outputs predict.
 */
#ifndef EX_EXPORT_KERNELS_RULE_PREDICTIVE_H
#define EX_EXPORT_KERNELS_RULE_PREDICTIVE_H

#include "export/kernels/answer.h"

/* Rule predictive: leave where the largest output, by its modulus, reaches the threshold;
 * else go on by as many exits as rounds are needed, of adding to each output its two
 * neighbours, until the largest lies above that exit's. */
struct memory {
  int none;
};

static float modulus(float x) { return x < 0 ? -x : x; }

/* most[r]: the largest modulus after round r. All rounds go over the outputs together, each
 * one output behind the round before it. */
static void add_neighbours(const float *z, int rounds, float *most) {
  float before[FURTHEST] = {0}, here[FURTHEST] = {0};
  for (int i = 0; i < OUTPUTS + rounds; i++) {
    float next = i < OUTPUTS ? z[i] : 0;
    for (int r = 0; r < rounds; r++) {
      const float sum = before[r] + here[r] + next;
      before[r] = here[r];
      here[r] = next;
      next = i > r && i - r - 1 < OUTPUTS ? sum : 0;
      if (modulus(next) > most[r]) most[r] = modulus(next);
    }
  }
}

static int decide(struct memory *memory, int exit, const struct answer *seen) {
  const int rest = EXITS - 1 - exit, limit = rest < FURTHEST ? rest : FURTHEST;
  float most[FURTHEST] = {0}, own = 0;
  (void)memory;
  for (int i = 0; i < OUTPUTS; i++)
    if (modulus(seen->z[i]) > own) own = modulus(seen->z[i]);
  if (own >= leaves_at[exit]) return exit;
  add_neighbours(seen->z, limit - 1, most);
  for (int i = 1; i < limit; i++)
    if (most[i - 1] > jumps_above[exit + i]) return exit + i;
  return exit + limit;
}

#endif
