/* SPDX-License-Identifier: Apache-2.0
 *
 * base/minimise: the least value of a smooth function of a few numbers, by
 * limited-memory BFGS (Nocedal, Mathematics of Computation 35, 1980; Liu and
 * Nocedal 1989). For what is fitted after training (weights of an ensemble,
 * temperatures), where a run to the minimum costs less than choosing a learning
 * rate. Deterministic, in double, on the caller's memory.
 */
#ifndef EX_BASE_MINIMISE_H
#define EX_BASE_MINIMISE_H

#include <stddef.h>
#include <stdint.h>

struct ex_objective {
  int32_t n; /* numbers */
  /* Value at x [n]; writes its gradient [n]. A value that is not finite is a
   * point to turn back from. */
  double (*value)(void *context, const double *x, double *gradient);
  void *context;
};

/* Doubles of scratch for n numbers. */
size_t ex__minimise_scratch(int32_t n);
/* Moves x [n], where the value must be finite, downhill: until no component of
 * the gradient exceeds `tolerance`, no step lowers the value, or `most` calls
 * of the function have been made. Returns the value at x, which is never above
 * the first. */
double ex__minimise(const struct ex_objective *objective, double tolerance, int32_t most, double *x,
                    double *scratch);

#endif
