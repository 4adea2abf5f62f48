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

#include "base/exponential.h"
#include "task/task.h"

enum { PIECE = 1024 }; /* exponentials that are kept; one piece computes none twice */

static bool all_finite(const ex_real *output, int32_t n) {
  int32_t n_bad = 0; /* no early end: the loop is to become vector code */
  for (int32_t i = 0; i < n; i++) n_bad += !isfinite(output[i]);
  return n_bad == 0;
}

static void no_answer(int32_t n, ex_real *probability, struct ex_answer *out) {
  for (int32_t i = 0; i < n; i++) probability[i] = (ex_real)NAN;
  *out = (struct ex_answer){-1, NAN, NAN, NAN};
}

/* Index of the largest output, the lowest on ties; *second: the largest of the
 * others, −infinity where there is none. */
static int32_t largest(const ex_real *output, int32_t n, ex_real *second) {
  int32_t best = 0;
  ex_real most = output[0], next = (ex_real)-INFINITY;
  for (int32_t i = 1; i < n; i++) {
    if (!(output[i] > next)) continue; /* most of them, when n is large */
    if (output[i] > most) {
      next = most;
      most = output[i];
      best = i;
    } else {
      next = output[i];
    }
  }
  *second = next;
  return best;
}

static int32_t piece(int32_t n_outputs, int32_t from) {
  return n_outputs - from < PIECE ? n_outputs - from : PIECE;
}

static void answer(const ex_real *output, int32_t n_outputs, ex_real *probability,
                   struct ex_answer *out) {
  if (!all_finite(output, n_outputs)) {
    no_answer(n_outputs, probability, out);
    return;
  }
  ex_real second;
  int32_t first = largest(output, n_outputs, &second);
  double most = output[first], sum = 0, weighted = 0, e[PIECE];
  for (int32_t from = 0; from < n_outputs; from += PIECE) {
    const ex_real *z = output + from;
    ex__exponentials(z, piece(n_outputs, from), most, e);
    for (int32_t i = 0; i < piece(n_outputs, from); i++) {
      sum += e[i];
      weighted += (z[i] - most) * e[i];
    }
  }
  for (int32_t from = 0; from < n_outputs; from += PIECE) {
    if (n_outputs > PIECE) ex__exponentials(output + from, piece(n_outputs, from), most, e);
    for (int32_t i = 0; i < piece(n_outputs, from); i++)
      probability[from + i] = (ex_real)(e[i] / sum);
  }
  double runner_up;
  ex__exponentials(&second, 1, most, &runner_up); /* 0 where there is none */
  out->label = first;
  out->max_probability = 1 / sum;
  out->margin = (1 - runner_up) / sum;
  /* The largest output's own term is exp(0), so sum >= 1: cppcheck thinks of no outputs at all. */
  /* cppcheck-suppress invalidFunctionArg */
  out->entropy = fmin(log(sum) - weighted / sum, log(n_outputs));
}

static double quality(const struct ex_answer *answer, int32_t target) {
  if (target < 0) return NAN;
  return answer->label == target;
}

static double loss(const ex_real *output, int32_t n_outputs, int32_t target) {
  if (target < 0 || target >= n_outputs || !all_finite(output, n_outputs)) return NAN;
  ex_real second;
  double most = output[largest(output, n_outputs, &second)], sum = 0;
  for (int32_t i = 0; i < n_outputs; i++) sum += exp(output[i] - most);
  return log(fmax(sum, 1)) - (output[target] - most); /* the largest alone adds 1 */
}

extern const struct ex_task ex__task_classification;
const struct ex_task ex__task_classification = {
    "classification", EX_TARGET_CLASS, answer, quality, loss,
};
