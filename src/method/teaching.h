/* SPDX-License-Identifier: Apache-2.0
 *
 * method/teaching: the loss of exits that learn from labels and from later
 * exits,
 *
 *     L = Σ_k a_k · CE_k + Σ_{t>s} b_ts · KD(t→s),
 *     KD(t→s) = T² · mean over the batch of H(softmax(z_t / T), softmax(z_s / T)),
 *
 * shared by the methods that distil within a network. The teacher is held
 * constant: no gradient goes to it. Cross-entropies are means over the labelled
 * samples, with class weights; distillation needs no labels, so it is a mean
 * over all samples of the batch, and class weights have no part in it.
 */
#ifndef EX_METHOD_TEACHING_H
#define EX_METHOD_TEACHING_H

#include "method/method.h"

struct ex_teaching {
  double temperature;                         /* T */
  double label[EX_MAX_POINTS];                /* a [point] */
  double teach[EX_MAX_POINTS][EX_MAX_POINTS]; /* b [teacher][student]; teacher > student */
};

/* Returns L, adds its gradients to call->doutput and sets call->point_loss. A
 * student that is not trained adds nothing. */
double ex__teaching_loss(const struct ex_loss_call *call, const struct ex_teaching *teaching);

/* The terms of L one by one, without their weights and without gradients: CE of
 * every point, then KD of every pair, students (0, 1, …) of teacher 1, 2, …;
 * terms of points that are not trained are 0. Teachers are read from `teacher`
 * [n_points][n][n_outputs], which may be outputs of other parameters. */
static inline int32_t ex__teaching_pair(int32_t n_points, int32_t teacher, int32_t student) {
  return n_points + teacher * (teacher - 1) / 2 + student;
}
static inline int32_t ex__teaching_n_terms(int32_t n_points) {
  return n_points + n_points * (n_points - 1) / 2;
}
void ex__teaching_terms(const struct ex_loss_call *call, const ex_real *const *teacher,
                        double temperature, double *terms);

/* A temperature that rises as the last exit grows sure of itself (Phuong and
 * Lampert): × growth after a batch whose mean greatest probability at T is above
 * `confidence`, up to `limit`. */
struct ex_annealing {
  double confidence, growth, limit;
};
double ex__teaching_anneal(const struct ex_loss_call *call, double temperature,
                           const struct ex_annealing *annealing);

#endif
