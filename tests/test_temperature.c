/* SPDX-License-Identifier: Apache-2.0
 *
 * Fitted temperatures: what was made too sure by a known factor is found to be.
 */
#include <math.h>

#include "calibrate/temperature.h"
#include "tests/trace_fixture.h"

enum { N = 4000, POINTS = 3, OUTPUTS = 5 };
static const struct ex_samples_range all = {0, 1};

/* Labels drawn from softmax(z): a temperature of 1 is the likeliest, and of
 * outputs T times as large one of T. */
static ex_trace *drawn(const double *times) {
  struct ex_random random = ex__random_seed(3, 1);
  static ex_real raw[POINTS][N][OUTPUTS];
  static int32_t target[N];
  for (int32_t i = 0; i < N; i++) {
    double z[OUTPUTS], sum = 0, u = ex__random_uniform(&random);
    for (int32_t c = 0; c < OUTPUTS; c++) sum += exp(z[c] = 1.5 * ex__random_normal(&random));
    target[i] = 0;
    for (double below = exp(z[0]) / sum; below < u && target[i] < OUTPUTS - 1;)
      below += exp(z[++target[i]]) / sum;
    for (int32_t p = 0; p < POINTS; p++)
      for (int32_t c = 0; c < OUTPUTS; c++) raw[p][i][c] = (ex_real)(times[p] * z[c]);
  }
  return fixture_from(N, POINTS, OUTPUTS, raw[0][0], target);
}

static double loss_at(const ex_trace *trace, int32_t point, double temperature) {
  double sum = 0;
  for (int32_t i = 0; i < trace->n; i++) {
    const ex_real *z = trace->output + ex__trace_at(trace, point, i) * trace->n_outputs;
    double total = 0;
    for (int32_t c = 0; c < trace->n_outputs; c++) total += exp((double)z[c] / temperature);
    sum += log(total) - (double)z[trace->target[i]] / temperature;
  }
  return sum / trace->n;
}

static void the_likeliest_is_found(void **state) {
  (void)state;
  static const double times[POINTS] = {1, 3, 0.4};
  ex_trace *trace = drawn(times);
  struct ex_list list = {0};
  ex__fit_temperatures(trace, all, &list);
  assert_int_equal(list.n, POINTS);
  for (int32_t p = 0; p < POINTS; p++) {
    assert_true(fabs(list.value[p] / times[p] - 1) < 0.06);
    double least = loss_at(trace, p, list.value[p]);
    assert_true(least <= loss_at(trace, p, 1.001 * list.value[p]));
    assert_true(least <= loss_at(trace, p, 0.999 * list.value[p]));
  }
  /* Scaled by it, there is nothing left to scale. */
  struct ex_transform transform = {0};
  struct ex_error err;
  ex__transform_set_temperatures(&transform, &list);
  assert_ok(ex__trace_derive(trace, &transform, &err), &err);
  ex__fit_temperatures(trace, all, &list);
  for (int32_t p = 0; p < POINTS; p++) assert_true(fabs(list.value[p] - 1) < 1e-6);
  ex__trace_free(trace);
}

/* Always right, never right, all the same, not finite: bounds and 1, no failure. */
static void degenerate_traces(void **state) {
  (void)state;
  static const ex_real raw[] = {9, 0, 9, 0, /* right */ 0, 9, 0,
                                9, /* wrong */
                                1, 1, 1, 1, (ex_real)NAN,  0, (ex_real)NAN,
                                0};
  static const int32_t target[] = {0, 0};
  ex_trace *trace = fixture_from(2, 4, 2, raw, target);
  struct ex_list list = {0};
  ex__fit_temperatures(trace, all, &list);
  assert_true(list.value[0] < 0.03 && list.value[0] >= 0.02);
  assert_true(list.value[1] > 49 && list.value[1] <= 50.0001);
  assert_true(isfinite(list.value[2]) && list.value[2] > 0);
  assert_true(list.value[3] == 1);
  ex__trace_free(trace);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_likeliest_is_found),
      cmocka_unit_test(degenerate_traces),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
