/* SPDX-License-Identifier: Apache-2.0
 *
 * A run of training that a test steps by hand: so that it can look into a
 * method's state, go back, and follow with the trainer's own functions what the
 * method claims to have computed.
 */
#ifndef EX_TESTS_LOOKAHEAD_H
#define EX_TESTS_LOOKAHEAD_H

#include <math.h>

#include "tests/train_fixture.h"
#include "train/train_state.h"

struct lookahead {
  struct made_job made;
  struct ex_training training;
  ex_slabs *params, *moments[EX_MAX_MOMENTS]; /* before the last step */
};

static inline void lookahead_set(struct lookahead *l, const char *name, const char *text) {
  const struct ex_method *method = l->made.job.method;
  assert_ok(ex__param_set(method->name, method->params, l->made.values, name, text, &err), &err);
}

/* Options and values may be changed before lookahead_open. */
static inline void lookahead_make(struct lookahead *l, const ex_data *data, const char *method) {
  memset(l, 0, sizeof *l);
  made_job(&l->made, tiny_net(0.2, true, 3), data, ex__method_find(method));
}

static inline void lookahead_open(struct lookahead *l) {
  const ex_graph *graph = l->made.job.net->graph;
  assert_ok(ex__training_open(&l->training, &l->made.job, &err), &err);
  assert_ok(ex__training_phase(&l->training, &err), &err);
  assert_int_equal(ex__slabs_new(graph, EX_SLABS_PARAMS, &l->params), EX_OK);
  for (int32_t i = 0; i < l->training.n_moments; i++)
    assert_int_equal(ex__slabs_new(graph, EX_SLABS_PARAMS, &l->moments[i]), EX_OK);
}

static inline void lookahead_close(struct lookahead *l) {
  for (int32_t i = 0; i < EX_MAX_MOMENTS; i++) ex__slabs_free(l->moments[i]);
  ex__slabs_free(l->params);
  ex__training_clear(&l->training);
  ex_net_free(l->made.job.net);
}

/* Makes step `step` of the first epoch. */
static inline void lookahead_step(struct lookahead *l, int32_t step) {
  struct ex_training *training = &l->training;
  const struct ex_train_options *options = &l->made.options;
  double momentum = options->optimiser == EX_ADAMW ? options->beta1 : options->momentum;
  ex__slabs_copy(l->params, l->made.job.net->params);
  for (int32_t i = 0; i < training->n_moments; i++)
    ex__slabs_copy(l->moments[i], training->moments[i]);
  training->step = step;
  training->phase_step = step;
  ex__trainer_step(training, 100 + (uint64_t)step,
                   (struct ex_pace){options->learning_rate, momentum});
  assert_true(isfinite(training->facts.loss));
}

/* Parameters and moments as before the last step; the trainer is still in it. */
static inline struct ex_trainer *lookahead_back(struct lookahead *l) {
  ex__slabs_copy(l->made.job.net->params, l->params);
  for (int32_t i = 0; i < l->training.n_moments; i++)
    ex__slabs_copy(l->training.moments[i], l->moments[i]);
  return &l->training.trainer;
}

#endif
