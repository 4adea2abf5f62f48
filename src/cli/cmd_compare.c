/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_compare: every exit rule on one model, under one constraint, and which
 * is best for which.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/calibration.h"
#include "cli/console.h"
#include "cli/explain.h"
#include "cli/open.h"
#include "report/rules.h"

enum { MAX_NAMES = 32, MAX_TEXT = 512 };

struct options {
  struct common_options common;
  double max_drop, max_macs, max_latency, risk, confidence;
  const char *policies, *data, *report, *risk_of, *form;
  int64_t timed;
};

static const struct option_spec table[] = {
    {"policies", 'p', OPTION_TEXT, offsetof(struct options, policies), "NAMES", 0, 0, NULL,
     "Rules to compare, separated by commas; NAME:KEY=VALUE sets a value of one; default all."},
    {"max-drop", 0, OPTION_REAL, offsetof(struct options, max_drop), "POINTS", 0, 100, NULL,
     "At most this many percentage points of accuracy below full depth; 0.5 where no constraint "
     "is given."},
    {"max-macs", 0, OPTION_REAL, offsetof(struct options, max_macs), "SHARE", 0, 1, NULL,
     "At most this share of full depth's multiply-adds, on average."},
    {"max-latency", 0, OPTION_REAL, offsetof(struct options, max_latency), "US", 0, 1e9, NULL,
     "At most this many microseconds, on average, one input at a time."},
    {"risk", 0, OPTION_REAL, offsetof(struct options, risk), "E", 0, 2, NULL,
     "At most this risk, certified for each rule by itself on the certify split."},
    {"risk-of", 0, OPTION_TEXT, offsetof(struct options, risk_of), "WHAT", 0, 0, NULL,
     "disagreement, accuracy or brier, as for calibrate; default disagreement."},
    {"confidence", 0, OPTION_REAL, offsetof(struct options, confidence), "C", 0, 1, NULL,
     "How sure the risk is to be kept; default 0.9. The form crc has none."},
    {"form", 0, OPTION_TEXT, offsetof(struct options, form), "FORM", 0, 0, NULL,
     "ltt, ucb or crc, as for calibrate."},
    {"report", 'r', OPTION_TEXT, offsetof(struct options, report), "FILE", 0, 0, NULL,
     "Also writes one self-contained HTML page, with accuracy against work as a picture."},
    {"data", 'd', OPTION_TEXT, offsetof(struct options, data), "RECIPE", 0, 0, NULL,
     "Data from this recipe instead of the model's own."},
    {"timed", 0, OPTION_INT, offsetof(struct options, timed), "N", 0, 1e6, "1000",
     "Samples to time one by one; 0 leaves wall clock out."},
    {0},
};

struct work {
  ex_model *model;
  ex_data *data;
  json_t *rules;
};

/* "a,b" → names, NULL behind the last; NULL for all. False: too many or too long. */
static bool split_names(const char *list, char text[MAX_TEXT], const char *names[MAX_NAMES + 1]) {
  int32_t n = 0;
  if (strlen(list) >= MAX_TEXT) return false;
  snprintf(text, MAX_TEXT, "%s", list);
  char *rest = text;
  for (char *name; (name = strtok_r(rest, ",", &rest)) != NULL; n++) {
    if (n == MAX_NAMES) return false;
    names[n] = name;
  }
  names[n] = NULL;
  return n > 0;
}

static enum ex_status compare(const struct options *options, const char *path,
                              const struct ex_constraint *constraint, const struct ex_risk *risk,
                              const char *const *names, struct work *work, struct ex_error *err) {
  EX_TRY(ex__model_read(path, &work->model, err));
  EX_TRY(open_model_data(work->model, options->data, &work->data, err));
  const struct ex_rules_job job = {.model = work->model,
                                   .data = work->data,
                                   .names = names,
                                   .constraint = *constraint,
                                   .risk = risk,
                                   .threads = console_threads(&options->common),
                                   .timed_samples = (int32_t)options->timed,
                                   .progress = console_progress(&options->common)};
  EX_TRY(ex__rules_compare(&job, &work->rules, err));
  return options->report != NULL ? ex__rules_page(work->rules, options->report, err) : EX_OK;
}

/* ---- for a person --------------------------------------------------------- */

static double number(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static void print_rule(const json_t *rule) {
  char mean[24] = "-", p99[24] = "-";
  if (json_object_get(rule, "refused") != NULL) {
    printf("%-16s refused: %s\n", text_of(rule, "policy"), text_of(rule, "refused"));
    return;
  }
  if (number(rule, "mean_ns") > 0) {
    console_ns(number(rule, "mean_ns"), mean);
    console_ns(number(rule, "p99_ns"), p99);
  }
  printf("%-16s %7.2f %% %7.2f %8.1f %% %9s %9s %11.2f %%  %s\n", text_of(rule, "policy"),
         100 * number(rule, "accuracy"), 100 * number(rule, "drop"),
         100 * number(rule, "macs_share"), mean, p99, 100 * number(rule, "risk"),
         json_is_true(json_object_get(rule, "met")) ? "yes" : "no");
}

static void print_best(const json_t *best) {
  const json_t *constraint = json_object_get(best, "constraint");
  const char *kind = text_of(constraint, "kind");
  double value = number(constraint, "value");
  char text[64];
  if (strcmp(kind, "drop") == 0)
    snprintf(text, sizeof text, "at most %g points lost", value);
  else if (strcmp(kind, "macs") == 0)
    snprintf(text, sizeof text, "at most %g %% of the work", 100 * value);
  else
    snprintf(text, sizeof text, "%s at most %g %s", kind, value, text_of(constraint, "unit"));
  if (json_is_null(json_object_get(best, "policy")))
    printf("%-30s no rule keeps it\n", text);
  else
    printf("%-30s %-16s %.2f %% right with %.1f %% of the work\n", text, text_of(best, "policy"),
           100 * number(best, "accuracy"), 100 * number(best, "macs_share"));
}

static void print_rules(const json_t *rules) {
  const json_t *constraint = json_object_get(rules, "constraint");
  size_t i;
  const json_t *item;
  printf("constraint %s %g %s; full depth %.2f %% right; figures of the test split\n\n",
         text_of(constraint, "kind"), number(constraint, "value"), text_of(constraint, "unit"),
         100 * number(json_object_get(rules, "full"), "accuracy"));
  printf("rule                right    lost       work  one input  99 of 100   otherwise  kept\n");
  json_array_foreach(json_object_get(rules, "rules"), i, item) { print_rule(item); }
  printf("\nbest by constraint (fitted on select, chosen by certify)\n");
  json_array_foreach(json_object_get(rules, "best"), i, item) { print_best(item); }
}

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)n;
  const struct options *options = given;
  struct ex_constraint constraint = {EX_CONSTRAINT_DROP, 0.5};
  char text[MAX_TEXT];
  const char *names[MAX_NAMES + 1] = {NULL};
  int32_t given_constraints = calibration_constraint(options->max_drop, options->max_macs,
                                                     options->max_latency, &constraint);
  struct ex_error err = {0};
  struct ex_risk risk;
  bool by_risk = !isnan(options->risk);
  if (given_constraints + by_risk > 1)
    return console_misuse(
        &command_compare,
        "must have at most one of --max-drop, --max-macs, --max-latency and --risk");
  const struct calibration_risk asked = {options->risk, options->confidence, options->risk_of,
                                         options->form, options->common.seed};
  if (by_risk && calibration_read_risk(&asked, &risk, &err) != EX_OK)
    return console_misuse(&command_compare, "%s", err.text);
  if (!by_risk &&
      (options->risk_of != NULL || options->form != NULL || !isnan(options->confidence)))
    return console_misuse(&command_compare,
                          "--risk-of, --form and --confidence go with --risk alone");
  bool all = options->policies == NULL || strcmp(options->policies, "all") == 0;
  if (!all && !split_names(options->policies, text, names))
    return console_misuse(&command_compare, "--policies must be at most %d names, or all",
                          (int)MAX_NAMES);
  struct work work = {0};
  int code = EXIT_SUCCESS;
  if (compare(options, arguments[0], &constraint, by_risk ? &risk : NULL, all ? NULL : names, &work,
              &err) != EX_OK)
    code = console_fail(&command_compare, &err);
  else if (options->common.json)
    code = console_json(&command_compare, json_incref(json_object_get(work.rules, "rules")));
  else
    print_rules(work.rules);
  if (code == EXIT_SUCCESS && options->report != NULL && !options->common.json)
    printf("\nreport: %s\n", options->report);
  json_decref(work.rules);
  ex__data_free(work.data);
  ex_model_free(work.model);
  return code;
}

static int explain(const void *given, char *const *arguments, int32_t n) {
  (void)given, (void)arguments, (void)n;
  return explain_with_policy(&command_compare, NULL);
}

const struct command command_compare = {
    .name = "compare",
    .arguments = "MODEL",
    .summary = "every exit rule on one model, and which is best for what",
    .help =
        "Records the traces of select, certify and test once, fits every exit rule to the\n"
        "constraint and to a list of others, and prints a line per rule: accuracy, points\n"
        "lost, work, measured times, and how often it answers otherwise than full depth. The\n"
        "best for each constraint is chosen by the certify split. With --risk each rule's risk\n"
        "is certified by itself; that the best of them is then taken, no promise counts in.\n"
        "Changes no file.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
    .explain = explain,
};
