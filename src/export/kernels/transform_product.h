/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/transform_product: exit transform of net/transform.c.
 */
#ifndef EX_EXPORT_KERNELS_TRANSFORM_PRODUCT_H
#define EX_EXPORT_KERNELS_TRANSFORM_PRODUCT_H

#include "export/kernels/kernel_logarithm.h"

/* Exit transform product: what is above zero multiplies, to the power of the exit's
 * weight, with what the exits before said; a class that one gave nothing stays out. state
 * [n]: logarithms so far. An exit where nothing is left answers by itself. */
static void transform(int exit, const float *raw, int n, float *state, float *answer) {
  const float nothing = -1000;
  int left = 0, finite = 1;
  for (int i = 0; i < n; i++) finite = finite && raw[i] - raw[i] == 0;
  for (int i = 0; finite && i < n; i++) {
    if (!(raw[i] > 0) || state[i] <= nothing) {
      state[i] = nothing;
      continue;
    }
    const float sum = state[i] + weights[exit] * logarithm(raw[i]);
    state[i] = sum < nothing / 2 ? nothing / 2 : sum;
    left = 1;
  }
  for (int i = 0; i < n; i++) answer[i] = (left ? state[i] : raw[i]) / temperatures[exit];
}

#endif
