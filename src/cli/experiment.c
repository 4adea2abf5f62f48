/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/experiment: a run's file holds what the run depends on beside what came
 * out, and is believed only where the former is the same to the letter. The lock
 * beside it is the kernel's, so it ends with the process that held it.
 */
#include "cli/experiment.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/calibration.h"
#include "cli/open.h"
#include "cli/training.h"
#include "report/evaluation.h"
#include "report/rules.h"

enum {
  MAX_RULES = 16,
  MAX_PATH = 512,
  MAX_KEPT = 4 << 20,
  MAX_EXECUTABLE = 1 << 30,
  TIMED_SAMPLES = 1000
};

struct work {
  const struct experiment *experiment;
  const json_t *run;
  json_t *of; /* all that the run depends on */
  char kept[MAX_PATH], lock[MAX_PATH], model[MAX_PATH];
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

static enum ex_status describe(struct work *work, struct ex_error *err) {
  const struct experiment *experiment = work->experiment;
  char build[128];
  EX_TRY(describe_build(build, err));
  const char *recipe;
  EX_TRY(ex__json_string(work->run, "recipe", "catalogue entry", &recipe, err));
  work->of =
      json_pack("{s:s, s:o, s:o, s:I, s:i, s:b, s:s}", "recipe", recipe, "set",
                settings(experiment, work->run), "calibrate", calibration(experiment, work->run),
                "seed", (json_int_t)experiment->seed, "threads", (int)experiment->threads, "quick",
                (int)experiment->quick, "build", build);
  if (work->of == NULL) return ex__fail(err, EX_ENOMEM, "reproduce: out of memory");
  static const char *const extras[] = {"rules", "keep"};
  for (size_t i = 0; i < sizeof extras / sizeof *extras; i++) {
    json_t *extra = json_object_get(work->run, extras[i]);
    if (extra != NULL) json_object_set(work->of, extras[i], extra);
  }
  return EX_OK;
}

static enum ex_status make_paths(struct work *work, struct ex_error *err) {
  char *text, digest[EX_DIGEST_TEXT];
  if (ex__json_dump(work->of, false, &text) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "reproduce: out of memory");
  enum ex_status status = ex__digest_text(text, strlen(text), digest);
  ex__free(text);
  if (status != EX_OK) return ex__fail(err, EX_ENOMEM, "reproduce: out of memory");
  const char *folder = work->experiment->folder;
  if (strlen(folder) + 64 > MAX_PATH)
    return ex__fail(err, EX_EINVAL, "%.64s…: a folder must have at most %d characters", folder,
                    MAX_PATH - 64);
  snprintf(work->kept, MAX_PATH, "%s/runs", folder);
  if ((mkdir(folder, 0777) != 0 && errno != EEXIST) ||
      (mkdir(work->kept, 0777) != 0 && errno != EEXIST))
    return ex__fail(err, EX_EIO, "%s: cannot be made: %s", work->kept, strerror(errno));
  snprintf(work->kept, MAX_PATH, "%s/runs/%.16s.json", folder, digest);
  snprintf(work->lock, MAX_PATH, "%s/runs/%.16s.lock", folder, digest);
  snprintf(work->model, MAX_PATH, "%s/runs/%.16s.safetensors", folder, digest);
  return EX_OK;
}

/* ---- a finished run ------------------------------------------------------- */

static json_t *find_kept(const struct work *work) {
  json_t *kept, *evaluation = NULL;
  if (access(work->kept, R_OK) != 0 || ex__json_load(work->kept, MAX_KEPT, &kept, NULL) != EX_OK)
    return NULL;
  if (json_equal(json_object_get(kept, "of"), work->of))
    evaluation = json_incref(json_object_get(kept, "evaluation"));
  json_decref(kept);
  return evaluation;
}

static enum ex_status keep(const struct work *work, json_t *evaluation, struct ex_error *err) {
  char *text;
  json_t *kept = json_pack("{s:O, s:O}", "of", work->of, "evaluation", evaluation);
  enum ex_status status = kept != NULL ? ex__json_dump(kept, true, &text) : EX_ENOMEM;
  json_decref(kept);
  if (status != EX_OK) return ex__fail(err, EX_ENOMEM, "reproduce: out of memory");
  status = ex__file_write_whole(work->kept, text, strlen(text), err);
  ex__free(text);
  return status;
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

static enum ex_status train(const struct work *work, json_t **training, struct ex_error *err) {
  struct assignments set;
  EX_TRY(read_set(work, json_object_get(work->of, "set"), &set, err));
  const struct training_job job = {.recipe = json_string_value(json_object_get(work->of, "recipe")),
                                   .set = &set,
                                   .output = work->model,
                                   .checkpoint_seconds = 60,
                                   .resume = true,
                                   .seed = work->experiment->seed,
                                   .threads = work->experiment->threads,
                                   .progress = work->experiment->progress};
  json_t *summary;
  EX_TRY(training_run(&job, &summary, err));
  *training = json_incref(json_object_get(summary, "training"));
  json_decref(summary);
  return EX_OK;
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
  if (json_is_false(how)) return EX_OK;
  struct assignments set;
  EX_TRY(read_set(work, json_object_get(how, "set"), &set, err));
  bool certified = json_object_get(how, "risk") != NULL;
  struct ex_risk risk;
  if (certified) EX_TRY(read_risk(work, how, &risk, err));
  const struct calibration_job job = {
      .model = work->model,
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

static enum ex_status make(const struct work *work, json_t **evaluation, struct ex_error *err) {
  if (work->experiment->announce)
    fprintf(stderr, "== %s, seed %d\n", work->experiment->run, (int)work->experiment->seed);
  json_t *training = NULL, *made = NULL;
  EX_TRY(train(work, &training, err));
  enum ex_status status = calibrate(work, err);
  if (status == EX_OK) status = evaluate(work, &made, err);
  unlink(work->model);
  if (status == EX_OK) {
    slim(work, made, training);
    status = keep(work, made, err);
  }
  json_decref(training);
  if (status == EX_OK)
    *evaluation = made;
  else
    json_decref(made);
  return status;
}

/* What another process finished while we waited for the lock is taken. */
static enum ex_status make_alone(const struct work *work, bool wait, json_t **evaluation,
                                 struct ex_error *err) {
  int lock = open(work->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock < 0) return ex__fail(err, EX_EIO, "%s: %s", work->lock, strerror(errno));
  enum ex_status status = EX_OK;
  if (flock(lock, wait ? LOCK_EX : LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK)
      status = ex__fail(err, EX_EIO, "%s: cannot be locked: %s", work->lock, strerror(errno));
  } else if ((*evaluation = find_kept(work)) == NULL) {
    status = make(work, evaluation, err);
    if (status == EX_OK) unlink(work->lock);
  }
  close(lock);
  return status;
}

enum ex_status experiment_run(const struct experiment *experiment, bool wait, json_t **evaluation,
                              struct ex_error *err) {
  *evaluation = NULL;
  struct work work = {
      .experiment = experiment,
      .run = json_object_get(json_object_get(experiment->reproduction, "runs"), experiment->run)};
  enum ex_status status = describe(&work, err);
  if (status == EX_OK) status = make_paths(&work, err);
  if (status == EX_OK && (*evaluation = find_kept(&work)) == NULL)
    status = make_alone(&work, wait, evaluation, err);
  json_decref(work.of);
  return status;
}
