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
/* Whether both options have the same candidates. */
bool ex__candidates_same(const ex_policy *policy, const struct ex_calibrate_options *a,
                         const struct ex_calibrate_options *b);
/* What is learned is learned on all of select, for candidates that other samples
 * test: those of a rule with knobs; of a rule with thresholds the one with every
 * exit off, with room for `room` in all. */
enum ex_status ex__candidates_start(const ex_policy *policy, const ex_trace *select, int32_t room,
                                    struct ex_candidates *out, struct ex_error *err);
void ex__candidates_free(struct ex_candidates *candidates);

/* Whether the bound keeps the constraint. */
bool ex__constraint_met(const struct ex_constraint *constraint, const struct ex_estimate *estimate);
const char *ex__constraint_name(enum ex_constraint_kind kind); /* "drop", "macs", "latency" */
const char *ex__constraint_unit(enum ex_constraint_kind kind);
/* The constrained quantity in the constraint's unit, estimated and bounded. */
double ex__constraint_value(enum ex_constraint_kind kind, const struct ex_estimate *estimate);
double ex__constraint_bound(enum ex_constraint_kind kind, const struct ex_estimate *estimate);

/* Whether policy and traces go together; `ns`: measured times are needed. */
enum ex_status ex__calibrate_check(const ex_policy *policy, const ex_trace *select,
                                   const ex_trace *certify, bool ns, struct ex_error *err);

/* ---- receipts (receipt.c) -------------------------------------------------- */

/* One split's figures; bounds are left out where the split had a say in what they
 * bound. NULL when memory is short. */
json_t *ex__receipt_split(const ex_trace *trace, const struct ex_estimate *estimate, bool bounds);

struct ex_receipt_parts { /* JSON is taken, in failure too */
  const char *kind;       /* "empirical", "certified" */
  json_t *constraint;
  json_t *confidence; /* null where there is none */
  const ex_policy *policy;
  const struct ex_candidates *candidates;
  int32_t n_tested;
  const ex_trace *select;
  json_t *select_split, *certify_split;
  bool met;
  const char *date; /* NULL: left out */
};
/* NULL when memory is short. */
json_t *ex__receipt_assemble(const struct ex_receipt_parts *parts);

enum ex_status ex__receipt_make(const ex_policy *policy, const struct ex_candidates *candidates,
                                int32_t n_tested, const ex_trace *select, const ex_trace *certify,
                                const struct ex_calibrate_options *options, json_t **out,
                                struct ex_error *err);

struct ex_verification {
  json_t *checks;
  bool held;
};
/* `promised` and `found` are taken. */
void ex__verification_note(struct ex_verification *verification, const char *what, json_t *promised,
                           json_t *found, bool ok);
/* Figures are computed again from the same bits, so they are the same. */
void ex__verification_note_number(struct ex_verification *verification, const char *what,
                                  double promised, double found);

#endif
