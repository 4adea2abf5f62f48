/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/training: from a recipe to a model file, for `train`, `demo` and
 * `reproduce`.
 */
#ifndef EX_CLI_TRAINING_H
#define EX_CLI_TRAINING_H

#include "cli/command.h"
#include "train/recipe.h"

struct training_job {
  const char *recipe; /* path or built-in name */
  const struct assignments *set;
  const char *output;     /* the model file */
  const char *checkpoint; /* NULL: output + ".checkpoint" */
  double checkpoint_seconds;
  bool resume;
  uint64_t seed;
  int32_t threads;
  struct ex_progress progress;
};

/* *summary: {model, epochs, best_epoch, seconds, exits: [{exit, macs,
 * select_accuracy}…]}, owned by the caller. */
enum ex_status training_run(const struct training_job *job, json_t **summary, struct ex_error *err);
void training_print(const json_t *summary);

#endif
