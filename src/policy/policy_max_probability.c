/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_max_probability: leave where the largest probability is large.
 *
 * The rule of SDN (Kaya, Hong, Dumitras; ICML 2019) and MSDNet (Huang et al.,
 * ICLR 2018): leave at exit k when max softmax(z_k) ≥ the threshold. SDN has
 * one threshold for all exits, MSDNet one per exit; a list of one number is
 * the former.
 *
 * `fallback` is SDN's: where no exit fired, the most confident output of all
 * exits answers (ties: the earliest), the last one included. It costs the
 * whole depth with every head, so no exit can be skipped under it.
 */
#include "policy/policy_threshold.h"

struct max_probability {
  struct ex_list thresholds;
  int32_t fallback;
};

struct best { /* scratch: the most confident output so far; 0 probability: none */
  double probability;
  int32_t point;
};

static const double off = 2; /* a probability is at most 1 */

static const struct ex_param params[] = {
    {"thresholds", EX_PARAM_LIST, offsetof(struct max_probability, thresholds), 0, 2, "", NULL,
     "Leave at or above this probability, per exit but the last; one number for all; none: nobody "
     "leaves early; above 1: exit off."},
    {"fallback", EX_PARAM_BOOL, offsetof(struct max_probability, fallback), 0, 1, "false", NULL,
     "Where no exit fired, answer with the most confident output of all exits (SDN)."},
    {.name = NULL},
};

static double score(const void *values, const struct ex_observation *seen) {
  (void)values;
  return seen->answer.max_probability;
}

static double leave_at(double score) { return score; }

static bool skips(const void *values, int32_t point, int32_t n_points) {
  const struct max_probability *rule = values;
  (void)n_points;
  return !rule->fallback && ex__threshold_at(&rule->thresholds, point, off) > 1;
}

static enum ex_status check(const void *values, int32_t n_points, int32_t n_outputs,
                            struct ex_error *err) {
  const struct max_probability *rule = values;
  (void)n_outputs;
  return ex__threshold_check("max-probability", &rule->thresholds, n_points, err);
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct max_probability *rule = values;
  struct best *best = scratch;
  if (seen->answer.max_probability > best->probability)
    *best = (struct best){seen->answer.max_probability, seen->point};
  if (rule->fallback && seen->point >= env->max_point)
    return (struct ex_decision){EX_LEAVE, best->point};
  bool leave =
      seen->point < seen->n_points - 1 &&
      seen->answer.max_probability >= ex__threshold_at(&rule->thresholds, seen->point, off);
  return (struct ex_decision){leave ? EX_LEAVE : EX_GO_ON, seen->point};
}

extern const struct ex_policy_class ex__policy_max_probability;
const struct ex_policy_class ex__policy_max_probability = {
    .name = "max-probability",
    .cite = "SDN (Kaya et al., ICML 2019), MSDNet (Huang et al., ICLR 2018)",
    .summary = "Leaves where the largest probability reaches the exit's threshold.",
    .params = params,
    .size = sizeof(struct max_probability),
    .scratch_size = sizeof(struct best),
    .score = score,
    .leave_at = leave_at,
    .threshold_offset = offsetof(struct max_probability, thresholds),
    .threshold_off = 2,
    .skips = skips,
    .check = check,
    .decide = decide,
};
