/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_patience: leave when exits in a row have said the same.
 *
 * PABEE (Zhou et al., NeurIPS 2020): a counter grows when the label equals that
 * of the exit before and is 0 again when it does not; leave when it reaches
 * `patience`. The first exit has nothing before it, so the earliest exit is
 * number patience + 1, and patience ≥ n_points − 1 runs everything.
 *
 * Deviations: the authors' code asks that all samples of a batch agree, here
 * each sample has its own counter; a patience of 0 (there: run all layers) is
 * not admitted. The paper's form for regression, where answers count as equal
 * if they differ by less than a tolerance, is missing: classification is the one
 * task so far. An output that is not finite is passed over by the guard of
 * policy.c and leaves the counter as it was.
 */
#include "policy/policy.h"

struct patience {
  int32_t patience;
};

struct run { /* scratch */
  int32_t label, equal;
  bool begun;
};

static const struct ex_param params[] = {
    {"patience", EX_PARAM_INT, offsetof(struct patience, patience), 1, 32, "3", NULL,
     "Equal labels in a row, each compared with the exit before, at which to leave."},
    {.name = NULL},
};

/* A patience of n_points − 1 fires at the last exit only: full depth. */
static bool candidate(void *values, int32_t n_points, int32_t index) {
  struct patience *rule = values;
  int32_t patience = n_points - 1 - index;
  if (patience < 1 && index > 0) return false;
  rule->patience = patience < 1 ? 1 : patience;
  return true;
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct patience *rule = values;
  struct run *run = scratch;
  (void)env;
  run->equal = run->begun && run->label == seen->answer.label ? run->equal + 1 : 0;
  run->label = seen->answer.label;
  run->begun = true;
  return (struct ex_decision){run->equal >= rule->patience ? EX_LEAVE : EX_GO_ON, seen->point};
}

static struct ex_reading read(const void *values, const void *scratch,
                              const struct ex_observation *seen) {
  (void)seen;
  return (struct ex_reading){"equal answers in a row", ((const struct run *)scratch)->equal,
                             ((const struct patience *)values)->patience, false};
}

extern const struct ex_policy_class ex__policy_patience;
const struct ex_policy_class ex__policy_patience = {
    .name = "patience",
    .cite = "PABEE (Zhou et al., NeurIPS 2020)",
    .summary = "Leaves when consecutive exits have given the same label often enough.",
    .params = params,
    .size = sizeof(struct patience),
    .scratch_size = sizeof(struct run),
    .candidate = candidate,
    .decide = decide,
    .read = read,
};
