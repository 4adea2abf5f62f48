/* SPDX-License-Identifier: Apache-2.0
 *
 * train/optim_adamw: Loshchilov and Hutter, "Decoupled Weight Decay
 * Regularization" (ICLR 2019), with the semantics of PyTorch's AdamW: weights
 * shrink by learning rate × decay before the step, and epsilon is added to the
 * root of the bias-corrected second moment.
 */
#include <math.h>

#include "train/optim.h"

static ex_real root(ex_real x) {
#ifdef EX_REAL_IS_DOUBLE
  return sqrt(x);
#else
  return sqrtf(x);
#endif
}

static void update(const struct ex_optim_step *step, double decay, int64_t n, ex_real *w,
                   const ex_real *g, ex_real *const moment[EX_MAX_MOMENTS]) {
  ex_real *m = moment[0], *v = moment[1];
  double beta1 = step->pace.momentum, beta2 = step->options->beta2, t = (double)step->step;
  double rate = step->pace.learning_rate, correction2 = sqrt(1 - pow(beta2, t));
  ex_real keep = (ex_real)(1 - rate * decay), scale = (ex_real)step->scale;
  ex_real size = (ex_real)(rate / (1 - pow(beta1, t)));
  ex_real b1 = (ex_real)beta1, c1 = (ex_real)(1 - beta1);
  ex_real b2 = (ex_real)beta2, c2 = (ex_real)(1 - beta2);
  ex_real correction = (ex_real)correction2, epsilon = (ex_real)step->options->epsilon;
  for (int64_t i = 0; i < n; i++) {
    ex_real d = scale * g[i];
    m[i] = b1 * m[i] + c1 * d;
    v[i] = b2 * v[i] + c2 * d * d;
    w[i] = keep * w[i] - size * (m[i] / (root(v[i]) / correction + epsilon));
  }
}

/* Through both moments. Where the second is zero so is the gradient, and the
 * quotient rule has nothing to divide by: the limit from an exact zero is taken. */
static void sensitivity(const struct ex_optim_step *step, int64_t n, const ex_real *g,
                        const ex_real *const moment[EX_MAX_MOMENTS], const ex_real *by,
                        ex_real *out) {
  double beta1 = step->pace.momentum, beta2 = step->options->beta2, t = (double)step->step;
  double correction = sqrt(1 - pow(beta2, t)), epsilon = step->options->epsilon;
  double size = step->pace.learning_rate / (1 - pow(beta1, t));
  for (int64_t i = 0; i < n; i++) {
    double d = step->scale * (double)g[i];
    double m = beta1 * (double)moment[0][i] + (1 - beta1) * d;
    double spread = sqrt(beta2 * (double)moment[1][i] + (1 - beta2) * d * d);
    double below = spread / correction + epsilon;
    double turn = spread > 0 ? (1 - beta2) * d / (spread * correction) : 0; /* d below / d d */
    double slope = ((1 - beta1) - m * turn / below) / below;
    out[i] = (ex_real)(-size * step->scale * slope * (double)by[i]);
  }
}

const struct ex_optim_class ex__optim_adamw = {
    .name = "adamw", .n_moments = 2, .update = update, .sensitivity = sensitivity};
