/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/transform_geometric: exit transform of net/ensemble.c.
 */
#ifndef EX_EXPORT_KERNELS_TRANSFORM_GEOMETRIC_H
#define EX_EXPORT_KERNELS_TRANSFORM_GEOMETRIC_H

#include "export/kernels/kernel_opinion.h"

/* Exit transform ensemble, geometric: exits so far answer together, by a weighted sum of
 * the logarithms of their probabilities. state [exits][n]: those logarithms */
static void transform(int exit, const float *raw, int n, float *state, float *answer) {
  log_softmax(raw, n, state + exit * n);
  for (int i = 0; i < n; i++) {
    const int at = row_at[exit];
    answer[i] = (at < 0 ? raw[i] : combine(rows + at, exit, state, n, i)) / temperatures[exit];
  }
}

#endif
