/* SPDX-License-Identifier: Apache-2.0
 *
 * Deep feature surgery on networks as they are trained: the fast backend gives
 * the readable one's gradients, and its backward pass is shorter than joint
 * training's, in multiply-adds that were executed.
 */
#include <math.h>

#include "base/json.h"
#include "base/random.h"
#include "tests/testing.h"
#include "train/train_step.h"
#include "zoo/zoo.h"

enum { BATCH = 4, MOST_OUTPUTS = 10 };

static struct ex_error err;

static ex_net *network(const char *text) {
  const struct ex_shape input = {3, {1, 28, 28}};
  json_t *json;
  ex_net *net;
  assert_ok(ex__json_parse(text, strlen(text), "network", &json, &err), &err);
  assert_ok(ex__zoo_build(json, &input, MOST_OUTPUTS, 3, &net, &err), &err);
  json_decref(json);
  return net;
}

struct result {
  ex_slabs *grads;
  int64_t macs; /* of one backward pass */
};

static struct result backward(ex_net *net, const char *method, enum ex_backend backend,
                              enum ex_layout layout) {
  const struct ex_method *m = ex__method_find(method);
  _Alignas(16) char values[EX_MAX_METHOD_VALUES];
  struct ex_flows flows = {0};
  struct result result;
  ex__param_defaults(m->params, values);
  if (m->flow != NULL) m->flow(values, net, &flows);
  const struct ex_stepper_options options = {.batch = BATCH,
                                             .threads = 1,
                                             .backend = backend,
                                             .layout = layout,
                                             .phase = EX_PHASE_ALL,
                                             .flows = &flows};
  ex_stepper *stepper;
  assert_ok(ex__stepper_new(net, &options, &stepper, &err), &err);
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_PARAMS, &result.grads), EX_OK);
  struct ex_random random = ex__random_seed(5, 6);
  ex_real *x = ex__stepper_input(stepper);
  for (int64_t i = 0; i < BATCH * ex__shape_count(&net->input); i++)
    x[i] = (ex_real)ex__random_normal(&random);
  const struct ex_pass pass = {.params = net->params, .grads = result.grads};
  ex__stepper_forward(stepper, &pass);
  for (int32_t p = 0; p < net->n_points; p++)
    for (int32_t i = 0; i < BATCH * net->n_outputs; i++)
      ex__stepper_doutput(stepper)[p][i] = (ex_real)ex__random_normal(&random);
  ex__stepper_backward(stepper, &pass, EX_ALL_POINTS);
  result.macs = ex__stepper_macs(stepper).backward;
  ex__stepper_free(stepper);
  return result;
}

static void compare(const ex_slabs *a, const ex_slabs *b) {
  double size = 0, difference = 0;
  for (int32_t s = 0; s < a->n; s++)
    for (int64_t i = 0; i < a->size[s]; i++) {
      double x = (double)a->data[s][i], y = (double)b->data[s][i];
      size += y * y;
      difference += (x - y) * (x - y);
    }
  assert_true(size > 0);
  if (!(sqrt(difference / size) < 1e-4)) fail_msg("%g apart", sqrt(difference / size));
}

/* `share`: at most this of joint training's multiply-adds. */
static void check(const char *text, enum ex_layout layout, double share) {
  ex_net *net = network(text);
  struct result joint = backward(net, "joint", EX_BACKEND_FAST, layout);
  struct result fast = backward(net, "dfs", EX_BACKEND_FAST, layout);
  struct result twin = backward(net, "dfs", EX_BACKEND_TWIN, layout);
  compare(fast.grads, twin.grads);
  assert_true(twin.macs > 0);
#ifdef EX_NO_ONEDNN
  (void)share; /* the twin computes all and masks */
#else
  double found = (double)fast.macs / (double)joint.macs;
  print_message("%.40s: %.4f of joint's backward multiply-adds\n", text, found);
  assert_true(found < share);
  assert_true(found > 0.5); /* gradients of weights are half, and all computed */
#endif
  ex__slabs_free(joint.grads);
  ex__slabs_free(fast.grads);
  ex__slabs_free(twin.grads);
  ex_net_free(net);
}

static void msdnet_skips_work(void **state) {
  (void)state;
  check("{\"architecture\": \"msdnet\", \"exits\": 4, \"base\": 2, \"step\": 1, \"channels\": 8,"
        " \"growth\": 4, \"head-channels\": 32}",
        EX_LAYOUT_NHWC, 0.97);
}

static void residual_networks_skip_work(void **state) {
  (void)state;
  check("{\"architecture\": \"resnet_exits\"}", EX_LAYOUT_NHWC, 0.97);
}

static void blocked_layouts_skip_work(void **state) {
  (void)state;
  check("{\"architecture\": \"resnet_exits\"}", EX_LAYOUT_BLOCKED, 0.99);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(msdnet_skips_work),
      cmocka_unit_test(residual_networks_skip_work),
      cmocka_unit_test(blocked_layouts_skip_work),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
