/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/loss: losses on the logits of one exit, each with its gradient.
 *
 * All take raw logits [n][n_classes], return the sum over samples of
 * weight × loss (the caller divides: pass weights of 1/n for a mean), write
 * the unweighted per-sample loss to `each` [n] (NULL: not wanted) and ADD
 * weight × gradient to `dlogits` [n][n_classes] (NULL: not wanted).
 * `weight` [n] may be NULL (1 for all). They are stable for large logits.
 */
#ifndef EX_GRAPH_LOSS_H
#define EX_GRAPH_LOSS_H

#include <stdint.h>

#include "base/real.h"

/* Cross-entropy with class targets [n]; a negative target is unlabelled and adds nothing. */
double ex__loss_cross_entropy(const ex_real *logits, int32_t n, int32_t n_classes,
                              const int32_t *target, const ex_real *weight, ex_real *each,
                              ex_real *dlogits);
/* Cross-entropy with soft targets [n][n_classes] (rows sum to one). */
double ex__loss_soft_cross_entropy(const ex_real *logits, int32_t n, int32_t n_classes,
                                   const ex_real *target, const ex_real *weight, ex_real *each,
                                   ex_real *dlogits);
/* T² · H(softmax(teacher / T), softmax(logits / T)); gradient T · (p_s − p_t) (Hinton et al. 2015). */
double ex__loss_distillation(const ex_real *logits, int32_t n, int32_t n_classes,
                             const ex_real *teacher, double temperature, const ex_real *weight,
                             ex_real *each, ex_real *dlogits);
/* Mean over the features of (output − target)². */
double ex__loss_mse(const ex_real *output, int32_t n, int32_t n_features, const ex_real *target,
                    const ex_real *weight, ex_real *each, ex_real *doutput);
/* Binary cross-entropy on raw scores, targets in [0, 1], mean over the features. */
double ex__loss_bce(const ex_real *score, int32_t n, int32_t n_features, const ex_real *target,
                    const ex_real *weight, ex_real *each, ex_real *dscore);

/* The one softmax of the library: p = softmax(logits / temperature), [n][n_classes].
 * Accumulates in double in index order, so that its bits depend on nothing else. */
void ex__softmax(const ex_real *logits, int32_t n, int32_t n_classes, double temperature,
                 ex_real *p);

#endif
