/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/importing: reads the file, and puts around the network what the file does not
 * have: pre-processing, labels, where data are.
 */
#include "cli/importing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/open.h"

/* ---- lists of options ------------------------------------------------------------ */

/* Numbers with commas between; returns how many, −1 where one is none. */
static int32_t read_numbers(const char *text, double *out, int32_t most) {
  int32_t n = 0;
  for (const char *at = text;; at++) {
    size_t length = strcspn(at, ",");
    char number[64];
    if (n == most || length >= sizeof number) return -1;
    snprintf(number, sizeof number, "%.*s", (int)length, at);
    if (!ex__text_to_real(number, &out[n++])) return -1;
    at += length;
    if (*at == '\0') return n;
  }
}

static enum ex_status read_shape(const char *text, struct ex_shape *out, struct ex_error *err) {
  double number[EX_MAX_RANK];
  int32_t n = text != NULL ? read_numbers(text, number, EX_MAX_RANK) : 0;
  *out = (struct ex_shape){.rank = n > 0 ? n : 0};
  for (int32_t i = 0; i < n; i++) {
    if (!(number[i] >= 1 && number[i] <= 1 << 24)) n = -1;
    if (n > 0) out->dim[i] = (int32_t)number[i];
  }
  if (n >= 0) return EX_OK;
  return ex__fail(err, EX_EINVAL, "--shape = %.40s; must be 1 to %d whole numbers, as 3,224,224",
                  text, EX_MAX_RANK);
}

static enum ex_status read_statistics(const struct importing_job *job, const struct ex_net *net,
                                      struct ex_preprocess *out, struct ex_error *err) {
  int32_t n_mean = 1, n_deviation = 1, channels = net->input.dim[0];
  *out = (struct ex_preprocess){.bytes = job->bytes, .deviation = {1}};
  if (job->mean != NULL) n_mean = read_numbers(job->mean, out->mean, EX_MAX_STATISTICS);
  if (job->deviation != NULL)
    n_deviation = read_numbers(job->deviation, out->deviation, EX_MAX_STATISTICS);
  int32_t n = n_mean > n_deviation ? n_mean : n_deviation;
  bool fits = (n_mean == 1 || n_mean == n) && (n_deviation == 1 || n_deviation == n) &&
              (n == 1 || n == channels);
  if (!fits)
    return ex__fail(err, EX_EINVAL,
                    "--mean has %d numbers and --deviation %d; each must have 1, or one per "
                    "channel of the input, %d",
                    (int)n_mean, (int)n_deviation, (int)channels);
  for (int32_t i = 0; i < n; i++) {
    if (n_mean == 1) out->mean[i] = out->mean[0];
    if (n_deviation == 1) out->deviation[i] = out->deviation[0];
    if (!(out->deviation[i] > 0))
      return ex__fail(err, EX_EINVAL, "--deviation holds %g; must be above 0", out->deviation[i]);
  }
  out->n_channels = n;
  return EX_OK;
}

/* Splits a copy of the list in place; names [n + 1], NULL behind the last. */
static enum ex_status read_labels(char *text, int32_t n, const char **names, struct ex_error *err) {
  int32_t found = 0;
  for (char *at = text; at != NULL; found++) {
    if (found < n) names[found] = at;
    at = strchr(at, ',');
    if (at != NULL) *at++ = '\0';
  }
  if (found == n) return EX_OK;
  return ex__fail(err, EX_EINVAL, "%d labels for %d outputs", (int)found, (int)n);
}

/* ---- the model --------------------------------------------------------------------- */

static bool tells_statistics(const struct importing_job *job) {
  return job->mean != NULL || job->deviation != NULL || job->bytes;
}

/* What is told by options, else by the data of a recipe (NULL: none). */
static enum ex_status wrap_net(const struct importing_job *job, ex_net *net, const ex_data *data,
                               ex_model **out, struct ex_error *err) {
  const struct ex_data_info *info = data != NULL ? ex__data_info(data) : NULL;
  struct ex_preprocess preprocess;
  EX_TRY(read_statistics(job, net, &preprocess, err));
  if (info != NULL && !tells_statistics(job)) preprocess = *info->preprocess;
  if (job->labels == NULL) {
    bool named = info != NULL && info->n_classes == net->n_outputs;
    return ex__model_new(net, &preprocess, named ? info->class_names : NULL, out, err);
  }
  char *copy = strdup(job->labels);
  const char **names = calloc((size_t)net->n_outputs + 1, sizeof *names);
  enum ex_status status = copy != NULL && names != NULL
                              ? read_labels(copy, net->n_outputs, names, err)
                              : ex__fail(err, EX_ENOMEM, "no memory for labels");
  if (status == EX_OK) status = ex__model_new(net, &preprocess, names, out, err);
  free(names);
  free(copy);
  return status;
}

/* The recipe goes into the model, so that later commands know its data. */
static enum ex_status with_data(const struct importing_job *job, ex_net *net, ex_model **out,
                                struct ex_error *err) {
  struct ex_recipe recipe;
  ex_data *data = NULL;
  EX_TRY(open_recipe(job->data, NULL, &recipe, err));
  enum ex_status status = ex__recipe_open_data(&recipe, &data, err);
  if (status == EX_OK) status = open_check_fit(net, data, err);
  if (status == EX_OK) status = wrap_net(job, net, data, out, err);
  if (status == EX_OK) (*out)->recipe = json_incref(recipe.json);
  ex__data_free(data);
  ex__recipe_free(&recipe);
  return status;
}

static enum ex_status make_model(const struct importing_job *job, const char *path, ex_model **out,
                                 struct ex_onnx_report *report, struct ex_error *err) {
  struct ex_onnx_options import = {
      .output = job->exit_name, .samples = (int32_t)job->check, .seed = (uint64_t)job->seed};
  ex_onnx *onnx;
  ex_net *net = NULL;
  EX_TRY(read_shape(job->shape, &import.shape, err));
  EX_TRY(ex__onnx_read(path, &onnx, err));
  enum ex_status status = ex__onnx_import(onnx, &import, &net, report, err);
  ex__onnx_free(onnx);
  if (status != EX_OK) return ex__wrap(err, status, "%s", path);
  status = job->data != NULL ? with_data(job, net, out, err) : wrap_net(job, net, NULL, out, err);
  if (status != EX_OK) ex_net_free(net);
  return status;
}

/* Everybody leaves at an only exit, so that evaluate has a rule; several are for
 * calibrate. */
static enum ex_status finish_model(ex_model *model, const char *path,
                                   const struct ex_onnx_report *report, struct ex_error *err) {
  ex_policy policy;
  if (model == NULL) return ex__fail(err, EX_ENOMEM, "no model");
  if (model->net->n_points == 1) {
    EX_TRY(ex__policy_init(&policy, "fixed", 1, model->net->n_outputs, err));
    model->policy = ex__policy_to_json(&policy);
    if (model->policy == NULL) return ex__fail(err, EX_ENOMEM, "no memory for a rule");
  }
  model->provenance =
      json_pack("{s:s, s:s, s:I, s:s, s:s}", "version", ex_version(), "imported", path, "opset",
                (json_int_t)report->opset, "input", report->input, "output", report->output);
  if (model->provenance != NULL) return EX_OK;
  return ex__fail(err, EX_ENOMEM, "no memory for the model's notes");
}

bool importing_is_told(const struct importing_job *job) {
  return job->data != NULL || tells_statistics(job);
}

enum ex_status importing_run(const struct importing_job *job, const char *path, ex_model **out,
                             struct ex_onnx_report *report, struct ex_error *err) {
  *out = NULL;
  enum ex_status status = make_model(job, path, out, report, err);
  if (status == EX_OK) status = finish_model(*out, path, report, err);
  if (status == EX_OK) return EX_OK;
  ex_model_free(*out);
  *out = NULL;
  return status;
}
