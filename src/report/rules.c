/* SPDX-License-Identifier: Apache-2.0
 *
 * report/rules: one measured cost table and three traces serve all rules, so a
 * rule more costs its fits and replays.
 */
#include "report/rules.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "calibrate/estimate.h"
#include "report/evaluation_facts.h"

enum { MAX_RULES = 32, MAX_LABEL = 128, WARM_UP = 20, REPORT_EVERY = 64 };

/* What the rules are held against after the constraint that was asked for. */
static const struct ex_constraint others[] = {
    {EX_CONSTRAINT_DROP, 0.25}, {EX_CONSTRAINT_DROP, 0.5}, {EX_CONSTRAINT_DROP, 1},
    {EX_CONSTRAINT_DROP, 2},    {EX_CONSTRAINT_DROP, 5},   {EX_CONSTRAINT_MACS, 0.3},
    {EX_CONSTRAINT_MACS, 0.5},  {EX_CONSTRAINT_MACS, 0.7}};
enum { N_CONSTRAINTS = 1 + sizeof others / sizeof *others };

struct fitted {
  bool ok;
  bool met; /* on certify */
  ex_policy policy;
  struct ex_estimate certify, test;
};

struct rule {
  const char *label; /* "margin", "latency-aware:search=shared"; borrowed */
  struct fitted fitted[N_CONSTRAINTS];
  struct ex_error why; /* it was refused where it should keep the first constraint */
  /* Under the first constraint, on test: */
  double risk;
  struct ex_outcome *outcomes; /* [n] */
  ex_engine *engine;
  double *ns; /* [n_timed] */
};

struct work {
  const struct ex_rules_job *job;
  ex_engine *full;
  ex_trace *select, *certify, *test;
  struct ex_constraint constraint[N_CONSTRAINTS];
  struct rule *rules; /* [MAX_RULES] */
  int32_t n, n_constraints, n_timed;
};

static void close_work(struct work *work) {
  for (int32_t i = 0; work->rules != NULL && i < work->n; i++) {
    ex_engine_free(work->rules[i].engine);
    ex__free(work->rules[i].outcomes);
    ex__free(work->rules[i].ns);
  }
  ex__free(work->rules);
  ex_engine_free(work->full);
  ex__trace_free(work->select);
  ex__trace_free(work->certify);
  ex__trace_free(work->test);
}

/* ---- what all share --------------------------------------------------------- */

static enum ex_status record(struct work *work, enum ex_split split, const struct ex_cost *cost,
                             ex_trace **trace, struct ex_error *err) {
  const struct ex_rules_job *job = work->job;
  if (ex__data_size(job->data, split) == 0)
    return ex__fail(err, EX_EINVAL, "compare: the %s split has no samples; it needs some",
                    ex__split_name(split));
  EX_TRY(ex__trace_record(ex__engine_compiled(work->full), job->data, split, job->threads,
                          &job->progress, trace, err));
  (*trace)->cost = *cost;
  for (int32_t i = 0; i < (*trace)->n; i++)
    if ((*trace)->target[i] < 0)
      return ex__fail(err, EX_EINVAL, "compare: sample %d of %s has no label; every one must have",
                      (int)i, ex__split_name(split));
  return EX_OK;
}

static enum ex_status record_all(struct work *work, struct ex_error *err) {
  const struct ex_rules_job *job = work->job;
  const struct ex_engine_options options = {
      .size = sizeof options, .threads = job->threads, .max_batch = 1};
  ex_policy last;
  struct ex_cost cost;
  EX_TRY(
      ex__policy_init(&last, "fixed", job->model->net->n_points, job->model->net->n_outputs, err));
  EX_TRY(ex__engine_new(job->model, &last, &options, &work->full, err));
  if (ex__data_size(job->data, EX_SPLIT_SELECT) > 0)
    EX_TRY(ex__engine_measure_split(work->full, job->data, EX_SPLIT_SELECT, &cost, err));
  EX_TRY(record(work, EX_SPLIT_SELECT, &cost, &work->select, err));
  EX_TRY(record(work, EX_SPLIT_CERTIFY, &cost, &work->certify, err));
  return record(work, EX_SPLIT_TEST, &cost, &work->test, err);
}

static enum ex_status add_rule(struct work *work, const char *label, struct ex_error *err) {
  if (work->n == MAX_RULES)
    return ex__fail(err, EX_EINVAL, "compare: more than %d rules", MAX_RULES);
  work->rules[work->n++].label = label;
  return EX_OK;
}

/* A name, and values that are set: NAME:KEY=VALUE:KEY=VALUE… */
static enum ex_status make_policy(const char *label, int32_t n_points, int32_t n_outputs,
                                  ex_policy *out, struct ex_error *err) {
  char text[MAX_LABEL], *rest = text;
  if (strlen(label) >= MAX_LABEL)
    return ex__fail(err, EX_EINVAL, "rule \"%.40s…\": must have at most %d characters", label,
                    MAX_LABEL - 1);
  memcpy(text, label, strlen(label) + 1);
  EX_TRY(ex__policy_init(out, strtok_r(rest, ":", &rest), n_points, n_outputs, err));
  for (char *set; (set = strtok_r(rest, ":", &rest)) != NULL;) {
    char *value = strchr(set, '=');
    if (value == NULL)
      return ex__fail(err, EX_EINVAL, "rule \"%s\": must have the form NAME:KEY=VALUE", label);
    *value++ = '\0';
    EX_TRY(ex__policy_set(out, set, value, err));
  }
  return EX_OK;
}

static enum ex_status add_named(struct work *work, const char *const *names, struct ex_error *err) {
  const ex_net *net = work->job->model->net;
  for (int32_t i = 0; names[i] != NULL; i++) {
    ex_policy unused;
    EX_TRY(make_policy(names[i], net->n_points, net->n_outputs, &unused, err));
    EX_TRY(add_rule(work, names[i], err));
  }
  return EX_OK;
}

static enum ex_status choose_rules(struct work *work, struct ex_error *err) {
  work->rules = ex__calloc(MAX_RULES, sizeof *work->rules);
  if (work->rules == NULL) return ex__fail(err, EX_ENOMEM, "compare: no memory");
  if (work->job->names != NULL) return add_named(work, work->job->names, err);
  for (int32_t i = 0; ex__policy_at(i) != NULL; i++) {
    bool deployable = (ex__policy_at(i)->needs & EX_POLICY_NEEDS_TARGET) == 0;
    if (deployable) EX_TRY(add_rule(work, ex__policy_at(i)->name, err));
  }
  return EX_OK;
}

/* ---- fitting ---------------------------------------------------------------- */

/* A rule that cannot keep a constraint, or is not for this network, is part of
 * the answer; a lack of memory is not. */
static enum ex_status take(const struct work *work, const struct ex_calibrated *calibrated,
                           struct fitted *out, struct ex_error *err) {
  if (calibrated->status == EX_ENOMEM) *err = calibrated->why;
  if (calibrated->status != EX_OK) return calibrated->status == EX_ENOMEM ? EX_ENOMEM : EX_OK;
  out->ok = true;
  out->policy = calibrated->calibration.policy;
  out->met = json_is_true(json_object_get(calibrated->calibration.receipt, "met"));
  EX_TRY(ex__estimate(&out->policy, work->certify, 0.1, &out->certify, err));
  return ex__estimate(&out->policy, work->test, 0.1, &out->test, err);
}

/* Whether the constraint is the risk that is to be certified. */
static bool by_risk(const struct work *work, int32_t c) {
  return c == 0 && work->job->risk != NULL;
}

static void calibrate(const struct work *work, const ex_policy *policy,
                      const struct ex_calibrate_options *options, struct ex_calibrated *all) {
  int32_t first = by_risk(work, 0) ? 1 : 0;
  if (first == 1)
    all[0].status = ex__calibrate_risk(policy, work->select, work->certify, work->job->risk, NULL,
                                       &all[0].calibration, &all[0].why);
  ex__calibrate_each(policy, work->select, work->certify, options + first,
                     work->n_constraints - first, all + first);
}

static enum ex_status fit(const struct work *work, struct rule *rule, struct ex_error *err) {
  struct ex_calibrate_options options[N_CONSTRAINTS];
  struct ex_calibrated *all = ex__calloc(N_CONSTRAINTS, sizeof *all);
  ex_policy policy;
  if (all == NULL) return ex__fail(err, EX_ENOMEM, "compare: no memory for the fits of a rule");
  for (int32_t c = 0; c < work->n_constraints; c++)
    options[c] = (struct ex_calibrate_options){.constraint = work->constraint[c]};
  enum ex_status status =
      make_policy(rule->label, work->select->n_points, work->select->n_outputs, &policy, err);
  if (status == EX_OK) calibrate(work, &policy, options, all);
  for (int32_t c = 0; c < work->n_constraints; c++) {
    if (status == EX_OK) status = take(work, &all[c], &rule->fitted[c], err);
    json_decref(all[c].calibration.receipt);
  }
  rule->why = all[0].why;
  ex__free(all);
  return status;
}

static enum ex_status report(const struct work *work, const char *task, int32_t done, int32_t total,
                             const char *unit, int64_t began, struct ex_error *err) {
  const struct ex_progress *progress = &work->job->progress;
  const struct ex_progress_event event = {.task = task,
                                          .done = done,
                                          .total = total,
                                          .unit = unit,
                                          .seconds = (double)(ex__now_ns() - began) / 1e9};
  if (progress->report == NULL || progress->report(progress->context, &event)) return EX_OK;
  return ex__fail(err, EX_ECANCELLED, "compare: stopped at %s %d of %d", unit, (int)done,
                  (int)total);
}

static enum ex_status replay(struct work *work, struct rule *rule, struct ex_error *err) {
  const ex_trace *test = work->test;
  rule->outcomes = ex__calloc((size_t)test->n, sizeof *rule->outcomes);
  if (rule->outcomes == NULL)
    return ex__fail(err, EX_ENOMEM, "compare: no memory for %d outcomes", (int)test->n);
  ex__policy_replay(&rule->fitted[0].policy, test, NULL, rule->outcomes);
  int32_t otherwise = 0;
  for (int32_t i = 0; i < test->n; i++)
    otherwise += test->answer[ex__trace_at(test, rule->outcomes[i].answer, i)].label !=
                 test->answer[ex__trace_at(test, test->n_points - 1, i)].label;
  rule->risk = (double)otherwise / test->n;
  return EX_OK;
}

static bool same(const struct ex_constraint *a, const struct ex_constraint *b) {
  return a->kind == b->kind && a->value == b->value;
}

static void choose_constraints(struct work *work) {
  const struct ex_constraint *asked = &work->job->constraint;
  work->constraint[work->n_constraints++] = *asked;
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (work->job->risk != NULL || !same(&others[i], asked))
      work->constraint[work->n_constraints++] = others[i];
}

static enum ex_status fit_all(struct work *work, struct ex_error *err) {
  int64_t began = ex__now_ns();
  int32_t done = 0, total = work->n * work->n_constraints;
  for (int32_t i = 0; i < work->n; i++) {
    struct rule *rule = &work->rules[i];
    EX_TRY(fit(work, rule, err));
    done += work->n_constraints;
    EX_TRY(report(work, "fitting rules", done, total, "fits", began, err));
    if (rule->fitted[0].ok) EX_TRY(replay(work, rule, err));
  }
  return EX_OK;
}

/* ---- wall clock --------------------------------------------------------------- */

static enum ex_status open_engines(struct work *work, struct ex_error *err) {
  const struct ex_engine_options options = {
      .size = sizeof options, .threads = work->job->threads, .max_batch = 1};
  for (int32_t i = 0; i < work->n; i++) {
    struct rule *rule = &work->rules[i];
    if (!rule->fitted[0].ok) continue;
    EX_TRY(ex__engine_new(work->job->model, &rule->fitted[0].policy, &options, &rule->engine, err));
    rule->ns = ex__calloc((size_t)work->n_timed, sizeof *rule->ns);
    if (rule->ns == NULL)
      return ex__fail(err, EX_ENOMEM, "compare: no memory for %d times", (int)work->n_timed);
  }
  return EX_OK;
}

/* The live engine must do what replay said. */
static enum ex_status time_rule(struct rule *rule, const float *x, int32_t sample, double *ns,
                                struct ex_error *err) {
  struct ex_result result = {.logits = NULL};
  int64_t before = ex__now_ns();
  enum ex_status status = ex_engine_run(rule->engine, x, &result);
  *ns = (double)(ex__now_ns() - before);
  if (status != EX_OK)
    return ex__fail(err, status, "compare: sample %d: %s", (int)sample, ex_status_text(status));
  const struct ex_outcome *replayed = &rule->outcomes[sample];
  if (result.exit == replayed->answer && result.macs == replayed->macs) return EX_OK;
  return ex__fail(err, EX_EBACKEND,
                  "compare: %s, sample %d: the engine answered at exit %d for %lld multiply-adds, "
                  "replay at exit %d for %lld; they must agree",
                  rule->label, (int)sample, (int)result.exit, (long long)result.macs,
                  (int)replayed->answer, (long long)replayed->macs);
}

/* Samples spread over test, each by every rule, the first of whom changes. */
static enum ex_status time_samples(struct work *work, float *x, ex_real *stored,
                                   struct ex_error *err) {
  int64_t features = ex__data_info(work->job->data)->features, began = ex__now_ns();
  for (int32_t i = -WARM_UP; i < work->n_timed; i++) {
    int32_t sample = i < 0 ? 0 : (int32_t)((int64_t)i * work->test->n / work->n_timed);
    ex__data_raw(work->job->data, EX_SPLIT_TEST, sample, stored);
    for (int64_t j = 0; j < features; j++) x[j] = (float)stored[j];
    for (int32_t r = 0; r < work->n; r++) {
      struct rule *rule = &work->rules[(r + (i > 0 ? i : 0)) % work->n];
      double ns;
      if (!rule->fitted[0].ok) continue;
      EX_TRY(time_rule(rule, x, sample, &ns, err));
      if (i >= 0) rule->ns[i] = ns;
    }
    if (i > 0 && i % REPORT_EVERY == 0)
      EX_TRY(report(work, "wall clock", i, work->n_timed, "samples", began, err));
  }
  return EX_OK;
}

static enum ex_status time_all(struct work *work, struct ex_error *err) {
  int32_t wanted = work->job->timed_samples;
  work->n_timed = wanted < work->test->n ? wanted : work->test->n;
  if (work->n_timed <= 0) return EX_OK;
  size_t features = (size_t)ex__data_info(work->job->data)->features;
  float *x = ex__calloc(features, sizeof *x);
  ex_real *stored = ex__calloc(features, sizeof *stored);
  enum ex_status status = x != NULL && stored != NULL
                              ? open_engines(work, err)
                              : ex__fail(err, EX_ENOMEM, "compare: no memory for an input");
  if (status == EX_OK) status = time_samples(work, x, stored, err);
  ex__free(x);
  ex__free(stored);
  return status;
}

/* ---- telling ------------------------------------------------------------------ */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void put_times(const struct work *work, struct rule *rule, json_t *json) {
  double mean = 0, p99 = NAN;
  for (int32_t i = 0; i < work->n_timed; i++) mean += rule->ns[i] / work->n_timed;
  if (work->n_timed > 0) {
    qsort(rule->ns, (size_t)work->n_timed, sizeof *rule->ns, by_value);
    p99 = rule->ns[(int32_t)((int64_t)99 * (work->n_timed - 1) / 100)];
  }
  ex__put_number(json, "mean_ns", work->n_timed > 0 ? mean : NAN);
  ex__put_number(json, "p99_ns", p99);
}

static json_t *rule_json(const struct work *work, struct rule *rule) {
  const struct ex_estimate *test = &rule->fitted[0].test;
  if (!rule->fitted[0].ok)
    return json_pack("{s:s, s:s}", "policy", rule->label, "refused", rule->why.text);
  json_t *json = json_pack(
      "{s:s, s:f, s:f, s:f, s:f, s:f, s:b, s:o}", "policy", rule->label, "accuracy", test->accuracy,
      "drop", test->drop, "mean_macs", test->macs, "macs_share", test->macs / test->full_macs,
      "risk", rule->risk, "met", (int)rule->fitted[0].met, "values",
      ex__param_to_json(rule->fitted[0].policy.class->params, rule->fitted[0].policy.values));
  if (json != NULL) put_times(work, rule, json);
  return json;
}

static json_t *risk_json(const struct ex_risk *risk) {
  char unit[64];
  const char *of = ex__risk_of_name(risk->of);
  if (risk->form == EX_RISK_CRC)
    snprintf(unit, sizeof unit, "(%s, on average)", of);
  else
    snprintf(unit, sizeof unit, "(%s, %g %% confidence)", of, 100 * risk->confidence);
  return json_pack("{s:s, s:f, s:s}", "kind", "risk", "value", risk->value, "unit", unit);
}

static json_t *constraint_json(const struct work *work, int32_t c) {
  if (by_risk(work, c)) return risk_json(work->job->risk);
  const struct ex_constraint *constraint = &work->constraint[c];
  static const char *const kinds[] = {"drop", "macs", "latency"};
  static const char *const units[] = {"percentage points", "share of full depth", "microseconds"};
  return json_pack("{s:s, s:f, s:s}", "kind", kinds[constraint->kind], "value", constraint->value,
                   "unit", units[constraint->kind]);
}

/* By certify: of those that keep the constraint there the cheapest, or under a
 * budget the most accurate. (A certified risk is one of its rule: that the best of several
 * was taken is not counted in.) */
static const struct rule *best_rule(const struct work *work, int32_t c) {
  const struct rule *best = NULL;
  double least = INFINITY;
  for (int32_t i = 0; i < work->n; i++) {
    const struct fitted *fitted = &work->rules[i].fitted[c];
    if (!fitted->ok || !fitted->met) continue;
    double macs = fitted->certify.macs / fitted->certify.full_macs;
    double score = by_risk(work, c) || work->constraint[c].kind == EX_CONSTRAINT_DROP
                       ? macs
                       : -fitted->certify.accuracy + 1e-9 * macs;
    if (score >= least) continue;
    least = score;
    best = &work->rules[i];
  }
  return best;
}

static json_t *best_json(const struct work *work) {
  json_t *all = json_array();
  for (int32_t c = 0; c < work->n_constraints; c++) {
    const struct rule *rule = best_rule(work, c);
    json_t *constraint = constraint_json(work, c);
    if (rule == NULL) {
      json_array_append_new(all, json_pack("{s:o, s:n}", "constraint", constraint, "policy"));
      continue;
    }
    const struct ex_estimate *certify = &rule->fitted[c].certify;
    json_array_append_new(all, json_pack("{s:o, s:s, s:f, s:f, s:f}", "constraint", constraint,
                                         "policy", rule->label, "accuracy", certify->accuracy,
                                         "drop", certify->drop, "macs_share",
                                         certify->macs / certify->full_macs));
  }
  return all;
}

/* Accuracy over work on test, over all constraints, by work. */
static json_t *curves_json(const struct work *work) {
  json_t *curves = json_object();
  for (int32_t i = 0; i < work->n; i++) {
    double point[N_CONSTRAINTS][2]; /* work first, so that by_value sorts by it */
    int32_t n = 0;
    for (int32_t c = 0; c < work->n_constraints; c++) {
      const struct fitted *fitted = &work->rules[i].fitted[c];
      if (!fitted->ok) continue;
      point[n][0] = fitted->test.macs / fitted->test.full_macs;
      point[n++][1] = fitted->test.accuracy;
    }
    qsort(point, (size_t)n, sizeof *point, by_value);
    json_t *curve = json_array();
    for (int32_t p = 0; p < n; p++)
      json_array_append_new(curve, json_pack("[f, f]", point[p][0], point[p][1]));
    json_object_set_new(curves, work->rules[i].label, curve);
  }
  return curves;
}

/* Of one rule, under all constraints of a kind, what was asked for first. */
static json_t *by_kind(const struct work *work, const struct rule *rule,
                       enum ex_constraint_kind kind) {
  json_t *list = json_array();
  for (int32_t c = 0; c < work->n_constraints; c++) {
    const struct fitted *fitted = &rule->fitted[c];
    const struct ex_estimate *test = &fitted->test;
    if (by_risk(work, c) || work->constraint[c].kind != kind) continue;
    json_t *item = json_pack("{s:f}", "value", work->constraint[c].value);
    if (fitted->ok)
      json_object_update_new(
          item, json_pack("{s:f, s:f, s:f, s:b}", "accuracy", test->accuracy, "drop", test->drop,
                          "macs_share", test->macs / test->full_macs, "met", (int)fitted->met));
    json_array_append_new(list, item);
  }
  return list;
}

static json_t *by_rule(const struct work *work) {
  json_t *rules = json_object();
  for (int32_t i = 0; i < work->n; i++) {
    const struct rule *rule = &work->rules[i];
    json_object_set_new(rules, rule->label,
                        json_pack("{s:o, s:o, s:o}", "drop",
                                  by_kind(work, rule, EX_CONSTRAINT_DROP), "macs",
                                  by_kind(work, rule, EX_CONSTRAINT_MACS), "latency",
                                  by_kind(work, rule, EX_CONSTRAINT_LATENCY)));
  }
  return rules;
}

static json_t *tell(const struct work *work) {
  const ex_trace *test = work->test;
  json_t *rules = json_array();
  int32_t right = 0;
  for (int32_t i = 0; i < test->n; i++)
    right += test->answer[ex__trace_at(test, test->n_points - 1, i)].label == test->target[i];
  for (int32_t i = 0; i < work->n; i++)
    json_array_append_new(rules, rule_json(work, &work->rules[i]));
  return json_pack("{s:o, s:i, s:{s:f, s:I}, s:o, s:o, s:o, s:o}", "constraint",
                   constraint_json(work, 0), "n", (int)test->n, "full", "accuracy",
                   (double)right / test->n, "macs",
                   (json_int_t)test->cost.direct_macs[test->n_points - 1], "rules", rules, "best",
                   best_json(work), "curves", curves_json(work), "by_rule", by_rule(work));
}

enum ex_status ex__rules_compare(const struct ex_rules_job *job, json_t **out,
                                 struct ex_error *err) {
  struct work work = {.job = job};
  *out = NULL;
  enum ex_status status = choose_rules(&work, err);
  choose_constraints(&work);
  if (status == EX_OK) status = record_all(&work, err);
  if (status == EX_OK) status = fit_all(&work, err);
  if (status == EX_OK) status = time_all(&work, err);
  if (status == EX_OK) {
    *out = tell(&work);
    if (*out == NULL) status = ex__fail(err, EX_ENOMEM, "compare: no memory for the table");
  }
  close_work(&work);
  return status;
}
