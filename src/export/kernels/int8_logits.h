/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_logits: the linear layer that ends a head: exact sums, which become floats.
 */
#ifndef EX_EXPORT_KERNELS_INT8_LOGITS_H
#define EX_EXPORT_KERNELS_INT8_LOGITS_H

#include "export/kernels/int8_dot.h"

struct logits {
  int features, out_features, in_zero;
  const int8_t *weight; /* [out_features][features] */
  const int32_t *bias;  /* [out_features], in units of the sums */
  const float *unit;    /* [out_features]: what one unit of a sum is */
};

static void logits(const struct logits *l, const int8_t *in, float *out) {
  for (int o = 0; o < l->out_features; o++)
    out[o] = (float)dot(in, l->in_zero, l->weight + o * l->features, l->features, l->bias[o]) *
             l->unit[o];
}

#endif
