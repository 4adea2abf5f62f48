/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/calibrate_internal: what choosing and the receipt share.
 */
#ifndef EX_CALIBRATE_CALIBRATE_INTERNAL_H
#define EX_CALIBRATE_CALIBRATE_INTERNAL_H

#include "calibrate/calibrate.h"
#include "calibrate/estimate.h"

/* Point targets are met by one-sided bounds at this level. */
static const double ex__calibrate_alpha = 0.1;

/* Policies to choose from, most expensive first. */
struct ex_candidates {
  ex_policy *items; /* [n] */
  int32_t n;
  const char *method; /* "pareto", "quotas", "knobs" */
  bool exact;         /* the search left nothing out of its grid */
  /* They were made from the even samples of select, so the odd ones test them;
   * candidates that were there before any sample are tested on all. */
  struct ex_samples_range tested_on;
};

enum ex_status ex__candidates_make(const ex_policy *policy, const ex_trace *select,
                                   const struct ex_calibrate_options *options,
                                   struct ex_candidates *out, struct ex_error *err);
void ex__candidates_free(struct ex_candidates *candidates);

/* Whether the bound keeps the constraint. */
bool ex__constraint_met(const struct ex_constraint *constraint, const struct ex_estimate *estimate);
const char *ex__constraint_name(enum ex_constraint_kind kind); /* "drop", "macs", "latency" */
const char *ex__constraint_unit(enum ex_constraint_kind kind);
/* The constrained quantity in the constraint's unit, estimated and bounded. */
double ex__constraint_value(enum ex_constraint_kind kind, const struct ex_estimate *estimate);
double ex__constraint_bound(enum ex_constraint_kind kind, const struct ex_estimate *estimate);

enum ex_status ex__receipt_make(const ex_policy *policy, const struct ex_candidates *candidates,
                                int32_t n_tested, const ex_trace *select, const ex_trace *certify,
                                const struct ex_calibrate_options *options, json_t **out,
                                struct ex_error *err);

#endif
