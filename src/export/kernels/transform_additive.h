/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/transform_additive: exit transform of net/transform.c.
 */
#ifndef EX_EXPORT_KERNELS_TRANSFORM_ADDITIVE_H
#define EX_EXPORT_KERNELS_TRANSFORM_ADDITIVE_H

/* Exit transform additive: outputs add to a share of what the exit before answered, and
 * are then divided by the temperature of their exit. state [n]: the sum so far */
static void transform(int exit, const float *raw, int n, float *state, float *answer) {
  for (int i = 0; i < n; i++) {
    state[i] = raw[i] + additive_factor * state[i];
    answer[i] = state[i] / temperatures[exit];
  }
}

#endif
