/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_entropy: leave where the output is not surprised by itself.
 *
 * BranchyNet (Teerapittayanon, McDanel, Kung; ICPR 2016), section III-C: leave
 * at exit n when e = −Σ p_c ln p_c < T_n. Nats, and strictly below, so T = 0
 * switches an exit off and T > ln C lets everybody leave there. The authors
 * screen a grid of thresholds per exit; fitting is calibrate's matter here.
 */
#include <math.h>

#include "policy/policy_threshold.h"

struct entropy {
  struct ex_list thresholds;
};

static const struct ex_param params[] = {
    {"thresholds", EX_PARAM_LIST, offsetof(struct entropy, thresholds), 0, 64, "", NULL,
     "Leave below this entropy in nats, per exit but the last; one number for all; none: nobody "
     "leaves early; 0: exit off."},
    {.name = NULL},
};

static double score(const void *values, const struct ex_observation *seen) {
  (void)values;
  return -seen->answer.entropy;
}

/* The smallest threshold that the entropy −score lies strictly below. */
static double leave_at(double score) { return nextafter(-score, INFINITY); }

static bool skips(const void *values, int32_t point, int32_t n_points) {
  const struct entropy *rule = values;
  (void)n_points;
  return ex__threshold_at(&rule->thresholds, point, 0) <= 0;
}

static enum ex_status check(const void *values, int32_t n_points, int32_t n_outputs,
                            struct ex_error *err) {
  const struct entropy *rule = values;
  (void)n_outputs;
  return ex__threshold_check("entropy", &rule->thresholds, n_points, err);
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct entropy *rule = values;
  (void)scratch, (void)env;
  bool leave = seen->point < seen->n_points - 1 &&
               seen->answer.entropy < ex__threshold_at(&rule->thresholds, seen->point, 0);
  return (struct ex_decision){leave ? EX_LEAVE : EX_GO_ON, seen->point};
}

extern const struct ex_policy_class ex__policy_entropy;
const struct ex_policy_class ex__policy_entropy = {
    .name = "entropy",
    .cite = "BranchyNet (Teerapittayanon et al., ICPR 2016)",
    .summary = "Leaves where the entropy of the probabilities lies below the exit's threshold.",
    .params = params,
    .size = sizeof(struct entropy),
    .score = score,
    .leave_at = leave_at,
    .threshold_offset = offsetof(struct entropy, thresholds),
    .threshold_off = 0,
    .skips = skips,
    .check = check,
    .decide = decide,
};
