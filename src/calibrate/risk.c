/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/risk: from traces and a risk to a policy with a certified receipt.
 */
#include "calibrate/risk.h"

#include <math.h>

#include "base/memory.h"
#include "calibrate/risk_path.h"
#include "calibrate/risk_receipt.h"

/* ---- walking ---------------------------------------------------------------- */

static void walk(struct ex_risk_test *test, const ex_policy *path, int32_t n,
                 const ex_trace *certify, struct ex_outcome *outcomes, float *loss,
                 struct ex_risk_walk *out) {
  *out = (struct ex_risk_walk){.chosen = -1};
  for (int32_t p = 0; p < n; p++) {
    ex__policy_replay(&path[p], certify, NULL, outcomes);
    for (int32_t i = 0; i < certify->n; i++)
      loss[i] = (float)ex__risk_loss(test->risk.of, certify, outcomes[i].answer, i);
    struct ex_risk_evidence evidence = ex__risk_test_next(test, loss);
    out->n_tested++;
    if (!evidence.passed && !ex__is_full_depth(&path[p])) return;
    out->chosen = p;
    out->evidence = evidence;
  }
}

enum ex_status ex__risk_walk(const struct ex_risk *risk, const ex_policy *path, int32_t n,
                             const ex_trace *certify, struct ex_risk_walk *out,
                             struct ex_error *err) {
  struct ex_risk_test test;
  EX_TRY(ex__risk_test_new(risk, certify->n, &test, err));
  struct ex_outcome *outcomes = ex__alloc((size_t)certify->n, sizeof *outcomes);
  float *loss = ex__alloc((size_t)certify->n, sizeof *loss);
  bool ok = outcomes != NULL && loss != NULL;
  if (ok) walk(&test, path, n, certify, outcomes, loss, out);
  ex__free(outcomes);
  ex__free(loss);
  ex__risk_test_clear(&test);
  return ok ? EX_OK : ex__fail(err, EX_ENOMEM, "risk: no memory for %d samples", (int)certify->n);
}

/* ---- the whole ---------------------------------------------------------------- */

/* Full depth alone is no answer where more samples could have given another. */
static enum ex_status refuse(const struct ex_risk *risk, const ex_policy *policy, int32_t n,
                             struct ex_error *err) {
  int32_t least = ex__risk_least_n(risk);
  const char *of = ex__risk_of_name(risk->of), *form = ex__risk_form_name(risk->form);
  if (risk->value > 0 && least == 0)
    return ex__fail(err, EX_EINFEASIBLE,
                    "risk = %g of %s cannot be shown by %s with any number of samples up to 2^26",
                    risk->value, of, form);
  if (n < least)
    return ex__fail(err, EX_EINFEASIBLE,
                    "risk = %g of %s cannot be shown by %s with %d samples in certify; it takes at "
                    "least %d",
                    risk->value, of, form, (int)n, (int)least);
  return ex__fail(err, EX_EINFEASIBLE,
                  "risk = %g of %s; %s does not keep to it at its most careful", risk->value, of,
                  policy->class->name);
}

static bool too_few(const struct ex_risk *risk, const struct ex_candidates *path,
                    const struct ex_risk_walk *found, int32_t n) {
  if (found->chosen < 0) return true;
  if (found->chosen > 0 || path->n == 1 || risk->value == 0) return false;
  int32_t least = ex__risk_least_n(risk);
  return least == 0 || least > n;
}

enum ex_status ex__calibrate_risk(const ex_policy *policy, const ex_trace *select,
                                  const ex_trace *certify, const struct ex_risk *risk,
                                  const char *date, struct ex_calibration *out,
                                  struct ex_error *err) {
  struct ex_candidates path;
  struct ex_risk_walk found;
  out->receipt = NULL;
  EX_TRY(ex__risk_check(risk, err));
  EX_TRY(ex__calibrate_check(policy, select, certify, false, err));
  EX_TRY(ex__risk_path_make(policy, select, risk->of, &path, err));
  enum ex_status status = ex__risk_walk(risk, path.items, path.n, certify, &found, err);
  if (status == EX_OK && too_few(risk, &path, &found, certify->n))
    status = refuse(risk, policy, certify->n, err);
  if (status == EX_OK) {
    out->policy = path.items[found.chosen];
    status = ex__risk_receipt_make(risk, &path, &found, select, certify, date, &out->receipt, err);
  }
  ex__candidates_free(&path);
  return status;
}
