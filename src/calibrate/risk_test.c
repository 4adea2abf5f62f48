/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/risk_test: the bounds of "Fast yet Safe" (Jazbec et al., NeurIPS
 * 2024) and the sequence in which they are asked.
 *
 * LTT and UCB test the path's policies at the full level D = 1 − confidence, from
 * full depth on, and stop at the first that fails: the first policy whose risk is
 * really above the value passes with probability at most D, and none beyond it is
 * reached without it (Learn-then-Test: Angelopoulos et al., 2021, Prop. 2 there).
 * So no monotone loss is needed. The answer is the policy before the one that
 * failed. (The paper's published code returns the one that failed.)
 *
 * p-values: of 0/1 losses the exact binomial tail; of losses in [0, 1] the
 * Hoeffding–Bentkus bound (Bates et al., JACM 2021),
 *     min(exp(−n·h(min(r, a), a)), e·P(Bin(n, a) ≤ ⌈n·r⌉)).
 * Both take no negative losses, so those count as 0: the promise is then about a
 * mean that is no smaller. By betting (Waudby-Smith & Ramdas, JRSS B 2024): with
 * x, a the loss and the value scaled to [0, 1], capital Π_t (1 − b_t (x_t − a)) is a
 * supermartingale where the mean is at least a, so it ever reaches 1 / D with
 * probability at most D. Bets are theirs, b_t² = 2 ln(1/D) / (n v_{t−1}) with v the
 * running variance that begins at 1/4; ours is the cap 0.9 / (1 − a) where they
 * have 1: no bet loses more than nine tenths, and few samples go further.
 *
 * CRC (Angelopoulos et al., ICLR 2024) needs losses that grow along the path.
 * Ours need not (an early exit may agree where a later one does not), so each
 * sample's loss is replaced by its largest so far, which is at least 0, the loss
 * of full depth; then Σ worst + most ≤ (n + 1) · value is the paper's condition
 * mean ≤ (n + 1) / n · value − most / n.
 */
#include "calibrate/risk_test.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "calibrate/bound.h"

static const double most_of_capital = 0.9;
enum { LARGEST_N = 1 << 26 };

double ex__risk_p_binomial(int32_t n, int32_t k, double mean) {
  return n > 0 ? ex__binomial_tail(n, k, mean) : 1;
}

/* Kullback–Leibler divergence of Bernoulli r from a, r ≤ a < 1. */
static double divergence(double r, double a) {
  double zero = r > 0 ? r * log(r / a) : 0;
  return zero + (1 - r) * log((1 - r) / (1 - a));
}

double ex__risk_p_hoeffding_bentkus(int32_t n, double average, double mean) {
  if (n < 1 || average >= mean) return 1;
  double hoeffding = exp(-n * divergence(average, mean));
  double bentkus = exp(1) * ex__binomial_tail(n, (int32_t)ceil(n * average), mean);
  return fmin(1, fmin(hoeffding, bentkus));
}

double ex__risk_p_betting(const float *loss, const int32_t *order, int32_t n, double low,
                          double high, double mean, double level) {
  double null = (mean - low) / (high - low), zero = -low / (high - low);
  double cap = most_of_capital / (1 - null), aim = -2 * log(level) / n;
  double sum = 0.5, squares = 0.25, log_capital = 0, best = 0;
  for (int32_t t = 1; t <= n; t++) {
    double x = loss != NULL ? (loss[order[t - 1]] - low) / (high - low) : zero;
    double bet = fmin(cap, sqrt(aim * t / squares));
    log_capital += log1p(-bet * (x - null));
    best = fmax(best, log_capital);
    sum += x;
    double distance = x - sum / (t + 1);
    squares += distance * distance;
  }
  return exp(-best);
}

/* ---- how many it takes ------------------------------------------------------ */

static double least_loss(enum ex_risk_of of) {
  return of == EX_RISK_DISAGREEMENT ? 0 : -ex__risk_loss_most(of);
}

static bool bets_pass(const struct ex_risk *risk, int32_t n) {
  double level = 1 - risk->confidence;
  return ex__risk_p_betting(NULL, NULL, n, least_loss(risk->of), ex__risk_loss_most(risk->of),
                            risk->value, level) <= level;
}

static int32_t least_n_of_bets(const struct ex_risk *risk) {
  int32_t low = 0, high = 1;
  while (high < LARGEST_N && !bets_pass(risk, high)) {
    low = high;
    high *= 2;
  }
  if (!bets_pass(risk, high)) return 0;
  while (high - low > 1) {
    int32_t middle = low + (high - low) / 2;
    if (bets_pass(risk, middle))
      high = middle;
    else
      low = middle;
  }
  return high;
}

int32_t ex__risk_least_n(const struct ex_risk *risk) {
  double share = risk->value / ex__risk_loss_most(risk->of);
  if (!(share > 1.0 / LARGEST_N)) return 0;
  if (risk->form == EX_RISK_UCB) return least_n_of_bets(risk);
  /* (1 − share)^n ≤ level; most ≤ (n + 1) · value. The last bits are not to decide. */
  double n = risk->form == EX_RISK_LTT ? log(1 - risk->confidence) / log1p(-share) : 1 / share - 1;
  n = fmax(1, ceil(n * (1 + 1e-12) - 1e-9));
  return n <= LARGEST_N ? (int32_t)n : 0;
}

/* ---- along the path --------------------------------------------------------- */

enum ex_status ex__risk_test_new(const struct ex_risk *risk, int32_t n, struct ex_risk_test *out,
                                 struct ex_error *err) {
  *out = (struct ex_risk_test){.risk = *risk, .n = n};
  out->order = ex__alloc((size_t)n, sizeof *out->order);
  out->worst = ex__calloc((size_t)n, sizeof *out->worst);
  if (out->order == NULL || out->worst == NULL) {
    ex__risk_test_clear(out);
    return ex__fail(err, EX_ENOMEM, "risk: no memory for %d samples", (int)n);
  }
  for (int32_t i = 0; i < n; i++) out->order[i] = i;
  struct ex_random random = ex__random_seed(risk->seed, 0);
  ex__random_shuffle(&random, out->order, n);
  return EX_OK;
}

void ex__risk_test_clear(struct ex_risk_test *test) {
  ex__free(test->order);
  ex__free(test->worst);
  *test = (struct ex_risk_test){.n = 0};
}

static double ltt(const struct ex_risk_test *test, const float *loss) {
  double most = ex__risk_loss_most(test->risk.of), sum = 0, share = test->risk.value / most;
  for (int32_t i = 0; i < test->n; i++) sum += fmax(0, loss[i]);
  if (test->risk.of != EX_RISK_BRIER) return ex__risk_p_binomial(test->n, (int32_t)sum, share);
  return ex__risk_p_hoeffding_bentkus(test->n, sum / most / test->n, share);
}

static double crc(struct ex_risk_test *test, const float *loss) {
  double sum = ex__risk_loss_most(test->risk.of);
  for (int32_t i = 0; i < test->n; i++) {
    test->worst[i] = fmaxf(test->worst[i], loss[i]);
    sum += test->worst[i];
  }
  return sum / (test->n + 1.0);
}

struct ex_risk_evidence ex__risk_test_next(struct ex_risk_test *test, const float *loss) {
  const struct ex_risk *risk = &test->risk;
  struct ex_risk_evidence evidence = {.statistic = 1};
  double level = 1 - risk->confidence;
  switch (risk->form) {
    case EX_RISK_LTT: evidence.statistic = ltt(test, loss); break;
    case EX_RISK_UCB:
      evidence.statistic = ex__risk_p_betting(loss, test->order, test->n, least_loss(risk->of),
                                              ex__risk_loss_most(risk->of), risk->value, level);
      break;
    case EX_RISK_CRC: evidence.statistic = crc(test, loss); break;
  }
  evidence.passed = evidence.statistic <= (risk->form == EX_RISK_CRC ? risk->value : level);
  return evidence;
}
