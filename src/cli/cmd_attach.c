/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_attach: a trained network in, one with exits out, calibrated.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach/attach.h"
#include "cli/calibration.h"
#include "cli/console.h"
#include "cli/importing.h"
#include "cli/open.h"

struct options {
  struct common_options common;
  const char *output, *exits;
  double max_drop;
  bool unlabelled;
  struct assignments set;
  struct importing_job job;
};

static const struct option_spec table[] = {
    {"output", 'o', OPTION_TEXT, offsetof(struct options, output), "FILE", 0, 0, NULL,
     "Where the model with exits goes; must be given."},
    {"exits", 'e', OPTION_TEXT, offsetof(struct options, exits), "N", 0, 0, NULL,
     "Exits at most beside the last, or auto; which of them pay is measured. Default auto."},
    {"max-drop", 0, OPTION_REAL, offsetof(struct options, max_drop), "POINTS", 0, 100, "0.5",
     "Percentage points of accuracy that may be lost; without labels, of agreement with the "
     "network."},
    {"unlabelled", 0, OPTION_FLAG, offsetof(struct options, unlabelled), NULL, 0, 0, NULL,
     "Do not look at labels: what the network says is the truth."},
    {"set", 's', OPTION_ASSIGNMENTS, offsetof(struct options, set), "KEY=VALUE", 0, 0, NULL,
     "Sets samples, epochs, apart, head-share or gain; see below."},
    IMPORTING_OPTIONS(options),
    {0},
};

struct work {
  ex_model *given, *made;
  ex_data *data;
  struct ex_attach_options how;
  json_t *report, *receipt;
};

static bool is_onnx(const char *path) {
  const char *dot = strrchr(path, '.');
  return dot != NULL && strcmp(dot, ".onnx") == 0;
}

static enum ex_status read_how(const struct options *options, struct ex_attach_options *how,
                               struct ex_error *err) {
  ex__param_defaults(ex__attach_params, how);
  for (int32_t i = 0; i < options->set.n; i++) {
    const char *text = options->set.text[i], *equals = strchr(text, '=');
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)(equals - text), text);
    EX_TRY(ex__param_set("attach", ex__attach_params, how, key, equals + 1, err));
  }
  if (options->exits != NULL && strcmp(options->exits, "auto") != 0)
    EX_TRY(ex__param_set("attach", ex__attach_params, how, "exits", options->exits, err));
  how->drop = options->max_drop;
  if (options->unlabelled) how->unlabelled = 1;
  return EX_OK;
}

static enum ex_status open_given(const struct options *options, const char *path, struct work *work,
                                 struct ex_error *err) {
  struct ex_onnx_report report;
  if (!is_onnx(path)) return ex__model_read(path, &work->given, err);
  struct importing_job job = options->job;
  job.seed = options->common.seed;
  return importing_run(&job, path, &work->given, &report, err);
}

/* The data go with the model, so that calibrate and verify find them. */
static enum ex_status set_recipe(const struct options *options, struct work *work,
                                 struct ex_error *err) {
  struct ex_recipe recipe;
  if (options->job.data == NULL) {
    work->made->recipe = json_incref(work->given->recipe);
    return EX_OK;
  }
  EX_TRY(open_recipe(options->job.data, NULL, &recipe, err));
  work->made->recipe = json_incref(recipe.json);
  ex__recipe_free(&recipe);
  return EX_OK;
}

static enum ex_status attach(const struct options *options, const char *path, struct work *work,
                             struct ex_error *err) {
  EX_TRY(read_how(options, &work->how, err));
  EX_TRY(open_given(options, path, work, err));
  EX_TRY(open_model_data(work->given, options->job.data, &work->data, err));
  const struct ex_attach_job job = {.model = work->given,
                                    .data = work->data,
                                    .options = &work->how,
                                    .seed = (uint64_t)options->common.seed,
                                    .threads = console_threads(&options->common),
                                    .progress = console_progress(&options->common)};
  EX_TRY(ex__attach(&job, &work->made, &work->report, err));
  EX_TRY(set_recipe(options, work, err));
  work->made->provenance = json_pack("{s:s, s:s, s:O, s:O*}", "exeunt", ex_version(), "attached_to",
                                     path, "attach", work->report, "of", work->given->provenance);
  return ex__model_write(work->made, options->output, err);
}

/* With labels accuracy is what may drop; without, agreement with the network. */
static enum ex_status calibrate(const struct options *options, struct work *work,
                                struct ex_error *err) {
  struct assignments none = {0};
  struct ex_risk risk;
  bool labelled = json_is_true(json_object_get(work->report, "labelled"));
  const struct calibration_risk asked = {
      .value = options->max_drop / 100, .confidence = NAN, .seed = options->common.seed};
  if (!labelled) EX_TRY(calibration_read_risk(&asked, &risk, err));
  const struct calibration_job job = {.model = options->output,
                                      .output = options->output,
                                      .set = &none,
                                      .constraint = {EX_CONSTRAINT_DROP, options->max_drop},
                                      .risk = labelled ? NULL : &risk,
                                      .threads = console_threads(&options->common),
                                      .progress = console_progress(&options->common)};
  return calibration_run(&job, &work->receipt, err);
}

static double number(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}

/* The candidates; returns how many are exits. */
static size_t print_places(FILE *to, const json_t *report) {
  size_t i, kept = 0;
  const json_t *candidate, *full = json_object_get(report, "full");
  fprintf(to, "place   work before   time to answer   alone on select   as the network   saves\n");
  json_array_foreach(json_object_get(report, "candidates"), i, candidate) {
    bool stays = json_is_true(json_object_get(candidate, "kept"));
    kept += stays;
    fprintf(to, "%5zu %11.1f %% %13.0f us %15.2f %% %14.2f %% %7.1f %%%s\n", i + 1,
            100 * number(candidate, "share"), number(candidate, "ns") / 1e3,
            100 * number(candidate, "accuracy"), 100 * number(candidate, "agreement"),
            100 * number(candidate, "saved"), stays ? "   exit" : "");
  }
  fprintf(to, "%5s %11.1f %% %13.0f us %15.2f %%\n", "full", 100.0, number(full, "ns") / 1e3,
          100 * number(full, "accuracy"));
  return kept;
}

static void print(const json_t *report) {
  bool labelled = json_is_true(json_object_get(report, "labelled"));
  size_t kept = print_places(stdout, report);
  printf("%zu of %zu places pay and are exits; heads learned from %.0f samples%s\n", kept,
         json_array_size(json_object_get(report, "candidates")), number(report, "samples"),
         labelled ? "" : ", without labels");
  printf(json_is_true(json_object_get(report, "same_bits"))
             ? "full depth gives the bits of the network that was given\n"
             : "full depth differs from the network that was given, in the last bits\n");
}

static int finish(const struct options *options, const struct work *work) {
  if (options->common.json) {
    json_object_set(work->report, "receipt", work->receipt);
    return console_json(&command_attach, json_incref(work->report));
  }
  print(work->report);
  calibration_print(work->receipt);
  printf("model: %s\n", options->output);
  return EXIT_SUCCESS;
}

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)n;
  const struct options *options = given;
  struct work work = {0};
  struct ex_error err = {0};
  if (options->output == NULL) return console_misuse(&command_attach, "must have --output FILE");
  enum ex_status status = attach(options, arguments[0], &work, &err);
  if (status == EX_EINFEASIBLE && !options->common.json) print_places(stderr, work.report);
  if (status == EX_OK) {
    status = calibrate(options, &work, &err);
    if (status != EX_OK)
      fprintf(stderr, "%s has its exits and no policy yet: calibrate it\n", options->output);
  }
  int code = status == EX_OK ? finish(options, &work) : console_fail(&command_attach, &err);
  json_decref(work.report);
  json_decref(work.receipt);
  ex__data_free(work.data);
  ex_model_free(work.made);
  ex_model_free(work.given);
  return code;
}

const struct command command_attach = {
    .name = "attach",
    .arguments = "MODEL",
    .summary = "gives a trained network exits, where they pay",
    .help =
        "MODEL is an ONNX file or a model file, of whose exits the last alone counts. Places for\n"
        "exits are found in its graph; heads are trained there on the network as it is, to the\n"
        "labels and to the network's own answers; those that do not pay in measured time are\n"
        "dropped; what is left is calibrated. The network itself stays the same: full depth\n"
        "gives the same bits. Without labels agreement with the network is what is kept.\n\n"
        "Values for --set: samples=50000 (of the training split at most), epochs=20,\n"
        "apart=0.04 and gain=0.01 (shares of full depth), head-share=0.01.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
