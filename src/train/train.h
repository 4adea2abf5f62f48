/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train: the loop: batches, passes, optimiser, schedule, checkpoints.
 *
 * Everything depends on (seed, epoch, step) alone, so the same seed and thread
 * count give the same bits, and a run that was killed at any moment and
 * resumed ends with the bits of one that was not.
 */
#ifndef EX_TRAIN_TRAIN_H
#define EX_TRAIN_TRAIN_H

#include "base/progress.h"
#include "data/data.h"
#include "graph/program.h"
#include "method/method.h"

/* The "train" object of a recipe; the table gives defaults, bounds and help. */
enum ex_optimiser { EX_SGD, EX_ADAMW };
enum ex_schedule {
  EX_SCHEDULE_CONSTANT,
  EX_SCHEDULE_STEP,
  EX_SCHEDULE_COSINE,
  EX_SCHEDULE_ONE_CYCLE
};
enum ex_regime { EX_REGIME_JOINT, EX_REGIME_FROZEN_TRUNK, EX_REGIME_TRUNK_THEN_JOINT };

struct ex_train_options {
  int32_t epochs, batch;
  int32_t optimiser, schedule, regime; /* the enums above */
  int32_t trunk_epochs;                /* of trunk-then-joint */
  double learning_rate, momentum, weight_decay;
  int32_t nesterov;
  double beta1, beta2, epsilon; /* AdamW */
  struct ex_list milestones;    /* step: fractions of the run at which × factor */
  double factor;
  double warmup;     /* one-cycle: share of the run that rises */
  double clip;       /* gradient norm; 0: none */
  int32_t decay_all; /* also biases and norms */
  int32_t class_weights;
  int32_t select_point; /* best epoch by this exit on select; −1: the last exit */
  int32_t select_every; /* epochs between looks at select; 0: never, keep the last epoch */
};
extern const struct ex_param ex__train_params[];

struct ex_train_job { /* everything is borrowed; net receives the result */
  ex_net *net;
  const ex_data *data;
  const struct ex_method *method;
  const void *method_values;
  const struct ex_train_options *options;
  uint64_t seed;
  int32_t threads;
  enum ex_backend backend;
  enum ex_layout layout;
  struct ex_plan *plan;      /* NULL: nothing is timed */
  const char *checkpoint;    /* path; NULL: none */
  double checkpoint_seconds; /* between checkpoints; 0: after each epoch only */
  bool resume;               /* go on from the checkpoint if it is there */
  struct ex_progress progress;
};

/* Trains; *history: {"epochs": [{loss, point_loss, select_accuracy, rate, seconds}…],
 * "best_epoch", "steps", "seconds"}, owned by the caller. EX_EDIVERGED says
 * where and what to try; EX_ECANCELLED leaves a checkpoint. */
enum ex_status ex__train(const struct ex_train_job *job, json_t **history, struct ex_error *err);

#endif
