/* SPDX-License-Identifier: Apache-2.0
 *
 * A trainer for tests of methods with a step of their own: the real passes over
 * the small network, in double precision, and plain gradient descent. Batches
 * are drawn by (source, index).
 */
#ifndef EX_TESTS_MADE_TRAINER_H
#define EX_TESTS_MADE_TRAINER_H

#include "base/memory.h"
#include "method/trainer.h"
#include "tests/tiny_net.h"
#include "train/train_step.h"

enum { MADE_BATCH = 4, MADE_INPUTS = MADE_BATCH * TINY_CHANNELS * TINY_SIZE * TINY_SIZE };
enum { MADE_MAX_SLABS = EX_MAX_KEPT + 1 };

struct made_trainer {
  struct ex_trainer trainer;
  const struct ex_method *method;
  _Alignas(16) char values[EX_MAX_METHOD_VALUES];
  void *state;
  ex_net *net;
  ex_stepper *stepper;
  struct ex_flows flows;
  struct ex_cost cost;
  struct ex_loss_call call;
  int32_t target[MADE_BATCH];
  double point_loss[EX_MAX_POINTS], loss;
  ex_real scratch[MADE_BATCH * (TINY_CLASSES + 2)];
  ex_slabs *kept[MADE_MAX_SLABS], *work[MADE_MAX_SLABS];
  int32_t n_updates;
};

static inline void made_read(struct ex_trainer *trainer, enum ex_source source, int64_t index) {
  struct made_trainer *made = trainer->self;
  struct ex_random random = ex__random_seed(70 + (uint64_t)source, (uint64_t)index);
  ex_real *x = ex__stepper_input(made->stepper);
  for (int32_t i = 0; i < MADE_INPUTS; i++) x[i] = (ex_real)ex__random_normal(&random);
  for (int32_t i = 0; i < MADE_BATCH; i++)
    made->target[i] = (int32_t)ex__random_below(&random, TINY_CLASSES);
}

static inline void made_forward(struct ex_trainer *trainer, const ex_slabs *params, bool move) {
  struct made_trainer *made = trainer->self;
  const struct ex_pass pass = {
      .params = params, .buffers = move ? made->net->buffers : NULL, .seed = trainer->seed};
  ex__stepper_forward(made->stepper, &pass);
}

static inline void made_backward(struct ex_trainer *trainer, const ex_slabs *params, int32_t points,
                                 ex_slabs *grads) {
  struct made_trainer *made = trainer->self;
  const struct ex_pass pass = {.params = params, .grads = grads, .seed = trainer->seed};
  ex__stepper_backward(made->stepper, &pass, points);
}

static inline void made_note(struct ex_trainer *trainer, double loss) {
  ((struct made_trainer *)trainer->self)->loss = loss;
}

/* to ← from − learning rate × grads. */
static inline void made_descend(const struct ex_trainer *trainer, const ex_slabs *from,
                                const ex_slabs *grads, ex_slabs *to) {
  for (int32_t s = 0; s < to->n; s++)
    for (int64_t i = 0; i < to->size[s]; i++)
      to->data[s][i] = from->data[s][i] - (ex_real)trainer->learning_rate * grads->data[s][i];
}

static inline bool made_names(const ex_net *net, struct ex_update what, int32_t segment) {
  int32_t point = ex__net_point_of(net, segment / EX_N_PARTS);
  uint32_t bit = point >= 0 ? UINT32_C(1) << point : 0;
  if (segment % EX_N_PARTS == EX_PART_HEAD) return (what.heads & bit) != 0;
  if (segment % EX_N_PARTS == EX_PART_GATE) return (what.gates & bit) != 0;
  return what.bodies;
}

static inline void made_update(struct ex_trainer *trainer, const ex_slabs *grads,
                               struct ex_update what) {
  struct made_trainer *made = trainer->self;
  const ex_graph *graph = made->net->graph;
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
    if (info->role == EX_ROLE_BUFFER ||
        !made_names(made->net, what, ex__graph_node(graph, info->node)->segment))
      continue;
    ex_real *w = ex__slabs_tensor(made->net->params, graph, t);
    const ex_real *g = ex__slabs_tensor(grads, graph, t);
    for (int64_t i = 0; i < ex__shape_count(&info->shape); i++)
      w[i] -= (ex_real)trainer->learning_rate * g[i];
  }
  made->n_updates++;
}

static inline void made_look_ahead(struct ex_trainer *trainer, const ex_slabs *grads,
                                   ex_slabs *out) {
  made_descend(trainer, ((struct made_trainer *)trainer->self)->net->params, grads, out);
}

static inline void made_forget(struct ex_trainer *trainer) { (void)trainer; }

static inline void made_open_passes(struct made_trainer *made) {
  struct ex_error err = {0};
  const struct ex_stepper_options options = {.batch = MADE_BATCH,
                                             .threads = 1,
                                             .backend = EX_BACKEND_TWIN,
                                             .flows = &made->flows,
                                             .phase = EX_PHASE_ALL};
  if (made->method->flow != NULL) made->method->flow(made->values, made->net, &made->flows);
  assert_ok(ex__stepper_new(made->net, &options, &made->stepper, &err), &err);
  ex__net_cost(made->net, &made->cost);
  made->call = (struct ex_loss_call){.n = MADE_BATCH,
                                     .n_points = TINY_POINTS,
                                     .n_outputs = TINY_CLASSES,
                                     .output = ex__stepper_output(made->stepper),
                                     .gate = ex__stepper_gate(made->stepper),
                                     .target = made->target,
                                     .phase = EX_PHASE_ALL,
                                     .epoch = 1,
                                     .n_epochs = 4,
                                     .cost = &made->cost,
                                     .scratch = made->scratch,
                                     .doutput = ex__stepper_doutput(made->stepper),
                                     .dgate = ex__stepper_dgate(made->stepper),
                                     .point_loss = made->point_loss};
}

/* `n_steps`: of an epoch of the data. `settings`: name and text by turns, ending
 * with NULL. Without dropout, so that passes at other parameters compare. */
static inline void made_open(struct made_trainer *made, const char *name, int32_t n_steps,
                             const char *const *settings) {
  struct ex_error err = {0};
  struct ex_method_needs needs = {0};
  memset(made, 0, sizeof *made);
  made->method = ex__method_find(name);
  ex__param_defaults(made->method->params, made->values);
  for (; settings != NULL && settings[0] != NULL; settings += 2)
    assert_ok(
        ex__param_set(name, made->method->params, made->values, settings[0], settings[1], &err),
        &err);
  made->net = tiny_net_with(0, true, 3, made->method->equip, made->values);
  made_open_passes(made);
  if (made->method->needs != NULL)
    made->method->needs(made->values, made->net, MADE_BATCH, n_steps, &needs);
  made->state = ex__calloc(needs.state + 1, 1);
  assert_int_equal(ex__slabs_new(made->net->graph, EX_SLABS_PARAMS, &made->trainer.grads), EX_OK);
  for (int32_t i = 0; i < needs.kept; i++)
    assert_int_equal(ex__slabs_new(made->net->graph, EX_SLABS_PARAMS, &made->kept[i]), EX_OK);
  for (int32_t i = 0; i < needs.work; i++)
    assert_int_equal(ex__slabs_new(made->net->graph, EX_SLABS_PARAMS, &made->work[i]), EX_OK);
  ex_slabs *grads = made->trainer.grads;
  made->trainer = (struct ex_trainer){.self = made,
                                      .net = made->net,
                                      .phase = EX_PHASE_ALL,
                                      .epoch = 1,
                                      .n_epochs = 4,
                                      .n_steps = needs.cycle > 0 ? (int32_t)needs.cycle : n_steps,
                                      .seed = 77,
                                      .learning_rate = 0.1,
                                      .n_meta = 40,
                                      .kept = made->kept,
                                      .work = made->work,
                                      .grads = grads,
                                      .scratch = ex__calloc(needs.scratch + 1, 1),
                                      .call = &made->call,
                                      .read = made_read,
                                      .forward = made_forward,
                                      .backward = made_backward,
                                      .note = made_note,
                                      .update = made_update,
                                      .look_ahead = made_look_ahead,
                                      .forget = made_forget};
  if (made->method->start != NULL) made->method->start(made->values, made->net, 1, made->state);
}

static inline void made_step(struct made_trainer *made) {
  made->method->step(made->values, made->state, &made->trainer);
  made->trainer.at++;
  made->trainer.step = (made->trainer.step + 1) % made->trainer.n_steps;
}

static inline void made_close(struct made_trainer *made) {
  for (int32_t i = 0; i < MADE_MAX_SLABS; i++) {
    ex__slabs_free(made->kept[i]);
    ex__slabs_free(made->work[i]);
  }
  ex__slabs_free(made->trainer.grads);
  ex__free(made->trainer.scratch);
  ex__free(made->state);
  ex__stepper_free(made->stepper);
  ex_net_free(made->net);
}

#endif
