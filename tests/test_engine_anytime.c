/* SPDX-License-Identifier: Apache-2.0
 *
 * Begin, advance, resume: the answers of a straight run, and no work twice.
 */
#include <math.h>

#include "tests/joined_fixture.h"

static int setup(void **state) {
  *state = fixture_new();
  return 0;
}

static int setup_joined(void **state) {
  *state = fixture_new_of(joined_nets(), (struct ex_preprocess){false, 1, {0}, {1}});
  return 0;
}

static int setup_detour(void **state) {
  *state = fixture_new_of(detour_net(), (struct ex_preprocess){true, 1, {0.5}, {0.16}});
  return 0;
}

static int teardown(void **state) {
  fixture_free(*state);
  return 0;
}

static void assert_trace_answer(const struct fixture *f, int32_t sample, int32_t point,
                                const struct ex_result *result) {
  int64_t at = ex__trace_at(f->trace, point, sample);
  assert_int_equal(result->exit, point);
  assert_int_equal(result->stage, f->trace->stage[point]);
  assert_int_equal(result->label, f->trace->answer[at].label);
  assert_true(result->confidence == f->trace->answer[at].max_probability);
  for (int32_t c = 0; c < N_CLASSES; c++)
    assert_true(result->logits[c] == f->trace->output[at * N_CLASSES + c]);
}

/* Straight to each exit: its closure of heads and no other. */
static void straight_runs_cost_the_direct_way(void **state) {
  const struct fixture *f = *state;
  ex_engine *engine = fixture_engine(f, NULL, 2, false);
  float logits[N_CLASSES];
  struct ex_result result = {.logits = logits};
  for (int32_t p = 0; p < N_POINTS; p++) {
    assert_int_equal(ex_engine_begin(engine, f->x[p]), EX_OK);
    assert_int_equal(ex_engine_advance(engine, p, &result), EX_OK);
    assert_trace_answer(f, p, p, &result);
    assert_int_equal(result.macs, f->trace->cost.direct_macs[p]);
    assert_int_equal(ex__engine_ledger(engine)->executed, result.macs);
  }
  ex_engine_free(engine);
}

static int64_t macs_of(const struct fixture *f, uint32_t bodies, uint32_t heads) {
  return ex__sum_over(f->trace->cost.body_macs, bodies) +
         ex__sum_over(f->trace->cost.head_macs, heads);
}

/* Whatever the steps, each exit's answer is the straight run's, each body and
 * each head that was needed was executed once, and a stranger in between
 * changes nothing. */
static void resuming_repeats_nothing(void **state) {
  const struct fixture *f = *state;
  ex_policy policy = fixture_max_probability(f);
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  float logits[N_CLASSES];
  struct ex_result result = {.logits = logits}, stranger = {0};
  for (uint32_t steps = 1; steps < 1u << N_POINTS; steps++) {
    int32_t sample = (int32_t)steps;
    int64_t executed = 0;
    uint32_t bodies = 0, heads = 0;
    assert_int_equal(ex_engine_begin(engine, f->x[sample]), EX_OK);
    for (int32_t p = 0; p < N_POINTS; p++) {
      if ((steps >> p & 1) == 0) continue;
      bodies |= f->trace->bodies[p];
      heads |= f->trace->closure[p];
      for (int32_t again = 0; again < 2; again++) {
        assert_int_equal(ex_engine_advance(engine, p, &result), EX_OK);
        executed += ex__engine_ledger(engine)->executed;
        assert_trace_answer(f, sample, p, &result);
        assert_int_equal(result.macs, macs_of(f, bodies, heads));
        assert_int_equal(executed, result.macs);
      }
      assert_int_equal(ex_engine_run(engine, f->x[0], &stranger), EX_OK);
    }
  }
  ex_engine_free(engine);
}

static void going_back_is_refused(void **state) {
  const struct fixture *f = *state;
  ex_engine *engine = fixture_engine(f, NULL, 1, true);
  struct ex_result result = {0};
  assert_int_equal(ex_engine_begin(engine, f->x[0]), EX_OK);
  assert_int_equal(ex_engine_advance(engine, -1, &result), EX_EINVAL);
  assert_int_equal(ex_engine_advance(engine, N_POINTS, &result), EX_EINVAL);
  assert_int_equal(ex_engine_advance(engine, 2, &result), EX_OK);
  assert_int_equal(ex_engine_advance(engine, 1, &result), EX_EINVAL);
  assert_int_equal(ex_engine_advance(engine, 3, &result), EX_OK);
  ex_engine_free(engine);
}

/* ---- deadlines ------------------------------------------------------------ */

static void no_time_is_a_missed_deadline(void **state) {
  const struct fixture *f = *state;
  ex_engine *engine = fixture_engine(f, NULL, 1, true);
  struct ex_result result = {0};
  assert_int_equal(ex_engine_begin(engine, f->x[0]), EX_OK);
  assert_int_equal(ex_engine_advance_until(engine, 0, &result), EX_EDEADLINE);
  assert_int_equal(ex_engine_advance_until(engine, INT64_MIN, &result), EX_EDEADLINE);
  assert_int_equal(ex__engine_ledger(engine)->executed, 0);
  /* What was reached is given from then on. */
  assert_int_equal(ex_engine_advance(engine, 1, &result), EX_OK);
  assert_int_equal(ex_engine_advance_until(engine, 0, &result), EX_OK);
  assert_int_equal(result.exit, 1);
  ex_engine_free(engine);
}

/* Time for the first exit by the table, and not for the next. */
static void budget_ends_it(void **state) {
  const struct fixture *f = *state;
  ex_engine *engine = fixture_engine(f, NULL, 1, true);
  const struct ex_cost *cost = ex__engine_cost(engine);
  const uint32_t *bodies = f->trace->bodies;
  int64_t first = ex__sum_over(cost->body_ns, bodies[0]) + cost->head_ns[0];
  int64_t second = ex__sum_over(cost->body_ns, bodies[1] & ~bodies[0]) + cost->head_ns[1];
  assert_true(first > 0 && second > 0);
  struct ex_result result = {0};
  assert_int_equal(ex_engine_begin(engine, f->x[0]), EX_OK);
  assert_int_equal(ex_engine_advance_until(engine, first - 1, &result), EX_EDEADLINE);
  assert_int_equal(ex_engine_advance(engine, 0, &result), EX_OK);
  assert_int_equal(ex_engine_advance_until(engine, second - 1, &result), EX_OK);
  assert_int_equal(result.exit, 0);
  assert_int_equal(ex__engine_ledger(engine)->executed, 0);
  assert_int_equal(ex_engine_advance_until(engine, INT64_MAX, &result), EX_OK);
  assert_int_equal(result.exit, N_POINTS - 1);
  ex_engine_free(engine);
}

/* With time enough, step by step or at once, the policy decides as in a run. */
static void policy_ends_it(void **state) {
  const struct fixture *f = *state;
  ex_policy policy = fixture_max_probability(f);
  ex_engine *engine = fixture_engine(f, &policy, 2, true);
  struct answers run, until;
  fixture_run(f, engine, 1, &run);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    until.result[i].logits = until.logits[i];
    assert_int_equal(ex_engine_begin(engine, f->x[i]), EX_OK);
    if (i % 2 == 0) {
      assert_int_equal(ex_engine_advance(engine, 0, &until.result[i]), EX_OK);
      assert_int_equal(ex_engine_advance_until(engine, 0, &until.result[i]), EX_OK);
    }
    assert_int_equal(ex_engine_advance_until(engine, INT64_MAX, &until.result[i]), EX_OK);
    assert_int_equal(ex_engine_advance_until(engine, INT64_MAX, &until.result[i]), EX_OK);
    assert_int_equal(ex__engine_ledger(engine)->executed, 0);
  }
  assert_same_answers(&run, &until);
  /* Past the exit at which the policy left, the caller may still go. */
  assert_int_equal(ex_engine_begin(engine, f->x[0]), EX_OK);
  assert_int_equal(ex_engine_advance_until(engine, INT64_MAX, &run.result[0]), EX_OK);
  assert_int_equal(ex_engine_advance(engine, N_POINTS - 1, &run.result[0]), EX_OK);
  assert_int_equal(run.result[0].exit, N_POINTS - 1);
  ex_engine_free(engine);
}

static void not_finite_keeps_the_last_that_was(void **state) {
  const struct fixture *f = *state;
  ex_engine *engine = fixture_engine(f, NULL, 1, true);
  float x[FEATURES];
  memcpy(x, f->x[0], sizeof x);
  x[0] = INFINITY;
  struct ex_result result = {0};
  assert_int_equal(ex_engine_begin(engine, x), EX_OK);
  assert_int_equal(ex_engine_advance(engine, 0, &result), EX_ENOTFINITE);
  assert_int_equal(ex_engine_advance_until(engine, INT64_MAX, &result), EX_ENOTFINITE);
  assert_int_equal(result.exit, N_POINTS - 1);
  assert_int_equal(result.label, -1);
  ex_engine_free(engine);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(straight_runs_cost_the_direct_way),
      cmocka_unit_test(resuming_repeats_nothing),
      cmocka_unit_test(going_back_is_refused),
      cmocka_unit_test(no_time_is_a_missed_deadline),
      cmocka_unit_test(budget_ends_it),
      cmocka_unit_test(policy_ends_it),
      cmocka_unit_test(not_finite_keeps_the_last_that_was),
  };
  int failed = cmocka_run_group_tests(tests, setup, teardown);
  failed += cmocka_run_group_tests_name("joined", tests, setup_joined, teardown);
  return failed + cmocka_run_group_tests_name("detour", tests, setup_detour, teardown);
}
