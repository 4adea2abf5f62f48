/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_hard_swish: graph/op_function.c, hard-swish.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_HARD_SWISH_H
#define EX_EXPORT_KERNELS_FLOAT_HARD_SWISH_H

/* x · (x / 6 + ½), the factor within 0 and 1. */
static void hard_swish(const float *in, float *out, int n, float a, float b) {
  (void)a, (void)b;
  for (int i = 0; i < n; i++) {
    const float y = in[i] / 6 + 0.5f;
    out[i] = in[i] * (y < 0 ? 0 : y > 1 ? 1 : y);
  }
}

#endif
