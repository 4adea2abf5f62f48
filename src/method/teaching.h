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

/* A temperature that stays, or rises as the last exit grows sure of itself (Phuong
 * and Lampert): × growth after a batch whose mean greatest probability at T is
 * above `confidence`, up to `limit`. Part of a method's values; its rows of the
 * method's table are EX_TEMPERATURE_PARAMS. */
struct ex_temperature {
  double first, confidence, growth, limit;
  int32_t anneal;
};
/* clang-format off */
#define EX_TEMPERATURE_AT(at, field) ((at) + offsetof(struct ex_temperature, field))
#define EX_TEMPERATURE_PARAMS(at, first_default, anneal_default)                                \
  {"temperature", EX_PARAM_REAL, EX_TEMPERATURE_AT(at, first), 0.01, 1000, first_default, NULL, \
   "Softens the probabilities that are taught; where it is annealed, the first."},              \
  {"anneal", EX_PARAM_BOOL, EX_TEMPERATURE_AT(at, anneal), 0, 1, anneal_default, NULL,          \
   "The temperature rises as the last exit grows sure; false: it stays."},                      \
  {"confidence", EX_PARAM_REAL, EX_TEMPERATURE_AT(at, confidence), 0, 1, "0.5", NULL,           \
   "Anneal: mean greatest probability of the last exit above which the temperature rises; "     \
   "must be well above 1 / classes."},                                                          \
  {"growth", EX_PARAM_REAL, EX_TEMPERATURE_AT(at, growth), 1, 2, "1.05", NULL,                  \
   "Anneal: factor on the temperature, at most once in a batch."},                              \
  {"temperature-limit", EX_PARAM_REAL, EX_TEMPERATURE_AT(at, limit), 0.01, 1000, "100", NULL,   \
   "Anneal: the temperature never rises above this."}
/* clang-format on */
/* `method` is named in the message. */
enum ex_status ex__temperature_check(const char *method, const struct ex_temperature *values,
                                     struct ex_error *err);
/* The temperature of the next batch. */
double ex__teaching_anneal(const struct ex_loss_call *call, double temperature,
                           const struct ex_temperature *values);

#endif
