/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_import: an ONNX file in, a model file out, whose exits are its outputs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/console.h"
#include "cli/open.h"
#include "onnx/onnx_import.h"

struct options {
  struct common_options common;
  const char *output, *data, *exit_name, *shape, *mean, *deviation, *labels;
  bool bytes;
  int64_t check;
};

static const struct option_spec table[] = {
    {"output", 'o', OPTION_TEXT, offsetof(struct options, output), "FILE", 0, 0, NULL,
     "Where the model goes; default the name of the file with .safetensors."},
    {"data", 'd', OPTION_TEXT, offsetof(struct options, data), "RECIPE", 0, 0, NULL,
     "Data that later commands use by themselves; labels, and pre-processing unless it is told "
     "below, come from them."},
    {"mean", 0, OPTION_TEXT, offsetof(struct options, mean), "LIST", 0, 0, NULL,
     "What the network was trained with, per channel or one for all: 0.485,0.456,0.406; default "
     "0."},
    {"deviation", 0, OPTION_TEXT, offsetof(struct options, deviation), "LIST", 0, 0, NULL,
     "The same for deviations; default 1."},
    {"bytes", 0, OPTION_FLAG, offsetof(struct options, bytes), NULL, 0, 0, NULL,
     "Inputs are 0 to 255 and are divided by 255 first."},
    {"labels", 'l', OPTION_TEXT, offsetof(struct options, labels), "LIST", 0, 0, NULL,
     "Names of the classes in order, with commas between; default their numbers."},
    {"exit", 0, OPTION_TEXT, offsetof(struct options, exit_name), "NAME", 0, 0, NULL,
     "Takes this output alone; default: each output is an exit, shallow ones first."},
    {"shape", 0, OPTION_TEXT, offsetof(struct options, shape), "LIST", 0, 0, NULL,
     "Of one sample, for a file that leaves it open: 3,224,224."},
    {"check", 0, OPTION_INT, offsetof(struct options, check), "N", 0, 64, "1",
     "Random samples on which the network is compared with the file, computed plainly."},
    {0},
};

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

static enum ex_status read_statistics(const struct options *options, const struct ex_net *net,
                                      struct ex_preprocess *out, struct ex_error *err) {
  int32_t n_mean = 1, n_deviation = 1, channels = net->input.dim[0];
  *out = (struct ex_preprocess){.bytes = options->bytes, .deviation = {1}};
  if (options->mean != NULL) n_mean = read_numbers(options->mean, out->mean, EX_MAX_STATISTICS);
  if (options->deviation != NULL)
    n_deviation = read_numbers(options->deviation, out->deviation, EX_MAX_STATISTICS);
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

static bool tells_statistics(const struct options *options) {
  return options->mean != NULL || options->deviation != NULL || options->bytes;
}

/* What is told by options, else by the data of a recipe (NULL: none). */
static enum ex_status wrap_net(const struct options *options, ex_net *net, const ex_data *data,
                               ex_model **out, struct ex_error *err) {
  const struct ex_data_info *info = data != NULL ? ex__data_info(data) : NULL;
  struct ex_preprocess preprocess;
  EX_TRY(read_statistics(options, net, &preprocess, err));
  if (info != NULL && !tells_statistics(options)) preprocess = *info->preprocess;
  if (options->labels == NULL) {
    bool named = info != NULL && info->n_classes == net->n_outputs;
    return ex__model_new(net, &preprocess, named ? info->class_names : NULL, out, err);
  }
  char *copy = strdup(options->labels);
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
static enum ex_status with_data(const struct options *options, ex_net *net, ex_model **out,
                                struct ex_error *err) {
  struct ex_recipe recipe;
  ex_data *data = NULL;
  EX_TRY(open_recipe(options->data, NULL, &recipe, err));
  enum ex_status status = ex__recipe_open_data(&recipe, &data, err);
  if (status == EX_OK) status = open_check_fit(net, data, err);
  if (status == EX_OK) status = wrap_net(options, net, data, out, err);
  if (status == EX_OK) (*out)->recipe = json_incref(recipe.json);
  ex__data_free(data);
  ex__recipe_free(&recipe);
  return status;
}

static enum ex_status make_model(const struct options *options, const char *path, ex_model **out,
                                 struct ex_onnx_report *report, struct ex_error *err) {
  struct ex_onnx_options import = {.output = options->exit_name,
                                   .samples = (int32_t)options->check,
                                   .seed = (uint64_t)options->common.seed};
  ex_onnx *onnx;
  ex_net *net = NULL;
  EX_TRY(read_shape(options->shape, &import.shape, err));
  EX_TRY(ex__onnx_read(path, &onnx, err));
  enum ex_status status = ex__onnx_import(onnx, &import, &net, report, err);
  ex__onnx_free(onnx);
  if (status != EX_OK) return ex__wrap(err, status, "%s", path);
  status = options->data != NULL ? with_data(options, net, out, err)
                                 : wrap_net(options, net, NULL, out, err);
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

static void print(const struct ex_model *model, const struct ex_onnx_report *report,
                  const char *output, bool told_nothing) {
  struct ex_cost cost;
  char macs[16];
  ex__net_cost(model->net, &cost);
  printf("%s: opset %lld, %d operators imported, %d folded or not needed\n", report->output,
         (long long)report->opset, (int)report->n_nodes, (int)report->n_folded);
  int32_t last = model->net->n_points - 1;
  printf("%d exit%s of %d outputs, %s multiply-adds, %lld parameters\n", (int)last + 1,
         last > 0 ? "s" : "", (int)model->net->n_outputs,
         console_macs((double)cost.macs[last], macs), (long long)cost.params[last]);
  if (last > 0) printf("`exeunt calibrate` chooses when to leave at which\n");
  if (report->softmax) printf("the softmax at the end is left out: exits give what comes before\n");
  if (report->samples > 0)
    printf("checked on %d random input%s: off by at most %.2g, of outputs up to %.3g\n",
           (int)report->samples, report->samples > 1 ? "s" : "", report->difference,
           report->largest);
  if (told_nothing)
    printf("inputs are taken as they are: --data, or --bytes, --mean and --deviation, tell how the "
           "network was trained\n");
  printf("model: %s\n", output);
}

static json_t *to_json(const struct ex_model *model, const struct ex_onnx_report *report,
                       const char *output) {
  return json_pack(
      "{s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:i, s:b, s:i, s:f, s:f}", "model", output, "input",
      report->input, "output", report->output, "opset", (json_int_t)report->opset, "operators",
      (int)report->n_nodes, "folded", (int)report->n_folded, "exits", (int)report->n_exits,
      "outputs", (int)model->net->n_outputs, "softmax_left_out", report->softmax, "samples",
      (int)report->samples, "largest", report->largest, "difference", report->difference);
}

static void default_output(const char *path, char *text, size_t size) {
  const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
  const char *dot = strrchr(name, '.');
  int length = dot != NULL && dot != name ? (int)(dot - name) : (int)strlen(name);
  snprintf(text, size, "%.*s.safetensors", length, name);
}

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)n;
  const struct options *options = given;
  struct ex_error err = {0};
  struct ex_onnx_report report;
  ex_model *model = NULL;
  char output[512];
  default_output(arguments[0], output, sizeof output);
  const char *to = options->output != NULL ? options->output : output;
  enum ex_status status = make_model(options, arguments[0], &model, &report, &err);
  if (status == EX_OK) status = finish_model(model, arguments[0], &report, &err);
  if (status == EX_OK) status = ex__model_write(model, to, &err);
  int code = EXIT_SUCCESS;
  if (status != EX_OK || model == NULL)
    code = console_fail(&command_import, &err);
  else if (options->common.json)
    code = console_json(&command_import, to_json(model, &report, to));
  else
    print(model, &report, to, options->data == NULL && !tells_statistics(options));
  ex_model_free(model);
  return code;
}

const struct command command_import = {
    .name = "import",
    .arguments = "MODEL.onnx",
    .summary = "an ONNX file becomes a model, its outputs exits",
    .help = "Reads a trained network from an ONNX file (opset 6 to 17, one input of floating\n"
            "numbers, a free batch) and writes it as a model. Its output is the exit; of several\n"
            "outputs of one size each becomes one. inspect, predict, calibrate, evaluate and\n"
            "bench work on it. What cannot be imported is named by node and operator.\n"
            "docs/import.md lists what can.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
