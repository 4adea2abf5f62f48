/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_demo: the main job, end to end, on real data, in minutes: the same
 * steps that a user would type, said aloud as they run.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/calibration.h"
#include "cli/console.h"
#include "cli/evaluation_print.h"
#include "cli/open.h"
#include "cli/training.h"
#include "report/evaluation.h"

enum { N_SHOWN = 8, MAX_PATH = 512 };

struct options {
  struct common_options common;
  const char *output;
  struct assignments set;
};

static const struct option_spec table[] = {
    {"output", 'o', OPTION_TEXT, offsetof(struct options, output), "FOLDER", 0, 0, NULL,
     "Where the files go; default demo."},
    {"set", 's', OPTION_ASSIGNMENTS, offsetof(struct options, set), "PATH=VALUE", 0, 0, NULL,
     "Changes the recipe: train.epochs=2; may be repeated."},
    {0},
};

struct work {
  const struct options *options;
  struct ex_progress progress;
  int32_t threads;
  char model_path[MAX_PATH], evaluation_path[MAX_PATH], report_path[MAX_PATH];
  ex_model *model;
  ex_data *data;
  ex_evaluation *evaluation;
  ex_engine *engine;
};

static void say(const struct work *work, const char *text) {
  if (work->options->common.quiet || work->options->common.json) return;
  printf("\n== %s\n", text);
  fflush(stdout);
}

static enum ex_status make_folder(struct work *work, struct ex_error *err) {
  const char *folder = work->options->output != NULL ? work->options->output : "demo";
  if (mkdir(folder, 0777) != 0 && errno != EEXIST)
    return ex__fail(err, EX_EIO, "%s: cannot be made: %s", folder, strerror(errno));
  snprintf(work->model_path, MAX_PATH, "%s/model.safetensors", folder);
  snprintf(work->evaluation_path, MAX_PATH, "%s/evaluation.json", folder);
  snprintf(work->report_path, MAX_PATH, "%s/report.html", folder);
  return EX_OK;
}

static enum ex_status train(struct work *work, struct ex_error *err) {
  say(work, "exeunt train fashion-mnist: a residual network with four exits");
  const struct training_job job = {
      .recipe = "fashion-mnist",
      .set = &work->options->set,
      .output = work->model_path,
      .checkpoint_seconds = 0,
      .seed = (uint64_t)work->options->common.seed,
      .threads = work->threads,
      .progress = work->progress,
  };
  json_t *summary;
  EX_TRY(training_run(&job, &summary, err));
  json_decref(summary);
  return EX_OK;
}

static enum ex_status calibrate(struct work *work, struct ex_error *err) {
  say(work, "exeunt calibrate --max-drop 0.5: when to leave, on data kept aside");
  const struct calibration_job job = {
      .model = work->model_path,
      .output = work->model_path,
      .constraint = {EX_CONSTRAINT_DROP, 0.5},
      .threads = work->threads,
      .progress = work->progress,
  };
  json_t *receipt;
  EX_TRY(calibration_run(&job, &receipt, err));
  if (!work->options->common.json && !work->options->common.quiet) calibration_print(receipt);
  json_decref(receipt);
  return EX_OK;
}

static enum ex_status write_json(const char *path, const json_t *json, struct ex_error *err) {
  char *text;
  enum ex_status status = ex__json_dump(json, true, &text);
  if (status != EX_OK) return ex__fail(err, status, "%s: out of memory", path);
  status = ex__file_write_whole(path, text, strlen(text), err);
  ex__free(text);
  return status;
}

static enum ex_status evaluate(struct work *work, struct ex_error *err) {
  say(work, "exeunt evaluate: the test split, looked at once");
  ex_policy policy;
  EX_TRY(ex__model_read(work->model_path, &work->model, err));
  EX_TRY(open_policy(work->model, NULL, NULL, &policy, err));
  EX_TRY(open_model_data(work->model, NULL, &work->data, err));
  const struct ex_evaluation_job job = {
      .model = work->model,
      .policy = &policy,
      .data = work->data,
      .split = EX_SPLIT_TEST,
      .threads = work->threads,
      .timed_samples = 2000,
      .progress = work->progress,
  };
  EX_TRY(ex__evaluate(&job, &work->evaluation, err));
  EX_TRY(write_json(work->evaluation_path, work->evaluation->json, err));
  EX_TRY(ex__report_html(work->evaluation, work->model, work->data, EX_SPLIT_TEST,
                         work->report_path, err));
  if (!work->options->common.json && !work->options->common.quiet)
    evaluation_print(work->evaluation->json);
  return EX_OK;
}

static enum ex_status show_one(struct work *work, int32_t index, float *x, struct ex_error *err) {
  struct ex_model_info info = {.size = sizeof info};
  ex_model_describe(work->model, &info);
  ex__data_raw(work->data, EX_SPLIT_TEST, index, x);
  struct ex_result result = {0};
  enum ex_status status = ex_engine_run(work->engine, x, &result);
  if (status != EX_OK)
    return ex__fail(err, status, "test image %d: %s", (int)index, ex_status_text(status));
  int32_t label = ex__data_label(work->data, EX_SPLIT_TEST, index);
  printf("test image %d: %-12s (%s)  exit %d of %d  confidence %.3f  %3.0f %% of the work\n",
         (int)index, work->model->labels[result.label],
         label == result.label ? "right" : work->model->labels[label], (int)result.exit + 1,
         (int)info.n_exits, result.confidence,
         100.0 * (double)result.macs / (double)info.full_macs);
  return EX_OK;
}

static enum ex_status show_some(struct work *work, struct ex_error *err) {
  if (work->options->common.json || work->options->common.quiet) return EX_OK;
  say(work, "exeunt predict: a few test images, one by one");
  const struct ex_engine_options options = {
      .size = sizeof options, .threads = work->threads, .max_batch = 1, .untimed = true};
  EX_TRY(ex_engine_new(work->model, &options, &work->engine, err));
  float *x = ex__alloc((size_t)ex__data_info(work->data)->features, sizeof *x);
  if (x == NULL) return ex__fail(err, EX_ENOMEM, "demo: out of memory");
  enum ex_status status = EX_OK;
  for (int32_t i = 0; status == EX_OK && i < N_SHOWN; i++) status = show_one(work, i, x, err);
  ex__free(x);
  return status;
}

static void close_work(struct work *work) {
  ex_engine_free(work->engine);
  ex__evaluation_free(work->evaluation);
  ex__data_free(work->data);
  ex_model_free(work->model);
}

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)arguments;
  (void)n;
  const struct options *options = given;
  struct work work = {.options = options,
                      .progress = console_progress(&options->common),
                      .threads = console_threads(&options->common)};
  struct ex_error err = {0};
  int64_t start = ex__now_ns();
  enum ex_status status = make_folder(&work, &err);
  if (status == EX_OK) status = train(&work, &err);
  if (status == EX_OK) status = calibrate(&work, &err);
  if (status == EX_OK) status = evaluate(&work, &err);
  if (status == EX_OK) status = show_some(&work, &err);
  int code = EXIT_SUCCESS;
  if (status != EX_OK)
    code = console_fail(&command_demo, &err);
  else if (options->common.json)
    code = console_json(&command_demo, json_incref(work.evaluation->json));
  else
    printf("\n%.0f s in all. Left behind: %s, %s, %s\n", (double)(ex__now_ns() - start) * 1e-9,
           work.model_path, work.evaluation_path, work.report_path);
  close_work(&work);
  return code;
}

const struct command command_demo = {
    .name = "demo",
    .arguments = "",
    .summary = "the main job, end to end, on real data, in minutes",
    .help =
        "Reads Fashion-MNIST from Debian's dataset-fashion-mnist, trains a residual network\n"
        "with four exits, calibrates it to lose at most half a point of accuracy, evaluates it\n"
        "on the untouched test split, and classifies a few test images. Leaves\n"
        "model.safetensors, evaluation.json and report.html.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 0,
    .max_arguments = 0,
    .run = run,
};
