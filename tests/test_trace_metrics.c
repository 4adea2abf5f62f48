/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics of exits against cases small enough to count by hand.
 */
#include <math.h>

#include "tests/testing.h"
#include "trace/trace_metrics.h"

static void assert_near(double a, double b) { assert_true(fabs(a - b) < 1e-6); }

static void auroc(void **state) {
  (void)state;
  double area;
  const double score[] = {0.9, 0.8, 0.7, 0.7, 0.1};
  const bool perfect[] = {true, true, false, false, false};
  const bool inverse[] = {false, false, true, true, true};
  const bool tied[] = {true, false, true, false, false}; /* pairs won: 3, 1 + ½, of 6 */
  const bool none[] = {false, false, false, false, false};
  assert_int_equal(ex__auroc(score, perfect, 5, &area), EX_OK);
  assert_near(area, 1);
  assert_int_equal(ex__auroc(score, inverse, 5, &area), EX_OK);
  assert_near(area, 0);
  assert_int_equal(ex__auroc(score, tied, 5, &area), EX_OK);
  assert_near(area, 4.5 / 6);
  assert_int_equal(ex__auroc(score, none, 5, &area), EX_OK);
  assert_true(isnan(area));
}

static void aurc(void **state) {
  (void)state;
  double area;
  const double score[] = {0.2, 0.9, 0.5}, equal[] = {0.5, 0.5};
  const bool right[] = {false, true, true}, half[] = {true, false}, swapped[] = {false, true};
  assert_int_equal(ex__aurc(score, right, 3, &area), EX_OK);
  assert_near(area, (0 + 0 + 1.0 / 3) / 3);
  assert_int_equal(ex__aurc(equal, half, 2, &area), EX_OK);
  assert_near(area, 0.5);
  assert_int_equal(ex__aurc(equal, swapped, 2, &area), EX_OK);
  assert_near(area, 0.5); /* the order of equals does not matter */
}

/* Outputs whose softmax gives the first class the probability `p`, of two. */
static ex_real logit(double p) { return (ex_real)log(p / (1 - p)); }

/* Three exits, four samples, all of class 0; p is the probability of class 0. */
static ex_trace *small_trace(void) {
  static const double p[3][4] = {{0.9, 0.6, 0.2, 0.3}, {0.4, 0.7, 0.2, 0.3}, {0.8, 0.3, 0.1, 0.9}};
  ex_real raw[3][4][2] = {{{0}}};
  const int32_t target[4] = {0};
  struct ex_cost cost = {.body_macs = {10, 10, 10}, .head_macs = {1, 1, 1}};
  struct ex_error err;
  ex_trace *trace;
  for (int k = 0; k < 3; k++)
    for (int i = 0; i < 4; i++) raw[k][i][0] = logit(p[k][i]);
  assert_ok(ex__trace_from_arrays(4, 3, 2, raw[0][0], NULL, target, &cost, &trace, &err), &err);
  return trace;
}

static void accuracy_and_calibration(void **state) {
  (void)state;
  ex_trace *trace = small_trace();
  assert_near(ex__trace_accuracy(trace, 0), 0.5);
  assert_near(ex__trace_accuracy(trace, 1), 0.25);
  assert_near(ex__trace_accuracy(trace, 2), 0.5);
  /* Confidences .9 (right), .6 (right), .8 and .7 (wrong): each in its own bin. */
  assert_near(ex__trace_ece(trace, 0), (0.1 + 0.4 + 0.8 + 0.7) / 4);
  struct ex_reliability_bin bins[EX_RELIABILITY_BINS];
  ex__trace_reliability(trace, 0, bins);
  int32_t n = 0;
  for (int b = 0; b < EX_RELIABILITY_BINS; b++) n += bins[b].n;
  assert_int_equal(n, 4);
  assert_int_equal(bins[13].n, 1);
  assert_near(bins[13].confidence, 0.9);
  assert_near(bins[13].accuracy, 1);
  double area; /* right: .9 .6, wrong: .8 .7 */
  assert_int_equal(ex__trace_failure_auroc(trace, 0, &area), EX_OK);
  assert_near(area, 0.5);
  ex__trace_free(trace);
}

static void overthinking(void **state) {
  (void)state;
  ex_trace *trace = small_trace();
  /* Right at: {0, 2}, {0, 1}, nowhere, {2}. */
  struct ex_overthinking found = ex__trace_overthinking(trace);
  assert_near(found.cumulative_accuracy, 0.75);
  assert_near(found.destructive, 0.5);
  assert_near(found.wasteful, 0.5);
  assert_near(found.oracle_macs, (11 + 11 + 33 + 33) / 4.0);
  assert_near(ex__trace_hindsight(trace, 0), 0);       /* wrong: 2, 3; nothing came before */
  assert_near(ex__trace_hindsight(trace, 1), 1 / 3.0); /* wrong: 0, 2, 3; 0 was right */
  assert_near(ex__trace_hindsight(trace, 2), 0.5);     /* wrong: 1, 2; 1 was right */
  /* Confusion 2(|.1|+|.4|), 2(.3+.4), 2(.1+.1), 2(.6+.6) → errors are 1 and 2. */
  double area;
  assert_int_equal(ex__trace_confusion_auroc(trace, &area), EX_OK);
  assert_near(area, 1.0 / 4);
  ex__trace_free(trace);
}

static void falls(void **state) {
  (void)state;
  ex_trace *trace = small_trace();
  assert_near(ex__trace_falls(trace, 0.05), 0.75); /* .5, .4 and .1 */
  assert_near(ex__trace_falls(trace, 0.45), 0.25);
  assert_near(ex__trace_falls(trace, 0.55), 0);
  ex__trace_free(trace);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(auroc),
      cmocka_unit_test(aurc),
      cmocka_unit_test(accuracy_and_calibration),
      cmocka_unit_test(overthinking),
      cmocka_unit_test(falls),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
