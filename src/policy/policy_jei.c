/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_jei: leave where the gates of JEI-DNN say so (Regol, Chataoui &
 * Coates, "Jointly-Learned Exit and Inference for a Dynamic Neural Network",
 * ICLR 2024).
 *
 * With g_l = sigmoid(gate score) the probability of leaving at exit l is
 *
 *     P_l = max(0, min(g_l, 1 − Σ_{j<l} P_j)),
 *
 * and the hazard, of leaving there once it was reached, h_l = P_l / Π_{j<l}(1 − h_j),
 * clipped to [0, 1]. A sample leaves at the first exit whose hazard is at least
 * `threshold`: 0.5 in the authors' code, where the price of compute that the
 * gates were trained with is the only knob. Here calibration may move it too.
 * The product in the denominator is the probability of having come this far,
 * 1 − Σ_{j<l} P_j; where that is 0 the sample has left.
 */
#include <math.h>

#include "policy/policy.h"

struct jei {
  double threshold;
};

struct so_far {
  double left;   /* Σ P_j of the exits before */
  double hazard; /* of the last */
};

static const double off = 2; /* a hazard is at most 1 */
static const double CANDIDATES = 100;

static const struct ex_param params[] = {
    {"threshold", EX_PARAM_REAL, offsetof(struct jei, threshold), 0, 2, "0.5", NULL,
     "Leave where the hazard, the probability of leaving here once this exit was reached, is at "
     "least this; above 1: nobody leaves early."},
    {.name = NULL},
};

/* From nobody leaves to everybody does: off, 0.99, 0.98 … 0. */
static bool candidate(void *values, int32_t n_points, int32_t index) {
  struct jei *rule = values;
  (void)n_points;
  if (index > CANDIDATES) return false;
  rule->threshold = index == 0 ? off : 1 - index / CANDIDATES;
  return true;
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct jei *rule = values;
  struct so_far *so_far = scratch;
  (void)env;
  const struct ex_decision go_on = {EX_GO_ON, seen->point};
  if (seen->point == seen->n_points - 1 || isnan(seen->gate)) return go_on;
  double here = 1 - so_far->left, gate = 1 / (1 + exp(-seen->gate));
  double leaves = fmax(0, fmin(gate, here));
  double hazard = here > 0 ? fmin(leaves / here, 1) : 1;
  so_far->left += leaves;
  so_far->hazard = hazard;
  return hazard >= rule->threshold ? (struct ex_decision){EX_LEAVE, seen->point} : go_on;
}

static struct ex_reading read(const void *values, const void *scratch,
                              const struct ex_observation *seen) {
  const struct so_far *so_far = scratch;
  return (struct ex_reading){"hazard", isnan(seen->gate) ? NAN : so_far->hazard,
                             ((const struct jei *)values)->threshold, false};
}

extern const struct ex_policy_class ex__policy_jei;
const struct ex_policy_class ex__policy_jei = {
    .name = "jei",
    .cite = "JEI-DNN (Regol et al., ICLR 2024)",
    .summary = "Leaves where the learned gates of JEI-DNN give at least the threshold as the "
               "probability of leaving here. For networks trained by the method jei.",
    .params = params,
    .size = sizeof(struct jei),
    .scratch_size = sizeof(struct so_far),
    .needs = EX_POLICY_NEEDS_GATE,
    .candidate = candidate,
    .decide = decide,
    .read = read,
};
