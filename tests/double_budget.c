/* SPDX-License-Identifier: Apache-2.0
 *
 * The smooth problem of thresholds under a bound, in double: its gradient against
 * differences, probabilities that sum to 1, and its limit.
 */
#include <math.h>

#include "policy/budget.h"
#include "tests/trace_fixture.h"

enum { POINTS = 5, EXITS = POINTS - 1 };

static struct ex_budget made(ex_trace **trace, double **work) {
  struct ex_budget budget;
  struct ex_error err;
  *trace = fixture_trace(1, 300, POINTS, 10, 0.5, 3);
  assert_ok(ex__budget_new(*trace, 0, 1, false, &budget, &err), &err);
  *work = ex__calloc(ex__budget_work(&budget), sizeof **work);
  return budget;
}

static void gradient_is_that_of_differences(void **state) {
  (void)state;
  ex_trace *trace;
  double *work, t[EXITS] = {0.7, 0.4, 0.55, 0.3};
  struct ex_budget budget = made(&trace, &work);
  struct ex_smooth at, up, down;
  ex__budget_smooth(&budget, 15, t, work, &at);
  for (int32_t e = 0; e < EXITS; e++) {
    const double step = 1e-5, here = t[e];
    t[e] = here + step;
    ex__budget_smooth(&budget, 15, t, work, &up);
    t[e] = here - step;
    ex__budget_smooth(&budget, 15, t, work, &down);
    t[e] = here;
    assert_true(fabs((up.wrong - down.wrong) / (2 * step) - at.d_wrong[e]) < 1e-7);
    assert_true(fabs((up.cost - down.cost) / (2 * step) - at.d_cost[e]) < 1e-7);
    assert_true(fabs(at.d_cost[e]) > 1e-2 && fabs(at.d_wrong[e]) > 1e-4);
  }
  ex__free(work);
  ex__budget_free(&budget);
  ex__trace_free(trace);
}

/* Where every exit is right, and costs the same, how a sample leaves is nothing. */
static void probabilities_sum_to_one(void **state) {
  (void)state;
  ex_trace *trace;
  double *work, t[EXITS] = {0.9, 0.1, 0.5, 0.3};
  struct ex_budget budget = made(&trace, &work);
  struct ex_smooth at;
  for (int32_t p = 0; p < POINTS; p++) {
    budget.leave[p] = 1;
    memset(budget.right + (int64_t)p * budget.n, 1, (size_t)budget.n);
  }
  ex__budget_smooth(&budget, 40, t, work, &at);
  assert_true(fabs(at.wrong + 1) < 1e-12 && fabs(at.cost - 1) < 1e-12);
  for (int32_t e = 0; e < EXITS; e++)
    assert_true(fabs(at.d_wrong[e]) < 1e-12 && fabs(at.d_cost[e]) < 1e-12);
  ex__free(work);
  ex__budget_free(&budget);
  ex__trace_free(trace);
}

/* Steep sigmoids are steps: the hard sums, where no rank lies at a threshold. */
static void steep_is_hard(void **state) {
  (void)state;
  ex_trace *trace;
  double *work, t[EXITS];
  struct ex_budget budget = made(&trace, &work);
  struct ex_cuts cuts = {{90, 120, 150, 200}};
  struct ex_smooth at;
  for (int32_t e = 0; e < EXITS; e++) { /* between the last who leaves and the next */
    const int32_t *order = budget.order + (int64_t)e * budget.n;
    const double *rank = budget.rank + (int64_t)e * budget.n;
    t[e] = (rank[order[cuts.at[e] - 1]] + rank[order[cuts.at[e]]]) / 2;
  }
  ex__budget_smooth(&budget, 1e7, t, work, &at);
  struct ex_spent spent = ex__budget_spent(&budget, &cuts);
  assert_true(fabs(at.wrong * 300 + (double)spent.right) < 1e-9);
  assert_true(fabs(at.cost * 300 * (double)budget.costs.full - (double)spent.cost) < 1e-6);
  ex__free(work);
  ex__budget_free(&budget);
  ex__trace_free(trace);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradient_is_that_of_differences),
      cmocka_unit_test(probabilities_sum_to_one),
      cmocka_unit_test(steep_is_hard),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
