/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine against replay, against the oracle, and against itself in every
 * shape of batch and number of threads.
 */
#include <math.h>

#include "tests/joined_fixture.h"

static int setup(void **state) {
  *state = fixture_new();
  return 0;
}

/* Answers that add up: each needs all heads before it, whatever is jumped over. */
static int setup_additive(void **state) {
  const struct ex_transform additive = {.kind = EX_TRANSFORM_ADDITIVE, .factor = 0.5};
  *state = fixture_new_with(&additive);
  return 0;
}

static int setup_product(void **state) {
  struct ex_transform product = {.kind = EX_TRANSFORM_IDENTITY};
  ex__transform_set_product(&product, N_POINTS);
  *state = fixture_new_with(&product);
  return 0;
}

/* The third exit reads the first and not the second, the last answers for itself. */
static int setup_ensemble(void **state) {
  struct ex_transform ensemble = {.kind = EX_TRANSFORM_ENSEMBLE,
                                  .ensemble =
                                      ex__ensemble_new(EX_MEAN_GEOMETRIC, N_POINTS, N_CLASSES)};
  for (int32_t p = 0; p < N_POINTS - 1; p++) {
    double *row = ex__ensemble_row(ensemble.ensemble, p);
    for (int32_t j = 0; j <= p; j++) row[j] = p == 2 && j == 1 ? 0 : 0.2 + j;
    for (int32_t c = 0; c < N_CLASSES; c++) row[p + 1 + c] = 0.1 * c;
  }
  *state = fixture_new_with(&ensemble);
  ex__transform_clear(&ensemble);
  return 0;
}

/* Whole networks: each exit needs the bodies of its own alone. */
static int setup_joined(void **state) {
  *state = fixture_new_of(joined_nets(), (struct ex_preprocess){false, 1, {0}, {1}});
  return 0;
}

/* No row: the third exit does without the second body, the last does not. */
static int setup_detour(void **state) {
  *state = fixture_new_of(detour_net(), (struct ex_preprocess){true, 1, {0.5}, {0.16}});
  return 0;
}

static int teardown(void **state) {
  fixture_free(*state);
  return 0;
}

static bool has_gates(const struct fixture *f) { return f->model->net->points[0].gate >= 0; }

static bool can_run(const struct fixture *f, const struct ex_policy_class *class) {
  bool gates = (class->needs & EX_POLICY_NEEDS_GATE) == 0 || has_gates(f);
  return (class->needs & EX_POLICY_NEEDS_TARGET) == 0 && gates;
}

static void check_replay(const struct fixture *f, const ex_policy *policy,
                         const struct answers *live) {
  struct ex_outcome outcome[N_SAMPLES];
  ex__policy_replay(policy, f->trace, NULL, outcome);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    const struct ex_result *result = &live->result[i];
    int64_t at = ex__trace_at(f->trace, outcome[i].answer, i);
    assert_int_equal(result->exit, outcome[i].answer);
    assert_int_equal(result->stage, f->trace->stage[outcome[i].point]);
    assert_int_equal(result->macs, outcome[i].macs);
    assert_int_equal(result->label, f->trace->answer[at].label);
    assert_true(result->confidence == f->trace->answer[at].max_probability);
    for (int32_t c = 0; c < N_CLASSES; c++)
      assert_true(live->logits[i][c] == f->trace->output[at * N_CLASSES + c]);
  }
}

/* Every registered rule: the engine leaves where replay leaves, at the same
 * charge and with the same bits, alone and in company. */
static void live_equals_replay(void **state) {
  const struct fixture *f = *state;
  const struct ex_policy_class *class;
  for (int32_t c = 0; (class = ex__policy_at(c)) != NULL; c++) {
    ex_policy policy;
    for (int32_t v = 0; can_run(f, class) && v < N_VARIANTS && fixture_policy(f, class, v, &policy);
         v++) {
      ex_engine *engine = fixture_engine(f, &policy, 2, true);
      struct answers alone, together;
      fixture_run(f, engine, 1, &alone);
      check_replay(f, &policy, &alone);
      fixture_run(f, engine, N_SAMPLES, &together);
      assert_same_answers(&alone, &together);
      ex_engine_free(engine);
    }
  }
}

struct watched {
  int32_t n, exit;
  int64_t macs; /* of the last step; then of where the next should be */
};

/* Costs join up from step to step, and a reading says what was done. */
static void watch(void *context, const struct ex_engine_step *step) {
  struct watched *watched = context;
  if (watched->n++ > 0) assert_int_equal(step->macs, watched->macs);
  if (step->has_reading && isfinite(step->reading.value)) {
    bool below = step->reading.value < step->reading.threshold;
    assert_int_equal(step->reading.below == below, step->decision.action == EX_LEAVE);
  }
  watched->exit = step->decision.point;
  watched->macs = step->macs;
  if (step->decision.action != EX_LEAVE) watched->macs += step->next_macs;
}

static void watching_changes_nothing(void **state) {
  const struct fixture *f = *state;
  const struct ex_policy_class *class;
  for (int32_t c = 0; (class = ex__policy_at(c)) != NULL; c++) {
    ex_policy policy;
    for (int32_t v = 0; can_run(f, class) && v < N_VARIANTS && fixture_policy(f, class, v, &policy);
         v++) {
      ex_engine *engine = fixture_engine(f, &policy, 1, true);
      struct answers alone;
      fixture_run(f, engine, 1, &alone);
      for (int32_t i = 0; i < N_SAMPLES; i++) {
        struct ex_result result = {.logits = NULL};
        struct watched watched = {0};
        assert_int_equal(ex__engine_watch(engine, f->x[i], watch, &watched, &result), EX_OK);
        assert_int_equal(result.exit, alone.result[i].exit);
        assert_int_equal(result.macs, alone.result[i].macs);
        assert_int_equal(watched.macs, result.macs);
        assert_int_equal(watched.exit, result.exit);
      }
      ex_engine_free(engine);
    }
  }
}

/* A test in which all samples leave at one exit would prove little. */
static void samples_leave_everywhere(void **state) {
  const struct fixture *f = *state;
  ex_policy policy = fixture_max_probability(f);
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  struct answers answers;
  fixture_run(f, engine, 8, &answers);
  int32_t n_at[N_POINTS] = {0};
  for (int32_t i = 0; i < N_SAMPLES; i++) n_at[answers.result[i].exit]++;
  for (int32_t p = 0; p < N_POINTS; p++) assert_true(n_at[p] >= 4);
  ex_engine_free(engine);
}

static void company_and_threads_keep_the_bits(void **state) {
  const struct fixture *f = *state;
  ex_policy policy = fixture_max_probability(f);
  struct answers first, other;
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  fixture_run(f, engine, 1, &first);
  ex_engine_free(engine);
  for (int32_t threads = 1; threads <= 3; threads++)
    for (int32_t untimed = 0; untimed < 2; untimed++) {
      engine = fixture_engine(f, &policy, threads, untimed);
      for (int32_t round = 0; round < 20; round++) {
        static const int32_t batches[] = {1, 7, N_SAMPLES, 2};
        fixture_run(f, engine, batches[round % 4], &other);
        assert_same_answers(&first, &other);
      }
      ex_engine_free(engine);
    }
}

static void reference_agrees(void **state) {
  const struct fixture *f = *state;
  struct ex_error err;
  ex_policy policy = fixture_max_probability(f);
  struct answers fast, slow;
  ex_engine *engine = fixture_engine(f, &policy, 2, false);
  fixture_run(f, engine, 7, &fast);
  ex_engine_free(engine);
  for (int32_t i = 0; i < N_SAMPLES; i++) slow.result[i].logits = slow.logits[i];
  assert_ok(ex__engine_reference(f->model, &policy, false, f->x[0], N_SAMPLES, slow.result, &err),
            &err);
  int32_t n_at_threshold = 0;
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    if (fast.result[i].exit != slow.result[i].exit) {
      n_at_threshold++; /* a threshold is one sample's own score: the last bit decides */
      continue;
    }
    assert_int_equal(fast.result[i].label, slow.result[i].label);
    assert_int_equal(fast.result[i].stage, slow.result[i].stage);
    assert_int_equal(fast.result[i].macs, slow.result[i].macs);
    for (int32_t c = 0; c < N_CLASSES; c++)
      assert_true(fabsf(fast.logits[i][c] - slow.logits[i][c]) < 1e-4f);
  }
  assert_true(n_at_threshold <= N_POINTS - 1);
}

/* ---- jumps ---------------------------------------------------------------- */

/* From the first exit to the third, whose answer needs the head of the first;
 * on again to the last if the third is not certain. */
static struct ex_decision jump(const void *values, void *scratch, const struct ex_env *env,
                               const struct ex_observation *seen) {
  (void)values, (void)scratch, (void)env;
  if (seen->point == 0) return (struct ex_decision){EX_GO_TO, 2};
  bool sure = seen->point != 2 || seen->answer.label % 2 == 0;
  return (struct ex_decision){sure ? EX_LEAVE : EX_GO_ON, seen->point};
}

static bool skips_first(const void *values, int32_t point, int32_t n_points) {
  (void)values, (void)n_points;
  return point == 0;
}

/* The first exit is skipped; what the third needs of it is run late. */
static struct ex_decision late(const void *values, void *scratch, const struct ex_env *env,
                               const struct ex_observation *seen) {
  (void)values, (void)scratch, (void)env;
  bool go_on = seen->point < 2 || seen->answer.label % 2 == 0;
  return (struct ex_decision){go_on ? EX_GO_ON : EX_LEAVE, seen->point};
}

static void jumps_run_what_they_need(void **state) {
  const struct fixture *f = *state;
  static const struct ex_policy_class classes[] = {
      {.name = "jump", .decide = jump},
      {.name = "late", .skips = skips_first, .decide = late},
      {.name = "gated jump", .needs = EX_POLICY_NEEDS_GATE, .decide = jump}};
  for (size_t c = 0; c < sizeof classes / sizeof *classes; c++) {
    if (!can_run(f, &classes[c])) continue;
    const ex_policy policy = {.class = &classes[c], .n_points = N_POINTS, .n_outputs = N_CLASSES};
    ex_engine *engine = fixture_engine(f, &policy, 2, true);
    struct answers alone, together;
    fixture_run(f, engine, 1, &alone);
    check_replay(f, &policy, &alone);
    fixture_run(f, engine, N_SAMPLES, &together);
    assert_same_answers(&alone, &together);
    const struct ex_ledger *ledger = ex__engine_ledger(engine);
    assert_int_equal(ledger->executed, ledger->body + ledger->head + ledger->gate);
    assert_int_equal(ledger->gate > 0, classes[c].needs != 0);
    ex_engine_free(engine);
  }
}

/* Gates set by hand: a fourth of the samples stops at the first exit, a fourth goes to
 * each of the others, where half stop and half go to the last. */
static void routes_run_what_they_need(void **state) {
  const struct fixture *f = *state;
  enum { ROWS = 6 };
  struct ex_error err;
  double score[N_SAMPLES];
  char text[1024];
  ex_policy policy;
  for (int32_t i = 0; i < N_SAMPLES; i++) score[i] = f->trace->answer[i].max_probability;
  qsort(score, N_SAMPLES, sizeof *score, fixture_compare);
  const ex_policy sure = {.class = ex__policy_find("max-probability")};
  const double at[ROWS] = {score[3 * N_SAMPLES / 4],
                           score[N_SAMPLES / 2],
                           score[N_SAMPLES / 4],
                           fixture_median_score(f, &sure, 1),
                           2,
                           fixture_median_score(f, &sure, 2)};
  int length = 0;
  for (int32_t row = 0; row < ROWS; row++)
    length += snprintf(text + length, sizeof text - (size_t)length, "%s%.17g,1,0,0,0,0,0,0,0",
                       row > 0 ? ";" : "", at[row]);
  assert_ok(ex__policy_init(&policy, "adaptive", N_POINTS, N_CLASSES, &err), &err);
  assert_ok(ex__policy_set(&policy, "gates", text, &err), &err);
  struct ex_jumps jumps;
  ex__policy_jumps(&policy, f->trace, NULL, &jumps);
  assert_true(jumps.jumped > N_SAMPLES / 3);
  for (int32_t threads = 1; threads <= 2; threads++) {
    ex_engine *engine = fixture_engine(f, &policy, threads, true);
    struct answers alone, together;
    fixture_run(f, engine, 1, &alone);
    check_replay(f, &policy, &alone);
    fixture_run(f, engine, N_SAMPLES, &together);
    assert_same_answers(&alone, &together);
    const struct ex_ledger *ledger = ex__engine_ledger(engine);
    assert_int_equal(ledger->executed, ledger->body + ledger->head);
    ex_engine_free(engine);
  }
}

/* ---- ledger --------------------------------------------------------------- */

static void ledger_sums(void **state) {
  const struct fixture *f = *state;
  ex_policy policy = fixture_max_probability(f);
  for (int32_t threads = 1; threads <= 2; threads++) {
    ex_engine *engine = fixture_engine(f, &policy, threads, false);
    ex__engine_profile(engine, true);
    struct answers answers;
    for (int32_t batch = 1; batch <= N_SAMPLES; batch *= N_SAMPLES) {
      fixture_run(f, engine, batch, &answers);
      const struct ex_ledger *ledger = ex__engine_ledger(engine);
      int64_t spent = 0, full = ex__engine_cost(engine)->macs[N_POINTS - 1] * batch;
      for (int32_t i = 0; i < batch; i++) spent += answers.result[N_SAMPLES - 1 - i].macs;
      assert_int_equal(ledger->samples, batch);
      assert_int_equal(ledger->body + ledger->head + ledger->gate, spent);
      assert_int_equal(ledger->executed, spent);
      assert_true(spent > 0 && (batch == 1 || spent < full));
      assert_int_equal(ledger->input_ns + ledger->body_ns + ledger->head_ns + ledger->gate_ns +
                           ledger->decide_ns + ledger->queue_ns,
                       ledger->total_ns);
      assert_true(ledger->body_ns > 0 && ledger->head_ns > 0 && ledger->decide_ns > 0);
      assert_true(ledger->total_ns <= threads * ledger->wall_ns);
    }
    ex_engine_free(engine);
  }
}

/* ---- refusals ------------------------------------------------------------- */

static void bad_options_are_refused(void **state) {
  const struct fixture *f = *state;
  struct ex_error err;
  ex_engine *engine;
  struct ex_engine_options options = {.size = 1};
  assert_refused(ex_engine_new(f->model, &options, &engine, &err), EX_EINVAL, &err, "size = 1");
  assert_null(engine);
  options = (struct ex_engine_options){.size = sizeof options, .threads = 257};
  assert_refused(ex_engine_new(f->model, &options, &engine, &err), EX_EINVAL, &err,
                 "threads = 257");
  options = (struct ex_engine_options){.size = sizeof options, .max_batch = -1};
  assert_refused(ex_engine_new(f->model, &options, &engine, &err), EX_EINVAL, &err,
                 "max_batch = -1");
  assert_refused(ex_engine_new(f->model, NULL, &engine, &err), EX_EINVAL, &err, "no policy");
  assert_refused(ex_engine_new(NULL, NULL, &engine, &err), EX_EINVAL, &err, "no model");
  ex_engine_free(NULL);
}

static void wrong_policies_are_refused(void **state) {
  const struct fixture *f = *state;
  struct ex_error err;
  ex_engine *engine;
  ex_policy policy;
  assert_ok(ex__policy_init(&policy, "oracle", N_POINTS, N_CLASSES, &err), &err);
  assert_refused(ex__engine_new(f->model, &policy, NULL, &engine, &err), EX_EINVAL, &err,
                 "true class");
  assert_ok(ex__policy_init(&policy, "entropy", N_POINTS + 1, N_CLASSES, &err), &err);
  assert_refused(ex__engine_new(f->model, &policy, NULL, &engine, &err), EX_EINVAL, &err,
                 "5 exits");
}

static void bad_calls_are_refused(void **state) {
  const struct fixture *f = *state;
  ex_policy policy = fixture_max_probability(f);
  struct ex_result result = {0};
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  assert_int_equal(ex_engine_run(engine, NULL, &result), EX_EINVAL);
  assert_int_equal(ex_engine_run(NULL, f->x[0], &result), EX_EINVAL);
  assert_int_equal(ex_engine_run_many(engine, f->x[0], 0, &result), EX_EINVAL);
  assert_int_equal(ex_engine_run_many(engine, f->x[0], N_SAMPLES + 1, &result), EX_EINVAL);
  assert_int_equal(ex_engine_advance(engine, 0, &result), EX_EINVAL); /* nothing was begun */
  ex_engine_free(engine);
  engine = fixture_engine(f, NULL, 1, true); /* no policy */
  assert_int_equal(ex_engine_run(engine, f->x[0], &result), EX_EINVAL);
  assert_int_equal(ex_engine_run_many(engine, f->x[0], 2, &result), EX_EINVAL);
  ex_engine_free(engine);
}

/* ---- numbers that are not finite ------------------------------------------ */

static void not_finite_goes_on(void **state) {
  const struct fixture *f = *state;
  ex_policy policy = fixture_max_probability(f);
  ex_engine *engine = fixture_engine(f, &policy, 2, true);
  float x[3][FEATURES];
  struct ex_result result[3] = {{0}}, alone = {0};
  memcpy(x, f->x, sizeof x);
  x[1][FEATURES / 2] = NAN;
  assert_int_equal(ex_engine_run_many(engine, x[0], 3, result), EX_ENOTFINITE);
  assert_int_equal(result[1].label, -1);
  assert_int_equal(result[1].exit, N_POINTS - 1);
  assert_true(isnan(result[1].confidence));
  for (int32_t i = 0; i < 3; i += 2) {
    assert_int_equal(ex_engine_run(engine, f->x[i], &alone), EX_OK);
    assert_int_equal(result[i].label, alone.label);
    assert_true(result[i].confidence == alone.confidence);
  }
  assert_int_equal(ex_engine_run(engine, x[1], &alone), EX_ENOTFINITE);
  assert_int_equal(ex_engine_run(engine, x[0], &alone), EX_OK); /* nothing is left behind */
  assert_true(alone.confidence == result[0].confidence);
  ex_engine_free(engine);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(live_equals_replay),
      cmocka_unit_test(watching_changes_nothing),
      cmocka_unit_test(samples_leave_everywhere),
      cmocka_unit_test(company_and_threads_keep_the_bits),
      cmocka_unit_test(reference_agrees),
      cmocka_unit_test(jumps_run_what_they_need),
      cmocka_unit_test(routes_run_what_they_need),
      cmocka_unit_test(ledger_sums),
      cmocka_unit_test(bad_options_are_refused),
      cmocka_unit_test(wrong_policies_are_refused),
      cmocka_unit_test(bad_calls_are_refused),
      cmocka_unit_test(not_finite_goes_on),
  };
  int failed = cmocka_run_group_tests(tests, setup, teardown);
  failed += cmocka_run_group_tests_name("product", tests, setup_product, teardown);
  failed += cmocka_run_group_tests_name("additive", tests, setup_additive, teardown);
  failed += cmocka_run_group_tests_name("joined", tests, setup_joined, teardown);
  failed += cmocka_run_group_tests_name("detour", tests, setup_detour, teardown);
  return failed + cmocka_run_group_tests_name("ensemble", tests, setup_ensemble, teardown);
}
