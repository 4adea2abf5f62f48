/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/float_max_pool: largest numbers of windows.
 */
#ifndef EX_EXPORT_KERNELS_FLOAT_MAX_POOL_H
#define EX_EXPORT_KERNELS_FLOAT_MAX_POOL_H

#include "export/kernels/float_pool.h"

/* A number that is not one wins, as if nothing could be larger. */
static float max_of_window(const struct pool *p, const float *in, struct window rows,
                           struct window columns) {
  float most = in[(rows.begin * p->width + columns.begin) * p->channels];
  for (int y = rows.begin; y < rows.end; y++)
    for (int x = columns.begin; x < columns.end; x++) {
      const float value = in[(y * p->width + x) * p->channels];
      if (value > most || value != value) most = value;
    }
  return p->relu && most < 0 ? 0 : most;
}

/* in [height][width][channels] to out [out_height][out_width][channels] */
static void max_pool(const struct pool *p, const float *in, float *out) {
  for (int y = 0; y < p->out_height; y++)
    for (int x = 0; x < p->out_width; x++)
      for (int channel = 0; channel < p->channels; channel++)
        *out++ = max_of_window(p, in + channel, p->rows[y], p->columns[x]);
}

#endif
