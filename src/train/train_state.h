/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_state: the inside of a training run, for the files of this room.
 *
 * What decides the bits to come (position, sums of the epoch so far, slabs,
 * the method's state) is all here, and a checkpoint is this struct on disk.
 */
#ifndef EX_TRAIN_TRAIN_STATE_H
#define EX_TRAIN_TRAIN_STATE_H

#include "method/trainer.h"
#include "train/optim.h"
#include "train/train.h"
#include "train/train_feed.h"
#include "train/train_select.h"
#include "train/train_step.h"

struct ex_span_of_epochs {
  enum ex_phase phase;
  int32_t first, n; /* epochs of the run, from 0 */
};

/* Sums over the steps of the current epoch so far. */
struct ex_epoch_sums {
  double loss;
  double point_loss[EX_MAX_POINTS];
  int32_t point_steps[EX_MAX_POINTS]; /* steps in which the point had a loss */
};

/* Of the step that is being made. */
struct ex_step_facts {
  double loss, norm; /* as noted; of the gradient, 0 where nothing was updated */
  double point_loss[EX_MAX_POINTS];
};

/* Where batches are read and passes go. */
struct ex_place {
  ex_stepper *stepper;
  int32_t *y;   /* [batch] */
  int64_t read; /* number of the batch that lies there, train's or meta's; −1: none of this step */
  bool is_meta;
};

struct ex_training {
  const struct ex_train_job *job;
  struct ex_method_needs needs;
  int32_t batch, n_steps; /* samples per step; steps per epoch */
  int32_t n_phases;
  struct ex_span_of_epochs phases[2];
  struct ex_cost cost;

  /* Position: the next step to be made. */
  int32_t epoch, step;
  double seconds, epoch_seconds; /* spent before `since_ns`, over all processes */
  int64_t since_ns;
  struct ex_epoch_sums sums;
  /* What the method cost since the run began; macs: before the current phase. */
  struct ex_pass_counts passes, macs;
  double level;   /* running mean of the exits' losses, in nats; watches for explosion */
  json_t *epochs; /* history so far */
  json_t *run;    /* what the run is made of; NULL where there is no checkpoint */

  int32_t best_epoch; /* −1: none yet */
  double best_quality;
  ex_slabs *best_params, *best_buffers;
  ex_slabs *grads;
  int32_t n_moments;
  ex_slabs *moments[EX_MAX_MOMENTS];
  void *method_state;   /* [needs.state] */
  void *method_scratch; /* [needs.scratch] */
  ex_slabs **kept;      /* [needs.kept] */
  ex_slabs **work;      /* [needs.work] */
  ex_slabs **ahead;     /* [n_moments] for looking ahead; NULL: no step is the method's own */
  /* Where the method merges; else NULL. All lists of slabs end with a NULL. */
  ex_slabs **point_grads; /* [n_points] of single exits */
  uint32_t *reached;      /* [n_nodes] points whose loss reaches it */

  ex_feed *feed;
  ex_real *scratch;
  ex_stepper *finisher;         /* NULL: the method does not finish, or is not there yet */
  ex_selector *selector;        /* NULL: there is nothing to look at */
  struct ex_finish_call finish; /* and its memory, where the method finishes */
  int32_t *finish_target;
  ex_real *finish_weight;

  /* Of the current phase. */
  int32_t phase; /* index into phases; −1: none is open */
  struct ex_flows flows;
  struct ex_stepper_options stepping; /* that the steppers were made with */
  ex_stepper *stepper, *aside;        /* the second is NULL unless passes may go aside */
  struct ex_place places[2];          /* of the two steppers */
  struct ex_place *place;             /* in use */
  ex_optim *optim;
  struct ex_pace pace; /* of the step that is being made, and its number in the phase */
  int64_t phase_step;
  struct ex_loss_call call;
  struct ex_trainer trainer;
  struct ex_step_facts facts;
  int64_t saved_ns; /* when the last checkpoint was written */
};

static inline int32_t ex__training_phase_of(const struct ex_training *training, int32_t epoch) {
  int32_t last = training->n_phases - 1;
  return last > 0 && epoch < training->phases[last].first ? 0 : last;
}

/* Fills training->run, which takes a look at all training samples. */
enum ex_status ex__checkpoint_describe(struct ex_training *training, struct ex_error *err);
/* train_setup.c: checks the job and takes the memory that does not depend on
 * the phase. The training is zeroed before, and cleared in every case. */
enum ex_status ex__training_open(struct ex_training *training, const struct ex_train_job *job,
                                 struct ex_error *err);
void ex__training_clear(struct ex_training *training);
/* Compiles the phase that `epoch` belongs to, and what looks at select; keeps
 * what is open already. */
enum ex_status ex__training_phase(struct ex_training *training, struct ex_error *err);
void ex__training_phase_close(struct ex_training *training);

/* Multiply-adds of all passes since the run began; looking at select is not among them. */
struct ex_pass_counts ex__training_macs(const struct ex_training *training);

/* train.c: the step that is due, whose phase is open, and the position behind
 * it, which stays within the epoch. */
enum ex_status ex__training_step(struct ex_training *training, double *loss, struct ex_error *err);

/* train_trainer.c: what a step is made of. */
enum ex_status ex__trainer_open(struct ex_training *training, struct ex_error *err);
void ex__trainer_close(struct ex_training *training);
/* One step: sets training->facts; moves the parameters unless it diverged. */
void ex__trainer_step(struct ex_training *training, uint64_t seed, struct ex_pace pace);

/* train_merge.c: what joins the gradients of single exits, points [n], which lie in
 * training->point_grads. product [n][n]: as struct ex_merge_call says. */
void ex__merge_products(const struct ex_training *training, const int32_t *points, int32_t n,
                        double *product);
/* training->grads ← Σ weight · point_grads on shared parameters, Σ point_grads elsewhere. */
void ex__merge_combine(struct ex_training *training, const int32_t *points, int32_t n,
                       const double *weight);

/* train_finish.c: what comes after the last step. Opening takes the memory; making
 * compiles, and the weights may be chosen between that and running. */
enum ex_status ex__finish_open(struct ex_training *training, struct ex_error *err);
void ex__finish_close(struct ex_training *training);
enum ex_status ex__finish_make(struct ex_training *training, struct ex_error *err);
enum ex_status ex__finish_run(struct ex_training *training, struct ex_error *err);

/* train_report.c: progress and history. False: a stop is asked for. */
bool ex__training_report_step(const struct ex_training *training, double loss);
bool ex__training_report_epoch(const struct ex_training *training);
enum ex_status ex__training_record(struct ex_training *training,
                                   const struct ex_select_result *result, double learning_rate);
json_t *ex__training_history(const struct ex_training *training);

/* Writes the run as it stands, between two steps: whole or not at all. */
enum ex_status ex__checkpoint_write(const struct ex_training *training, struct ex_error *err);
/* Restores it. EX_ENOTFOUND where there is no such file (err is not filled),
 * EX_EINVAL with the first difference where it is of another run. */
enum ex_status ex__checkpoint_read(struct ex_training *training, struct ex_error *err);

#endif
