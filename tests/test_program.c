/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs on the readable backend: a network run segment by segment is the
 * same as its operators chained by hand over the whole graph, forward and
 * backward; and what the options promise.
 */
#include <math.h>

#include "base/json.h"
#include "base/text.h"
#include "graph/plan.h"
#include "tests/small_network.h"

/* ---- the chain by hand: each operator's twin, over the whole graph ------------- */

struct chain {
  struct ex_op_call call[SMALL_NODES];
  ex_real *gradient[SMALL_NODES];
};

static void chain_forward(struct chain *chain, const struct small *net, ex_slabs *buffers) {
  *chain = (struct chain){0};
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) {
    struct ex_op_call *call = &chain->call[id];
    call->node = ex__graph_node(net->graph, id);
    call->batch = SMALL_BATCH;
    call->training = true;
    call->out = ex__calloc((size_t)small_count(net, id), sizeof(ex_real));
    chain->gradient[id] = ex__calloc((size_t)small_count(net, id), sizeof(ex_real));
    for (int32_t i = 0; i < call->node->n_in; i++) {
      call->in[i] = chain->call[call->node->in[i]].out;
      call->in_shape[i] = &ex__graph_node(net->graph, call->node->in[i])->shape;
    }
    for (int32_t t = 0; t < call->node->n_tensors; t++) {
      int32_t index = call->node->tensor[t];
      bool is_buffer = ex__graph_tensor(net->graph, index)->role == EX_ROLE_BUFFER;
      call->tensor[t] = ex__slabs_tensor(is_buffer ? buffers : net->params, net->graph, index);
    }
    if (call->node->op->workspace != NULL)
      call->workspace =
          ex__calloc(call->node->op->workspace(call->node, call->in_shape, SMALL_BATCH), 1);
    if (id == net->input)
      memcpy(call->out, net->value[id], (size_t)small_count(net, id) * sizeof(ex_real));
    else
      call->node->op->forward(call);
  }
}

/* The gradients of the logits are net's. */
static void chain_backward(struct chain *chain, const struct small *net, ex_slabs *grads,
                           const bool seeded[2]) {
  for (int e = 0; e < 2; e++)
    if (seeded[e])
      memcpy(chain->gradient[net->logits[e]], net->gradient[net->logits[e]],
             (size_t)small_count(net, net->logits[e]) * sizeof(ex_real));
  for (int32_t id = ex__graph_n_nodes(net->graph) - 1; id > 0; id--) {
    struct ex_op_call *call = &chain->call[id];
    call->dout = chain->gradient[id];
    for (int32_t i = 0; i < call->node->n_in; i++)
      call->din[i] = chain->gradient[call->node->in[i]];
    for (int32_t t = 0; t < call->node->n_tensors; t++)
      if (ex__graph_tensor(net->graph, call->node->tensor[t])->role != EX_ROLE_BUFFER)
        call->dtensor[t] = ex__slabs_tensor(grads, net->graph, call->node->tensor[t]);
    call->node->op->backward(call);
  }
}

static void chain_free(struct chain *chain) {
  for (int32_t id = 0; id < SMALL_NODES; id++) {
    ex__free(chain->call[id].out);
    ex__free(chain->call[id].workspace);
    ex__free(chain->gradient[id]);
  }
}

static double assert_near(const ex_real *a, const ex_real *b, int64_t n) {
  double size = 0;
  for (int64_t i = 0; i < n; i++) {
    if (!(fabs(a[i] - b[i]) <= 1e-5 * (1 + fabs(b[i]))))
      fail_msg("element %d: %g and %g", (int)i, (double)a[i], (double)b[i]);
    size += fabs(b[i]);
  }
  return size;
}

static double slabs_size(const ex_slabs *slabs, int32_t slab) {
  double size = 0;
  for (int64_t i = 0; i < slabs->size[slab]; i++) size += fabs(slabs->data[slab][i]);
  return size;
}

static void seed_logits(struct small *net) {
  struct ex_random random = ex__random_seed(21, 0);
  for (int e = 0; e < 2; e++)
    for (int64_t i = 0; i < small_count(net, net->logits[e]); i++)
      net->gradient[net->logits[e]][i] = (ex_real)ex__random_normal(&random);
}

/* ---- training --------------------------------------------------------------------- */

static void check_against_chain(const bool seeded[2]) {
  struct small net;
  struct chain chain;
  ex_slabs *buffers, *grads;
  small_new(&net, EX_MODE_TRAIN, false);
  ex__slabs_new(net.graph, EX_SLABS_BUFFERS, &buffers);
  ex__slabs_new(net.graph, EX_SLABS_PARAMS, &grads);
  ex__slabs_copy(buffers, net.buffers);
  struct ex_pass pass = {.params = net.params, .buffers = net.buffers, .grads = net.grads};
  small_forward(&net, &pass);
  chain_forward(&chain, &net, buffers);
  for (int e = 0; e < 2; e++)
    assert_memory_equal(net.value[net.logits[e]], chain.call[net.logits[e]].out,
                        (size_t)small_count(&net, net.logits[e]) * sizeof(ex_real));
  for (int32_t s = 0; s < 2; s++)
    assert_memory_equal(net.buffers->data[s], buffers->data[s],
                        (size_t)buffers->size[s] * sizeof(ex_real));
  seed_logits(&net);
  small_backward(&net, &pass, seeded);
  chain_backward(&chain, &net, grads, seeded);
  for (int32_t s = 0; s < 2; s++) assert_near(net.grads->data[s], grads->data[s], grads->size[s]);
  assert_true(slabs_size(grads, 0) > 1 && (slabs_size(grads, 1) > 1) == seeded[1]);
  int32_t ids[2] = {net.input, net.middle};
  for (int i = 0; i < 2; i++)
    assert_true(
        assert_near(net.gradient[ids[i]], chain.gradient[ids[i]], small_count(&net, ids[i])) > 0.1);
  chain_free(&chain);
  ex__slabs_free(buffers);
  ex__slabs_free(grads);
  small_free(&net);
}

static void by_segments_equals_by_hand(void **state) {
  (void)state;
  check_against_chain((const bool[2]){true, true});
}

static void an_exit_without_gradient_is_skipped(void **state) {
  (void)state;
  check_against_chain((const bool[2]){true, false});
  check_against_chain((const bool[2]){false, true});
}

static void gradients_add_and_statistics_may_stay(void **state) {
  (void)state;
  struct small net;
  small_new(&net, EX_MODE_TRAIN, false);
  ex_slabs *before, *once;
  ex__slabs_new(net.graph, EX_SLABS_BUFFERS, &before);
  ex__slabs_new(net.graph, EX_SLABS_PARAMS, &once);
  ex__slabs_copy(before, net.buffers);
  struct ex_pass pass = {.params = net.params, .grads = net.grads};
  const bool seeded[2] = {true, true};
  small_forward(&net, &pass);
  seed_logits(&net);
  small_backward(&net, &pass, seeded);
  ex__slabs_copy(once, net.grads);
  small_backward(&net, &pass, seeded);
  for (int32_t s = 0; s < 2; s++) {
    assert_memory_equal(before->data[s], net.buffers->data[s],
                        (size_t)before->size[s] * sizeof(ex_real));
    for (int64_t i = 0; i < once->size[s]; i++) once->data[s][i] *= 2;
    assert_true(assert_near(net.grads->data[s], once->data[s], once->size[s]) > 1);
  }
  /* Without slabs for gradients the parameters get none, and the inputs still do. */
  pass.grads = NULL;
  ex_real first = net.gradient[net.input][7];
  net.gradient[net.input][7] = 99;
  small_backward(&net, &pass, seeded);
  assert_true(first != 0 && fabs(net.gradient[net.input][7] - first) < 1e-5);
  ex__slabs_free(before);
  ex__slabs_free(once);
  small_free(&net);
}

/* Body 2 reads body 1 and the input: din per port, added or not, or unwanted. */
static void din_is_written_added_or_unwanted(void **state) {
  (void)state;
  struct small net;
  small_new(&net, EX_MODE_TRAIN, false);
  struct ex_pass pass = {.params = net.params, .grads = net.grads};
  small_forward(&net, &pass);
  ex_program *body = net.program[2];
  assert_true(ex__program_n_in(body) == 2 && ex__program_n_out(body) == 2);
  int32_t ids[2] = {ex__program_in_value(body, 0), ex__program_in_value(body, 1)};
  assert_true(ids[0] == net.input && ids[1] == net.middle);
  int64_t n[2] = {ex__program_in_size(body, 0), ex__program_in_size(body, 1)};
  assert_true(n[0] == small_count(&net, net.input) && n[1] == small_count(&net, net.middle));
  const ex_real *in[2] = {net.value[ids[0]], net.value[ids[1]]};
  ex_real *out[2] = {net.value[ex__program_out_value(body, 0)],
                     net.value[ex__program_out_value(body, 1)]};
  ex_real *dout = net.gradient[ex__program_out_value(body, 1)];
  for (int64_t i = 0; i < ex__program_out_size(body, 1); i++) dout[i] = (ex_real)(i % 7 - 3);
  const ex_real *douts[2] = {NULL, dout}, *none[2] = {NULL, NULL};
  ex_real *plain[2], *added[2];
  for (int p = 0; p < 2; p++) {
    plain[p] = ex__calloc((size_t)n[p], sizeof(ex_real));
    added[p] = ex__calloc((size_t)n[p], sizeof(ex_real));
    for (int64_t i = 0; i < n[p]; i++) plain[p][i] = added[p][i] = 3;
  }
  ex__run_backward(net.run[2], &pass, in, out, douts, plain, (const bool[2]){false, false});
  ex__run_backward(net.run[2], &pass, in, out, douts, added, (const bool[2]){false, true});
  for (int64_t i = 0; i < n[1]; i++) assert_true(fabs(added[1][i] - plain[1][i] - 3) < 1e-4);
  assert_memory_equal(plain[0], added[0], (size_t)n[0] * sizeof(ex_real));
  ex_real *only_second[2] = {NULL, plain[1]};
  ex__run_backward(net.run[2], &pass, in, out, douts, only_second, NULL);
  for (int64_t i = 0; i < n[1]; i++) assert_true(fabs(added[1][i] - plain[1][i] - 3) < 1e-4);
  ex__run_backward(net.run[2], &pass, in, out, none, plain, NULL);
  for (int64_t i = 0; i < n[1]; i++) assert_true(plain[1][i] == 0);
  for (int p = 0; p < 2; p++) {
    ex__free(plain[p]);
    ex__free(added[p]);
  }
  small_free(&net);
}

/* The first body, compiled as one whose inputs nobody differentiates. */
static void input_gradient_may_be_ruled_out(void **state) {
  (void)state;
  struct small net;
  small_new(&net, EX_MODE_TRAIN, false);
  struct ex_program_options options = {.batch = SMALL_BATCH,
                                       .mode = EX_MODE_TRAIN,
                                       .backend = EX_BACKEND_TWIN,
                                       .threads = 1,
                                       .no_input_gradient = true};
  ex__run_free(net.run[0]);
  ex__program_free(net.program[0]);
  assert_ok(
      ex__program_new(net.graph, 0, net.params, net.buffers, &options, &net.program[0], &net.err),
      &net.err);
  assert_ok(ex__run_new(net.program[0], NULL, &net.run[0], &net.err), &net.err);
  struct ex_pass pass = {.params = net.params, .grads = net.grads};
  small_forward(&net, &pass);
  for (int64_t i = 0; i < small_count(&net, net.middle); i++)
    net.gradient[net.middle][i] = (ex_real)(i % 5 - 2);
  net.gradient[net.input][3] = 42;
  const ex_real *in[1] = {net.value[net.input]}, *dout[1] = {net.gradient[net.middle]};
  ex_real *out[1] = {net.value[net.middle]}, *din[1] = {net.gradient[net.input]};
  ex__run_backward(net.run[0], &pass, in, out, dout, din, NULL);
  assert_true(net.gradient[net.input][3] == 42 && slabs_size(net.grads, 0) > 1);
  ex__slabs_zero(net.grads);
  ex__run_backward(net.run[0], &pass, in, out, dout, NULL, NULL);
  assert_true(slabs_size(net.grads, 0) > 1);
  small_free(&net);
}

static void frozen_runs_as_inference(void **state) {
  (void)state;
  struct small frozen, infer;
  small_new(&frozen, EX_MODE_TRAIN, true);
  small_new(&infer, EX_MODE_INFER, false);
  struct ex_pass pass = {.params = frozen.params, .buffers = frozen.buffers, .grads = frozen.grads};
  small_forward(&frozen, &pass);
  small_forward(&infer, NULL);
  for (int e = 0; e < 2; e++)
    assert_memory_equal(frozen.value[frozen.logits[e]], infer.value[infer.logits[e]],
                        (size_t)small_count(&infer, infer.logits[e]) * sizeof(ex_real));
  seed_logits(&frozen);
  frozen.gradient[frozen.input][0] = 5;
  small_backward(&frozen, &pass, (const bool[2]){true, true});
  assert_true(slabs_size(frozen.grads, 0) + slabs_size(frozen.grads, 1) == 0);
  assert_true(frozen.gradient[frozen.input][0] == 0);
  for (int32_t s = 0; s < 2; s++)
    assert_memory_equal(frozen.buffers->data[s], infer.buffers->data[s],
                        (size_t)infer.buffers->size[s] * sizeof(ex_real));
  small_free(&frozen);
  small_free(&infer);
}

static void dropout_follows_the_seed(void **state) {
  (void)state;
  enum { N = 64 };
  struct ex_error err;
  ex_graph *graph;
  ex__graph_new(&graph);
  struct ex_shape shape = {1, {N}};
  struct ex_dropout attr = {.rate = 0.5};
  int32_t x, v;
  assert_ok(ex__graph_add_input(graph, &shape, &x, &err), &err);
  assert_ok(ex__graph_add(graph, "dropout", NULL, &attr, &x, 1, &v, &err), &err);
  ex__graph_keep(graph, v);
  struct ex_program_options options = {
      .batch = 1, .mode = EX_MODE_TRAIN, .backend = EX_BACKEND_TWIN, .threads = 1};
  ex_program *program;
  ex_run *run;
  assert_ok(ex__program_new(graph, 0, NULL, NULL, &options, &program, &err), &err);
  assert_ok(ex__run_new(program, NULL, &run, &err), &err);
  ex_real in[N], out[3][N], din[N], dout[N];
  for (int i = 0; i < N; i++) in[i] = dout[i] = 1;
  const uint64_t seeds[3] = {1, 2, 1};
  struct ex_pass pass = {0};
  for (int k = 0; k < 3; k++) {
    pass.seed = seeds[k];
    ex__run_forward(run, &pass, (const ex_real *[1]){in}, (ex_real *[1]){out[k]});
  }
  assert_memory_equal(out[0], out[2], sizeof out[0]);
  assert_memory_not_equal(out[0], out[1], sizeof out[0]);
  ex__run_backward(run, &pass, (const ex_real *[1]){in}, (ex_real *[1]){out[2]},
                   (const ex_real *[1]){dout}, (ex_real *[1]){din}, NULL);
  assert_memory_equal(din, out[2], sizeof din);
  ex__run_free(run);
  ex__program_free(program);
  ex__graph_free(graph);
}

/* ---- inference ---------------------------------------------------------------------- */

static void inference_packs_its_weights(void **state) {
  (void)state;
  struct small net;
  small_new(&net, EX_MODE_INFER, false);
  int64_t n = small_count(&net, net.logits[1]);
  ex_real first[SMALL_BATCH * SMALL_CLASSES];
  small_forward(&net, NULL);
  memcpy(first, net.value[net.logits[1]], (size_t)n * sizeof(ex_real));
  for (int64_t i = 0; i < net.params->size[1]; i++) net.params->data[1][i] *= 2;
  small_forward(&net, NULL);
  assert_memory_equal(first, net.value[net.logits[1]], (size_t)n * sizeof(ex_real));
  for (int32_t s = 2; s < 4; s++) ex__program_repack(net.program[s], net.params, net.buffers);
  small_forward(&net, NULL);
  assert_memory_not_equal(first, net.value[net.logits[1]], (size_t)n * sizeof(ex_real));
  small_free(&net);
}

static void multiply_adds_are_counted_as_they_run(void **state) {
  (void)state;
  struct small net;
  struct ex_text text = {0};
  small_new(&net, EX_MODE_INFER, false);
  int64_t macs = ex__graph_segment_macs(net.graph, 0) * SMALL_BATCH;
  assert_true(macs == (int64_t)SMALL_BATCH * 4 * 36 * 2 * 9);
  assert_int_equal(ex__program_macs(net.program[0]), macs);
  assert_int_equal(ex__run_executed_macs(net.run[0]), 0);
  small_forward(&net, NULL);
  small_forward(&net, NULL);
  assert_int_equal(ex__run_executed_macs(net.run[0]), 2 * macs);
  ex__program_describe(net.program[0], &text);
  assert_non_null(strstr(text.data, "stage1.conv"));
  ex__text_clear(&text);
  small_free(&net);
}

static void refusals(void **state) {
  (void)state;
  struct small net;
  ex_program *program;
  ex_graph *graph;
  int32_t x;
  small_new(&net, EX_MODE_INFER, false);
  const struct ex_program_options good = {
      .batch = 1, .mode = EX_MODE_INFER, .backend = EX_BACKEND_TWIN, .threads = 1};
  struct ex_program_options bad = good;
#define REFUSED(of, segment, options, text)                                               \
  assert_refused(                                                                         \
      ex__program_new(of, segment, net.params, net.buffers, options, &program, &net.err), \
      EX_EINVAL, &net.err, text)
  REFUSED(net.graph, 4, &good, "segment = 4; must be in [0, 3]");
  REFUSED(net.graph, -1, &good, "segment = -1");
  bad.batch = 0;
  REFUSED(net.graph, 0, &bad, "batch = 0");
  bad = good;
  bad.threads = 0;
  REFUSED(net.graph, 0, &bad, "threads = 0");
  ex__graph_new(&graph);
  struct ex_shape shape = {1, {4}};
  assert_ok(ex__graph_add_input(graph, &shape, &x, &net.err), &net.err);
  assert_ok(ex__graph_add(graph, "relu", NULL, NULL, &x, 1, &x, &net.err), &net.err);
  REFUSED(graph, 0, &good, "segment 0: makes nothing");
  assert_null(program);
  ex__graph_free(graph);
  small_free(&net);
}

/* ---- plans and layouts ---------------------------------------------------------------- */

static void plan_round_trip(void **state) {
  (void)state;
  static const char key[] = "conv fwd 16x32x28x28 k3 s1 b8 t1 | cpu | oneDNN 2.6.3";
  struct ex_error err;
  ex_plan *plan, *back;
  assert_int_equal(ex__plan_new(&plan), EX_OK);
  assert_null(ex__plan_find(plan, key));
  assert_int_equal(ex__plan_put(plan, key, "direct", 120), EX_OK);
  assert_int_equal(ex__plan_put(plan, key, "winograd", 81), EX_OK);
  assert_int_equal(ex__plan_put(plan, "other", "nhwc", 0), EX_OK);
  assert_int_equal(ex__plan_put(plan, "", "nhwc", 0), EX_EINVAL);
  assert_int_equal(ex__plan_put(plan, "a\nb", "nhwc", 0), EX_EINVAL);
  assert_int_equal(ex__plan_put(plan, "a", "nhwc", -1), EX_EINVAL);
  json_t *json = ex__plan_to_json(plan);
  assert_ok(ex__plan_from_json(json, &back, &err), &err);
  assert_int_equal(ex__plan_count(back), 2);
  assert_string_equal(ex__plan_find(back, key), "winograd");
  json_t *again = ex__plan_to_json(back);
  assert_true(json_equal(json, again));
  json_decref(json);
  json_decref(again);
  ex__plan_free(plan);
  ex__plan_free(back);
}

static void hostile_plans(void **state) {
  (void)state;
  static const char *const bad[] = {
      "[]",
      "{\"a\": 1}",
      "{\"a\": {\"choice\": \"x\"}}",
      "{\"a\": {\"choice\": 1, \"ns\": 1}}",
      "{\"a\": {\"choice\": \"x\", \"ns\": -1}}",
      "{\"a\": {\"choice\": \"x\", \"ns\": 1.5}}",
      "{\"a\": {\"choice\": \"\", \"ns\": 1}}",
      "{\"a\": {\"choice\": \"x\", \"ns\": 1, \"run\": \"y\"}}",
      "{\"\": {\"choice\": \"x\", \"ns\": 1}}",
      "{\"\\u0001\": {\"choice\": \"x\", \"ns\": 1}}",
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct ex_error err;
    json_t *json;
    ex_plan *plan;
    assert_ok(ex__json_parse(bad[i], strlen(bad[i]), "test", &json, &err), &err);
    assert_int_equal(ex__plan_from_json(json, &plan, &err), EX_EFORMAT);
    assert_null(plan);
    json_decref(json);
  }
}

static enum ex_layout layout_of(int32_t in_channels, int32_t channels) {
  struct ex_error err;
  struct ex_conv2d conv = {
      .channels = channels, .kernel_h = 3, .kernel_w = 3, .stride = 1, .dilation = 1, .groups = 1};
  struct ex_shape shape = {3, {in_channels, 8, 8}};
  ex_graph *graph;
  int32_t x;
  ex__graph_new(&graph);
  assert_ok(ex__graph_add_input(graph, &shape, &x, &err), &err);
  assert_ok(ex__graph_add(graph, "conv2d", "a", &conv, &x, 1, &x, &err), &err);
  assert_ok(ex__graph_add(graph, "conv2d", "b", &conv, &x, 1, &x, &err), &err);
  enum ex_layout layout = ex__layout_choose(graph, 8, 1, NULL);
  ex__graph_free(graph);
  return layout;
}

static void layout_by_rule(void **state) {
  (void)state;
  assert_int_equal(layout_of(3, 8), EX_LAYOUT_NHWC);
  assert_int_equal(layout_of(3, 64), EX_LAYOUT_BLOCKED); /* the first is narrow, but little work */
  assert_int_equal(layout_of(64, 8), EX_LAYOUT_NHWC);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(by_segments_equals_by_hand),
      cmocka_unit_test(an_exit_without_gradient_is_skipped),
      cmocka_unit_test(gradients_add_and_statistics_may_stay),
      cmocka_unit_test(din_is_written_added_or_unwanted),
      cmocka_unit_test(input_gradient_may_be_ruled_out),
      cmocka_unit_test(frozen_runs_as_inference),
      cmocka_unit_test(dropout_follows_the_seed),
      cmocka_unit_test(inference_packs_its_weights),
      cmocka_unit_test(multiply_adds_are_counted_as_they_run),
      cmocka_unit_test(refusals),
      cmocka_unit_test(layout_by_rule),
      cmocka_unit_test(plan_round_trip),
      cmocka_unit_test(hostile_plans),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
