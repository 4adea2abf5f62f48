/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/risk_test: how far along a path of policies the certify split lets
 * one go.
 */
#ifndef EX_CALIBRATE_RISK_TEST_H
#define EX_CALIBRATE_RISK_TEST_H

#include "calibrate/risk.h"

/* ---- p-values of "the mean loss is at least `mean`" ----------------------- */

/* Exact; n losses of 0 and 1, of which k are 1. */
double ex__risk_p_binomial(int32_t n, int32_t k, double mean);
/* Hoeffding–Bentkus, of n losses in [0, 1] whose average is `average`. */
double ex__risk_p_hoeffding_bentkus(int32_t n, double average, double mean);
/* By betting; of n losses in [low, high], low ≤ mean < high, taken in `order` [n].
 * Bets are sized for a test at `level`. It falls as `mean` grows, so the least
 * mean at which it is ≤ level is an upper confidence bound. `loss` NULL: all 0. */
double ex__risk_p_betting(const float *loss, const int32_t *order, int32_t n, double low,
                          double high, double mean, double level);

/* Fewest samples with which a policy that never differs from full depth passes;
 * 0 where no number does (the risk is to be 0) or it is above 2^26. */
int32_t ex__risk_least_n(const struct ex_risk *risk);

/* ---- along the path -------------------------------------------------------- */

struct ex_risk_test {
  struct ex_risk risk;
  int32_t n;
  int32_t *order; /* [n] */
  float *worst;   /* [n] CRC: the largest loss so far on the path, at least 0 */
};

struct ex_risk_evidence {
  double statistic; /* LTT, UCB: the p-value; CRC: (sum of worst + most) / (n + 1) */
  bool passed;      /* statistic ≤ 1 − confidence; CRC: ≤ value */
};

enum ex_status ex__risk_test_new(const struct ex_risk *risk, int32_t n, struct ex_risk_test *out,
                                 struct ex_error *err);
/* The path's next policy, whose losses on the certify split are loss [n]. After
 * the first that does not pass, no more are to be tested. */
struct ex_risk_evidence ex__risk_test_next(struct ex_risk_test *test, const float *loss);
void ex__risk_test_clear(struct ex_risk_test *test);

#endif
