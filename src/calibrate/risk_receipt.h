/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/risk_receipt: what a risk was promised to be, and whether the certify
 * split still says so.
 */
#ifndef EX_CALIBRATE_RISK_RECEIPT_H
#define EX_CALIBRATE_RISK_RECEIPT_H

#include "calibrate/calibrate_internal.h"
#include "calibrate/risk.h"
#include "calibrate/risk_test.h"

struct ex_risk_walk {
  int32_t chosen, n_tested;         /* of the path; −1: none passed */
  struct ex_risk_evidence evidence; /* of the chosen one */
};

/* Tests policies [n] on the certify split until one fails. One that is full depth
 * by its very values passes whatever the samples are. */
enum ex_status ex__risk_walk(const struct ex_risk *risk, const ex_policy *path, int32_t n,
                             const ex_trace *certify, struct ex_risk_walk *out,
                             struct ex_error *err);

/* The receipt holds the policies that were tested, so that it can be walked again. */
enum ex_status ex__risk_receipt_make(const struct ex_risk *risk, const struct ex_candidates *path,
                                     const struct ex_risk_walk *walk, const ex_trace *select,
                                     const ex_trace *certify, const char *date, json_t **out,
                                     struct ex_error *err);
bool ex__risk_receipt_is(const json_t *receipt); /* "certified" */
/* Walks the path on this trace: it must end at the same policy, with the same
 * figures, and that policy must be `policy`. */
enum ex_status ex__risk_receipt_verify(const json_t *receipt, const ex_policy *policy,
                                       const ex_trace *certify,
                                       struct ex_verification *verification, struct ex_error *err);

#endif
