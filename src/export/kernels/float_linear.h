/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_linear: a linear layer.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_LINEAR_H
#define EX_EXPORT_KERNELS_FLOAT_LINEAR_H

#include "export/kernels/float_dot.h"

struct linear {
  int features, out_features, relu;
  const float *weight; /* [out_features][features] */
  const float *bias;   /* [out_features] */
};

static void linear(const struct linear *l, const float *in, float *out) {
  for (int o = 0; o < l->out_features; o++) {
    const float sum = dot(in, l->weight + o * l->features, l->features, l->bias[o]);
    out[o] = l->relu && sum < 0 ? 0 : sum;
  }
}

#endif
