/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/bench_exeunt_train: Exeunt's worker, training: the step of the
 * training loop on one batch that stays: forward, joint loss of all exits,
 * backward, SGD with momentum. Layout and algorithms are timed once, as
 * `exeunt train` does. A copy of the weights stands for the best epoch's, so
 * that the peak of memory is that of training.
 */
#include <string.h>

#include "bench_exeunt.h"
#include "net/model.h"
#include "train/optim.h"
#include "train/train_step.h"

enum { CHECKED_STEPS = 3 };
static const double LEARNING_RATE = 0.001, MOMENTUM = 0.9; /* as in bench_torch.py */

struct training {
  const struct bench_job *job;
  ex_model *model;
  ex_plan *plan;
  ex_stepper *stepper;
  ex_optim *optim;
  struct ex_train_options options;
  ex_slabs *grads, *moment, *best;
  struct ex_cost cost;
  const int32_t *target; /* [batch] */
  ex_real *scratch;
  void *method_values;
  int64_t step;
};

static double make_step(struct training *training) {
  const ex_net *net = training->model->net;
  const struct ex_pass pass = {
      .params = net->params, .buffers = net->buffers, .grads = training->grads, .seed = 1};
  const struct ex_pace pace = {.learning_rate = LEARNING_RATE, .momentum = MOMENTUM};
  double point_loss[EX_MAX_POINTS];
  ex__stepper_forward(training->stepper, &pass);
  const struct ex_loss_call call = {.n = training->job->batch,
                                    .n_points = net->n_points,
                                    .n_outputs = net->n_outputs,
                                    .output = ex__stepper_output(training->stepper),
                                    .gate = ex__stepper_gate(training->stepper),
                                    .target = training->target,
                                    .phase = EX_PHASE_ALL,
                                    .n_epochs = 1,
                                    .cost = &training->cost,
                                    .scratch = training->scratch,
                                    .doutput = ex__stepper_doutput(training->stepper),
                                    .dgate = ex__stepper_dgate(training->stepper),
                                    .point_loss = point_loss};
  double loss = ex__method_find("joint")->loss(training->method_values, NULL, &call);
  ex__slabs_zero(training->grads);
  ex__stepper_backward(training->stepper, &pass, EX_ALL_POINTS);
  ex__optim_step(training->optim, pace, ++training->step, 1, ex_update_everything, net->params,
                 training->grads, &training->moment);
  return loss;
}

static void pass(void *state) { make_step(state); }

static void make_slabs(struct training *training) {
  const ex_graph *graph = training->model->net->graph;
  ex_slabs **slabs[] = {&training->grads, &training->moment, &training->best};
  for (int i = 0; i < 3; i++)
    if (ex__slabs_new(graph, EX_SLABS_PARAMS, slabs[i]) != EX_OK) bench_die("no memory for slabs");
  ex__slabs_copy(training->best, training->model->net->params);
}

static void make_stepper(struct training *training) {
  const struct bench_job *job = training->job;
  const ex_net *net = training->model->net;
  struct ex_error err;
  if (ex__plan_new(&training->plan) != EX_OK) bench_die("no memory for a plan");
  const struct ex_stepper_options options = {.batch = job->batch,
                                             .threads = job->threads,
                                             .backend = EX_BACKEND_FAST,
                                             .layout = EX_LAYOUT_AUTO,
                                             .plan = training->plan,
                                             .phase = EX_PHASE_ALL,
                                             .one_backward = true};
  bench_check(ex__stepper_new(net, &options, &training->stepper, &err), &err);
  int32_t n = ex__graph_n_tensors(net->graph);
  bool *trained = bench_allocate((size_t)n, sizeof *trained);
  for (int32_t i = 0; i < n; i++) trained[i] = ex__stepper_trains(training->stepper, i);
  ex__param_defaults(ex__train_params, &training->options);
  training->options.optimiser = EX_SGD;
  training->options.momentum = MOMENTUM;
  training->options.nesterov = 0;
  training->options.weight_decay = 0;
  bench_check(ex__optim_new(net, trained, &training->options, job->threads, &training->optim, &err),
              &err);
}

static void fill(struct training *training) {
  const struct bench_job *job = training->job;
  const struct ex_method *method = ex__method_find("joint");
  float *x = bench_read(job->inputs, (int64_t)job->samples * job->features);
  ex_real *to = ex__stepper_input(training->stepper);
  for (int64_t i = 0; i < (int64_t)job->batch * job->features; i++) to[i] = x[i];
  training->target = bench_read(job->labels, job->samples);
  training->scratch =
      bench_allocate(ex__loss_scratch_size(job->batch, job->classes), sizeof(ex_real));
  training->method_values = bench_allocate(1, method->size);
  ex__param_defaults(method->params, training->method_values);
}

void bench_train(const struct bench_job *job) {
  struct training training = {.job = job};
  struct ex_error err;
  float losses[CHECKED_STEPS];
  bench_check(ex__model_read(job->model, &training.model, &err), &err);
  ex__net_cost(training.model->net, &training.cost);
  make_slabs(&training);
  make_stepper(&training);
  fill(&training);
  for (int i = 0; i < CHECKED_STEPS; i++) losses[i] = (float)make_step(&training);
  bench_write(job->outputs, losses, CHECKED_STEPS);
  bench_serve(&(struct bench_system){
      .state = &training, .description = BENCH_VERSION, .calls = 1, .pass = pass});
}
