/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_clip: graph/op_function.c, clip.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_CLIP_H
#define EX_EXPORT_KERNELS_FLOAT_CLIP_H

/* No less than a, no more than b. */
static void clip(const float *in, float *out, int n, float a, float b) {
  for (int i = 0; i < n; i++) {
    const float low = in[i] < a ? a : in[i];
    out[i] = low > b ? b : low;
  }
}

#endif
