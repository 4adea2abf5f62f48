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
  struct ex_moments moments = {0};
  assert_true(ex__mean_upper(&moments, 7, alpha) == 7);
  for (int32_t i = 1; i <= 4; i++) ex__moments_add(&moments, i);
  assert_true(fabs(ex__mean_upper(&moments, 4, alpha) - expected) < 1e-9);
}

/* A spread of 1 around 10^12 is seen; of equal values the deviation is 0. */
static void mean_bound_of_large_values(void **state) {
  (void)state;
  static const double large = 1e12 + 1.0 / 3;
  struct ex_moments spread = {0}, equal = {0};
  for (int32_t i = 0; i < 1000; i++) {
    ex__moments_add(&spread, large + (i % 2 == 0 ? 1 : -1));
    ex__moments_add(&equal, large);
  }
  double margin = ex__mean_upper(&spread, large + 1, alpha) - large;
  assert_true(fabs(margin - 1.2815515655446004 / sqrt(999)) < 1e-3);
  assert_true(ex__moments_mean(&equal) == large);
  assert_true(ex__mean_upper(&equal, large, alpha) == large);
}

/* Values of 0 and 1: where few are 1, a sample often shows none at all, and
 * the deviation alone would then bound the mean by 0. */
static void mean_bound_of_rare_values(void **state) {
  (void)state;
  static const double chance[] = {0.001, 0.01, 0.02, 0.1};
  for (int32_t n = 1; n <= 30; n += 29)
    for (size_t c = 0; c < sizeof chance / sizeof *chance; c++) {
      struct ex_moments none = {0};
      for (int32_t i = 0; i < n; i++) ex__moments_add(&none, 0);
      bool missed = ex__mean_upper(&none, 1, alpha) < chance[c];
      assert_true(!missed || pow(1 - chance[c], n) <= alpha);
      assert_true(ex__mean_upper(&none, 1, alpha) < 2.4 / n);
    }
}

/* Each term by its logarithm, none by recurrence. */
static double slow_tail(int32_t n, int32_t d, double lose, double win) {
  double sum = 0;
  for (int32_t lost = 0; lost <= n; lost++)
    for (int32_t won = lost > d ? lost - d : 0; lost + won <= n; won++)
      sum += exp(lgamma(n + 1) - lgamma(lost + 1) - lgamma(won + 1) - lgamma(n - lost - won + 1) +
                 (lost > 0 ? lost * log(lose) : 0) + (won > 0 ? won * log(win) : 0) +
                 (n - lost - won) * log1p(-lose - win));
  return sum;
}

/* The p-value is nowhere below the tail at any π that its interval holds, ends
 * included: only a hundredth of a level is added to the worst. */
static void p_value_is_the_worst_case(void **state) {
  (void)state;
  static const struct ex_pairs cases[] = {{150, 0, 0}, {150, 3, 1}, {150, 1, 6}, {150, 20, 21}};
  static const double drops[] = {-0.04, 0.005, 0.02, 0.06};
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
    for (size_t d = 0; d < sizeof drops / sizeof *drops; d++) {
      double drop = drops[d], least = fabs(drop), p = ex__drop_p_value(&cases[c], drop), worst = 0;
      double most = (cases[c].lost + cases[c].won + 0.5) / cases[c].n; /* inside the interval */
      for (int i = 0; i <= 7 && least <= most; i++) {
        double differ = least + (most - least) * i / 7, lose = (differ + drop) / 2;
        worst =
            fmax(worst, slow_tail(cases[c].n, cases[c].lost - cases[c].won, lose, differ - lose));
      }
      if (!(p >= fmin(worst + 0.0095, 1)))
        fail_msg("case %zu, drop %g: p %g below the tail %g", c, drop, p, worst);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exact_coverage_of_small_splits),
      cmocka_unit_test(simulated_coverage_of_usual_splits),
      cmocka_unit_test(values_and_order),
      cmocka_unit_test(p_value_is_the_worst_case),
      cmocka_unit_test(mean_bound),
      cmocka_unit_test(mean_bound_of_large_values),
      cmocka_unit_test(mean_bound_of_rare_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
