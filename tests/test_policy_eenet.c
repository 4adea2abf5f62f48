/* SPDX-License-Identifier: Apache-2.0
 *
 * EENet's scheduler: its budget is what it spends, its scores tell right from
 * wrong, and it fits traces of any size and depth.
 */
#include <math.h>

#include "base/clock.h"
#include "policy/policy.h"
#include "tests/trace_fixture.h"

enum { N = 1500, POINTS = 4, OUTPUTS = 10 };

static ex_policy fitted(const ex_trace *trace, const char *budget) {
  ex_policy policy;
  struct ex_error err;
  const struct ex_policy_fit job = {trace, 0, 1, false};
  assert_ok(ex__policy_init(&policy, "eenet", trace->n_points, trace->n_outputs, &err), &err);
  assert_ok(ex__policy_set(&policy, "budget", budget, &err), &err);
  assert_ok(policy.class->fit(policy.values, &job, &err), &err);
  return policy;
}

struct spent {
  double cost, accuracy; /* cost: share of full depth */
};

static struct spent replay(const ex_policy *policy, const ex_trace *trace) {
  static struct ex_outcome outcomes[N];
  struct spent spent = {0, 0};
  ex__policy_replay(policy, trace, NULL, outcomes);
  for (int32_t i = 0; i < trace->n; i++) {
    spent.cost += (double)outcomes[i].macs / trace->n;
    spent.accuracy += (double)(trace->answer[ex__trace_at(trace, outcomes[i].answer, i)].label ==
                               trace->target[i]) /
                      trace->n;
  }
  spent.cost /= (double)trace->cost.direct_macs[trace->n_points - 1];
  return spent;
}

static void the_budget_is_spent(void **state) {
  (void)state;
  static const char *const budgets[] = {"0.9", "0.7", "0.5", "0.35"};
  static const double wanted[] = {0.9, 0.7, 0.5, 0.35};
  ex_trace *trace = fixture_trace(5, N, POINTS, OUTPUTS, 1, 4);
  for (size_t b = 0; b < 4; b++) {
    ex_policy policy = fitted(trace, budgets[b]);
    struct spent spent = replay(&policy, trace);
    if (fabs(spent.cost - wanted[b]) > 0.08 * wanted[b])
      fail_msg("budget %s: %.3f spent", budgets[b], spent.cost);
  }
  ex_policy policy = fitted(trace, "1");
  assert_true(fabs(replay(&policy, trace).cost - 1) <
              1e-9); /* nobody leaves, no head on the way runs */
  ex__trace_free(trace);
}

/* On samples that it was not fitted to it does far better than leaving by lot: with
 * the same shares at each exit, whoever they are. */
static void it_knows_whom_to_let_go(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(6, N, POINTS, OUTPUTS, 1, 4);
  ex_trace *other = fixture_trace(7, N, POINTS, OUTPUTS, 1, 4);
  static struct ex_outcome outcomes[N];
  ex_policy policy = fitted(trace, "0.5");
  double by_lot = 0;
  ex__policy_replay(&policy, other, NULL, outcomes);
  for (int32_t i = 0; i < N; i++) { /* the answer of the exit where the next sample left */
    int32_t point = outcomes[(i + 1) % N].answer;
    by_lot += (double)(other->answer[ex__trace_at(other, point, i)].label == other->target[i]) / N;
  }
  assert_true(replay(&policy, other).accuracy > by_lot + 0.05);
  ex__trace_free(trace);
  ex__trace_free(other);
}

static void any_shape_is_fitted(void **state) {
  (void)state;
  static const int32_t shapes[][3] = {
      /* samples, exits, outputs */
      {1, 4, 10}, {2, 2, 2}, {50, 1, 5}, {60, EX_MAX_POINTS, 3}, {40, 3, 1000}, {30, 25, 100}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    ex_trace *trace = fixture_trace(s, shapes[s][0], shapes[s][1], shapes[s][2], 1, 4);
    ex_policy policy = fitted(trace, "0.4"), again;
    struct ex_error err;
    json_t *json = ex__policy_to_json(&policy);
    assert_ok(ex__policy_from_json(json, shapes[s][1], shapes[s][2], &again, &err), &err);
    assert_memory_equal(again.values, policy.values, policy.class->size);
    struct spent spent = replay(&policy, trace);
    assert_true(spent.cost > 0 && spent.accuracy >= 0);
    json_decref(json);
    ex__trace_free(trace);
  }
}

static void fitting_takes_under_two_seconds(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(8, 10000, 10, OUTPUTS, 0.5, 3);
  int64_t begin = ex__now_ns();
  ex_policy policy = fitted(trace, "0.5");
  double ms = (double)(ex__now_ns() - begin) / 1e6;
  print_message("10,000 samples, 10 exits: %.0f ms\n", ms);
  assert_true(ms < 2000 && policy.class->check(policy.values, 10, OUTPUTS, NULL) == EX_OK);
  ex__trace_free(trace);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_budget_is_spent),
      cmocka_unit_test(it_knows_whom_to_let_go),
      cmocka_unit_test(any_shape_is_fitted),
      cmocka_unit_test(fitting_takes_under_two_seconds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
