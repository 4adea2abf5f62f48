/* SPDX-License-Identifier: Apache-2.0
 *
 * train/optim_sgd: stochastic gradient descent with the semantics of PyTorch's
 * SGD (dampening 0): decay is added to the gradient, the buffer is
 * m ← momentum · m + d, and the step is d + momentum · m with Nesterov, else
 * m, times the learning rate. A buffer that starts from zero gives PyTorch's
 * first step, which starts from d.
 */
#include "train/optim.h"

static void update(const struct ex_optim_step *step, double decay, int64_t n, ex_real *w,
                   const ex_real *g, ex_real *const moment[EX_MAX_MOMENTS]) {
  ex_real *m = moment[0];
  ex_real rate = (ex_real)step->pace.learning_rate, momentum = (ex_real)step->pace.momentum;
  ex_real scale = (ex_real)step->scale, shrink = (ex_real)decay;
  bool nesterov = step->options->nesterov != 0;
  for (int64_t i = 0; i < n; i++) {
    ex_real d = scale * g[i] + shrink * w[i];
    m[i] = momentum * m[i] + d;
    w[i] -= rate * (nesterov ? d + momentum * m[i] : m[i]);
  }
}

/* The gradient enters through d alone, which is linear in it. */
static void sensitivity(const struct ex_optim_step *step, int64_t n, const ex_real *g,
                        const ex_real *const moment[EX_MAX_MOMENTS], const ex_real *by,
                        ex_real *out) {
  (void)g, (void)moment;
  double share = step->options->nesterov != 0 ? 1 + step->pace.momentum : 1;
  ex_real factor = (ex_real)(-step->pace.learning_rate * step->scale * share);
  for (int64_t i = 0; i < n; i++) out[i] = factor * by[i];
}

const struct ex_optim_class ex__optim_sgd = {
    .name = "sgd", .n_moments = 1, .update = update, .sensitivity = sensitivity};
