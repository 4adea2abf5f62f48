/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/calibration: from a trained model file to a calibrated one, for
 * `calibrate`, `demo` and `reproduce`.
 */
#ifndef EX_CLI_CALIBRATION_H
#define EX_CLI_CALIBRATION_H

#include "calibrate/risk.h"
#include "cli/command.h"

struct calibration_job {
  const char *model, *output; /* paths; may be the same */
  const char *data;           /* recipe; NULL: the model's own */
  const char *policy;         /* NULL: the model's, else max-probability */
  const struct assignments *set;
  const char *classes; /* of interest, numbers or labels; NULL: as set, else the rule's default */
  struct ex_constraint constraint;
  const struct ex_risk *risk; /* NULL: the constraint; else this in its place */
  bool budgeted;
  const char *transform; /* "own", "product"; NULL: as the model has it */
  bool temperature;      /* outputs are scaled anew before the rule is fitted */
  int32_t threads;
  struct ex_progress progress;
};

/* *receipt is owned by the caller. */
enum ex_status calibration_run(const struct calibration_job *job, json_t **receipt,
                               struct ex_error *err);
void calibration_print(const json_t *receipt);
/* From options, NaN where one was not given: the last given goes to *constraint,
 * else it stays. Returns how many were given. */
int32_t calibration_constraint(double drop, double macs, double latency,
                               struct ex_constraint *constraint);

/* From options of which all but the value may be left out: NULL, NaN. */
struct calibration_risk {
  double value, confidence;
  const char *of, *form;
  int64_t seed;
};
enum ex_status calibration_read_risk(const struct calibration_risk *given, struct ex_risk *out,
                                     struct ex_error *err);

#endif
