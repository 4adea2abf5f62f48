/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/importing: from an ONNX file to a model in memory, for `import` and `attach`.
 */
#ifndef EX_CLI_IMPORTING_H
#define EX_CLI_IMPORTING_H

#include "cli/command.h"
#include "net/model.h"
#include "onnx/onnx_import.h"

struct importing_job { /* as the options below say; NULL: not told */
  const char *data, *exit_name, *shape, *mean, *deviation, *labels;
  bool bytes;
  int64_t check, seed;
};

/* Rows of a table of options whose struct has a struct importing_job `job`. */
#define IMPORTING_OPTIONS(options)                                                             \
  {"data",                                                                                     \
   'd',                                                                                        \
   OPTION_TEXT,                                                                                \
   offsetof(struct options, job.data),                                                         \
   "RECIPE",                                                                                   \
   0,                                                                                          \
   0,                                                                                          \
   NULL,                                                                                       \
   "Data that later commands use by themselves; labels, and pre-processing unless it is told " \
   "below, come from them."},                                                                  \
      {"mean",                                                                                 \
       0,                                                                                      \
       OPTION_TEXT,                                                                            \
       offsetof(struct options, job.mean),                                                     \
       "LIST",                                                                                 \
       0,                                                                                      \
       0,                                                                                      \
       NULL,                                                                                   \
       "What the network was trained with, per channel or one for all: 0.485,0.456,0.406; "    \
       "default 0."},                                                                          \
      {"deviation", 0, OPTION_TEXT, offsetof(struct options, job.deviation), "LIST",           \
       0,           0, NULL,        "The same for deviations; default 1."},                    \
      {"bytes",                                                                                \
       0,                                                                                      \
       OPTION_FLAG,                                                                            \
       offsetof(struct options, job.bytes),                                                    \
       NULL,                                                                                   \
       0,                                                                                      \
       0,                                                                                      \
       NULL,                                                                                   \
       "Inputs are 0 to 255 and are divided by 255 first."},                                   \
      {"labels",                                                                               \
       'l',                                                                                    \
       OPTION_TEXT,                                                                            \
       offsetof(struct options, job.labels),                                                   \
       "LIST",                                                                                 \
       0,                                                                                      \
       0,                                                                                      \
       NULL,                                                                                   \
       "Names of the classes in order, with commas between; default their numbers."},          \
      {"exit",                                                                                 \
       0,                                                                                      \
       OPTION_TEXT,                                                                            \
       offsetof(struct options, job.exit_name),                                                \
       "NAME",                                                                                 \
       0,                                                                                      \
       0,                                                                                      \
       NULL,                                                                                   \
       "Takes this output alone; default: each output is an exit, shallow ones first."},       \
      {"shape",                                                                                \
       0,                                                                                      \
       OPTION_TEXT,                                                                            \
       offsetof(struct options, job.shape),                                                    \
       "LIST",                                                                                 \
       0,                                                                                      \
       0,                                                                                      \
       NULL,                                                                                   \
       "Of one sample, for a file that leaves it open: 3,224,224."},                           \
  {                                                                                            \
    "check", 0, OPTION_INT, offsetof(struct options, job.check), "N", 0, 64, "1",              \
        "Random samples on which the network is compared with the file, computed plainly."     \
  }

/* A model with one exit has the policy `fixed`, so that it can be evaluated; with
 * data the recipe too. */
enum ex_status importing_run(const struct importing_job *job, const char *path, ex_model **out,
                             struct ex_onnx_report *report, struct ex_error *err);
/* Whether anything says how inputs were prepared. */
bool importing_is_told(const struct importing_job *job);

#endif
