/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/transform_arithmetic: exit transform of net/ensemble.c.
 */
#ifndef EX_EXPORT_KERNELS_TRANSFORM_ARITHMETIC_H
#define EX_EXPORT_KERNELS_TRANSFORM_ARITHMETIC_H

#include "export/kernels/kernel_opinion.h"

/* Exit transform ensemble, arithmetic: exits so far answer together, by the logarithm of a
 * weighted sum of their probabilities, no less than 2^-126. state [exits][n]: those
 * probabilities */
static void transform(int exit, const float *raw, int n, float *state, float *answer) {
  float *const own = state + exit * n;
  log_softmax(raw, n, own);
  for (int i = 0; i < n; i++) own[i] = exponential(own[i]);
  for (int i = 0; i < n; i++) {
    const int at = row_at[exit];
    float sum = at < 0 ? 1 : combine(rows + at, exit, state, n, i);
    if (sum < 0x1p-126f) sum = 0x1p-126f;
    answer[i] = (at < 0 ? raw[i] : logarithm(sum)) / temperatures[exit];
  }
}

#endif
