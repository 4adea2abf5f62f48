/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "calibrate/quota.h"
#include "tests/trace_fixture.h"

enum { N = 1000, POINTS = 5 };

static void geometric_quotas(void **state) {
  (void)state;
  double quota[POINTS];
  ex__quota_geometric(0.5, POINTS, quota);
  for (int32_t k = 0; k < POINTS; k++) assert_true(fabs(quota[k] - (16 >> k) / 31.0) < 1e-15);
  ex__quota_geometric(1, POINTS, quota);
  for (int32_t k = 0; k < POINTS; k++) assert_true(fabs(quota[k] - 0.2) < 1e-15);
}

static void exits(const ex_policy *policy, const ex_trace *trace, int32_t *count, double *macs) {
  struct ex_outcome *outcomes = ex__calloc((size_t)trace->n, sizeof *outcomes);
  ex__policy_replay(policy, trace, NULL, outcomes);
  for (int32_t p = 0; p < trace->n_points; p++) count[p] = 0;
  *macs = 0;
  for (int32_t i = 0; i < trace->n; i++) {
    count[outcomes[i].point]++;
    *macs += (double)outcomes[i].macs / trace->n;
  }
  ex__free(outcomes);
}

static void every_rule_leaves_by_quota_exactly(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(3, N, POINTS, 10, 0.5, 2);
  struct ex_error err;
  for (int32_t c = 0; ex__policy_at(c) != NULL; c++) {
    if (ex__policy_at(c)->score == NULL) continue;
    ex_policy policy;
    double quota[POINTS], macs, before = 0;
    int32_t count[POINTS], left;
    assert_ok(ex__policy_init(&policy, ex__policy_at(c)->name, POINTS, 10, &err), &err);
    for (double ratio = 0.25; ratio <= 4; ratio *= 2) {
      ex__quota_geometric(ratio, POINTS, quota);
      assert_ok(ex__quota_thresholds(&policy, trace, quota, &err), &err);
      exits(&policy, trace, count, &macs);
      left = N;
      for (int32_t k = 0; k < POINTS - 1; k++) {
        assert_int_equal(count[k], (int32_t)floor(N * quota[k] + 1e-9));
        left -= count[k];
      }
      assert_int_equal(count[POINTS - 1], left);
      assert_true(macs > before); /* mean cost grows with the ratio */
      before = macs;
    }
  }
  ex__trace_free(trace);
}

/* mean cost = Σ rate × cost, and a quota of 0 switches the exit and its head off. */
static void no_quota_no_exit(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(4, N, 3, 10, 0.5, 2);
  struct ex_error err;
  ex_policy policy;
  const double quota[3] = {0, 0.5, 0.5};
  int32_t count[3];
  double macs;
  assert_ok(ex__policy_init(&policy, "max-probability", 3, 10, &err), &err);
  assert_ok(ex__quota_thresholds(&policy, trace, quota, &err), &err);
  exits(&policy, trace, count, &macs);
  assert_true(count[0] == 0 && count[1] == N / 2 && count[2] == N / 2);
  assert_true(fabs(macs - (0.5 * 210 + 0.5 * 320)) < 1e-9);
  ex__trace_free(trace);
}

/* All equally sure: everybody leaves with the first who may. */
static void ties_leave_together(void **state) {
  (void)state;
  ex_real raw[3 * 10 * 2] = {0};
  ex_trace *trace = fixture_from(10, 3, 2, raw, NULL);
  struct ex_error err;
  ex_policy policy;
  double quota[3], macs;
  int32_t count[3];
  assert_ok(ex__policy_init(&policy, "entropy", 3, 2, &err), &err);
  ex__quota_geometric(0.5, 3, quota);
  assert_ok(ex__quota_thresholds(&policy, trace, quota, &err), &err);
  exits(&policy, trace, count, &macs);
  assert_int_equal(count[0], 10);
  ex__trace_free(trace);
}

static void refusals(void **state) {
  (void)state;
  ex_trace *trace = fixture_trace(4, 20, 2, 3, 0.5, 2);
  struct ex_error err;
  ex_policy policy;
  const double good[2] = {0.5, 0.5}, half[2] = {0.25, 0.25}, wild[2] = {-1, 2};
  assert_ok(ex__policy_init(&policy, "patience", 2, 3, &err), &err);
  assert_refused(ex__quota_thresholds(&policy, trace, good, &err), EX_EUNSUPPORTED, &err,
                 "patience");
  assert_ok(ex__policy_init(&policy, "margin", 2, 3, &err), &err);
  assert_refused(ex__quota_thresholds(&policy, trace, half, &err), EX_EINVAL, &err, "sum to 0.5");
  assert_refused(ex__quota_thresholds(&policy, trace, wild, &err), EX_EINVAL, &err, "exit 0 = -1");
  ex__trace_free(trace);
}

/* On another trace of the same kind the curve rises with cost, and its best
 * point is about as good as the last exit. */
static void budgeted_curve(void **state) {
  (void)state;
  ex_trace *select = fixture_trace(5, 2000, POINTS, 10, 0.5, 2.5);
  ex_trace *test = fixture_trace(6, 2000, POINTS, 10, 0.5, 2.5);
  struct ex_error err;
  ex_policy policy;
  struct ex_curve_point points[EX_BUDGETED_POINTS];
  assert_ok(ex__policy_init(&policy, "max-probability", POINTS, 10, &err), &err);
  assert_ok(ex__budgeted_curve(&policy, select, test, points, &err), &err);
  double last = 0;
  for (int32_t i = 0; i < 2000; i++)
    last += 100.0 * test->quality[ex__trace_at(test, POINTS - 1, i)] / 2000;
  assert_true(points[0].cost < points[20].cost && points[20].cost < points[38].cost);
  assert_true(points[0].accuracy < points[20].accuracy);
  assert_true(points[38].accuracy > points[20].accuracy && points[38].accuracy < last + 1);
  ex__trace_free(select);
  ex__trace_free(test);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(geometric_quotas), cmocka_unit_test(every_rule_leaves_by_quota_exactly),
      cmocka_unit_test(no_quota_no_exit), cmocka_unit_test(ties_leave_together),
      cmocka_unit_test(refusals),         cmocka_unit_test(budgeted_curve),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
