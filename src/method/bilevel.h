/* SPDX-License-Identifier: Apache-2.0
 *
 * method/bilevel: weights of losses that are learned by looking one step ahead.
 *
 * A step of training goes down Σ_m w_m L_m(θ; b) on a batch b, and leads to θ'.
 * What is asked is how an outer loss, of other samples at θ', changes with each
 * of the weights. θ' depends on them through the gradient G = Σ w_m ∇L_m alone,
 * and optimisers are elementwise, so with u = (dθ'/dG) ∇L_outer(θ')
 *
 *     dL_outer / dw_m = < u, ∇L_m(θ; b) > = d/ds L_m(θ + s u; b) at s = 0,
 *
 * exactly: neither a second derivative nor a backward pass for each m. The
 * derivative along u is a difference of two forwards, for all m at once
 * ("forward mode" of Learning to Weight Samples; the difference is that of DARTS,
 * Liu et al., ICLR 2019).
 *
 * Batch norm takes the statistics of each batch in all of these passes, and its
 * running ones stay as they are; dropout draws the same masks in all of them.
 */
#ifndef EX_METHOD_BILEVEL_H
#define EX_METHOD_BILEVEL_H

#include "method/trainer.h"

enum { EX_BILEVEL_WORK = 2 }; /* slabs of the trainer's `work` that it takes, the first */

struct ex_hyper {
  int64_t inner_batch; /* of the training samples: that of the last forward */
  enum ex_source outer_source;
  int64_t outer_batch;
  int32_t n; /* weights w, and losses L_m */
  /* The weighted loss at θ: adds its gradients to the call's seeds, and keeps
   * what the losses hold constant (outputs of teachers). */
  void (*inner)(void *context, const struct ex_loss_call *call);
  /* The outer loss at θ': adds its gradients to the call's seeds. */
  void (*outer)(void *context, const struct ex_loss_call *call);
  /* All L_m [n] of the inner batch, at parameters near θ. */
  void (*measure)(void *context, const struct ex_loss_call *call, double *losses);
  void *context;
  double *spare;    /* [n] */
  double *gradient; /* [n], result: dL_outer / dw; all 0 where something is not finite */
};

/* After a forward of the inner batch at the net's parameters, with the seeds at
 * zero. Takes 3 more forward and 2 backward passes, all but one backward aside
 * (needs.aside), and moves nothing: a step can go on from that forward, whose
 * seeds are zero again. trainer->grads is overwritten. */
void ex__hypergradient(struct ex_trainer *trainer, const struct ex_hyper *hyper);

#endif
