/* SPDX-License-Identifier: Apache-2.0
 *
 * The measured cost table says what a caller waits for, part by part.
 */
#include "base/clock.h"
#include "tests/engine_fixture.h"

enum { N_PASSES = 101 };

static int compare(const void *left, const void *right) {
  const int64_t *a = left, *b = right;
  return (*a > *b) - (*a < *b);
}

/* Median nanoseconds of bringing a sample through every exit, by the clock. */
static int64_t by_the_clock(const struct fixture *f, ex_engine *engine) {
  int64_t ns[N_PASSES];
  struct ex_result result = {0};
  for (int32_t i = 0; i < N_PASSES; i++) {
    int64_t start = ex__now_ns();
    assert_int_equal(ex_engine_begin(engine, f->x[i % N_SAMPLES]), EX_OK);
    for (int32_t p = 0; p < N_POINTS; p++)
      assert_int_equal(ex_engine_advance(engine, p, &result), EX_OK);
    ns[i] = ex__now_ns() - start;
  }
  qsort(ns, N_PASSES, sizeof *ns, compare);
  return ns[N_PASSES / 2];
}

static void parts_sum_to_the_whole(void **state) {
  (void)state;
  struct ex_error err;
  struct fixture *f = fixture_new();
  ex_policy policy = fixture_max_probability(f);
  ex_engine *engine = fixture_engine(f, &policy, 1, true);
  struct answers before, after;
  struct ex_cost cost;
  fixture_run(f, engine, 1, &before);
  ex__net_cost(f->model->net, &cost);
  int64_t macs = cost.macs[N_POINTS - 1], sum = 0;
  assert_ok(ex__engine_measure(engine, f->x[0], N_SAMPLES, &cost, &err), &err);
  assert_int_equal(cost.macs[N_POINTS - 1], macs);
  for (int32_t s = 0; s < f->model->net->n_stages; s++) {
    assert_true(cost.body_ns[s] > 0);
    sum += cost.body_ns[s];
  }
  for (int32_t p = 0; p < N_POINTS; p++) {
    assert_true(cost.head_ns[p] > 0);
    sum += cost.head_ns[p];
  }
  int64_t whole = by_the_clock(f, engine);
  if (sum < whole / 3 || sum > 3 * whole)
    fail_msg("parts sum to %lld ns, the whole takes %lld", (long long)sum, (long long)whole);
  fixture_run(f, engine, 1, &after);
  assert_same_answers(&before, &after);
  ex_engine_free(engine);
  fixture_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(parts_sum_to_the_whole)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
