/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train: steps, epochs, phases.
 *
 * A step is: read the batch, forward, loss, backward, look at the gradient's
 * norm, move the parameters. Training stops as diverged when the loss or the
 * norm is not a finite number, or when the exits' losses, as a running mean,
 * are far above what guessing evenly among the classes would cost.
 *
 * The clock decides when a checkpoint is written and nothing else.
 */
#include "train/train.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "train/train_state.h"

/* A guess among C classes costs ln C; a healthy network starts near it. */
static const double EXPLODED = 30; /* × max(1, ln C) */
static const double LEVEL_MEMORY = 0.9;
enum { STREAM_STEP = 0x7a11 };

static uint64_t step_seed(const struct ex_training *training) {
  int64_t step = (int64_t)training->epoch * training->n_steps + training->step;
  struct ex_random random =
      ex__random_seed(training->job->seed, (uint64_t)STREAM_STEP << 48 | (uint64_t)step);
  return ex__random_u64(&random);
}

static const struct ex_span_of_epochs *phase_of(const struct ex_training *training) {
  return &training->phases[training->phase];
}

/* Of the phase, from 0. */
static int64_t phase_step(const struct ex_training *training) {
  return (int64_t)(training->epoch - phase_of(training)->first) * training->n_steps +
         training->step;
}

static struct ex_pace pace_of(const struct ex_training *training) {
  int64_t step = phase_step(training);
  if (training->needs.cycle > 0) step -= training->step; /* constant within a cycle */
  return ex__schedule_pace(training->job->options, step,
                           (int64_t)phase_of(training)->n * training->n_steps);
}

/* ---- one step ---------------------------------------------------------------- */

/* Adds the step to the sums of the epoch and to the running level. */
static void add_step(struct ex_training *training, double loss, const double *point_loss) {
  double sum = 0;
  int32_t n = 0;
  training->sums.loss += loss;
  for (int32_t p = 0; p < training->job->net->n_points; p++) {
    if (isnan(point_loss[p])) continue; /* not run, or nothing labelled */
    training->sums.point_loss[p] += point_loss[p];
    training->sums.point_steps[p]++;
    sum += point_loss[p];
    n++;
  }
  if (n == 0) return;
  bool first = phase_step(training) == 0;
  training->level = first ? sum / n : LEVEL_MEMORY * training->level + (1 - LEVEL_MEMORY) * sum / n;
}

static enum ex_status diverged(const struct ex_training *training, const char *what, double value,
                               double learning_rate, struct ex_error *err) {
  return ex__fail(err, EX_EDIVERGED,
                  "epoch %d, step %d of %d: %s = %g at learning rate %.3g; try a learning rate of "
                  "%.1g, gradient clipping (clip = 1), or one-cycle with a longer warmup",
                  (int)training->epoch + 1, (int)training->step + 1, (int)training->n_steps, what,
                  value, learning_rate, training->job->options->learning_rate / 4);
}

static enum ex_status check_step(const struct ex_training *training, double loss, double norm,
                                 double learning_rate, struct ex_error *err) {
  if (!isfinite(loss)) return diverged(training, "loss", loss, learning_rate, err);
  if (!isfinite(norm)) return diverged(training, "norm of the gradient", norm, learning_rate, err);
  double guess = fmax(1, log(training->job->net->n_outputs));
  if (training->level > EXPLODED * guess)
    return diverged(training, "loss per exit", training->level, learning_rate, err);
  return EX_OK;
}

enum ex_status ex__training_step(struct ex_training *training, double *loss, struct ex_error *err) {
  struct ex_pace pace = pace_of(training);
  training->phase_step = phase_step(training);
  ex__trainer_step(training, step_seed(training), pace);
  const struct ex_step_facts *facts = &training->facts;
  *loss = facts->loss;
  add_step(training, facts->loss, facts->point_loss);
  EX_TRY(check_step(training, facts->loss, facts->norm, pace.learning_rate, err));
  training->step++;
  return EX_OK;
}

/* ---- an epoch ------------------------------------------------------------------ */

static enum ex_status write_checkpoint(struct ex_training *training, struct ex_error *err) {
  if (training->job->checkpoint == NULL) return EX_OK;
  EX_TRY(ex__checkpoint_write(training, err));
  training->saved_ns = ex__now_ns();
  return EX_OK;
}

static enum ex_status cancel(struct ex_training *training, struct ex_error *err) {
  EX_TRY(write_checkpoint(training, err));
  return ex__fail(err, EX_ECANCELLED, "training cancelled in epoch %d, before step %d of %d",
                  (int)training->epoch + 1, (int)training->step + 1, (int)training->n_steps);
}

static enum ex_status checkpoint_when_due(struct ex_training *training, struct ex_error *err) {
  double every = training->job->checkpoint_seconds;
  if (!(every > 0) || (double)(ex__now_ns() - training->saved_ns) * 1e-9 < every) return EX_OK;
  return write_checkpoint(training, err);
}

/* What the best epoch is chosen by. Where the last exit is frozen it says nothing
 * about an epoch: then it is the mean of the exits that are trained. */
static double judge(const struct ex_training *training, const struct ex_select_result *result) {
  int32_t n_points = training->job->net->n_points, n = 0;
  int32_t point = training->job->options->select_point;
  if (point >= 0) return result->quality[point];
  if (ex__stepper_trains_point(training->stepper, n_points - 1))
    return result->quality[n_points - 1];
  double sum = 0;
  for (int32_t p = 0; p < n_points; p++) {
    if (!ex__stepper_trains_point(training->stepper, p)) continue;
    sum += result->quality[p];
    n++;
  }
  return n > 0 ? sum / n : result->quality[n_points - 1];
}

static bool is_better(const struct ex_training *training, const struct ex_select_result *result) {
  return result->n > 0 && training->phase == training->n_phases - 1 &&
         judge(training, result) > training->best_quality;
}

static void look_at_select(struct ex_training *training, struct ex_select_result *result) {
  const struct ex_train_job *job = training->job;
  int32_t every = job->options->select_every;
  bool last = training->epoch + 1 == job->options->epochs;
  *result = (struct ex_select_result){0};
  if (training->selector == NULL || ((training->epoch + 1) % every != 0 && !last)) return;
  ex__selector_look(training->selector, job->data, EX_SPLIT_SELECT, result);
  if (!is_better(training, result)) return;
  training->best_epoch = training->epoch;
  training->best_quality = judge(training, result);
  ex__slabs_copy(training->best_params, job->net->params);
  ex__slabs_copy(training->best_buffers, job->net->buffers);
}

/* Moves on to the next epoch; the checkpoint holds the position behind it. */
static enum ex_status finish_epoch(struct ex_training *training, double learning_rate,
                                   struct ex_error *err) {
  struct ex_select_result result;
  look_at_select(training, &result);
  if (ex__training_record(training, &result, learning_rate) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "training: no memory for the history");
  training->epoch++;
  training->step = 0;
  training->sums = (struct ex_epoch_sums){0};
  int64_t now = ex__now_ns();
  training->seconds += (double)(now - training->since_ns) * 1e-9;
  training->epoch_seconds = 0;
  training->since_ns = now;
  EX_TRY(write_checkpoint(training, err));
  return ex__training_report_epoch(training) ? EX_OK : cancel(training, err);
}

static enum ex_status run_epoch(struct ex_training *training, struct ex_error *err) {
  double loss = 0, learning_rate = 0;
  while (training->step < training->n_steps) {
    learning_rate = pace_of(training).learning_rate;
    EX_TRY(ex__training_step(training, &loss, err));
    bool done = training->step == training->n_steps;
    if (!ex__training_report_step(training, loss) && !done) return cancel(training, err);
    if (!done) EX_TRY(checkpoint_when_due(training, err));
  }
  return finish_epoch(training, learning_rate, err);
}

/* ---- the run -------------------------------------------------------------------- */

static void choose_epoch(struct ex_training *training) {
  const struct ex_train_job *job = training->job;
  if (training->best_epoch >= 0) {
    ex__slabs_copy(job->net->params, training->best_params);
    ex__slabs_copy(job->net->buffers, training->best_buffers);
  } else {
    training->best_epoch = job->options->epochs - 1;
  }
}

static enum ex_status run(struct ex_training *training, struct ex_error *err) {
  const struct ex_train_job *job = training->job;
  if (job->resume && job->checkpoint != NULL) {
    enum ex_status status = ex__checkpoint_read(training, err);
    if (status != EX_OK && status != EX_ENOTFOUND) return status;
  }
  while (training->epoch < job->options->epochs) {
    EX_TRY(ex__training_phase(training, err));
    EX_TRY(run_epoch(training, err));
  }
  EX_TRY(ex__finish_make(training, err));
  choose_epoch(training);
  return ex__finish_run(training, err);
}

enum ex_status ex__train(const struct ex_train_job *job, json_t **history, struct ex_error *err) {
  struct ex_training training = {.phase = -1};
  *history = NULL;
  enum ex_status status = ex__training_open(&training, job, err);
  if (status == EX_OK) status = run(&training, err);
  if (status == EX_OK) {
    *history = ex__training_history(&training);
    if (*history == NULL) status = ex__fail(err, EX_ENOMEM, "training: no memory for the history");
  }
  ex__training_clear(&training);
  return status;
}
