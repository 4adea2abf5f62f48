/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/experiment: two results of cli/store: the trained network, and what came of
 * it calibrated and evaluated. Runs that differ in the latter train once. A run that
 * names others ("join") takes their networks, joined, from cheap to dear.
 */
#include "cli/experiment.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/calibration.h"
#include "cli/joining.h"
#include "cli/open.h"
#include "cli/store.h"
#include "cli/training.h"
#include "report/evaluation.h"
#include "report/rules.h"

enum { MAX_RULES = 16, MAX_EXECUTABLE = 1 << 30, TIMED_SAMPLES = 1000 };

struct work {
  const struct experiment *experiment;
  const json_t *run;
  json_t *of;       /* all that the run depends on */
  json_t *networks; /* what its network depends on, or each of those that it joins */
  bool wait;
  char trained[STORE_PATH]; /* file of the network as training left it, or joined */
  const char *model;        /* file of the calibrated network, where the run calibrates */
};

/* ---- what a run depends on ------------------------------------------------ */

/* The commit, and where files had been changed since, the very executable. */
static enum ex_status describe_build(char text[128], struct ex_error *err) {
  const char *commit = embedded_commit();
  size_t n = strlen(commit);
  snprintf(text, 128, "%.60s", commit);
  if (n > 0 && commit[n - 1] != '+') return EX_OK;
  void *data;
  size_t size;
  EX_TRY(ex__file_read("/proc/self/exe", MAX_EXECUTABLE, &data, &size, err));
  char digest[EX_DIGEST_TEXT];
  enum ex_status status = ex__digest_text(data, size, digest);
  ex__free(data);
  if (status != EX_OK) return ex__fail(err, EX_ENOMEM, "reproduce: out of memory");
  snprintf(text, 128, "%.60s %s", commit, digest);
  return EX_OK;
}

static json_t *settings(const struct experiment *experiment, const json_t *run) {
  json_t *set = json_array();
  json_array_extend(set, json_object_get(run, "set"));
  if (experiment->quick) json_array_extend(set, json_object_get(experiment->reproduction, "quick"));
  return set;
}

/* `false`: the run is looked at at full depth. */
static json_t *calibration(const struct experiment *experiment, const json_t *run) {
  json_t *own = json_object_get(run, "calibrate");
  if (own == NULL) own = json_object_get(experiment->reproduction, "calibrate");
  return own == NULL ? json_false() : json_incref(own);
}

/* Of a run that trains: a new element of work->networks. */
static enum ex_status describe_network(struct work *work, const char *name, const json_t *run,
                                       const char *build, struct ex_error *err) {
  const struct experiment *experiment = work->experiment;
  const char *recipe;
  if (run == NULL)
    return ex__fail(err, EX_EINVAL, "run \"%.64s\": joins \"%.64s\"; must be a run of this entry",
                    experiment->run, name);
  EX_TRY(ex__json_string(run, "recipe", "catalogue entry", &recipe, err));
  json_t *network = json_pack("{s:s, s:o, s:I, s:i, s:s}", "recipe", recipe, "set",
                              settings(experiment, run), "seed", (json_int_t)experiment->seed,
                              "threads", (int)experiment->threads, "build", build);
  if (network == NULL || json_array_append_new(work->networks, network) != 0)
    return ex__fail(err, EX_ENOMEM, "reproduce: out of memory");
  return EX_OK;
}

static enum ex_status describe_networks(struct work *work, const char *build,
                                        struct ex_error *err) {
  const json_t *join = json_object_get(work->run, "join"), *name;
  const json_t *runs = json_object_get(work->experiment->reproduction, "runs");
  size_t i;
  work->networks = json_array();
  if (join == NULL) return describe_network(work, work->experiment->run, work->run, build, err);
  if (json_array_size(join) < 2 || json_array_size(join) > EX_MAX_POINTS)
    return ex__fail(err, EX_EINVAL, "run \"%.64s\": \"join\" must name 2 to %d runs",
                    work->experiment->run, EX_MAX_POINTS);
  json_array_foreach(join, i, name) {
    const char *text = json_is_string(name) ? json_string_value(name) : "";
    EX_TRY(describe_network(work, text, json_object_get(runs, text), build, err));
  }
  return EX_OK;
}

static enum ex_status describe(struct work *work, struct ex_error *err) {
  const struct experiment *experiment = work->experiment;
  char build[128];
  EX_TRY(describe_build(build, err));
  EX_TRY(describe_networks(work, build, err));
  bool joins = json_object_get(work->run, "join") != NULL;
  work->of = joins ? json_object() : json_copy(json_array_get(work->networks, 0));
  if (work->of == NULL) return ex__fail(err, EX_ENOMEM, "reproduce: out of memory");
  if (joins) json_object_set(work->of, "join", work->networks);
  json_object_set_new(work->of, "calibrate", calibration(experiment, work->run));
  json_object_set_new(work->of, "quick", json_boolean(experiment->quick));
  static const char *const extras[] = {"rules", "keep"};
  for (size_t i = 0; i < sizeof extras / sizeof *extras; i++) {
    json_t *extra = json_object_get(work->run, extras[i]);
    if (extra != NULL) json_object_set(work->of, extras[i], extra);
  }
  return EX_OK;
}

/* ---- making one ----------------------------------------------------------- */

static enum ex_status read_set(const struct work *work, const json_t *texts,
                               struct assignments *set, struct ex_error *err) {
  *set = (struct assignments){0};
  size_t i;
  const json_t *text;
  json_array_foreach(texts, i, text) {
    bool pair = json_is_string(text) && strchr(json_string_value(text), '=') != NULL;
    if (set->n == MAX_ASSIGNMENTS || !pair)
      return ex__fail(err, EX_EINVAL,
                      "run \"%.64s\": \"set\" must have at most %d texts of the form KEY=VALUE",
                      work->experiment->run, (int)MAX_ASSIGNMENTS);
    set->text[set->n++] = json_string_value(text);
  }
  return EX_OK;
}

/* One of the networks of a run. */
struct network {
  const struct work *work;
  const json_t *of;
  const char *name; /* of the run that it is */
};

/* A store_maker, whose context is the network. */
static enum ex_status train(void *context, const char *model, json_t **training,
                            struct ex_error *err) {
  const struct network *network = context;
  const struct experiment *experiment = network->work->experiment;
  if (experiment->announce)
    fprintf(stderr, "== %s, seed %d\n", network->name, (int)experiment->seed);
  struct assignments set;
  EX_TRY(read_set(network->work, json_object_get(network->of, "set"), &set, err));
  const struct training_job job = {.recipe =
                                       json_string_value(json_object_get(network->of, "recipe")),
                                   .set = &set,
                                   .output = model,
                                   .checkpoint_seconds = 60,
                                   .resume = true,
                                   .seed = experiment->seed,
                                   .threads = experiment->threads,
                                   .progress = experiment->progress};
  json_t *summary;
  EX_TRY(training_run(&job, &summary, err));
  *training = json_incref(json_object_get(summary, "training"));
  json_decref(summary);
  return EX_OK;
}

/* *training: NULL where another process trains this network, and we do not wait. */
static enum ex_status find_network(struct network *network, char file[STORE_PATH],
                                   json_t **training, struct ex_error *err) {
  const struct work *work = network->work;
  const struct store_job job = {work->experiment->folder, network->of, work->wait, train, network};
  enum ex_status status = store_get(&job, training, file, err);
  if (status == EX_OK && *training != NULL && access(file, R_OK) != 0) {
    status = ex__fail(err, EX_ENOTFOUND,
                      "%s: the network of a finished training is gone; delete "
                      "the .json beside it too",
                      file);
    json_decref(*training);
    *training = NULL;
  }
  return status;
}

struct found {
  char file[EX_MAX_POINTS][STORE_PATH];
  const char *files[EX_MAX_POINTS];
};

/* All that a run joins; *training: {steps: of all, networks: [each]}, or NULL. */
static enum ex_status find_networks(const struct work *work, struct found *found, json_t **training,
                                    struct ex_error *err) {
  const json_t *names = json_object_get(work->run, "join"), *of;
  json_t *list = json_array(), *one = NULL;
  json_int_t steps = 0;
  size_t i;
  json_array_foreach(work->networks, i, of) {
    struct network network = {work, of, json_string_value(json_array_get(names, i))};
    enum ex_status status = find_network(&network, found->file[i], &one, err);
    if (status != EX_OK || one == NULL) {
      json_decref(list);
      return status;
    }
    found->files[i] = found->file[i];
    steps += json_integer_value(json_object_get(one, "steps"));
    json_object_del(one, "epochs");
    json_array_append_new(list, one);
  }
  *training = json_pack("{s:I, s:o}", "steps", steps, "networks", list);
  return EX_OK;
}

/* `model`: a name of the run's own. The joined network lies beside it. */
static enum ex_status find_joined(struct work *work, const char *model, json_t **training,
                                  struct ex_error *err) {
  struct found *found = ex__calloc(1, sizeof *found);
  if (found == NULL) return ex__fail(err, EX_ENOMEM, "reproduce: out of memory");
  json_t *summary = NULL;
  enum ex_status status = find_networks(work, found, training, err);
  if (status == EX_OK && *training != NULL) {
    snprintf(work->trained, sizeof work->trained, "%.*s.joined", (int)sizeof work->trained - 8,
             model);
    status = joining_run(found->files, (int32_t)json_array_size(work->networks), work->trained,
                         &summary, err);
  }
  json_decref(summary);
  ex__free(found);
  return status;
}

static enum ex_status find_trained(struct work *work, const char *model, json_t **training,
                                   struct ex_error *err) {
  *training = NULL;
  if (json_object_get(work->run, "join") != NULL) return find_joined(work, model, training, err);
  struct network network = {work, json_array_get(work->networks, 0), work->experiment->run};
  return find_network(&network, work->trained, training, err);
}

/* Of an entry's "calibrate": "risk", with "risk-of", "form", "confidence" as on the command line. */
static enum ex_status read_risk(const struct work *work, const json_t *how, struct ex_risk *out,
                                struct ex_error *err) {
  const json_t *confidence = json_object_get(how, "confidence");
  const struct calibration_risk asked = {
      .value = json_number_value(json_object_get(how, "risk")),
      .confidence = confidence != NULL ? json_number_value(confidence) : NAN,
      .of = json_string_value(json_object_get(how, "risk-of")),
      .form = json_string_value(json_object_get(how, "form")),
      .seed = work->experiment->seed};
  return calibration_read_risk(&asked, out, err);
}

static enum ex_status calibrate(const struct work *work, struct ex_error *err) {
  const json_t *how = json_object_get(work->of, "calibrate");
  struct assignments set;
  EX_TRY(read_set(work, json_object_get(how, "set"), &set, err));
  bool certified = json_object_get(how, "risk") != NULL;
  struct ex_risk risk;
  if (certified) EX_TRY(read_risk(work, how, &risk, err));
  const struct calibration_job job = {
      .model = work->trained,
      .output = work->model,
      .policy = json_string_value(json_object_get(how, "policy")),
      .set = &set,
      .constraint = {EX_CONSTRAINT_DROP, json_number_value(json_object_get(how, "max-drop"))},
      .risk = certified ? &risk : NULL,
      .threads = work->experiment->threads,
      .progress = work->experiment->progress};
  json_t *receipt;
  EX_TRY(calibration_run(&job, &receipt, err));
  json_decref(receipt);
  return EX_OK;
}

struct opened {
  ex_model *model;
  ex_data *data;
  ex_evaluation *evaluation;
};

static enum ex_status evaluate_opened(const struct work *work, struct opened *opened,
                                      struct ex_error *err) {
  ex_policy policy;
  EX_TRY(ex__model_read(work->model, &opened->model, err));
  const char *name = opened->model->policy == NULL ? "fixed" : NULL;
  EX_TRY(open_policy(opened->model, name, NULL, &policy, err));
  EX_TRY(open_model_data(opened->model, NULL, &opened->data, err));
  const struct ex_evaluation_job job = {.model = opened->model,
                                        .policy = &policy,
                                        .data = opened->data,
                                        .split = EX_SPLIT_TEST,
                                        .threads = work->experiment->threads,
                                        .timed_samples =
                                            work->experiment->quick ? 0 : TIMED_SAMPLES,
                                        .progress = work->experiment->progress};
  return ex__evaluate(&job, &opened->evaluation, err);
}

/* Rules that the run names, on this one network: their figures under every
 * constraint of report/rules, the drop that was calibrated for first. */
static enum ex_status compare_rules(const struct work *work, struct opened *opened,
                                    struct ex_error *err) {
  const json_t *rules = json_object_get(work->of, "rules"), *name;
  const char *names[MAX_RULES + 1] = {NULL};
  size_t i;
  if (rules == NULL) return EX_OK;
  json_array_foreach(rules, i, name) {
    if (i == MAX_RULES || !json_is_string(name))
      return ex__fail(err, EX_EINVAL, "run \"%.64s\": \"rules\" must have at most %d names",
                      work->experiment->run, (int)MAX_RULES);
    names[i] = json_string_value(name);
  }
  const json_t *drop = json_object_get(json_object_get(work->of, "calibrate"), "max-drop");
  const struct ex_rules_job job = {
      .model = opened->model,
      .data = opened->data,
      .names = names,
      .constraint = {EX_CONSTRAINT_DROP, drop != NULL ? json_number_value(drop) : 0.5},
      .threads = work->experiment->threads,
      .progress = work->experiment->progress};
  json_t *compared;
  EX_TRY(ex__rules_compare(&job, &compared, err));
  json_object_set(opened->evaluation->json, "rules", json_object_get(compared, "by_rule"));
  json_decref(compared);
  return EX_OK;
}

static enum ex_status evaluate(const struct work *work, json_t **out, struct ex_error *err) {
  struct opened opened = {0};
  enum ex_status status = evaluate_opened(work, &opened, err);
  if (status == EX_OK) status = compare_rules(work, &opened, err);
  if (status == EX_OK) *out = json_incref(opened.evaluation->json);
  ex__evaluation_free(opened.evaluation);
  ex__data_free(opened.data);
  ex_model_free(opened.model);
  return status;
}

static bool names(const json_t *list, const char *name) {
  size_t i;
  const json_t *text;
  json_array_foreach(list, i, text) {
    if (json_is_string(text) && strcmp(json_string_value(text), name) == 0) return true;
  }
  return false;
}

/* What the claims and tables read: a result is committed, and a tree is no place
 * for bins and classes of every run, but for those that the run says to keep. */
static void slim(const struct work *work, json_t *evaluation, json_t *training) {
  static const char *const dropped[] = {"per_class", "ledger", "notes"};
  for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
    if (!names(json_object_get(work->of, "keep"), dropped[i]))
      json_object_del(evaluation, dropped[i]);
  size_t p;
  json_t *exit;
  json_array_foreach(json_object_get(evaluation, "exits"), p, exit) {
    json_object_del(exit, "reliability");
  }
  json_object_del(training, "epochs");
  json_object_set(evaluation, "training", training);
  json_object_set_new(evaluation, "commit", json_string(embedded_commit()));
}

static enum ex_status calibrate_and_evaluate(struct work *work, json_t **evaluation,
                                             struct ex_error *err) {
  if (json_is_false(json_object_get(work->of, "calibrate"))) {
    work->model = work->trained;
    return evaluate(work, evaluation, err);
  }
  enum ex_status status = calibrate(work, err);
  if (status == EX_OK) status = evaluate(work, evaluation, err);
  unlink(work->model);
  return status;
}

/* A store_maker, whose context is the work. */
static enum ex_status make(void *context, const char *model, json_t **evaluation,
                           struct ex_error *err) {
  struct work *work = context;
  json_t *training;
  enum ex_status status = find_trained(work, model, &training, err);
  if (status == EX_OK && training != NULL) {
    work->model = model;
    status = calibrate_and_evaluate(work, evaluation, err);
    if (status == EX_OK) slim(work, *evaluation, training);
    if (json_object_get(work->run, "join") != NULL) unlink(work->trained);
  }
  json_decref(training);
  return status;
}

enum ex_status experiment_run(const struct experiment *experiment, bool wait, json_t **evaluation,
                              struct ex_error *err) {
  *evaluation = NULL;
  struct work work = {
      .experiment = experiment,
      .run = json_object_get(json_object_get(experiment->reproduction, "runs"), experiment->run),
      .wait = wait};
  enum ex_status status = describe(&work, err);
  const struct store_job job = {experiment->folder, work.of, wait, make, &work};
  if (status == EX_OK) status = store_get(&job, evaluation, NULL, err);
  json_decref(work.of);
  json_decref(work.networks);
  return status;
}
