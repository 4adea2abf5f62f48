/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_calibrate: chooses when to leave, under a constraint, and writes the
 * policy, the cost table and the receipt into the model file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/calibration.h"
#include "cli/console.h"
#include "cli/explain.h"
#include "cli/open.h"

struct options {
  struct common_options common;
  double max_drop, max_macs, max_latency;
  const char *policy, *data, *output;
  bool budgeted;
  struct assignments set;
};

static const struct option_spec table[] = {
    {"max-drop", 0, OPTION_REAL, offsetof(struct options, max_drop), "POINTS", 0, 100, NULL,
     "At most this many percentage points of accuracy below full depth."},
    {"max-macs", 0, OPTION_REAL, offsetof(struct options, max_macs), "SHARE", 0, 1, NULL,
     "At most this share of full depth's multiply-adds, on average."},
    {"max-latency", 0, OPTION_REAL, offsetof(struct options, max_latency), "US", 0, 1e9, NULL,
     "At most this many microseconds, on average, one input at a time: pre-processing, stages, "
     "heads, softmax and decision, on this machine with these --threads."},
    {"policy", 'p', OPTION_TEXT, offsetof(struct options, policy), "NAME", 0, 0, NULL,
     "The exit rule; default the model's, else its recipe's, else max-probability."},
    {"set", 's', OPTION_ASSIGNMENTS, offsetof(struct options, set), "KEY=VALUE", 0, 0, NULL,
     "Sets a value of the rule."},
    {"budgeted", 0, OPTION_FLAG, offsetof(struct options, budgeted), NULL, 0, 0, NULL,
     "MSDNet's quotas instead of searching every exit's threshold."},
    {"data", 'd', OPTION_TEXT, offsetof(struct options, data), "RECIPE", 0, 0, NULL,
     "Data from this recipe instead of the model's own."},
    {"output", 'o', OPTION_TEXT, offsetof(struct options, output), "FILE", 0, 0, NULL,
     "Writes there instead of over the model."},
    {0},
};

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)n;
  const struct options *options = given;
  struct calibration_job job = {
      .model = arguments[0],
      .data = options->data,
      .policy = options->policy,
      .set = &options->set,
      .output = options->output != NULL ? options->output : arguments[0],
      .budgeted = options->budgeted,
      .threads = console_threads(&options->common),
      .progress = console_progress(&options->common),
  };
  if (calibration_constraint(options->max_drop, options->max_macs, options->max_latency,
                             &job.constraint) != 1)
    return console_misuse(&command_calibrate,
                          "must have one of --max-drop, --max-macs and --max-latency");
  struct ex_error err = {0};
  json_t *receipt = NULL;
  if (calibration_run(&job, &receipt, &err) != EX_OK) return console_fail(&command_calibrate, &err);
  if (options->common.json) return console_json(&command_calibrate, receipt);
  calibration_print(receipt);
  json_decref(receipt);
  return EXIT_SUCCESS;
}

static int explain(const void *given, char *const *arguments, int32_t n) {
  (void)arguments, (void)n;
  const struct options *options = given;
  return explain_with_policy(&command_calibrate, options->policy);
}

const struct command command_calibrate = {
    .name = "calibrate",
    .arguments = "MODEL",
    .summary = "choose when to leave, under a constraint",
    .help = "Records every exit's outputs on the select split, fits the exit rule to the\n"
            "constraint, bounds it on the certify split, and writes policy, measured costs and\n"
            "the receipt into the model file. Every constraint is met by a one-sided 90 % bound,\n"
            "not by the estimate. A constraint that cannot be met is refused, and the refusal\n"
            "names the best that can be promised; for US, `exeunt bench MODEL` shows what each\n"
            "exit takes, from the first (nobody gets below) to full depth.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
    .explain = explain,
};
