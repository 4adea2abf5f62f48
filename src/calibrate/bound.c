/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/bound: how sure a count on a split can make us.
 *
 * The drop is the mean of paired differences in {−1, 0, 1}: with p the chance
 * of a lost and q that of a won sample, drop = p − q, and π = p + q is unknown
 * as well. Normal and Wilson-type intervals are too short exactly where we
 * work, at a handful of differing samples; two Clopper–Pearson bounds, one for
 * p and one for q, hold always but are about twice too long, because both
 * extremes are assumed at once. We use the exact unconditional test with the
 * unknown π confined to a confidence interval (Berger and Boos, JASA 1994):
 *
 *   p-value(drop) = γ + max over π ≤ u(γ) of P(lost − won ≤ observed | drop, π)
 *
 * where u(γ) is the Clopper–Pearson upper bound of π at level γ = 0.01. It
 * holds for every n; its margin is 1.4 times that of the normal bound at 25
 * differing samples, 1.1 times at 600. The maximum is taken over a grid of π; it lies at u but for counts
 * near zero. The sum over the number m of differing samples uses
 * P(Bin(m, θ) ≤ k) by recurrence in m, so no incomplete beta is needed.
 *
 * Mean costs are bounded by the normal approximation with the sample's own
 * deviation: a cost takes at most one value per exit, whose spread is of the
 * order of the mean, and splits have hundreds of samples; below about 30
 * samples read such a bound with care.
 */
#include "calibrate/bound.h"

#include <math.h>
#include <stdbool.h>

static const double nuisance_level = 0.01;
enum { NUISANCE_GRID = 4 };

/* ln k!: a product below 16, Stirling's series above (error < 1e-13). */
static double log_factorial(int32_t k) {
  double product = 1, x = (double)k + 1;
  while (x < 16) product *= x++;
  double series = 1 / (12 * x) - 1 / (360 * x * x * x) + 1 / (1260 * pow(x, 5));
  return (x - 0.5) * log(x) - x + 0.91893853320467274178 + series - log(product);
}

static double binomial_mass(int32_t n, int32_t k, double p) {
  if (k < 0 || k > n) return 0;
  if (p <= 0) return k == 0;
  if (p >= 1) return k == n;
  return exp(log_factorial(n) - log_factorial(k) - log_factorial(n - k) + k * log(p) +
             (n - k) * log1p(-p));
}

/* P(Bin(n, p) ≤ k), 0 < p < 1, summed downwards from k until terms vanish. */
static double binomial_tail(int32_t n, int32_t k, double p) {
  double term = binomial_mass(n, k, p), sum = term;
  for (int32_t j = k; j > 0 && term > 1e-16 * sum; j--) {
    term *= (double)j / (n - j + 1) * (1 - p) / p;
    sum += term;
  }
  return sum;
}

/* Clopper–Pearson: the p at which k or fewer of n have probability `level`. */
static double binomial_upper(int32_t n, int32_t k, double level) {
  if (k >= n) return 1;
  double low = (double)k / n, high = 1;
  for (int i = 0; i < 50; i++) {
    double middle = (low + high) / 2;
    if (binomial_tail(n, k, middle) > level)
      low = middle;
    else
      high = middle;
  }
  return high;
}

/* P(lost − won ≤ d) for n samples of which each differs with probability
 * `differ`, and a differing one is lost with probability `theta`. */
static double difference_tail(int32_t n, int32_t d, double differ, double theta) {
  double mean = n * differ, spread = 9 * sqrt(mean * (1 - differ)) + 30;
  int32_t last = mean + spread < n ? (int32_t)(mean + spread) : n;
  double sum = 0;
  /* cdf = P(Bin(m, θ) ≤ k) with k = ⌊(m + d) / 2⌋, from m = |d| on; below, the
   * difference cannot reach |d|, so the tail is 1 for d ≥ 0 and 0 otherwise. */
  int32_t m = d >= 0 ? d : -d;
  for (int32_t i = 0; i < m && i <= last && d >= 0; i++) sum += binomial_mass(n, i, differ);
  int32_t k = d >= 0 ? m : 0;
  double cdf = d >= 0 ? 1 : binomial_mass(m, 0, theta);
  for (; m <= last; m++) {
    sum += binomial_mass(n, m, differ) * cdf;
    bool up = (m + 1 + d) % 2 == 0;
    if (up)
      cdf += (1 - theta) * binomial_mass(m, ++k, theta);
    else
      cdf -= theta * binomial_mass(m, k, theta);
  }
  return sum < 1 ? sum : 1;
}

/* `most`: upper bound of π, the chance that a sample differs. */
static double p_value(const struct ex_pairs *pairs, double drop, double most) {
  int32_t n = pairs->n, observed = pairs->lost - pairs->won;
  double least = fabs(drop); /* π = p + q ≥ |p − q| */
  if (least > most) return drop > 0 ? nuisance_level : 1;
  double worst = 0;
  for (int i = 1; i <= NUISANCE_GRID; i++) {
    double differ = least + (most - least) * i / NUISANCE_GRID;
    double tail = difference_tail(n, observed, differ, (1 + drop / differ) / 2);
    if (tail > worst) worst = tail;
  }
  worst += nuisance_level;
  return worst < 1 ? worst : 1;
}

static double most_differing(const struct ex_pairs *pairs) {
  return binomial_upper(pairs->n, pairs->lost + pairs->won, nuisance_level);
}

double ex__drop_p_value(const struct ex_pairs *pairs, double drop) {
  return pairs->n > 0 ? p_value(pairs, drop, most_differing(pairs)) : 1;
}

double ex__drop_upper(const struct ex_pairs *pairs, double alpha) {
  if (pairs->n <= 0) return 1;
  double low = (double)(pairs->lost - pairs->won) / pairs->n, high = 1;
  double most = most_differing(pairs);
  for (int i = 0; i < 30; i++) {
    double middle = (low + high) / 2;
    if (p_value(pairs, middle, most) > alpha)
      low = middle;
    else
      high = middle;
  }
  return high;
}

int64_t ex__drop_least_n(double drop, double alpha) {
  int32_t low = 1, high = 1 << 28;
  while (low < high) {
    int32_t middle = low + (high - low) / 2;
    struct ex_pairs none = {.n = middle};
    if (ex__drop_p_value(&none, drop) > alpha)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* The z with P(Z > z) = alpha, 0 < alpha ≤ ½, by bisection of erfc. */
static double normal_quantile(double alpha) {
  double low = 0, high = 40;
  for (int i = 0; i < 60; i++) {
    double middle = (low + high) / 2;
    if (erfc(middle / sqrt(2)) / 2 > alpha)
      low = middle;
    else
      high = middle;
  }
  return low;
}

double ex__mean_upper(double sum, double sum_of_squares, int32_t n, double alpha) {
  if (n < 2) return n == 1 ? sum : INFINITY;
  double mean = sum / n, variance = (sum_of_squares - sum * mean) / (n - 1);
  return mean + (variance > 0 ? normal_quantile(alpha) * sqrt(variance / n) : 0);
}
