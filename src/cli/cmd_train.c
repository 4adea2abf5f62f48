/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_train: a recipe in, a model file out. The checkpoint lies beside the
 * model and goes when the model is whole; `--resume` picks it up.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/console.h"
#include "cli/explain.h"
#include "cli/open.h"
#include "cli/training.h"
#include "data/data_recipe.h"

struct options {
  struct common_options common;
  const char *output, *checkpoint, *method;
  bool resume;
  double checkpoint_seconds;
  struct assignments set;
};

static const struct option_spec table[] = {
    {"output", 'o', OPTION_TEXT, offsetof(struct options, output), "FILE", 0, 0, NULL,
     "Where the model goes; default model.safetensors."},
    {"set", 's', OPTION_ASSIGNMENTS, offsetof(struct options, set), "PATH=VALUE", 0, 0, NULL,
     "Changes the recipe: train.epochs=8, 'network.widths=[24,32,48,64]'; may be repeated. VALUE "
     "is JSON, or a bare word."},
    {"method", 'm', OPTION_TEXT, offsetof(struct options, method), "NAME", 0, 0, NULL,
     "Trains by this method, with its defaults and what the recipe gives it; with --help, "
     "explains it."},
    {"resume", 0, OPTION_FLAG, offsetof(struct options, resume), NULL, 0, 0, NULL,
     "Goes on from the checkpoint of a run that was stopped."},
    {"checkpoint", 0, OPTION_TEXT, offsetof(struct options, checkpoint), "FILE", 0, 0, NULL,
     "Where the checkpoint lies; default the model's name with .checkpoint."},
    {"checkpoint-seconds", 0, OPTION_REAL, offsetof(struct options, checkpoint_seconds), "S", 0,
     86400, "60", "Seconds between checkpoints; 0: after each epoch only."},
    {0},
};

static int run(const void *given, char *const *arguments, int32_t n) {
  (void)n;
  const struct options *options = given;
  struct ex_error err = {0};
  struct assignments set = options->set;
  char method[96];
  if (options->method != NULL && set.n == MAX_ASSIGNMENTS)
    return console_misuse(&command_train, "--method counts as one of the %d --set; one too many",
                          MAX_ASSIGNMENTS);
  if (options->method != NULL) {
    snprintf(method, sizeof method, "method.name=%.64s", options->method);
    set.text[set.n++] = method;
  }
  struct training_job job = {
      .recipe = arguments[0],
      .set = &set,
      .output = options->output != NULL ? options->output : "model.safetensors",
      .checkpoint = options->checkpoint,
      .checkpoint_seconds = options->checkpoint_seconds,
      .resume = options->resume,
      .seed = (uint64_t)options->common.seed,
      .threads = console_threads(&options->common),
      .progress = console_progress(&options->common),
  };
  json_t *summary = NULL;
  if (training_run(&job, &summary, &err) != EX_OK) return console_fail(&command_train, &err);
  if (options->common.json) return console_json(&command_train, summary);
  training_print(summary);
  json_decref(summary);
  return EXIT_SUCCESS;
}

static int explain(const void *given, char *const *arguments, int32_t n) {
  (void)arguments, (void)n;
  const struct options *options = given;
  if (options->method != NULL) return explain_method(&command_train, options->method);
  options_print_help(&command_train);
  explain_table("training (-s train.KEY=VALUE, or in the recipe's \"train\")", ex__train_params);
  explain_table("roles (data.split)", ex__data_split_params);
  explain_table("augmentation (data.augment)", ex__data_augment_params);
  explain_methods();
  explain_architectures();
  return EXIT_SUCCESS;
}

const struct command command_train = {
    .name = "train",
    .arguments = "RECIPE",
    .summary = "any architecture x any method x any data",
    .help = "Trains the network of a recipe (a JSON file, or a built-in name) and writes a model\n"
            "file. The same seed and thread count give the same bits. Ctrl-C stops at the next\n"
            "step and leaves a checkpoint, from which --resume ends with the same model.\n"
            "\n"
            "A recipe has the objects input, data, network, method, train and policy;\n"
            "docs/recipes.md explains them, with a folder of pictures from end to end.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
    .explain = explain,
};
