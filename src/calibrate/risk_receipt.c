/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/risk_receipt: the receipt of a risk that is controlled.
 *
 * Beside the chosen policy it holds the path as far as it was tested, each policy
 * as what differs from the chosen one, so verification does not take the receipt's
 * word for where the tests ended: it walks again. How the path was found on select
 * is not walked again; the guarantee does not depend on it, only on its being fixed
 * before the certify split was looked at.
 */
#include "calibrate/risk_receipt.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"

enum { MAX_PATH = 4096 };

/* ---- making ------------------------------------------------------------------- */

/* Those of `policy`'s values that are not those of `chosen`. */
static json_t *difference(const json_t *chosen, const ex_policy *policy) {
  json_t *json = ex__policy_to_json(policy), *out = json_object(), *value;
  const char *key;
  bool ok = json != NULL && out != NULL;
  json_object_foreach(json_object_get(json, "values"), key, value) {
    if (json_equal(json_object_get(json_object_get(chosen, "values"), key), value) != 1)
      ok = ok && json_object_set(out, key, value) == 0;
  }
  json_decref(json);
  if (ok) return out;
  json_decref(out);
  return NULL;
}

static json_t *tested_path(const struct ex_candidates *path, const struct ex_risk_walk *walk) {
  json_t *chosen = ex__policy_to_json(&path->items[walk->chosen]), *array = json_array();
  bool ok = chosen != NULL && array != NULL;
  for (int32_t p = 0; ok && p < walk->n_tested; p++)
    ok = json_array_append_new(array, difference(chosen, &path->items[p])) == 0;
  json_decref(chosen);
  if (ok) return array;
  json_decref(array);
  return NULL;
}

static json_t *risk_to_json(const struct ex_risk *risk, const struct ex_candidates *path,
                            const struct ex_risk_walk *walk) {
  return json_pack("{s:s, s:s, s:I, s:f, s:i, s:o}", "of", ex__risk_of_name(risk->of), "form",
                   ex__risk_form_name(risk->form), "seed", (json_int_t)risk->seed, "statistic",
                   walk->evidence.statistic, "chosen", (int)walk->chosen, "path",
                   tested_path(path, walk));
}

/* A split's figures, the mean loss among them. */
static enum ex_status split(const struct ex_risk *risk, const ex_policy *policy,
                            const ex_trace *trace, json_t **out, struct ex_error *err) {
  struct ex_estimate estimate;
  struct ex_outcome *outcomes = ex__alloc((size_t)trace->n, sizeof *outcomes);
  *out = NULL;
  if (outcomes != NULL) {
    ex__policy_replay(policy, trace, NULL, outcomes);
    ex__estimate_outcomes(policy, trace, outcomes, (struct ex_samples_range){0, 1},
                          ex__calibrate_alpha, &estimate);
    *out = ex__receipt_split(trace, &estimate, false);
    double mean = ex__risk_mean(risk->of, trace, outcomes);
    if (*out != NULL && json_object_set_new(*out, "risk", json_real(mean)) != 0) {
      json_decref(*out);
      *out = NULL;
    }
  }
  ex__free(outcomes);
  return *out != NULL ? EX_OK : ex__fail(err, EX_ENOMEM, "risk: no memory for a receipt");
}

static const char *unit_of(enum ex_risk_of of) {
  static const char *const units[] = {"share of answers that are not full depth's",
                                      "share of answers lost, less those won",
                                      "Brier score above full depth's"};
  return units[of];
}

enum ex_status ex__risk_receipt_make(const struct ex_risk *risk, const struct ex_candidates *path,
                                     const struct ex_risk_walk *walk, const ex_trace *select,
                                     const ex_trace *certify, const char *date, json_t **out,
                                     struct ex_error *err) {
  const ex_policy *policy = &path->items[walk->chosen];
  json_t *on_select, *on_certify;
  EX_TRY(split(risk, policy, select, &on_select, err));
  enum ex_status status = split(risk, policy, certify, &on_certify, err);
  if (status != EX_OK) {
    json_decref(on_select);
    return status;
  }
  const struct ex_receipt_parts parts = {
      .kind = "certified",
      .constraint = json_pack("{s:s, s:f, s:s}", "kind", "risk", "value", risk->value, "unit",
                              unit_of(risk->of)),
      .confidence = risk->form == EX_RISK_CRC ? json_null() : json_real(risk->confidence),
      .policy = policy,
      .candidates = path,
      .n_tested = walk->n_tested,
      .select = select,
      .select_split = on_select,
      .certify_split = on_certify,
      .met = true,
      .date = date,
  };
  *out = ex__receipt_assemble(&parts);
  if (*out != NULL && json_object_set_new(*out, "risk", risk_to_json(risk, path, walk)) == 0)
    return EX_OK;
  json_decref(*out);
  *out = NULL;
  return ex__fail(err, EX_ENOMEM, "risk: no memory for a receipt");
}

/* ---- verifying ------------------------------------------------------------------ */

bool ex__risk_receipt_is(const json_t *receipt) {
  const char *kind = json_string_value(json_object_get(receipt, "kind"));
  return kind != NULL && strcmp(kind, "certified") == 0;
}

static enum ex_status read_risk(const json_t *receipt, const json_t *json, struct ex_risk *out,
                                struct ex_error *err) {
  const char *of, *form;
  const json_t *constraint;
  int64_t seed;
  EX_TRY(ex__json_string(json, "of", "receipt: risk", &of, err));
  EX_TRY(ex__json_string(json, "form", "receipt: risk", &form, err));
  EX_TRY(ex__json_int(json, "seed", "receipt: risk", 0, UINT32_MAX, &seed, err));
  EX_TRY(ex__risk_of_parse(of, &out->of, err));
  EX_TRY(ex__risk_form_parse(form, &out->form, err));
  EX_TRY(ex__json_object(receipt, "constraint", "receipt", &constraint, err));
  EX_TRY(ex__json_real(constraint, "value", "receipt: constraint", 0,
                       nextafter(ex__risk_loss_most(out->of), 0), &out->value, err));
  out->seed = (uint32_t)seed;
  out->confidence = NAN;
  if (out->form == EX_RISK_CRC) return EX_OK;
  return ex__json_real(receipt, "confidence", "receipt", 1e-12, 1 - 1e-12, &out->confidence, err);
}

/* The chosen policy with a few values of another one. */
static enum ex_status read_policy(const ex_policy *chosen, const json_t *values, ex_policy *out,
                                  struct ex_error *err) {
  json_t *json = ex__policy_to_json(chosen);
  if (json == NULL ||
      json_object_update(json_object_get(json, "values"), (json_t *)(uintptr_t)values) != 0) {
    json_decref(json);
    return ex__fail(err, EX_EFORMAT, "receipt: risk: path: must hold objects of values");
  }
  enum ex_status status = ex__policy_from_json(json, chosen->n_points, chosen->n_outputs, out, err);
  json_decref(json);
  return status;
}

static enum ex_status walk_again(const struct ex_risk *risk, const json_t *path,
                                 const ex_policy *policy, const ex_trace *certify,
                                 struct ex_risk_walk *found, struct ex_error *err) {
  int32_t n = (int32_t)json_array_size(path);
  ex_policy *items = ex__alloc((size_t)n, sizeof *items);
  if (items == NULL) return ex__fail(err, EX_ENOMEM, "verify: no memory for %d policies", (int)n);
  enum ex_status status = EX_OK;
  for (int32_t p = 0; status == EX_OK && p < n; p++)
    status = read_policy(policy, json_array_get(path, (size_t)p), &items[p], err);
  if (status == EX_OK) status = ex__risk_walk(risk, items, n, certify, found, err);
  ex__free(items);
  return status;
}

/* The path's chosen policy is the model's: it differs in nothing. */
static bool is_own(const json_t *path, int64_t chosen) {
  const json_t *difference = json_array_get(path, (size_t)chosen);
  return json_is_object(difference) && json_object_size(difference) == 0;
}

enum ex_status ex__risk_receipt_verify(const json_t *receipt, const ex_policy *policy,
                                       const ex_trace *certify,
                                       struct ex_verification *verification, struct ex_error *err) {
  const json_t *json, *path, *split_json;
  struct ex_risk risk;
  struct ex_risk_walk found;
  int64_t chosen;
  double statistic, mean;
  json_t *again;
  EX_TRY(ex__json_object(receipt, "risk", "receipt", &json, err));
  EX_TRY(read_risk(receipt, json, &risk, err));
  EX_TRY(ex__json_array(json, "path", "receipt: risk", MAX_PATH, &path, err));
  EX_TRY(ex__json_int(json, "chosen", "receipt: risk", 0, MAX_PATH - 1, &chosen, err));
  EX_TRY(ex__json_real(json, "statistic", "receipt: risk", 0, 1e9, &statistic, err));
  EX_TRY(ex__json_object(receipt, "certify", "receipt", &split_json, err));
  EX_TRY(ex__json_real(split_json, "risk", "receipt: certify", -2, 2, &mean, err));
  EX_TRY(walk_again(&risk, path, policy, certify, &found, err));
  EX_TRY(split(&risk, policy, certify, &again, err));
  ex__verification_note_number(verification, "risk", mean,
                               json_number_value(json_object_get(again, "risk")));
  json_decref(again);
  ex__verification_note(verification, "last policy that passed", json_integer(chosen + 1),
                        json_integer(found.chosen + 1),
                        found.chosen == chosen && is_own(path, chosen));
  if (found.chosen >= 0)
    ex__verification_note_number(verification, "evidence", statistic, found.evidence.statistic);
  return EX_OK;
}
