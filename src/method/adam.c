/* SPDX-License-Identifier: Apache-2.0
 *
 * method/adam: one loop, in double.
 */
#include "method/adam.h"

#include <math.h>

void ex__adam_step(struct ex_adam *adam, int64_t n, double rate, const double *gradient,
                   double *first, double *second, double *value) {
  static const double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double step = (double)++adam->step;
  double correct1 = 1 - pow(beta1, step), correct2 = 1 - pow(beta2, step);
  for (int64_t i = 0; i < n; i++) {
    first[i] = beta1 * first[i] + (1 - beta1) * gradient[i];
    second[i] = beta2 * second[i] + (1 - beta2) * gradient[i] * gradient[i];
    value[i] -= rate * (first[i] / correct1) / (sqrt(second[i] / correct2) + epsilon);
  }
}
