/* SPDX-License-Identifier: Apache-2.0
 *
 * What every registered exit rule must keep, with no code per rule: the
 * register is walked, and each rule is tried with its defaults and, fitted where
 * it learns, with thresholds taken from its own scores and with its candidates.
 * With a name as argument, that rule alone (CONTRIBUTING.md).
 */
#include <math.h>

#include "policy/policy.h"
#include "tests/trace_fixture.h"

enum { N = 400, POINTS = 5, OUTPUTS = 10, MAX_VARIANTS = 64 };
enum { EACH_STRIDE = 7 }; /* of candidates that are fitted one by one: some will do */

static const char *only; /* NULL: every rule */

#define FOR_EACH_RULE(class)                                                       \
  for (int32_t rule_index_ = 0; ex__policy_at(rule_index_) != NULL; rule_index_++) \
    for (const struct ex_policy_class *class = ex__policy_at(rule_index_);         \
         class != NULL && (only == NULL || strcmp(class->name, only) == 0); class = NULL)

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The threshold that lets the surest `share` of all samples leave at a point. */
static double quantile(const ex_policy *policy, const ex_trace *trace, int32_t point,
                       double share) {
  double *scores = ex__calloc((size_t)trace->n, sizeof *scores);
  for (int32_t i = 0; i < trace->n; i++) {
    struct ex_observation seen = ex__policy_observe(trace, point, i);
    scores[i] = policy->class->score(policy->values, &seen);
  }
  qsort(scores, (size_t)trace->n, sizeof *scores, compare);
  double value = policy->class->leave_at(scores[(int32_t)((1 - share) * (trace->n - 1))]);
  ex__free(scores);
  return value;
}

static int32_t make_variants(const struct ex_policy_class *class, const ex_trace *trace,
                             ex_policy *variants) {
  struct ex_error err;
  int32_t n = 0;
  assert_ok(ex__policy_init(&variants[n++], class->name, trace->n_points, trace->n_outputs, &err),
            &err);
  ex_policy fitted = variants[0];
  const struct ex_policy_fit all = {trace, 0, 1, false};
  if (class->fit != NULL) assert_ok(class->fit(fitted.values, &all, &err), &err);
  for (double share = 0; class->score != NULL && share <= 1; share += 0.25) {
    ex_policy *policy = &variants[n++];
    *policy = fitted;
    ex__policy_thresholds(policy)->n = trace->n_points - 1;
    for (int32_t p = 0; p < trace->n_points - 1; p++)
      ex__policy_thresholds(policy)->value[p] = quantile(policy, trace, p, share);
  }
  const int32_t stride = class->fit_each ? EACH_STRIDE : 1;
  for (int32_t i = 0; class->candidate != NULL && n < MAX_VARIANTS; i += stride, n++) {
    variants[n] = fitted;
    if (!class->candidate(variants[n].values, trace->n_points, i)) break;
    if (class->fit == NULL || !class->fit_each) continue;
    enum ex_status status = class->fit(variants[n].values, &all, &err);
    if (status == EX_EINFEASIBLE && i > 0) break; /* nor can what is bolder */
    assert_ok(status, &err);
  }
  return n;
}

static void tables_and_sizes(void **state) {
  (void)state;
  struct ex_error err;
  int32_t found = 0;
  FOR_EACH_RULE(class) {
    found++;
    assert_true(ex__policy_find(class->name) == class);
    assert_true(class->fit != NULL || !class->fit_each);
    assert_int_equal(class->name[strspn(class->name, "abcdefghijklmnopqrstuvwxyz0123456789-")], 0);
    assert_non_null(class->summary);
    assert_true(class->summary[strlen(class->summary) - 1] == '.');
    assert_non_null(class->decide);
    assert_true(class->size <= EX_MAX_POLICY_VALUES);
    assert_true(class->scratch_size <= EX_MAX_POLICY_SCRATCH);
    assert_ok(ex__param_check_table(class->name, class->params, &err), &err);
    if (class->score == NULL) continue;
    assert_non_null(class->leave_at);
    assert_true(class->threshold_offset + sizeof(struct ex_list) <= class->size);
  }
  assert_true(found > 0);
}

static void defaults_fit_nets_of_every_depth(void **state) {
  (void)state;
  static const int32_t depths[] = {1, 2, 3, 7, EX_MAX_POINTS};
  FOR_EACH_RULE(class) {
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
      ex_trace *trace = fixture_trace(d, 20, depths[d], 3, 1, 4);
      ex_policy policy;
      struct ex_error err;
      struct ex_outcome outcomes[20];
      assert_ok(ex__policy_init(&policy, class->name, depths[d], 3, &err), &err);
      ex__policy_replay(&policy, trace, NULL, outcomes);
      for (int32_t i = 0; i < 20; i++) assert_true(outcomes[i].point < depths[d]);
      ex__trace_free(trace);
    }
  }
}

static void json_gives_back_the_same_policy(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(1, N, POINTS, OUTPUTS, 1, 4);
  FOR_EACH_RULE(class) {
    ex_policy variants[MAX_VARIANTS], again;
    struct ex_error err;
    int32_t n = make_variants(class, trace, variants);
    for (int32_t v = 0; v < n; v++) {
      json_t *json = ex__policy_to_json(&variants[v]);
      assert_non_null(json);
      assert_ok(ex__policy_from_json(json, POINTS, OUTPUTS, &again, &err), &err);
      assert_memory_equal(again.values, variants[v].values, class->size);
      json_decref(json);
    }
  }
  ex__trace_free(trace);
}

/* The other samples, poisoned, make no difference, and a second fit none either. */
static void a_fit_sees_its_own_samples_alone(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(9, N, POINTS, OUTPUTS, 1, 4);
  size_t n = (size_t)N * POINTS * OUTPUTS;
  ex_real *raw = ex__alloc(n, sizeof *raw);
  int32_t target[N];
  memcpy(raw, trace->raw, n * sizeof *raw);
  for (int32_t i = 0; i < N; i++) {
    target[i] = i % 2 == 0 ? trace->target[i] : 0;
    for (int32_t p = 0; i % 2 != 0 && p < POINTS; p++)
      raw[ex__trace_at(trace, p, i) * OUTPUTS] = 1000;
  }
  ex_trace *poisoned = fixture_with_gates(N, POINTS, OUTPUTS, raw, trace->gate, target);
  const struct ex_policy_fit even = {trace, 0, 2, false}, same = {poisoned, 0, 2, false};
  FOR_EACH_RULE(class) {
    if (class->fit == NULL) continue;
    struct ex_error err;
    ex_policy first, second;
    assert_ok(ex__policy_init(&first, class->name, POINTS, OUTPUTS, &err), &err);
    second = first;
    assert_ok(class->fit(first.values, &even, &err), &err);
    assert_ok(class->fit(second.values, &same, &err), &err);
    assert_memory_equal(first.values, second.values, class->size);
    assert_ok(class->fit(second.values, &even, &err), &err);
    assert_memory_equal(first.values, second.values, class->size);
    assert_ok(class->check != NULL ? class->check(first.values, POINTS, OUTPUTS, &err) : EX_OK,
              &err);
  }
  ex__trace_free(poisoned);
  ex__trace_free(trace);
  ex__free(raw);
}

/* Also: what is charged is what ran, and an answer is that of a point on the way. */
static void replay_is_deterministic_and_charges_the_path(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(2, N, POINTS, OUTPUTS, 1, 4);
  FOR_EACH_RULE(class) {
    ex_policy variants[MAX_VARIANTS];
    struct ex_outcome first[N], second[N];
    memset(first, 0, sizeof first);
    memset(second, 0, sizeof second);
    int32_t n = make_variants(class, trace, variants);
    for (int32_t v = 0; v < n; v++) {
      ex__policy_replay(&variants[v], trace, NULL, first);
      ex__policy_replay(&variants[v], trace, NULL, second);
      assert_memory_equal(first, second, sizeof first);
      for (int32_t i = 0; i < N; i++) {
        int32_t p = first[i].point;
        assert_true(p >= 0 && p < POINTS && first[i].answer >= 0 && first[i].answer <= p);
        assert_true(first[i].macs <= trace->cost.macs[p]);
        assert_true(first[i].macs >= trace->cost.direct_macs[p]);
        assert_int_equal(first[i].ns, 2 * first[i].macs);
      }
    }
  }
  ex__trace_free(trace);
}

/* With everything behind exit k poisoned, whoever left by k does as before. */
static void never_reads_a_later_exit(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(3, N, POINTS, OUTPUTS, 1, 4);
  size_t column = (size_t)N * OUTPUTS;
  ex_real *raw = ex__alloc(column * POINTS, sizeof *raw);
  ex_real *gate = ex__alloc((size_t)N * POINTS, sizeof *gate);
  for (int32_t k = 0; k < POINTS; k++) {
    memcpy(raw, trace->raw, column * POINTS * sizeof *raw);
    for (size_t j = (size_t)(k + 1) * column; j < column * POINTS; j++) raw[j] = (ex_real)NAN;
    memcpy(gate, trace->gate, (size_t)N * POINTS * sizeof *gate);
    for (size_t j = (size_t)(k + 1) * N; j < (size_t)N * POINTS; j++) gate[j] = (ex_real)NAN;
    ex_trace *poisoned = fixture_with_gates(N, POINTS, OUTPUTS, raw, gate, trace->target);
    FOR_EACH_RULE(class) {
      ex_policy variants[MAX_VARIANTS];
      struct ex_outcome whole[N], cut[N];
      int32_t n = make_variants(class, trace, variants);
      for (int32_t v = 0; v < n; v++) {
        ex__policy_replay(&variants[v], trace, NULL, whole);
        ex__policy_replay(&variants[v], poisoned, NULL, cut);
        for (int32_t i = 0; i < N; i++)
          if (whole[i].point <= k)
            assert_memory_equal(&whole[i], &cut[i], sizeof whole[i]);
          else
            assert_true(cut[i].point > k);
      }
    }
    ex__trace_free(poisoned);
  }
  ex__free(raw);
  ex__free(gate);
  ex__trace_free(trace);
}

static void nobody_passes_the_last_point_allowed(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(4, N, POINTS, OUTPUTS, 1, 4);
  FOR_EACH_RULE(class) {
    ex_policy variants[MAX_VARIANTS];
    struct ex_outcome outcomes[N];
    int32_t n = make_variants(class, trace, variants);
    for (int32_t v = 0; v < n; v++)
      for (int32_t most = 0; most < POINTS; most++) {
        struct ex_env env = {.time_left_ns = INT64_MAX, .max_point = most, .target = -1};
        ex__policy_replay(&variants[v], trace, &env, outcomes);
        for (int32_t i = 0; i < N; i++) assert_true(outcomes[i].point <= most);
      }
  }
  ex__trace_free(trace);
}

/* Nothing finite: everybody is carried to the end. */
static void not_finite_goes_on(void **state) {
  (void)state;
  ex_real raw[POINTS * N * 2];
  for (int32_t j = 0; j < POINTS * N * 2; j++) raw[j] = j % 3 ? (ex_real)NAN : (ex_real)INFINITY;
  ex_trace *trace = fixture_from(N, POINTS, 2, raw, NULL);
  FOR_EACH_RULE(class) {
    ex_policy policy;
    struct ex_outcome outcomes[N];
    struct ex_error err;
    assert_ok(ex__policy_init(&policy, class->name, POINTS, 2, &err), &err);
    if (class->score != NULL) {
      ex__policy_thresholds(&policy)->n = 1;
      ex__policy_thresholds(&policy)->value[0] =
          class->leave_at(-1e9); /* whoever is finite leaves */
    }
    ex__policy_replay(&policy, trace, NULL, outcomes);
    for (int32_t i = 0; i < N; i++) assert_int_equal(outcomes[i].point, POINTS - 1);
  }
  ex__trace_free(trace);
}

/* Every output is the same row, at every point of every sample. */
static ex_trace *repeated(const ex_real row[OUTPUTS], ex_real gate_score) {
  ex_real *raw = ex__alloc((size_t)POINTS * N * OUTPUTS, sizeof *raw);
  ex_real *gate = ex__alloc((size_t)POINTS * N, sizeof *gate);
  for (size_t j = 0; j < (size_t)POINTS * N; j++) {
    gate[j] = gate_score;
    memcpy(raw + j * OUTPUTS, row, OUTPUTS * sizeof *row);
  }
  ex_trace *trace = fixture_with_gates(N, POINTS, OUTPUTS, raw, gate, NULL);
  ex__free(raw);
  ex__free(gate);
  return trace;
}

/* Equal samples leave together; a threshold at their score lets all leave at
 * once, one that is off none; the first candidate is full depth here too. */
static void check_repeated(const struct ex_policy_class *class, const ex_trace *trace) {
  ex_policy variants[MAX_VARIANTS];
  struct ex_outcome outcomes[N];
  int32_t n = make_variants(class, trace, variants);
  for (int32_t v = 0; v < n; v++) {
    ex__policy_replay(&variants[v], trace, NULL, outcomes);
    for (int32_t i = 0; i < N; i++) {
      assert_int_equal(outcomes[i].point, outcomes[0].point);
      assert_int_equal(outcomes[i].answer, outcomes[0].answer);
      assert_int_equal(outcomes[i].macs, outcomes[0].macs);
    }
    if (class->score == NULL && v == 1) assert_int_equal(outcomes[0].answer, POINTS - 1);
    if (class->score == NULL || v == 0) continue;
    assert_int_equal(outcomes[0].point, 0);
    for (int32_t p = 0; p < POINTS - 1; p++)
      ex__policy_thresholds(&variants[v])->value[p] = class->threshold_off;
    ex__policy_replay(&variants[v], trace, NULL, outcomes);
    assert_int_equal(outcomes[0].point, POINTS - 1);
  }
}

static void constant_tied_and_saturated_outputs(void **state) {
  (void)state;
  static const ex_real rows[][OUTPUTS] = {
      {1, 3, 0, -1, 0.5f, 2, -2, 0, 0, 1},                  /* constant */
      {2, 0, 2, 0, 0, 0, 0, 0, 0, 0},                       /* two tied */
      {0},                                                  /* all tied */
      {-80, -80, 80, -80, -80, -80, -80, -80, -80, -80},    /* probabilities of 0 and 1 */
      {-1e30f, 1e30f, -1e30f, 0, 0, 0, 0, 0, 0, 0},         /* the same, far out */
      {1e30f, 1e30f, -1e30f, -1e30f, 0, 0, 0, 0, 0, 1e30f}, /* tied, far out */
  };
  static const ex_real gates[] = {0, 0.5f, 1};
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
    for (size_t g = 0; g < sizeof gates / sizeof *gates; g++) {
      ex_trace *trace = repeated(rows[r], gates[g]);
      FOR_EACH_RULE(class) check_repeated(class, trace);
      ex__trace_free(trace);
    }
}

static void thresholds_mean_what_the_score_says(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(5, N, 2, OUTPUTS, 1, 4);
  FOR_EACH_RULE(class) {
    if (class->score == NULL) continue;
    ex_policy policy;
    struct ex_error err;
    struct ex_env env = {.time_left_ns = INT64_MAX, .max_point = 1, .target = -1};
    _Alignas(16) unsigned char scratch[EX_MAX_POLICY_SCRATCH];
    assert_ok(ex__policy_init(&policy, class->name, 2, OUTPUTS, &err), &err);
    ex__policy_thresholds(&policy)->n = 1;
    for (int32_t i = 0; i < N; i++) {
      struct ex_observation seen = ex__policy_observe(trace, 0, i);
      double score = class->score(policy.values, &seen);
      ex__policy_thresholds(&policy)->value[0] = class->leave_at(score);
      memset(scratch, 0, sizeof scratch);
      assert_int_equal(ex__policy_decide(&policy, scratch, &env, &seen).action, EX_LEAVE);
      ex__policy_thresholds(&policy)->value[0] = class->leave_at(nextafter(score, INFINITY));
      memset(scratch, 0, sizeof scratch);
      assert_int_equal(ex__policy_decide(&policy, scratch, &env, &seen).action, EX_GO_ON);
      ex__policy_thresholds(&policy)->value[0] = class->threshold_off;
      memset(scratch, 0, sizeof scratch);
      assert_int_equal(ex__policy_decide(&policy, scratch, &env, &seen).action, EX_GO_ON);
    }
  }
  ex__trace_free(trace);
}

/* Of a rule with a score: a sample leaves at the first exit whose threshold its
 * score reaches, as an exit that was shown no other decides it. */
static void leaving_by_score_has_no_memory(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(8, N, POINTS, OUTPUTS, 1, 4);
  FOR_EACH_RULE(class) {
    if (class->score == NULL) continue;
    ex_policy variants[MAX_VARIANTS];
    struct ex_outcome outcomes[N];
    struct ex_env env = {.time_left_ns = INT64_MAX, .max_point = POINTS - 1, .target = -1};
    int32_t n = make_variants(class, trace, variants);
    for (int32_t v = 0; v < n; v++) {
      ex__policy_replay(&variants[v], trace, NULL, outcomes);
      for (int32_t i = 0; i < N; i++) {
        int32_t first = 0;
        for (; first < POINTS - 1; first++) {
          _Alignas(16) unsigned char scratch[EX_MAX_POLICY_SCRATCH] = {0};
          struct ex_observation seen = ex__policy_observe(trace, first, i);
          if (ex__policy_decide(&variants[v], scratch, &env, &seen).action == EX_LEAVE) break;
        }
        assert_int_equal(outcomes[i].point, first);
      }
    }
  }
  ex__trace_free(trace);
}

/* A bolder threshold at any exit never keeps more samples past any exit. */
static void leaving_is_monotone_in_each_threshold(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(6, N, POINTS, OUTPUTS, 1, 4);
  FOR_EACH_RULE(class) {
    if (class->score == NULL) continue;
    ex_policy variants[MAX_VARIANTS];
    struct ex_outcome careful[N], bold[N];
    make_variants(class, trace, variants);
    ex_policy *policy = &variants[2]; /* the surest quarter leaves */
    ex__policy_replay(policy, trace, NULL, careful);
    for (int32_t p = 0; p < POINTS - 1; p++) {
      ex_policy bolder = *policy;
      ex__policy_thresholds(&bolder)->value[p] = quantile(policy, trace, p, 0.5);
      ex__policy_replay(&bolder, trace, NULL, bold);
      for (int32_t i = 0; i < N; i++) assert_true(bold[i].point <= careful[i].point);
    }
  }
  ex__trace_free(trace);
}

static void candidates_begin_at_full_depth(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(7, N, POINTS, OUTPUTS, 1, 4);
  FOR_EACH_RULE(class) {
    if (class->candidate == NULL) continue;
    ex_policy policy;
    struct ex_error err;
    struct ex_outcome outcomes[N];
    assert_ok(ex__policy_init(&policy, class->name, POINTS, OUTPUTS, &err), &err);
    assert_true(class->candidate(policy.values, POINTS, 0));
    ex__policy_replay(&policy, trace, NULL, outcomes);
    for (int32_t i = 0; i < N; i++) assert_int_equal(outcomes[i].answer, POINTS - 1);
    int32_t n = 0;
    while (n < 10000 && class->candidate(policy.values, POINTS, n)) n++;
    assert_true(n >= 1 && n < 10000);
  }
  ex__trace_free(trace);
}

int main(int argc, char **argv) {
  if (argc > 1) only = argv[1];
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tables_and_sizes),
      cmocka_unit_test(defaults_fit_nets_of_every_depth),
      cmocka_unit_test(json_gives_back_the_same_policy),
      cmocka_unit_test(a_fit_sees_its_own_samples_alone),
      cmocka_unit_test(replay_is_deterministic_and_charges_the_path),
      cmocka_unit_test(never_reads_a_later_exit),
      cmocka_unit_test(nobody_passes_the_last_point_allowed),
      cmocka_unit_test(not_finite_goes_on),
      cmocka_unit_test(constant_tied_and_saturated_outputs),
      cmocka_unit_test(thresholds_mean_what_the_score_says),
      cmocka_unit_test(leaving_by_score_has_no_memory),
      cmocka_unit_test(leaving_is_monotone_in_each_threshold),
      cmocka_unit_test(candidates_begin_at_full_depth),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
