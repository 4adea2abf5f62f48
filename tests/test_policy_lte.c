/* SPDX-License-Identifier: Apache-2.0
 *
 * The rule lte: the layer is the minimum of its squared error, one for all exits; its
 * knob; degenerate traces; time.
 */
#include <math.h>

#include "base/clock.h"
#include "policy/policy.h"
#include "tests/trace_fixture.h"

static void set(ex_policy *policy, const char *key, const char *value) {
  struct ex_error err;
  assert_ok(ex__policy_set(policy, key, value, &err), &err);
}

static ex_policy fitted(const ex_trace *trace, const char *key, const char *value) {
  ex_policy policy;
  struct ex_error err;
  const struct ex_policy_fit job = {trace, 0, 1, false};
  assert_ok(ex__policy_init(&policy, "lte", trace->n_points, trace->n_outputs, &err), &err);
  if (key != NULL) set(&policy, key, value);
  assert_ok(policy.class->fit(policy.values, &job, &err), &err);
  return policy;
}

/* As the rule tells it. */
static double uncertainty(const ex_policy *policy, const ex_trace *trace, int32_t point,
                          int32_t sample) {
  _Alignas(16) unsigned char scratch[EX_MAX_POLICY_SCRATCH] = {0};
  const struct ex_env env = {
      .time_left_ns = INT64_MAX, .max_point = trace->n_points - 1, .target = -1};
  struct ex_observation seen = ex__policy_observe(trace, point, sample);
  struct ex_reading reading;
  ex__policy_decide(policy, scratch, &env, &seen);
  assert_true(ex__policy_read(policy, scratch, &seen, &reading));
  assert_string_equal(reading.what, "uncertainty");
  assert_true(reading.below);
  return reading.value;
}

static double squared_error(const ex_policy *policy, const ex_trace *trace) {
  double sum = 0;
  int32_t n_exits = trace->n_points - 1;
  for (int32_t p = 0; p < n_exits; p++)
    for (int32_t i = 0; i < trace->n; i++) {
      double wrong = trace->quality[ex__trace_at(trace, p, i)] < 0.5F;
      double error = uncertainty(policy, trace, p, i) - wrong;
      sum += error * error / (n_exits * trace->n);
    }
  return sum;
}

static int32_t count_at(const ex_policy *policy, const ex_trace *trace, int32_t point) {
  struct ex_outcome *outcomes = ex__calloc((size_t)trace->n, sizeof *outcomes);
  int32_t n = 0;
  ex__policy_replay(policy, trace, NULL, outcomes);
  for (int32_t i = 0; i < trace->n; i++) n += outcomes[i].point == point;
  ex__free(outcomes);
  return n;
}

/* Two kinds of answers, sure and unsure, at both early exits: the best layer says of
 * each kind how often it is wrong, at both exits together. */
static void it_says_how_often_such_answers_are_wrong(void **state) {
  (void)state;
  enum { M = 200 };
  ex_real raw[3][M][2] = {{{0}}};
  int32_t target[M];
  for (int32_t i = 0; i < M; i++) {
    target[i] = 1;
    for (int32_t p = 0; p < 2; p++) {
      bool sure = (i + p) % 2 == 0;
      int32_t turn = i / 2 % 10; /* wrong: of the sure 1 and 0 of 10, of the unsure 3 and 5 */
      bool wrong = sure ? turn < (p == 0 ? 1 : 0) : turn < (p == 0 ? 3 : 5);
      raw[p][i][wrong ? 0 : 1] = sure ? 4 : (ex_real)0.5;
    }
    raw[2][i][1] = 4;
  }
  ex_trace *trace = fixture_from(M, 3, 2, raw[0][0], target);
  ex_policy policy = fitted(trace, "l2", "1e-12");
  for (int32_t i = 0; i < M; i++)
    for (int32_t p = 0; p < 2; p++)
      assert_true(fabs(uncertainty(&policy, trace, p, i) - ((i + p) % 2 == 0 ? 0.05 : 0.4)) < 1e-3);
  set(&policy, "uncertainty", "0.2");
  assert_int_equal(count_at(&policy, trace, 0), M / 2); /* the sure there; the others at the next */
  assert_int_equal(count_at(&policy, trace, 1), M / 2);
  set(&policy, "uncertainty", "0.01");
  assert_int_equal(count_at(&policy, trace, 2), M);
  ex__trace_free(trace);
}

/* Brute force: no layer that is tried, near or far, has less squared error. */
static void no_other_layer_errs_less(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 3; seed++) {
    ex_trace *trace = fixture_trace(seed, 120, 4, 5, 0.5, 2);
    ex_policy policy = fitted(trace, "l2", "1e-12");
    double least = squared_error(&policy, trace);
    struct ex_random random = ex__random_seed(seed, 3);
    char text[512];
    json_t *json = ex__policy_to_json(&policy);
    const json_t *weights = json_object_get(json_object_get(json, "values"), "weights");
    assert_true(json_array_size(weights) == 7);
    for (int32_t trial = 0; trial < 400; trial++) {
      double reach = trial < 200 ? 0.02 : 5;
      int32_t used = 0;
      for (size_t j = 0; j < 7; j++) {
        double value = trial < 300 ? json_number_value(json_array_get(weights, j)) : 0;
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%.17g", j > 0 ? "," : "",
                         value + reach * ex__random_normal(&random));
      }
      ex_policy other = policy;
      set(&other, "weights", text);
      assert_true(squared_error(&other, trace) >= least - 1e-7);
    }
    json_decref(json);
    ex__trace_free(trace);
  }
}

static void the_knob_moves_everybody(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(4, 500, 4, 10, 0.5, 3);
  ex_policy policy = fitted(trace, NULL, NULL);
  struct ex_outcome bold[500], careful[500];
  assert_int_equal(count_at(&policy, trace, 3), 500);
  assert_true(policy.class->skips(policy.values, 0, 4));
  set(&policy, "uncertainty", "1.1");
  assert_int_equal(count_at(&policy, trace, 0), 500);
  ex__policy_replay(&policy, trace, NULL, bold);
  int32_t moved = 0;
  for (int32_t i = 160; i >= 0; i--) {
    policy.class->candidate(policy.values, 4, i);
    ex__policy_replay(&policy, trace, NULL, careful);
    for (int32_t s = 0; s < 500; s++) {
      assert_true(careful[s].point >= bold[s].point);
      moved += careful[s].point > bold[s].point;
      bold[s] = careful[s];
    }
  }
  assert_true(moved >= 500); /* from the first exit to the last */
  ex__trace_free(trace);
}

/* A layer that is the same at every exit does not mind their order, and ranks answers:
 * what it holds likelier wrong is wrong more often. */
static void exits_share_the_layer(void **state) {
  (void)state;
  enum { M = 300, C = 5 };
  ex_trace *trace = fixture_trace(5, M, 3, C, 0.5, 2);
  ex_real *raw = ex__alloc((size_t)3 * M * C, sizeof *raw);
  assert_non_null(raw);
  size_t column = (size_t)M * C;
  memcpy(raw, trace->raw + column, column * sizeof *raw);
  memcpy(raw + column, trace->raw, column * sizeof *raw);
  memcpy(raw + 2 * column, trace->raw + 2 * column, column * sizeof *raw);
  ex_trace *swapped = fixture_from(M, 3, C, raw, trace->target);
  ex_policy one = fitted(trace, NULL, NULL), other = fitted(swapped, NULL, NULL);
  double sum[2] = {0}, n[2] = {0};
  for (int32_t i = 0; i < M; i++)
    for (int32_t p = 0; p < 2; p++) {
      double u = uncertainty(&one, trace, p, i);
      int32_t wrong = trace->quality[ex__trace_at(trace, p, i)] < 0.5F;
      assert_true(fabs(u - uncertainty(&other, swapped, 1 - p, i)) < 1e-4);
      sum[wrong] += u;
      n[wrong]++;
    }
  assert_true(sum[1] / n[1] > sum[0] / n[0] + 0.03);
  ex__free(raw);
  ex__trace_free(swapped);
  ex__trace_free(trace);
}

static void degenerate_traces(void **state) {
  (void)state;
  ex_trace *one = fixture_trace(6, 50, 1, 10, 1, 1); /* one exit: nothing to learn */
  ex_policy policy = fitted(one, NULL, NULL);
  assert_int_equal(count_at(&policy, one, 0), 50);
  ex__trace_free(one);
  ex_trace *alone = fixture_trace(7, 50, 3, 1, 1, 3); /* one class: never wrong */
  policy = fitted(alone, NULL, NULL);
  set(&policy, "uncertainty", "0.05");
  assert_int_equal(count_at(&policy, alone, 0), 50);
  ex__trace_free(alone);
  ex_real raw[3 * 20 * 2];
  int32_t target[20];
  for (int32_t j = 0; j < 3 * 20 * 2; j++) raw[j] = j % 2 == 0 ? 500 : -500; /* saturated */
  for (int32_t i = 0; i < 20; i++) target[i] = i % 4 == 0;
  ex_trace *saturated = fixture_from(20, 3, 2, raw, target);
  policy = fitted(saturated, NULL, NULL);
  assert_true(fabs(uncertainty(&policy, saturated, 0, 0) - 0.25) < 1e-3);
  ex__trace_free(saturated);
  for (int32_t j = 0; j < 3 * 20 * 2; j++) raw[j] = (ex_real)NAN;
  ex_trace *broken = fixture_from(20, 3, 2, raw, target);
  policy = fitted(broken, "uncertainty", "2");
  assert_int_equal(count_at(&policy, broken, 2), 20);
  ex__trace_free(broken);
}

static void weights_of_other_features_are_refused(void **state) {
  (void)state;
  ex_policy policy;
  struct ex_error err;
  assert_ok(ex__policy_init(&policy, "lte", 3, 10, &err), &err);
  assert_refused(ex__policy_set(&policy, "weights", "1,2,3", &err), EX_EINVAL, &err,
                 "weights has 3 numbers; must have 7");
  set(&policy, "top", "2");
  set(&policy, "weights", "1,2,3,4");
}

static void fitting_takes_under_two_seconds(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(8, 10000, 10, 10, 0.5, 3);
  int64_t begin = ex__now_ns();
  ex_policy policy = fitted(trace, NULL, NULL);
  double ms = (double)(ex__now_ns() - begin) / 1e6;
  print_message("10,000 samples, 10 exits: %.0f ms; squared error %.4f\n", ms,
                squared_error(&policy, trace));
  assert_true(ms < 2000);
  ex__trace_free(trace);
}

/* Beyond the softmax, which the answer has paid for. */
static void deciding_takes_no_time(void **state) {
  (void)state;
  static const int32_t classes[] = {10, 1000};
  static const double most[] = {1000, 5000};
  for (int32_t k = 0; k < 2; k++) {
    ex_trace *trace = fixture_trace(9, 500, 3, classes[k], 0.5, 3);
    ex_policy policy = fitted(trace, "uncertainty", "1e-3");
    struct ex_outcome outcomes[500];
    double ns = 1e18;
    for (int32_t round = 0; round < 20; round++) { /* the best: the machine may be busy */
      int64_t begin = ex__now_ns(), decisions = 0;
      ex__policy_replay(&policy, trace, NULL, outcomes);
      int64_t end = ex__now_ns();
      for (int32_t i = 0; i < 500; i++) decisions += outcomes[i].point + 1;
      ns = fmin(ns, (double)(end - begin) / (double)decisions);
    }
    print_message("%d classes: %.0f ns per decision\n", (int)classes[k], ns);
    assert_true(ns < most[k]);
    ex__trace_free(trace);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_says_how_often_such_answers_are_wrong),
      cmocka_unit_test(no_other_layer_errs_less),
      cmocka_unit_test(the_knob_moves_everybody),
      cmocka_unit_test(exits_share_the_layer),
      cmocka_unit_test(degenerate_traces),
      cmocka_unit_test(weights_of_other_features_are_refused),
      cmocka_unit_test(fitting_takes_under_two_seconds),
      cmocka_unit_test(deciding_takes_no_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
