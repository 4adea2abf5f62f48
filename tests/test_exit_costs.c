/* SPDX-License-Identifier: Apache-2.0
 *
 * The sums by which rules weigh answers against cost, against replay, which counts
 * what runs: in a row of stages, among whole networks, and where both meet.
 */
#include "policy/exit_costs.h"
#include "policy/policy.h"
#include "tests/trace_fixture.h"
#include "trace/trace_internal.h"

enum { POINTS = 4, N = 5 };

/* Bodies of 100, 300, 900 …, heads of 10, 11, 12 … */
static ex_trace *trace_of(const uint32_t bodies[POINTS], uint32_t needs_of_last) {
  ex_trace *trace = fixture_trace(1, N, POINTS, 10, 0.5, 3);
  for (int32_t p = 0; p < POINTS; p++) {
    trace->bodies[p] = bodies[p];
    trace->cost.body_macs[p] = p > 0 ? 3 * trace->cost.body_macs[p - 1] : 100;
    trace->cost.head_macs[p] = 10 + p;
  }
  trace->closure[POINTS - 1] |= needs_of_last;
  ex__trace_sum_costs(trace);
  return trace;
}

/* Everybody leaves at `exit`, having looked at those in `on`. */
static int64_t replayed(const ex_trace *trace, uint32_t on, int32_t exit) {
  ex_policy policy;
  struct ex_error err;
  struct ex_outcome outcomes[N];
  assert_ok(ex__policy_init(&policy, "max-probability", POINTS, 10, &err), &err);
  struct ex_list *list = ex__policy_thresholds(&policy);
  list->n = POINTS - 1;
  for (int32_t p = 0; p < POINTS - 1; p++)
    list->value[p] = p == exit ? 0 : on >> p & 1 ? 1 : policy.class->threshold_off;
  ex__policy_replay(&policy, trace, NULL, outcomes);
  for (int32_t i = 0; i < N; i++) {
    assert_int_equal(outcomes[i].point, exit);
    assert_int_equal(outcomes[i].macs, outcomes[0].macs);
  }
  return outcomes[0].macs;
}

static void check_sums(ex_trace *trace, bool exact) {
  struct ex_exit_costs costs;
  ex__exit_costs(trace, false, false, &costs);
  assert_int_equal(costs.full, trace->cost.direct_macs[POINTS - 1]);
  for (int32_t exit = 0; exit < POINTS; exit++)
    for (uint32_t on = 0; on < 1u << exit; on++) {
      int64_t sum = costs.look[exit];
      for (int32_t p = 0; p <= exit; p++) {
        sum += costs.way[p];
        if (p < exit) sum += on >> p & 1 ? costs.look[p] : costs.look_off[p];
      }
      int64_t spent = replayed(trace, on, exit);
      assert_true(exact ? sum == spent : sum >= spent);
    }
  ex__trace_free(trace);
}

static void sums_are_what_replay_counts(void **state) {
  (void)state;
  static const uint32_t row[] = {1, 3, 7, 15}, networks[] = {1, 2, 4, 8}, side[] = {1, 3, 5, 13},
                        pair[] = {1, 3, 4, 12};
  check_sums(trace_of(row, 0), true);
  check_sums(trace_of(networks, 0), true);
  check_sums(trace_of(side, 0), true); /* the second exit's own body leads nowhere else */
  /* Two networks of two exits: who passes all of the first is charged for the body
   * that its exits share. */
  check_sums(trace_of(pair, 0), false);
}

/* Straight to an exit from the input, and on from there: what each step adds. */
static void steps_add_up(void **state) {
  (void)state;
  static const uint32_t row[] = {1, 3, 7, 15}, networks[] = {1, 2, 4, 8};
  for (int32_t kind = 0; kind < 2; kind++) {
    ex_trace *trace = trace_of(kind == 0 ? row : networks, 0);
    for (uint32_t path = 1; path < 1u << POINTS; path++) {
      int64_t sum = 0;
      int32_t from = -1;
      for (int32_t p = 0; p < POINTS; p++) {
        if ((path >> p & 1) == 0) continue;
        sum += ex__exit_step(trace, false, from, p);
        from = p;
      }
      assert_int_equal(sum, replayed(trace, path, from));
    }
    assert_int_equal(ex__exit_step(trace, true, 0, 1), 200 + 20);
    ex__trace_free(trace);
  }
}

/* A head that the last answer reads is paid on the way there, looked at or not. */
static void needed_heads_are_paid_once(void **state) {
  (void)state;
  static const uint32_t row[] = {1, 3, 7, 15};
  ex_trace *trace = trace_of(row, 2);
  struct ex_exit_costs costs;
  ex__exit_costs(trace, false, false, &costs);
  assert_int_equal(costs.look_off[1], 11);
  assert_int_equal(ex__exit_step(trace, false, -1, 3), 100 + 300 + 900 + 2700 + 11 + 13);
  assert_int_equal(ex__exit_step(trace, false, 1, 3), 900 + 2700 + 13);
  assert_int_equal(replayed(trace, 0, 3), costs.full);
  ex__trace_free(trace);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sums_are_what_replay_counts),
      cmocka_unit_test(steps_add_up),
      cmocka_unit_test(needed_heads_are_paid_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
