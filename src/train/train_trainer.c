/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_trainer: what a step is made of: batches, passes, updates.
 *
 * The plain step and the merged step are written with the same functions that
 * a method with a step of its own is given (method/trainer.h), so all count
 * their passes and meet divergence alike.
 */
#include <math.h>

#include "base/memory.h"
#include "train/train_state.h"

static struct ex_training *training_of(const struct ex_trainer *trainer) { return trainer->self; }

static void read(struct ex_trainer *trainer, enum ex_source source, int64_t index) {
  struct ex_training *training = training_of(trainer);
  struct ex_place *place = training->place;
  ex_real *x = ex__stepper_input(place->stepper);
  bool meta = source == EX_SOURCE_META;
  if (place->read == index && place->is_meta == meta) return; /* it lies there already */
  if (meta)
    ex__feed_read_meta(training->feed, index, x, place->y);
  else
    ex__feed_read(training->feed, index, x, place->y);
  training->call.weight = ex__feed_weights(training->feed, place->y);
  place->read = index;
  place->is_meta = meta;
}

static void forward(struct ex_trainer *trainer, const ex_slabs *params, bool move) {
  struct ex_training *training = training_of(trainer);
  const struct ex_pass pass = {.params = params,
                               .buffers = move ? training->job->net->buffers : NULL,
                               .seed = trainer->seed};
  ex__stepper_forward(training->place->stepper, &pass);
  training->passes.forward++;
}

static void backward(struct ex_trainer *trainer, const ex_slabs *params, int32_t points,
                     ex_slabs *grads) {
  struct ex_training *training = training_of(trainer);
  const struct ex_pass pass = {.params = params, .grads = grads, .seed = trainer->seed};
  ex__stepper_backward(training->place->stepper, &pass, points);
  training->passes.backward++;
}

/* What the call shows of the place in use. */
static void show_place(struct ex_training *training) {
  struct ex_loss_call *call = &training->call;
  const struct ex_place *place = training->place;
  call->output = ex__stepper_output(place->stepper);
  call->gate = ex__stepper_gate(place->stepper);
  call->doutput = ex__stepper_doutput(place->stepper);
  call->dgate = ex__stepper_dgate(place->stepper);
  call->target = place->y;
  call->weight = place->read >= 0 ? ex__feed_weights(training->feed, place->y) : NULL;
}

static void aside(struct ex_trainer *trainer, bool away) {
  struct ex_training *training = training_of(trainer);
  training->place = &training->places[away ? 1 : 0];
  show_place(training);
}

static void note(struct ex_trainer *trainer, double loss) {
  training_of(trainer)->facts.loss = loss;
}

static struct ex_pace pace_of(const struct ex_trainer *trainer) {
  return training_of(trainer)->pace;
}

static void update(struct ex_trainer *trainer, const ex_slabs *grads, struct ex_update what) {
  struct ex_training *training = training_of(trainer);
  double clip = training->job->options->clip;
  double norm = training->facts.norm = ex__optim_norm(training->optim, grads, what);
  if (!isfinite(norm) || !isfinite(training->facts.loss)) return;
  double scale = clip > 0 && norm > clip ? clip / norm : 1;
  ex__optim_step(training->optim, pace_of(trainer), training->phase_step + 1, scale, what,
                 training->job->net->params, grads, training->moments);
}

static void look_ahead(struct ex_trainer *trainer, const ex_slabs *grads, ex_slabs *out) {
  struct ex_training *training = training_of(trainer);
  ex__slabs_copy(out, training->job->net->params);
  for (int32_t i = 0; i < training->n_moments; i++)
    ex__slabs_copy(training->ahead[i], training->moments[i]);
  ex__optim_step(training->optim, pace_of(trainer), training->phase_step + 1, 1,
                 ex_update_everything, out, grads, training->ahead);
}

static void sensitivity(struct ex_trainer *trainer, const ex_slabs *grads, const ex_slabs *by,
                        ex_slabs *out) {
  struct ex_training *training = training_of(trainer);
  ex__optim_sensitivity(training->optim, pace_of(trainer), training->phase_step + 1, grads,
                        training->moments, by, out);
}

static void forget(struct ex_trainer *trainer) {
  struct ex_training *training = training_of(trainer);
  for (int32_t i = 0; i < training->n_moments; i++) ex__slabs_zero(training->moments[i]);
}

/* ---- opening --------------------------------------------------------------- */

static enum ex_status take_slabs(const ex_graph *graph, int32_t n, ex_slabs ***out) {
  *out = ex__calloc((size_t)n + 1, sizeof **out);
  if (*out == NULL) return EX_ENOMEM;
  for (int32_t i = 0; i < n; i++) EX_TRY(ex__slabs_new(graph, EX_SLABS_PARAMS, &(*out)[i]));
  return EX_OK;
}

static enum ex_status take_memory(struct ex_training *training) {
  const struct ex_train_job *job = training->job;
  const ex_graph *graph = job->net->graph;
  training->method_state = ex__calloc(training->needs.state + 1, 1);
  training->method_scratch = ex__calloc(training->needs.scratch + 1, 1);
  if (training->method_state == NULL || training->method_scratch == NULL) return EX_ENOMEM;
  for (int32_t i = 0; i < (training->needs.aside ? 2 : 1); i++) {
    training->places[i].y = ex__calloc((size_t)training->batch, sizeof *training->places[i].y);
    if (training->places[i].y == NULL) return EX_ENOMEM;
  }
  EX_TRY(take_slabs(graph, training->needs.kept, &training->kept));
  EX_TRY(take_slabs(graph, training->needs.work, &training->work));
  if (job->method->step != NULL) EX_TRY(take_slabs(graph, training->n_moments, &training->ahead));
  if (job->method->merge == NULL) return EX_OK;
  training->reached = ex__calloc((size_t)ex__graph_n_nodes(graph), sizeof *training->reached);
  if (training->reached == NULL) return EX_ENOMEM;
  return take_slabs(graph, job->net->n_points, &training->point_grads);
}

enum ex_status ex__trainer_open(struct ex_training *training, struct ex_error *err) {
  const struct ex_train_job *job = training->job;
  if (take_memory(training) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "training: no memory for what method %s keeps",
                    job->method->name);
  if (job->method->merge != NULL) ex__net_reached(job->net, training->reached);
  if (job->method->start != NULL)
    job->method->start(job->method_values, job->net, job->seed, training->method_state);
  training->trainer = (struct ex_trainer){.self = training,
                                          .net = job->net,
                                          .n_meta = ex__feed_meta(training->feed),
                                          .kept = training->kept,
                                          .work = training->work,
                                          .grads = training->grads,
                                          .scratch = training->method_scratch,
                                          .call = &training->call,
                                          .read = read,
                                          .forward = forward,
                                          .backward = backward,
                                          .aside = training->needs.aside ? aside : NULL,
                                          .note = note,
                                          .update = update,
                                          .look_ahead = look_ahead,
                                          .sensitivity = sensitivity,
                                          .forget = forget};
  return EX_OK;
}

static void free_slabs(ex_slabs **slabs) {
  for (int32_t i = 0; slabs != NULL && slabs[i] != NULL; i++) ex__slabs_free(slabs[i]);
  ex__free(slabs);
}

void ex__trainer_close(struct ex_training *training) {
  free_slabs(training->kept);
  free_slabs(training->work);
  free_slabs(training->ahead);
  free_slabs(training->point_grads);
  for (int32_t i = 0; i < 2; i++) ex__free(training->places[i].y);
  ex__free(training->reached);
  ex__free(training->method_state);
  ex__free(training->method_scratch);
}

/* ---- steps ------------------------------------------------------------------ */

/* What every step sees; the stepper of the phase is open. */
static void begin(struct ex_training *training, uint64_t seed, struct ex_pace pace) {
  const struct ex_train_job *job = training->job;
  const struct ex_span_of_epochs *phase = &training->phases[training->phase];
  struct ex_trainer *trainer = &training->trainer;
  training->pace = pace;
  training->facts = (struct ex_step_facts){.loss = NAN};
  training->places[0].stepper = training->stepper;
  training->places[1].stepper = training->aside;
  training->places[0].read = training->places[1].read = -1;
  training->place = &training->places[0];
  trainer->phase = phase->phase;
  trainer->epoch = training->epoch - phase->first;
  trainer->n_epochs = phase->n;
  trainer->step = training->step;
  trainer->n_steps = training->n_steps;
  trainer->at = (int64_t)training->epoch * training->n_steps + training->step;
  trainer->seed = seed;
  trainer->learning_rate = pace.learning_rate;
  for (int32_t p = 0; p < job->net->n_points; p++) training->facts.point_loss[p] = NAN;
  training->call = (struct ex_loss_call){.n = training->batch,
                                         .n_points = job->net->n_points,
                                         .n_outputs = job->net->n_outputs,
                                         .phase = phase->phase,
                                         .epoch = trainer->epoch,
                                         .n_epochs = phase->n,
                                         .cost = &training->cost,
                                         .scratch = training->scratch,
                                         .own = training->method_scratch,
                                         .transform = &job->net->transform,
                                         .point_loss = training->facts.point_loss};
  show_place(training);
}

/* A forward pass of the batch that is due, and the seeds of its loss. */
static void plain_loss(struct ex_training *training) {
  const struct ex_train_job *job = training->job;
  struct ex_trainer *trainer = &training->trainer;
  read(trainer, EX_SOURCE_TRAIN, trainer->at);
  forward(trainer, job->net->params, true);
  note(trainer,
       ex__method_loss(job->method, job->method_values, training->method_state, &training->call));
}

static void plain_step(struct ex_training *training) {
  struct ex_trainer *trainer = &training->trainer;
  plain_loss(training);
  ex__slabs_zero(training->grads);
  backward(trainer, training->job->net->params, EX_ALL_POINTS, training->grads);
  update(trainer, training->grads, ex_update_everything);
}

static void merged_step(struct ex_training *training) {
  const struct ex_train_job *job = training->job;
  int32_t points[EX_MAX_POINTS], n = 0;
  double product[EX_MAX_POINTS * EX_MAX_POINTS], weight[EX_MAX_POINTS];
  plain_loss(training);
  for (int32_t p = 0; p < job->net->n_points; p++) {
    if (!ex__stepper_trains_point(training->stepper, p)) continue;
    ex__slabs_zero(training->point_grads[p]);
    backward(&training->trainer, job->net->params, (int32_t)(UINT32_C(1) << p),
             training->point_grads[p]);
    points[n++] = p;
  }
  ex__merge_products(training, points, n, product);
  const struct ex_merge_call call = {n, product, training->trainer.seed, weight};
  job->method->merge(job->method_values, training->method_state, &call);
  ex__merge_combine(training, points, n, weight);
  update(&training->trainer, training->grads, ex_update_everything);
}

void ex__trainer_step(struct ex_training *training, uint64_t seed, struct ex_pace pace) {
  const struct ex_method *method = training->job->method;
  begin(training, seed, pace);
  if (training->trainer.phase == EX_PHASE_TRUNK)
    plain_step(training);
  else if (method->step != NULL)
    method->step(training->job->method_values, training->method_state, &training->trainer);
  else if (method->merge != NULL)
    merged_step(training);
  else
    plain_step(training);
}
