/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_export: a calibrated model in a form that needs no Exeunt. One line in
 * `targets` per form.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/console.h"
#include "cli/export_target.h"
#include "cli/open.h"

static const struct {
  const char *name;
  export_write *write;
} targets[] = {
    {"c", export_target_c},
    {"onnx", export_target_onnx},
};

enum { N_TARGETS = sizeof targets / sizeof *targets };

static const struct option_spec table[] = {
    {"to", 0, OPTION_TEXT, offsetof(struct export_options, to), "FORM", 0, 0, NULL,
     "What to write: c, one C99 file and its header; onnx, a graph with its exits."},
    {"output", 'o', OPTION_TEXT, offsetof(struct export_options, output), "PATH", 0, 0, NULL,
     "Where to write: c, a folder that exists, default the current one; onnx, a file, default the "
     "model's name."},
    {"name", 'n', OPTION_TEXT, offsetof(struct export_options, name), "NAME", 0, 0, NULL,
     "c: what files and functions are called; default from the model's file."},
    {"form", 0, OPTION_TEXT, offsetof(struct export_options, form), "FORM", 0, 0, NULL,
     "onnx: batch, any number of inputs, of which those that stay are gathered at each exit; "
     "single, one input and a chain of If. Default batch."},
    {"int8", 0, OPTION_FLAG, offsetof(struct export_options, int8), NULL, 0, 0, NULL,
     "c: weights and activations of 8 bits instead of float."},
    {"samples", 0, OPTION_INT, offsetof(struct export_options, samples), "N", 1, 1e6, NULL,
     "int8: inputs of the select split that tell the ranges of activations. Default 1000."},
    {"data", 'd', OPTION_TEXT, offsetof(struct export_options, data), "RECIPE", 0, 0, NULL,
     "int8: data from this recipe instead of the model's own."},
    {"policy", 'p', OPTION_TEXT, offsetof(struct export_options, policy), "NAME", 0, 0, NULL,
     "Another exit rule than the model's."},
    {"set", 's', OPTION_ASSIGNMENTS, offsetof(struct export_options, set), "KEY=VALUE", 0, 0, NULL,
     "Sets a value of the rule."},
    {0},
};

static enum ex_status find_target(const char *name, export_write **write, struct ex_error *err) {
  for (int32_t i = 0; i < N_TARGETS; i++) {
    *write = targets[i].write;
    if (name != NULL && strcmp(targets[i].name, name) == 0) return EX_OK;
  }
  struct ex_text known = {0};
  for (int32_t i = 0; i < N_TARGETS; i++)
    ex__text_add(&known, "%s%s", i > 0 ? ", " : "", targets[i].name);
  ex__fail(err, EX_EINVAL, "--to %.32s; must be one of %s", name != NULL ? name : "is missing",
           known.data != NULL ? known.data : "?");
  ex__text_clear(&known);
  return EX_EINVAL;
}

/* What would be ignored is refused. */
static enum ex_status check_options(const struct export_options *options, struct ex_error *err) {
  bool c = strcmp(options->to, "c") == 0, onnx = strcmp(options->to, "onnx") == 0;
  const struct {
    const char *name, *with;
    bool given, right;
  } some[] = {
      {"--name", "--to c", options->name != NULL, c},
      {"--int8", "--to c", options->int8, c},
      {"--samples", "--to c --int8", options->samples > 0, c && options->int8},
      {"--data", "--to c --int8", options->data != NULL, c && options->int8},
      {"--form", "--to onnx", options->form != NULL, onnx},
  };
  for (size_t i = 0; i < sizeof some / sizeof *some; i++)
    if (some[i].given && !some[i].right)
      return ex__fail(err, EX_EINVAL, "%s goes with %s; without that it must be left out",
                      some[i].name, some[i].with);
  return EX_OK;
}

static enum ex_status write_model(const struct export_options *options, const char *path,
                                  ex_model **model, json_t *report, struct ex_error *err) {
  ex_policy policy;
  export_write *write;
  EX_TRY(find_target(options->to, &write, err));
  EX_TRY(check_options(options, err));
  EX_TRY(ex__model_read(path, model, err));
  if ((*model)->policy == NULL && options->policy == NULL)
    return ex__fail(err, EX_EINVAL,
                    "%s: is not calibrated; run `exeunt calibrate`, or name a rule with --policy",
                    path);
  EX_TRY(open_policy(*model, options->policy, &options->set, &policy, err));
  return write(options, path, *model, &policy, report, err);
}

static void print_files(const json_t *report) {
  size_t i;
  const json_t *file;
  json_array_foreach(json_object_get(report, "files"), i, file) {
    printf("wrote %s\n", json_string_value(file));
  }
}

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)n;
  const struct export_options *options = given;
  struct ex_error err = {0};
  ex_model *model = NULL;
  json_t *report = json_object();
  int code = EXIT_SUCCESS;
  if (write_model(options, arguments[0], &model, report, &err) != EX_OK)
    code = console_fail(&command_export, &err);
  else if (options->common.json)
    code = console_json(&command_export, json_incref(report));
  else
    print_files(report);
  json_decref(report);
  ex_model_free(model);
  return code;
}

const struct command command_export = {
    .name = "export",
    .arguments = "MODEL",
    .summary = "the model as C for microcontrollers, or as ONNX",
    .help = "Writes a calibrated model in a form that needs no Exeunt: `--to c` gives NAME.c and\n"
            "NAME.h, C99 without a library or allocation, which leave as the model does. Work\n"
            "memory is stated per exit. `--to onnx` gives a graph for ONNX runtimes, with\n"
            "pre-processing, exits and rule. What cannot be exported is refused by name.",
    .options = table,
    .size = sizeof(struct export_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
