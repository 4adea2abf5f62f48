/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/calibrate: choosing a policy so that the promise holds on samples
 * that nobody has seen, and not only on those it was chosen by.
 *
 * Searching over thousands of policies and keeping the cheapest whose bound
 * looks good would break a 90 % bound, because the luckiest is picked. So
 * candidates are made from the even samples of select and tested on the odd
 * ones, in an order that the test samples do not influence, from the most
 * careful on, each at the full level, until the first fails: fixed-sequence
 * testing, by which the chance that any accepted policy breaks the target
 * stays ≤ 10 % (Pareto testing: Laufer-Goldshtein et al., ICLR 2023). For a
 * drop the careful end is the dear one and the cheapest accepted policy wins;
 * for a budget it is the cheap one and the most accurate wins. Only then is
 * certify looked at, for the receipt.
 *
 * What the 10 % rest on. The odd half must not have had a say in the weights.
 * Training that keeps its best epoch by this same select split bends that: the
 * last exit looks somewhat better on it than it is, while for a drop it is the
 * reference, so the bound of the drop errs on the careful side as far as that
 * goes; where early exits had the say it errs on the other. The certify split
 * has no part in either, so the receipt's own figures are free of it. For macs
 * and latency the level is asymptotic besides: a normal bound of the mean cost
 * (bound.c), where a drop has an exact one.
 */
#include "calibrate/calibrate.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "calibrate/calibrate_internal.h"

const char *ex__constraint_name(enum ex_constraint_kind kind) {
  static const char *const names[] = {"drop", "macs", "latency"};
  return names[kind];
}

const char *ex__constraint_unit(enum ex_constraint_kind kind) {
  static const char *const units[] = {"percentage points", "share of full depth", "microseconds"};
  return units[kind];
}

double ex__constraint_value(enum ex_constraint_kind kind, const struct ex_estimate *estimate) {
  switch (kind) {
    case EX_CONSTRAINT_DROP: return 100 * estimate->drop;
    case EX_CONSTRAINT_MACS: return estimate->macs / estimate->full_macs;
    case EX_CONSTRAINT_LATENCY: return estimate->ns / 1000;
  }
  return NAN;
}

double ex__constraint_bound(enum ex_constraint_kind kind, const struct ex_estimate *estimate) {
  switch (kind) {
    case EX_CONSTRAINT_DROP: return 100 * estimate->drop_upper;
    case EX_CONSTRAINT_MACS: return estimate->macs_upper / estimate->full_macs;
    case EX_CONSTRAINT_LATENCY: return estimate->ns_upper / 1000;
  }
  return NAN;
}

/* Sums of equal costs may differ from their product in the last bits. */
bool ex__constraint_met(const struct ex_constraint *constraint,
                        const struct ex_estimate *estimate) {
  return ex__constraint_bound(constraint->kind, estimate) <= constraint->value * (1 + 1e-12);
}

/* ---- checks ------------------------------------------------------------- */

static enum ex_status check_constraint(const struct ex_constraint *constraint,
                                       struct ex_error *err) {
  double value = constraint->value;
  switch (constraint->kind) {
    case EX_CONSTRAINT_DROP:
      if (value >= 0 && value <= 100) return EX_OK;
      return ex__fail(err, EX_EINVAL, "drop = %g; must be in [0, 100] percentage points", value);
    case EX_CONSTRAINT_MACS:
      if (value > 0 && value <= 1) return EX_OK;
      return ex__fail(err, EX_EINVAL, "macs = %g; must be a share of full depth in (0, 1]", value);
    case EX_CONSTRAINT_LATENCY:
      if (value > 0 && isfinite(value)) return EX_OK;
      return ex__fail(err, EX_EINVAL, "latency = %g; must be above 0 microseconds", value);
  }
  return ex__fail(err, EX_EINVAL, "constraint kind %d is unknown", (int)constraint->kind);
}

static enum ex_status check_trace(const ex_policy *policy, const ex_trace *trace, const char *role,
                                  bool ns, struct ex_error *err) {
  if (trace->n_points != policy->n_points || trace->n_outputs != policy->n_outputs)
    return ex__fail(
        err, EX_ESHAPE, "%s: trace of %d exits and %d outputs; the policy is for %d and %d", role,
        (int)trace->n_points, (int)trace->n_outputs, (int)policy->n_points, (int)policy->n_outputs);
  for (int32_t i = 0; i < trace->n; i++)
    if (trace->target[i] < 0)
      return ex__fail(err, EX_EINVAL, "%s: sample %d is not labelled; all must be", role, (int)i);
  if ((policy->class->needs & EX_POLICY_NEEDS_GATE) != 0 && trace->gate == NULL)
    return ex__fail(err, EX_EINVAL, "%s: %s reads gates; the trace has no gate column", role,
                    policy->class->name);
  if (ns && trace->cost.body_ns[0] <= 0)
    return ex__fail(err, EX_EINVAL, "%s: the trace's cost table has no measured times", role);
  return EX_OK;
}

enum ex_status ex__calibrate_check(const ex_policy *policy, const ex_trace *select,
                                   const ex_trace *certify, bool ns, struct ex_error *err) {
  if ((policy->class->needs & EX_POLICY_NEEDS_TARGET) != 0)
    return ex__fail(err, EX_EINVAL, "%s: reads the true class; it cannot be deployed",
                    policy->class->name);
  EX_TRY(check_trace(policy, select, "select", ns, err));
  EX_TRY(check_trace(policy, certify, "certify", ns, err));
  if (strcmp(select->weights, certify->weights) != 0)
    return ex__fail(err, EX_EINVAL, "select and certify are traces of different weights");
  if (select->samples[0] != '\0' && strcmp(select->samples, certify->samples) == 0)
    return ex__fail(err, EX_EINVAL, "certify has the same samples as select; it must have others");
  return EX_OK;
}

/* ---- choosing ----------------------------------------------------------- */

struct choice {
  const struct ex_candidates *candidates;
  const ex_trace *select;
  const struct ex_constraint *constraint;
  int32_t chosen, n_tested; /* chosen −1: none passed */
  double score;             /* of the chosen one; lower is better */
  struct ex_estimate first; /* the most careful candidate, for the refusal */
};

/* Lower is better: cost under a drop; errors, then cost, under a budget. */
static double objective(const struct choice *choice, const struct ex_estimate *estimate) {
  if (choice->constraint->kind == EX_CONSTRAINT_DROP) return estimate->macs;
  double cost = choice->constraint->kind == EX_CONSTRAINT_MACS
                    ? estimate->macs / estimate->full_macs
                    : estimate->ns / estimate->full_ns;
  return -estimate->accuracy + 1e-9 * cost;
}

/* As ex__constraint_met, without computing the bound of a drop: whether a test
 * refutes the target is the same question and one evaluation. */
static bool passes(const struct ex_constraint *constraint, const struct ex_estimate *estimate) {
  if (constraint->kind != EX_CONSTRAINT_DROP) return ex__constraint_met(constraint, estimate);
  return estimate->full_depth ||
         ex__drop_p_value(&estimate->pairs, constraint->value / 100) <= ex__calibrate_alpha;
}

/* Tests one candidate; false ends the sequence. */
static bool try(struct choice *choice, int32_t index, struct ex_outcome *outcomes) {
  const ex_policy *policy = &choice->candidates->items[index];
  struct ex_estimate tested, whole;
  ex__policy_replay(policy, choice->select, NULL, outcomes);
  ex__estimate_outcomes(policy, choice->select, outcomes, choice->candidates->tested_on,
                        ex__calibrate_alpha, &tested);
  if (choice->n_tested++ == 0) choice->first = tested;
  if (!passes(choice->constraint, &tested)) return false;
  ex__estimate_outcomes(policy, choice->select, outcomes, (struct ex_samples_range){0, 1},
                        ex__calibrate_alpha, &whole);
  double score = objective(choice, &whole);
  if (choice->chosen >= 0 && score >= choice->score) return true;
  choice->chosen = index;
  choice->score = score;
  return true;
}

static int32_t n_tested_on(const struct choice *choice) {
  struct ex_samples_range range = choice->candidates->tested_on;
  return (choice->select->n - range.first + range.step - 1) / range.step;
}

static enum ex_status refuse(struct choice *choice, struct ex_error *err) {
  const struct ex_constraint *constraint = choice->constraint;
  const char *name = ex__constraint_name(constraint->kind);
  const char *unit = ex__constraint_unit(constraint->kind);
  const char *rule = choice->candidates->items[0].class->name;
  int64_t least = constraint->kind == EX_CONSTRAINT_DROP && constraint->value > 0
                      ? ex__drop_least_n(constraint->value / 100, ex__calibrate_alpha)
                      : 0;
  if (least > n_tested_on(choice))
    return ex__fail(err, EX_EINFEASIBLE,
                    "%s = %g %s cannot be shown with %d samples in select; it takes at least %lld",
                    name, constraint->value, unit, (int)choice->select->n,
                    (long long)least * choice->candidates->tested_on.step);
  choice->first.drop_upper = ex__drop_upper(&choice->first.pairs, ex__calibrate_alpha);
  return ex__fail(err, EX_EINFEASIBLE, "%s = %g %s; the best that %s can promise is %.6g", name,
                  constraint->value, unit, rule,
                  ex__constraint_bound(constraint->kind, &choice->first));
}

static enum ex_status choose(struct choice *choice, struct ex_error *err) {
  struct ex_outcome *outcomes = ex__alloc((size_t)choice->select->n, sizeof *outcomes);
  if (outcomes == NULL)
    return ex__fail(err, EX_ENOMEM, "calibrate: no memory for %d outcomes", (int)choice->select->n);
  int32_t n = choice->candidates->n;
  bool dear_first = choice->constraint->kind == EX_CONSTRAINT_DROP;
  choice->chosen = -1;
  for (int32_t i = 0; i < n; i++)
    if (!try(choice, dear_first ? i : n - 1 - i, outcomes)) break;
  ex__free(outcomes);
  /* Full depth alone passed although there is more: were there enough samples? */
  bool too_few =
      dear_first && choice->chosen == 0 && n > 1 && choice->constraint->value > 0 &&
      ex__drop_least_n(choice->constraint->value / 100, ex__calibrate_alpha) > n_tested_on(choice);
  return choice->chosen < 0 || too_few ? refuse(choice, err) : EX_OK;
}

/* ---- the whole ----------------------------------------------------------- */

static enum ex_status calibrate_from(const struct ex_candidates *candidates, const ex_trace *select,
                                     const ex_trace *certify,
                                     const struct ex_calibrate_options *options,
                                     struct ex_calibration *out, struct ex_error *err) {
  struct choice choice = {
      .candidates = candidates, .select = select, .constraint = &options->constraint};
  EX_TRY(choose(&choice, err));
  out->policy = candidates->items[choice.chosen];
  return ex__receipt_make(&out->policy, candidates, choice.n_tested, select, certify, options,
                          &out->receipt, err);
}

static enum ex_status check(const ex_policy *policy, const ex_trace *select,
                            const ex_trace *certify, const struct ex_calibrate_options *options,
                            struct ex_error *err) {
  EX_TRY(check_constraint(&options->constraint, err));
  return ex__calibrate_check(policy, select, certify,
                             options->constraint.kind == EX_CONSTRAINT_LATENCY, err);
}

enum ex_status ex__calibrate(const ex_policy *policy, const ex_trace *select,
                             const ex_trace *certify, const struct ex_calibrate_options *options,
                             struct ex_calibration *out, struct ex_error *err) {
  struct ex_calibrated one;
  ex__calibrate_each(policy, select, certify, options, 1, &one);
  *out = one.calibration;
  if (one.status != EX_OK && err != NULL) *err = one.why;
  return one.status;
}

void ex__calibrate_each(const ex_policy *policy, const ex_trace *select, const ex_trace *certify,
                        const struct ex_calibrate_options *options, int32_t n,
                        struct ex_calibrated *out) {
  struct ex_candidates candidates = {.items = NULL};
  const struct ex_calibrate_options *made_for = NULL;
  for (int32_t i = 0; i < n; i++) {
    struct ex_calibrated *one = &out[i];
    one->calibration.receipt = NULL;
    one->status = check(policy, select, certify, &options[i], &one->why);
    if (one->status != EX_OK) continue;
    if (made_for == NULL || !ex__candidates_same(policy, made_for, &options[i])) {
      ex__candidates_free(&candidates);
      one->status = ex__candidates_make(policy, select, &options[i], &candidates, &one->why);
      made_for = one->status == EX_OK ? &options[i] : NULL;
    }
    if (one->status == EX_OK)
      one->status =
          calibrate_from(&candidates, select, certify, &options[i], &one->calibration, &one->why);
  }
  ex__candidates_free(&candidates);
}
