/* SPDX-License-Identifier: Apache-2.0
 *
 * A network of two stages, small enough for finite differences, in four
 * segments: body 1 (conv, batch-norm, relu), head 1 (pool, linear), body 2
 * (max-pool of body 1, avg-pool of the input, concat, conv, batch-norm, relu,
 * sum with the conv) and head 2 (sum with body 2's batch-norm, linear). Body
 * 1's value goes to head 1 and to body 2; the batch-norm of body 2 is read
 * inside and outside; its conv is read twice inside.
 */
#ifndef EX_TESTS_SMALL_NETWORK_H
#define EX_TESTS_SMALL_NETWORK_H

#include "base/memory.h"
#include "graph/op.h"
#include "graph/program.h"
#include "tests/testing.h"

enum { SMALL_SEGMENTS = 4, SMALL_NODES = 32, SMALL_BATCH = 3, SMALL_CLASSES = 5 };
enum { SMALL_CHANNELS = 2, SMALL_SIDE = 6 };

struct small {
  ex_graph *graph;
  int32_t input, middle, logits[2]; /* ids */
  ex_slabs *params, *buffers, *grads;
  ex_program *program[SMALL_SEGMENTS];
  ex_run *run[SMALL_SEGMENTS];
  ex_real *value[SMALL_NODES], *gradient[SMALL_NODES]; /* of ports, [batch][…] */
  void *transient;                                     /* shared by all runs */
  struct ex_error err;
};

static inline int32_t small_add(struct small *net, const char *op, const char *name,
                                const void *attr, int32_t a, int32_t b) {
  int32_t value, in[2] = {a, b};
  assert_ok(ex__graph_add(net->graph, op, name, attr, in, b >= 0 ? 2 : 1, &value, &net->err),
            &net->err);
  return value;
}

static inline void small_build(struct small *net) {
  struct ex_conv2d conv = {.channels = 4,
                           .kernel_h = 3,
                           .kernel_w = 3,
                           .stride = 1,
                           .pad_h = 1,
                           .pad_w = 1,
                           .dilation = 1,
                           .groups = 1,
                           .bias = 1};
  struct ex_linear linear = {.features = SMALL_CLASSES, .bias = 1};
  struct ex_pool pool = {.kernel = 2, .stride = 2};
  struct ex_shape shape = {3, {SMALL_CHANNELS, SMALL_SIDE, SMALL_SIDE}};
  assert_int_equal(ex__graph_new(&net->graph), EX_OK);
  assert_ok(ex__graph_add_input(net->graph, &shape, &net->input, &net->err), &net->err);
  int32_t v = small_add(net, "conv2d", "stage1.conv", &conv, net->input, -1);
  v = small_add(net, "batch_norm", "stage1.bn", NULL, v, -1);
  net->middle = small_add(net, "relu", NULL, NULL, v, -1);
  ex__graph_segment(net->graph, 1, 0);
  v = small_add(net, "global_avg_pool", NULL, NULL, net->middle, -1);
  v = small_add(net, "reshape", NULL, NULL, v, -1);
  net->logits[0] = small_add(net, "linear", "head1.fc", &linear, v, -1);
  ex__graph_keep(net->graph, net->logits[0]);
  ex__graph_segment(net->graph, 2, 1);
  int32_t a = small_add(net, "max_pool", NULL, &pool, net->middle, -1);
  int32_t b = small_add(net, "avg_pool", NULL, &pool, net->input, -1);
  v = small_add(net, "concat", NULL, NULL, a, b);
  int32_t conv2 = small_add(net, "conv2d", "stage2.conv", &conv, v, -1);
  int32_t norm2 = small_add(net, "batch_norm", "stage2.bn", NULL, conv2, -1);
  v = small_add(net, "relu", NULL, NULL, norm2, -1);
  v = small_add(net, "add", NULL, NULL, v, conv2);
  ex__graph_segment(net->graph, 3, 1);
  v = small_add(net, "add", NULL, NULL, v, norm2);
  v = small_add(net, "reshape", NULL, NULL, v, -1);
  net->logits[1] = small_add(net, "linear", "head2.fc", &linear, v, -1);
  ex__graph_keep(net->graph, net->logits[1]);
}

static inline int64_t small_count(const struct small *net, int32_t id) {
  return SMALL_BATCH * ex__shape_count(&ex__graph_node(net->graph, id)->shape);
}

static inline void small_compile(struct small *net, const struct ex_program_options *options) {
  size_t most = 0;
  for (int32_t s = 0; s < SMALL_SEGMENTS; s++) {
    assert_ok(ex__program_new(net->graph, s, net->params, net->buffers, options, &net->program[s],
                              &net->err),
              &net->err);
    size_t bytes = (size_t)ex__program_transient_bytes(net->program[s]);
    most = bytes > most ? bytes : most;
  }
  net->transient = ex__calloc(most, 1);
  for (int32_t s = 0; s < SMALL_SEGMENTS; s++)
    assert_ok(ex__run_new(net->program[s], net->transient, &net->run[s], &net->err), &net->err);
}

/* Parameters, buffers and inputs from a seed; gradients zero. */
static inline void small_new(struct small *net, enum ex_mode mode, bool frozen) {
  *net = (struct small){0};
  small_build(net);
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_PARAMS, &net->params), EX_OK);
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_PARAMS, &net->grads), EX_OK);
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_BUFFERS, &net->buffers), EX_OK);
  ex__slabs_init(net->graph, net->params, net->buffers, 11);
  struct ex_random random = ex__random_seed(5, 0);
  for (int32_t t = 0; t < ex__graph_n_tensors(net->graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, t);
    if (info->role != EX_ROLE_NORM) continue; /* scales of 1 and shifts of 0 hide mistakes */
    ex_real *x = ex__slabs_tensor(net->params, net->graph, t);
    for (int64_t i = 0; i < ex__shape_count(&info->shape); i++)
      x[i] += (ex_real)(ex__random_uniform(&random) - 0.5);
  }
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) {
    size_t n = (size_t)small_count(net, id);
    net->value[id] = ex__calloc(n, sizeof(ex_real));
    net->gradient[id] = ex__calloc(n, sizeof(ex_real));
  }
  for (int64_t i = 0; i < small_count(net, net->input); i++)
    net->value[net->input][i] = (ex_real)ex__random_normal(&random);
  struct ex_program_options options = {.batch = SMALL_BATCH,
                                       .mode = mode,
                                       .backend = EX_BACKEND_TWIN,
                                       .threads = 1,
                                       .frozen = frozen};
  small_compile(net, &options);
}

static inline void small_free(struct small *net) {
  for (int32_t s = 0; s < SMALL_SEGMENTS; s++) {
    ex__run_free(net->run[s]);
    ex__program_free(net->program[s]);
  }
  for (int32_t id = 0; id < SMALL_NODES; id++) {
    ex__free(net->value[id]);
    ex__free(net->gradient[id]);
  }
  ex__free(net->transient);
  ex__slabs_free(net->params);
  ex__slabs_free(net->buffers);
  ex__slabs_free(net->grads);
  ex__graph_free(net->graph);
}

static inline void small_forward(struct small *net, const struct ex_pass *pass) {
  for (int32_t s = 0; s < SMALL_SEGMENTS; s++) {
    const ex_real *in[SMALL_NODES];
    ex_real *out[SMALL_NODES];
    for (int32_t i = 0; i < ex__program_n_in(net->program[s]); i++)
      in[i] = net->value[ex__program_in_value(net->program[s], i)];
    for (int32_t i = 0; i < ex__program_n_out(net->program[s]); i++)
      out[i] = net->value[ex__program_out_value(net->program[s], i)];
    ex__run_forward(net->run[s], pass, in, out);
  }
}

/* Stage by stage, last first. Gradients of logits are in net->gradient; a
 * logit of seeded[e] = false has none. */
static inline void small_backward(struct small *net, const struct ex_pass *pass,
                                  const bool seeded[2]) {
  bool arrived[SMALL_NODES] = {false};
  for (int e = 0; e < 2; e++) arrived[net->logits[e]] = seeded[e];
  for (int32_t s = SMALL_SEGMENTS - 1; s >= 0; s--) {
    const ex_program *program = net->program[s];
    const ex_real *in[SMALL_NODES], *dout[SMALL_NODES];
    ex_real *out[SMALL_NODES], *din[SMALL_NODES];
    bool add[SMALL_NODES];
    for (int32_t i = 0; i < ex__program_n_out(program); i++) {
      int32_t id = ex__program_out_value(program, i);
      out[i] = net->value[id];
      dout[i] = arrived[id] ? net->gradient[id] : NULL;
    }
    for (int32_t i = 0; i < ex__program_n_in(program); i++) {
      int32_t id = ex__program_in_value(program, i);
      in[i] = net->value[id];
      din[i] = net->gradient[id];
      add[i] = arrived[id];
      arrived[id] = true;
    }
    ex__run_backward(net->run[s], pass, in, out, dout, din, add);
  }
}

#endif
