/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/receipt: what was promised, on what evidence, for which weights
 * and samples; and whether it still holds.
 *
 * A receipt is `empirical`: each bound holds with confidence 0.9 for samples
 * like those of the certify split; or `certified`: a risk is controlled
 * (risk_receipt.c), and there are no other bounds. Times are information: they
 * belong to a machine, so verification does not compare them.
 */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "calibrate/calibrate.h"
#include "calibrate/calibrate_internal.h"
#include "calibrate/risk_receipt.h"

static json_t *exit_shares(const struct ex_estimate *estimate, int32_t n_points) {
  json_t *shares = json_array();
  for (int32_t p = 0; p < n_points; p++)
    json_array_append_new(shares, json_real((double)estimate->exits[p] / estimate->pairs.n));
  return shares;
}

static bool put(json_t *json, const char *key, double value) {
  return json_object_set_new(json, key, json_real(value)) == 0;
}

static bool put_bounds(json_t *json, const struct ex_estimate *estimate) {
  return put(json, "drop_bound", 100 * estimate->drop_upper) &&
         put(json, "macs_share_bound", estimate->macs_upper / estimate->full_macs) &&
         (!(estimate->ns > 0) || put(json, "latency_us_bound", estimate->ns_upper / 1000));
}

json_t *ex__receipt_split(const ex_trace *trace, const struct ex_estimate *estimate, bool bounds) {
  json_t *json = json_pack(
      "{s:s, s:i, s:f, s:f, s:i, s:i, s:f, s:f, s:f, s:o}", "samples", trace->samples, "n",
      (int)estimate->pairs.n, "accuracy", 100 * estimate->accuracy, "full_accuracy",
      100 * estimate->full_accuracy, "lost", (int)estimate->pairs.lost, "won",
      (int)estimate->pairs.won, "drop", 100 * estimate->drop, "macs", estimate->macs, "macs_share",
      estimate->macs / estimate->full_macs, "exit_shares", exit_shares(estimate, trace->n_points));
  bool ok = !bounds || put_bounds(json, estimate);
  if (estimate->ns > 0)
    ok = ok && put(json, "latency_us", estimate->ns / 1000) &&
         put(json, "full_latency_us", estimate->full_ns / 1000);
  if (ok) return json;
  json_decref(json);
  return NULL;
}

/* Whether each exit is on, and what it saves; for rules with thresholds. */
static json_t *exits_to_json(const ex_policy *policy, const ex_trace *trace) {
  double saved[EX_MAX_POINTS];
  json_t *exits = json_array();
  if (ex__exit_savings(policy, trace, saved, NULL) != EX_OK) return exits;
  const struct ex_list *list = ex__policy_thresholds_of(policy);
  double full = (double)trace->cost.direct_macs[trace->n_points - 1];
  for (int32_t p = 0; p < trace->n_points - 1; p++) {
    bool on = list->n > 0 && list->value[list->n == 1 ? 0 : p] != policy->class->threshold_off;
    json_array_append_new(exits, json_pack("{s:i, s:b, s:f}", "exit", (int)p, "on", on,
                                           "saved_macs_share", saved[p] / full));
  }
  return exits;
}

static json_t *constraint_to_json(const struct ex_constraint *constraint) {
  return json_pack("{s:s, s:f, s:s}", "kind", ex__constraint_name(constraint->kind), "value",
                   constraint->value, "unit", ex__constraint_unit(constraint->kind));
}

/* How sure the exit is that everybody reaches first: what a server holds its inputs
 * against. Shares of confidences in ten equal bins of [0, 1]. */
static json_t *first_confidence(const ex_policy *policy, const ex_trace *select) {
  enum { BINS = 10 };
  int32_t point = ex__policy_next(policy, -1, select->n_points - 1), count[BINS] = {0};
  json_t *shares = json_array();
  for (int32_t i = 0; i < select->n; i++) {
    double confidence = select->answer[ex__trace_at(select, point, i)].max_probability;
    int32_t bin = confidence > 0 ? (int32_t)(confidence * BINS) : 0;
    count[bin < BINS ? bin : BINS - 1]++;
  }
  for (int32_t b = 0; b < BINS; b++)
    json_array_append_new(shares, json_real((double)count[b] / select->n));
  return json_pack("{s:i, s:o}", "exit", (int)point, "shares", shares);
}

json_t *ex__receipt_assemble(const struct ex_receipt_parts *parts) {
  const struct ex_candidates *candidates = parts->candidates;
  json_t *search = json_pack("{s:s, s:i, s:i, s:b}", "method", candidates->method, "candidates",
                             (int)candidates->n, "tested", (int)parts->n_tested, "exact",
                             (int)candidates->exact);
  json_t *receipt = json_pack(
      "{s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:b}", "kind", parts->kind,
      "version", ex_version(), "constraint", parts->constraint, "confidence", parts->confidence,
      "policy", ex__policy_to_json(parts->policy), "weights", parts->select->weights, "search",
      search, "select", parts->select_split, "certify", parts->certify_split, "exits",
      exits_to_json(parts->policy, parts->select), "first_confidence",
      first_confidence(parts->policy, parts->select), "met", (int)parts->met);
  if (receipt != NULL && parts->date != NULL &&
      json_object_set_new(receipt, "date", json_string(parts->date)) != 0) {
    json_decref(receipt);
    receipt = NULL;
  }
  return receipt;
}

enum ex_status ex__receipt_make(const ex_policy *policy, const struct ex_candidates *candidates,
                                int32_t n_tested, const ex_trace *select, const ex_trace *certify,
                                const struct ex_calibrate_options *options, json_t **out,
                                struct ex_error *err) {
  struct ex_estimate on_select, on_certify;
  EX_TRY(ex__estimate(policy, select, ex__calibrate_alpha, &on_select, err));
  EX_TRY(ex__estimate(policy, certify, ex__calibrate_alpha, &on_certify, err));
  const struct ex_receipt_parts parts = {
      .kind = "empirical",
      .constraint = constraint_to_json(&options->constraint),
      .confidence = json_real(1 - ex__calibrate_alpha),
      .policy = policy,
      .candidates = candidates,
      .n_tested = n_tested,
      .select = select,
      .select_split = ex__receipt_split(select, &on_select, true),
      .certify_split = ex__receipt_split(certify, &on_certify, true),
      .met = ex__constraint_met(&options->constraint, &on_certify),
      .date = options->date,
  };
  *out = ex__receipt_assemble(&parts);
  return *out != NULL ? EX_OK : ex__fail(err, EX_ENOMEM, "calibrate: no memory for a receipt");
}

/* ---- verifying ---------------------------------------------------------- */

void ex__verification_note(struct ex_verification *verification, const char *what, json_t *promised,
                           json_t *found, bool ok) {
  json_t *check = json_pack("{s:s, s:o, s:o, s:b}", "what", what, "promised", promised, "found",
                            found, "ok", (int)ok);
  if (check == NULL || json_array_append_new(verification->checks, check) != 0) ok = false;
  verification->held = verification->held && ok;
}

static void note_text(struct ex_verification *verification, const char *what, const char *promised,
                      const char *found) {
  ex__verification_note(verification, what, json_string(promised), json_string(found),
                        strcmp(promised, found) == 0);
}

void ex__verification_note_number(struct ex_verification *verification, const char *what,
                                  double promised, double found) {
  ex__verification_note(verification, what, json_real(promised), json_real(found),
                        fabs(promised - found) <= 1e-9 * fmax(1, fabs(promised)));
}

static enum ex_status read_number(const json_t *split, const char *key, double *out,
                                  struct ex_error *err) {
  return ex__json_real(split, key, "receipt: certify", -1e18, 1e18, out, err);
}

/* `bounds`: the receipt has them. */
static enum ex_status check_figures(const json_t *split, const struct ex_estimate *found,
                                    bool bounds, struct ex_verification *verification,
                                    struct ex_error *err) {
  const struct {
    const char *key;
    double found;
  } figures[] = {
      {"n", found->pairs.n},
      {"accuracy", 100 * found->accuracy},
      {"full_accuracy", 100 * found->full_accuracy},
      {"drop", 100 * found->drop},
      {"macs", found->macs},
      {"macs_share", found->macs / found->full_macs},
      {"drop_bound", 100 * found->drop_upper},
      {"macs_share_bound", found->macs_upper / found->full_macs},
  };
  size_t n = sizeof figures / sizeof *figures - (bounds ? 0 : 2);
  for (size_t i = 0; i < n; i++) {
    double promised;
    EX_TRY(read_number(split, figures[i].key, &promised, err));
    ex__verification_note_number(verification, figures[i].key, promised, figures[i].found);
  }
  return EX_OK;
}

static enum ex_status check_constraint(const json_t *receipt, const struct ex_estimate *found,
                                       struct ex_verification *verification, struct ex_error *err) {
  const json_t *json;
  const char *name;
  struct ex_constraint constraint;
  EX_TRY(ex__json_object(receipt, "constraint", "receipt", &json, err));
  EX_TRY(ex__json_string(json, "kind", "receipt: constraint", &name, err));
  EX_TRY(ex__json_real(json, "value", "receipt: constraint", 0, 1e18, &constraint.value, err));
  int kind = 0;
  while (kind <= EX_CONSTRAINT_LATENCY &&
         strcmp(name, ex__constraint_name((enum ex_constraint_kind)kind)) != 0)
    kind++;
  if (kind > EX_CONSTRAINT_LATENCY)
    return ex__fail(err, EX_EFORMAT,
                    "receipt: constraint kind = \"%.40s\"; must be drop, macs or latency", name);
  constraint.kind = (enum ex_constraint_kind)kind;
  if (constraint.kind == EX_CONSTRAINT_LATENCY) return EX_OK; /* information only */
  ex__verification_note(verification, "constraint", json_real(constraint.value),
                        json_real(ex__constraint_bound(constraint.kind, found)),
                        ex__constraint_met(&constraint, found));
  return EX_OK;
}

static enum ex_status verify(const json_t *receipt, const ex_policy *policy,
                             const ex_trace *certify, struct ex_verification *verification,
                             struct ex_error *err) {
  const char *weights, *samples;
  const json_t *split, *promised;
  struct ex_estimate found;
  EX_TRY(ex__json_string(receipt, "weights", "receipt", &weights, err));
  EX_TRY(ex__json_object(receipt, "certify", "receipt", &split, err));
  EX_TRY(ex__json_object(receipt, "policy", "receipt", &promised, err));
  EX_TRY(ex__json_string(split, "samples", "receipt: certify", &samples, err));
  if (certify->n_points != policy->n_points || certify->n_outputs != policy->n_outputs)
    return ex__fail(err, EX_ESHAPE,
                    "certify: trace of %d exits and %d outputs; the policy is for %d and %d",
                    (int)certify->n_points, (int)certify->n_outputs, (int)policy->n_points,
                    (int)policy->n_outputs);
  note_text(verification, "weights", weights, certify->weights);
  note_text(verification, "samples", samples, certify->samples);
  json_t *actual = ex__policy_to_json(policy);
  if (actual == NULL) return ex__fail(err, EX_ENOMEM, "verify: no memory");
  ex__verification_note(verification, "policy", json_deep_copy(promised), actual,
                        json_equal((json_t *)(uintptr_t)promised, actual) == 1);
  EX_TRY(ex__estimate(policy, certify, ex__calibrate_alpha, &found, err));
  bool certified = ex__risk_receipt_is(receipt);
  EX_TRY(check_figures(split, &found, !certified, verification, err));
  if (certified) return ex__risk_receipt_verify(receipt, policy, certify, verification, err);
  return check_constraint(receipt, &found, verification, err);
}

enum ex_status ex__receipt_verify(const json_t *receipt, const ex_policy *policy,
                                  const ex_trace *certify, json_t **report, struct ex_error *err) {
  struct ex_verification verification = {.checks = json_array(), .held = true};
  *report = NULL;
  enum ex_status status = verify(receipt, policy, certify, &verification, err);
  if (status != EX_OK) {
    json_decref(verification.checks);
    return status;
  }
  *report = json_pack("{s:b, s:o}", "held", (int)verification.held, "checks", verification.checks);
  return *report != NULL ? EX_OK : ex__fail(err, EX_ENOMEM, "verify: no memory for the report");
}
