/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/text.h"
#include "net/net_run.h"
#include "tests/nets.h"

static const struct ex_shape gray = {3, {1, 28, 28}};
static const char *const recipes[] = {
    "{\"architecture\": \"branchynet_lenet\"}",
    "{\"architecture\": \"resnet_exits\", \"stem\": 8, \"widths\": [8, 16], \"exits\": [1, 2]}",
    "{\"architecture\": \"resnet_exits\", \"stem\": 4, \"widths\": [4, 6], \"head\": \"conv\"}",
    "{\"architecture\": \"msdnet\", \"exits\": 4, \"base\": 2, \"step\": 1, \"channels\": 4, "
    "\"growth\": 2, \"head-channels\": 8}",
    "{\"architecture\": \"msdnet\", \"exits\": 4, \"base\": 2, \"step\": 1, \"channels\": 4, "
    "\"growth\": 2, \"head-channels\": 8, \"lazy\": true}",
    "{\"architecture\": \"sdn_resnet\", \"widths\": [4, 6], \"blocks\": [3], \"shares\": [0.3, 0.7]}",
    NULL, /* the gated net */
};
enum { N_NETS = sizeof recipes / sizeof *recipes, N = 13 };

struct fixture {
  ex_net *net;
  ex_compiled *compiled;
  ex_lane *lane;
  ex_real *x[N], *state[N];
};

static ex_net *make_net(int index) {
  struct ex_error err;
  ex_net *net;
  if (recipes[index] != NULL)
    net = nets_build(recipes[index], &gray, 10);
  else
    assert_ok(nets_gated(1, &net, &err), &err);
  nets_shake(net);
  return net;
}

static void set_up(struct fixture *f, int index, enum ex_backend backend, int32_t max_batch) {
  struct ex_error err;
  f->net = make_net(index);
  const struct ex_compile_options options = {
      .backend = backend, .threads = 1, .max_batch = max_batch};
  assert_ok(ex__compiled_new(f->net, &options, &f->compiled, &err), &err);
  assert_ok(ex__lane_new(f->compiled, &f->lane, &err), &err);
  int64_t size = ex__compiled_state_size(f->compiled), count = ex__shape_count(&f->net->input);
  for (int32_t i = 0; i < N; i++) {
    f->x[i] = ex__alloc((size_t)count, sizeof(ex_real));
    nets_random(f->x[i], count, (uint64_t)i);
    f->state[i] = ex__alloc((size_t)size, sizeof(ex_real));
    nets_random(f->state[i], size, 99); /* what was there must not matter */
    ex__lane_input(f->lane, f->x[i], f->state[i]);
  }
}

static void tear_down(struct fixture *f) {
  for (int32_t i = 0; i < N; i++) {
    ex__free(f->x[i]);
    ex__free(f->state[i]);
  }
  ex__lane_free(f->lane);
  ex__compiled_free(f->compiled);
  ex_net_free(f->net);
}

static void assert_near(const ex_real *a, const ex_real *b, int32_t n, double tolerance) {
  for (int32_t i = 0; i < n; i++)
    if (!(fabs((double)a[i] - (double)b[i]) <= tolerance * (1 + fabs((double)b[i]))))
      fail_msg("element %d is %.9g, expected %.9g", i, (double)a[i], (double)b[i]);
}

static void stage_by_stage_equals_the_whole(void **state) {
  (void)state;
  for (int index = 0; index < N_NETS; index++)
    for (int backend = EX_BACKEND_FAST; backend <= EX_BACKEND_TWIN; backend++) {
      struct fixture f;
      set_up(&f, index, (enum ex_backend)backend, 1);
      ex_real **whole = nets_evaluate(f.net, f.x[0]);
      double tolerance = backend == EX_BACKEND_TWIN ? 1e-5 : 1e-4;
      for (int32_t s = 0; s < f.net->n_stages; s++) {
        ex__lane_body(f.lane, s, &f.state[0], 1);
        int32_t p = ex__net_point_of(f.net, s);
        if (p < 0) continue;
        ex_real output[10], score;
        ex__lane_head(f.lane, p, &f.state[0], 1, output);
        assert_near(output, whole[f.net->points[p].output], f.net->n_outputs, tolerance);
        if (f.net->points[p].gate < 0) continue;
        ex__lane_gate(f.lane, p, &f.state[0], 1, &score);
        assert_near(&score, whole[f.net->points[p].gate], 1, tolerance);
      }
      nets_evaluate_free(f.net, whole);
      tear_down(&f);
    }
}

/* Outputs [N][10] and scores [N] at every point, samples in random groups. */
static void run_grouped(struct fixture *f, struct ex_random *random, ex_real *outputs,
                        ex_real *scores) {
  const ex_net *net = f->net;
  int32_t order[N];
  for (int32_t i = 0; i < N; i++) order[i] = i;
  for (int32_t s = 0; s < net->n_stages; s++) {
    int32_t p = ex__net_point_of(net, s);
    if (random != NULL) ex__random_shuffle(random, order, N);
    for (int32_t at = 0; at < N;) {
      int32_t n = random != NULL ? 1 + (int32_t)ex__random_below(random, N) : 1;
      if (n > N - at) n = N - at;
      ex_real *group[N], output[N * 10], score[N];
      for (int32_t i = 0; i < n; i++) group[i] = f->state[order[at + i]];
      ex__lane_body(f->lane, s, group, n);
      if (p >= 0) ex__lane_head(f->lane, p, group, n, output);
      if (p >= 0 && net->points[p].gate >= 0) ex__lane_gate(f->lane, p, group, n, score);
      for (int32_t i = 0; p >= 0 && i < n; i++) {
        memcpy(outputs + (p * N + order[at + i]) * 10, output + i * net->n_outputs,
               (size_t)net->n_outputs * sizeof *output);
        if (net->points[p].gate >= 0) scores[p * N + order[at + i]] = score[i];
      }
      at += n;
    }
  }
}

static void the_same_bits_in_any_company(void **state) {
  (void)state;
  struct ex_random random = ex__random_seed(1, 1);
  for (int index = 0; index < N_NETS; index++)
    for (int backend = EX_BACKEND_FAST; backend <= EX_BACKEND_TWIN; backend++) {
      struct fixture f;
      set_up(&f, index, (enum ex_backend)backend, EX_MICRO_BATCH);
      size_t size = (size_t)f.net->n_points * N * 10, scores_size = (size_t)f.net->n_points * N;
      ex_real *alone = ex__calloc(size, sizeof *alone), *grouped = ex__calloc(size, sizeof *alone);
      ex_real *alone_scores = ex__calloc(scores_size, sizeof *alone);
      ex_real *scores = ex__calloc(scores_size, sizeof *alone);
      run_grouped(&f, NULL, alone, alone_scores);
      for (int round = 0; round < 3; round++) {
        for (int32_t i = 0; i < N; i++) ex__lane_input(f.lane, f.x[i], f.state[i]);
        run_grouped(&f, &random, grouped, scores);
        assert_memory_equal(alone, grouped, size * sizeof *alone);
        assert_memory_equal(alone_scores, scores, scores_size * sizeof *alone);
      }
      ex__free(alone);
      ex__free(grouped);
      ex__free(alone_scores);
      ex__free(scores);
      tear_down(&f);
    }
}

static void executed_work_is_the_cost_table(void **state) {
  (void)state;
  for (int index = 0; index < N_NETS; index++) {
    struct fixture f;
    struct ex_cost cost;
    ex_real output[N * 10], score[N];
    set_up(&f, index, EX_BACKEND_FAST, EX_MICRO_BATCH);
    ex__net_cost(f.net, &cost);
    assert_int_equal(ex__lane_executed_macs(f.lane), 0);
    for (int32_t s = 0; s < f.net->n_stages; s++) {
      ex__lane_body(f.lane, s, f.state, N);
      int32_t p = ex__net_point_of(f.net, s);
      if (p < 0) continue;
      ex__lane_head(f.lane, p, f.state, N, output);
      if (f.net->points[p].gate >= 0) ex__lane_gate(f.lane, p, f.state, N, score);
      assert_int_equal(ex__lane_executed_macs(f.lane), N * cost.macs[p]);
    }
    tear_down(&f);
  }
}

/* Straight to the last point: the head that it needs runs late, for its own cost. */
static void a_needed_head_may_run_late(void **state) {
  (void)state;
  struct fixture f;
  struct ex_cost cost;
  ex_real output[4], early[4];
  set_up(&f, N_NETS - 1, EX_BACKEND_FAST, 1);
  ex__net_cost(f.net, &cost);
  ex_real **whole = nets_evaluate(f.net, f.x[0]);
  for (int32_t s = 0; s < 3; s++) ex__lane_body(f.lane, s, &f.state[0], 1);
  assert_int_equal(ex__net_closure(f.net, 1), 3);
  ex__lane_head(f.lane, 0, &f.state[0], 1, early);
  ex__lane_head(f.lane, 1, &f.state[0], 1, output);
  assert_near(early, whole[f.net->points[0].output], 4, 1e-4);
  assert_near(output, whole[f.net->points[1].output], 4, 1e-4);
  assert_int_equal(ex__lane_executed_macs(f.lane), cost.direct_macs[1]);
  nets_evaluate_free(f.net, whole);
  tear_down(&f);
}

static void repacking_takes_the_new_weights(void **state) {
  (void)state;
  struct fixture f;
  ex_real before[10], after[10];
  set_up(&f, 0, EX_BACKEND_FAST, 1);
  ex__lane_body(f.lane, 0, &f.state[0], 1);
  ex__lane_head(f.lane, 0, &f.state[0], 1, before);
  ex__net_init(f.net, 77);
  ex__compiled_repack(f.compiled);
  ex__lane_body(f.lane, 0, &f.state[0], 1);
  ex__lane_head(f.lane, 0, &f.state[0], 1, after);
  ex_real **whole = nets_evaluate(f.net, f.x[0]);
  assert_memory_not_equal(before, after, sizeof before);
  assert_near(after, whole[f.net->points[0].output], 10, 1e-4);
  nets_evaluate_free(f.net, whole);
  tear_down(&f);
}

static void measuring_fills_times_only(void **state) {
  (void)state;
  struct fixture f;
  struct ex_cost cost, measured;
  set_up(&f, N_NETS - 1, EX_BACKEND_FAST, 1);
  ex__net_cost(f.net, &cost);
  measured = cost;
  ex__lane_measure(f.lane, f.x[0], 1000, &measured);
  for (int32_t s = 0; s < 3; s++) assert_true(measured.body_ns[s] > 0);
  for (int32_t p = 0; p < 2; p++) assert_true(measured.head_ns[p] > 0 && measured.gate_ns[p] > 0);
  memset(measured.body_ns, 0, sizeof cost.body_ns);
  memset(measured.head_ns, 0, sizeof cost.head_ns);
  memset(measured.gate_ns, 0, sizeof cost.gate_ns);
  assert_memory_equal(&measured, &cost, sizeof cost);
  tear_down(&f);
}

static void what_was_compiled_is_described(void **state) {
  (void)state;
  struct fixture f;
  struct ex_error err;
  struct ex_text text = {0};
  set_up(&f, 0, EX_BACKEND_FAST, 1);
  ex__compiled_describe(f.compiled, &text);
  assert_non_null(strstr(text.data, "stage 1, head:\n"));
  ex__text_clear(&text);
  assert_true(ex__compiled_bytes(f.compiled) > 0);
  assert_ptr_equal(ex__compiled_net(f.compiled), f.net);
  ex_compiled *none;
  const struct ex_compile_options wrong = {.threads = 1, .max_batch = 3};
  assert_refused(ex__compiled_new(f.net, &wrong, &none, &err), EX_EINVAL, &err, "max_batch = 3");
  assert_null(none);
  tear_down(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(stage_by_stage_equals_the_whole),
      cmocka_unit_test(the_same_bits_in_any_company),
      cmocka_unit_test(executed_work_is_the_cost_table),
      cmocka_unit_test(a_needed_head_may_run_late),
      cmocka_unit_test(repacking_takes_the_new_weights),
      cmocka_unit_test(measuring_fills_times_only),
      cmocka_unit_test(what_was_compiled_is_described),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
