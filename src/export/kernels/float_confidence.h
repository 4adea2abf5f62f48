/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_confidence: graph/op_confidence.c: what gates read of logits.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_CONFIDENCE_H
#define EX_EXPORT_KERNELS_FLOAT_CONFIDENCE_H

#include "export/kernels/kernel_logarithm.h"

/* The entropy of softmax(scale · z), most the largest of z; its largest probability is
 * 1 / *sum. */
static float entropy_at(const float *z, int n, float most, float scale, float *sum) {
  float weighted = 0;
  *sum = 0;
  for (int i = 0; i < n; i++) {
    const float below = scale * (z[i] - most), e = exponential(below);
    *sum += e;
    weighted += e > 0 ? below * e : 0;
  }
  return logarithm(*sum) - weighted / *sum;
}

/* in [n]; out: the largest probability, the entropy, how far the next probability is
 * behind, and the entropy of the squares of all, normalised. */
static void confidence(const float *in, float *out, int n) {
  float most = in[0], second = -0x1.fffffep+127f, sum;
  for (int i = 1; i < n; i++) {
    if (in[i] > most) {
      second = most;
      most = in[i];
    } else if (in[i] > second) {
      second = in[i];
    }
  }
  out[3] = entropy_at(in, n, most, 2, &sum);
  out[1] = entropy_at(in, n, most, 1, &sum);
  out[0] = 1 / sum;
  out[2] = (1 - exponential(second - most)) / sum;
}

#endif
