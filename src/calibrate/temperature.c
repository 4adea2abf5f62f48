/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/temperature: by halving, in log b with b = 1/T. The loss is convex in b,
 *
 *     d/db mean(log Σ exp(b z_c) − b z_y) = mean(E[z] − z_y),
 *
 * with the mean of z under softmax(b z), so the derivative's sign says on which side
 * the minimum lies, also where it is too flat for Newton's steps.
 */
#include "calibrate/temperature.h"

#include <math.h>

enum { HALVINGS = 40 };
static const double hottest = 50;

/* Derivative over the labelled samples that are finite there; false: there is none. */
static bool slope_at(const ex_trace *trace, struct ex_samples_range range, int32_t point, double b,
                     double *slope) {
  bool some = false;
  *slope = 0;
  for (int32_t i = range.first; i < trace->n; i += range.step) {
    int64_t at = ex__trace_at(trace, point, i);
    const ex_real *z = trace->output + at * trace->n_outputs;
    int32_t label = trace->answer[at].label, target = trace->target[i];
    if (label < 0 || target < 0) continue;
    double top = (double)z[label], sum = 0, mean = 0; /* the largest is taken off all */
    for (int32_t c = 0; c < trace->n_outputs; c++) {
      double low = (double)z[c] - top, weight = exp(b * low);
      sum += weight;
      mean += weight * low;
    }
    *slope += mean / sum - ((double)z[target] - top);
    some = true;
  }
  return some;
}

static double fit_point(const ex_trace *trace, struct ex_samples_range range, int32_t point) {
  double low = -log(hottest), high = log(hottest), slope;
  for (int32_t h = 0; h < HALVINGS; h++) {
    double middle = (low + high) / 2;
    if (!slope_at(trace, range, point, exp(middle), &slope)) return 1;
    if (slope > 0)
      high = middle;
    else
      low = middle;
  }
  return exp(-(low + high) / 2);
}

void ex__fit_temperatures(const ex_trace *trace, struct ex_samples_range range,
                          struct ex_list *out) {
  out->n = trace->n_points;
  for (int32_t point = 0; point < trace->n_points; point++)
    out->value[point] = fit_point(trace, range, point);
}
