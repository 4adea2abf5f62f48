/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_margin: leave where the first answer is well ahead of the second.
 *
 * The gap between the two largest probabilities: CALM's "softmax response"
 * (Schuster et al., NeurIPS 2022), here per sample and with a threshold per
 * exit; leave when the margin is ≥ the threshold. CALM's decay over tokens
 * belongs to decoders and is not part of this rule.
 */
#include "policy/policy_threshold.h"

struct margin {
  struct ex_list thresholds;
};

static const double off = 2; /* a margin is at most 1 */

static const struct ex_param params[] = {
    {"thresholds", EX_PARAM_LIST, offsetof(struct margin, thresholds), 0, 2, "", NULL,
     "Leave at or above this margin, per exit but the last; one number for all; none: nobody "
     "leaves early; above 1: exit off."},
    {.name = NULL},
};

static double score(const void *values, const struct ex_observation *seen) {
  (void)values;
  return seen->answer.margin;
}

static double leave_at(double score) { return score; }

static bool skips(const void *values, int32_t point, int32_t n_points) {
  const struct margin *rule = values;
  (void)n_points;
  return ex__threshold_at(&rule->thresholds, point, off) > 1;
}

static enum ex_status check(const void *values, int32_t n_points, int32_t n_outputs,
                            struct ex_error *err) {
  const struct margin *rule = values;
  (void)n_outputs;
  return ex__threshold_check("margin", &rule->thresholds, n_points, err);
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct margin *rule = values;
  (void)scratch, (void)env;
  bool leave = seen->point < seen->n_points - 1 &&
               seen->answer.margin >= ex__threshold_at(&rule->thresholds, seen->point, off);
  return (struct ex_decision){leave ? EX_LEAVE : EX_GO_ON, seen->point};
}

extern const struct ex_policy_class ex__policy_margin;
const struct ex_policy_class ex__policy_margin = {
    .name = "margin",
    .cite = "CALM (Schuster et al., NeurIPS 2022)",
    .summary = "Leaves where the largest probability is ahead of the second by the exit's "
               "threshold.",
    .params = params,
    .size = sizeof(struct margin),
    .score = score,
    .leave_at = leave_at,
    .threshold_offset = offsetof(struct margin, thresholds),
    .threshold_off = 2,
    .skips = skips,
    .check = check,
    .decide = decide,
};
