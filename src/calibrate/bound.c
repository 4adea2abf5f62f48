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
 * differing samples, 1.1 times at 600. The maximum over π is found numerically:
 * the largest at 33 equidistant points from |drop| to u, both ends among them.
 * The tail is smooth in π and the maximum mostly at u; what lies between two
 * points is not proven. Tests enumerate the coverage for small n. The sum over
 * the number m of differing samples has its binomial terms by recurrence in m,
 * so a point costs a few operations per m and no incomplete beta is needed.
 *
 * Mean costs are bounded by the normal approximation with the sample's own
 * deviation, so their level is asymptotic: a cost takes at most one value per
 * exit, whose spread is of the order of the mean, and splits have hundreds of
 * samples; below about 30 samples read such a bound with care. Where all costs
 * seen are equal the deviation says 0, but dearer samples may only have been
 * missed: with probability above alpha all n are cheap unless the share of dear
 * ones is below 1 − alpha^(1/n), ≈ ln(1/alpha) / n. The bound is therefore never
 * below (most − mean) times that share above the mean, which for equal costs
 * holds exactly at every n.
 */
#include "calibrate/bound.h"

#include <math.h>
#include <stdbool.h>

static const double nuisance_level = 0.01;
enum { NUISANCE_GRID = 32 }; /* intervals */

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
  if (k == 0) return exp(n * log1p(-p));
  if (k == n) return exp(n * log(p));
  return exp(log_factorial(n) - log_factorial(k) - log_factorial(n - k) + k * log(p) +
             (n - k) * log1p(-p));
}

/* Summed downwards from k until terms vanish. */
double ex__binomial_tail(int32_t n, int32_t k, double p) {
  if (k >= n || p <= 0) return 1;
  if (p >= 1) return 0;
  double term = binomial_mass(n, k, p), sum = term;
  if (term < 1e-290) return k > n * p; /* too far from the mean to begin with */
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
    if (ex__binomial_tail(n, k, middle) > level)
      low = middle;
    else
      high = middle;
  }
  return high;
}

/* P(Bin(m, θ) ≤ k) and P(Bin(m, θ) = k) with k = ⌊(m + d) / 2⌋: of m differing
 * samples at most k were lost. */
struct losses {
  int32_t m, k, d;
  double theta, cdf, mass;
};

static void losses_begin(struct losses *losses) { /* m + d ≥ 0 */
  losses->k = (losses->m + losses->d) / 2;
  losses->cdf = ex__binomial_tail(losses->m, losses->k, losses->theta);
  losses->mass = binomial_mass(losses->m, losses->k, losses->theta);
}

static void losses_next(struct losses *losses) {
  int32_t m = losses->m++, k = losses->k;
  double theta = losses->theta;
  if ((m + 1 + losses->d) % 2 == 0) {
    losses->cdf += losses->mass * (m - k) / (k + 1) * theta;
    losses->mass *= (m + 1) * theta / (k + 1);
    losses->k++;
  } else {
    losses->cdf -= losses->mass * theta;
    losses->mass *= (m + 1) * (1 - theta) / (m + 1 - k);
  }
}

/* P(lost − won ≤ d) for n samples of which each differs with probability
 * `differ`, and a differing one is lost with probability `theta`. Numbers m of
 * differing samples that are 9 deviations and 30 from the mean are left out. */
static double difference_tail(int32_t n, int32_t d, double differ, double theta) {
  double mean = n * differ, spread = 9 * sqrt(mean * (1 - differ)) + 30, sum = 0;
  int32_t last = mean + spread < n ? (int32_t)(mean + spread) : n;
  int32_t m = mean > spread ? (int32_t)(mean - spread) : 0, least = d >= 0 ? d : -d;
  double mass = binomial_mass(n, m, differ);
  while (mass <= 0 && m < last)
    mass = binomial_mass(n, ++m, differ); /* below what a double holds */
  double odds = differ < 1 ? differ / (1 - differ) : 0;
  /* Fewer than |d| cannot reach d: certain for d ≥ 0, impossible otherwise. */
  for (; m < least && m <= last; m++) {
    if (d >= 0) sum += mass;
    mass *= (double)(n - m) / (m + 1) * odds;
  }
  struct losses losses = {.m = m, .d = d, .theta = theta};
  if (m <= last) losses_begin(&losses);
  for (; m <= last; m++) {
    sum += mass * losses.cdf;
    mass *= (double)(n - m) / (m + 1) * odds;
    losses_next(&losses);
  }
  return sum < 1 ? sum : 1;
}

/* `most`: upper bound of π, the chance that a sample differs. */
static double p_value(const struct ex_pairs *pairs, double drop, double most) {
  int32_t n = pairs->n, observed = pairs->lost - pairs->won;
  double least = fabs(drop); /* π = p + q ≥ |p − q| */
  if (least > most) return drop > 0 ? nuisance_level : 1;
  double worst = 0;
  for (int i = 0; i <= NUISANCE_GRID; i++) {
    double differ = least + (most - least) * i / NUISANCE_GRID;
    double theta = differ > 0 ? (1 + drop / differ) / 2 : 0; /* none differs: none is lost */
    double tail = difference_tail(n, observed, differ, theta);
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

double ex__moments_mean(const struct ex_moments *moments) {
  return moments->n > 0 ? moments->origin + moments->sum / moments->n : NAN;
}

double ex__mean_upper(const struct ex_moments *moments, double most, double alpha) {
  int32_t n = moments->n;
  if (n < 1) return most;
  double mean = ex__moments_mean(moments), shift = moments->sum / n;
  double variance = n > 1 ? (moments->squares - moments->sum * shift) / (n - 1) : 0;
  double of_spread = variance > 0 ? normal_quantile(alpha) * sqrt(variance / n) : 0;
  double of_unseen = (most - mean) * -expm1(log(alpha) / n);
  return mean + fmax(of_spread, of_unseen);
}
