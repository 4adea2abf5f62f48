/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_avg_pool: means of windows.
 */
#ifndef EX_EXPORT_KERNELS_INT8_AVG_POOL_H
#define EX_EXPORT_KERNELS_INT8_AVG_POOL_H

#include "export/kernels/int8_pool.h"

static int8_t mean_of_window(const struct pool *p, const int8_t *in, struct window rows,
                             struct window columns) {
  const int32_t multiplier = p->multiplier / (rows.length * columns.length);
  int32_t sum = 0;
  for (int y = rows.begin; y < rows.end; y++)
    for (int x = columns.begin; x < columns.end; x++)
      sum += in[(y * p->width + x) * p->channels] - p->in_zero;
  return clamped(p->out_zero + requantise(sum, multiplier, p->shift), p->low);
}

/* in [height][width][channels] to out [out_height][out_width][channels] */
static void avg_pool(const struct pool *p, const int8_t *in, int8_t *out) {
  for (int y = 0; y < p->out_height; y++)
    for (int x = 0; x < p->out_width; x++)
      for (int channel = 0; channel < p->channels; channel++)
        *out++ = mean_of_window(p, in + channel, p->rows[y], p->columns[x]);
}

#endif
