/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_evaluate: what a calibrated model does on the test split: three
 * savings side by side (by table, by executed multiply-adds, by wall clock),
 * a table per exit, curves, and the page for a person.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/console.h"
#include "cli/evaluation_print.h"
#include "cli/explain.h"
#include "cli/open.h"
#include "report/evaluation.h"

struct options {
  struct common_options common;
  const char *data, *policy, *report, *split, *dynamic, *classes;
  bool fast;
  int64_t timed;
  struct assignments set;
};

static const struct option_spec table[] = {
    {"report", 'r', OPTION_TEXT, offsetof(struct options, report), "FILE", 0, 0, NULL,
     "Also writes one self-contained HTML page."},
    {"policy", 'p', OPTION_TEXT, offsetof(struct options, policy), "NAME", 0, 0, NULL,
     "Another exit rule than the model's."},
    {"set", 's', OPTION_ASSIGNMENTS, offsetof(struct options, set), "KEY=VALUE", 0, 0, NULL,
     "Sets a value of the rule."},
    {"classes", 'c', OPTION_TEXT, offsetof(struct options, classes), "LIST", 0, 0, NULL,
     "Only these, by number or label (7,Bag), may leave early, as in a request, for rules that "
     "know classes of interest."},
    {"data", 'd', OPTION_TEXT, offsetof(struct options, data), "RECIPE", 0, 0, NULL,
     "Data from this recipe instead of the model's own."},
    {"split", 0, OPTION_TEXT, offsetof(struct options, split), "NAME", 0, 0, NULL,
     "train, select, certify or test; default test."},
    {"timed", 0, OPTION_INT, offsetof(struct options, timed), "N", 0, 1e6, "2000",
     "Samples to time one by one; 0 leaves wall clock out."},
    {"fast", 0, OPTION_FLAG, offsetof(struct options, fast), NULL, 0, 0, NULL,
     "Admits algorithms that do not keep the bits (Winograd)."},
    {"dynamic", 0, OPTION_TEXT, offsetof(struct options, dynamic), "FILE", 0, 0, NULL,
     "Also writes the budgeted curve as MSDNet's dynamic.txt."},
    {0},
};

struct work {
  ex_model *model;
  ex_data *data;
  ex_evaluation *evaluation;
};

static void close_work(struct work *work) {
  ex__evaluation_free(work->evaluation);
  ex__data_free(work->data);
  ex_model_free(work->model);
}

static enum ex_status find_split(const char *name, enum ex_split *split, struct ex_error *err) {
  *split = EX_SPLIT_TEST;
  if (name == NULL) return EX_OK;
  for (int i = 0; i < EX_N_SPLITS; i++) {
    *split = (enum ex_split)i;
    if (strcmp(name, ex__split_name(*split)) == 0) return EX_OK;
  }
  return ex__fail(err, EX_EINVAL, "split \"%.32s\"; must be one of train, select, certify, test",
                  name);
}

static enum ex_status evaluate(const struct options *options, const char *path, struct work *work,
                               struct ex_error *err) {
  ex_policy policy;
  enum ex_split split;
  int32_t class[EX_MAX_LIST], n_classes = 0;
  EX_TRY(find_split(options->split, &split, err));
  EX_TRY(ex__model_read(path, &work->model, err));
  if (work->model->policy == NULL && options->policy == NULL)
    return ex__fail(err, EX_EINVAL,
                    "%s: is not calibrated; run `exeunt calibrate`, or name a rule with --policy",
                    path);
  EX_TRY(open_policy(work->model, options->policy, &options->set, &policy, err));
  if (options->classes != NULL)
    EX_TRY(ex__model_classes(work->model, options->classes, class, &n_classes, err));
  EX_TRY(open_model_data(work->model, options->data, &work->data, err));
  const struct ex_evaluation_job job = {
      .model = work->model,
      .policy = &policy,
      .classes = options->classes != NULL ? class : NULL,
      .n_classes = n_classes,
      .data = work->data,
      .split = split,
      .threads = console_threads(&options->common),
      .timed_samples = (int32_t)options->timed,
      .fast = options->fast,
      .progress = console_progress(&options->common),
  };
  EX_TRY(ex__evaluate(&job, &work->evaluation, err));
  if (options->dynamic != NULL)
    EX_TRY(ex__evaluation_write_dynamic(work->evaluation, options->dynamic, err));
  if (options->report == NULL) return EX_OK;
  return ex__report_html(work->evaluation, work->model, work->data, split, options->report, err);
}

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)n;
  const struct options *options = given;
  struct ex_error err = {0};
  struct work work = {0};
  int code;
  if (evaluate(options, arguments[0], &work, &err) != EX_OK)
    code = console_fail(&command_evaluate, &err);
  else if (options->common.json)
    code = console_json(&command_evaluate, json_incref(work.evaluation->json));
  else
    code = evaluation_print(work.evaluation->json);
  if (code == EXIT_SUCCESS && options->report != NULL && !options->common.json)
    printf("report: %s\n", options->report);
  close_work(&work);
  return code;
}

static int explain(const void *given, char *const *arguments, int32_t n) {
  (void)arguments, (void)n;
  const struct options *options = given;
  return explain_with_policy(&command_evaluate, options->policy);
}

const struct command command_evaluate = {
    .name = "evaluate",
    .arguments = "MODEL",
    .summary = "accuracy, work and time per exit; the report page",
    .help = "Runs the model under its policy on the test split, for real: skipped stages are not\n"
            "computed. Prints accuracy and three savings side by side, a line per exit, and what\n"
            "was promised beside what came out.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
    .explain = explain,
};
