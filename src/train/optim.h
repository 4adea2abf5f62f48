/* SPDX-License-Identifier: Apache-2.0
 *
 * train/optim: optimisers, as loops over slabs.
 *
 * Parameters, gradients and moments have the same layout, so an optimiser is
 * elementwise and knows nothing of layers. What differs from tensor to tensor
 * (frozen, decayed) is turned into spans once. Spans are cut into chunks that
 * threads share; since every element is computed alone, and norms are summed
 * chunk by chunk in order, the bits do not depend on the number of threads.
 */
#ifndef EX_TRAIN_OPTIM_H
#define EX_TRAIN_OPTIM_H

#include "method/trainer.h"
#include "net/net.h"
#include "train/train_schedule.h"

enum { EX_MAX_MOMENTS = 2 };

/* One step as an optimiser sees it; constants of the step are made in double. */
struct ex_optim_step {
  const struct ex_train_options *options;
  struct ex_pace pace;
  int64_t step; /* of this phase, from 1 */
  double scale; /* on the gradient: clipping */
};

struct ex_optim_class {
  const char *name;
  int32_t n_moments; /* slabs of state, zero at the start */
  /* w [n] moves; g [n]; moment[i] [n]; decay: 0 or the weight decay. */
  void (*update)(const struct ex_optim_step *step, double decay, int64_t n, ex_real *w,
                 const ex_real *g, ex_real *const moment[EX_MAX_MOMENTS]);
  /* out[i] = by[i] · d w[i] / d g[i] of that update; moments [n] as before it. */
  void (*sensitivity)(const struct ex_optim_step *step, int64_t n, const ex_real *g,
                      const ex_real *const moment[EX_MAX_MOMENTS], const ex_real *by, ex_real *out);
};

const struct ex_optim_class *ex__optim_class(enum ex_optimiser optimiser);
extern const struct ex_optim_class ex__optim_sgd, ex__optim_adamw;

typedef struct ex_optim ex_optim;

/* trained [n_tensors of the net's graph]. Borrows options. */
enum ex_status ex__optim_new(const ex_net *net, const bool *trained,
                             const struct ex_train_options *options, int32_t threads,
                             ex_optim **out, struct ex_error *err);
void ex__optim_free(ex_optim *optim); /* accepts NULL */

/* Euclidean norm of the gradient of what is trained and named by `what`; not
 * finite where it is not. */
double ex__optim_norm(const ex_optim *optim, const ex_slabs *grads, struct ex_update what);
/* One step. moments [n_moments of the class], laid out like params. */
void ex__optim_step(const ex_optim *optim, struct ex_pace pace, int64_t step, double scale,
                    struct ex_update what, ex_slabs *params, const ex_slabs *grads,
                    ex_slabs *const *moments);
/* out ← by × d params / d grads of a step of everything that is trained, 0
 * elsewhere; nothing moves. `out` is another slab than `by`. */
void ex__optim_sensitivity(const ex_optim *optim, struct ex_pace pace, int64_t step,
                           const ex_slabs *grads, ex_slabs *const *moments, const ex_slabs *by,
                           ex_slabs *out);

#endif
