/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/bound: one-sided bounds for what was counted on a finite split.
 */
#ifndef EX_CALIBRATE_BOUND_H
#define EX_CALIBRATE_BOUND_H

#include <stdint.h>

/* P(Bin(n, p) ≤ k). */
double ex__binomial_tail(int32_t n, int32_t k, double p);

/* Two classifiers on the same samples; those on which both are right or both
 * wrong say nothing about the difference. */
struct ex_pairs {
  int32_t n;
  int32_t lost; /* full depth is right, the policy wrong */
  int32_t won;  /* the other way round */
};

/* Of the hypothesis "the expected drop of accuracy is ≥ drop" (a share in
 * [−1, 1]): at most `alpha` with probability alpha where it is true. */
double ex__drop_p_value(const struct ex_pairs *pairs, double drop);
/* Smallest drop that is refuted at level alpha: a (1 − alpha) upper bound. */
double ex__drop_upper(const struct ex_pairs *pairs, double alpha);
/* Fewest samples with which a policy that never differs from full depth would
 * be shown to lose at most `drop` (> 0). */
int64_t ex__drop_least_n(double drop, double alpha);

/* Values seen so far, as sums of their distances from the first: of large values
 * that lie close together nothing is cancelled, and of equal ones the spread is
 * exactly 0. Begins zeroed. */
struct ex_moments {
  int32_t n;
  double origin, sum, squares; /* the first value; Σ (x − origin); Σ (x − origin)² */
};
static inline void ex__moments_add(struct ex_moments *moments, double value) {
  if (moments->n++ == 0) moments->origin = value;
  double distance = value - moments->origin;
  moments->sum += distance;
  moments->squares += distance * distance;
}
double ex__moments_mean(const struct ex_moments *moments); /* NaN of none */

/* A (1 − alpha) upper bound of the mean from which independent values came, none
 * of which can be above `most`; of no values: `most`. */
double ex__mean_upper(const struct ex_moments *moments, double most, double alpha);

#endif
