/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/minimise.h"
#include "tests/testing.h"

enum { N = 12 };

static int32_t calls;

/* A quadratic with axes of very unequal lengths; least at i. */
static double bowl(void *context, const double *x, double *gradient) {
  double sum = 0, *scale = context;
  calls++;
  for (int i = 0; i < N; i++) {
    double curvature = pow(*scale, i);
    gradient[i] = curvature * (x[i] - i);
    sum += 0.5 * curvature * (x[i] - i) * (x[i] - i);
  }
  return sum;
}

/* Rosenbrock's valley; outside x < 2 it is not defined. */
static double valley(void *context, const double *x, double *gradient) {
  (void)context;
  calls++;
  double a = 1 - x[0], b = x[1] - x[0] * x[0];
  gradient[0] = -2 * a - 400 * x[0] * b;
  gradient[1] = 200 * b;
  return x[0] < 2 ? a * a + 100 * b * b : NAN;
}

static void the_least_value_is_found(void **state) {
  (void)state;
  double x[N] = {0}, scratch[N * 20], scale = 1.6;
  assert_true(ex__minimise_scratch(N) <= sizeof scratch / sizeof *scratch);
  struct ex_objective objective = {N, bowl, &scale};
  assert_true(ex__minimise(&objective, 1e-9, 500, x, scratch) < 1e-12);
  for (int i = 0; i < N; i++) assert_true(fabs(x[i] - i) < 1e-8);
  double y[2] = {-1.2, 1};
  objective = (struct ex_objective){2, valley, NULL};
  assert_true(ex__minimise(&objective, 1e-9, 500, y, scratch) < 1e-12);
  assert_true(fabs(y[0] - 1) < 1e-6 && fabs(y[1] - 1) < 1e-6);
}

/* Never uphill, never more calls than allowed, and nothing moves at the minimum. */
static void it_stops_when_told(void **state) {
  (void)state;
  double scratch[N * 20], gradient[N], scale = 3;
  const struct ex_objective objective = {N, bowl, &scale};
  double before = INFINITY;
  for (int most = 1; most < 40; most++) {
    double x[N] = {0};
    calls = 0;
    double value = ex__minimise(&objective, 0, most, x, scratch);
    assert_true(calls <= most && value <= before);
    assert_true(value == bowl(&scale, x, gradient));
    before = value;
  }
  double x[N], least[N];
  for (int i = 0; i < N; i++) x[i] = least[i] = i;
  calls = 0;
  assert_true(ex__minimise(&objective, 1e-6, 100, x, scratch) == 0);
  assert_int_equal(calls, 1);
  assert_memory_equal(x, least, sizeof x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_least_value_is_found),
      cmocka_unit_test(it_stops_when_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
