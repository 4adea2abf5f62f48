/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_calibrate: chooses when to leave, under a constraint, and writes the
 * policy, the cost table and the receipt into the model file.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/calibration.h"
#include "cli/console.h"
#include "cli/explain.h"
#include "cli/open.h"

struct options {
  struct common_options common;
  double max_drop, max_macs, max_latency, risk, confidence;
  const char *policy, *data, *output, *risk_of, *form, *classes;
  bool budgeted, temperature;
  const char *transform;
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
    {"risk", 0, OPTION_REAL, offsetof(struct options, risk), "E", 0, 2, NULL,
     "At most this risk, certified on the certify split: a share of answers, 0.02, or a Brier "
     "score."},
    {"risk-of", 0, OPTION_TEXT, offsetof(struct options, risk_of), "WHAT", 0, 0, NULL,
     "disagreement with full depth, accuracy lost against it, or brier score above it; default "
     "disagreement."},
    {"confidence", 0, OPTION_REAL, offsetof(struct options, confidence), "C", 0, 1, NULL,
     "How sure the risk is to be kept; default 0.9. The form crc has none."},
    {"form", 0, OPTION_TEXT, offsetof(struct options, form), "FORM", 0, 0, NULL,
     "ltt (Learn-then-Test), ucb (betting bound) or crc (conformal, on average); default ltt for "
     "disagreement, else ucb."},
    {"policy", 'p', OPTION_TEXT, offsetof(struct options, policy), "NAME", 0, 0, NULL,
     "The exit rule; default the model's, else its recipe's, else max-probability."},
    {"set", 's', OPTION_ASSIGNMENTS, offsetof(struct options, set), "KEY=VALUE", 0, 0, NULL,
     "Sets a value of the rule."},
    {"classes", 'c', OPTION_TEXT, offsetof(struct options, classes), "LIST", 0, 0, NULL,
     "Classes of interest, by number or label (7,Bag), for rules that know some."},
    {"budgeted", 0, OPTION_FLAG, offsetof(struct options, budgeted), NULL, 0, 0, NULL,
     "MSDNet's quotas instead of searching every exit's threshold."},
    {"transform", 0, OPTION_TEXT, offsetof(struct options, transform), "NAME", 0, 0, NULL,
     "What an exit answers with: own, or product of all exits so far, whose probability of a class "
     "hardly ever falls again; default as the model has it."},
    {"temperature", 0, OPTION_FLAG, offsetof(struct options, temperature), NULL, 0, 0, NULL,
     "First scales each exit's outputs by a temperature, fitted on half of select, so that "
     "confidences mean the same at every exit; the model keeps it."},
    {"data", 'd', OPTION_TEXT, offsetof(struct options, data), "RECIPE", 0, 0, NULL,
     "Data from this recipe instead of the model's own."},
    {"output", 'o', OPTION_TEXT, offsetof(struct options, output), "FILE", 0, 0, NULL,
     "Writes there instead of over the model."},
    {0},
};

/* What does not go together; NULL: all does. */
static const char *misuse(const struct options *options, int32_t constraints) {
  bool risk = !isnan(options->risk);
  if (constraints + risk != 1)
    return "must have one of --max-drop, --max-macs, --max-latency and --risk";
  if (risk && options->budgeted) return "--budgeted does not go with --risk";
  if (!risk && (options->risk_of != NULL || options->form != NULL || !isnan(options->confidence)))
    return "--risk-of, --form and --confidence go with --risk alone";
  return NULL;
}

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)n;
  const struct options *options = given;
  struct calibration_job job = {
      .model = arguments[0],
      .data = options->data,
      .policy = options->policy,
      .set = &options->set,
      .classes = options->classes,
      .output = options->output != NULL ? options->output : arguments[0],
      .budgeted = options->budgeted,
      .transform = options->transform,
      .temperature = options->temperature,
      .threads = console_threads(&options->common),
      .progress = console_progress(&options->common),
  };
  const char *wrong =
      misuse(options, calibration_constraint(options->max_drop, options->max_macs,
                                             options->max_latency, &job.constraint));
  struct ex_error err = {0};
  struct ex_risk risk;
  if (wrong == NULL && !isnan(options->risk)) {
    const struct calibration_risk asked = {options->risk, options->confidence, options->risk_of,
                                           options->form, options->common.seed};
    if (calibration_read_risk(&asked, &risk, &err) != EX_OK) wrong = err.text;
    job.risk = &risk;
  }
  if (wrong != NULL) return console_misuse(&command_calibrate, "%s", wrong);
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
    .help =
        "Records every exit's outputs on the select split, fits the exit rule to the\n"
        "constraint, bounds it on the certify split, and writes policy, measured costs and\n"
        "the receipt into the model file. Every constraint is met by a one-sided 90 % bound,\n"
        "not by the estimate. A constraint that cannot be met is refused, and the refusal\n"
        "names the best that can be promised; for US, `exeunt bench MODEL` shows what each\n"
        "exit takes, from the first (nobody gets below) to full depth.\n\n"
        "With --risk, policies from full depth to bold are fixed on the select split alone, and\n"
        "the certify split says how far along them one may go: with confidence C, the risk on\n"
        "inputs like those of the split is at most E (Fast yet Safe, NeurIPS 2024).",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
    .explain = explain,
};
