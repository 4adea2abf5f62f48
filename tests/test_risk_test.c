/* SPDX-License-Identifier: Apache-2.0
 *
 * The p-values of risk control by exact enumeration of small samples, against
 * slow twins, and along a path.
 */
#include <math.h>

#include "calibrate/risk_test.h"
#include "tests/testing.h"

static double choose(int32_t n, int32_t k) {
  double product = 1;
  for (int32_t i = 1; i <= k; i++) product = product * (n - k + i) / i;
  return product;
}

static void binomial_is_the_sum_of_its_terms(void **state) {
  (void)state;
  for (int32_t n = 1; n <= 30; n += 7)
    for (int32_t k = 0; k <= n; k++)
      for (double mean = 0.05; mean < 1; mean += 0.3) {
        double sum = 0;
        for (int32_t j = 0; j <= k; j++) sum += choose(n, j) * pow(mean, j) * pow(1 - mean, n - j);
        assert_true(fabs(ex__risk_p_binomial(n, k, mean) - sum) < 1e-10);
      }
  assert_true(ex__risk_p_binomial(0, 0, 0.5) == 1);
  assert_true(ex__risk_p_binomial(9, 0, 0) == 1); /* nothing shows a risk of 0 */
}

/* Values by hand: r = 0 gives (1 − a)^n, whichever of the two it is from. */
static void hoeffding_bentkus_values(void **state) {
  (void)state;
  assert_true(fabs(ex__risk_p_hoeffding_bentkus(40, 0, 0.1) - pow(0.9, 40)) < 1e-12);
  double hoeffding = exp(-100 * (0.05 * log(0.5) + 0.95 * log(0.95 / 0.9)));
  double bentkus = exp(1) * ex__risk_p_binomial(100, 5, 0.1);
  assert_true(fabs(ex__risk_p_hoeffding_bentkus(100, 0.05, 0.1) - fmin(hoeffding, bentkus)) <
              1e-12);
  assert_true(ex__risk_p_hoeffding_bentkus(100, 0.1, 0.1) == 1);
  assert_true(ex__risk_p_hoeffding_bentkus(0, 0, 0.1) == 1);
}

/* ---- every sequence of a small sample ------------------------------------------ */

enum { SEQUENCE = 9 };
static const int32_t in_order[SEQUENCE] = {0, 1, 2, 3, 4, 5, 6, 7, 8};

typedef double p_value(const float *loss, double mean, double level);

static double betting_signed(const float *loss, double mean, double level) {
  return ex__risk_p_betting(loss, in_order, SEQUENCE, -1, 1, mean, level);
}
static double betting_positive(const float *loss, double mean, double level) {
  return ex__risk_p_betting(loss, in_order, SEQUENCE, 0, 1, mean, level);
}
static double hoeffding_bentkus(const float *loss, double mean, double level) {
  double sum = 0;
  (void)level;
  for (int32_t i = 0; i < SEQUENCE; i++) sum += loss[i];
  return ex__risk_p_hoeffding_bentkus(SEQUENCE, sum / SEQUENCE, mean);
}

/* P(p ≤ level) where losses are value[v] with probability[v] and their mean is the
 * one that is tested. */
static double refuted(p_value *p, const float value[3], const double probability[3], double level) {
  double mean = 0, total = 0;
  int32_t sequences = 1;
  for (int32_t v = 0; v < 3; v++) mean += value[v] * probability[v];
  for (int32_t i = 0; i < SEQUENCE; i++) sequences *= 3;
  for (int32_t s = 0; s < sequences; s++) {
    float loss[SEQUENCE];
    double mass = 1;
    for (int32_t i = 0, rest = s; i < SEQUENCE; i++, rest /= 3) {
      loss[i] = value[rest % 3];
      mass *= probability[rest % 3];
    }
    if (p(loss, mean, level) <= level) total += mass;
  }
  return total;
}

static void no_p_value_is_too_small(void **state) {
  (void)state;
  static const float sign[] = {-1, 0, 1}, share[] = {0, 0.5F, 1};
  static const double mass[][3] = {
      {0.2, 0.3, 0.5}, {0.05, 0.15, 0.8}, {0.4, 0.2, 0.4}, {0.7, 0.2, 0.1}};
  double most = 0;
  for (size_t m = 0; m < sizeof mass / sizeof *mass; m++)
    for (double level = 0.05; level < 0.5; level *= 2) {
      double by_sign = refuted(betting_signed, sign, mass[m], level);
      assert_true(by_sign <= level);
      assert_true(refuted(betting_positive, share, mass[m], level) <= level);
      assert_true(refuted(hoeffding_bentkus, share, mass[m], level) <= level);
      most = fmax(most, by_sign / level);
    }
  assert_true(most > 0.2); /* it refutes at all */
}

/* Straight from the definition, in products. */
static double slow_betting(const float *loss, int32_t n, double low, double high, double mean,
                           double level) {
  double capital = 1, best = 1, a = (mean - low) / (high - low);
  for (int32_t t = 0; t < n; t++) {
    double average = 0.5, variance = 0.25;
    for (int32_t i = 0; i < t; i++) {
      double x = (loss[i] - low) / (high - low);
      double sum = 0.5;
      for (int32_t j = 0; j <= i; j++) sum += (loss[j] - low) / (high - low);
      average = sum / (i + 2);
      variance += (x - average) * (x - average);
    }
    variance /= t + 1;
    double bet = sqrt(2 * log(1 / level) / (n * variance));
    if (bet > 0.9 / (1 - a)) bet = 0.9 / (1 - a);
    capital *= 1 - bet * ((loss[t] - low) / (high - low) - a);
    best = fmax(best, capital);
  }
  return 1 / best;
}

static void betting_is_what_it_says(void **state) {
  (void)state;
  static const float loss[] = {0, 0, 0.5F, -0.25F, 0, 1, 0, 0, -1, 0, 0, 0, 0, 0.125F, 0};
  static const int32_t order[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
  double last = 1;
  for (double mean = 0.02; mean < 0.99; mean += 0.05) {
    double p = ex__risk_p_betting(loss, order, 15, -1, 1, mean, 0.1);
    assert_true(fabs(p - slow_betting(loss, 15, -1, 1, mean, 0.1)) < 1e-12);
    assert_true(p <= last + 1e-15); /* so what is not refuted is an interval: a bound */
    last = p;
  }
  assert_true(last < 0.1);
  static const float none[15] = {0};
  assert_true(ex__risk_p_betting(NULL, NULL, 15, -1, 1, 0.2, 0.1) ==
              ex__risk_p_betting(none, order, 15, -1, 1, 0.2, 0.1));
}

/* ---- how many it takes ------------------------------------------------------------ */

static void the_least_number_is_the_least(void **state) {
  (void)state;
  static const double value[] = {0.2, 0.05, 0.01};
  for (int of = 0; of < 3; of++)
    for (int form = 0; form < 3; form++)
      for (int v = 0; v < 3; v++) {
        struct ex_risk risk = {(enum ex_risk_of)of, (enum ex_risk_form)form, value[v], 0.9, 1};
        int32_t least = ex__risk_least_n(&risk);
        float none[8000] = {0};
        assert_in_range(least, 2, 8000);
        for (int32_t n = least - 1; n <= least; n++) {
          struct ex_risk_test test;
          struct ex_error err;
          assert_ok(ex__risk_test_new(&risk, n, &test, &err), &err);
          assert_true(ex__risk_test_next(&test, none).passed == (n == least));
          ex__risk_test_clear(&test);
        }
      }
  struct ex_risk risk = {EX_RISK_DISAGREEMENT, EX_RISK_LTT, 0.01, 0.95, 1};
  assert_int_equal(ex__risk_least_n(&risk), 299); /* 0.99^299 ≤ 0.05 < 0.99^298 */
  risk.form = EX_RISK_CRC;
  assert_int_equal(ex__risk_least_n(&risk), 99);
  risk.value = 0;
  assert_int_equal(ex__risk_least_n(&risk), 0);
}

/* ---- along the path ---------------------------------------------------------------- */

static void conformal_losses_only_grow(void **state) {
  (void)state;
  static const float path[][4] = {{0, 0, 0, 0}, {1, 0, -1, 0}, {0, 0, 1, 0}, {0, 0, 0, 0}};
  static const double sums[] = {0, 1, 2, 2};
  struct ex_risk risk = {EX_RISK_ACCURACY, EX_RISK_CRC, 0.5, 0, 1};
  struct ex_risk_test test;
  struct ex_error err;
  assert_ok(ex__risk_test_new(&risk, 4, &test, &err), &err);
  for (int32_t p = 0; p < 4; p++) {
    struct ex_risk_evidence evidence = ex__risk_test_next(&test, path[p]);
    assert_true(evidence.statistic == (sums[p] + 1) / 5); /* ≤ 0.5 ⇔ mean ≤ 5/4 · 0.5 − 1/4 */
    assert_true(evidence.passed == (sums[p] / 4 <= 5.0 / 4 * 0.5 - 1.0 / 4));
  }
  ex__risk_test_clear(&test);
}

/* Negative losses count as nothing to LTT, and help UCB. */
static void signs(void **state) {
  (void)state;
  float loss[500];
  bool passed[2];
  struct ex_error err;
  for (int32_t i = 0; i < 500; i++) loss[i] = (float)(i % 25 == 0 ? 1 : i % 5 == 1 ? -1 : 0);
  for (int form = 0; form < 2; form++) {
    struct ex_risk risk = {EX_RISK_ACCURACY, (enum ex_risk_form)form, 0.03, 0.9, 1};
    struct ex_risk_test test;
    assert_ok(ex__risk_test_new(&risk, 500, &test, &err), &err);
    passed[form] = ex__risk_test_next(&test, loss).passed;
    ex__risk_test_clear(&test);
  }
  assert_false(passed[EX_RISK_LTT]); /* 4 % lost */
  assert_true(passed[EX_RISK_UCB]);  /* and 20 % won */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(binomial_is_the_sum_of_its_terms),
      cmocka_unit_test(hoeffding_bentkus_values),
      cmocka_unit_test(no_p_value_is_too_small),
      cmocka_unit_test(betting_is_what_it_says),
      cmocka_unit_test(the_least_number_is_the_least),
      cmocka_unit_test(conformal_losses_only_grow),
      cmocka_unit_test(signs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
