/* SPDX-License-Identifier: Apache-2.0
 *
 * What the papers say of their rules: known values and invariants of each.
 * What holds for every rule is in test_policy_conformance.c.
 */
#include <math.h>

#include "base/clock.h"
#include "base/json.h"
#include "policy/policy.h"
#include "tests/trace_fixture.h"

enum { N = 500, POINTS = 6, OUTPUTS = 10 };

static ex_policy made(const char *name, int32_t n_points, const char *key, const char *value) {
  ex_policy policy;
  struct ex_error err;
  assert_ok(ex__policy_init(&policy, name, n_points, OUTPUTS, &err), &err);
  if (key != NULL) assert_ok(ex__policy_set(&policy, key, value, &err), &err);
  return policy;
}

static int32_t count_at(const struct ex_outcome *outcomes, int32_t n, int32_t point) {
  int32_t count = 0;
  for (int32_t i = 0; i < n; i++) count += outcomes[i].point == point;
  return count;
}

/* T = 0: nobody; T > ln C: everybody at the first; in between, strictly below. */
static void entropy_at_its_ends(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(1, N, POINTS, OUTPUTS, 1, 4);
  struct ex_outcome outcomes[N];
  ex_policy policy = made("entropy", POINTS, "thresholds", "0");
  ex__policy_replay(&policy, trace, NULL, outcomes);
  assert_int_equal(count_at(outcomes, N, POINTS - 1), N);
  policy = made("entropy", POINTS, "thresholds", "2.31"); /* ln 10 = 2.3026 */
  ex__policy_replay(&policy, trace, NULL, outcomes);
  assert_int_equal(count_at(outcomes, N, 0), N);
  ex__trace_free(trace);
  /* A saturated output has entropy 0 exactly: T = 0 keeps it, any T above lets it go. */
  static const ex_real raw[] = {1000, 0, 1000, 0};
  trace = fixture_from(1, 2, 2, raw, NULL);
  policy = made("entropy", 2, "thresholds", "0");
  ex__policy_replay(&policy, trace, NULL, outcomes);
  assert_int_equal(outcomes[0].point, 1);
  policy = made("entropy", 2, "thresholds", "1e-300");
  ex__policy_replay(&policy, trace, NULL, outcomes);
  assert_int_equal(outcomes[0].point, 0);
  ex__trace_free(trace);
}

/* SDN: above 1 all reach the end, 0 all leave at once, and mean cost does not
 * fall as the one threshold rises. */
static void max_probability_sweep(void **state) {
  (void)state;
  static const char *const sweep[] = {"0", "0.1", "0.5", "0.9", "0.99", "1", "1.5"};
  ex_trace *trace = fixture_trace(2, N, POINTS, OUTPUTS, 1, 4);
  struct ex_outcome outcomes[N];
  int64_t before = 0;
  for (size_t s = 0; s < 6; s++) { /* up to 1: above, heads are skipped */
    ex_policy policy = made("max-probability", POINTS, "thresholds", sweep[s]);
    int64_t macs = 0;
    ex__policy_replay(&policy, trace, NULL, outcomes);
    for (int32_t i = 0; i < N; i++) macs += outcomes[i].macs;
    assert_true(macs >= before);
    before = macs;
    if (s == 0) assert_int_equal(count_at(outcomes, N, 0), N);
  }
  ex_policy policy = made("max-probability", POINTS, "thresholds", sweep[6]);
  ex__policy_replay(&policy, trace, NULL, outcomes);
  assert_int_equal(count_at(outcomes, N, POINTS - 1), N);
  assert_int_equal(outcomes[0].macs, trace->cost.direct_macs[POINTS - 1]);
  ex__trace_free(trace);
}

static void fallback_answers_with_the_most_confident(void **state) {
  (void)state;
  static const ex_real raw[] = {2, 0, /* sure */ 3, 0, /* surest */ 0, 1 /* last, unsure */};
  ex_trace *trace = fixture_from(1, 3, 2, raw, NULL);
  struct ex_outcome outcome;
  ex_policy policy = made("max-probability", 3, "thresholds", "0.99");
  ex__policy_replay(&policy, trace, NULL, &outcome);
  assert_true(outcome.point == 2 && outcome.answer == 2);
  policy = made("max-probability", 3, "fallback", "true");
  ex__policy_replay(&policy, trace, NULL, &outcome);
  assert_true(outcome.point == 2 && outcome.answer == 1);
  assert_int_equal(outcome.macs, trace->cost.macs[2]); /* every head ran */
  ex__trace_free(trace);
}

/* One exit, confidences 0.6, 0.7, 0.8 and 0.9 (its raw outputs are their log
 * odds), of which the second is wrong: two bins, of accuracy 1/2 and 1. */
static void pcee_looks_up_like_confidences(void **state) {
  (void)state;
  static const ex_real odds[] = {(ex_real)0.405465, (ex_real)0.847298, (ex_real)1.386294,
                                 (ex_real)2.197225};
  static const int32_t target[] = {0, 1, 0, 0};
  ex_real raw[2][4][2] = {0};
  for (int32_t i = 0; i < 4; i++) raw[0][i][0] = raw[1][i][0] = odds[i];
  ex_trace *trace = fixture_from(4, 2, 2, raw[0][0], target);
  const struct ex_policy_fit job = {trace, 0, 1, false};
  struct ex_outcome outcomes[4];
  struct ex_error err;
  static const char *const asked[] = {"0.5", "0.75", "1", "1.5"};
  static const int32_t leave[] = {4, 2, 2, 0};
  for (size_t i = 0; i < 4; i++) {
    ex_policy policy = made("pcee", 2, "bins", "2");
    assert_ok(policy.class->fit(policy.values, &job, &err), &err);
    assert_ok(ex__policy_set(&policy, "accuracy", asked[i], &err), &err);
    ex__policy_replay(&policy, trace, NULL, outcomes);
    assert_int_equal(count_at(outcomes, 4, 0), leave[i]);
  }
  ex__trace_free(trace);
}

/* Confidences at the first exit are 0.5 … 1 in order; the boundary of accept = 0.5
 * lies in the middle, and the fewer go on the nearer they lie to it. */
static void window_passes_on_the_doubtful(void **state) {
  (void)state;
  enum { COUNT = 101 };
  static ex_real raw[2][COUNT][2];
  int32_t target[COUNT] = {0};
  for (int32_t i = 0; i < COUNT; i++) raw[0][i][0] = raw[1][i][0] = (ex_real)(0.05 * i);
  ex_trace *trace = fixture_from(COUNT, 2, 2, raw[0][0], target);
  const struct ex_policy_fit job = {trace, 0, 1, false};
  struct ex_outcome outcomes[COUNT];
  struct ex_error err;
  static const char *const widths[] = {"0", "0.2", "0.6", "1", "2"};
  static const double share[] = {0, 0.2, 0.6, 1, 1};
  for (size_t w = 0; w < 5; w++) {
    ex_policy policy = made("window", 2, "width", widths[w]);
    assert_ok(ex__policy_set(&policy, "accept", "0.5", &err), &err);
    assert_ok(policy.class->fit(policy.values, &job, &err), &err);
    ex__policy_replay(&policy, trace, NULL, outcomes);
    int32_t first = COUNT, last = -1, passed = count_at(outcomes, COUNT, 1);
    for (int32_t i = 0; i < COUNT; i++)
      if (outcomes[i].point == 1) {
        if (i < first) first = i;
        last = i;
      }
    assert_true(fabs(passed - share[w] * COUNT) <= 2);
    if (passed > 0) assert_true(last - first + 1 == passed && abs(first + last - 100) <= 2);
  }
  ex__trace_free(trace);
}

/* The exits from patience before to where it left share one label, the first
 * exit never counts, and too much patience is full depth. */
static void patience_is_a_run_of_equal_labels(void **state) {
  (void)state;
  static const char *const given[] = {"1", "2", "3", "5", "6", "20"};
  static const int32_t patience[] = {1, 2, 3, 5, 6, 20};
  ex_trace *trace = fixture_trace(3, N, POINTS, OUTPUTS, 0.5, 3);
  struct ex_outcome outcomes[N];
  for (size_t s = 0; s < 6; s++) {
    ex_policy policy = made("patience", POINTS, "patience", given[s]);
    ex__policy_replay(&policy, trace, NULL, outcomes);
    for (int32_t i = 0; i < N; i++) {
      int32_t at = outcomes[i].point;
      assert_true(at >= patience[s] || at == POINTS - 1);
      if (patience[s] >= POINTS) assert_int_equal(at, POINTS - 1);
      if (at == POINTS - 1) continue;
      for (int32_t p = at - patience[s]; p < at; p++)
        assert_int_equal(trace->answer[ex__trace_at(trace, p, i)].label,
                         trace->answer[ex__trace_at(trace, at, i)].label);
    }
    if (patience[s] == 1) assert_true(count_at(outcomes, N, 1) > N / 4);
  }
  ex__trace_free(trace);
}

static void fixed_costs_what_a_static_net_costs(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(4, N, POINTS, OUTPUTS, 1, 4);
  struct ex_outcome outcomes[N];
  ex_policy policy = made("fixed", POINTS, "exit", "3");
  ex__policy_replay(&policy, trace, NULL, outcomes);
  assert_int_equal(count_at(outcomes, N, 3), N);
  assert_int_equal(outcomes[9].macs, trace->cost.direct_macs[3]);
  ex__trace_free(trace);
}

static double accuracy(const ex_policy *policy, const ex_trace *trace) {
  struct ex_outcome outcomes[N];
  double right = 0;
  ex__policy_replay(policy, trace, NULL, outcomes);
  for (int32_t i = 0; i < N; i++)
    right += trace->quality[ex__trace_at(trace, outcomes[i].answer, i)];
  return right / N;
}

static void oracle_bounds_every_rule(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(5, N, POINTS, OUTPUTS, 0.5, 3);
  ex_policy oracle = made("oracle", POINTS, NULL, NULL);
  double best = accuracy(&oracle, trace), some = 0;
  for (int32_t i = 0; i < N; i++) { /* SDN's cumulative accuracy */
    bool right = false;
    for (int32_t p = 0; p < POINTS; p++)
      right = right || trace->quality[ex__trace_at(trace, p, i)] == 1;
    some += right;
  }
  assert_true(best == some / N);
  for (const char *t = "13579"; *t != '\0'; t++) {
    char text[8] = {'0', '.', *t, '\0'};
    ex_policy policy = made("max-probability", POINTS, "thresholds", text);
    assert_true(accuracy(&policy, trace) <= best);
    policy = made("margin", POINTS, "thresholds", text);
    assert_true(accuracy(&policy, trace) <= best);
  }
  ex__trace_free(trace);
}

/* A closure is paid once, a head that is off only where a later answer needs it. */
static void skipped_heads_are_not_charged(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(6, 1, 3, OUTPUTS, 1, 4);
  struct ex_outcome outcome;
  ex_policy policy = made("margin", 3, "thresholds", "2,1");
  ex__policy_replay(&policy, trace, NULL, &outcome);
  assert_int_equal(outcome.macs, 300 + 20); /* exit 0 off, exit 1 looked at and passed */
  trace->closure[2] = 7;
  ex__policy_replay(&policy, trace, NULL, &outcome);
  assert_int_equal(outcome.macs, 300 + 30);
  ex__trace_free(trace);
}

static void refusals(void **state) {
  (void)state;
  struct ex_error err;
  ex_policy policy, before;
  assert_refused(ex__policy_init(&policy, "guess", 3, 10, &err), EX_ENOTFOUND, &err,
                 "must be one of entropy, max-probability, margin, ");
  assert_refused(ex__policy_init(&policy, "fixed", 0, 10, &err), EX_EINVAL, &err, "0 exits");
  assert_refused(ex__policy_init(&policy, "fixed", 33, 10, &err), EX_EINVAL, &err, "33 exits");
  policy = before = made("margin", 4, NULL, NULL);
  assert_refused(ex__policy_set(&policy, "thresholds", "0.5,0.5", &err), EX_EINVAL, &err,
                 "thresholds has 2 numbers; must be one for all, or 3");
  assert_refused(ex__policy_set(&policy, "thresholds", "-1", &err), EX_EINVAL, &err, "[0, 2]");
  assert_refused(ex__policy_assign(&policy, "thresholds", &err), EX_EINVAL, &err, "NAME=VALUE");
  assert_refused(ex__policy_assign(&policy, "=1", &err), EX_EINVAL, &err, "NAME=VALUE");
  assert_refused(ex__policy_set(&policy, "knob", "1", &err), EX_EINVAL, &err, "unknown");
  assert_memory_equal(&policy, &before, sizeof policy);
  assert_ok(ex__policy_assign(&policy, "thresholds=0.25", &err), &err);
  assert_true(ex__policy_thresholds_of(&policy)->value[0] == 0.25);
  policy = made("fixed", 4, NULL, NULL);
  assert_refused(ex__policy_set(&policy, "exit", "4", &err), EX_EINVAL, &err, "in [-1, 3]");
  static const struct {
    const char *json, *part;
  } bad[] = {
      {"{}", "name"},
      {"{\"name\": \"guess\"}", "unknown"},
      {"{\"name\": \"margin\", \"values\": 3}", "values"},
      {"{\"name\": \"margin\", \"values\": {\"thresholds\": [1, 1]}}", "2 numbers"},
      {"{\"name\": \"margin\", \"values\": {\"thresholds\": [\"a\", 1, 1]}}", "thresholds"},
      {"{\"name\": \"patience\", \"values\": {\"patience\": 0}}", "patience = 0"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    json_t *json;
    assert_ok(ex__json_parse(bad[i].json, strlen(bad[i].json), "test", &json, &err), &err);
    enum ex_status status = ex__policy_from_json(json, 4, 10, &policy, &err);
    assert_int_not_equal(status, EX_OK);
    assert_non_null(strstr(err.text, bad[i].part));
    json_decref(json);
  }
}

static void a_decision_takes_well_under_a_microsecond(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(7, 2000, 10, OUTPUTS, 0.5, 3);
  struct ex_outcome *outcomes = ex__calloc(2000, sizeof *outcomes);
  for (int32_t c = 0; ex__policy_at(c) != NULL; c++) {
    ex_policy policy = made(ex__policy_at(c)->name, 10, NULL, NULL);
    if (policy.class->score != NULL) { /* as sure as the first sample at the sixth exit */
      struct ex_observation seen = {.answer = trace->answer[ex__trace_at(trace, 5, 0)]};
      double score = policy.class->score(policy.values, &seen);
      *ex__policy_thresholds(&policy) = (struct ex_list){1, {policy.class->leave_at(score)}};
    }
    int64_t decisions = 0;
    double ns = 1e18; /* the best of some rounds: the machine may be busy */
    for (int32_t round = 0; round < 20; round++) {
      int64_t begin = ex__now_ns();
      ex__policy_replay(&policy, trace, NULL, outcomes);
      ns = fmin(ns, (double)(ex__now_ns() - begin));
    }
    for (int32_t i = 0; i < 2000; i++) decisions += outcomes[i].point + 1;
    if (policy.class->skips == NULL || policy.class->score != NULL) {
      print_message("%s: %.1f ns per decision\n", policy.class->name, ns / (double)decisions);
      assert_true(ns / (double)decisions < 1000);
    }
  }
  ex__free(outcomes);
  ex__trace_free(trace);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(entropy_at_its_ends),
      cmocka_unit_test(max_probability_sweep),
      cmocka_unit_test(fallback_answers_with_the_most_confident),
      cmocka_unit_test(pcee_looks_up_like_confidences),
      cmocka_unit_test(window_passes_on_the_doubtful),
      cmocka_unit_test(patience_is_a_run_of_equal_labels),
      cmocka_unit_test(fixed_costs_what_a_static_net_costs),
      cmocka_unit_test(oracle_bounds_every_rule),
      cmocka_unit_test(skipped_heads_are_not_charged),
      cmocka_unit_test(refusals),
      cmocka_unit_test(a_decision_takes_well_under_a_microsecond),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
