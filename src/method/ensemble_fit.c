/* SPDX-License-Identifier: Apache-2.0
 *
 * method/ensemble_fit: loss and gradient in one pass over the samples. In w the
 * geometric mean's loss has no minimum but the least one: it is convex in exp(w),
 * which grows with w.
 */
#include "method/ensemble_fit.h"

#include <math.h>

#include "base/minimise.h"

enum { MOST_PASSES = 200 };
static const double tolerance = 1e-6; /* of each component of the gradient */

static double factor_of(const struct ex_ensemble_fit *fit, double w) {
  return fit->mean == EX_MEAN_GEOMETRIC ? exp(w) / (fit->point + 1) : exp(w);
}

/* fit->sum ← what the class probabilities of one sample are proportional to, as
 * logarithms where the mean is geometric. opinion [n_points][n_outputs] */
static void add_up(const struct ex_ensemble_fit *fit, const ex_real *opinion, const double *bias) {
  int32_t n_outputs = fit->call->n_outputs;
  bool geometric = fit->mean == EX_MEAN_GEOMETRIC;
  for (int32_t c = 0; c < n_outputs; c++) fit->sum[c] = geometric ? bias[c] : exp(bias[c]);
  for (int32_t j = 0; j <= fit->point; j++)
    for (int32_t c = 0; c < n_outputs; c++)
      fit->sum[c] += fit->factor[j] * (double)opinion[(int64_t)j * n_outputs + c];
}

/* Cross-entropy of fit->sum, which becomes its gradient by these sums. */
static double geometric_loss(const struct ex_ensemble_fit *fit, int32_t target) {
  int32_t n_outputs = fit->call->n_outputs;
  double most = fit->sum[0], right = fit->sum[target];
  for (int32_t c = 1; c < n_outputs; c++) most = fmax(most, fit->sum[c]);
  double all = fit->sum[0] = exp(fit->sum[0] - most);
  for (int32_t c = 1; c < n_outputs; c++) all += fit->sum[c] = exp(fit->sum[c] - most);
  for (int32_t c = 0; c < n_outputs; c++) fit->sum[c] = fit->sum[c] / all - (c == target);
  return most + log(all) - right;
}

static double arithmetic_loss(const struct ex_ensemble_fit *fit, int32_t target) {
  int32_t n_outputs = fit->call->n_outputs;
  double all = fit->sum[0], right = fit->sum[target];
  for (int32_t c = 1; c < n_outputs; c++) all += fit->sum[c];
  for (int32_t c = 0; c < n_outputs; c++) fit->sum[c] = 1 / all - (c == target) / right;
  return log(all) - log(right);
}

double ex__ensemble_fit_loss(void *context, const double *x, double *gradient) {
  const struct ex_ensemble_fit *fit = context;
  const struct ex_finish_call *call = fit->call;
  int32_t n_heads = fit->point + 1, n_outputs = call->n_outputs;
  bool geometric = fit->mean == EX_MEAN_GEOMETRIC;
  double total = 0, *dw = gradient, *db = gradient + n_heads;
  const double *bias = x + n_heads;
  for (int32_t i = 0; i < n_heads + n_outputs; i++) gradient[i] = 0;
  for (int32_t j = 0; j < n_heads; j++) fit->factor[j] = factor_of(fit, x[j]);
  for (int32_t i = 0; i < call->n; i++) {
    const ex_real *opinion = call->output + (int64_t)i * call->n_points * n_outputs;
    double weight = (call->weight != NULL ? (double)call->weight[i] : 1) / call->n;
    add_up(fit, opinion, bias);
    total += weight * (geometric ? geometric_loss : arithmetic_loss)(fit, call->target[i]);
    for (int32_t c = 0; c < n_outputs; c++) db[c] += weight * fit->sum[c];
    for (int32_t j = 0; j < n_heads; j++) {
      double inner = 0;
      for (int32_t c = 0; c < n_outputs; c++)
        inner += fit->sum[c] * (double)opinion[(int64_t)j * n_outputs + c];
      dw[j] += weight * inner * fit->factor[j];
    }
  }
  for (int32_t c = 0; c < n_outputs && !geometric; c++) db[c] *= exp(bias[c]);
  return total;
}

static double bounded(double value) {
  return fmax(-ex_largest_factor, fmin(value, ex_largest_factor));
}

void ex__ensemble_fit_row(const struct ex_ensemble_fit *fit, const double *x, double *row) {
  int32_t n_heads = fit->point + 1, n = n_heads + fit->call->n_outputs;
  for (int32_t j = 0; j < n_heads; j++) row[j] = bounded(factor_of(fit, x[j]));
  for (int32_t c = n_heads; c < n; c++)
    row[c] = bounded(fit->mean == EX_MEAN_GEOMETRIC ? x[c] : exp(x[c]));
}

size_t ex__ensemble_fit_scratch(int32_t n_points, int32_t n_outputs) {
  int32_t n = n_points + n_outputs;
  return 2 * (size_t)n + ex__minimise_scratch(n);
}

void ex__ensemble_fit(struct ex_ensemble_fit *fit, double *scratch, double *row) {
  int32_t n_heads = fit->point + 1, n_outputs = fit->call->n_outputs;
  const struct ex_objective objective = {n_heads + n_outputs, ex__ensemble_fit_loss, fit};
  double *x = scratch;
  fit->factor = x + objective.n;
  fit->sum = fit->factor + n_heads;
  for (int32_t i = 0; i < objective.n; i++) x[i] = 0;
  ex__minimise(&objective, tolerance, MOST_PASSES, x, fit->sum + n_outputs);
  ex__ensemble_fit_row(fit, x, row);
}
