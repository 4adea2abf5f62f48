/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/calibrate: traces + a constraint → a fitted policy and its receipt.
 *
 * Thresholds are chosen on the select trace; the certify trace only bounds
 * what was chosen and is never used to choose. Point targets are met by a
 * one-sided 90 % bound of the paired difference, not by its estimate.
 */
#ifndef EX_CALIBRATE_CALIBRATE_H
#define EX_CALIBRATE_CALIBRATE_H

#include "policy/policy.h"

enum ex_constraint_kind {
  EX_CONSTRAINT_DROP,   /* points of accuracy lost against full depth, in percent, ≥ 0 */
  EX_CONSTRAINT_MACS,   /* mean multiply-adds as a share of full depth, (0, 1] */
  EX_CONSTRAINT_LATENCY /* mean measured time per sample, microseconds, > 0 */
};

struct ex_constraint {
  enum ex_constraint_kind kind;
  double value;
};

struct ex_calibrate_options {
  struct ex_constraint constraint;
  bool budgeted;    /* MSDNet's quotas instead of the Pareto search */
  const char *date; /* of the receipt, as the caller writes dates; NULL: left out */
};

struct ex_calibration {
  ex_policy policy;
  json_t *receipt; /* owned by the caller */
};

/* `policy`: the rule with its knobs; what is fitted in it is replaced. Where
 * the certify bound misses the constraint the call succeeds, and the receipt
 * says "met": false. EX_EINFEASIBLE names the best that could be had. */
enum ex_status ex__calibrate(const ex_policy *policy, const ex_trace *select,
                             const ex_trace *certify, const struct ex_calibrate_options *options,
                             struct ex_calibration *out, struct ex_error *err);

struct ex_calibrated {
  enum ex_status status; /* of ex__calibrate */
  struct ex_calibration calibration;
  struct ex_error why; /* where status is not EX_OK */
};

/* The same for several constraints, options and out [n], each as if alone. What does not
 * depend on a constraint's value is done once for neighbours that share it: what the rule
 * learns, the search of its thresholds. */
void ex__calibrate_each(const ex_policy *policy, const ex_trace *select, const ex_trace *certify,
                        const struct ex_calibrate_options *options, int32_t n,
                        struct ex_calibrated *out);

/* Does the receipt still hold for this trace of the certify split? Digests of
 * weights and samples must match; figures are computed again and compared.
 * *report: {held, checks: [{what, promised, found, ok}…]}, owned by the caller. */
enum ex_status ex__receipt_verify(const json_t *receipt, const ex_policy *policy,
                                  const ex_trace *certify, json_t **report, struct ex_error *err);

#endif
