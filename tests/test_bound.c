/* SPDX-License-Identifier: Apache-2.0
 *
 * The bound of the drop: coverage by exact enumeration for small n, by
 * simulation for larger ones, and known values.
 */
#include <math.h>

#include "base/random.h"
#include "calibrate/bound.h"
#include "tests/testing.h"

static const double alpha = 0.1;

/* P(bound < true drop), summed over every (lost, won) of n samples. */
static double miss_probability(int32_t n, double lose, double win) {
  double missed = 0;
  for (int32_t lost = 0; lost <= n; lost++)
    for (int32_t won = 0; lost + won <= n; won++) {
      struct ex_pairs pairs = {n, lost, won};
      double mass =
          exp(lgamma(n + 1) - lgamma(lost + 1) - lgamma(won + 1) - lgamma(n - lost - won + 1) +
              lost * log(lose) + won * log(win) + (n - lost - won) * log(1 - lose - win));
      if (ex__drop_upper(&pairs, alpha) < lose - win) missed += mass;
    }
  return missed;
}

static void exact_coverage_of_small_splits(void **state) {
  (void)state;
  static const double rates[][2] = {{0.01, 0.001}, {0.1, 0.01}, {0.2, 0.2},  {0.3, 0.05},
                                    {0.05, 0.3},   {0.6, 0.1},  {0.05, 0.05}};
  for (size_t r = 0; r < sizeof rates / sizeof *rates; r++)
    for (int32_t n = 1; n <= 25; n += 6)
      assert_true(miss_probability(n, rates[r][0], rates[r][1]) <= alpha);
}

/* Not above 10 %, and not so far below that the bound would be of no use. */
static void simulated_coverage_of_usual_splits(void **state) {
  (void)state;
  static const struct {
    int32_t n;
    double lose, win;
  } cases[] = {{500, 0.01, 0.004}, {2500, 0.006, 0.002}, {2500, 0.02, 0.02}, {5000, 0.03, 0.02}};
  enum { TRIALS = 400 };
  struct ex_random random = ex__random_seed(5, 5);
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    int32_t missed = 0;
    for (int32_t t = 0; t < TRIALS; t++) {
      struct ex_pairs pairs = {.n = cases[c].n};
      for (int32_t i = 0; i < pairs.n; i++) {
        double u = ex__random_uniform(&random);
        pairs.lost += u < cases[c].lose;
        pairs.won += u >= cases[c].lose && u < cases[c].lose + cases[c].win;
      }
      /* The bound is below the truth where the truth is refuted. */
      missed += ex__drop_p_value(&pairs, cases[c].lose - cases[c].win) <= alpha;
    }
    /* 3 standard deviations of the binomial count. */
    assert_true(missed <= TRIALS * alpha + 3 * sqrt(TRIALS * alpha * (1 - alpha)));
    assert_true(missed >= TRIALS * 0.02);
  }
}

static void values_and_order(void **state) {
  (void)state;
  struct ex_pairs even = {2500, 25, 25}, none = {2500, 0, 0}, worse = {2500, 26, 25},
                  better = {2500, 2, 40};
  double normal = 1.2815515655446004 * sqrt(50.0) / 2500;
  assert_true(ex__drop_upper(&even, alpha) > normal);
  assert_true(ex__drop_upper(&even, alpha) < 1.4 * normal);
  assert_true(ex__drop_upper(&worse, alpha) > ex__drop_upper(&even, alpha));
  assert_true(ex__drop_upper(&better, alpha) < 0);
  /* With no differing sample at all, not less than the exact ln(10) / n. */
  assert_true(ex__drop_upper(&none, alpha) >= log(10) / 2500);
  assert_true(ex__drop_upper(&none, alpha) < 3.5 / 2500);
  assert_true(ex__drop_upper(&even, 0.01) > ex__drop_upper(&even, alpha));
  struct ex_pairs empty = {0, 0, 0};
  assert_true(ex__drop_upper(&empty, alpha) == 1);
  int64_t least = ex__drop_least_n(0.005, alpha);
  struct ex_pairs enough = {.n = (int32_t)least}, short_of = {.n = (int32_t)least - 1};
  assert_true(ex__drop_upper(&enough, alpha) <= 0.005 + 1e-9);
  assert_true(ex__drop_upper(&short_of, alpha) > 0.005);
}

static void mean_bound(void **state) {
  (void)state;
  /* 1, 2, 3, 4: mean 2.5, variance 5/3. */
  double expected = 2.5 + 1.2815515655446004 * sqrt(5.0 / 3 / 4);
  assert_true(fabs(ex__mean_upper(10, 30, 4, alpha) - expected) < 1e-9);
  assert_true(ex__mean_upper(35, 245, 5, alpha) == 7);
  assert_true(isinf(ex__mean_upper(0, 0, 0, alpha)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exact_coverage_of_small_splits),
      cmocka_unit_test(simulated_coverage_of_usual_splits),
      cmocka_unit_test(values_and_order),
      cmocka_unit_test(mean_bound),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
