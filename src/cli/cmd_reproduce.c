/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_reproduce: runs a paper's small reproduction and checks its claims.
 *
 * The catalogue entry says which runs to make (a recipe and what differs), how
 * to calibrate, and each claim as an inequality over the evaluations of the
 * runs. Runs are paired by seed: a claim is evaluated per seed, and its mean
 * and 95 % interval (Student's t) decide. `met`: the whole interval keeps the
 * inequality; `not met`: none of it does; else `no significant difference`. The interval covers
 * what differs between seeds (weights, order of data), not the test sample.
 * A quick run shows that the machinery works and never counts as met.
 *
 * What is finished is kept in NAME.partial.json until the whole is, so a run of
 * hours that was stopped goes on with the run it was in (from its checkpoint).
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/calibration.h"
#include "cli/catalogue.h"
#include "cli/console.h"
#include "cli/expression.h"
#include "cli/open.h"
#include "cli/training.h"
#include "report/evaluation.h"

enum { MAX_SEEDS = 16, MAX_PATH = 256, MAX_PARTIAL = 1 << 26 };

struct options {
  struct common_options common;
  bool quick;
  int64_t seeds;
  const char *output;
};

static const struct option_spec table[] = {
    {"quick", 0, OPTION_FLAG, offsetof(struct options, quick), NULL, 0, 0, NULL,
     "One seed, few samples, under two minutes; never counts as met."},
    {"seeds", 0, OPTION_INT, offsetof(struct options, seeds), "N", 0, MAX_SEEDS, "0",
     "How many seeds; 0: as the entry says."},
    {"output", 'o', OPTION_TEXT, offsetof(struct options, output), "FOLDER", 0, 0, NULL,
     "Where NAME.json goes; default results."},
    {0},
};

struct work {
  const struct options *options;
  const json_t *reproduction;
  struct ex_progress progress;
  int32_t threads, n_seeds;
  const char *folder, *paper;
  json_t *seeds; /* per seed: {run name: evaluation} */
};

static void make_path(const struct work *work, const char *kind, char path[MAX_PATH]) {
  snprintf(path, MAX_PATH, "%s/%s%s%s.json", work->folder, work->paper,
           work->options->quick ? "-quick" : "", kind);
}

static enum ex_status write_json(const char *path, const json_t *json, struct ex_error *err) {
  char *text;
  if (ex__json_dump(json, true, &text) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "%s: out of memory", path);
  enum ex_status status = ex__file_write_whole(path, text, strlen(text), err);
  ex__free(text);
  return status;
}

/* ---- what is finished so far ---------------------------------------------- */

/* What the finished runs belong to: a partial result of anything else is not
 * gone on with. */
static json_t *describe_work(const struct work *work) {
  return json_pack("{s:O, s:I, s:i, s:s}", "reproduction", work->reproduction, "first_seed",
                   (json_int_t)work->options->common.seed, "threads", (int)work->threads, "commit",
                   embedded_commit());
}

static enum ex_status write_partial(const struct work *work, struct ex_error *err) {
  char path[MAX_PATH];
  make_path(work, ".partial", path);
  json_t *json = json_pack("{s:o, s:O}", "of", describe_work(work), "evaluations", work->seeds);
  if (json == NULL) return ex__fail(err, EX_ENOMEM, "reproduce: out of memory");
  enum ex_status status = write_json(path, json, err);
  json_decref(json);
  return status;
}

static void read_partial(struct work *work) {
  char path[MAX_PATH];
  make_path(work, ".partial", path);
  json_t *json, *of = describe_work(work);
  if (access(path, R_OK) == 0 && ex__json_load(path, MAX_PARTIAL, &json, NULL) == EX_OK) {
    json_t *seeds = json_object_get(json, "evaluations");
    if (json_equal(json_object_get(json, "of"), of) && json_is_array(seeds)) {
      json_decref(work->seeds);
      work->seeds = json_incref(seeds);
    }
    json_decref(json);
  }
  json_decref(of);
}

/* ---- one run ------------------------------------------------------------ */

static void add_settings(struct assignments *set, const json_t *list) {
  size_t i;
  const json_t *text;
  json_array_foreach(list, i, text) {
    if (set->n < MAX_ASSIGNMENTS && json_is_string(text))
      set->text[set->n++] = json_string_value(text);
  }
}

static enum ex_status train(struct work *work, const json_t *run, const char *path, uint64_t seed,
                            json_t **training, struct ex_error *err) {
  struct assignments set = {0};
  add_settings(&set, json_object_get(run, "set"));
  if (work->options->quick) add_settings(&set, json_object_get(work->reproduction, "quick"));
  const char *recipe;
  EX_TRY(ex__json_string(run, "recipe", "catalogue entry", &recipe, err));
  const struct training_job job = {.recipe = recipe,
                                   .set = &set,
                                   .output = path,
                                   .checkpoint_seconds = 60,
                                   .resume = true,
                                   .seed = seed,
                                   .threads = work->threads,
                                   .progress = work->progress};
  json_t *summary;
  EX_TRY(training_run(&job, &summary, err));
  *training = json_incref(json_object_get(summary, "training"));
  json_decref(summary);
  return EX_OK;
}

static enum ex_status calibrate(struct work *work, const json_t *run, const char *path,
                                struct ex_error *err) {
  const json_t *calibrate = json_object_get(run, "calibrate");
  if (json_is_false(calibrate)) return EX_OK;
  if (calibrate == NULL) calibrate = json_object_get(work->reproduction, "calibrate");
  const struct calibration_job job = {
      .model = path,
      .output = path,
      .policy = json_string_value(json_object_get(calibrate, "policy")),
      .constraint = {EX_CONSTRAINT_DROP, json_number_value(json_object_get(calibrate, "max-drop"))},
      .threads = work->threads,
      .progress = work->progress};
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

static enum ex_status evaluate_opened(struct work *work, const char *path, struct opened *opened,
                                      struct ex_error *err) {
  ex_policy policy;
  EX_TRY(ex__model_read(path, &opened->model, err));
  /* A run that is not calibrated is looked at at full depth. */
  const char *name = opened->model->policy == NULL ? "fixed" : NULL;
  EX_TRY(open_policy(opened->model, name, NULL, &policy, err));
  EX_TRY(open_model_data(opened->model, NULL, &opened->data, err));
  const struct ex_evaluation_job job = {.model = opened->model,
                                        .policy = &policy,
                                        .data = opened->data,
                                        .split = EX_SPLIT_TEST,
                                        .threads = work->threads,
                                        .timed_samples = work->options->quick ? 0 : 1000,
                                        .progress = work->progress};
  return ex__evaluate(&job, &opened->evaluation, err);
}

static enum ex_status evaluate(struct work *work, const char *path, json_t **out,
                               struct ex_error *err) {
  struct opened opened = {0};
  enum ex_status status = evaluate_opened(work, path, &opened, err);
  if (status == EX_OK) *out = json_incref(opened.evaluation->json);
  ex__evaluation_free(opened.evaluation);
  ex__data_free(opened.data);
  ex_model_free(opened.model);
  return status;
}

/* What the claims and tables read: a result is committed, and a tree is no place
 * for bins and classes of every run. */
static void slim(json_t *evaluation, json_t *training) {
  static const char *const dropped[] = {"per_class", "ledger", "notes"};
  for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
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

static enum ex_status run_one(struct work *work, const char *name, const json_t *run, uint64_t seed,
                              json_t *into, struct ex_error *err) {
  char path[MAX_PATH];
  snprintf(path, sizeof path, "%s/%s-%s-%llu.safetensors", work->folder, work->paper, name,
           (unsigned long long)seed);
  if (!work->options->common.quiet) fprintf(stderr, "== %s, seed %d\n", name, (int)seed);
  json_t *evaluation = NULL, *training = NULL;
  EX_TRY(train(work, run, path, seed, &training, err));
  enum ex_status status = calibrate(work, run, path, err);
  if (status == EX_OK) status = evaluate(work, path, &evaluation, err);
  unlink(path);
  if (status == EX_OK) {
    slim(evaluation, training);
    json_object_set_new(into, name, evaluation);
    status = write_partial(work, err);
  }
  json_decref(training);
  return status;
}

static enum ex_status run_seed(struct work *work, int32_t index, struct ex_error *err) {
  uint64_t seed = (uint64_t)(work->options->common.seed + index);
  if ((size_t)index >= json_array_size(work->seeds))
    json_array_append_new(work->seeds, json_object());
  json_t *evaluations = json_array_get(work->seeds, (size_t)index);
  const char *name;
  json_t *run;
  enum ex_status status = EX_OK;
  json_object_foreach(json_object_get(work->reproduction, "runs"), name, run) {
    if (json_object_get(evaluations, name) != NULL) continue; /* finished before */
    status = run_one(work, name, run, seed, evaluations, err);
    if (status != EX_OK) break;
  }
  return status;
}

/* ---- claims ------------------------------------------------------------- */

/* Two-sided 95 % quantile of Student's t. */
static double student_t(int32_t degrees) {
  static const double quantile[] = {0,     12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365,
                                    2.306, 2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131};
  return degrees < (int32_t)(sizeof quantile / sizeof *quantile) ? quantile[degrees] : 2.131;
}

static const char *judge(bool least, double bound, double low, double high) {
  if (least ? low >= bound : high <= bound) return "met";
  if (least ? high < bound : low > bound) return "not met";
  return "no significant difference";
}

static json_t *not_measured(const json_t *claim, const struct ex_error *err) {
  return json_pack("{s:O, s:O, s:s, s:s}", "claim", json_object_get(claim, "says"), "value",
                   json_object_get(claim, "value"), "verdict", "not measured", "why", err->text);
}

static json_t *conclude(const json_t *claim, const double *value, int32_t n, bool quick) {
  double mean = 0, squares = 0;
  for (int32_t i = 0; i < n; i++) mean += value[i] / n;
  for (int32_t i = 0; i < n; i++) squares += (value[i] - mean) * (value[i] - mean);
  double half = n > 1 ? student_t(n - 1) * sqrt(squares / (n - 1) / n) : 0;
  bool least = json_object_get(claim, "at-least") != NULL;
  double bound = json_number_value(json_object_get(claim, least ? "at-least" : "at-most"));
  json_t *values = json_array();
  for (int32_t i = 0; i < n; i++) json_array_append_new(values, json_real(value[i]));
  const char *verdict = quick    ? "quick run, not counted"
                        : n == 1 ? "one seed, not counted"
                                 : judge(least, bound, mean - half, mean + half);
  return json_pack("{s:O, s:O, s:s, s:f, s:f, s:[f, f], s:o, s:s}", "claim",
                   json_object_get(claim, "says"), "value", json_object_get(claim, "value"), "rule",
                   least ? "at-least" : "at-most", "bound", bound, "mean", mean, "interval",
                   mean - half, mean + half, "per_seed", values, "verdict", verdict);
}

/* The claim's value for every seed; false where one of them does not exist. */
static bool evaluate_claim(const struct work *work, const json_t *claim, double *value,
                           struct ex_error *err) {
  const char *text = json_string_value(json_object_get(claim, "value"));
  for (int32_t seed = 0; seed < work->n_seeds; seed++)
    if (expression_evaluate(text != NULL ? text : "", json_array_get(work->seeds, (size_t)seed),
                            &value[seed], err) != EX_OK)
      return false;
  return true;
}

static void check_claims(const struct work *work, json_t *results) {
  size_t i;
  const json_t *claim;
  json_array_foreach(json_object_get(work->reproduction, "claims"), i, claim) {
    double value[MAX_SEEDS];
    struct ex_error err = {0};
    json_array_append_new(results, evaluate_claim(work, claim, value, &err)
                                       ? conclude(claim, value, work->n_seeds, work->options->quick)
                                       : not_measured(claim, &err));
  }
}

/* ---- the whole ---------------------------------------------------------- */

static enum ex_status write_result(const struct work *work, const json_t *result,
                                   struct ex_error *err) {
  char path[MAX_PATH], partial[MAX_PATH];
  make_path(work, "", path);
  make_path(work, ".partial", partial);
  EX_TRY(write_json(path, result, err));
  unlink(partial);
  return EX_OK;
}

static enum ex_status reproduce(struct work *work, json_t **result, struct ex_error *err) {
  if (mkdir(work->folder, 0777) != 0 && errno != EEXIST)
    return ex__fail(err, EX_EIO, "%s: cannot be made: %s", work->folder, strerror(errno));
  read_partial(work);
  for (int32_t i = 0; i < work->n_seeds; i++) EX_TRY(run_seed(work, i, err));
  json_t *claims = json_array();
  char date[11];
  console_date(date);
  *result = json_pack("{s:s, s:s, s:s, s:i, s:b, s:i, s:o, s:O}", "name", work->paper, "date", date,
                      "commit", embedded_commit(), "seeds", (int)work->n_seeds, "quick",
                      (int)work->options->quick, "threads", (int)work->threads, "claims", claims,
                      "evaluations", work->seeds);
  if (*result == NULL) return ex__fail(err, EX_ENOMEM, "reproduce: out of memory");
  check_claims(work, claims);
  return write_result(work, *result, err);
}

static void print_result(const json_t *result) {
  size_t i;
  const json_t *claim;
  json_array_foreach(json_object_get(result, "claims"), i, claim) {
    const json_t *interval = json_object_get(claim, "interval");
    if (json_object_get(claim, "why") != NULL) {
      printf("not measured: %s\n    %s\n", json_string_value(json_object_get(claim, "claim")),
             json_string_value(json_object_get(claim, "why")));
      continue;
    }
    printf("%s: %s\n    %.4f [%.4f, %.4f], must be %s %.4f\n",
           json_string_value(json_object_get(claim, "verdict")),
           json_string_value(json_object_get(claim, "claim")),
           json_number_value(json_object_get(claim, "mean")),
           json_number_value(json_array_get(interval, 0)),
           json_number_value(json_array_get(interval, 1)),
           json_string_value(json_object_get(claim, "rule")),
           json_number_value(json_object_get(claim, "bound")));
  }
}

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)n;
  const struct options *options = given;
  struct ex_error err = {0};
  json_t *entry, *result = NULL;
  if (catalogue_find(arguments[0], &entry, &err) != EX_OK)
    return console_fail(&command_reproduce, &err);
  struct work work = {.options = options,
                      .reproduction = json_object_get(entry, "reproduction"),
                      .progress = console_progress(&options->common),
                      .threads = console_threads(&options->common),
                      .folder = options->output != NULL ? options->output : "results",
                      .paper = arguments[0],
                      .seeds = json_array()};
  int64_t stated = json_integer_value(json_object_get(work.reproduction, "seeds"));
  int64_t wanted = options->quick ? 1 : options->seeds > 0 ? options->seeds : stated;
  work.n_seeds = wanted < 1 ? 1 : wanted > MAX_SEEDS ? MAX_SEEDS : (int32_t)wanted;
  enum ex_status status = reproduce(&work, &result, &err);
  int code = EXIT_SUCCESS;
  if (status != EX_OK)
    code = console_fail(&command_reproduce, &err);
  else if (options->common.json)
    code = console_json(&command_reproduce, json_incref(result));
  else
    print_result(result);
  json_decref(result);
  json_decref(work.seeds);
  json_decref(entry);
  return code;
}

const struct command command_reproduce = {
    .name = "reproduce",
    .arguments = "NAME",
    .summary = "a paper's small reproduction, and its claims",
    .help = "Trains, calibrates and evaluates the runs of a catalogue entry (`exeunt papers`),\n"
            "paired by seed, and checks each claim: met, not met, no significant difference.\n"
            "Writes NAME.json into the output folder.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
