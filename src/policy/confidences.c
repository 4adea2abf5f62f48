/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/confidences: one pass over the probabilities, by insertion.
 */
#include "policy/confidences.h"

/* The `top` largest, falling; 0 where there are not so many. */
static void largest(const ex_real *probability, int32_t n, int32_t top, double *out) {
  for (int32_t t = 0; t < top; t++) out[t] = 0;
  for (int32_t c = 0; c < n; c++) {
    double p = probability[c];
    if (p <= out[top - 1]) continue;
    int32_t t = top - 1;
    for (; t > 0 && out[t - 1] < p; t--) out[t] = out[t - 1];
    out[t] = p;
  }
}

void ex__confidences(const struct ex_answer *answer, const ex_real *probability, int32_t n_outputs,
                     int32_t top, double *feature) {
  double sorted[EX_MAX_TOP];
  feature[0] = answer->max_probability;
  feature[1] = answer->margin;
  feature[2] = answer->entropy;
  if (top < 3) return;
  largest(probability, n_outputs, top, sorted);
  for (int32_t t = 2; t < top; t++) feature[3 + t - 2] = sorted[t];
}
