/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_pool: what pooling layers say.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_POOL_H
#define EX_EXPORT_KERNELS_FLOAT_POOL_H

#include "export/kernels/kernel_window.h"

struct pool {
  int width, channels; /* of the input */
  int out_height, out_width, relu;
  const struct window *rows;    /* [out_height] */
  const struct window *columns; /* [out_width] */
};

#endif
