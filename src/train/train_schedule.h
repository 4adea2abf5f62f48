/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_schedule: learning rate and momentum of a step.
 */
#ifndef EX_TRAIN_TRAIN_SCHEDULE_H
#define EX_TRAIN_TRAIN_SCHEDULE_H

#include "train/train.h"

struct ex_pace {
  double learning_rate;
  double momentum; /* of SGD; beta1 of AdamW */
};

/* Of step `step` (from 0) of a phase of n_steps. */
struct ex_pace ex__schedule_pace(const struct ex_train_options *options, int64_t step,
                                 int64_t n_steps);

#endif
