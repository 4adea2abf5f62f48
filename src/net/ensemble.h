/* SPDX-License-Identifier: Apache-2.0
 *
 * net/ensemble: the exit transform that lets the heads so far answer together: at
 * point k with the heads j ≤ k, class by class,
 *
 *     geometric    log-output  = Σ_j factor_kj · log p_j + bias_k
 *     arithmetic   log-output  = log(Σ_j factor_kj · p_j + bias_k)
 *
 * where p_j is the softmax of the raw output of head j (the running ensembles of
 * Zero Time Waste, Wołczyk et al., NeurIPS 2021; with factors of 1/k and without
 * bias the mean of the heads; with factors of 1 a product of experts). A point
 * without a row answers with its raw output, bits included.
 *
 * The running state holds log p_j (p_j) of the heads that a later row may read,
 * so an answer costs its own head, if the heads before it have run, and at most
 * k multiply-adds per class, which no cost table counts.
 */
#ifndef EX_NET_ENSEMBLE_H
#define EX_NET_ENSEMBLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/param.h"
#include "base/real.h"
#include "base/status.h"

enum ex_mean { EX_MEAN_GEOMETRIC, EX_MEAN_ARITHMETIC };

static const double ex_largest_factor = 1e6; /* and bias */

struct ex_ensemble {
  enum ex_mean mean;
  int32_t n_points, n_outputs;
  /* Of point k: [k + 1] factors in [0, 1e6], then [n_outputs] biases in
   * [−1e6, 1e6] (geometric) or [0, 1e6] (arithmetic). NULL: the raw output. */
  double *row[EX_MAX_LIST];
};

/* No row yet. NULL: no memory, or more than EX_MAX_LIST points. */
struct ex_ensemble *ex__ensemble_new(enum ex_mean mean, int32_t n_points, int32_t n_outputs);
void ex__ensemble_free(struct ex_ensemble *ensemble);                      /* accepts NULL */
struct ex_ensemble *ex__ensemble_copy(const struct ex_ensemble *ensemble); /* NULL: no memory */
/* Gives `point` a row of zeros, or returns the one that it has; NULL: no memory. */
double *ex__ensemble_row(struct ex_ensemble *ensemble, int32_t point);

/* Bits of the earlier points whose factor at `point` is not 0. */
uint32_t ex__ensemble_needs(const struct ex_ensemble *ensemble, int32_t point);
int32_t ex__ensemble_state_size(const struct ex_ensemble *ensemble); /* per sample */
/* As ex__transform_apply. */
void ex__ensemble_apply(const struct ex_ensemble *ensemble, int32_t point, const ex_real *raw,
                        ex_real *state, ex_real *output);

/* What an ensemble combines: log p, at least −1e30, or p [n_outputs], of raw
 * [n_outputs]; may be in place. NaN where an output is NaN. */
void ex__ensemble_opinion(enum ex_mean mean, const ex_real *raw, int32_t n_outputs,
                          ex_real *opinion);

/* Adds "mean" and "exits": [{"factors": […], "bias": […]} or null…] to `object`. */
bool ex__ensemble_add_json(const struct ex_ensemble *ensemble, json_t *object);
enum ex_status ex__ensemble_from_json(const json_t *json, int32_t n_points, int32_t n_outputs,
                                      struct ex_ensemble **out, struct ex_error *err);

#endif
