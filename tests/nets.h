/* SPDX-License-Identifier: Apache-2.0
 *
 * Nets for tests, and an evaluation of a whole graph by the operators' twins,
 * node by node, that knows nothing of stages and programs.
 */
#ifndef EX_TESTS_NETS_H
#define EX_TESTS_NETS_H

#include "base/json.h"
#include "base/memory.h"
#include "base/random.h"
#include "graph/op.h"
#include "tests/testing.h"
#include "zoo/zoo.h"

static inline ex_net *nets_build(const char *recipe, const struct ex_shape *input,
                                 int32_t n_outputs) {
  struct ex_error err;
  json_t *json;
  ex_net *net;
  assert_ok(ex__json_parse(recipe, strlen(recipe), "test", &json, &err), &err);
  assert_ok(ex__zoo_build(json, input, n_outputs, 1, &net, &err), &err);
  json_decref(json);
  return net;
}

/* Three stages of which the second has no point; the last head also reads the
 * first head; both points have gates, of which the second reads its own head. */
static inline enum ex_status nets_gated(uint32_t needs, ex_net **out, struct ex_error *err) {
  const struct ex_shape input = {3, {2, 6, 6}};
  ex_builder *b;
  EX_TRY(ex__builder_new(&input, 4, &b, err));
  ex__builder_stage(b);
  int32_t x = ex__builder_input(b);
  x = ex__builder_relu(b, ex__builder_conv(b, "conv", x, 5, 3, 1, 1, true));
  ex__builder_head(b);
  int32_t first = ex__builder_linear(b, "linear", ex__builder_flatten(b, x), 4);
  ex__builder_gate(b);
  int32_t gate = ex__builder_linear(b, "linear", ex__builder_global_pool(b, x), 1);
  ex__builder_point(b, first, gate, 0);
  ex__builder_stage(b);
  x = ex__builder_relu(b, ex__builder_conv(b, "conv", x, 6, 3, 2, 1, true));
  ex__builder_stage(b);
  x = ex__builder_batch_norm(b, "bn", ex__builder_conv(b, "conv", x, 7, 3, 1, 1, false));
  ex__builder_head(b);
  const int32_t both[] = {first, ex__builder_global_pool(b, x)};
  int32_t last = ex__builder_linear(b, "linear", ex__builder_concat(b, both, 2), 4);
  ex__builder_gate(b);
  gate = ex__builder_linear(b, "linear", last, 1);
  ex__builder_point(b, last, gate, needs);
  return ex__builder_finish(b, 3, out, err);
}

static inline void nets_random(ex_real *x, int64_t n, uint64_t seed) {
  struct ex_random random = ex__random_seed(seed, 7);
  for (int64_t i = 0; i < n; i++) x[i] = (ex_real)ex__random_normal(&random);
}

/* Moves batch-norm statistics and shifts away from where they start. */
static inline void nets_shake(ex_net *net) {
  struct ex_random random = ex__random_seed(5, 5);
  for (int32_t i = 0; i < ex__graph_n_tensors(net->graph); i++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, i);
    if (info->role != EX_ROLE_BUFFER && info->role != EX_ROLE_NORM) continue;
    const ex_slabs *slabs = info->role == EX_ROLE_BUFFER ? net->buffers : net->params;
    ex_real *data = ex__slabs_tensor(slabs, net->graph, i);
    for (int64_t k = 0; k < ex__shape_count(&info->shape); k++)
      data[k] += (ex_real)(0.3 * ex__random_uniform(&random));
  }
}

/* Every value of the graph for one sample, plain; each released with ex__free. */
static inline ex_real **nets_evaluate(const ex_net *net, const ex_real *x) {
  int32_t n = ex__graph_n_nodes(net->graph);
  ex_real **value = ex__calloc((size_t)n, sizeof *value);
  for (int32_t id = 0; id < n; id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    int64_t count = ex__shape_count(&node->shape);
    value[id] = ex__calloc((size_t)count, sizeof(ex_real));
    if (node->op->max_in == 0) {
      memcpy(value[id], x, (size_t)count * sizeof *x);
      continue;
    }
    struct ex_op_call call = {.node = node, .batch = 1, .out = value[id]};
    for (int32_t i = 0; i < node->n_in; i++) {
      call.in[i] = value[node->in[i]];
      call.in_shape[i] = &ex__graph_node(net->graph, node->in[i])->shape;
    }
    for (int32_t i = 0; i < node->n_tensors; i++) {
      bool moves = ex__graph_tensor(net->graph, node->tensor[i])->role == EX_ROLE_BUFFER;
      call.tensor[i] =
          ex__slabs_tensor(moves ? net->buffers : net->params, net->graph, node->tensor[i]);
    }
    if (node->op->workspace != NULL)
      call.workspace = ex__calloc(node->op->workspace(node, call.in_shape, 1), 1);
    node->op->forward(&call);
    ex__free(call.workspace);
  }
  return value;
}

static inline void nets_evaluate_free(const ex_net *net, ex_real **value) {
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) ex__free(value[id]);
  ex__free(value);
}

#endif
