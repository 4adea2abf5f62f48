/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train: the loop: batches, passes, optimiser, schedule, checkpoints.
 *
 * Everything depends on (seed, epoch, step) alone, so the same seed and thread
 * count give the same bits, and a run that was killed at any moment and
 * resumed ends with the bits of one that was not.
 *
 * An epoch takes the training samples in an order of its own, batch after
 * batch; what is left over at its end (fewer than a batch) is left out, and
 * comes up in other epochs. Training has one or two phases (struct
 * ex_train_options, regime), each with its own schedule and with an optimiser
 * that starts from nothing.
 */
#ifndef EX_TRAIN_TRAIN_H
#define EX_TRAIN_TRAIN_H

#include "base/progress.h"
#include "data/data.h"
#include "graph/program.h"
#include "method/method.h"

enum ex_optimiser { EX_SGD, EX_ADAMW };
enum ex_schedule {
  EX_SCHEDULE_CONSTANT,
  EX_SCHEDULE_STEP,
  EX_SCHEDULE_COSINE,
  EX_SCHEDULE_ONE_CYCLE
};
enum ex_regime {
  EX_REGIME_JOINT,            /* everything, from the first epoch */
  EX_REGIME_FROZEN_TRUNK,     /* trunk_epochs (0: none) of the trunk alone, then heads alone */
  EX_REGIME_TRUNK_THEN_JOINT, /* trunk_epochs (0: a third) of the trunk alone, then everything */
};

/* The "train" object of a recipe; the table gives defaults, bounds and help. */
struct ex_train_options {
  int32_t epochs, batch;
  int32_t optimiser, schedule, regime; /* the enums above */
  int32_t trunk_epochs;                /* of `epochs`: how many train the trunk alone */
  double learning_rate, momentum, weight_decay;
  int32_t nesterov;
  double beta1, beta2, epsilon; /* AdamW */
  struct ex_list milestones;    /* step: fractions of the phase at which × factor */
  double factor;
  double warmup;          /* one-cycle: share of the phase that rises */
  int32_t cycle_momentum; /* one-cycle: momentum (beta1) falls and rises against the rate */
  double momentum_low, momentum_high;
  double clip;       /* gradient norm; 0: none */
  int32_t decay_all; /* also biases and norms */
  int32_t class_weights;
  double meta_share; /* of the labelled training samples: held out for methods that learn weights */
  double labelled_share; /* of every batch; 0: as the samples come */
  int32_t select_point;  /* best epoch by this exit on select; −1: the last exit, or
                           the mean of those that are trained where the last is frozen */
  int32_t select_every;  /* epochs between looks at select; 0: never, keep the last epoch */
};
extern const struct ex_param ex__train_params[];

struct ex_train_job { /* everything is borrowed; net receives the result */
  ex_net *net;
  const ex_data *data;
  const struct ex_method *method;
  const void *method_values;
  const struct ex_train_options *options;
  uint64_t seed;   /* of order, augmentation and dropout; the net brings its initial weights */
  int32_t threads; /* 1 … 256 */
  enum ex_backend backend;
  enum ex_layout layout;
  ex_plan **plan;            /* timed choices; NULL: nothing is timed. Resuming frees *plan and
                                puts the checkpoint's there, since other choices have other bits */
  const char *checkpoint;    /* path; NULL: none */
  double checkpoint_seconds; /* between checkpoints; 0: after each epoch only */
  bool resume;               /* go on from the checkpoint if it is there */
  struct ex_progress progress;
};

/* Trains. *history, owned by the caller: {"epochs": [{"epoch", "phase", "loss",
 * "point_loss", "select_loss", "select_accuracy", "learning_rate", "seconds",
 * "images_per_second"}…], "best_epoch", "steps", "batch", "seconds", "bytes",
 * "passes": {"forward", "backward"}, "macs": {"forward", "backward"}}: passes of a
 * batch through the network, and all multiply-adds that they executed; looks at
 * select are not among them. Lists are per exit, null where it was not run;
 * epochs count from 1. Best is the epoch of the last phase with the highest
 * accuracy, by select_point, on the select split (of equals the first), and its
 * weights are what the net gets; without such a split the last epoch's. Then the method finishes, which may give
 * the net an exit transform: the accuracies in the history are without it.
 *
 * On failure the net holds what training had reached. EX_EDIVERGED says where
 * and what to try; EX_ECANCELLED leaves a checkpoint; EX_EINVAL where the
 * checkpoint is of another run, with what differs. */
enum ex_status ex__train(const struct ex_train_job *job, json_t **history, struct ex_error *err);

#endif
