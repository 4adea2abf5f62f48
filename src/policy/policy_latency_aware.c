/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_latency_aware: the thresholds that answer best under a bound of the
 * mean cost (Tan, Li, Wang, Huang, Xu, AAAI 2021).
 *
 * Leaves where the largest probability reaches the exit's threshold. The thresholds
 * are fitted for a bound, `share` of full depth's cost, by policy/budget (which says
 * what of it is the authors'): in measured nanoseconds where calibration has a latency
 * to keep, else in multiply-adds. The bound is one of the mean over samples, not a
 * deadline of each.
 *
 * It is a rule and not one more search of calibrate for rules with thresholds,
 * because what is fitted depends on the bound, which is this rule's knob and no
 * other's, and because the network's user can name the bound. Each share is fitted
 * anew, from full depth down, and starts from the thresholds of the share before, as
 * the paper's warm start does over a list of requirements; fitting for the same share
 * again starts cold, and so does what was fitted for less.
 */
#include "policy/budget.h"
#include "policy/policy_threshold.h"

struct latency_aware {
  double share;
  int32_t search; /* enum ex_budget_search */
  double fitted;  /* the share that the thresholds are for; 0: none */
  struct ex_list thresholds;
};

enum { CANDIDATES = 100 };

static const double off = 2; /* a probability is at most 1 */
static const char *const searches[] = {"penalty", "shared", "geometric", NULL};

#define FIELD(name) offsetof(struct latency_aware, name)
static const struct ex_param params[] = {
    {"share", EX_PARAM_REAL, FIELD(share), 0, 1, "1", NULL,
     "Mean cost that is allowed, as a share of full depth's; 1: nobody leaves early."},
    {"search", EX_PARAM_ENUM, FIELD(search), 0, 2, "penalty", searches,
     "How thresholds are found: the penalty method; or, to compare with, one threshold for all "
     "exits, or geometric quotas."},
    {"fitted", EX_PARAM_REAL, FIELD(fitted), 0, 1, "0", NULL,
     "Fitted: the share that the thresholds are for; 0: for none."},
    {"thresholds", EX_PARAM_LIST, FIELD(thresholds), 0, 2, "", NULL,
     "Fitted: leave at or above this probability, per exit but the last; above 1: exit off."},
    {.name = NULL},
};

/* From full depth down; where a share cannot be kept, none below it can. */
static bool candidate(void *values, int32_t n_points, int32_t index) {
  struct latency_aware *rule = values;
  (void)n_points;
  if (index >= CANDIDATES) return false;
  rule->share = (CANDIDATES - index) / (double)CANDIDATES;
  return true;
}

static enum ex_status solve(struct latency_aware *rule, const struct ex_budget *budget,
                            struct ex_error *err) {
  struct ex_cuts start, cuts;
  bool warm =
      rule->thresholds.n == budget->n_exits && rule->fitted < 1 && rule->fitted > rule->share;
  if (warm) ex__budget_cuts(budget, rule->thresholds.value, &start);
  EX_TRY(ex__budget_solve(budget, rule->share, (enum ex_budget_search)rule->search,
                          warm ? &start : NULL, &cuts, err));
  rule->thresholds = (struct ex_list){.n = budget->n_exits};
  ex__budget_thresholds(budget, &cuts, off, rule->thresholds.value);
  rule->fitted = rule->share;
  return EX_OK;
}

static enum ex_status fit(void *values, const struct ex_policy_fit *job, struct ex_error *err) {
  struct ex_budget budget;
  EX_TRY(ex__budget_new(job->trace, job->first, job->step, job->ns, &budget, err));
  enum ex_status status = solve(values, &budget, err);
  ex__budget_free(&budget);
  return status;
}

static bool skips(const void *values, int32_t point, int32_t n_points) {
  const struct latency_aware *rule = values;
  (void)n_points;
  return ex__threshold_at(&rule->thresholds, point, off) > 1;
}

static enum ex_status check(const void *values, int32_t n_points, int32_t n_outputs,
                            struct ex_error *err) {
  const struct latency_aware *rule = values;
  (void)n_outputs;
  return ex__threshold_check("latency-aware", &rule->thresholds, n_points, err);
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct latency_aware *rule = values;
  (void)scratch, (void)env;
  bool leave =
      seen->point < seen->n_points - 1 &&
      seen->answer.max_probability >= ex__threshold_at(&rule->thresholds, seen->point, off);
  return (struct ex_decision){leave ? EX_LEAVE : EX_GO_ON, seen->point};
}

static struct ex_reading read(const void *values, const void *scratch,
                              const struct ex_observation *seen) {
  const struct latency_aware *rule = values;
  (void)scratch;
  return (struct ex_reading){"max-probability", seen->answer.max_probability,
                             ex__threshold_at(&rule->thresholds, seen->point, off), false};
}

extern const struct ex_policy_class ex__policy_latency_aware;
const struct ex_policy_class ex__policy_latency_aware = {
    .name = "latency-aware",
    .cite = "Latency-aware threshold assignment (Tan et al., AAAI 2021)",
    .summary = "Leaves where the largest probability reaches the exit's threshold; thresholds are "
               "those that answer best under a bound of the mean cost. One knob, the bound.",
    .params = params,
    .size = sizeof(struct latency_aware),
    .candidate = candidate,
    .fit = fit,
    .fit_each = true,
    .skips = skips,
    .check = check,
    .decide = decide,
    .read = read,
};
