/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_oracle: leave at the first exit that is right, else at the
 * last. It reads the true class, so it is no rule to deploy but a bound: no
 * rule that chooses among the exits' answers is right more often (SDN's
 * cumulative accuracy).
 */
#include "policy/policy.h"

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  (void)values, (void)scratch;
  bool right = env->target >= 0 && seen->answer.label == env->target;
  return (struct ex_decision){right ? EX_LEAVE : EX_GO_ON, seen->point};
}

extern const struct ex_policy_class ex__policy_oracle;
const struct ex_policy_class ex__policy_oracle = {
    .name = "oracle",
    .cite = "SDN (Kaya et al., ICML 2019), overthinking",
    .summary = "Leaves at the first correct exit, else at the last: a bound, on labelled traces "
               "only.",
    .needs = EX_POLICY_NEEDS_TARGET,
    .decide = decide,
};
