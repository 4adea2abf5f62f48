/* SPDX-License-Identifier: Apache-2.0
 *
 * method/teaching: a pair of exits after the other. With several teachers of
 * one student, one mixture of their probabilities would give the same gradient;
 * the pairs are kept apart because each has a loss of its own to report, and
 * ten classes cost nothing beside a forward pass.
 */
#include "method/teaching.h"

#include "graph/loss.h"

/* Fills call->scratch with the weight of each sample in a mean over the batch. */
static const ex_real *even_weights(const struct ex_loss_call *call, double factor) {
  for (int32_t i = 0; i < call->n; i++) call->scratch[i] = (ex_real)(factor / call->n);
  return call->scratch;
}

double ex__teaching_loss(const struct ex_loss_call *call, const struct ex_teaching *teaching) {
  double sum = 0;
  for (int32_t k = 0; k < call->n_points; k++)
    sum += ex__method_cross_entropy(call, k, teaching->label[k], 0);
  for (int32_t t = 1; t < call->n_points; t++)
    for (int32_t s = 0; s < t; s++) {
      double factor = teaching->teach[t][s];
      if (factor == 0 || call->doutput[s] == NULL) continue;
      sum += ex__loss_distillation(call->output[s], call->n, call->n_outputs, call->output[t],
                                   teaching->temperature, even_weights(call, factor), NULL,
                                   call->doutput[s]);
    }
  return sum;
}

static double cross_entropy(const struct ex_loss_call *call, int32_t point) {
  int32_t labelled = 0;
  for (int32_t i = 0; i < call->n; i++) labelled += call->target[i] >= 0;
  if (labelled == 0) return 0;
  return ex__loss_cross_entropy(call->output[point], call->n, call->n_outputs, call->target,
                                call->weight, NULL, NULL) /
         labelled;
}

void ex__teaching_terms(const struct ex_loss_call *call, const ex_real *const *teacher,
                        double temperature, double *terms) {
  int32_t n_points = call->n_points;
  for (int32_t k = 0; k < n_points; k++)
    terms[k] = call->doutput[k] != NULL ? cross_entropy(call, k) : 0;
  for (int32_t t = 1; t < n_points; t++)
    for (int32_t s = 0; s < t; s++) {
      double *term = &terms[ex__teaching_pair(n_points, t, s)];
      *term = call->doutput[s] == NULL
                  ? 0
                  : ex__loss_distillation(call->output[s], call->n, call->n_outputs, teacher[t],
                                          temperature, even_weights(call, 1), NULL, NULL);
    }
}

enum ex_status ex__temperature_check(const char *method, const struct ex_temperature *values,
                                     struct ex_error *err) {
  if (!values->anneal || values->limit >= values->first) return EX_OK;
  return ex__fail(err, EX_EINVAL,
                  "%s: temperature-limit = %g; must be at least the first temperature, %g", method,
                  values->limit, values->first);
}

double ex__teaching_anneal(const struct ex_loss_call *call, double temperature,
                           const struct ex_temperature *values) {
  if (!values->anneal) return temperature;
  const ex_real *output = call->output[call->n_points - 1];
  ex_real *p = call->scratch;
  double sum = 0;
  ex__softmax(output, call->n, call->n_outputs, temperature, p);
  for (int32_t i = 0; i < call->n; i++, p += call->n_outputs) {
    ex_real most = p[0];
    for (int32_t c = 1; c < call->n_outputs; c++) most = p[c] > most ? p[c] : most;
    sum += (double)most;
  }
  /* What is not a number is not above. */
  if (!(sum / call->n > values->confidence)) return temperature;
  double next = temperature * values->growth;
  return next < values->limit ? next : values->limit;
}
