/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/candidates: the policies that calibrate may choose from.
 *
 * Rules with thresholds: the Pareto front on the even samples of select, or
 * MSDNet's quotas fitted to them. Rules with knobs: their own candidates. What a
 * rule learns is learned on the even samples as well. The policy with every exit
 * off is always among those with thresholds.
 *
 * Under a drop the front counts answers that are lost against full depth, not
 * all wrong ones: what an early exit happens to win on one half is mostly gone
 * on the other, and policies that differ less from full depth have tighter
 * bounds. Wins still count when a candidate is tested. (On made-up traces of
 * 5,000 samples both ways save the same on average, but counting wrong answers
 * ended at full depth now and then, and this never did.)
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "calibrate/calibrate_internal.h"
#include "calibrate/quota.h"
#include "calibrate/threshold_problem.h"

enum {
  SEARCH_WIDTH = 512,
  MAX_FRONT = 128, /* points of a front that are tested */
  QUOTA_STEPS = 81,
  MAX_CANDIDATES = 4096
};

static const struct ex_samples_range searched = {0, 2}, held_out = {1, 2}, all = {0, 1};

static enum ex_status reserve(struct ex_candidates *out, int32_t n, struct ex_error *err) {
  out->items = ex__alloc((size_t)n, sizeof *out->items);
  if (out->items != NULL) return EX_OK;
  return ex__fail(err, EX_ENOMEM, "calibrate: no memory for %d candidates", (int)n);
}

static void add_all_off(const ex_policy *policy, struct ex_candidates *out) {
  ex_policy *off = &out->items[out->n++];
  *off = *policy;
  struct ex_list *list = ex__policy_thresholds(off);
  list->n = policy->n_points - 1;
  for (int32_t p = 0; p < list->n; p++) list->value[p] = policy->class->threshold_off;
}

/* The front from its dear end, thinned evenly. What costs as much as full
 * depth or more is left out: full depth itself has no drop to be tested. */
static enum ex_status add_front(const ex_policy *policy, const ex_trace *select,
                                enum ex_constraint_kind kind, struct ex_candidates *out,
                                struct ex_error *err) {
  struct ex_threshold_problem *problem;
  struct ex_front front;
  enum ex_fault fault = kind == EX_CONSTRAINT_DROP ? EX_FAULT_LOST : EX_FAULT_WRONG;
  EX_TRY(ex__threshold_problem_new(policy, select, searched, fault, kind == EX_CONSTRAINT_LATENCY,
                                   &problem, err));
  enum ex_status status = ex__threshold_search(problem, SEARCH_WIDTH, &front, err);
  if (status == EX_OK) {
    int32_t last = problem->n_exits, n = front.n;
    int64_t full = problem->n * (problem->body[last] + problem->look[last]);
    while (n > 0 && front.items[n - 1].cost >= full) n--;
    int32_t kept = n < MAX_FRONT ? n : MAX_FRONT;
    for (int32_t i = kept - 1; i >= 0; i--) {
      int32_t at = kept > 1 ? (int32_t)((int64_t)(n - 1) * i / (kept - 1)) : 0;
      ex_policy *next = &out->items[out->n++];
      *next = *policy;
      ex__threshold_problem_apply(problem, front.items[at].level, next);
    }
    out->exact = front.exact && kept == n;
    ex__front_free(&front);
  }
  ex__threshold_problem_free(problem);
  return status;
}

/* Ratios from e^4 (nearly all at the last exit) to e^-4 (nearly all at the first). */
static enum ex_status add_quotas(const ex_policy *policy, const ex_trace *select,
                                 struct ex_candidates *out, struct ex_error *err) {
  double quota[EX_MAX_POINTS];
  for (int32_t s = 0; s < QUOTA_STEPS; s++) {
    ex_policy *next = &out->items[out->n];
    *next = *policy;
    ex__quota_geometric(exp(4 - 8.0 * s / (QUOTA_STEPS - 1)), select->n_points, quota);
    EX_TRY(ex__quota_thresholds_range(next, select, searched, quota, err));
    out->n++;
  }
  return EX_OK;
}

/* Fitted from where the one before ended. EX_EINFEASIBLE ends the list: nothing bolder
 * can be had. */
static enum ex_status fit_next(const struct ex_policy_fit *fit, struct ex_candidates *out,
                               struct ex_error *err) {
  ex_policy *next = &out->items[out->n];
  const struct ex_policy_class *class = next->class;
  if (out->n > 0) *next = out->items[out->n - 1];
  class->candidate(next->values, next->n_points, out->n);
  return class->fit(next->values, fit, err);
}

static enum ex_status add_knobs(const ex_policy *policy, const struct ex_policy_fit *fit,
                                struct ex_candidates *out, struct ex_error *err) {
  const struct ex_policy_class *class = policy->class;
  int32_t n = 0;
  ex_policy probe = *policy;
  while (n < MAX_CANDIDATES && class->candidate(probe.values, policy->n_points, n)) n++;
  EX_TRY(reserve(out, n > 0 ? n : 1, err));
  for (; out->n < n; out->n++) {
    ex_policy *next = &out->items[out->n];
    *next = *policy;
    class->candidate(next->values, policy->n_points, out->n);
    enum ex_status status = class->fit_each ? fit_next(fit, out, err) : EX_OK;
    if (status == EX_EINFEASIBLE && out->n > 0) break;
    EX_TRY(status);
  }
  return EX_OK;
}

/* Of a policy that is fitted. */
static enum ex_status make(const ex_policy *policy, const struct ex_policy_fit *fit,
                           const struct ex_calibrate_options *options, struct ex_candidates *out,
                           struct ex_error *err) {
  if (policy->class->score == NULL) return add_knobs(policy, fit, out, err);
  EX_TRY(reserve(out, 1 + (options->budgeted ? QUOTA_STEPS : MAX_FRONT), err));
  add_all_off(policy, out);
  return options->budgeted ? add_quotas(policy, fit->trace, out, err)
                           : add_front(policy, fit->trace, options->constraint.kind, out, err);
}

enum ex_status ex__candidates_make(const ex_policy *policy, const ex_trace *select,
                                   const struct ex_calibrate_options *options,
                                   struct ex_candidates *out, struct ex_error *err) {
  const struct ex_policy_class *class = policy->class;
  bool from_samples = class->score != NULL || class->fit != NULL;
  *out = (struct ex_candidates){.exact = true, .tested_on = from_samples ? held_out : all};
  out->method = class->score == NULL ? "knobs" : options->budgeted ? "quotas" : "pareto";
  if (class->score == NULL && (options->budgeted || class->candidate == NULL))
    return ex__fail(err, EX_EUNSUPPORTED, "%s: has no %s to be fitted", class->name,
                    options->budgeted ? "thresholds" : "thresholds or knobs");
  if (from_samples && select->n < 2)
    return ex__fail(err, EX_EINFEASIBLE, "select has %d sample; fitting takes at least 2",
                    (int)select->n);
  const struct ex_policy_fit fit = {select, searched.first, searched.step,
                                    options->constraint.kind == EX_CONSTRAINT_LATENCY};
  ex_policy fitted = *policy;
  enum ex_status status = EX_OK;
  if (class->fit != NULL && !class->fit_each) status = class->fit(fitted.values, &fit, err);
  if (status == EX_OK) status = make(&fitted, &fit, options, out, err);
  if (status != EX_OK) ex__candidates_free(out);
  return status;
}

/* The front counts one kind of fault under a drop, another under a budget; knobs and
 * quotas know only whether costs are times. */
bool ex__candidates_same(const ex_policy *policy, const struct ex_calibrate_options *a,
                         const struct ex_calibrate_options *b) {
  enum ex_constraint_kind p = a->constraint.kind, q = b->constraint.kind;
  bool front = policy->class->score != NULL && !a->budgeted;
  bool same_fault = (p == EX_CONSTRAINT_DROP) == (q == EX_CONSTRAINT_DROP);
  return a->budgeted == b->budgeted && (!front || same_fault) &&
         (p == EX_CONSTRAINT_LATENCY) == (q == EX_CONSTRAINT_LATENCY);
}

enum ex_status ex__candidates_start(const ex_policy *policy, const ex_trace *select, int32_t room,
                                    struct ex_candidates *out, struct ex_error *err) {
  const struct ex_policy_class *class = policy->class;
  const struct ex_policy_fit fit = {select, all.first, all.step, false};
  ex_policy fitted = *policy;
  *out = (struct ex_candidates){.exact = true, .tested_on = all};
  out->method = class->score == NULL ? "knobs" : "path";
  if (class->score == NULL && class->candidate == NULL)
    return ex__fail(err, EX_EUNSUPPORTED, "%s: has no thresholds or knobs to be fitted",
                    class->name);
  if (class->fit != NULL && !class->fit_each) EX_TRY(class->fit(fitted.values, &fit, err));
  if (class->score == NULL) {
    enum ex_status status = add_knobs(&fitted, &fit, out, err);
    if (status != EX_OK) ex__candidates_free(out);
    return status;
  }
  EX_TRY(reserve(out, room, err));
  add_all_off(&fitted, out);
  return EX_OK;
}

void ex__candidates_free(struct ex_candidates *candidates) {
  ex__free(candidates->items);
  candidates->items = NULL;
  candidates->n = 0;
}
