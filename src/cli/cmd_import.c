/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_import: an ONNX file in, a model file out, whose exits are its outputs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/console.h"
#include "cli/importing.h"

struct options {
  struct common_options common;
  const char *output;
  struct importing_job job;
};

static const struct option_spec table[] = {
    {"output", 'o', OPTION_TEXT, offsetof(struct options, output), "FILE", 0, 0, NULL,
     "Where the model goes; default the name of the file with .safetensors."},
    IMPORTING_OPTIONS(options),
    {0},
};

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
  struct importing_job job = options->job;
  job.seed = options->common.seed;
  enum ex_status status = importing_run(&job, arguments[0], &model, &report, &err);
  if (status == EX_OK) status = ex__model_write(model, to, &err);
  int code = EXIT_SUCCESS;
  if (status != EX_OK || model == NULL)
    code = console_fail(&command_import, &err);
  else if (options->common.json)
    code = console_json(&command_import, to_json(model, &report, to));
  else
    print(model, &report, to, !importing_is_told(&job));
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
