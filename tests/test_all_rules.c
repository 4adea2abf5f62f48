/* SPDX-License-Identifier: Apache-2.0
 *
 * Every rule that can run live, on all 10,000 test images of Fashion-MNIST: in
 * batches of 1 and 64 each image leaves where the replay of the trace says, for
 * what it says, and executes that and no more. Rules are fitted on the trace
 * itself and set so that many leave early; the weights are random, and gates
 * are there for the rules that need them.
 */
#include "base/memory.h"
#include "calibrate/quota.h"
#include "engine/engine.h"
#include "net/builder.h"
#include "tests/all_images.h"

enum { SIDE = 28, FEATURES = SIDE * SIDE, N_OUTPUTS = 10, N_POINTS = 4, N = N_ALL_IMAGES };

static struct ex_error err;

struct all {
  ex_data *data;
  ex_model *model;
  ex_trace *trace;
  float *x;                 /* [N][FEATURES], raw */
  struct ex_result *result; /* [N] */
  struct ex_outcome *outcome;
};

/* Small, for there are many rules: four stages of one convolution. */
static void make_model(struct all *all) {
  static const int32_t channels[N_POINTS] = {4, 4, 6, 8}, stride[N_POINTS] = {2, 2, 1, 2};
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&(struct ex_shape){3, {1, SIDE, SIDE}}, N_OUTPUTS, &b, &err), &err);
  ex__builder_init(b, EX_INIT_HE_FAN_IN);
  int32_t x = ex__builder_input(b);
  for (int32_t p = 0; p < N_POINTS; p++) {
    ex__builder_stage(b);
    x = ex__builder_conv(b, "conv", x, channels[p], 3, stride[p], 1, false);
    x = ex__builder_relu(b, ex__builder_batch_norm(b, "norm", x));
    ex__builder_head(b);
    int32_t head = ex__builder_linear(b, "fc", ex__builder_flatten(b, x), N_OUTPUTS);
    int32_t gate = -1;
    if (p < N_POINTS - 1) {
      ex__builder_gate(b);
      gate = ex__builder_linear(b, "fc", ex__builder_global_pool(b, x), 1);
    }
    ex__builder_point(b, head, gate, 0);
  }
  assert_ok(ex__builder_finish(b, 7, &net, &err), &err);
  assert_ok(ex__model_new(net, ex__data_info(all->data)->preprocess, NULL, &all->model, &err),
            &err);
}

static int set_up(void **state) {
  static struct all all;
  all.data = all_images_open();
  make_model(&all);
  all.trace = all_images_record(all.model, all.data);
  all.x = ex__calloc((size_t)N * FEATURES, sizeof *all.x);
  all.result = ex__calloc(N, sizeof *all.result);
  all.outcome = ex__calloc(N, sizeof *all.outcome);
  for (int32_t i = 0; i < N; i++)
    ex__data_raw(all.data, EX_SPLIT_TEST, i, all.x + (size_t)i * FEATURES);
  *state = &all;
  return 0;
}

static int tear_down(void **state) {
  struct all *all = *state;
  ex__free(all->x);
  ex__free(all->result);
  ex__free(all->outcome);
  ex__trace_free(all->trace);
  ex_model_free(all->model);
  ex__data_free(all->data);
  return 0;
}

static double early_share(const struct all *all, const ex_policy *policy) {
  int32_t early = 0;
  ex__policy_replay(policy, all->trace, NULL, all->outcome);
  for (int32_t i = 0; i < N; i++) early += all->outcome[i].point < N_POINTS - 1;
  return (double)early / N;
}

/* A quarter leaves at each exit where the rule has thresholds; else the first
 * candidate, from the careful end, by which a fifth leaves early. */
static void set_policy(const struct all *all, const struct ex_policy_class *class,
                       ex_policy *policy) {
  static const double quota[N_POINTS] = {0.25, 0.25, 0.25, 0.25};
  const struct ex_policy_fit job = {all->trace, 0, 1, false};
  assert_ok(ex__policy_init(policy, class->name, N_POINTS, N_OUTPUTS, &err), &err);
  if (class->fit != NULL) assert_ok(class->fit(policy->values, &job, &err), &err);
  if (class->score != NULL)
    assert_ok(ex__quota_thresholds(policy, all->trace, quota, &err), &err);
  else if (class->candidate != NULL)
    for (int32_t i = 0; class->candidate(policy->values, N_POINTS, i); i++) {
      if (class->fit_each && class->fit != NULL && class->fit(policy->values, &job, &err) != EX_OK)
        break;
      if (early_share(all, policy) >= 0.2) break;
    }
}

static void runs_as_replayed(struct all *all, const ex_policy *policy, int32_t batch,
                             int32_t threads) {
  const struct ex_engine_options options = {
      .size = sizeof options, .threads = threads, .max_batch = batch};
  ex_engine *engine;
  assert_ok(ex__engine_new(all->model, policy, &options, &engine, &err), &err);
  int64_t executed = 0, charged = 0;
  memset(all->result, 0, N * sizeof *all->result);
  for (int32_t i = 0; i < N; i += batch) {
    int32_t n = N - i < batch ? N - i : batch;
    assert_int_equal(ex_engine_run_many(engine, all->x + (size_t)i * FEATURES, n, all->result + i),
                     EX_OK);
    executed += ex__engine_ledger(engine)->executed;
  }
  ex_engine_free(engine);
  for (int32_t i = 0; i < N; i++) {
    assert_int_equal(all->result[i].exit, all->outcome[i].answer);
    assert_true(all->result[i].macs == all->outcome[i].macs);
    charged += all->outcome[i].macs;
  }
  assert_true(executed == charged);
}

static void every_rule_runs_as_replayed(void **state) {
  struct all *all = *state;
  int32_t mixed = 0, rules = 0;
  const struct ex_policy_class *class;
  for (int32_t r = 0; (class = ex__policy_at(r)) != NULL; r++) {
    if (class->needs & EX_POLICY_NEEDS_TARGET) continue; /* the oracle: replayed only */
    ex_policy policy;
    set_policy(all, class, &policy);
    double early = early_share(all, &policy);
    print_message("%s: %.1f %% leave early\n", class->name, 100 * early);
    runs_as_replayed(all, &policy, 1, 1);
    runs_as_replayed(all, &policy, 64, 2);
    rules++;
    mixed += early >= 0.05 && early < 1;
  }
  assert_true(mixed >= 13 && mixed >= rules - 1); /* `fixed` leaves at one exit */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_rule_runs_as_replayed)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
