/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/int8_max_pool: largest numbers of windows.
 */
#ifndef EX_EXPORT_KERNELS_INT8_MAX_POOL_H
#define EX_EXPORT_KERNELS_INT8_MAX_POOL_H

#include "export/kernels/int8_pool.h"

static int8_t max_of_window(const struct pool *p, const int8_t *in, struct window rows,
                            struct window columns) {
  int most = p->low;
  for (int y = rows.begin; y < rows.end; y++)
    for (int x = columns.begin; x < columns.end; x++) {
      const int value = in[(y * p->width + x) * p->channels];
      if (value > most) most = value;
    }
  return (int8_t)most;
}

/* in [height][width][channels] to out [out_height][out_width][channels] */
static void max_pool(const struct pool *p, const int8_t *in, int8_t *out) {
  for (int y = 0; y < p->out_height; y++)
    for (int x = 0; x < p->out_width; x++)
      for (int channel = 0; channel < p->channels; channel++)
        *out++ = max_of_window(p, in + channel, p->rows[y], p->columns[x]);
}

#endif
