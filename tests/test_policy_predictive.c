/* SPDX-License-Identifier: Apache-2.0
 *
 * The rule that jumps: against a slow twin of the paper's sums, its limits, what it
 * learns, and that the engine does not run the heads that it jumps over.
 */
#include "base/clock.h"
#include "tests/engine_fixture.h"

/* engine_fixture.h has names of its own for what trace_fixture.h makes. */
enum { POINTS = 12, OUTPUTS = 10, RMAX = 8, MANY = 1000 };

static ex_trace *trace_of(int32_t n, int32_t n_points, int32_t n_outputs, const ex_real *raw,
                          const int32_t *target) {
  struct ex_cost cost = {0};
  struct ex_error err;
  ex_trace *trace;
  for (int32_t p = 0; p < n_points; p++) {
    cost.body_macs[p] = 100;
    cost.head_macs[p] = 10;
  }
  assert_ok(ex__trace_from_arrays(n, n_points, n_outputs, raw, NULL, target, &cost, &trace, &err),
            &err);
  return trace;
}

/* Deeper exits are surer, samples differ in how much. */
static ex_trace *random_trace(uint64_t seed, int32_t n, int32_t n_points, int32_t n_outputs) {
  struct ex_random random = ex__random_seed(seed, 3);
  size_t each = (size_t)n * (size_t)n_outputs;
  ex_real *raw = ex__alloc((size_t)n_points * each, sizeof *raw);
  assert_non_null(raw);
  for (int32_t i = 0; i < n; i++) {
    double ease = ex__random_uniform(&random);
    for (int32_t p = 0; p < n_points; p++)
      for (int32_t c = 0; c < n_outputs; c++)
        raw[(size_t)p * each + (size_t)i * (size_t)n_outputs + (size_t)c] =
            (ex_real)(0.3 + ex__random_normal(&random) +
                      (c == i % n_outputs ? 1 + 8 * ease * (p + 1) / n_points : 0));
  }
  ex_trace *trace = trace_of(n, n_points, n_outputs, raw, NULL);
  ex__free(raw);
  return trace;
}

static void set(ex_policy *policy, const char *name, const char *value) {
  struct ex_error err;
  assert_ok(ex__policy_set(policy, name, value, &err), &err);
}

static void set_number(ex_policy *policy, const char *name, double value) {
  char text[32];
  snprintf(text, sizeof text, "%.17g", value);
  set(policy, name, text);
}

static ex_policy fitted(const ex_trace *trace, const char *engine, const char *measure,
                        const char *rmax) {
  const struct ex_policy_fit job = {trace, 0, 1, false};
  struct ex_error err;
  ex_policy policy;
  assert_ok(ex__policy_init(&policy, "predictive", trace->n_points, trace->n_outputs, &err), &err);
  set(&policy, "engine", engine);
  set(&policy, "measure", measure);
  set(&policy, "rmax", rmax);
  assert_ok(policy.class->fit(policy.values, &job, &err), &err);
  return policy;
}

static double value_of(const ex_policy *policy, const char *name, int32_t index) {
  json_t *json = ex__policy_to_json(policy);
  const json_t *list = json_object_get(json_object_get(json, "values"), name);
  double value = json_number_value(json_array_get(list, (size_t)index));
  json_decref(json);
  return value;
}

static struct ex_decision decide_at(const ex_policy *policy, const ex_trace *trace, int32_t point,
                                    int32_t sample) {
  int64_t at = ex__trace_at(trace, point, sample);
  const struct ex_observation seen = {point,
                                      trace->n_points,
                                      trace->n_outputs,
                                      trace->output + at * trace->n_outputs,
                                      trace->probability + at * trace->n_outputs,
                                      trace->answer[at],
                                      NAN};
  const struct ex_env env = {
      .time_left_ns = INT64_MAX, .max_point = trace->n_points - 1, .target = -1};
  return ex__policy_decide(policy, NULL, &env, &seen);
}

/* ---- the paper's sums ------------------------------------------------------- */

/* By the letter: whole arrays, every round, the last exit's normaliser as asked. */
static int32_t slow_jump(const ex_policy *policy, double beta, const ex_real *z, int32_t n,
                         int32_t point, int32_t last) {
  static ex_real u[MANY + 2], next[MANY + 2];
  memset(u, 0, sizeof u);
  memset(next, 0, sizeof next);
  memcpy(u + 1, z, (size_t)n * sizeof *z);
  for (int32_t i = 1; i <= RMAX; i++) {
    double most = 0;
    for (int32_t c = 1; c <= n; c++) {
      next[c] = u[c - 1] + u[c] + u[c + 1];
      most = fmax(most, fabs((double)next[c]));
    }
    memcpy(u, next, sizeof u);
    int32_t there = point + i < last ? point + i : last;
    if (there < last && most > beta * value_of(policy, "normaliser", there)) return i;
    if (there == last) return i;
  }
  return RMAX;
}

static void sums_are_those_of_the_slow_twin(void **state) {
  (void)state;
  static const int32_t widths[] = {1, 2, 3, 8, 10, 239, 240, 241, 480, 500, MANY};
  int32_t jumps[RMAX + 1] = {0};
  for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
    ex_trace *trace = random_trace(w, 12, POINTS, widths[w]);
    ex_policy policy = fitted(trace, "neighbours", "outputs", "8");
    for (double beta = 3; beta < 30000; beta *= 2.5) {
      set_number(&policy, "beta", beta);
      for (int32_t i = 0; i < trace->n; i++)
        for (int32_t p = 0; p < POINTS - 1; p += 3) {
          struct ex_decision decision = decide_at(&policy, trace, p, i);
          if (decision.action == EX_LEAVE) continue;
          const ex_real *z = trace->output + ex__trace_at(trace, p, i) * widths[w];
          int32_t jump = slow_jump(&policy, beta, z, widths[w], p, POINTS - 1);
          assert_int_equal(decision.action, EX_GO_TO);
          assert_int_equal(decision.point, p + jump);
          jumps[jump]++;
        }
    }
    ex__trace_free(trace);
  }
  for (int32_t j = 1; j <= RMAX; j++) assert_true(jumps[j] > 0);
}

/* Of ones, the largest sum is 1, 3, 9, 27 …; of one class it stays. */
static void ones_grow_threefold_and_one_class_stays(void **state) {
  (void)state;
  ex_real ones[31], four = 4;
  for (int32_t c = 0; c < 31; c++) ones[c] = 1;
  static const struct {
    const char *normaliser;
    int32_t goal[2]; /* of 31 ones; of a single class, whose output is 4 */
  } cases[] = {
      {"100,2.9,1,1,1", {1, 1}},     {"100,3,8.9,1,1", {2, 1}},     {"100,4,9,26.9,1", {3, 4}},
      {"100,4,100,27,80.9", {4, 5}}, {"100,4,100,100,100", {5, 5}},
  };
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    for (int32_t one = 0; one < 2; one++) {
      int32_t n = one ? 1 : 31;
      ex_real raw[6 * 31];
      for (int32_t p = 0; p < 6; p++)
        memcpy(raw + p * n, one ? &four : ones, (size_t)n * sizeof *raw);
      ex_trace *trace = trace_of(1, 6, n, raw, NULL);
      ex_policy policy = fitted(trace, "neighbours", "outputs", "8");
      set(&policy, "normaliser", cases[k].normaliser);
      set(&policy, "beta", "1");
      struct ex_decision decision = decide_at(&policy, trace, 0, 0);
      assert_int_equal(decision.action, EX_GO_TO);
      assert_int_equal(decision.point, cases[k].goal[one]);
      ex__trace_free(trace);
    }
}

/* Numbering classes anew changes what neighbours predict, and not what is learned. */
static void neighbours_depend_on_the_order_of_classes(void **state) {
  (void)state;
  enum { N = 200 };
  ex_trace *trace = random_trace(5, N, POINTS, OUTPUTS);
  static ex_real raw[POINTS * N * OUTPUTS];
  for (int32_t row = 0; row < POINTS * N; row++)
    for (int32_t c = 0; c < OUTPUTS; c++)
      raw[row * OUTPUTS + c * 7 % OUTPUTS] = trace->raw[row * OUTPUTS + c];
  ex_trace *permuted = trace_of(N, POINTS, OUTPUTS, raw, NULL);
  static const char *const engines[] = {"neighbours", "learned"};
  for (int32_t e = 0; e < 2; e++) {
    ex_policy policy = fitted(trace, engines[e], "outputs", "8");
    set(&policy, "beta", "20");
    int32_t differ = 0;
    for (int32_t i = 0; i < N; i++) {
      struct ex_decision a = decide_at(&policy, trace, 0, i);
      struct ex_decision b = decide_at(&policy, permuted, 0, i);
      assert_int_equal(a.action, b.action);
      differ += a.point != b.point;
    }
    assert_int_equal(differ > 0, e == 0);
  }
  ex__trace_free(permuted);
  ex__trace_free(trace);
}

/* ---- limits ----------------------------------------------------------------- */

static void jumps_stay_within_bounds(void **state) {
  (void)state;
  static const char *const engines[] = {"neighbours", "learned"};
  static const char *const measures[] = {"outputs", "confidence"};
  ex_trace *trace = random_trace(1, 100, POINTS, OUTPUTS);
  struct ex_random random = ex__random_seed(2, 0);
  for (int32_t round = 0; round < 200; round++) {
    int32_t rmax = 1 + (int32_t)ex__random_below(&random, RMAX);
    char text[2] = {(char)('0' + rmax), '\0'};
    ex_policy policy = fitted(trace, engines[round % 2], measures[round / 2 % 2], text);
    set_number(&policy, "beta", exp(10 * ex__random_uniform(&random) - 2));
    for (int32_t i = 0; i < trace->n; i++)
      for (int32_t p = 0; p < POINTS; p++) {
        struct ex_decision decision = decide_at(&policy, trace, p, i);
        if (p == POINTS - 1) assert_int_equal(decision.action, EX_LEAVE);
        if (decision.action == EX_LEAVE) continue;
        assert_int_equal(decision.action, EX_GO_TO);
        assert_true(decision.point > p && decision.point < POINTS && decision.point <= p + rmax);
      }
  }
  ex__trace_free(trace);
}

static void beta_at_its_ends(void **state) {
  (void)state;
  enum { N = 100, DEPTH = 20 };
  ex_trace *trace = random_trace(3, N, DEPTH, OUTPUTS);
  struct ex_outcome outcomes[N];
  ex_policy policy = fitted(trace, "neighbours", "outputs", "8");
  set(&policy, "start", "3");
  set(&policy, "beta", "0");
  ex__policy_replay(&policy, trace, NULL, outcomes);
  for (int32_t i = 0; i < N; i++) {
    assert_int_equal(outcomes[i].point, 3);
    assert_int_equal(outcomes[i].macs, trace->cost.direct_macs[3]); /* no head before it */
  }
  set(&policy, "beta", "1e8"); /* looks at 3, 11 and 19 */
  ex__policy_replay(&policy, trace, NULL, outcomes);
  for (int32_t i = 0; i < N; i++) {
    assert_int_equal(outcomes[i].point, DEPTH - 1);
    assert_int_equal(outcomes[i].macs, DEPTH * 100 + 3 * 10);
  }
  set(&policy, "beta", "1e9"); /* off: looks at nothing */
  ex__policy_replay(&policy, trace, NULL, outcomes);
  for (int32_t i = 0; i < N; i++)
    assert_int_equal(outcomes[i].macs, trace->cost.direct_macs[DEPTH - 1]);
  ex__trace_free(trace);
}

/* rmax = 1 looks at every exit from the start on; longer jumps leave no earlier. */
static void one_step_at_a_time_is_checking_every_exit(void **state) {
  (void)state;
  enum { N = 300 };
  ex_trace *trace = random_trace(4, N, POINTS, OUTPUTS);
  struct ex_outcome step[N], jump[N];
  for (double beta = 2; beta < 60; beta *= 1.5) {
    ex_policy policy = fitted(trace, "neighbours", "outputs", "1");
    set(&policy, "start", "2");
    set_number(&policy, "beta", beta);
    ex__policy_replay(&policy, trace, NULL, step);
    set(&policy, "rmax", "8");
    ex__policy_replay(&policy, trace, NULL, jump);
    for (int32_t i = 0; i < N; i++) {
      int32_t first = 2;
      for (; first < POINTS - 1; first++) {
        const ex_real *z = trace->output + ex__trace_at(trace, first, i) * OUTPUTS;
        double most = 0;
        for (int32_t c = 0; c < OUTPUTS; c++) most = fmax(most, fabs((double)z[c]));
        if (most / value_of(&policy, "normaliser", first) >= beta) break;
      }
      assert_int_equal(step[i].point, first);
      assert_int_equal(step[i].macs, (first + 1) * 100 + (first - 1) * 10);
      assert_true(jump[i].point >= first);
    }
  }
  ex__trace_free(trace);
}

/* ---- learning --------------------------------------------------------------- */

/* Two samples, three exits: means 2 and −6 (modulus 2); 0 for what is guarded. */
static void normaliser_is_the_modulus_of_a_signed_mean(void **state) {
  (void)state;
  static const ex_real raw[] = {/* exit 0 */ 4, 0, -10, -2, /* exit 1 */ 5, -5, 3, -3,
                                /* exit 2 */ 1, 0, 0,   1};
  static const int32_t target[] = {0, 1};
  ex_trace *labelled = trace_of(2, 3, 2, raw, target), *bare = trace_of(2, 3, 2, raw, NULL);
  ex_policy policy = fitted(labelled, "neighbours", "outputs", "8");
  ex_policy same = fitted(bare, "neighbours", "outputs", "8");
  assert_memory_equal(policy.values, same.values, policy.class->size);
  assert_true(value_of(&policy, "normaliser", 0) == 2);
  assert_true(value_of(&policy, "guarded", 0) == 0);
  assert_true(fabs(value_of(&policy, "normaliser", 1) - 0.04) < 1e-12); /* (5 + 3) / 2 / 100 */
  assert_true(value_of(&policy, "guarded", 1) == 1);
  ex__trace_free(labelled);
  ex__trace_free(bare);
}

/* Half of the samples are clear and pass from the third exit on, half from the
 * eighth: what the first exit shows says which. */
static ex_trace *two_kinds(int32_t n) {
  ex_real *raw = ex__calloc((size_t)n * POINTS * 2, sizeof *raw);
  struct ex_random random = ex__random_seed(6, 0);
  assert_non_null(raw);
  for (int32_t i = 0; i < n; i++)
    for (int32_t p = 0; p < POINTS; p++) {
      bool clear = i % 2 == 0, sure = p >= (clear ? 2 : 7);
      ex_real *z = raw + ((size_t)p * (size_t)n + (size_t)i) * 2;
      z[0] = (ex_real)((sure ? 9 : clear ? 2 : 0.5) + 0.1 * ex__random_normal(&random));
    }
  ex_trace *trace = trace_of(n, POINTS, 2, raw, NULL);
  ex__free(raw);
  return trace;
}

static void learned_jumps_go_where_samples_leave(void **state) {
  (void)state;
  enum { N = 200 };
  ex_trace *trace = two_kinds(N);
  ex_policy policy = fitted(trace, "learned", "confidence", "8");
  struct ex_outcome outcomes[N];
  struct ex_jumps jumps;
  set(&policy, "beta", "5");
  ex__policy_replay(&policy, trace, NULL, outcomes);
  for (int32_t i = 0; i < N; i++) {
    assert_int_equal(outcomes[i].point, i % 2 == 0 ? 2 : 7);
    assert_int_equal(outcomes[i].macs, (outcomes[i].point + 1) * 100 + 2 * 10);
  }
  ex__policy_jumps(&policy, trace, NULL, &jumps);
  assert_true(jumps.looked == 2 * N && jumps.jumped == N && jumps.right == N);
  /* One step at a time every jump but the last is short. */
  set(&policy, "rmax", "1");
  ex__policy_jumps(&policy, trace, NULL, &jumps);
  assert_true(jumps.right == N && jumps.over == 0 && jumps.under == N / 2 * (1 + 6));
  assert_int_equal(jumps.looked, N / 2 * (3 + 8));
  /* Nobody is predicted before eight exits have passed, but all leave before. */
  set(&policy, "rmax", "8");
  json_t *json = ex__policy_to_json(&policy);
  json_t *rows = json_object_get(json_object_get(json, "values"), "jump");
  for (size_t r = 0; r < json_array_size(rows); r++)
    for (size_t c = 0; c < json_array_size(json_array_get(rows, r)); c++)
      json_array_set_new(json_array_get(rows, r), c, json_real(-9));
  struct ex_error err;
  assert_ok(ex__policy_from_json(json, POINTS, 2, &policy, &err), &err);
  json_decref(json);
  ex__policy_jumps(&policy, trace, NULL, &jumps);
  assert_true(jumps.jumped == N && jumps.over == N);
  ex__trace_free(trace);
}

static void fitting_is_quick(void **state) {
  (void)state;
  ex_trace *trace = random_trace(8, 10000, 10, OUTPUTS);
  int64_t begin = ex__now_ns();
  fitted(trace, "learned", "outputs", "8");
  assert_true(ex__now_ns() - begin < 2000000000);
  ex__trace_free(trace);
}

/* ---- degenerate ------------------------------------------------------------- */

static void degenerate_traces(void **state) {
  (void)state;
  static const char *const engines[] = {"neighbours", "learned"};
  static const ex_real rows[][4] = {
      {0, 0, 0, 0}, {1, 1, 1, 1}, {-80, 80, -80, -80}, {1e30f, -1e30f, 0, 0}, {-5, 5, 5, -5}};
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
    for (int32_t e = 0; e < 2; e++)
      for (int32_t depth = 1; depth <= 9; depth += 4)
        for (int32_t classes = 1; classes <= 4; classes += 3) {
          ex_real raw[9 * 5 * 4];
          for (int32_t j = 0; j < depth * 5 * classes; j++) raw[j] = rows[r][j % classes];
          ex_trace *trace = trace_of(5, depth, classes, raw, NULL);
          ex_policy policy = fitted(trace, engines[e], "confidence", "8");
          struct ex_outcome outcomes[5];
          for (double beta = 0.01; beta < 1e9; beta *= 10) {
            set_number(&policy, "beta", beta);
            ex__policy_replay(&policy, trace, NULL, outcomes);
            for (int32_t i = 0; i < 5; i++) assert_int_equal(outcomes[i].point, outcomes[0].point);
          }
          assert_int_equal(outcomes[0].point, depth - 1);
          ex__trace_free(trace);
        }
}

static void bad_values_are_refused(void **state) {
  (void)state;
  struct ex_error err;
  ex_policy policy;
  assert_ok(ex__policy_init(&policy, "predictive", 4, OUTPUTS, &err), &err);
  assert_refused(ex__policy_set(&policy, "start", "4", &err), EX_EINVAL, &err, "start = 4");
  assert_refused(ex__policy_set(&policy, "normaliser", "1,2", &err), EX_EINVAL, &err,
                 "must have 3");
  assert_refused(ex__policy_set(&policy, "rmax", "9", &err), EX_EINVAL, &err, "rmax = 9");
}

/* ---- for real --------------------------------------------------------------- */

/* From the first exit straight to the last, by jumps of three: what the programs
 * themselves count is all bodies, the head of the first and that of the last. */
static void heads_that_are_jumped_over_do_not_run(void **state) {
  (void)state;
  struct fixture *f = fixture_new();
  ex_policy policy = fitted(f->trace, "neighbours", "outputs", "3");
  set(&policy, "beta", "1e8");
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  const struct ex_cost own = *ex__engine_cost(engine), *cost = &own;
  int64_t expected = cost->direct_macs[N_POINTS - 1] + cost->head_macs[0];
  int64_t heads = cost->head_macs[0] + cost->head_macs[1] + cost->head_macs[2];
  struct ex_result result = {.logits = NULL};
  assert_int_equal(ex_engine_run(engine, f->x[0], &result), EX_OK);
  assert_int_equal(ex__engine_ledger(engine)->executed, expected);
  assert_int_equal(result.exit, N_POINTS - 1);
  ex_engine_free(engine);
  set(&policy, "rmax", "1"); /* and one step at a time all of them run */
  engine = fixture_engine(f, &policy, 1, true);
  assert_int_equal(ex_engine_run(engine, f->x[0], &result), EX_OK);
  assert_int_equal(ex__engine_ledger(engine)->executed, cost->direct_macs[N_POINTS - 1] + heads);
  ex_engine_free(engine);
  fixture_free(f);
}

static void deciding_is_quick(void **state) {
  (void)state;
  static const char *const engines[] = {"neighbours", "learned"};
  for (int32_t classes = OUTPUTS; classes <= MANY; classes *= 100)
    for (int32_t e = 0; e < 2; e++) {
      ex_trace *trace = random_trace(9, 200, POINTS, classes);
      ex_policy policy = fitted(trace, engines[e], "outputs", "8");
      set(&policy, "beta", "1e8");
      int64_t least = INT64_MAX;
      for (int32_t round = 0; round < 20; round++) {
        int64_t begin = ex__now_ns();
        for (int32_t i = 0; i < 200; i++) decide_at(&policy, trace, 0, i);
        int64_t ns = ex__now_ns() - begin;
        if (ns < least) least = ns;
      }
      print_message("%s, %d classes: %.0f ns per decision\n", engines[e], (int)classes,
                    (double)least / 200);
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
      assert_true(least / 200 < (classes == OUTPUTS ? 1000 : 5000));
#endif
      ex__trace_free(trace);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sums_are_those_of_the_slow_twin),
      cmocka_unit_test(ones_grow_threefold_and_one_class_stays),
      cmocka_unit_test(neighbours_depend_on_the_order_of_classes),
      cmocka_unit_test(jumps_stay_within_bounds),
      cmocka_unit_test(beta_at_its_ends),
      cmocka_unit_test(one_step_at_a_time_is_checking_every_exit),
      cmocka_unit_test(normaliser_is_the_modulus_of_a_signed_mean),
      cmocka_unit_test(learned_jumps_go_where_samples_leave),
      cmocka_unit_test(fitting_is_quick),
      cmocka_unit_test(degenerate_traces),
      cmocka_unit_test(bad_values_are_refused),
      cmocka_unit_test(heads_that_are_jumped_over_do_not_run),
      cmocka_unit_test(deciding_is_quick),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
