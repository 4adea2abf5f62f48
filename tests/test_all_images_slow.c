/* SPDX-License-Identifier: Apache-2.0
 *
 * Promise 2 of the design, on all 10,000 test images of Fashion-MNIST: the
 * same answer, exit and bits in batches of 1, 7 and 64 with 1 and 2 threads,
 * and the same decisions as the replay of a trace; skipped work is skipped by
 * the programs' own counters. The weights are random: bits do not care.
 */
#include "base/memory.h"
#include "calibrate/quota.h"
#include "engine/engine.h"
#include "tests/all_images.h"
#include "zoo/zoo.h"

enum { N_OUTPUTS = 10, N_POINTS = 4 };

static struct ex_error err;

struct all {
  ex_data *data;
  ex_model *model;
  ex_policy policy;
  ex_trace *trace;
  int32_t n;
  float *x;                          /* [n][features], raw */
  struct ex_result *first, *results; /* [n] */
  float *first_logits, *logits;      /* [n][N_OUTPUTS] */
};

static void make_model(struct all *all) {
  json_t *network = json_pack("{s:s}", "architecture", "resnet_exits");
  ex_net *net;
  assert_ok(ex__zoo_build(network, &(struct ex_shape){3, {1, 28, 28}}, N_OUTPUTS, 5, &net, &err),
            &err);
  assert_ok(ex__model_new(net, ex__data_info(all->data)->preprocess, NULL, &all->model, &err),
            &err);
  json_decref(network);
}

/* A quarter of the images leaves at each exit. */
static void set_policy(struct all *all) {
  static const double quota[N_POINTS] = {0.25, 0.25, 0.25, 0.25};
  all->trace = all_images_record(all->model, all->data);
  assert_ok(ex__policy_init(&all->policy, "max-probability", N_POINTS, N_OUTPUTS, &err), &err);
  assert_ok(ex__quota_thresholds(&all->policy, all->trace, quota, &err), &err);
}

static int set_up(void **state) {
  static struct all all;
  all.data = all_images_open();
  all.n = N_ALL_IMAGES;
  make_model(&all);
  set_policy(&all);
  int64_t features = ex__data_info(all.data)->features;
  all.x = ex__calloc((size_t)(all.n * features), sizeof *all.x);
  all.first = ex__calloc((size_t)all.n, sizeof *all.first);
  all.results = ex__calloc((size_t)all.n, sizeof *all.results);
  all.first_logits = ex__calloc((size_t)all.n * N_OUTPUTS, sizeof *all.logits);
  all.logits = ex__calloc((size_t)all.n * N_OUTPUTS, sizeof *all.logits);
  for (int32_t i = 0; i < all.n; i++)
    ex__data_raw(all.data, EX_SPLIT_TEST, i, all.x + i * features);
  *state = &all;
  return 0;
}

static int tear_down(void **state) {
  struct all *all = *state;
  ex__free(all->x);
  ex__free(all->first);
  ex__free(all->results);
  ex__free(all->first_logits);
  ex__free(all->logits);
  ex__trace_free(all->trace);
  ex_model_free(all->model);
  ex__data_free(all->data);
  return 0;
}

/* Runs all images; *executed: multiply-adds by the programs' counters. */
static void run_all(struct all *all, int32_t batch, int32_t threads, struct ex_result *results,
                    float *logits, int64_t *executed) {
  int64_t features = ex__data_info(all->data)->features;
  const struct ex_engine_options options = {
      .size = sizeof options, .threads = threads, .max_batch = batch};
  ex_engine *engine;
  assert_ok(ex__engine_new(all->model, &all->policy, &options, &engine, &err), &err);
  *executed = 0;
  for (int32_t i = 0; i < all->n; i += batch) {
    int32_t n = all->n - i < batch ? all->n - i : batch;
    for (int32_t k = i; k < i + n; k++)
      results[k] = (struct ex_result){.logits = logits + (int64_t)k * N_OUTPUTS};
    assert_int_equal(ex_engine_run_many(engine, all->x + i * features, n, results + i), EX_OK);
    *executed += ex__engine_ledger(engine)->executed;
  }
  ex_engine_free(engine);
}

static void same_bits_in_any_company(void **state) {
  struct all *all = *state;
  int64_t executed, first_executed;
  run_all(all, 1, 1, all->first, all->first_logits, &first_executed);
  static const int32_t company[][2] = {{7, 1}, {64, 1}, {1, 2}, {7, 2}, {64, 2}};
  for (size_t c = 0; c < sizeof company / sizeof *company; c++) {
    run_all(all, company[c][0], company[c][1], all->results, all->logits, &executed);
    assert_true(executed == first_executed);
    assert_memory_equal(all->logits, all->first_logits,
                        (size_t)all->n * N_OUTPUTS * sizeof *all->logits);
    for (int32_t i = 0; i < all->n; i++) {
      assert_int_equal(all->results[i].exit, all->first[i].exit);
      assert_int_equal(all->results[i].label, all->first[i].label);
      assert_true(all->results[i].macs == all->first[i].macs);
      assert_memory_equal(&all->results[i].confidence, &all->first[i].confidence, sizeof(double));
    }
  }
}

static void replay_agrees_and_skipped_is_skipped(void **state) {
  struct all *all = *state;
  int64_t executed, charged = 0, full = 0;
  run_all(all, 64, 2, all->results, all->logits, &executed);
  struct ex_outcome *outcome = ex__calloc((size_t)all->n, sizeof *outcome);
  ex__policy_replay(&all->policy, all->trace, NULL, outcome);
  int32_t left[N_POINTS] = {0};
  for (int32_t i = 0; i < all->n; i++) {
    assert_int_equal(outcome[i].answer, all->results[i].exit);
    assert_true(outcome[i].macs == all->results[i].macs);
    charged += outcome[i].macs;
    full += all->trace->cost.macs[N_POINTS - 1];
    left[outcome[i].point]++;
  }
  assert_true(executed == charged);
  assert_true(executed < full * 8 / 10); /* a quarter leaves at each exit */
  for (int32_t p = 0; p < N_POINTS; p++) assert_true(left[p] >= all->n / 5);
  ex__free(outcome);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_bits_in_any_company),
      cmocka_unit_test(replay_agrees_and_skipped_is_skipped),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
