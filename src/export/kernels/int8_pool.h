/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_pool: what pooling layers say.
 */
#ifndef EX_EXPORT_KERNELS_INT8_POOL_H
#define EX_EXPORT_KERNELS_INT8_POOL_H

#include "export/kernels/int8_requantise.h"
#include "export/kernels/kernel_window.h"

struct pool {
  int width, channels; /* of the input */
  int out_height, out_width;
  int in_zero, out_zero, low; /* low: the least output, which is zero behind a relu */
  int32_t multiplier;         /* means: of an input's unit */
  int shift;
  const struct window *rows;    /* [out_height] */
  const struct window *columns; /* [out_width] */
};

#endif
