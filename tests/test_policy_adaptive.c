/* SPDX-License-Identifier: Apache-2.0
 *
 * The rule adaptive on traces: prices, features, degenerate splits, time. What its
 * gates owe is in test_stopping.c.
 */
#include <math.h>

#include "base/clock.h"
#include "policy/policy.h"
#include "tests/trace_fixture.h"

static ex_policy fitted(const ex_trace *trace, const char *lambda, const char *key,
                        const char *value) {
  ex_policy policy;
  struct ex_error err;
  const struct ex_policy_fit job = {trace, 0, 1, false};
  assert_ok(ex__policy_init(&policy, "adaptive", trace->n_points, trace->n_outputs, &err), &err);
  assert_ok(ex__policy_set(&policy, "lambda", lambda, &err), &err);
  if (key != NULL) assert_ok(ex__policy_set(&policy, key, value, &err), &err);
  assert_ok(policy.class->fit(policy.values, &job, &err), &err);
  return policy;
}

struct figures {
  double cost;         /* mean, 1: full depth */
  double lost;         /* share that full depth would have got right */
  int32_t first, last; /* how many left there */
};

static struct figures replayed(const ex_policy *policy, const ex_trace *trace) {
  struct ex_outcome *outcomes = ex__calloc((size_t)trace->n, sizeof *outcomes);
  struct figures figures = {0};
  int32_t last = trace->n_points - 1;
  ex__policy_replay(policy, trace, NULL, outcomes);
  for (int32_t i = 0; i < trace->n; i++) {
    bool right = trace->quality[ex__trace_at(trace, outcomes[i].answer, i)] > 0.5F;
    bool full = trace->quality[ex__trace_at(trace, last, i)] > 0.5F;
    figures.cost += (double)outcomes[i].macs / (double)trace->cost.direct_macs[last] / trace->n;
    figures.lost += (double)(full && !right) / trace->n;
    figures.first += outcomes[i].point == 0;
    figures.last += outcomes[i].point == last;
  }
  ex__free(outcomes);
  return figures;
}

static void the_price_moves_everybody(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(1, 1000, 4, 10, 0.5, 3);
  ex_policy free = fitted(trace, "0", NULL, NULL), dear = fitted(trace, "1e9", NULL, NULL);
  assert_int_equal(replayed(&free, trace).first, 1000);
  assert_int_equal(replayed(&dear, trace).last, 1000);
  assert_true(fabs(replayed(&dear, trace).cost - 1) <
              1e-12); /* heads that nobody reads do not run */
  static const char *const prices[] = {"0.3", "1", "3", "10", "100"};
  double lost = 1, cost = 0;
  for (size_t p = 0; p < 5; p++) {
    ex_policy policy = fitted(trace, prices[p], NULL, NULL);
    struct figures found = replayed(&policy, trace);
    assert_true(found.lost <= lost + 0.005 && found.cost >= cost - 0.005);
    lost = found.lost;
    cost = found.cost;
  }
  assert_true(lost < 0.02 && cost < 1.05);
  ex__trace_free(trace);
}

/* One early exit of two classes; only its probabilities tell right from wrong. A
 * sample that both exits get wrong is no reason to go on. */
static void what_later_exits_cannot_mend_stops(void **state) {
  (void)state;
  enum { M = 90 };
  ex_real raw[2][M][2] = {{{0}}};
  int32_t target[M] = {0};
  for (int32_t i = 0; i < M; i++) { /* sure and right; unsure and mended; unsure and wrong */
    int32_t kind = i % 3;
    raw[0][i][0] = kind == 0 ? 5 : kind == 1 ? (ex_real)-0.2 : (ex_real)-1;
    raw[1][i][0] = kind == 2 ? -5 : 5;
  }
  ex_trace *trace = fixture_from(M, 2, 2, raw[0][0], target);
  ex_policy policy = fitted(trace, "20", "threshold", "exact");
  struct ex_outcome outcomes[M];
  ex__policy_replay(&policy, trace, NULL, outcomes);
  for (int32_t i = 0; i < M; i++)
    if (i % 3 != 2) assert_int_equal(outcomes[i].point, i % 3 == 1);
  assert_true(replayed(&policy, trace).lost == 0);
  for (int32_t i = 0; i < M; i++)
    if (i % 3 == 1) target[i] = 1; /* now the first is right where it is unsure */
  ex__trace_free(trace);
  trace = fixture_from(M, 2, 2, raw[0][0], target);
  policy = fitted(trace, "20", NULL, NULL);
  assert_int_equal(replayed(&policy, trace).first, M); /* nothing is mended: all stop */
  ex__trace_free(trace);
}

static void every_option_fits_and_decides(void **state) {
  (void)state;
  static const char *const options[][2] = {{"downstream", "oracle"},
                                           {"threshold", "exact"},
                                           {"sweeps", "2"},
                                           {"top", "2"},
                                           {"top", "16"},
                                           {"l2", "1e-2"}};
  ex_trace *trace = fixture_trace(2, 800, 4, 10, 0.5, 3);
  for (size_t o = 0; o < sizeof options / sizeof *options; o++) {
    ex_policy policy = fitted(trace, "3", options[o][0], options[o][1]);
    struct figures found = replayed(&policy, trace);
    assert_true(found.cost + 3 * found.lost < 0.99); /* going to the end costs 1 */
  }
  ex__trace_free(trace);
}

static void degenerate_traces(void **state) {
  (void)state;
  ex_trace *one = fixture_trace(3, 50, 1, 10, 1, 1);
  ex_policy policy = fitted(one, "1", NULL, NULL);
  assert_int_equal(replayed(&policy, one).first, 50);
  ex__trace_free(one);
  ex_trace *alone = fixture_trace(4, 50, 3, 1, 1, 3); /* one class */
  policy = fitted(alone, "10", NULL, NULL);
  assert_int_equal(replayed(&policy, alone).first, 50);
  ex__trace_free(alone);
  ex_real raw[3 * 20 * 2];
  int32_t target[20];
  for (int32_t j = 0; j < 3 * 20 * 2; j++) raw[j] = j % 2 == 0 ? 500 : -500; /* saturated */
  for (int32_t i = 0; i < 20; i++) target[i] = i % 2;
  ex_trace *saturated = fixture_from(20, 3, 2, raw, target);
  policy = fitted(saturated, "10", NULL, NULL);
  assert_int_equal(replayed(&policy, saturated).first, 20);
  ex__trace_free(saturated);
}

static void values_of_other_networks_are_refused(void **state) {
  (void)state;
  ex_policy policy;
  struct ex_error err;
  assert_ok(ex__policy_init(&policy, "adaptive", 3, 10, &err), &err);
  assert_refused(ex__policy_set(&policy, "gates", "1,0,0;1,0,0", &err), EX_EINVAL, &err,
                 "must have 2 rows");
  assert_ok(ex__policy_set(&policy, "top", "2", &err), &err);
  assert_ok(ex__policy_set(&policy, "gates", "1,0,0,0;0.5,1,0,0", &err), &err);
  assert_true(policy.class->skips(policy.values, 0, 3)); /* no weights: nobody leaves there */
  assert_false(policy.class->skips(policy.values, 1, 3));
}

static void fitting_takes_under_two_seconds(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(5, 10000, 10, 10, 0.5, 3);
  int64_t begin = ex__now_ns();
  ex_policy policy = fitted(trace, "30", NULL, NULL);
  double ms = (double)(ex__now_ns() - begin) / 1e6;
  print_message("10,000 samples, 10 exits: %.0f ms; costs %.3f\n", ms,
                replayed(&policy, trace).cost);
  assert_true(ms < 2000);
  ex__trace_free(trace);
}

/* Beyond the softmax, which the answer has paid for. */
static void deciding_takes_no_time(void **state) {
  (void)state;
  static const int32_t classes[] = {10, 1000};
  static const double most[] = {1000, 5000};
  for (int32_t k = 0; k < 2; k++) {
    ex_trace *trace = fixture_trace(6, 500, 3, classes[k], 0.5, 3);
    ex_policy policy;
    struct ex_error err;
    assert_ok(ex__policy_init(&policy, "adaptive", 3, classes[k], &err), &err);
    assert_ok(ex__policy_set(&policy, "gates", "0.99,1,0,0,0,0,0;0.9,1,0.1,-0.1,1,1,1", &err),
              &err);
    struct ex_outcome outcomes[500];
    double ns = 1e18;
    for (int32_t round = 0; round < 20; round++) { /* the best: the machine may be busy */
      int64_t begin = ex__now_ns(), decisions = 0;
      ex__policy_replay(&policy, trace, NULL, outcomes);
      int64_t end = ex__now_ns();
      for (int32_t i = 0; i < 500; i++) decisions += outcomes[i].point + 1;
      ns = fmin(ns, (double)(end - begin) / (double)decisions);
    }
    assert_true(outcomes[0].point > 0);
    print_message("%d classes: %.0f ns per decision\n", (int)classes[k], ns);
    assert_true(ns < most[k]);
    ex__trace_free(trace);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_price_moves_everybody),
      cmocka_unit_test(what_later_exits_cannot_mend_stops),
      cmocka_unit_test(every_option_fits_and_decides),
      cmocka_unit_test(degenerate_traces),
      cmocka_unit_test(values_of_other_networks_are_refused),
      cmocka_unit_test(fitting_takes_under_two_seconds),
      cmocka_unit_test(deciding_takes_no_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
