/* SPDX-License-Identifier: Apache-2.0
 *
 * Deep feature surgery: who trains which channels of a chain's feature maps.
 * (That its flows are the gradients of frozen copies is tested for every method
 * in double_flow.c; that what is stopped is not computed in test_method_dfs.c.)
 */
#include <math.h>

#include "base/random.h"
#include "tests/testing.h"
#include "tests/tiny_net.h"
#include "train/train_step.h"

enum { BATCH = 4, POINTS = 3, CHANNELS = 6 };

static struct ex_error err;

static ex_net *chain(void) {
  const struct ex_shape input = {3, {TINY_CHANNELS, TINY_SIZE, TINY_SIZE}};
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&input, TINY_CLASSES, &b, &err), &err);
  for (int32_t p = 0, x = -1; p < POINTS; p++) {
    ex__builder_stage(b);
    if (p == 0) x = ex__builder_input(b);
    x = tiny_block(b, x, CHANNELS, 1);
    tiny_head(b, x, -1);
  }
  assert_ok(ex__builder_finish(b, 3, &net, &err), &err);
  return net;
}

struct pass {
  ex_slabs *grads;
  ex_real output[POINTS][BATCH * TINY_CLASSES];
};

/* Gradients of given seeds at `points`; flows of dfs, or none where beta is NULL. */
static void run(struct pass *p, ex_net *net, const char *beta, const char *head_ref,
                int32_t points) {
  const struct ex_method *method = ex__method_find("dfs");
  _Alignas(16) char values[EX_MAX_METHOD_VALUES];
  struct ex_flows flows = {0};
  ex__param_defaults(method->params, values);
  if (beta != NULL) {
    assert_ok(ex__param_set("dfs", method->params, values, "beta", beta, &err), &err);
    assert_ok(ex__param_set("dfs", method->params, values, "head-ref", head_ref, &err), &err);
    method->flow(values, net, &flows);
  }
  const struct ex_stepper_options options = {.batch = BATCH,
                                             .threads = 1,
                                             .backend = EX_BACKEND_TWIN,
                                             .phase = EX_PHASE_ALL,
                                             .flows = &flows};
  ex_stepper *stepper;
  assert_ok(ex__stepper_new(net, &options, &stepper, &err), &err);
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_PARAMS, &p->grads), EX_OK);
  struct ex_random random = ex__random_seed(5, 6);
  ex_real *x = ex__stepper_input(stepper);
  for (int64_t i = 0; i < BATCH * ex__shape_count(&net->input); i++)
    x[i] = ex__random_normal(&random);
  const struct ex_pass pass = {.params = net->params, .grads = p->grads};
  ex__stepper_forward(stepper, &pass);
  for (int32_t e = 0; e < POINTS; e++) {
    memcpy(p->output[e], ex__stepper_output(stepper)[e], sizeof p->output[e]);
    for (int32_t i = 0; i < BATCH * TINY_CLASSES; i++)
      ex__stepper_doutput(stepper)[e][i] = ex__random_normal(&random);
  }
  ex__stepper_backward(stepper, &pass, points);
  ex__stepper_free(stepper);
}

static void free_pass(struct pass *p) { ex__slabs_free(p->grads); }

static const ex_real *tensor(const ex_net *net, const ex_slabs *slabs, const char *name,
                             int64_t *count) {
  *count = 0;
  for (int32_t t = 0; t < ex__graph_n_tensors(net->graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, t);
    if (strcmp(info->name, name) != 0) continue;
    *count = ex__shape_count(&info->shape);
    return ex__slabs_tensor(slabs, net->graph, t);
  }
  fail_msg("no tensor is called %s", name);
  return NULL;
}

/* Largest gradient in the rows of the layer that makes f of `stage`. */
static double rows(const ex_net *net, const struct pass *p, int32_t stage, int32_t from,
                   int32_t to) {
  char name[32];
  int64_t count;
  double most = 0;
  snprintf(name, sizeof name, "stage%d.conv.weight", (int)stage);
  const ex_real *g = tensor(net, p->grads, name, &count);
  for (int64_t i = count / CHANNELS * from; i < count / CHANNELS * to; i++)
    most = fmax(most, fabs(g[i]));
  return most;
}

/* beta = 0.5 of 6 channels: 3 are shared. */
static void sources_reach_different_rows(void **state) {
  (void)state;
  ex_net *net = chain();
  for (int32_t k = 0; k < POINTS - 1; k++) {
    struct pass own, deeper, full;
    run(&own, net, "0.5", "detach", 1 << k);
    run(&deeper, net, "0.5", "detach", ((1 << POINTS) - 1) & ~((2 << k) - 1));
    run(&full, net, "0.5", "full", 1 << k);
    assert_true(rows(net, &own, k, 0, 3) == 0);
    assert_true(rows(net, &own, k, 3, CHANNELS) > 1e-4);
    assert_true(rows(net, &deeper, k, 0, 3) > 1e-4);
    assert_true(rows(net, &deeper, k, 3, CHANNELS) == 0);
    assert_true(rows(net, &full, k, 0, 3) > 1e-4);
    for (int32_t j = 0; j < k; j++) { /* further down only the shared rows: both come through g */
      assert_true(rows(net, &own, j, 0, 3) > 1e-6);
      assert_true(rows(net, &own, j, 3, CHANNELS) == 0);
    }
    free_pass(&own);
    free_pass(&deeper);
    free_pass(&full);
  }
  ex_net_free(net);
}

/* Weights that read a stopped feature learn all the same, and just as much. */
static void readers_of_stopped_features_learn(void **state) {
  (void)state;
  ex_net *net = chain();
  struct pass plain, dfs;
  int64_t count;
  run(&plain, net, NULL, NULL, EX_ALL_POINTS);
  run(&dfs, net, "0.5", "detach", EX_ALL_POINTS);
  assert_memory_equal(plain.output, dfs.output, sizeof plain.output); /* forward is untouched */
  static const char *const same[] = {"head0.fc.weight", "head1.fc.weight", "head2.fc.weight",
                                     "head2.fc.bias", "stage2.conv.weight"};
  for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
    const ex_real *a = tensor(net, plain.grads, same[i], &count);
    const ex_real *b = tensor(net, dfs.grads, same[i], &count);
    assert_memory_equal(a, b, (size_t)count * sizeof *a);
    double most = 0;
    for (int64_t k = 0; k < count; k++) most = fmax(most, fabs(b[k]));
    assert_true(most > 1e-4);
  }
  const ex_real *a = tensor(net, plain.grads, "stage0.conv.weight", &count);
  const ex_real *b = tensor(net, dfs.grads, "stage0.conv.weight", &count);
  assert_memory_not_equal(a, b, (size_t)count * sizeof *a);
  free_pass(&plain);
  free_pass(&dfs);
  ex_net_free(net);
}

/* beta = 1: exits train their heads, the last one trains the trunk. beta = 0:
 * each stage belongs to its own exit. */
static void ends_of_the_range(void **state) {
  (void)state;
  ex_net *net = chain();
  struct pass last, one, zero, own;
  run(&last, net, NULL, NULL, 1 << (POINTS - 1));
  run(&one, net, "1", "detach", EX_ALL_POINTS);
  run(&zero, net, "0", "detach", EX_ALL_POINTS);
  for (int32_t s = 0; s < POINTS; s++) {
    char name[32];
    int64_t count;
    snprintf(name, sizeof name, "stage%d.conv.weight", (int)s);
    const ex_real *a = tensor(net, last.grads, name, &count);
    const ex_real *b = tensor(net, one.grads, name, &count);
    assert_memory_equal(a, b, (size_t)count * sizeof *a);
    run(&own, net, "0", "detach", 1 << s);
    a = tensor(net, own.grads, name, &count);
    b = tensor(net, zero.grads, name, &count);
    assert_memory_equal(a, b, (size_t)count * sizeof *a);
    assert_true(rows(net, &own, s, 0, CHANNELS) > 1e-4);
    for (int32_t j = 0; j < s; j++) assert_true(rows(net, &own, j, 0, CHANNELS) == 0);
    free_pass(&own);
  }
  free_pass(&last);
  free_pass(&one);
  free_pass(&zero);
  ex_net_free(net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sources_reach_different_rows),
      cmocka_unit_test(readers_of_stopped_features_learn),
      cmocka_unit_test(ends_of_the_range),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
