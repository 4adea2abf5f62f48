/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_govern: a governor of frequencies under a model's rule, on a simulated device
 * or on this machine's processors.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/console.h"
#include "cli/explain.h"
#include "cli/open.h"
#include "report/governing.h"

struct options {
  struct common_options common;
  const char *governor, *sysfs, *policy, *data;
  int64_t samples;
  double deadline;
  struct assignments set;
};

static const struct option_spec table[] = {
    {"governor", 'g', OPTION_TEXT, offsetof(struct options, governor), "NAME", 0, 0, NULL,
     "simulated: a device with made-up voltages; cpufreq: this machine's processors, where it lets "
     "their frequency be set; default simulated."},
    {"deadline", 0, OPTION_REAL, offsetof(struct options, deadline), "TIMES", 0.01, 100, "1.5",
     "When an answer is due, in times of full depth at the fastest level."},
    {"samples", 'n', OPTION_INT, offsetof(struct options, samples), "N", 1, 1e6, "1000",
     "Samples of the test split, spread evenly."},
    {"policy", 'p', OPTION_TEXT, offsetof(struct options, policy), "NAME", 0, 0, NULL,
     "Another exit rule than the model's; predictive is the one that knows farthest ahead."},
    {"set", 's', OPTION_ASSIGNMENTS, offsetof(struct options, set), "KEY=VALUE", 0, 0, NULL,
     "Sets a value of the rule."},
    {"data", 'd', OPTION_TEXT, offsetof(struct options, data), "RECIPE", 0, 0, NULL,
     "Data from this recipe instead of the model's own."},
    {"sysfs", 0, OPTION_TEXT, offsetof(struct options, sysfs), "FOLDER", 0, 0, NULL,
     "Where cpufreq finds the processors; default /sys."},
    {0},
};

struct work {
  ex_model *model;
  ex_data *data;
  ex_policy policy;
  ex_cpufreq *cpufreq;
};

static enum ex_status open_work(const struct options *options, const char *path, struct work *work,
                                struct ex_error *err) {
  EX_TRY(ex__model_read(path, &work->model, err));
  if (work->model->policy == NULL && options->policy == NULL)
    return ex__fail(err, EX_EINVAL,
                    "%s: is not calibrated; run `exeunt calibrate`, or name a rule with --policy",
                    path);
  EX_TRY(open_policy(work->model, options->policy, &options->set, &work->policy, err));
  EX_TRY(open_model_data(work->model, options->data, &work->data, err));
  if (options->governor == NULL || strcmp(options->governor, "simulated") == 0) return EX_OK;
  if (strcmp(options->governor, "cpufreq") != 0)
    return ex__fail(err, EX_EINVAL, "governor = \"%.40s\"; must be simulated or cpufreq",
                    options->governor);
  return ex__cpufreq_open(options->sysfs != NULL ? options->sysfs : "/sys", &work->cpufreq, err);
}

static enum ex_status govern(const struct options *options, const char *path, json_t **json,
                             struct ex_error *err) {
  struct work work = {.model = NULL};
  const struct ex_progress progress = console_progress(&options->common); /* before frequencies */
  enum ex_status status = open_work(options, path, &work, err);
  if (status == EX_OK) {
    const struct ex_governing_job job = {.model = work.model,
                                         .policy = &work.policy,
                                         .data = work.data,
                                         .split = EX_SPLIT_TEST,
                                         .samples = (int32_t)options->samples,
                                         .deadline = options->deadline,
                                         .cpufreq = work.cpufreq,
                                         .progress = progress};
    status = ex__govern(&job, json, err);
  }
  struct ex_error closing;
  if (ex__cpufreq_close(work.cpufreq, &closing) != EX_OK && status == EX_OK) {
    *err = closing;
    status = closing.code;
  }
  if (status == EX_OK) json_object_set_new(*json, "policy", json_string(work.policy.class->name));
  ex__data_free(work.data);
  ex_model_free(work.model);
  return status;
}

/* ---- for a person ----------------------------------------------------------- */

static double number(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static const char *says(const char *way) {
  return strcmp(way, "full") == 0   ? "full depth, fastest level"
         : strcmp(way, "race") == 0 ? "the rule, fastest level"
         : strcmp(way, "next") == 0 ? "governed for the next decision"
                                    : "governed for all that may follow";
}

static void print_way(const json_t *way) {
  char ns[24], joules[40] = "not told", energy[16] = "-";
  console_ns(number(way, "mean_ns"), ns);
  if (isfinite(number(way, "mean_joules"))) {
    double microjoules = 1e6 * number(way, "mean_joules");
    bool small = microjoules < 1000;
    snprintf(joules, sizeof joules, "%.4g %s", small ? microjoules : microjoules / 1000,
             small ? "uJ" : "mJ");
    snprintf(energy, sizeof energy, "%.1f %%", 100 * number(way, "energy"));
  }
  printf("%-32s  %9s  %10s  %8s  %6.1f %%  %7.2f\n",
         says(json_string_value(json_object_get(way, "way"))), ns, joules, energy,
         100 * number(way, "late"), number(way, "changes"));
}

static void print_all(const json_t *json) {
  const json_t *levels = json_object_get(json, "levels_hz"), *way;
  size_t n = json_array_size(levels), i;
  char deadline[24], change[24];
  if (json_is_true(json_object_get(json, "simulated")))
    printf("SIMULATED: times and energies are those of a model of a small board, with made-up "
           "voltages; nothing is measured and no frequency is set\n");
  else
    printf("measured on this machine; energy is its package's, with all else that ran\n");
  printf("levels     %zu, %.0f to %.0f MHz; a change takes %s\n", n,
         json_number_value(json_array_get(levels, 0)) / 1e6,
         json_number_value(json_array_get(levels, n - 1)) / 1e6,
         console_ns(number(json, "switch_ns"), change));
  printf("deadline   %s; %.0f samples of test, one at a time, rule %s\n\n",
         console_ns(number(json, "deadline_ns"), deadline), number(json, "n"),
         json_string_value(json_object_get(json, "policy")));
  printf("per sample                             time      energy   of full      late  changes\n");
  json_array_foreach(json_object_get(json, "ways"), i, way) { print_way(way); }
}

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)n;
  const struct options *options = given;
  struct ex_error err = {0};
  json_t *json = NULL;
  if (govern(options, arguments[0], &json, &err) != EX_OK)
    return console_fail(&command_govern, &err);
  if (options->common.json) return console_json(&command_govern, json);
  print_all(json);
  json_decref(json);
  return EXIT_SUCCESS;
}

static int explain(const void *given, char *const *arguments, int32_t n) {
  (void)arguments, (void)n;
  const struct options *options = given;
  return explain_with_policy(&command_govern, options->policy);
}

const struct command command_govern = {
    .name = "govern",
    .arguments = "MODEL",
    .summary = "slow the processor down where the rule leaves time, simulated or for real",
    .help =
        "Runs samples under the model's rule, which knows after each exit what work comes next,\n"
        "and lets a governor choose the frequency for it (Predictive Exit, AAAI 2023): so that\n"
        "the next decision comes before the deadline, as in the paper, or so that all that may\n"
        "follow does. Tells time, energy and how many were late, beside full depth and the\n"
        "same rule at the fastest level. The simulated device is a model, and says so. With\n"
        "cpufreq real frequencies are set, which mostly takes root; what was found is put back\n"
        "at the end, however the command ends. One thread.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
    .explain = explain,
};
