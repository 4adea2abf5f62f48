/* SPDX-License-Identifier: Apache-2.0
 *
 * The rule adaptive on traces: prices, features, degenerate splits, time. What its
 * gates owe is in test_stopping.c.
 */
#include <math.h>

#include "base/clock.h"
#include "policy/policy.h"
#include "tests/trace_fixture.h"
#include "trace/trace_internal.h"

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
  assert_refused(ex__policy_set(&policy, "first", "3", &err), EX_EINVAL, &err,
                 "first = 3; must be below 3");
  assert_ok(ex__policy_set(&policy, "top", "2", &err), &err);
  assert_refused(ex__policy_set(&policy, "gates", "1,0,0,0,0,0;1,0,0,0,0,0", &err), EX_EINVAL, &err,
                 "or 3 rows of 6");
  assert_ok(ex__policy_set(&policy, "gates", "1,0,0,0;0.5,1,0,0", &err), &err);
  assert_true(policy.class->skips(policy.values, 0, 3)); /* no weights: nobody leaves there */
  assert_false(policy.class->skips(policy.values, 1, 3));
}

/* ---- whole networks -------------------------------------------------------------- */

/* Each exit needs its own body alone, of 100, 300, 900 … multiply-adds. */
static ex_trace *joined(ex_trace *trace) {
  for (int32_t p = 0; p < trace->n_points; p++) {
    trace->bodies[p] = UINT32_C(1) << p;
    trace->cost.body_macs[p] = p > 0 ? 3 * trace->cost.body_macs[p - 1] : 100;
  }
  ex__trace_sum_costs(trace);
  return trace;
}

static int32_t n_jumped_over(const ex_policy *policy, const ex_trace *trace, int32_t point) {
  struct ex_outcome *outcomes = ex__calloc((size_t)trace->n, sizeof *outcomes);
  int32_t n = 0;
  ex__policy_replay(policy, trace, NULL, outcomes);
  for (int32_t i = 0; i < trace->n; i++)
    n += outcomes[i].point > point && (outcomes[i].bodies >> point & 1) == 0;
  ex__free(outcomes);
  return n;
}

/* Two bits of the first answer say what to do: sure and right; unsure, and the second
 * network would be right; very unsure, and only the third would be. */
static void who_needs_the_dearest_goes_straight_there(void **state) {
  (void)state;
  enum { M = 90 };
  static const ex_real sure[3] = {6, 1, (ex_real)0.2};
  ex_real raw[3][M][2] = {{{0}}};
  int32_t target[M];
  for (int32_t i = 0; i < M; i++) {
    int32_t kind = i % 3;
    target[i] = kind == 0 ? 0 : 1;
    raw[0][i][0] = sure[kind];
    raw[1][i][kind == 1 ? 1 : 0] = kind == 2 ? (ex_real)0.5 : 4;
    raw[2][i][target[i]] = 5;
  }
  ex_trace *trace = joined(fixture_from(M, 3, 2, raw[0][0], target));
  ex_policy policy = fitted(trace, "30", NULL, NULL);
  assert_int_equal(n_jumped_over(&policy, trace, 1), M / 3);
  struct figures found = replayed(&policy, trace);
  assert_true(found.lost == 0 && found.first == M / 3 && found.last == M / 3);
  /* Three looks at the first, one at each of the others, bodies and heads. */
  assert_true(fabs(found.cost - (3 * 110 + 310 + 910) / 3.0 / 910) < 1e-9);
  policy = fitted(trace, "30", "successors", "next");
  assert_int_equal(n_jumped_over(&policy, trace, 1), 0);
  assert_true(replayed(&policy, trace).cost > found.cost + 0.1);
  ex__trace_free(trace);
}

/* On the way through a row there is no more to save than heads, and `auto` knows. */
static void rows_keep_their_form(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(1, 400, 4, 10, 0.5, 3);
  ex_policy row = fitted(trace, "3", NULL, NULL), next = fitted(trace, "3", "successors", "next");
  struct figures found = replayed(&row, trace), same = replayed(&next, trace);
  assert_memory_equal(&found, &same, sizeof found);
  ex_policy any = fitted(trace, "3", "successors", "any");
  assert_true(replayed(&any, trace).cost + 3 * replayed(&any, trace).lost <
              found.cost + 3 * found.lost + 0.02);
  ex__trace_free(trace);
}

/* All prices: what is spent falls with them, nothing is learned twice, and what is
 * written is read. */
static void networks_are_chosen_at_any_price(void **state) {
  (void)state;
  ex_trace *trace = joined(fixture_trace(1, 600, 5, 10, 0.5, 3));
  static const char *const prices[] = {"0", "0.3", "1", "3", "10", "100", "1e9"};
  const struct ex_policy_fit job = {trace, 0, 1, false};
  double lost = 1, cost = 0;
  for (size_t p = 0; p < sizeof prices / sizeof *prices; p++) {
    struct ex_error err;
    ex_policy policy = fitted(trace, prices[p], NULL, NULL), again = policy, back;
    struct figures found = replayed(&policy, trace);
    assert_true(found.lost <= lost + 0.01 && found.cost >= cost - 0.01);
    lost = found.lost;
    cost = found.cost;
    assert_ok(again.class->fit(again.values, &job, &err), &err);
    assert_memory_equal(again.values, policy.values, policy.class->size);
    json_t *json = ex__policy_to_json(&policy);
    assert_ok(ex__policy_from_json(json, 5, 10, &back, &err), &err);
    struct figures read = replayed(&back, trace);
    assert_memory_equal(&read, &found, sizeof found);
    json_decref(json);
  }
  assert_true(lost == 0 && fabs(cost - 1) < 1e-12); /* the dearest alone */
  ex__trace_free(trace);
}

static void too_many_networks_are_taken_in_turn(void **state) {
  (void)state;
  ex_trace *trace = joined(fixture_trace(1, 200, 9, 10, 0.5, 3));
  const struct ex_policy_fit job = {trace, 0, 1, false};
  struct ex_error err;
  ex_policy policy = fitted(trace, "3", NULL, NULL);
  assert_int_equal(n_jumped_over(&policy, trace, 7), 0);
  assert_ok(ex__policy_set(&policy, "successors", "any", &err), &err);
  assert_refused(policy.class->fit(policy.values, &job, &err), EX_EINVAL, &err, "at most 8");
  ex__trace_free(trace);
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
  trace = joined(fixture_trace(5, 10000, 4, 10, 0.5, 3));
  begin = ex__now_ns();
  policy = fitted(trace, "3", NULL, NULL);
  ms = (double)(ex__now_ns() - begin) / 1e6;
  print_message("10,000 samples, 4 networks: %.0f ms; costs %.3f\n", ms,
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
      cmocka_unit_test(who_needs_the_dearest_goes_straight_there),
      cmocka_unit_test(rows_keep_their_form),
      cmocka_unit_test(networks_are_chosen_at_any_price),
      cmocka_unit_test(too_many_networks_are_taken_in_turn),
      cmocka_unit_test(fitting_takes_under_two_seconds),
      cmocka_unit_test(deciding_takes_no_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
