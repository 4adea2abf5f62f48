/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/quota: budgeted batches: which share of the samples is to leave at
 * each exit, and the thresholds that bring it about.
 */
#ifndef EX_CALIBRATE_QUOTA_H
#define EX_CALIBRATE_QUOTA_H

#include "calibrate/estimate.h"
#include "trace/curve.h"

/* MSDNet's family: quota[k] = ratio^(k+1) / Σ_j ratio^(j+1); sums to 1. */
void ex__quota_geometric(double ratio, int32_t n_points, double *quota);

/* Quotas → thresholds on survivors: at point k the surest ⌊n · quota[k]⌋ of
 * those still here leave; a quota of 0 lets nobody leave; ties leave together.
 * quota [n_points], sums to 1; for rules with a score. */
enum ex_status ex__quota_thresholds(ex_policy *policy, const ex_trace *trace, const double *quota,
                                    struct ex_error *err);
enum ex_status ex__quota_thresholds_range(ex_policy *policy, const ex_trace *trace,
                                          struct ex_samples_range range, const double *quota,
                                          struct ex_error *err);

/* MSDNet's budgeted curve: 39 ratios 1/20 … 39/20, fitted on select, applied
 * to test; accuracy in percent against the mean multiply-adds really spent. */
enum { EX_BUDGETED_POINTS = 39 };
enum ex_status ex__budgeted_curve(const ex_policy *policy, const ex_trace *select,
                                  const ex_trace *test,
                                  struct ex_curve_point points[EX_BUDGETED_POINTS],
                                  struct ex_error *err);

#endif
