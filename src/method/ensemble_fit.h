/* SPDX-License-Identifier: Apache-2.0
 *
 * method/ensemble_fit: the weights of a running ensemble (net/ensemble.h), by
 * cross-entropy on stored outputs of heads that stand still.
 */
#ifndef EX_METHOD_ENSEMBLE_FIT_H
#define EX_METHOD_ENSEMBLE_FIT_H

#include "method/method.h"

/* Of one exit. The numbers x that are fitted: [point + 1] w, then [n_outputs] b;
 * class probabilities are proportional, with p_j of head j, to
 *     geometric    exp(Σ_j exp(w_j) / (point + 1) · log p_j + b)
 *     arithmetic   Σ_j exp(w_j) · p_j + exp(b) */
struct ex_ensemble_fit {
  enum ex_mean mean;
  int32_t point;
  const struct ex_finish_call *call; /* whose outputs ex__ensemble_opinion has replaced */
  double *factor;                    /* [point + 1] scratch */
  double *sum;                       /* [n_outputs] scratch */
};

/* Mean cross-entropy in nats, with class weights, and its gradient by x; an
 * objective of base/minimise.h. */
double ex__ensemble_fit_loss(void *fit, const double *x, double *gradient);
/* The row of a network's ensemble that x stands for, its numbers within bounds. */
void ex__ensemble_fit_row(const struct ex_ensemble_fit *fit, const double *x, double *row);

/* Fits fit->point from w = 0, b = 0 to the minimum and writes its row; needs
 * scratch of so many doubles. */
size_t ex__ensemble_fit_scratch(int32_t n_points, int32_t n_outputs);
void ex__ensemble_fit(struct ex_ensemble_fit *fit, double *scratch, double *row);

#endif
