/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_linear: a linear layer.
 */
#ifndef EX_EXPORT_KERNELS_INT8_LINEAR_H
#define EX_EXPORT_KERNELS_INT8_LINEAR_H

#include "export/kernels/int8_dot.h"
#include "export/kernels/int8_requantise.h"

struct linear {
  int features, out_features;
  int in_zero, out_zero, low; /* low: the least output, which is zero behind a relu */
  const int8_t *weight;       /* [out_features][features] */
  const int32_t *bias;        /* [out_features], in units of the sums */
  const int32_t *multiplier;  /* [out_features] */
  const uint8_t *shift;       /* [out_features] */
};

static void linear(const struct linear *l, const int8_t *in, int8_t *out) {
  for (int o = 0; o < l->out_features; o++) {
    const int32_t sum = dot(in, l->in_zero, l->weight + o * l->features, l->features, l->bias[o]);
    out[o] = clamped(l->out_zero + requantise(sum, l->multiplier[o], l->shift[o]), l->low);
  }
}

#endif
