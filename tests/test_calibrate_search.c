/* SPDX-License-Identifier: Apache-2.0
 *
 * The threshold search against brute force that replays every combination of
 * thresholds, and how long it takes.
 */
#include "base/clock.h"
#include "calibrate/threshold_problem.h"
#include "tests/trace_fixture.h"

static const struct ex_samples_range all = {0, 1};

struct truth {
  int64_t cost;
  int32_t wrong;
};

/* Every combination of levels, through policy and replay. */
static int32_t enumerate(const ex_policy *policy, const ex_trace *trace,
                         const struct ex_threshold_problem *problem, struct truth *list) {
  uint8_t level[EX_MAX_POINTS] = {0};
  struct ex_outcome *outcomes = ex__calloc((size_t)trace->n, sizeof *outcomes);
  int32_t n = 0;
  for (;;) {
    ex_policy fitted = *policy;
    struct truth truth = {0, 0};
    ex__threshold_problem_apply(problem, level, &fitted);
    ex__policy_replay(&fitted, trace, NULL, outcomes);
    for (int32_t i = 0; i < trace->n; i++) {
      truth.cost += outcomes[i].macs;
      truth.wrong += trace->quality[ex__trace_at(trace, outcomes[i].answer, i)] < 0.5F;
    }
    list[n++] = truth;
    int32_t e = 0;
    while (e < problem->n_exits && level[e] == problem->n_levels[e]) level[e++] = 0;
    if (e == problem->n_exits) break;
    level[e]++;
  }
  ex__free(outcomes);
  return n;
}

static void check_against_brute_force(const char *rule, const char *fallback, uint64_t seed,
                                      int32_t n, int32_t n_points) {
  ex_trace *trace = fixture_trace(seed, n, n_points, 4, 0.3, 2.5);
  trace->cost.head_macs[0] = 35; /* dear enough that switching it off can pay */
  ex_policy policy;
  struct ex_error err;
  struct ex_threshold_problem *problem;
  struct ex_front front;
  assert_ok(ex__policy_init(&policy, rule, n_points, 4, &err), &err);
  if (fallback != NULL) assert_ok(ex__policy_set(&policy, "fallback", fallback, &err), &err);
  assert_ok(ex__threshold_problem_new(&policy, trace, all, EX_FAULT_WRONG, false, &problem, &err),
            &err);
  assert_ok(ex__threshold_search(problem, 4096, &front, &err), &err);
  assert_true(front.exact);
  int64_t combinations = 1;
  for (int32_t e = 0; e < problem->n_exits; e++) combinations *= problem->n_levels[e] + 1;
  struct truth *list = ex__calloc((size_t)combinations, sizeof *list);
  int32_t found = enumerate(&policy, trace, problem, list);
  assert_int_equal(found, combinations);
  for (int32_t i = 0; i < front.n; i++) { /* each is real and none is beaten */
    bool real = false;
    for (int32_t j = 0; j < found; j++) {
      real = real || (list[j].cost == front.items[i].cost && list[j].wrong == front.items[i].wrong);
      assert_false((list[j].cost < front.items[i].cost && list[j].wrong <= front.items[i].wrong) ||
                   (list[j].cost <= front.items[i].cost && list[j].wrong < front.items[i].wrong));
    }
    assert_true(real);
  }
  for (int32_t j = 0; j < found; j++) /* and none is missing */
    assert_true(ex__front_covers(&front, list[j].cost, list[j].wrong));
  for (int32_t i = 1; i < front.n; i++) {
    assert_true(front.items[i].cost > front.items[i - 1].cost);
    assert_true(front.items[i].wrong < front.items[i - 1].wrong);
  }
  assert_true(front.n >= 2);
  ex__free(list);
  ex__front_free(&front);
  ex__threshold_problem_free(problem);
  ex__trace_free(trace);
}

static void front_is_that_of_brute_force(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 6; seed++) {
    check_against_brute_force("max-probability", NULL, seed, 12, 4);
    check_against_brute_force("entropy", NULL, 10 + seed, 40, 3);
    check_against_brute_force("margin", NULL, 20 + seed, 60, 2);
    check_against_brute_force("max-probability", "true", 30 + seed, 30, 3);
  }
}

/* A limited width comes close to a far wider one: area under the front. */
static double area(const struct ex_front *front, int64_t most) {
  double sum = 0;
  for (int32_t i = 0; i < front->n; i++) {
    int64_t end = i + 1 < front->n ? front->items[i + 1].cost : most;
    if (end > most) end = most;
    if (end > front->items[i].cost)
      sum += (double)(end - front->items[i].cost) * front->items[i].wrong;
  }
  return sum / (double)most;
}

static void width_and_time(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(77, 10000, 10, 10, 0.3, 3);
  ex_policy policy;
  struct ex_error err;
  struct ex_threshold_problem *problem;
  struct ex_front narrow, wide;
  assert_ok(ex__policy_init(&policy, "max-probability", 10, 10, &err), &err);
  int64_t begin = ex__now_ns();
  assert_ok(ex__threshold_problem_new(&policy, trace, all, EX_FAULT_WRONG, false, &problem, &err),
            &err);
  int64_t built = ex__now_ns();
  assert_ok(ex__threshold_search(problem, 512, &narrow, &err), &err);
  int64_t searched = ex__now_ns();
  assert_ok(ex__threshold_search(problem, 4096, &wide, &err), &err);
  int64_t most = (int64_t)trace->n * trace->cost.macs[9];
  double narrow_area = area(&narrow, most), wide_area = area(&wide, most);
  print_message("problem %.0f ms, search %.0f ms, front of %d; wide %.0f ms, front of %d; "
                "areas %.1f and %.1f\n",
                (double)(built - begin) / 1e6, (double)(searched - built) / 1e6, narrow.n,
                (double)(ex__now_ns() - searched) / 1e6, wide.n, narrow_area, wide_area);
  assert_true(narrow_area <= 1.01 * wide_area);
  ex__front_free(&narrow);
  ex__front_free(&wide);
  ex__threshold_problem_free(problem);
  ex__trace_free(trace);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(front_is_that_of_brute_force),
      cmocka_unit_test(width_and_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
