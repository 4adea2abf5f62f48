/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_fixed: everybody leaves at the same exit: the static network
 * that each dynamic rule has to beat. Earlier heads are skipped, so what it
 * costs is the exit's direct cost.
 */
#include "policy/policy.h"

struct fixed {
  int32_t exit;
};

static const struct ex_param params[] = {
    {"exit", EX_PARAM_INT, offsetof(struct fixed, exit), -1, EX_MAX_POINTS - 1, "-1", NULL,
     "The exit, counted from 0; -1: the last."},
    {.name = NULL},
};

static bool before(const void *values, int32_t point, int32_t n_points) {
  const struct fixed *rule = values;
  return point < (rule->exit < 0 ? n_points - 1 : rule->exit);
}

static bool candidate(void *values, int32_t n_points, int32_t index) {
  struct fixed *rule = values;
  if (index >= n_points) return false;
  rule->exit = n_points - 1 - index;
  return true;
}

static enum ex_status check(const void *values, int32_t n_points, int32_t n_outputs,
                            struct ex_error *err) {
  const struct fixed *rule = values;
  (void)n_outputs;
  if (rule->exit < n_points) return EX_OK;
  return ex__fail(err, EX_EINVAL, "fixed: exit = %d; must be an integer in [-1, %d]",
                  (int)rule->exit, (int)n_points - 1);
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  (void)scratch, (void)env;
  bool early = before(values, seen->point, seen->n_points);
  return (struct ex_decision){early ? EX_GO_ON : EX_LEAVE, seen->point};
}

extern const struct ex_policy_class ex__policy_fixed;
const struct ex_policy_class ex__policy_fixed = {
    .name = "fixed",
    .summary = "Everybody leaves at the same exit; the baseline of every other rule.",
    .params = params,
    .size = sizeof(struct fixed),
    .candidate = candidate,
    .skips = before,
    .same_path = true,
    .check = check,
    .decide = decide,
};
