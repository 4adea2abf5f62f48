/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_avg_pool: means of windows.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_AVG_POOL_H
#define EX_EXPORT_KERNELS_FLOAT_AVG_POOL_H

#include "export/kernels/float_pool.h"

static float mean_of_window(const struct pool *p, const float *in, struct window rows,
                            struct window columns) {
  float sum = 0;
  for (int y = rows.begin; y < rows.end; y++)
    for (int x = columns.begin; x < columns.end; x++) sum += in[(y * p->width + x) * p->channels];
  return sum / (float)(rows.length * columns.length);
}

/* in [height][width][channels] to out [out_height][out_width][channels] */
static void avg_pool(const struct pool *p, const float *in, float *out) {
  for (int y = 0; y < p->out_height; y++)
    for (int x = 0; x < p->out_width; x++)
      for (int channel = 0; channel < p->channels; channel++)
        *out++ = mean_of_window(p, in + channel, p->rows[y], p->columns[x]);
}

#endif
