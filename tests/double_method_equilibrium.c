/* SPDX-License-Identifier: Apache-2.0
 *
 * Gradient equilibrium: along a chain every stage gets the mean of the
 * gradients of the exits behind it. (That its flows are what they say is tested
 * for every method in double_flow.c.)
 */
#include <math.h>

#include "base/random.h"
#include "tests/testing.h"
#include "tests/tiny_net.h"
#include "train/train_step.h"

enum { BATCH = 4, POINTS = 4 };

static struct ex_error err;

static ex_net *chain(void) {
  const struct ex_shape input = {3, {TINY_CHANNELS, TINY_SIZE, TINY_SIZE}};
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&input, TINY_CLASSES, &b, &err), &err);
  for (int32_t p = 0, x = -1; p < POINTS; p++) {
    ex__builder_stage(b);
    if (p == 0) x = ex__builder_input(b);
    x = tiny_block(b, x, 3, 1);
    tiny_head(b, x, -1);
  }
  assert_ok(ex__builder_finish(b, 3, &net, &err), &err);
  return net;
}

/* Gradients of the joint loss of random targets, under flows or without. */
static ex_slabs *gradient(ex_net *net, const struct ex_flows *flows, ex_real *output) {
  const struct ex_stepper_options options = {.batch = BATCH,
                                             .threads = 1,
                                             .backend = EX_BACKEND_TWIN,
                                             .phase = EX_PHASE_ALL,
                                             .flows = flows};
  ex_stepper *stepper;
  ex_slabs *grads;
  assert_ok(ex__stepper_new(net, &options, &stepper, &err), &err);
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_PARAMS, &grads), EX_OK);
  struct ex_random random = ex__random_seed(5, 6);
  ex_real *x = ex__stepper_input(stepper);
  for (int64_t i = 0; i < BATCH * ex__shape_count(&net->input); i++)
    x[i] = ex__random_normal(&random);
  const struct ex_pass pass = {.params = net->params, .grads = grads};
  ex__stepper_forward(stepper, &pass);
  for (int32_t p = 0; p < POINTS; p++) {
    memcpy(output + p * BATCH * TINY_CLASSES, ex__stepper_output(stepper)[p],
           BATCH * TINY_CLASSES * sizeof *output);
    for (int32_t i = 0; i < BATCH * TINY_CLASSES; i++)
      ex__stepper_doutput(stepper)[p][i] = ex__random_normal(&random);
  }
  ex__stepper_backward(stepper, &pass, EX_ALL_POINTS);
  ex__stepper_free(stepper);
  return grads;
}

static void every_stage_gets_the_mean(void **state) {
  (void)state;
  static ex_real plain_output[POINTS * BATCH * TINY_CLASSES], output[POINTS * BATCH * TINY_CLASSES];
  const struct ex_method *method = ex__method_find("equilibrium");
  ex_net *net = chain();
  struct ex_flows flows = {0};
  method->flow(NULL, net, &flows);
  assert_int_equal(flows.n, 2 * POINTS - 1);
  ex_slabs *plain = gradient(net, NULL, plain_output), *even = gradient(net, &flows, output);
  assert_memory_equal(plain_output, output, sizeof output); /* forward is untouched */
  for (int32_t t = 0; t < ex__graph_n_tensors(net->graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, t);
    if (info->role == EX_ROLE_BUFFER) continue;
    bool head = strncmp(info->name, "head", 4) == 0;
    double behind = head ? 1 : POINTS - (info->name[5] - '0'), most = 0;
    const ex_real *a = ex__slabs_tensor(plain, net->graph, t);
    const ex_real *b = ex__slabs_tensor(even, net->graph, t);
    for (int64_t i = 0; i < ex__shape_count(&info->shape); i++) {
      if (fabs(a[i] / behind - b[i]) > 1e-12)
        fail_msg("%s: %.15g, not %.15g / %g", info->name, b[i], a[i], behind);
      most = fmax(most, fabs(b[i]));
    }
    assert_true(most > 1e-6);
  }
  ex__slabs_free(plain);
  ex__slabs_free(even);
  ex_net_free(net);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_stage_gets_the_mean)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
