/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_finish: what comes after the last step: the outputs of all heads at
 * the chosen weights, for the method to fit something to.
 *
 * Training samples are those of one more epoch, in its order and with its
 * augmentation; held-out ones are read once. Nothing of it depends on when the
 * run was stopped or resumed: it begins from the last checkpoint, which is of the
 * end of the last epoch, and is done again as a whole.
 */
#include <string.h>

#include "base/memory.h"
#include "train/train_state.h"

static bool is_meta(const struct ex_training *training) {
  return training->needs.finish_source == EX_SOURCE_META;
}

static bool finishes(const struct ex_training *training) {
  return training->job->method->finish != NULL && training->needs.finish > 0;
}

/* Samples that are read: no more than there are. */
static int32_t samples(const struct ex_training *training) {
  int64_t there = is_meta(training) ? ex__feed_meta(training->feed)
                                    : (int64_t)ex__feed_steps(training->feed) * training->batch;
  return there < training->needs.finish ? (int32_t)there : training->needs.finish;
}

enum ex_status ex__finish_open(struct ex_training *training, struct ex_error *err) {
  if (!finishes(training)) return EX_OK;
  const ex_net *net = training->job->net;
  size_t n = (size_t)samples(training), numbers;
  struct ex_finish_call *call = &training->finish;
  *call = (struct ex_finish_call){.n_points = net->n_points, .n_outputs = net->n_outputs};
  if (ex__mul_size(n, (size_t)net->n_points * (size_t)net->n_outputs, &numbers)) {
    call->output = ex__calloc(numbers, sizeof *call->output);
    training->finish_target = ex__calloc(n, sizeof *training->finish_target);
    training->finish_weight = ex__calloc(n, sizeof *training->finish_weight);
  }
  if (call->output != NULL && training->finish_target != NULL && training->finish_weight != NULL)
    return EX_OK;
  return ex__fail(err, EX_ENOMEM, "training: no memory for the outputs of %zu samples", n);
}

void ex__finish_close(struct ex_training *training) {
  ex__free(training->finish.output);
  ex__free(training->finish_target);
  ex__free(training->finish_weight);
}

enum ex_status ex__finish_make(struct ex_training *training, struct ex_error *err) {
  const struct ex_train_job *job = training->job;
  if (!finishes(training)) return EX_OK;
  EX_TRY(ex__training_phase(training, err)); /* not open where the run was resumed at its end */
  struct ex_stepper_options looking = training->stepping;
  looking.phase = EX_PHASE_NONE;
  looking.flows = NULL;
  looking.lender = training->stepper;
  EX_TRY(ex__stepper_new(job->net, &looking, &training->finisher, err));
  /* What was timed just now decides bits: a run that is killed from here on finds it. */
  bool timed = job->plan != NULL && *job->plan != NULL;
  return timed && job->checkpoint != NULL ? ex__checkpoint_write(training, err) : EX_OK;
}

/* Reads batch `index` of those that finish is given, and runs it. */
static void forward(struct ex_training *training, int64_t index) {
  const struct ex_pass pass = {.params = training->job->net->params};
  ex_real *x = ex__stepper_input(training->finisher);
  int32_t *y = training->places[0].y;
  int64_t epoch = ex__feed_steps(training->feed);
  int64_t made = (int64_t)training->job->options->epochs * training->n_steps;
  int64_t next = (made + epoch - 1) / epoch * epoch; /* the first batch of an epoch of its own */
  if (is_meta(training))
    ex__feed_read_meta(training->feed, index, x, y);
  else
    ex__feed_read(training->feed, next + index, x, y);
  ex__stepper_forward(training->finisher, &pass);
  training->passes.forward++;
}

/* The first `count` samples of the batch, without those that are not labelled. */
static void keep(struct ex_training *training, int32_t count) {
  struct ex_finish_call *call = &training->finish;
  const ex_real *const *output = ex__stepper_output(training->finisher);
  const int32_t *y = training->places[0].y;
  const ex_real *weight = ex__feed_weights(training->feed, y);
  size_t size = (size_t)call->n_outputs;
  for (int32_t i = 0; i < count; i++) {
    if (y[i] < 0) continue;
    ex_real *rows = call->output + (size_t)call->n * (size_t)call->n_points * size;
    for (int32_t p = 0; p < call->n_points; p++)
      memcpy(rows + (size_t)p * size, output[p] + (size_t)i * size, size * sizeof *rows);
    training->finish_target[call->n] = y[i];
    if (weight != NULL) training->finish_weight[call->n] = weight[i];
    call->weight = weight != NULL ? training->finish_weight : NULL;
    call->n++;
  }
}

enum ex_status ex__finish_run(struct ex_training *training, struct ex_error *err) {
  const struct ex_train_job *job = training->job;
  struct ex_finish_call *call = &training->finish;
  if (!finishes(training)) return EX_OK;
  int32_t n = samples(training), batch = training->batch;
  ex__stepper_repack(training->finisher);
  for (int32_t done = 0; done < n; done += batch) {
    forward(training, done / batch);
    keep(training, n - done < batch ? n - done : batch);
  }
  call->target = training->finish_target;
  call->own = training->method_scratch;
  call->transform = &job->net->transform;
  if (call->n == 0) return EX_OK;
  return job->method->finish(job->method_values, training->method_state, call, err);
}
