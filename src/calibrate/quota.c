/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/quota: MSDNet's budgeted batch classification (Huang et al., ICLR
 * 2018): thresholds from quotas, walked over those who are still here.
 *
 * As in the authors' adaptive_inference.py the exits are walked in order, the
 * k-th surest survivor sets the threshold, all at or above it leave, and the
 * last exit takes the rest; where fewer survive than are to leave, nobody
 * does. The realised shares can exceed the quotas where confidences are equal,
 * so what is reported is the realised cost. Ours: any rule with a score can be
 * fitted, and ⌊n q⌋ forgives a rounding error of 1e-9. An exit that gets no
 * threshold is off, so its head need not run and is not charged to those who
 * pass; the authors' cost of an exit includes every earlier head, and costs read
 * beside theirs are lower by that.
 */
#include "calibrate/quota.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "calibrate/threshold_problem.h"

void ex__quota_geometric(double ratio, int32_t n_points, double *quota) {
  double sum = 0, term = 1;
  for (int32_t k = 0; k < n_points; k++) {
    term *= ratio;
    quota[k] = term;
    sum += term;
  }
  for (int32_t k = 0; k < n_points; k++) quota[k] /= sum;
}

static int descending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

/* Score of the `count`-th surest of n_alive; NaN: there are not so many. */
static double nth_surest(const ex_policy *policy, const ex_trace *trace, int32_t point,
                         const int32_t *alive, int32_t n_alive, int32_t count, double *scores) {
  int32_t n = 0;
  for (int32_t j = 0; j < n_alive; j++) {
    double score = ex__trace_score(policy, trace, point, alive[j]);
    if (!isnan(score)) scores[n++] = score;
  }
  if (count < 1 || count > n) return NAN;
  qsort(scores, (size_t)n, sizeof *scores, descending);
  return scores[count - 1];
}

static void walk(ex_policy *policy, const ex_trace *trace, struct ex_samples_range range,
                 const double *quota, int32_t *alive, double *scores) {
  struct ex_list *list = ex__policy_thresholds(policy);
  int32_t n = 0;
  for (int32_t i = range.first; i < trace->n; i += range.step) alive[n++] = i;
  int32_t n_alive = n;
  list->n = trace->n_points - 1;
  for (int32_t k = 0; k < list->n; k++) {
    int32_t count = (int32_t)floor(n * quota[k] + 1e-9);
    double least = nth_surest(policy, trace, k, alive, n_alive, count, scores);
    list->value[k] = isnan(least) ? policy->class->threshold_off : policy->class->leave_at(least);
    int32_t kept = 0;
    for (int32_t j = 0; j < n_alive; j++)
      if (!(ex__trace_score(policy, trace, k, alive[j]) >= least)) alive[kept++] = alive[j];
    n_alive = kept;
  }
}

enum ex_status ex__quota_thresholds_range(ex_policy *policy, const ex_trace *trace,
                                          struct ex_samples_range range, const double *quota,
                                          struct ex_error *err) {
  double sum = 0;
  if (policy->class->score == NULL)
    return ex__fail(err, EX_EUNSUPPORTED, "%s: has no thresholds; quotas need a rule that has",
                    policy->class->name);
  for (int32_t k = 0; k < trace->n_points; k++) {
    if (!(quota[k] >= 0 && quota[k] <= 1))
      return ex__fail(err, EX_EINVAL, "quota of exit %d = %g; must be in [0, 1]", (int)k, quota[k]);
    sum += quota[k];
  }
  if (fabs(sum - 1) > 1e-6) return ex__fail(err, EX_EINVAL, "quotas sum to %g; must be 1", sum);
  int32_t *alive = ex__alloc((size_t)trace->n, sizeof *alive);
  double *scores = ex__alloc((size_t)trace->n, sizeof *scores);
  bool ok = alive != NULL && scores != NULL;
  if (ok) walk(policy, trace, range, quota, alive, scores);
  ex__free(alive);
  ex__free(scores);
  return ok ? EX_OK : ex__fail(err, EX_ENOMEM, "quotas: no memory for %d samples", (int)trace->n);
}

enum ex_status ex__quota_thresholds(ex_policy *policy, const ex_trace *trace, const double *quota,
                                    struct ex_error *err) {
  return ex__quota_thresholds_range(policy, trace, (struct ex_samples_range){0, 1}, quota, err);
}

enum ex_status ex__budgeted_curve(const ex_policy *policy, const ex_trace *select,
                                  const ex_trace *test,
                                  struct ex_curve_point points[EX_BUDGETED_POINTS],
                                  struct ex_error *err) {
  double quota[EX_MAX_POINTS] = {0};
  ex_policy fitted = *policy;
  for (int32_t r = 0; r < EX_BUDGETED_POINTS; r++) {
    struct ex_estimate estimate;
    ex__quota_geometric((r + 1) / 20.0, select->n_points, quota);
    EX_TRY(ex__quota_thresholds(&fitted, select, quota, err));
    EX_TRY(ex__estimate(&fitted, test, 0.1, &estimate, err));
    points[r] = (struct ex_curve_point){100 * estimate.accuracy, estimate.macs};
  }
  return EX_OK;
}
