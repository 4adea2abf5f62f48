/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of a stepper: what ResNet-18 takes, without running it, and that
 * using memory again in backward changes no bit.
 */
#include "base/json.h"
#include "base/memory.h"
#include "base/random.h"
#include "tests/testing.h"
#include "tests/tiny_net.h"
#include "train/train_step.h"
#include "zoo/zoo.h"

static struct ex_error err;

static ex_stepper *open_stepper(const ex_net *net, struct ex_stepper_options options) {
  ex_stepper *stepper;
  options.layout = EX_LAYOUT_BLOCKED;
  assert_ok(ex__stepper_new(net, &options, &stepper, &err), &err);
  return stepper;
}

static ex_net *build(const char *recipe) {
  const struct ex_shape input = {3, {3, 32, 32}};
  json_t *json;
  ex_net *net;
  assert_ok(ex__json_parse(recipe, strlen(recipe), "network", &json, &err), &err);
  assert_ok(ex__zoo_build(json, &input, 10, 1, &net, &err), &err);
  json_decref(json);
  return net;
}

#ifndef EX_NO_ONEDNN
/* Parameters, gradients, moments and the best epoch's are 179 MB, program and
 * libraries 25 MB: with this, training stays below 500 MB. */
static const int64_t MOST = 290000000;

static void resnet18_fits(void **state) {
  (void)state;
  ex_net *net = build("{\"architecture\": \"resnet18\"}");
  struct ex_stepper_options options = {.batch = 64, .one_backward = true};
  for (options.threads = 1; options.threads <= 2; options.threads++) {
    options.phase = EX_PHASE_ALL;
    options.lender = NULL;
    ex_stepper *stepper = open_stepper(net, options);
    int64_t bytes = ex__stepper_bytes(stepper);
    if (bytes > MOST)
      fail_msg("%lld bytes; must be at most %lld", (long long)bytes, (long long)MOST);
    options.phase = EX_PHASE_NONE; /* looking at select takes none of its own but the input */
    options.lender = stepper;
    ex_stepper *looker = open_stepper(net, options);
    assert_true(ex__stepper_bytes(looker) < 1 << 20);
    ex__stepper_free(looker);
    ex__stepper_free(stepper);
  }
  ex_net_free(net);
}
#endif

/* Gradients of a loss whose seeds are random, after `times` backward passes,
 * each from cleared gradients. */
static ex_slabs *gradients(const ex_net *net, struct ex_stepper_options options, int32_t times) {
  ex_stepper *stepper = open_stepper(net, options);
  ex_slabs *grads;
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_PARAMS, &grads), EX_OK);
  const struct ex_pass pass = {.params = net->params, .grads = grads, .seed = 7};
  struct ex_random random = ex__random_seed(5, 6);
  ex_real *x = ex__stepper_input(stepper);
  int64_t n_in = options.batch * ex__shape_count(&net->input);
  for (int64_t i = 0; i < n_in; i++) x[i] = (ex_real)ex__random_normal(&random);
  ex__stepper_forward(stepper, &pass);
  for (int32_t p = 0; p < net->n_points; p++)
    for (int32_t i = 0; i < options.batch * net->n_outputs; i++)
      ex__stepper_doutput(stepper)[p][i] = (ex_real)ex__random_normal(&random);
  for (int32_t i = 0; i < times; i++) {
    ex__slabs_zero(grads);
    ex__stepper_backward(stepper, &pass, EX_ALL_POINTS);
  }
  ex__stepper_free(stepper);
  return grads;
}

static void check_equal(const ex_net *net, struct ex_stepper_options options) {
  options.one_backward = true;
  ex_slabs *once = gradients(net, options, 1);
  options.one_backward = false;
  ex_slabs *twice = gradients(net, options, 2);
  bool moved = false;
  for (int32_t s = 0; s < once->n; s++) {
    assert_memory_equal(once->data[s], twice->data[s], (size_t)once->size[s] * sizeof(ex_real));
    for (int64_t i = 0; i < once->size[s]; i++) moved |= once->data[s][i] != 0;
  }
  assert_true(moved);
  ex__slabs_free(once);
  ex__slabs_free(twice);
}

static void using_memory_again_keeps_the_bits(void **state) {
  (void)state;
  ex_net *nets[] = {
      tiny_net(0.3, true, 3),
      build(
          "{\"architecture\": \"resnet18\", \"stem\": 16, \"widths\": [16, 32], \"blocks\": [4]}")};
  for (int32_t n = 0; n < 2; n++) {
    for (int32_t backend = EX_BACKEND_FAST; backend <= EX_BACKEND_TWIN; backend++)
      check_equal(nets[n], (struct ex_stepper_options){.batch = 3,
                                                       .threads = 1,
                                                       .backend = (enum ex_backend)backend,
                                                       .phase = EX_PHASE_ALL});
    ex_net_free(nets[n]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
#ifndef EX_NO_ONEDNN
      cmocka_unit_test(resnet18_fits),
#endif
      cmocka_unit_test(using_memory_again_keeps_the_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
