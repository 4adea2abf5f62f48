/* SPDX-License-Identifier: Apache-2.0
 *
 * method/bilevel: the passes of a look ahead.
 *
 * The two points of the difference lie STEP / |u| to either side of θ. In single
 * precision a loss of about 1 is known to 1e-7, so a shorter step would drown in
 * rounding, and a longer one in curvature; in double the step is shorter, which
 * lets tests see that the formula is exact.
 */
#include "method/bilevel.h"

#include <math.h>
#include <string.h>

#ifdef EX_REAL_IS_DOUBLE
static const double STEP = 1e-5;
#else
static const double STEP = 1e-2;
#endif

static double norm_of(const ex_slabs *slabs) {
  double sum = 0;
  for (int32_t s = 0; s < slabs->n; s++)
    for (int64_t i = 0; i < slabs->size[s]; i++)
      sum += (double)slabs->data[s][i] * (double)slabs->data[s][i];
  return sqrt(sum);
}

/* to ← from + factor · direction */
static void displace(ex_slabs *to, const ex_slabs *from, double factor, const ex_slabs *direction) {
  for (int32_t s = 0; s < to->n; s++)
    for (int64_t i = 0; i < to->size[s]; i++)
      to->data[s][i] = from->data[s][i] + (ex_real)factor * direction->data[s][i];
}

/* A look leaves the exits' losses, which the progress line shows, as they are. */
struct look {
  struct ex_loss_call call;
  double point_loss[EX_MAX_POINTS];
};

static const struct ex_loss_call *look_at(struct look *look, const struct ex_trainer *trainer) {
  look->call = *trainer->call;
  look->call.point_loss = look->point_loss;
  return &look->call;
}

static bool all_finite(const double *x, int32_t n) {
  for (int32_t i = 0; i < n; i++)
    if (!isfinite(x[i])) return false;
  return true;
}

/* gradient ← d losses / ds along u; `moved` is overwritten. */
static void differ(struct ex_trainer *trainer, const struct ex_hyper *hyper, const ex_slabs *u,
                   ex_slabs *moved) {
  struct look look;
  double norm = norm_of(u), step = STEP / norm;
  trainer->read(trainer, EX_SOURCE_TRAIN, hyper->inner_batch);
  memset(hyper->gradient, 0, (size_t)hyper->n * sizeof *hyper->gradient);
  if (!(norm > 0) || !isfinite(norm) || !isfinite(step)) return;
  displace(moved, trainer->net->params, step, u);
  trainer->forward(trainer, moved, false);
  hyper->measure(hyper->context, look_at(&look, trainer), hyper->gradient);
  displace(moved, trainer->net->params, -step, u);
  trainer->forward(trainer, moved, false);
  hyper->measure(hyper->context, look_at(&look, trainer), hyper->spare);
  for (int32_t m = 0; m < hyper->n; m++)
    hyper->gradient[m] = (hyper->gradient[m] - hyper->spare[m]) / (2 * step);
  if (!all_finite(hyper->gradient, hyper->n))
    memset(hyper->gradient, 0, (size_t)hyper->n * sizeof *hyper->gradient);
}

void ex__hypergradient(struct ex_trainer *trainer, const struct ex_hyper *hyper) {
  ex_slabs *first = trainer->work[0], *second = trainer->work[1], *grads = trainer->grads;
  const ex_slabs *params = trainer->net->params;
  struct look look;
  hyper->inner(hyper->context, look_at(&look, trainer));
  ex__slabs_zero(grads);
  trainer->backward(trainer, params, EX_ALL_POINTS, grads);
  ex__method_clear_seeds(trainer->call);
  trainer->look_ahead(trainer, grads, first); /* θ' */
  trainer->aside(trainer, true);
  trainer->read(trainer, hyper->outer_source, hyper->outer_batch);
  trainer->forward(trainer, first, false);
  hyper->outer(hyper->context, look_at(&look, trainer));
  ex__slabs_zero(second);
  trainer->backward(trainer, first, EX_ALL_POINTS, second);
  trainer->sensitivity(trainer, grads, second, first); /* u */
  differ(trainer, hyper, first, second);
  trainer->aside(trainer, false);
}
