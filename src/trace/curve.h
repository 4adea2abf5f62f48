/* SPDX-License-Identifier: Apache-2.0
 *
 * trace/curve: accuracy against cost, as the field exchanges it.
 *
 * MSDNet's dynamic.txt: one line per budget, accuracy in percent, a tab, the
 * mean cost per sample.
 */
#ifndef EX_TRACE_CURVE_H
#define EX_TRACE_CURVE_H

#include <stdint.h>

#include "base/status.h"

struct ex_curve_point {
  double accuracy; /* percent */
  double cost;     /* mean multiply-adds per sample */
};

enum ex_status ex__curve_write(const char *path, const struct ex_curve_point *points, int32_t n,
                               struct ex_error *err);
/* *points [*n], released with ex__free; at most 65,536 lines. */
enum ex_status ex__curve_read(const char *path, struct ex_curve_point **points, int32_t *n,
                              struct ex_error *err);

#endif
