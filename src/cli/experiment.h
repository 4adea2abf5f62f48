/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/experiment: one run of a catalogue entry: trained, calibrated, evaluated.
 *
 * A run that is finished is kept by cli/store, and so is the network that it
 * trained: entries that share a baseline train it once, runs that differ in
 * calibration train once, a reproduction that was stopped goes on where it was
 * (training: from its checkpoint), and commands side by side share the work.
 */
#ifndef EX_CLI_EXPERIMENT_H
#define EX_CLI_EXPERIMENT_H

#include <jansson.h>

#include "base/progress.h"
#include "base/status.h"

struct experiment {
  const json_t *reproduction; /* of the catalogue entry */
  const char *run;            /* name of the run in it */
  const char *folder;         /* runs/ is made below it */
  uint64_t seed;
  int32_t threads; /* ≥ 1 */
  bool quick;      /* the entry's settings for a quick run come on top */
  bool announce;   /* say on standard error what is trained */
  struct ex_progress progress;
};

/* *evaluation: a new reference to the run's evaluation on the test split, with
 * "training" and "commit"; NULL where another process is at this run and `wait`
 * is false. */
enum ex_status experiment_run(const struct experiment *experiment, bool wait, json_t **evaluation,
                              struct ex_error *err);

#endif
