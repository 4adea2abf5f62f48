/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/exponential.h"
#include "base/random.h"
#include "tests/testing.h"

static void agrees_with_the_c_library(void **state) {
  (void)state;
  enum { N = 4096 };
  static double e[N];
  static float x[N];
  struct ex_random random = ex__random_seed(3, 0);
  static const double widths[] = {708, 20, 1, 1e-3, 1e-12};
  for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
    for (int32_t i = 0; i < N; i++) x[i] = (float)(0.25 - widths[w] * ex__random_uniform(&random));
    ex__exponentials(x, N, 0.25, e);
    for (int32_t i = 0; i < N; i++) {
      long double exact = expl((long double)x[i] - 0.25L);
      assert_true(fabsl((long double)e[i] - exact) <= 0x1p-52L * exact);
    }
  }
}

/* The bits of a number depend neither on its neighbours nor on vector tails. */
static void place_does_not_matter(void **state) {
  (void)state;
  enum { N = 37 };
  float x[N];
  double e[N], one;
  struct ex_random random = ex__random_seed(4, 0);
  for (int32_t i = 0; i < N; i++) x[i] = (float)(-30 * ex__random_uniform(&random));
  ex__exponentials(x, N, 0.25, e);
  for (int32_t i = 0; i < N; i++) {
    ex__exponentials(&x[i], 1, 0.25, &one);
    assert_memory_equal(&one, &e[i], sizeof one);
  }
}

static void ends(void **state) {
  (void)state;
  const float x[] = {2, 2, -706, -707, -1e30f, -INFINITY};
  double e[6];
  ex__exponentials(x, 6, 2, e);
  assert_true(e[0] == 1 && e[1] == 1);
  assert_true(e[2] > 0 && e[2] < 1e-300);
  assert_true(e[3] == 0 && e[4] == 0 && e[5] == 0);
  ex__exponentials(x, 0, 0, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(agrees_with_the_c_library),
      cmocka_unit_test(place_does_not_matter),
      cmocka_unit_test(ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
