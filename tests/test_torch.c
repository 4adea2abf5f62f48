/* SPDX-License-Identifier: Apache-2.0
 *
 * Training as PyTorch trains: the same initial weights, batches and optimiser
 * (SGD, learning rate 0.01, Nesterov momentum, decay of weights alone) here and
 * in tests/torch_train.py, which builds the network from our file's graph.
 * Losses must agree to 1e-5 at the first step and to 1e-3 relative at the
 * twentieth; then PyTorch computes logits with the weights that *we* trained,
 * running statistics included, which must agree to 1e-4.
 *
 * Skipped (status 77) where /usr/bin/python3 has no torch.
 */
#include <math.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/safetensors.h"
#include "tests/testing.h"
#include "train/optim.h"
#include "train/train_step.h"
#include "zoo/zoo.h"

enum { BATCH = 16, STEPS = 20, CLASSES = 10, FEATURES = 28 * 28 };

static struct ex_error err;

struct run {
  ex_net *net;
  ex_slabs *start_params, *grads, *moment;
  double losses[STEPS];
  float *x;   /* [STEPS][BATCH][FEATURES] */
  int32_t *y; /* [STEPS][BATCH] */
};

/* Every class has a pattern of its own, under noise: the loss must fall. */
static void make_batches(struct run *run) {
  struct ex_random random = ex__random_seed(3, 4);
  static float pattern[CLASSES][FEATURES];
  for (int32_t c = 0; c < CLASSES; c++)
    for (int32_t i = 0; i < FEATURES; i++) pattern[c][i] = (float)ex__random_normal(&random);
  for (int32_t n = 0; n < STEPS * BATCH; n++) {
    run->y[n] = (int32_t)ex__random_below(&random, CLASSES);
    for (int32_t i = 0; i < FEATURES; i++)
      run->x[n * FEATURES + i] = pattern[run->y[n]][i] + 0.5f * (float)ex__random_normal(&random);
  }
}

static void open_run(struct run *run, const char *network) {
  const struct ex_shape input = {3, {1, 28, 28}};
  json_t *json;
  assert_ok(ex__json_parse(network, strlen(network), "network", &json, &err), &err);
  assert_ok(ex__zoo_build(json, &input, CLASSES, 11, &run->net, &err), &err);
  json_decref(json);
  const ex_graph *graph = run->net->graph;
  assert_int_equal(ex__slabs_new(graph, EX_SLABS_PARAMS, &run->start_params), EX_OK);
  assert_int_equal(ex__slabs_new(graph, EX_SLABS_PARAMS, &run->grads), EX_OK);
  assert_int_equal(ex__slabs_new(graph, EX_SLABS_PARAMS, &run->moment), EX_OK);
  ex__slabs_copy(run->start_params, run->net->params);
  run->x = ex__alloc((size_t)STEPS * BATCH * FEATURES, sizeof *run->x);
  run->y = ex__alloc((size_t)STEPS * BATCH, sizeof *run->y);
  make_batches(run);
}

static void close_run(struct run *run) {
  ex__slabs_free(run->start_params);
  ex__slabs_free(run->grads);
  ex__slabs_free(run->moment);
  ex__free(run->x);
  ex__free(run->y);
  ex_net_free(run->net);
}

static ex_stepper *new_stepper(const struct run *run, enum ex_backend backend,
                               enum ex_layout layout, enum ex_phase phase) {
  const struct ex_stepper_options options = {
      .batch = BATCH, .threads = 1, .backend = backend, .layout = layout, .phase = phase};
  ex_stepper *stepper;
  assert_ok(ex__stepper_new(run->net, &options, &stepper, &err), &err);
  return stepper;
}

static void feed(const struct run *run, ex_stepper *stepper, int32_t step) {
  memcpy(ex__stepper_input(stepper), run->x + (int64_t)step * BATCH * FEATURES,
         (size_t)BATCH * FEATURES * sizeof *run->x);
}

static double joint_loss(const struct run *run, ex_stepper *stepper, int32_t step) {
  const struct ex_method *joint = ex__method_find("joint");
  _Alignas(16) char values[EX_MAX_METHOD_VALUES];
  ex_real scratch[BATCH * (CLASSES + 2)];
  double point_loss[EX_MAX_POINTS];
  ex__param_defaults(joint->params, values);
  const struct ex_loss_call call = {.n = BATCH,
                                    .n_points = run->net->n_points,
                                    .n_outputs = CLASSES,
                                    .output = ex__stepper_output(stepper),
                                    .target = run->y + step * BATCH,
                                    .n_epochs = 1,
                                    .scratch = scratch,
                                    .doutput = ex__stepper_doutput(stepper),
                                    .point_loss = point_loss};
  return joint->loss(values, NULL, &call);
}

static void train(struct run *run, enum ex_backend backend, enum ex_layout layout) {
  ex_stepper *stepper = new_stepper(run, backend, layout, EX_PHASE_ALL);
  struct ex_train_options options;
  bool *trained = ex__alloc((size_t)ex__graph_n_tensors(run->net->graph), sizeof *trained);
  for (int32_t i = 0; i < ex__graph_n_tensors(run->net->graph); i++) trained[i] = true;
  ex_optim *optim;
  ex__param_defaults(ex__train_params, &options); /* Nesterov, 0.9, 0.0005 */
  assert_ok(ex__optim_new(run->net, trained, &options, 1, &optim, &err), &err);
  for (int32_t step = 0; step < STEPS; step++) {
    const struct ex_pass pass = {
        .params = run->net->params, .buffers = run->net->buffers, .grads = run->grads};
    feed(run, stepper, step);
    ex__stepper_forward(stepper, &pass);
    run->losses[step] = joint_loss(run, stepper, step);
    ex__slabs_zero(run->grads);
    ex__stepper_backward(stepper, &pass, EX_ALL_POINTS);
    ex__optim_step(optim, (struct ex_pace){0.01, 0.9}, step + 1, 1, ex_update_everything,
                   run->net->params, run->grads, &run->moment);
  }
  ex__optim_free(optim);
  ex__free(trained);
  ex__stepper_free(stepper);
}

/* Every tensor under PREFIX/name. */
static void add_tensors(ex_safetensors_writer *writer, const struct run *run, const char *prefix,
                        const ex_slabs *params) {
  const ex_graph *graph = run->net->graph;
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
    const ex_slabs *slabs = info->role == EX_ROLE_BUFFER ? run->net->buffers : params;
    int64_t dim[EX_MAX_RANK];
    char name[EX_NAME_SIZE + 16];
    for (int32_t i = 0; i < info->shape.rank; i++) dim[i] = info->shape.dim[i];
    snprintf(name, sizeof name, "%s/%s", prefix, info->name);
    assert_ok(ex__safetensors_add(writer, name, EX_DTYPE_F32, info->shape.rank, dim,
                                  ex__slabs_tensor(slabs, graph, t), &err),
              &err);
  }
}

static void add_outputs(ex_safetensors_writer *writer, const struct run *run,
                        const ex_stepper *stepper) {
  json_t *outputs = json_array(), *graph = ex__graph_to_json(run->net->graph);
  const int64_t dim[] = {BATCH, CLASSES};
  for (int32_t p = 0; p < run->net->n_points; p++) {
    char name[32];
    json_array_append_new(outputs, json_integer(run->net->points[p].output));
    snprintf(name, sizeof name, "logits%d", (int)p);
    assert_ok(ex__safetensors_add(writer, name, EX_DTYPE_F32, 2, dim,
                                  ex__stepper_output(stepper)[p], &err),
              &err);
  }
  json_t *net = json_pack("{s:o, s:o}", "graph", graph, "outputs", outputs);
  char *text;
  assert_int_equal(ex__json_dump(net, false, &text), EX_OK);
  assert_ok(ex__safetensors_add_metadata(writer, "net", text, &err), &err);
  ex__free(text);
  json_decref(net);
}

/* What torch_train.py reads; logits are those of the trained weights on the
 * first batch, with running statistics. */
static void write_case(struct run *run, enum ex_backend backend, enum ex_layout layout) {
  ex_safetensors_writer *writer = ex__safetensors_writer_new();
  ex_stepper *stepper = new_stepper(run, backend, layout, EX_PHASE_NONE);
  const struct ex_pass pass = {.params = run->net->params};
  feed(run, stepper, 0);
  ex__stepper_forward(stepper, &pass);
  const int64_t x_dim[] = {STEPS, BATCH, 1, 28, 28};
  assert_ok(ex__safetensors_add(writer, "x", EX_DTYPE_F32, 5, x_dim, run->x, &err), &err);
  assert_ok(ex__safetensors_add(writer, "y", EX_DTYPE_I32, 2, x_dim, run->y, &err), &err);
  assert_ok(ex__safetensors_add(writer, "losses", EX_DTYPE_F64, 1, x_dim, run->losses, &err), &err);
  add_tensors(writer, run, "start", run->start_params);
  add_tensors(writer, run, "trained", run->net->params);
  add_outputs(writer, run, stepper);
  assert_ok(ex__safetensors_save(writer, "case.safetensors", &err), &err);
  ex__safetensors_writer_free(writer);
  ex__stepper_free(stepper);
}

static void compare(const char *network, enum ex_backend backend, enum ex_layout layout) {
  struct run run;
  open_run(&run, network);
  train(&run, backend, layout);
  assert_true(run.losses[STEPS - 1] < 0.97 * run.losses[0]); /* there is something to compare */
  write_case(&run, backend, layout);
  close_run(&run);
  assert_int_equal(
      system("OMP_NUM_THREADS=1 /usr/bin/python3 \"$SRC/tests/torch_train.py\" case.safetensors"),
      0);
}

static const char lenet[] = "{\"architecture\": \"branchynet_lenet\"}";
static const char resnet[] =
    "{\"architecture\": \"resnet_exits\", \"stem\": 8, \"widths\": [8, 16, 16]}";

static void twins_train_as_pytorch(void **state) {
  (void)state;
  compare(lenet, EX_BACKEND_TWIN, EX_LAYOUT_NHWC);
  compare(resnet, EX_BACKEND_TWIN, EX_LAYOUT_NHWC);
}

static void fast_backend_trains_as_pytorch(void **state) {
  (void)state;
  compare(lenet, EX_BACKEND_FAST, EX_LAYOUT_NHWC);
  compare(resnet, EX_BACKEND_FAST, EX_LAYOUT_NHWC);
  compare(resnet, EX_BACKEND_FAST, EX_LAYOUT_BLOCKED);
}

int main(void) {
  if (system("/usr/bin/python3 -c 'import torch, numpy' 2>/dev/null") != 0) {
    printf("skipped: /usr/bin/python3 has no torch (apt install python3-torch)\n");
    return 77;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(twins_train_as_pytorch),
      cmocka_unit_test(fast_backend_trains_as_pytorch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
