/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_verify: does the receipt still hold? The certify split is run again
 * and compared by digest and by figure. Exit status 1 where it does not hold.
 */
#include <stdio.h>
#include <stdlib.h>

#include "calibrate/calibrate.h"
#include "cli/console.h"
#include "cli/open.h"

struct options {
  struct common_options common;
  const char *data;
};

static const struct option_spec table[] = {
    {"data", 'd', OPTION_TEXT, offsetof(struct options, data), "RECIPE", 0, 0, NULL,
     "Data from this recipe instead of the model's own."},
    {0},
};

struct work {
  ex_model *model;
  ex_data *data;
  ex_plan *plan;
  ex_compiled *compiled;
  ex_trace *certify;
};

static void close_work(struct work *work) {
  ex__trace_free(work->certify);
  ex__compiled_free(work->compiled);
  ex__plan_free(work->plan);
  ex__data_free(work->data);
  ex_model_free(work->model);
}

static enum ex_status verify(const struct options *options, const char *path, struct work *work,
                             json_t **report, struct ex_error *err) {
  ex_policy policy;
  struct ex_progress progress = console_progress(&options->common);
  EX_TRY(ex__model_read(path, &work->model, err));
  if (work->model->receipt == NULL || work->model->policy == NULL)
    return ex__fail(err, EX_ENOTFOUND, "%s: has no receipt; `exeunt calibrate` writes one", path);
  EX_TRY(open_policy(work->model, NULL, NULL, &policy, err));
  EX_TRY(open_model_data(work->model, options->data, &work->data, err));
  EX_TRY(open_compiled(work->model, 1, &work->plan, &work->compiled, err));
  EX_TRY(ex__trace_record(work->compiled, work->data, EX_SPLIT_CERTIFY,
                          console_threads(&options->common), &progress, &work->certify, err));
  if (work->model->cost != NULL)
    EX_TRY(ex__cost_from_json(work->model->cost, work->model->net, &work->certify->cost, err));
  return ex__receipt_verify(work->model->receipt, &policy, work->certify, report, err);
}

static void print_value(const json_t *value) {
  if (json_is_string(value))
    printf("%.16s", json_string_value(value));
  else if (json_is_number(value))
    printf("%.6g", json_number_value(value));
  else
    printf("%s", json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-");
}

static void print_report(const json_t *report) {
  size_t i;
  const json_t *check;
  json_array_foreach(json_object_get(report, "checks"), i, check) {
    printf("%-6s %s: promised ", json_is_true(json_object_get(check, "ok")) ? "ok" : "BROKEN",
           json_string_value(json_object_get(check, "what")));
    print_value(json_object_get(check, "promised"));
    printf(", found ");
    print_value(json_object_get(check, "found"));
    printf("\n");
  }
  printf(json_is_true(json_object_get(report, "held")) ? "the receipt holds\n"
                                                       : "the receipt does NOT hold\n");
}

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)n;
  const struct options *options = given;
  struct ex_error err = {0};
  struct work work = {0};
  json_t *report = NULL;
  enum ex_status status = verify(options, arguments[0], &work, &report, &err);
  close_work(&work);
  if (status != EX_OK) return console_fail(&command_verify, &err);
  int code = json_is_true(json_object_get(report, "held")) ? EXIT_SUCCESS : EXIT_FAILED;
  if (options->common.json) return console_json(&command_verify, report) | code;
  print_report(report);
  json_decref(report);
  return code;
}

const struct command command_verify = {
    .name = "verify",
    .arguments = "MODEL",
    .summary = "does the receipt still hold?",
    .help =
        "Runs the certify split again and holds digests of weights and data, accuracy, drop\n"
        "and multiply-adds against the receipt in the model file. Exit status 0 where all\n"
        "holds, 1 where it does not. Where a risk was certified, the policies that were tested\n"
        "are tested again. Latency is information, not a promise.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
