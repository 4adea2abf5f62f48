/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/calibration: measures what each stage costs on this machine, with the
 * engine and the threads that will run it, records the traces of select and
 * certify, and hands both to calibrate/.
 */
#include "cli/calibration.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "calibrate/temperature.h"
#include "cli/console.h"
#include "cli/open.h"
#include "engine/engine.h"

struct work {
  ex_model *model;
  ex_data *data;
  ex_plan *plan;
  ex_compiled *compiled;
  ex_engine *engine;
  ex_trace *select, *certify;
  struct ex_calibration calibration;
};

static void close_work(struct work *work) {
  ex__trace_free(work->select);
  ex__trace_free(work->certify);
  ex_engine_free(work->engine);
  ex__compiled_free(work->compiled);
  ex__plan_free(work->plan);
  ex__data_free(work->data);
  ex_model_free(work->model);
  json_decref(work->calibration.receipt);
}

static enum ex_status measure(const struct calibration_job *job, struct work *work,
                              const ex_policy *policy, struct ex_cost *cost, struct ex_error *err) {
  const struct ex_engine_options options = {
      .size = sizeof options, .threads = job->threads, .max_batch = 1};
  EX_TRY(ex__engine_new(work->model, policy, &options, &work->engine, err));
  return ex__engine_measure_split(work->engine, work->data, EX_SPLIT_SELECT, cost, err);
}

static enum ex_status check_splits(const ex_data *data, struct ex_error *err) {
  static const enum ex_split splits[] = {EX_SPLIT_SELECT, EX_SPLIT_CERTIFY};
  for (int i = 0; i < 2; i++)
    if (ex__data_size(data, splits[i]) == 0)
      return ex__fail(err, EX_EINVAL, "calibrate: the %s split has no samples; it needs some",
                      ex__split_name(splits[i]));
  return EX_OK;
}

static enum ex_status record(const struct calibration_job *job, struct work *work,
                             struct ex_error *err) {
  EX_TRY(ex__trace_record(work->compiled, work->data, EX_SPLIT_SELECT, job->threads, &job->progress,
                          &work->select, err));
  return ex__trace_record(work->compiled, work->data, EX_SPLIT_CERTIFY, job->threads,
                          &job->progress, &work->certify, err);
}

static enum ex_status fit(const struct calibration_job *job, struct work *work,
                          const ex_policy *policy, struct ex_error *err) {
  char date[11];
  console_date(date);
  if (job->risk != NULL)
    return ex__calibrate_risk(policy, work->select, work->certify, job->risk, date,
                              &work->calibration, err);
  const struct ex_calibrate_options options = {job->constraint, job->budgeted, date};
  return ex__calibrate(policy, work->select, work->certify, &options, &work->calibration, err);
}

/* Which answers exits give. A network that was trained to answer together keeps that. */
static enum ex_status set_transform(const char *name, ex_net *net, struct ex_error *err) {
  struct ex_transform *transform = &net->transform;
  if (name == NULL) return EX_OK;
  bool product = strcmp(name, "product") == 0;
  if (!product && strcmp(name, "own") != 0)
    return ex__fail(err, EX_EINVAL, "transform = \"%.40s\"; must be own or product", name);
  if (transform->kind == EX_TRANSFORM_ADDITIVE || transform->kind == EX_TRANSFORM_ENSEMBLE)
    return ex__fail(err, EX_EUNSUPPORTED,
                    "transform = %s: this network was trained with a transform of its own", name);
  if (product)
    ex__transform_set_product(transform, net->n_points);
  else if (transform->kind == EX_TRANSFORM_PRODUCT)
    ex__transform_clear(transform);
  return EX_OK;
}

/* On the even samples of select, as all that rules learn. */
static enum ex_status scale(struct work *work, struct ex_error *err) {
  struct ex_transform *transform = &work->model->net->transform;
  struct ex_list list = {0};
  ex__transform_set_temperatures(transform, &list);
  EX_TRY(ex__trace_derive(work->select, transform, err));
  ex__fit_temperatures(work->select, (struct ex_samples_range){0, 2}, &list);
  ex__transform_set_temperatures(transform, &list);
  EX_TRY(ex__trace_derive(work->select, transform, err));
  return ex__trace_derive(work->certify, transform, err);
}

/* Classes by number as the rule's value of that name (a rule without one says so), before
 * the others, which may speak of them. */
static enum ex_status open_rule(const struct calibration_job *job, const ex_model *model,
                                ex_policy *policy, struct ex_error *err) {
  char text[EX_MAX_LIST * 12 + 16] = "classes=";
  int32_t class[EX_MAX_LIST], n;
  struct assignments set = {.n = 0};
  if (job->classes != NULL) {
    EX_TRY(ex__model_classes(model, job->classes, class, &n, err));
    for (int32_t i = 0, at = (int32_t)strlen(text); i < n; i++)
      at += snprintf(text + at, sizeof text - (size_t)at, "%s%d", i > 0 ? "," : "", (int)class[i]);
    set.text[set.n++] = text;
  }
  for (int32_t i = 0; job->set != NULL && i < job->set->n; i++) {
    if (set.n == MAX_ASSIGNMENTS)
      return ex__fail(err, EX_EINVAL, "calibrate: more than %d values", MAX_ASSIGNMENTS);
    set.text[set.n++] = job->set->text[i];
  }
  return open_policy(model, job->policy, &set, policy, err);
}

static enum ex_status calibrate(const struct calibration_job *job, struct work *work,
                                struct ex_error *err) {
  ex_policy policy;
  struct ex_cost cost;
  EX_TRY(ex__model_read(job->model, &work->model, err));
  EX_TRY(set_transform(job->transform, work->model->net, err));
  EX_TRY(open_rule(job, work->model, &policy, err));
  EX_TRY(open_model_data(work->model, job->data, &work->data, err));
  EX_TRY(open_compiled(work->model, 1, &work->plan, &work->compiled, err));
  EX_TRY(check_splits(work->data, err));
  EX_TRY(measure(job, work, &policy, &cost, err));
  EX_TRY(record(job, work, err));
  work->select->cost = work->certify->cost = cost;
  if (job->temperature) EX_TRY(scale(work, err));
  EX_TRY(fit(job, work, &policy, err));
  json_decref(work->model->cost);
  work->model->cost = ex__cost_to_json(work->model->net, &cost);
  return EX_OK;
}

static enum ex_status save(const struct calibration_job *job, struct work *work,
                           struct ex_error *err) {
  ex_model *model = work->model;
  json_decref(model->policy);
  json_decref(model->receipt);
  json_decref(model->plan);
  model->policy = ex__policy_to_json(&work->calibration.policy);
  model->receipt = json_incref(work->calibration.receipt);
  model->plan = ex__plan_to_json(work->plan);
  return ex__model_write(model, job->output, err);
}

enum ex_status calibration_run(const struct calibration_job *job, json_t **receipt,
                               struct ex_error *err) {
  struct work work = {0};
  *receipt = NULL;
  enum ex_status status = calibrate(job, &work, err);
  if (status == EX_OK) status = save(job, &work, err);
  if (status == EX_OK) *receipt = json_incref(work.calibration.receipt);
  close_work(&work);
  return status;
}

int32_t calibration_constraint(double drop, double macs, double latency,
                               struct ex_constraint *constraint) {
  const double value[] = {drop, macs, latency};
  static const enum ex_constraint_kind kind[] = {EX_CONSTRAINT_DROP, EX_CONSTRAINT_MACS,
                                                 EX_CONSTRAINT_LATENCY};
  int32_t given = 0;
  for (int32_t i = 0; i < 3; i++) {
    if (isnan(value[i])) continue;
    *constraint = (struct ex_constraint){kind[i], value[i]};
    given++;
  }
  return given;
}

enum ex_status calibration_read_risk(const struct calibration_risk *given, struct ex_risk *out,
                                     struct ex_error *err) {
  *out = (struct ex_risk){.of = EX_RISK_DISAGREEMENT,
                          .value = given->value,
                          .confidence = isnan(given->confidence) ? 0.9 : given->confidence,
                          .seed = (uint32_t)given->seed};
  if (given->of != NULL) EX_TRY(ex__risk_of_parse(given->of, &out->of, err));
  out->form = ex__risk_form_default(out->of);
  if (given->form != NULL) EX_TRY(ex__risk_form_parse(given->form, &out->form, err));
  if (out->form == EX_RISK_CRC && !isnan(given->confidence))
    return ex__fail(err, EX_EINVAL, "confidence = %g; crc keeps the risk on average and has none",
                    given->confidence);
  return ex__risk_check(out, err);
}

/* ---- for a person --------------------------------------------------------- */

static double number(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}

static void print_split(const char *role, const json_t *split) {
  printf("%-10s %.2f %% (full depth %.2f %%), drop %.2f points, at most %.2f by the 90 %% bound; "
         "%.0f %% of the work\n",
         role, number(split, "accuracy"), number(split, "full_accuracy"), number(split, "drop"),
         number(split, "drop_bound"), 100 * number(split, "macs_share"));
}

/* What was asked for, where that was a time; bounds are one-sided, 90 %. */
static void print_latency(const json_t *receipt) {
  static const char *const roles[] = {"select", "certify"};
  const json_t *kind = json_object_get(json_object_get(receipt, "constraint"), "kind");
  if (kind == NULL || strcmp(json_string_value(kind), "latency") != 0) return;
  for (int i = 0; i < 2; i++) {
    const json_t *split = json_object_get(receipt, roles[i]);
    printf("latency    %.1f us on %s, at most %.1f by the 90 %% bound; full depth %.1f us\n",
           number(split, "latency_us"), roles[i], number(split, "latency_us_bound"),
           number(split, "full_latency_us"));
  }
}

static void print_exits(const json_t *receipt, const char *why) {
  size_t i;
  const json_t *exit;
  json_array_foreach(json_object_get(receipt, "exits"), i, exit) {
    if (json_is_false(json_object_get(exit, "on")))
      printf("exit %zu is switched off%s\n", i + 1, why);
  }
}

static void print_risk_split(const char *role, const json_t *split) {
  printf("%-10s risk %.4f; %.2f %% (full depth %.2f %%), drop %.2f points; %.0f %% of the work\n",
         role, number(split, "risk"), number(split, "accuracy"), number(split, "full_accuracy"),
         number(split, "drop"), 100 * number(split, "macs_share"));
}

/* A risk that is controlled has no other bounds: certify had a say in the policy. */
static void print_risk(const json_t *receipt) {
  const json_t *risk = json_object_get(receipt, "risk"),
               *search = json_object_get(receipt, "search");
  double value = number(json_object_get(receipt, "constraint"), "value");
  const char *of = json_string_value(json_object_get(risk, "of"));
  const char *form = json_string_value(json_object_get(risk, "form"));
  print_risk_split("select", json_object_get(receipt, "select"));
  print_risk_split("certify", json_object_get(receipt, "certify"));
  printf(
      "tested     %.0f of %.0f policies on certify, from full depth on; number %.0f was the last "
      "that passed\n",
      number(search, "tested"), number(search, "candidates"), number(risk, "chosen") + 1);
  if (json_is_null(json_object_get(receipt, "confidence")))
    printf("certified: %s at most %g on average over certify splits (%s)\n", of, value, form);
  else
    printf("certified: %s at most %g with %g %% confidence (%s)\n", of, value,
           100 * number(receipt, "confidence"), form);
}

void calibration_print(const json_t *receipt) {
  const json_t *constraint = json_object_get(receipt, "constraint");
  printf("constraint %s %g %s, rule %s\n", json_string_value(json_object_get(constraint, "kind")),
         number(constraint, "value"), json_string_value(json_object_get(constraint, "unit")),
         json_string_value(json_object_get(json_object_get(receipt, "policy"), "name")));
  if (json_object_get(receipt, "risk") != NULL) {
    print_risk(receipt);
    print_exits(receipt, "");
    return;
  }
  print_split("select", json_object_get(receipt, "select"));
  print_split("certify", json_object_get(receipt, "certify"));
  print_latency(receipt);
  print_exits(receipt, ": its head costs more than it saves");
  printf(json_is_true(json_object_get(receipt, "met"))
             ? "met, on data that chose nothing\n"
             : "NOT met on the certify split: chosen on select, it does not carry over\n");
}
