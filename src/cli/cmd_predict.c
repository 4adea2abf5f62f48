/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_predict: answers for pictures and arrays, one line per input, with
 * the exit at which it left, its confidence and its cost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/console.h"
#include "cli/explain.h"
#include "cli/open.h"
#include "cli/steps.h"
#include "data/data_input.h"
#include "engine/engine.h"

struct options {
  struct common_options common;
  const char *policy, *classes;
  bool all_exits, explain, no_preprocess;
  struct assignments set;
};

static const struct option_spec table[] = {
    {"all-exits", 0, OPTION_FLAG, offsetof(struct options, all_exits), NULL, 0, 0, NULL,
     "Also runs to full depth and gives every exit's outputs."},
    {"explain", 'e', OPTION_FLAG, offsetof(struct options, explain), NULL, 0, 0, NULL,
     "Also tells, exit by exit, the top answers, what the rule went by, and the costs."},
    {"no-preprocess", 0, OPTION_FLAG, offsetof(struct options, no_preprocess), NULL, 0, 0, NULL,
     "Arrays are ready for the first stage: no scaling, no normalisation."},
    {"policy", 'p', OPTION_TEXT, offsetof(struct options, policy), "NAME", 0, 0, NULL,
     "Another exit rule than the model's."},
    {"classes", 'c', OPTION_TEXT, offsetof(struct options, classes), "LIST", 0, 0, NULL,
     "Only these, by number or label (7,Bag), may leave early, for rules that know classes of "
     "interest."},
    {"set", 's', OPTION_ASSIGNMENTS, offsetof(struct options, set), "KEY=VALUE", 0, 0, NULL,
     "Sets a value of the rule: exit=2 of the rule fixed, thresholds=0.9,0.8."},
    {0},
};

struct work {
  const struct options *options;
  ex_model *model;
  ex_engine *engine;
  ex_policy policy;
  float *logits; /* [n_outputs] */
};

static json_t *numbers(const float *x, int32_t n) {
  json_t *array = json_array();
  for (int32_t i = 0; i < n; i++) json_array_append_new(array, json_real((double)x[i]));
  return array;
}

/* Every exit's outputs, by running on; for --all-exits. */
static enum ex_status all_exits(struct work *work, const float *x, json_t *object) {
  const ex_net *net = work->model->net;
  json_t *exits = json_array();
  enum ex_status status = ex_engine_begin(work->engine, x);
  for (int32_t exit = 0; status == EX_OK && exit < net->n_points; exit++) {
    struct ex_result result = {.logits = work->logits};
    status = ex_engine_advance(work->engine, exit, &result);
    if (status == EX_OK)
      json_array_append_new(exits, json_pack("{s:i, s:i, s:f, s:o}", "exit", (int)exit, "label",
                                             (int)result.label, "confidence", result.confidence,
                                             "logits", numbers(work->logits, net->n_outputs)));
  }
  json_object_set_new(object, "exits", exits);
  return status;
}

/* Sent off early because it is none of the classes of interest; its label says no more. */
static bool refused(const struct work *work, const struct ex_result *result) {
  return result->stage < work->model->net->n_stages - 1 &&
         !ex__policy_minds(&work->policy, result->label);
}

static enum ex_status print_json(struct work *work, const char *path, int32_t index, const float *x,
                                 const struct ex_result *result, json_t *steps) {
  json_t *object = json_pack("{s:s, s:i, s:i, s:s, s:i, s:f, s:I}", "file", path, "index",
                             (int)index, "label", (int)result->label, "name",
                             work->model->labels[result->label], "exit", (int)result->exit,
                             "confidence", result->confidence, "macs", (json_int_t)result->macs);
  if (object == NULL) return EX_ENOMEM;
  json_object_set_new(object, "refused", json_boolean(refused(work, result)));
  json_object_set_new(object, "logits", numbers(result->logits, work->model->net->n_outputs));
  if (steps != NULL) json_object_set(object, "steps", steps);
  enum ex_status status = work->options->all_exits ? all_exits(work, x, object) : EX_OK;
  if (status == EX_OK && json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0)
    putchar('\n');
  json_decref(object);
  return status;
}

static void print_text(const struct work *work, const char *path, int32_t index, int32_t n,
                       const struct ex_result *result) {
  struct ex_model_info info = {.size = sizeof info};
  ex_model_describe(work->model, &info);
  char place[24] = "";
  if (n > 1) snprintf(place, sizeof place, " [%d]", (int)index);
  printf("%s%s: %s%s, exit %d of %d, confidence %.3f, %.0f %% of full depth\n", path, place,
         refused(work, result) ? "not of interest, if anything " : "",
         work->model->labels[result->label], (int)result->exit + 1, (int)info.n_exits,
         result->confidence, 100.0 * (double)result->macs / (double)info.full_macs);
}

static enum ex_status predict_one(struct work *work, const char *path, int32_t index, int32_t n,
                                  const float *x, struct ex_error *err) {
  struct ex_result result = {.logits = work->logits};
  json_t *steps = NULL;
  enum ex_status status = work->options->explain
                              ? steps_run(work->engine, work->model, x, &result, &steps)
                              : ex_engine_run(work->engine, x, &result);
  if (status == EX_OK && work->options->common.json) {
    status = print_json(work, path, index, x, &result, steps);
  } else if (status == EX_OK) {
    print_text(work, path, index, n, &result);
    steps_print(steps);
  }
  json_decref(steps);
  if (status == EX_OK) return EX_OK;
  return ex__fail(err, status, "%s: input %d: %s", path, (int)index, ex_status_text(status));
}

static enum ex_status predict_file(struct work *work, const char *path, struct ex_error *err) {
  const struct ex_shape *input = &work->model->net->input;
  ex_real *x;
  int32_t n;
  EX_TRY(ex__input_read(path, input->rank, input->dim, &x, &n, err));
  int64_t features = ex__shape_count(input);
  enum ex_status status = EX_OK;
  for (int32_t i = 0; status == EX_OK && i < n; i++)
    status = predict_one(work, path, i, n, x + i * features, err);
  ex__free(x);
  return status;
}

static enum ex_status ask_for_classes(const struct work *work, struct ex_error *err) {
  int32_t class[EX_MAX_LIST];
  struct ex_request request = {.size = sizeof request, .classes = class};
  if (work->options->classes == NULL) return EX_OK;
  EX_TRY(ex__model_classes(work->model, work->options->classes, class, &request.n_classes, err));
  enum ex_status status = ex_engine_request(work->engine, &request);
  if (status == EX_OK) return EX_OK;
  return ex__fail(err, status, "classes: %s; the exit rule knows no classes of interest",
                  ex_status_text(status));
}

static enum ex_status open_work(struct work *work, const char *path, struct ex_error *err) {
  const struct options *options = work->options;
  EX_TRY(ex__model_read(path, &work->model, err));
  if (work->model->policy == NULL && options->policy == NULL)
    return ex__fail(err, EX_EINVAL,
                    "%s: is not calibrated; run `exeunt calibrate`, or name a rule with --policy",
                    path);
  EX_TRY(open_policy(work->model, options->policy, &options->set, &work->policy, err));
  const struct ex_engine_options engine = {.size = sizeof engine,
                                           .threads = console_threads(&options->common),
                                           .max_batch = 1,
                                           .untimed = true,
                                           .ready_input = options->no_preprocess};
  EX_TRY(ex__engine_new(work->model, &work->policy, &engine, &work->engine, err));
  EX_TRY(ask_for_classes(work, err));
  work->logits = ex__calloc((size_t)work->model->net->n_outputs, sizeof *work->logits);
  return work->logits != NULL ? EX_OK : ex__fail(err, EX_ENOMEM, "predict: out of memory");
}

static int run(const void *given, char *const *arguments, int32_t n) {
  struct work work = {.options = given};
  struct ex_error err = {0};
  enum ex_status status = open_work(&work, arguments[0], &err);
  for (int32_t i = 1; status == EX_OK && i < n; i++)
    status = predict_file(&work, arguments[i], &err);
  ex__free(work.logits);
  ex_engine_free(work.engine);
  ex_model_free(work.model);
  return status == EX_OK ? EXIT_SUCCESS : console_fail(&command_predict, &err);
}

static int explain(const void *given, char *const *arguments, int32_t n) {
  (void)arguments, (void)n;
  const struct options *options = given;
  return explain_with_policy(&command_predict, options->policy);
}

const struct command command_predict = {
    .name = "predict",
    .arguments = "MODEL FILE...",
    .summary = "answers, with exit, confidence and cost",
    .help =
        "Classifies pictures (PNG, JPEG) and .npy arrays of one or many inputs. Values are raw,\n"
        "as the model was trained on; it pre-processes them itself. With --json, one object\n"
        "per input and line.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 2,
    .max_arguments = INT32_MAX,
    .run = run,
    .explain = explain,
};
