/* SPDX-License-Identifier: Apache-2.0
 *
 * Optimisers and schedules against numbers that PyTorch 1.13 computed, in
 * double (torch.optim.SGD, AdamW, OneCycleLR, CosineAnnealingLR, MultiStepLR).
 */
#include <math.h>

#include "net/builder.h"
#include "tests/testing.h"
#include "train/optim.h"

enum { N = 4, STEPS = 3 };
static const double start[N] = {0.5, -1.25, 2.0, 0.125};
static const double gradient[STEPS][N] = {
    {0.25, -0.5, 1.0, -2.0}, {-0.75, 0.125, 0.5, 1.5}, {1.0, 1.0, -0.25, 0.0}};
static struct ex_error err;

struct bench {
  ex_net *net;
  ex_slabs *grads, *moments[EX_MAX_MOMENTS];
  struct ex_train_options options;
};

/* One linear layer of 4 weights, without a bias. */
static void open_bench(struct bench *bench) {
  const struct ex_shape input = {1, {N}};
  const struct ex_linear linear = {.features = 1, .bias = 0};
  ex_builder *b;
  memset(bench, 0, sizeof *bench);
  ex__param_defaults(ex__train_params, &bench->options);
  bench->options.weight_decay = 0;
  bench->options.nesterov = 0;
  bench->options.learning_rate = 0.1;
  assert_ok(ex__builder_new(&input, 1, &b, &err), &err);
  ex__builder_stage(b);
  int32_t x = ex__builder_relu(b, ex__builder_input(b));
  ex__builder_head(b);
  ex__builder_point(b, ex__builder_op(b, "linear", "fc", &linear, &x, 1), -1, 0);
  assert_ok(ex__builder_finish(b, 1, &bench->net, &err), &err);
  const ex_graph *graph = bench->net->graph;
  assert_int_equal(ex__slabs_new(graph, EX_SLABS_PARAMS, &bench->grads), EX_OK);
  for (int32_t i = 0; i < EX_MAX_MOMENTS; i++)
    assert_int_equal(ex__slabs_new(graph, EX_SLABS_PARAMS, &bench->moments[i]), EX_OK);
  assert_true(bench->net->params->size[0] >= N);
  for (int32_t i = 0; i < N; i++) bench->net->params->data[0][i] = (ex_real)start[i];
}

static void close_bench(struct bench *bench) {
  ex__slabs_free(bench->grads);
  for (int32_t i = 0; i < EX_MAX_MOMENTS; i++) ex__slabs_free(bench->moments[i]);
  ex_net_free(bench->net);
}

static void run_bench(struct bench *bench, bool trained) {
  ex_optim *optim;
  assert_ok(ex__optim_new(bench->net, &trained, &bench->options, 1, &optim, &err), &err);
  double momentum =
      bench->options.optimiser == EX_ADAMW ? bench->options.beta1 : bench->options.momentum;
  for (int32_t t = 0; t < STEPS; t++) {
    for (int32_t i = 0; i < N; i++) bench->grads->data[0][i] = (ex_real)gradient[t][i];
    ex__optim_step(optim, (struct ex_pace){bench->options.learning_rate, momentum}, t + 1, 1,
                   ex_update_everything, bench->net->params, bench->grads, bench->moments);
  }
  ex__optim_free(optim);
}

static void expect(struct bench *bench, double a, double b, double c, double d) {
  const double expected[N] = {a, b, c, d};
  run_bench(bench, true);
  for (int32_t i = 0; i < N; i++)
    if (!(fabs(bench->net->params->data[0][i] - expected[i]) < 1e-6))
      fail_msg("weight %d is %.9f; PyTorch has %.9f", i, (double)bench->net->params->data[0][i],
               expected[i]);
  close_bench(bench);
}

static void sgd_is_that_of_pytorch(void **state) {
  (void)state;
  struct bench bench;
  open_bench(&bench);
  bench.options.momentum = 0;
  expect(&bench, 0.450000000, -1.312500000, 1.875000000, 0.175000000);
  open_bench(&bench);
  expect(&bench, 0.474750000, -1.238250000, 1.659000000, 0.382000000);
  open_bench(&bench);
  bench.options.weight_decay = 0.01;
  expect(&bench, 0.471967375, -1.231420949, 1.648219498, 0.380689550);
  open_bench(&bench);
  bench.options.weight_decay = 0.01;
  bench.options.nesterov = 1;
  expect(&bench, 0.423243979, -1.292350558, 1.553239416, 0.403778884);
}

static void adamw_is_that_of_pytorch(void **state) {
  (void)state;
  struct bench bench;
  open_bench(&bench);
  bench.options.optimiser = EX_ADAMW;
  bench.options.learning_rate = 0.01;
  bench.options.weight_decay = 0.1;
  expect(&bench, 0.490814444, -1.235601998, 1.969076900, 0.136188227);
  open_bench(&bench);
  bench.options.optimiser = EX_ADAMW;
  bench.options.learning_rate = 0.01;
  bench.options.beta1 = 0.8;
  bench.options.beta2 = 0.99;
  bench.options.epsilon = 1e-3;
  expect(&bench, 0.492379915, -1.240729494, 1.975967140, 0.135537046);
}

static void frozen_tensors_stay(void **state) {
  (void)state;
  struct bench bench;
  open_bench(&bench);
  bench.options.weight_decay = 0.1;
  run_bench(&bench, false);
  for (int32_t i = 0; i < N; i++) {
    assert_true(bench.net->params->data[0][i] == (ex_real)start[i]);
    assert_true(bench.moments[0]->data[0][i] == 0);
  }
  close_bench(&bench);
}

/* A frozen gradient may be anything: it does not count. */
static void norm_is_of_what_is_trained(void **state) {
  (void)state;
  struct bench bench;
  open_bench(&bench);
  for (int trained = 0; trained < 2; trained++) {
    ex_optim *optim;
    const bool mask = trained != 0;
    assert_ok(ex__optim_new(bench.net, &mask, &bench.options, 1, &optim, &err), &err);
    for (int32_t i = 0; i < N; i++) bench.grads->data[0][i] = (ex_real)gradient[0][i];
    assert_true(fabs(ex__optim_norm(optim, bench.grads, ex_update_everything) -
                     (trained ? 2.3048861143 : 0)) < 1e-6);
    bench.grads->data[0][2] = NAN;
    assert_int_equal(isnan(ex__optim_norm(optim, bench.grads, ex_update_everything)), trained);
    ex__optim_free(optim);
  }
  close_bench(&bench);
}

static void expect_paces(const struct ex_train_options *options, const double rates[10],
                         const double *momenta) {
  for (int32_t i = 0; i < 10; i++) {
    struct ex_pace pace = ex__schedule_pace(options, i, 10);
    if (!(fabs(pace.learning_rate - rates[i]) < 1e-9))
      fail_msg("step %d: rate %.10g; PyTorch has %.10g", i, pace.learning_rate, rates[i]);
    assert_true(fabs(pace.momentum - (momenta != NULL ? momenta[i] : 0.9)) < 1e-9);
  }
}

static void schedules_are_those_of_pytorch(void **state) {
  (void)state;
  static const double constant[10] = {0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4};
  static const double one_cycle[10] = {0.016,         0.208,        0.4,          0.3801938528,
                                       0.3246982616,  0.2445048088, 0.1554967912, 0.07530333842,
                                       0.01980774719, 1.6e-06};
  static const double cycled[10] = {0.95,         0.9,          0.85,         0.8549515566,
                                    0.8688255099, 0.8888739533, 0.9111260467, 0.9311744901,
                                    0.9450484434, 0.95};
  static const double cosine[10] = {0.4,           0.3902113033,  0.3618033989, 0.3175570505,
                                    0.2618033989,  0.2,           0.1381966011, 0.08244294954,
                                    0.03819660113, 0.009788696741};
  static const double step[10] = {0.4, 0.4, 0.4, 0.4, 0.4, 0.04, 0.04, 0.04, 0.004, 0.004};
  struct ex_train_options options;
  ex__param_defaults(ex__train_params, &options);
  options.learning_rate = 0.4;
  options.schedule = EX_SCHEDULE_CONSTANT;
  expect_paces(&options, constant, NULL);
  options.schedule = EX_SCHEDULE_ONE_CYCLE;
  expect_paces(&options, one_cycle, NULL);
  options.cycle_momentum = 1;
  expect_paces(&options, one_cycle, cycled);
  options.schedule = EX_SCHEDULE_COSINE;
  expect_paces(&options, cosine, NULL);
  options.schedule = EX_SCHEDULE_STEP;
  options.milestones = (struct ex_list){2, {0.5, 0.8}};
  expect_paces(&options, step, NULL);
}

static void short_cycles_are_finite(void **state) {
  (void)state;
  struct ex_train_options options;
  ex__param_defaults(ex__train_params, &options);
  for (int64_t n = 1; n < 8; n++)
    for (int32_t w = 0; w <= 4; w++)
      for (int64_t i = 0; i < n; i++) {
        options.warmup = w / 4.0;
        double rate = ex__schedule_pace(&options, i, n).learning_rate;
        assert_true(rate > 0 && rate <= options.learning_rate);
      }
}

static void the_table_keeps_its_rules(void **state) {
  (void)state;
  assert_ok(ex__param_check_table("train", ex__train_params, &err), &err);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sgd_is_that_of_pytorch),
      cmocka_unit_test(adamw_is_that_of_pytorch),
      cmocka_unit_test(frozen_tensors_stay),
      cmocka_unit_test(norm_is_of_what_is_trained),
      cmocka_unit_test(schedules_are_those_of_pytorch),
      cmocka_unit_test(short_cycles_are_finite),
      cmocka_unit_test(the_table_keeps_its_rules),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
