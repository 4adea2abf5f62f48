/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_join: several trained networks as one model whose exits they are.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/console.h"
#include "cli/joining.h"

struct options {
  struct common_options common;
  const char *output;
};

static const struct option_spec table[] = {
    {"output", 'o', OPTION_TEXT, offsetof(struct options, output), "FILE", 0, 0, NULL,
     "Where the joined model goes; default joined.safetensors."},
    {0},
};

static void print_text(const json_t *summary) {
  const json_t *exits = json_object_get(summary, "exits"), *exit;
  size_t i, n = json_array_size(exits);
  double full = json_number_value(json_object_get(json_array_get(exits, n - 1), "direct_macs"));
  const char *model = json_string_value(json_object_get(summary, "model"));
  printf("exit  multiply-adds  of full depth  network\n");
  json_array_foreach(exits, i, exit) {
    char macs[16];
    double direct = json_number_value(json_object_get(exit, "direct_macs"));
    printf("%4d  %13s  %11.1f %%  %s\n", (int)i + 1, console_macs(direct, macs),
           100 * direct / full, json_string_value(json_object_get(exit, "file")));
  }
  printf("next: exeunt calibrate %s --policy adaptive --max-drop 0.5\n", model);
}

static int run(const void *given, char *const *arguments, int32_t n) {
  const struct options *options = given;
  struct ex_error err = {0};
  json_t *summary;
  const char *output = options->output != NULL ? options->output : "joined.safetensors";
  if (joining_run((const char *const *)arguments, n, output, &summary, &err) != EX_OK)
    return console_fail(&command_join, &err);
  if (options->common.json) return console_json(&command_join, summary);
  print_text(summary);
  json_decref(summary);
  return EXIT_SUCCESS;
}

const struct command command_join = {
    .name = "join",
    .arguments = "MODEL MODEL...",
    .summary = "several whole networks as one model, to choose among",
    .help =
        "Makes one model of several trained networks, named from cheap to dear: its exits are\n"
        "their answers. Each reads the raw input with its own normalisation, and a rule that\n"
        "goes from the first straight to the third leaves out the second's work. Inputs, labels\n"
        "and the samples of select, certify and test must be the same. Of a network with\n"
        "several exits only the last takes part. The result is calibrated, evaluated and run\n"
        "like any model; the rule adaptive learns which network to ask next.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 2,
    .max_arguments = INT32_MAX,
    .run = run,
};
