/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks that are no rows, as C and as ONNX: whole networks that were joined, of which a jump runs
 * one and not those before it, and one whose third exit does without the second stage.
 */
#include "tests/export_onnx_bench.h"
#include "tests/joined_fixture.h"

enum { N_INPUTS = 300 };

static ex_model *joined(void) {
  ex_model *members[3];
  for (int32_t k = 0; k < 3; k++) members[k] = joined_member(k);
  ex_model *model = joined_model(members, 3);
  for (int32_t k = 0; k < 3; k++) ex_model_free(members[k]);
  return model;
}

static struct bench bench_new(ex_model *model, bench_run *run) {
  return bench_of(model, export_inputs(model, N_INPUTS), run);
}

static void check_logits(const float *got, const float *expected) {
  float most = 0;
  for (int32_t c = 0; c < N_CLASSES; c++) most = fmaxf(most, fabsf(expected[c]));
  for (int32_t c = 0; c < N_CLASSES; c++) assert_true(fabsf(got[c] - expected[c]) <= 1e-4f * most);
}

/* From one exit straight to a later one, and on to the last: the answers, and in `runs`,
 * if it is not NULL, which bodies must have run at each exit by way of no other. */
static void check_jumps(const struct bench *bench, const uint32_t *runs) {
  float logits[N_CLASSES];
  int32_t last = bench->model->net->n_points - 1;
  ex_policy policy = export_policy(bench->model, "fixed");
  const struct ex_export_c job = {.model = bench->model, .policy = &policy, .name = "net"};
  struct exported exported = export_compile(&job);
  float *work = export_work(export_macro(&exported, "NET_WORK"));
  ex_engine *engine = export_engine(bench->model, NULL);
  for (int32_t from = 0; from <= last; from++)
    for (int32_t to = from; to <= last; to++) {
      const void *x = bench_input_of(bench->model, &bench->in, from + to);
      const int32_t way[] = {from, to, last};
      struct exported_net net;
      ex_engine_begin(engine, bench->in.values + (from + to) * bench->in.features);
      exported.begin(&net, work, x);
      for (int32_t i = 0; i < 3; i++) {
        struct ex_result expected = {.logits = logits};
        struct exported_result got;
        assert_int_equal(ex_engine_advance(engine, way[i], &expected), EX_OK);
        assert_int_equal(exported.advance(&net, way[i], &got), 0);
        check_logits(got.logits, logits);
        if (i == 0 && runs != NULL) assert_int_equal(net.bodies, runs[from]);
      }
    }
  ex_engine_free(engine);
  free(work);
  export_close(&exported);
}

static void what_is_jumped_over_does_not_run(void **state) {
  (void)state;
  struct bench bench = bench_new(joined(), bench_run_c);
  uint32_t runs[EX_MAX_POINTS];
  for (int32_t p = 0; p < bench.model->net->n_points; p++)
    runs[p] = ex__net_bodies(bench.model->net, p);
  assert_int_equal(runs[2] & 1, 0); /* a network by itself */
  check_jumps(&bench, runs);
  bench_free(&bench);
}

static double confidence_of(const struct bench *bench, double share) {
  double sure[N_INPUTS];
  for (int32_t i = 0; i < N_INPUTS; i++) sure[i] = bench->trace->answer[i].max_probability;
  qsort(sure, N_INPUTS, sizeof *sure, export_compare);
  int32_t at = (int32_t)(share * N_INPUTS);
  return (sure[at] + sure[at + 1]) / 2;
}

/* The first network answers a third of the inputs, sends a third to the second, and the
 * rest past it to the third; the second answers where the first said the same. */
static void choose_by_hand(const struct bench *bench) {
  struct ex_error err = {0};
  ex_policy policy = export_policy(bench->model, "adaptive");
  char gates[256];
  int32_t left[EX_MAX_POINTS];
  snprintf(gates, sizeof gates, "%.17g,1,0,0,0,0,0,0,0;%.17g,1,0,0,0,0,0,0,0;0.01,0,0,0,0,0,0,1,-1",
           confidence_of(bench, 0.66), confidence_of(bench, 0.33));
  assert_ok(ex__policy_set(&policy, "gates", gates, &err), &err);
  bench_usage(&policy, bench->trace, left);
  assert_true(left[0] > 80 && left[1] > 5 && left[2] > 80);
  assert_int_equal(bench->run(bench, &policy), 0);
}

static void choose_among_networks(bench_run *run) {
  struct bench bench = bench_new(joined(), run);
  assert_int_equal(bench.model->net->n_points, 3);
  choose_by_hand(&bench);
  bench_check_rule(&bench, "adaptive", "", 2);
  bench_check_rule(&bench, "predictive", "engine=learned measure=confidence ", 2);
  bench_check_rule(&bench, "max-probability", "fallback=true ", 2);
  bench_free(&bench);
}

static void rules_choose_among_networks(void **state) {
  (void)state;
  choose_among_networks(bench_run_c);
  choose_among_networks(bench_run_onnx);
}

static void make_a_detour(bench_run *run) {
  struct bench bench = bench_new(export_model_of(detour_net()), run);
  bench_check_rule(&bench, "adaptive", "successors=any ", 2);
  bench_check_rule(&bench, "jei", "", 2);
  bench_free(&bench);
}

/* Who goes by way of the third exit runs the second body there, not later. */
static void a_detour_finds_its_inputs(void **state) {
  (void)state;
  static const uint32_t runs[] = {1, 3, 7, 15};
  struct bench bench = bench_new(export_model_of(detour_net()), bench_run_c);
  check_jumps(&bench, runs);
  bench_free(&bench);
  make_a_detour(bench_run_c);
  make_a_detour(bench_run_onnx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_jumped_over_does_not_run),
      cmocka_unit_test(rules_choose_among_networks),
      cmocka_unit_test(a_detour_finds_its_inputs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
