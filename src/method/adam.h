/* SPDX-License-Identifier: Apache-2.0
 *
 * method/adam: Adam (Kingma & Ba, ICLR 2015) for the few numbers that a method
 * learns about training itself: loss weights, fusion weights. Plain arrays, so
 * that they lie in the method's flat state and in checkpoints.
 */
#ifndef EX_METHOD_ADAM_H
#define EX_METHOD_ADAM_H

#include <stdint.h>

struct ex_adam { /* flat; zero to begin */
  int64_t step;
};

/* One step down `gradient` [n] at `rate`; first, second [n]: moments, zero to
 * begin. beta 0.9 and 0.999, epsilon 1e-8. */
void ex__adam_step(struct ex_adam *adam, int64_t n, double rate, const double *gradient,
                   double *first, double *second, double *value);

#endif
