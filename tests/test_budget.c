/* SPDX-License-Identifier: Apache-2.0
 *
 * Thresholds under a bound of the mean cost: against brute force, baselines and
 * replay, and how long it takes. (The smooth problem's gradient: double_budget.c.)
 */
#include <math.h>

#include "base/clock.h"
#include "policy/budget.h"
#include "policy/policy.h"
#include "tests/trace_fixture.h"

static struct ex_budget made(const ex_trace *trace) {
  struct ex_budget budget;
  struct ex_error err;
  assert_ok(ex__budget_new(trace, 0, 1, false, &budget, &err), &err);
  return budget;
}

static struct ex_spent solved(const struct ex_budget *budget, double bound,
                              enum ex_budget_search search, const struct ex_cuts *start,
                              struct ex_cuts *cuts) {
  struct ex_error err;
  assert_ok(ex__budget_solve(budget, bound, search, start, cuts, &err), &err);
  struct ex_spent spent = ex__budget_spent(budget, cuts);
  assert_true(ex__budget_keeps(budget, spent.cost, bound)); /* always */
  return spent;
}

/* The most right answers of all cuts on a grid of `steps` per exit that keep the bound. */
static int64_t brute_force(const struct ex_budget *budget, double bound, int32_t steps) {
  int64_t best = -1;
  int32_t at[EX_MAX_POINTS] = {0}, e;
  do {
    struct ex_cuts cuts = {{0}};
    double threshold[EX_MAX_POINTS];
    for (e = 0; e < budget->n_exits; e++)
      cuts.at[e] = (int32_t)((int64_t)budget->able[e] * at[e] / steps);
    ex__budget_thresholds(budget, &cuts, 2, threshold); /* and equals with their equals */
    ex__budget_cuts(budget, threshold, &cuts);
    struct ex_spent spent = ex__budget_spent(budget, &cuts);
    if (ex__budget_keeps(budget, spent.cost, bound) && spent.right > best) best = spent.right;
    for (e = 0; e < budget->n_exits && at[e] == steps; e++) at[e] = 0;
    if (e < budget->n_exits) at[e]++;
  } while (e < budget->n_exits);
  return best;
}

/* Small: every cut there is. Of 20 samples one is 5 points; of all instances together
 * less than half a point may be missing. */
static void small_instances_against_every_cut(void **state) {
  (void)state;
  int64_t missing = 0, samples = 0;
  for (uint64_t seed = 1; seed <= 12; seed++)
    for (int32_t points = 2; points <= 4; points++) {
      ex_trace *trace = fixture_trace(seed, 20, points, 4, 0.3, 2.5);
      if (seed % 2 == 0) trace->cost.head_macs[0] = 35; /* switching it off can pay */
      struct ex_budget budget = made(trace);
      for (double bound = 0.65; bound < 1; bound += 0.11) {
        struct ex_cuts cuts;
        struct ex_spent spent = solved(&budget, bound, EX_BUDGET_PENALTY, NULL, &cuts);
        int64_t best = brute_force(&budget, bound, budget.n);
        assert_true(spent.right <= best);
        missing += best - spent.right;
        samples += budget.total;
      }
      ex__budget_free(&budget);
      ex__trace_free(trace);
    }
  print_message("%lld of %lld samples short of every cut\n", (long long)missing,
                (long long)samples);
  assert_true((double)missing < 0.005 * (double)samples);
}

/* Larger, against a grid: at least as good but for 0.1 points, and no baseline is better. */
static void large_instances_against_a_grid(void **state) {
  (void)state;
  double shared = 0, geometric = 0;
  for (uint64_t seed = 1; seed <= 3; seed++) {
    ex_trace *trace = fixture_trace(seed, 2000, 4, 10, 0.5, 3);
    struct ex_budget budget = made(trace);
    for (double bound = 0.4; bound < 0.95; bound += 0.15) {
      struct ex_cuts cuts, other;
      int64_t right = solved(&budget, bound, EX_BUDGET_PENALTY, NULL, &cuts).right;
      int64_t one = solved(&budget, bound, EX_BUDGET_SHARED, NULL, &other).right;
      int64_t quota = solved(&budget, bound, EX_BUDGET_GEOMETRIC, NULL, &other).right;
      assert_true(right >= brute_force(&budget, bound, 24) - 2);
      assert_true(right >= one && right >= quota);
      shared += (double)(right - one) / 2000 / 12;
      geometric += (double)(right - quota) / 2000 / 12;
    }
    ex__budget_free(&budget);
    ex__trace_free(trace);
  }
  print_message("points above one threshold %.2f, above quotas %.2f\n", 100 * shared,
                100 * geometric);
  assert_true(shared > 0 && geometric > 0);
}

static void more_is_allowed_and_more_is_right(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(5, 2000, 4, 10, 0.5, 3);
  struct ex_budget budget = made(trace);
  struct ex_cuts cuts, start = {{0}};
  int64_t before = trace->n;
  for (double bound = 0.95; bound > 0.3; bound -= 0.05) { /* each from the one before */
    const struct ex_cuts *from = before < trace->n ? &start : NULL;
    int64_t right = solved(&budget, bound, EX_BUDGET_PENALTY, from, &cuts).right;
    assert_true(right <= before + 2); /* 0.1 points */
    before = right;
    start = cuts;
  }
  ex__budget_free(&budget);
  ex__trace_free(trace);
}

/* Mean cost does not fall where a threshold rises, but for a head that is saved. */
static void cost_rises_with_each_threshold(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(6, 500, 4, 10, 0.5, 3);
  struct ex_budget budget = made(trace);
  for (int32_t e = 0; e < 3; e++) {
    struct ex_cuts cuts = {{200, 200, 200}};
    int64_t before = 0;
    for (int32_t at = budget.able[e]; at >= 1; at--) {
      cuts.at[e] = at;
      struct ex_spent spent = ex__budget_spent(&budget, &cuts);
      assert_true(spent.cost >= before);
      before = spent.cost;
    }
  }
  ex__budget_free(&budget);
  ex__trace_free(trace);
}

static void ends_of_the_range(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(7, 300, 4, 10, 0.5, 3);
  struct ex_budget budget = made(trace);
  struct ex_cuts cuts;
  struct ex_error err;
  solved(&budget, 1, EX_BUDGET_PENALTY, NULL, &cuts);
  for (int32_t e = 0; e < 3; e++) assert_int_equal(cuts.at[e], 0);
  for (int32_t search = 0; search < 3; search++) {
    const double least = 110.0 / 410; /* a body and a head, of four and one */
    struct ex_spent spent = solved(&budget, least, (enum ex_budget_search)search, NULL, &cuts);
    assert_int_equal(spent.cost, 110 * 300);
    assert_refused(
        ex__budget_solve(&budget, 0.26, (enum ex_budget_search)search, NULL, &cuts, &err),
        EX_EINFEASIBLE, &err, "cheapest that these exits allow is 0.268");
  }
  ex__budget_free(&budget);
  ex__trace_free(trace);
}

/* Thresholds, cuts and replay say the same, also of equals and outputs not finite. */
static void replay_spends_what_was_counted(void **state) {
  (void)state;
  enum { M = 400 };
  ex_real raw[4 * M * 3];
  int32_t target[M];
  struct ex_random random = ex__random_seed(8, 1);
  for (int32_t j = 0; j < 4 * M * 3; j++) raw[j] = (ex_real)ex__random_below(&random, 4); /* ties */
  for (int32_t i = 0; i < M; i++) target[i] = (int32_t)ex__random_below(&random, 3);
  for (int32_t i = 0; i < M; i += 17) raw[i * 3] = (ex_real)NAN;
  for (int32_t i = 0; i < M; i += 5) raw[i * 3] = 200; /* saturated */
  ex_trace *trace = fixture_from(M, 4, 3, raw, target);
  struct ex_budget budget = made(trace);
  assert_true(budget.n < M && budget.able[0] < budget.n);
  for (double share = 0.4; share < 1; share += 0.1) {
    ex_policy policy;
    struct ex_error err;
    struct ex_outcome outcomes[M];
    struct ex_cuts cuts;
    const struct ex_policy_fit job = {trace, 0, 1, false};
    char text[16];
    snprintf(text, sizeof text, "%.1f", share);
    assert_ok(ex__policy_init(&policy, "latency-aware", 4, 3, &err), &err);
    assert_ok(ex__policy_set(&policy, "share", text, &err), &err);
    assert_ok(policy.class->fit(policy.values, &job, &err), &err);
    ex__policy_replay(&policy, trace, NULL, outcomes);
    struct ex_spent spent = solved(&budget, strtod(text, NULL), EX_BUDGET_PENALTY, NULL, &cuts),
                    found = {0, 0};
    for (int32_t i = 0; i < M; i++) {
      found.cost += outcomes[i].macs;
      found.right += trace->quality[ex__trace_at(trace, outcomes[i].answer, i)] > 0.5F;
    }
    assert_int_equal(found.cost, spent.cost);
    assert_int_equal(found.right, spent.right);
  }
  ex__budget_free(&budget);
  ex__trace_free(trace);
}

/* In another order, and all of it twice: the same thresholds to the bit. */
static void order_and_copies_are_nothing(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(9, 301, 4, 10, 0.5, 3), *other;
  int32_t items[602];
  struct ex_error err;
  for (int32_t i = 0; i < 602; i++) items[i] = (11 * i + 5) % 301;
  for (int32_t copies = 1; copies <= 2; copies++) {
    assert_ok(ex__trace_pick(trace, items, 301 * copies, &other, &err), &err);
    struct ex_budget budget = made(trace), same = made(other);
    assert_true(same.n == budget.n && same.total == copies * budget.total);
    for (double bound = 0.4; bound < 1; bound += 0.1) {
      struct ex_cuts cuts, again;
      solved(&budget, bound, EX_BUDGET_PENALTY, NULL, &cuts);
      solved(&same, bound, EX_BUDGET_PENALTY, NULL, &again);
      for (int32_t e = 0; e < 3; e++) assert_int_equal(cuts.at[e], again.at[e]);
    }
    ex__budget_free(&budget);
    ex__budget_free(&same);
    ex__trace_free(other);
  }
  ex__trace_free(trace);
}

/* Under measured time the same cuts cost nanoseconds. */
static void time_is_a_cost_too(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(10, 300, 3, 10, 0.5, 3);
  trace->cost.body_ns[1] = 2000; /* the second stage is slow */
  struct ex_budget budget;
  struct ex_error err;
  assert_ok(ex__budget_new(trace, 0, 1, true, &budget, &err), &err);
  assert_int_equal(budget.costs.full, 200 + 2000 + 200 + 20);
  assert_true(fabs(budget.leave[0] - 220.0 / 2420) < 1e-12);
  struct ex_cuts cuts;
  solved(&budget, 0.2, EX_BUDGET_PENALTY, NULL, &cuts); /* in multiply-adds nobody could */
  ex__budget_free(&budget);
  ex__trace_free(trace);
}

static void solving_takes_under_a_second(void **state) {
  (void)state;
  static const int32_t exits[] = {4, 6, 10};
  for (size_t k = 0; k < 3; k++) {
    ex_trace *trace = fixture_trace(11, 5000, exits[k], 10, 0.5, 3);
    struct ex_budget budget = made(trace);
    struct ex_cuts cuts, next;
    double ms = 1e9, warm = 1e9;
    for (int32_t round = 0; round < 3; round++) { /* the best: the machine may be busy */
      int64_t begin = ex__now_ns();
      solved(&budget, 0.6, EX_BUDGET_PENALTY, NULL, &cuts);
      ms = fmin(ms, (double)(ex__now_ns() - begin) / 1e6);
      begin = ex__now_ns();
      solved(&budget, 0.59, EX_BUDGET_PENALTY, &cuts, &next);
      warm = fmin(warm, (double)(ex__now_ns() - begin) / 1e6);
    }
    print_message("5,000 samples, %d exits: %.0f ms, from the bound before %.0f ms\n",
                  (int)exits[k], ms, warm);
    assert_true(ms < 1000 || exits[k] > 6);
    ex__budget_free(&budget);
    ex__trace_free(trace);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(small_instances_against_every_cut),
      cmocka_unit_test(large_instances_against_a_grid),
      cmocka_unit_test(more_is_allowed_and_more_is_right),
      cmocka_unit_test(cost_rises_with_each_threshold),
      cmocka_unit_test(ends_of_the_range),
      cmocka_unit_test(replay_spends_what_was_counted),
      cmocka_unit_test(order_and_copies_are_nothing),
      cmocka_unit_test(time_is_a_cost_too),
      cmocka_unit_test(solving_takes_under_a_second),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
