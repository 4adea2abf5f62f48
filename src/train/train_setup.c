/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_setup: from a job to a run that can step. Everything that can
 * be wrong with a job is found here, before the first step.
 */
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "train/train_state.h"

/* Of the training samples, for methods that learn weights on held-out ones. */
static const double DEFAULT_META_SHARE = 0.1;

/* ---- checks ---------------------------------------------------------------- */

static enum ex_status check_data(const struct ex_train_job *job, struct ex_error *err) {
  const struct ex_data_info *info = ex__data_info(job->data);
  const ex_net *net = job->net;
  bool same = info->rank == net->input.rank;
  for (int32_t i = 0; same && i < info->rank; i++) same = info->dim[i] == net->input.dim[i];
  if (!same)
    return ex__fail(err, EX_ESHAPE,
                    "training: samples have %lld numbers in rank %d; the network reads %lld in "
                    "rank %d, of the same shape",
                    (long long)info->features, (int)info->rank,
                    (long long)ex__shape_count(&net->input), (int)net->input.rank);
  if (info->n_classes > net->n_outputs || info->n_classes == 0)
    return ex__fail(err, EX_ESHAPE, "training: %d classes; must be from 1 to the %d of the heads",
                    (int)info->n_classes, (int)net->n_outputs);
  int32_t n = ex__data_size(job->data, EX_SPLIT_TRAIN), labelled = 0;
  for (int32_t i = 0; i < n; i++) labelled += ex__data_label(job->data, EX_SPLIT_TRAIN, i) >= 0;
  if (labelled == 0)
    return ex__fail(err, EX_EINVAL, "training: none of the %d training samples is labelled",
                    (int)n);
  return EX_OK;
}

static enum ex_status check_options(const struct ex_train_job *job, struct ex_error *err) {
  const struct ex_train_options *options = job->options;
  if (job->threads < 1 || job->threads > 256)
    return ex__fail(err, EX_EINVAL, "training: threads = %d; must be in [1, 256]",
                    (int)job->threads);
  if (options->select_point >= job->net->n_points)
    return ex__fail(err, EX_EINVAL, "train: select-point = %d; must be below the %d exits, or -1",
                    (int)options->select_point, (int)job->net->n_points);
  if (options->regime != EX_REGIME_JOINT && options->trunk_epochs >= options->epochs)
    return ex__fail(err, EX_EINVAL, "train: trunk-epochs = %d; must be below epochs = %d",
                    (int)options->trunk_epochs, (int)options->epochs);
  if (options->regime == EX_REGIME_TRUNK_THEN_JOINT && options->epochs < 2)
    return ex__fail(err, EX_EINVAL,
                    "train: epochs = %d with regime = trunk-then-joint; must be at least 2",
                    (int)options->epochs);
  if (options->regime == EX_REGIME_FROZEN_TRUNK && job->net->n_points < 2)
    return ex__fail(err, EX_EINVAL,
                    "train: regime = frozen-trunk; the network has 1 exit, which is the trunk's");
  if (job->method->check != NULL)
    return job->method->check(job->method_values, job->net->n_points, err);
  return EX_OK;
}

/* ---- memory ---------------------------------------------------------------- */

static void plan_phases(struct ex_training *training) {
  const struct ex_train_options *options = training->job->options;
  int32_t trunk = options->trunk_epochs, all = options->epochs;
  if (options->regime == EX_REGIME_JOINT) trunk = 0;
  if (options->regime == EX_REGIME_TRUNK_THEN_JOINT && trunk == 0)
    trunk = all / 3 > 0 ? all / 3 : 1;
  if (trunk > 0)
    training->phases[training->n_phases++] = (struct ex_span_of_epochs){EX_PHASE_TRUNK, 0, trunk};
  enum ex_phase rest = options->regime == EX_REGIME_FROZEN_TRUNK ? EX_PHASE_HEADS : EX_PHASE_ALL;
  training->phases[training->n_phases++] = (struct ex_span_of_epochs){rest, trunk, all - trunk};
}

static enum ex_status take_slabs(struct ex_training *training) {
  const struct ex_train_options *options = training->job->options;
  const ex_graph *graph = training->job->net->graph;
  training->n_moments = ex__optim_class((enum ex_optimiser)options->optimiser)->n_moments;
  EX_TRY(ex__slabs_new(graph, EX_SLABS_PARAMS, &training->grads));
  EX_TRY(ex__slabs_new(graph, EX_SLABS_PARAMS, &training->best_params));
  EX_TRY(ex__slabs_new(graph, EX_SLABS_BUFFERS, &training->best_buffers));
  for (int32_t i = 0; i < training->n_moments; i++)
    EX_TRY(ex__slabs_new(graph, EX_SLABS_PARAMS, &training->moments[i]));
  return EX_OK;
}

static enum ex_status take_memory(struct ex_training *training, struct ex_error *err) {
  const struct ex_train_job *job = training->job;
  int32_t n_outputs = job->net->n_outputs;
  size_t scratch = ex__loss_scratch_size(training->batch, n_outputs);
  training->epochs = json_array();
  training->scratch = ex__calloc(scratch, sizeof *training->scratch);
  if (training->epochs == NULL || training->scratch == NULL || take_slabs(training) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "training: no memory for gradients and optimiser");
  EX_TRY(ex__trainer_open(training, err));
  return ex__finish_open(training, err);
}

/* Batches, and how many steps are an epoch. */
static enum ex_status open_feed(struct ex_training *training, struct ex_error *err) {
  const struct ex_train_job *job = training->job;
  const struct ex_train_options *options = job->options;
  const struct ex_method *method = job->method;
  int32_t n = ex__data_size(job->data, EX_SPLIT_TRAIN);
  struct ex_feed_options feed = {.seed = job->seed,
                                 .batch = options->batch,
                                 .class_weights = options->class_weights != 0,
                                 .meta_share = options->meta_share,
                                 .labelled_share = options->labelled_share};
  int32_t batch = options->batch < n ? options->batch : n;
  if (method->needs != NULL)
    method->needs(job->method_values, job->net, batch, n / batch, &training->needs);
  if (training->needs.meta && feed.meta_share == 0) feed.meta_share = DEFAULT_META_SHARE;
  EX_TRY(ex__feed_new(job->data, &feed, &training->feed, err));
  training->batch = ex__feed_batch(training->feed);
  training->n_steps = ex__feed_steps(training->feed);
  if (method->needs != NULL) {
    training->needs = (struct ex_method_needs){0};
    method->needs(job->method_values, job->net, training->batch, training->n_steps,
                  &training->needs);
  }
  int64_t cycle = training->needs.cycle;
  if (cycle > INT32_MAX)
    return ex__fail(err, EX_EINVAL, "train: an epoch of method %s has %lld steps; at most %d",
                    method->name, (long long)cycle, INT32_MAX);
  if (cycle > 0) training->n_steps = (int32_t)cycle;
  return EX_OK;
}

enum ex_status ex__training_open(struct ex_training *training, const struct ex_train_job *job,
                                 struct ex_error *err) {
  training->job = job;
  training->phase = training->best_epoch = -1;
  training->best_quality = -1;
  training->since_ns = training->saved_ns = ex__now_ns();
  EX_TRY(check_data(job, err));
  EX_TRY(check_options(job, err));
  EX_TRY(open_feed(training, err));
  ex__net_cost(job->net, &training->cost);
  plan_phases(training);
  EX_TRY(take_memory(training, err));
  return job->checkpoint != NULL ? ex__checkpoint_describe(training, err) : EX_OK;
}

void ex__training_clear(struct ex_training *training) {
  ex__training_phase_close(training);
  ex__feed_free(training->feed);
  ex__slabs_free(training->grads);
  ex__slabs_free(training->best_params);
  ex__slabs_free(training->best_buffers);
  for (int32_t i = 0; i < EX_MAX_MOMENTS; i++) ex__slabs_free(training->moments[i]);
  ex__trainer_close(training);
  ex__finish_close(training);
  ex__free(training->scratch);
  json_decref(training->epochs);
  json_decref(training->run);
  *training = (struct ex_training){.phase = -1};
}

/* ---- phases ---------------------------------------------------------------- */

struct ex_pass_counts ex__training_macs(const struct ex_training *training) {
  struct ex_pass_counts macs = training->macs;
  const ex_stepper *const steppers[] = {training->stepper, training->aside, training->finisher};
  for (int32_t i = 0; i < 3; i++) {
    if (steppers[i] == NULL) continue;
    struct ex_pass_counts here = ex__stepper_macs(steppers[i]);
    macs.forward += here.forward;
    macs.backward += here.backward;
  }
  return macs;
}

void ex__training_phase_close(struct ex_training *training) {
  training->macs = ex__training_macs(training);
  ex__optim_free(training->optim);
  ex__selector_free(training->selector); /* borrows the stepper's memory */
  ex__stepper_free(training->finisher);  /* as this one does */
  ex__stepper_free(training->aside);
  ex__stepper_free(training->stepper);
  training->optim = NULL;
  training->selector = NULL;
  training->stepper = training->aside = training->finisher = NULL;
  training->phase = -1;
}

static enum ex_status open_optimiser(struct ex_training *training, struct ex_error *err) {
  const struct ex_train_job *job = training->job;
  int32_t n = ex__graph_n_tensors(job->net->graph);
  bool *trained = ex__calloc((size_t)n, sizeof *trained);
  if (trained == NULL) return ex__fail(err, EX_ENOMEM, "training: no memory for an optimiser");
  for (int32_t i = 0; i < n; i++) trained[i] = ex__stepper_trains(training->stepper, i);
  enum ex_status status =
      ex__optim_new(job->net, trained, job->options, job->threads, &training->optim, err);
  ex__free(trained);
  return status;
}

static enum ex_status open_selector(struct ex_training *training, struct ex_error *err) {
  const struct ex_train_job *job = training->job;
  int32_t n = ex__data_size(job->data, EX_SPLIT_SELECT);
  if (n == 0 || job->options->select_every == 0) return EX_OK;
  struct ex_stepper_options looking = training->stepping;
  looking.flows = NULL;
  looking.lender = training->stepper;
  if (looking.batch > n) looking.batch = n;
  return ex__selector_new(job->net, &looking, &training->selector, err);
}

static enum ex_status open_aside(struct ex_training *training, struct ex_error *err) {
  if (!training->needs.aside || training->stepping.phase == EX_PHASE_TRUNK) return EX_OK;
  struct ex_stepper_options away = training->stepping;
  away.one_backward = true;
  return ex__stepper_new(training->job->net, &away, &training->aside, err);
}

/* NULL: gradients go everywhere, as they are. */
static const struct ex_flows *ask_flows(struct ex_training *training, int32_t phase) {
  const struct ex_train_job *job = training->job;
  training->flows.n = 0;
  if (job->method->flow == NULL || training->phases[phase].phase == EX_PHASE_TRUNK) return NULL;
  job->method->flow(job->method_values, job->net, &training->flows);
  return &training->flows;
}

enum ex_status ex__training_phase(struct ex_training *training, struct ex_error *err) {
  const struct ex_train_job *job = training->job;
  int32_t phase = ex__training_phase_of(training, training->epoch);
  if (training->phase == phase) return EX_OK;
  ex__training_phase_close(training);
  ex_plan *plan = job->plan != NULL ? *job->plan : NULL;
  enum ex_layout layout = job->layout;
  if (layout == EX_LAYOUT_AUTO)
    layout = ex__layout_choose(job->net->graph, training->batch, job->threads, plan);
  training->stepping = (struct ex_stepper_options){.batch = training->batch,
                                                   .threads = job->threads,
                                                   .backend = job->backend,
                                                   .layout = layout,
                                                   .plan = plan,
                                                   .flows = ask_flows(training, phase),
                                                   .phase = training->phases[phase].phase,
                                                   .one_backward = job->method->merge == NULL &&
                                                                   job->method->step == NULL};
  EX_TRY(ex__stepper_new(job->net, &training->stepping, &training->stepper, err));
  EX_TRY(open_aside(training, err));
  EX_TRY(open_optimiser(training, err));
  EX_TRY(open_selector(training, err));
  bool at_start = training->epoch == training->phases[phase].first && training->step == 0;
  for (int32_t i = 0; at_start && i < training->n_moments; i++)
    ex__slabs_zero(training->moments[i]);
  training->phase = phase;
  return EX_OK;
}
