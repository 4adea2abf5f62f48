/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_add: weighted sums of two values, for add and blend.
 */
#ifndef EX_EXPORT_KERNELS_INT8_ADD_H
#define EX_EXPORT_KERNELS_INT8_ADD_H

#include "export/kernels/int8_requantise.h"

struct add {
  int n, a_zero, b_zero, out_zero, low; /* low: the least output, zero behind a relu */
  int32_t a_factor, b_factor;           /* units of a and b over that of the output, · 2^shift */
  int shift;
};

/* out may be a or b */
static void add(const struct add *l, const int8_t *a, const int8_t *b, int8_t *out) {
  for (int i = 0; i < l->n; i++) {
    const int64_t sum =
        (int64_t)(a[i] - l->a_zero) * l->a_factor + (int64_t)(b[i] - l->b_zero) * l->b_factor;
    out[i] = clamped(l->out_zero + shifted(sum, l->shift), l->low);
  }
}

#endif
