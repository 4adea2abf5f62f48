/* SPDX-License-Identifier: Apache-2.0
 *
 * Early exits for classes of interest: nobody else leaves early, thresholds are the
 * least that keep the precision on those who came this far, and a request narrows.
 */
#include "tests/engine_fixture.h"

enum { POINTS = 5, OUTPUTS = 10, N = 600, MANY = 1000 };

/* engine_fixture.h has names of its own for what trace_fixture.h makes. */
static ex_trace *random_trace(uint64_t seed, int32_t n, int32_t n_points, int32_t n_outputs) {
  struct ex_random random = ex__random_seed(seed, 5);
  struct ex_cost cost = {0};
  struct ex_error err;
  size_t each = (size_t)n * (size_t)n_outputs;
  ex_real *raw = ex__alloc((size_t)n_points * each, sizeof *raw);
  int32_t *target = ex__alloc((size_t)n, sizeof *target);
  ex_trace *trace;
  assert_true(raw != NULL && target != NULL);
  for (int32_t i = 0; i < n; i++) {
    target[i] = (int32_t)ex__random_below(&random, (uint32_t)n_outputs);
    for (int32_t p = 0; p < n_points; p++)
      for (int32_t c = 0; c < n_outputs; c++)
        raw[(size_t)p * each + (size_t)i * (size_t)n_outputs + (size_t)c] =
            (ex_real)(1.5 * ex__random_normal(&random) + (c == target[i] ? 1.5 + p : 0));
  }
  for (int32_t p = 0; p < n_points; p++) {
    cost.body_macs[p] = 100;
    cost.head_macs[p] = 10;
  }
  assert_ok(ex__trace_from_arrays(n, n_points, n_outputs, raw, NULL, target, &cost, &trace, &err),
            &err);
  ex__free(raw);
  ex__free(target);
  return trace;
}

static void set(ex_policy *policy, const char *name, const char *value) {
  struct ex_error err;
  assert_ok(ex__policy_set(policy, name, value, &err), &err);
}

static ex_policy fitted(const ex_trace *trace, const char *classes, const char *precision,
                        const char *others) {
  const struct ex_policy_fit job = {trace, 0, 1, false};
  struct ex_error err;
  ex_policy policy;
  assert_ok(ex__policy_init(&policy, "classy", trace->n_points, trace->n_outputs, &err), &err);
  if (classes != NULL) set(&policy, "classes", classes);
  set(&policy, "precision", precision);
  set(&policy, "others", others);
  assert_ok(policy.class->fit(policy.values, &job, &err), &err);
  return policy;
}

static double value_of(const ex_policy *policy, const char *name, int32_t row, int32_t column) {
  json_t *json = ex__policy_to_json(policy);
  const json_t *at = json_object_get(json_object_get(json, "values"), name);
  at = json_array_get(at, (size_t)row);
  double value = json_number_value(column < 0 ? at : json_array_get(at, (size_t)column));
  json_decref(json);
  return value;
}

static int32_t label_of(const ex_trace *trace, const struct ex_outcome *outcome, int32_t sample) {
  return trace->answer[ex__trace_at(trace, outcome->answer, sample)].label;
}

/* ---- who may leave ----------------------------------------------------------- */

/* Random sets, precisions and requests: whoever leaves early has a label of interest. */
static void early_labels_are_in_the_set(void **state) {
  (void)state;
  ex_trace *trace = random_trace(1, N, POINTS, OUTPUTS);
  struct ex_random random = ex__random_seed(2, 0);
  struct ex_outcome outcomes[N];
  int32_t n_early = 0;
  for (int32_t round = 0; round < 200; round++) {
    uint32_t mask = 1 + ex__random_below(&random, (1 << OUTPUTS) - 1), asked = mask;
    char text[3 * OUTPUTS] = "", precision[8];
    int32_t request[OUTPUTS], n_request = 0;
    for (int32_t c = 0, at = 0; c < OUTPUTS; c++)
      if (mask >> c & 1)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s%d", at > 0 ? "," : "", (int)c);
    snprintf(precision, sizeof precision, "%.2f", 0.5 * ex__random_uniform(&random) + 0.5);
    ex_policy policy = fitted(trace, text, precision, "go-on");
    struct ex_env env = {.time_left_ns = INT64_MAX, .max_point = POINTS - 1, .target = -1};
    if (round % 2 == 1) { /* may name classes that are not of interest, too */
      asked = ex__random_below(&random, 1 << OUTPUTS);
      for (int32_t c = 0; c < OUTPUTS; c++)
        if (asked >> c & 1) request[n_request++] = c;
      env.classes = request;
      env.n_classes = n_request;
    }
    ex__policy_replay(&policy, trace, &env, outcomes);
    for (int32_t i = 0; i < N; i++) {
      if (outcomes[i].point == POINTS - 1) continue;
      assert_true((mask & asked) >> label_of(trace, &outcomes[i], i) & 1);
      n_early++;
    }
  }
  assert_true(n_early > 1000);
  ex__trace_free(trace);
}

/* All classes and one threshold: ordinary confidence. */
static void one_threshold_for_all_classes_is_max_probability(void **state) {
  (void)state;
  ex_trace *trace = random_trace(3, N, POINTS, OUTPUTS);
  struct ex_outcome mine[N], theirs[N];
  ex_policy policy = fitted(trace, NULL, "0.9", "go-on"), other;
  struct ex_error err;
  assert_ok(ex__policy_init(&other, "max-probability", POINTS, OUTPUTS, &err), &err);
  set(&other, "thresholds", "0.7,0.8,0.9,0.95");
  set(&policy, "threshold",
      ".7,.7,.7,.7,.7,.7,.7,.7,.7,.7;.8,.8,.8,.8,.8,.8,.8,.8,.8,.8;"
      ".9,.9,.9,.9,.9,.9,.9,.9,.9,.9;.95,.95,.95,.95,.95,.95,.95,.95,.95,.95");
  ex__policy_replay(&policy, trace, NULL, mine);
  ex__policy_replay(&other, trace, NULL, theirs);
  assert_memory_equal(mine, theirs, sizeof mine);
  assert_true(mine[0].point >= 0);
  ex__trace_free(trace);
}

/* ---- thresholds -------------------------------------------------------------- */

/* Every exit and class by brute force: each confidence as a threshold on those that
 * did not leave before, and the one that keeps the precision and lets most go. */
static void thresholds_are_the_least_that_keep_the_precision(void **state) {
  (void)state;
  ex_trace *trace = random_trace(4, N, POINTS, OUTPUTS);
  static const int32_t set_of[] = {2, 7};
  static const char *const precisions[] = {"1", "0.9", "0.7"};
  for (size_t k = 0; k < 3; k++) {
    double precision = strtod(precisions[k], NULL);
    ex_policy policy = fitted(trace, "2,7", precisions[k], "go-on");
    bool gone[N] = {false};
    for (int32_t p = 0; p < POINTS - 1; p++)
      for (int32_t c = 0; c < 2; c++) {
        double best = 2;
        for (int32_t j = 0; j < N; j++) {
          double threshold = trace->answer[ex__trace_at(trace, p, j)].max_probability;
          int32_t n = 0, right = 0;
          for (int32_t i = 0; i < N; i++) {
            const struct ex_answer *answer = &trace->answer[ex__trace_at(trace, p, i)];
            bool leaves =
                !gone[i] && answer->label == set_of[c] && answer->max_probability >= threshold;
            n += leaves;
            right += leaves && trace->target[i] == set_of[c];
          }
          if (n > 0 && right >= precision * n && threshold < best) best = threshold;
        }
        double found = value_of(&policy, "threshold", p, c);
        for (int32_t i = 0; i < N; i++) { /* the same leave, whatever lies between */
          const struct ex_answer *answer = &trace->answer[ex__trace_at(trace, p, i)];
          if (gone[i] || answer->label != set_of[c]) continue;
          assert_int_equal(answer->max_probability >= best, answer->max_probability >= found);
          gone[i] = answer->max_probability >= found;
        }
      }
  }
  ex__trace_free(trace);
}

/* A class leaves from its exit on and at none before, whatever its threshold there; the
 * sets are nested, and the thresholds of a class from the start are as without. */
static void sets_grow_with_depth(void **state) {
  (void)state;
  ex_trace *trace = random_trace(11, N, POINTS, OUTPUTS);
  const struct ex_policy_fit job = {trace, 0, 1, false};
  struct ex_error err;
  struct ex_outcome outcomes[N], none[N];
  ex_policy policy = fitted(trace, "2,7", "0.8", "go-on"), growing = policy;
  set(&growing, "from", "0,2");
  assert_ok(policy.class->fit(growing.values, &job, &err), &err);
  for (int32_t p = 0; p < POINTS - 1; p++) {
    assert_true(value_of(&policy, "threshold", p, 0) == value_of(&growing, "threshold", p, 0));
    assert_true((value_of(&growing, "threshold", p, 1) > 1) == (p < 2));
  }
  for (int32_t by_hand = 0; by_hand < 2; by_hand++) {
    int32_t left[POINTS] = {0};
    if (by_hand == 1) set(&growing, "threshold", ".3,.3;.3,.3;.3,.3;.3,.3");
    ex__policy_replay(&growing, trace, NULL, outcomes);
    for (int32_t i = 0; i < N; i++)
      left[outcomes[i].point] += label_of(trace, &outcomes[i], i) == 7;
    assert_int_equal(left[0] + left[1], 0);
    assert_true(left[2] > 0);
  }
  set(&growing, "from", "4,5"); /* empty sets at every early exit: full depth, no head before */
  ex__policy_replay(&growing, trace, NULL, none);
  for (int32_t i = 0; i < N; i++)
    assert_int_equal(none[i].macs, trace->cost.direct_macs[POINTS - 1]);
  ex__trace_free(trace);
}

static void a_higher_threshold_lets_fewer_leave_as_the_class(void **state) {
  (void)state;
  ex_trace *trace = random_trace(5, N, 2, 3);
  ex_policy policy = fitted(trace, NULL, "0.8", "go-on");
  struct ex_outcome outcomes[N];
  int32_t before = N;
  for (int32_t t = 3; t <= 11; t++) {
    char text[32];
    snprintf(text, sizeof text, "0.5,%.1f,0.5", 0.1 * t);
    set(&policy, "threshold", text);
    ex__policy_replay(&policy, trace, NULL, outcomes);
    int32_t n = 0;
    for (int32_t i = 0; i < N; i++)
      n += outcomes[i].point == 0 && label_of(trace, &outcomes[i], i) == 1;
    assert_true(n <= before);
    before = n;
  }
  assert_int_equal(before, 0);
  ex__trace_free(trace);
}

/* ---- what is not of interest -------------------------------------------------- */

/* Of those refused on the split that fitted it, enough are none of the set. */
static void refusals_keep_the_precision(void **state) {
  (void)state;
  ex_trace *trace = random_trace(6, N, POINTS, OUTPUTS);
  ex_policy go_on = fitted(trace, "2,7", "0.95", "go-on");
  ex_policy refuse = fitted(trace, "2,7", "0.95", "refuse");
  struct ex_outcome waits[N], refused[N];
  ex__policy_replay(&go_on, trace, NULL, waits);
  ex__policy_replay(&refuse, trace, NULL, refused);
  int32_t n = 0, right = 0, n_go_on = 0;
  for (int32_t i = 0; i < N; i++) {
    int32_t label = label_of(trace, &refused[i], i);
    n_go_on += waits[i].point < POINTS - 1;
    if (refused[i].point == POINTS - 1 || label == 2 || label == 7) continue;
    n++;
    right += trace->target[i] != 2 && trace->target[i] != 7;
  }
  assert_true(n > N / 2 && right >= 0.95 * n);
  assert_true(n_go_on > 0 && n_go_on < N / 4);
  ex__trace_free(trace);
}

/* A request for a class that leaves nowhere costs at most the head it is met at. */
static void a_request_runs_no_heads_in_vain(void **state) {
  (void)state;
  ex_trace *trace = random_trace(7, N, POINTS, OUTPUTS);
  ex_policy policy = fitted(trace, "2,7", "0.8", "go-on");
  const int32_t stranger = 4;
  const struct ex_env env = {.time_left_ns = INT64_MAX,
                             .max_point = POINTS - 1,
                             .target = -1,
                             .classes = &stranger,
                             .n_classes = 1};
  struct ex_outcome outcomes[N];
  ex__policy_replay(&policy, trace, &env, outcomes);
  for (int32_t i = 0; i < N; i++) assert_int_equal(outcomes[i].macs, POINTS * 100 + 2 * 10);
  set(&policy, "threshold", "2,2;2,2;2,2;2,2"); /* nor do heads where nobody can leave */
  ex__policy_replay(&policy, trace, NULL, outcomes);
  for (int32_t i = 0; i < N; i++)
    assert_int_equal(outcomes[i].macs, trace->cost.direct_macs[POINTS - 1]);
  ex__trace_free(trace);
}

/* ---- edges -------------------------------------------------------------------- */

static void degenerate_traces(void **state) {
  (void)state;
  static const char *const others[] = {"go-on", "refuse"};
  for (int32_t r = 0; r < 2; r++) {
    ex_trace *trace = random_trace(8, 20, 1, OUTPUTS); /* one exit */
    ex_policy policy = fitted(trace, NULL, "0.5", others[r]);
    struct ex_outcome outcomes[20];
    ex__policy_replay(&policy, trace, NULL, outcomes);
    assert_int_equal(outcomes[0].point, 0);
    ex__trace_free(trace);
    trace = random_trace(9, 20, 3, 1); /* one class, always right */
    policy = fitted(trace, NULL, "1", others[r]);
    ex__policy_replay(&policy, trace, NULL, outcomes);
    for (int32_t i = 0; i < 20; i++) assert_int_equal(outcomes[i].point, 0);
    ex__trace_free(trace);
  }
  ex_trace *trace = random_trace(10, 50, 2, MANY); /* more classes than a rule can hold */
  const struct ex_policy_fit job = {trace, 0, 1, false};
  struct ex_error err;
  ex_policy policy;
  assert_ok(ex__policy_init(&policy, "classy", 2, MANY, &err), &err);
  assert_refused(policy.class->fit(policy.values, &job, &err), EX_EINVAL, &err, "1 to 32");
  policy = fitted(trace, "999,0", "0.5", "go-on");
  assert_true(value_of(&policy, "column", 0, -1) == 999);
  ex__trace_free(trace);
}

static void bad_values_are_refused(void **state) {
  (void)state;
  struct ex_error err;
  ex_policy policy;
  assert_ok(ex__policy_init(&policy, "classy", 3, OUTPUTS, &err), &err);
  assert_refused(ex__policy_set(&policy, "classes", "10", &err), EX_EINVAL, &err, "below 10");
  assert_refused(ex__policy_set(&policy, "classes", "1.5", &err), EX_EINVAL, &err, "whole");
  assert_refused(ex__policy_set(&policy, "classes", "3,3", &err), EX_EINVAL, &err, "twice");
  assert_refused(ex__policy_set(&policy, "threshold", "1;1", &err), EX_EINVAL, &err, "exit");
  assert_ok(ex__policy_set(&policy, "classes", "3,4", &err), &err);
  assert_refused(ex__policy_set(&policy, "from", "1", &err), EX_EINVAL, &err, "must have 2");
  assert_refused(ex__policy_set(&policy, "from", "1,0.5", &err), EX_EINVAL, &err, "whole");
}

/* ---- for real ----------------------------------------------------------------- */

/* The engine with a request is replay with it, alone and in company, and without
 * one again as before. */
static void requests_narrow_what_leaves(void **state) {
  (void)state;
  struct fixture *f = fixture_new();
  ex_policy policy = fitted(f->trace, NULL, "0.3", "go-on");
  ex_engine *engine = fixture_engine(f, &policy, 2, true);
  struct answers before, alone, together, after;
  struct ex_outcome expected[N_SAMPLES];
  fixture_run(f, engine, 1, &before);
  int32_t n_early = 0, asked = before.result[0].label;
  for (int32_t i = 0; i < N_SAMPLES; i++)
    if (before.result[i].exit < N_POINTS - 1) {
      n_early++;
      asked = before.result[i].label;
    }
  assert_true(n_early > 0);
  const struct ex_request request = {sizeof request, &asked, 1};
  assert_int_equal(ex_engine_request(engine, &request), EX_OK);
  fixture_run(f, engine, 1, &alone);
  fixture_run(f, engine, N_SAMPLES, &together);
  assert_same_answers(&alone, &together);
  const struct ex_env env = {.time_left_ns = INT64_MAX,
                             .max_point = N_POINTS - 1,
                             .target = -1,
                             .classes = &asked,
                             .n_classes = 1};
  ex__policy_replay(&policy, f->trace, &env, expected);
  int32_t n_left = 0;
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    assert_int_equal(alone.result[i].exit, expected[i].answer);
    assert_int_equal(alone.result[i].macs, expected[i].macs);
    if (alone.result[i].exit == N_POINTS - 1) continue;
    assert_int_equal(alone.result[i].label, asked);
    n_left++;
  }
  assert_true(n_left > 0);
  assert_int_equal(ex_engine_request(engine, NULL), EX_OK);
  fixture_run(f, engine, 1, &after);
  assert_same_answers(&before, &after);
  ex_engine_free(engine);
  fixture_free(f);
}

static void bad_requests_are_refused(void **state) {
  (void)state;
  struct fixture *f = fixture_new();
  ex_policy policy = fitted(f->trace, NULL, "0.5", "go-on");
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  int32_t classes[EX_MAX_LIST + 1] = {N_CLASSES};
  struct ex_request request = {sizeof request, classes, 1};
  assert_int_equal(ex_engine_request(engine, &request), EX_EINVAL);
  classes[0] = -1;
  assert_int_equal(ex_engine_request(engine, &request), EX_EINVAL);
  classes[0] = 0;
  request.n_classes = EX_MAX_LIST + 1;
  assert_int_equal(ex_engine_request(engine, &request), EX_EINVAL);
  request = (struct ex_request){1, classes, 1};
  assert_int_equal(ex_engine_request(engine, &request), EX_EINVAL);
  assert_int_equal(ex_engine_request(NULL, NULL), EX_EINVAL);
  ex_engine_free(engine);
  policy = fixture_max_probability(f);
  engine = fixture_engine(f, &policy, 1, true);
  request = (struct ex_request){sizeof request, classes, 1};
  assert_int_equal(ex_engine_request(engine, &request), EX_EUNSUPPORTED);
  ex_engine_free(engine);
  fixture_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(early_labels_are_in_the_set),
      cmocka_unit_test(one_threshold_for_all_classes_is_max_probability),
      cmocka_unit_test(thresholds_are_the_least_that_keep_the_precision),
      cmocka_unit_test(sets_grow_with_depth),
      cmocka_unit_test(a_higher_threshold_lets_fewer_leave_as_the_class),
      cmocka_unit_test(refusals_keep_the_precision),
      cmocka_unit_test(a_request_runs_no_heads_in_vain),
      cmocka_unit_test(degenerate_traces),
      cmocka_unit_test(bad_values_are_refused),
      cmocka_unit_test(requests_narrow_what_leaves),
      cmocka_unit_test(bad_requests_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
