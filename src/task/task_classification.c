/* SPDX-License-Identifier: Apache-2.0
 *
 * task/classification: one of n_outputs classes.
 *
 * Everything an exit rule may read comes from one pass in double, in the order
 * of the classes. With m the largest output and S = Σ exp(z − m), the entropy
 * is ln S − Σ (z − m) exp(z − m) / S: both terms are non-negative and no
 * logarithm of a vanished probability is taken, so saturated outputs give 0
 * and not NaN. An output that is not finite has no answer: every rule goes on.
 */
#include <math.h>
#include <stdbool.h>

#include "task/task.h"

static bool all_finite(const ex_real *output, int32_t n) {
  for (int32_t i = 0; i < n; i++)
    if (!isfinite(output[i])) return false;
  return true;
}

static void no_answer(int32_t n, ex_real *probability, struct ex_answer *out) {
  for (int32_t i = 0; i < n; i++) probability[i] = (ex_real)NAN;
  *out = (struct ex_answer){-1, NAN, NAN, NAN};
}

/* Index of the largest output but `except` (−1: of all), the lowest on ties; −1: none. */
static int32_t largest(const ex_real *output, int32_t n, int32_t except) {
  int32_t best = -1;
  for (int32_t i = 0; i < n; i++)
    if (i != except && (best < 0 || output[i] > output[best])) best = i;
  return best;
}

static void answer(const ex_real *output, int32_t n_outputs, ex_real *probability,
                   struct ex_answer *out) {
  if (!all_finite(output, n_outputs)) {
    no_answer(n_outputs, probability, out);
    return;
  }
  int32_t first = largest(output, n_outputs, -1), second = largest(output, n_outputs, first);
  double most = output[first], sum = 0, weighted = 0;
  for (int32_t i = 0; i < n_outputs; i++) {
    double below = output[i] - most, e = exp(below);
    sum += e;
    weighted += below * e;
  }
  for (int32_t i = 0; i < n_outputs; i++) probability[i] = (ex_real)(exp(output[i] - most) / sum);
  double runner_up = second >= 0 ? exp(output[second] - most) : 0;
  out->label = first;
  out->max_probability = 1 / sum;
  out->margin = (1 - runner_up) / sum;
  out->entropy = fmin(log(sum) - weighted / sum, log(n_outputs));
}

static double quality(const struct ex_answer *answer, int32_t target) {
  if (target < 0) return NAN;
  return answer->label == target;
}

static double loss(const ex_real *output, int32_t n_outputs, int32_t target) {
  if (target < 0 || target >= n_outputs || !all_finite(output, n_outputs)) return NAN;
  double most = output[largest(output, n_outputs, -1)], sum = 0;
  for (int32_t i = 0; i < n_outputs; i++) sum += exp(output[i] - most);
  return log(sum) - (output[target] - most);
}

extern const struct ex_task ex__task_classification;
const struct ex_task ex__task_classification = {
    "classification", EX_TARGET_CLASS, answer, quality, loss,
};
