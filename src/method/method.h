/* SPDX-License-Identifier: Apache-2.0
 *
 * method/method: how to train. One paper is one file and one line in
 * methods.def.
 *
 * A method sees arrays, never the engine, files, clocks or globals. Hooks that
 * are NULL mean the default: everything that the phase trains is trained, in
 * one backward pass, gradients of shared parameters add, one optimiser step.
 * Today's hooks are `check` and `loss`, so a method is a loss over the exits'
 * outputs and gates. Of the design's other three, none exists: `plan` (what
 * trains, blocked channels), `merge` (per-exit gradients into one) and `step`
 * (an own inner loop). They become members of struct ex_method with the first
 * method that needs them. This folder lies below train/ and may not include
 * train/train_step.h, so `merge` and `step` will be handed a struct of function
 * pointers that is declared here and filled there: forward, backward from
 * chosen points into a chosen slab, snapshot and restore. The stepper can do
 * each of these already; what calls the hooks, in train.c, is to be written.
 */
#ifndef EX_METHOD_METHOD_H
#define EX_METHOD_METHOD_H

#include "base/param.h"
#include "net/net.h"

enum { EX_MAX_METHOD_VALUES = 2048 }; /* bytes */

/* What a phase of training moves. "Trunk" is all bodies and the last head
 * (with the heads that it needs): the network without its exits. */
enum ex_phase {
  EX_PHASE_ALL,
  EX_PHASE_HEADS, /* the trunk is frozen: no gradient, momentum, decay, statistics or dropout */
  EX_PHASE_TRUNK, /* plain training of the last exit; the other heads are not even run */
  EX_PHASE_NONE   /* looking only */
};

/* One batch as a loss sees it. */
struct ex_loss_call {
  int32_t n, n_points, n_outputs;
  const ex_real *const *output; /* [n_points][n][n_outputs], raw; transforms come later. An
                                   entry is NULL where the phase does not run the head */
  const ex_real *const *gate;   /* [n_points][n]; an entry is NULL where there is no gate */
  const int32_t *target;        /* [n]; −1: not labelled */
  const ex_real *weight;        /* [n]: class weights; NULL: 1 */
  enum ex_phase phase;
  int32_t epoch, n_epochs; /* of this phase; epoch from 0 */
  const struct ex_cost *cost;
  ex_real *scratch; /* [ex__loss_scratch_size(n, n_outputs)]; every call of
                       ex__method_cross_entropy overwrites all of it */
  /* Results. Gradients are ADDED. A mean is over the labelled samples of the
   * batch: class weights do not enter its denominator (their mean over the
   * training set is 1), so that the step does not depend on which classes a
   * batch happens to hold. */
  ex_real *const *doutput; /* [n_points][n][n_outputs]; an entry is NULL where it is not trained */
  ex_real *const *dgate;   /* [n_points][n] or NULL entries */
  double *point_loss;      /* [n_points]: mean cross-entropy in nats of each point, without any
                              weight; NaN where the head was not run or nothing is labelled */
};

static inline size_t ex__loss_scratch_size(int32_t n, int32_t n_outputs) { /* elements */
  return (size_t)n * ((size_t)n_outputs + 2);
}

struct ex_method {
  const char *name;    /* "joint" */
  const char *cite;    /* NULL: folklore */
  const char *summary; /* what it does, what it costs, when to choose it: three sentences */
  const struct ex_param *params;
  size_t size;       /* of the parameters' struct */
  size_t state_size; /* own state: flat, zeroed when training begins, saved in checkpoints */
  /* What a table of bounds cannot say: lists against the number of points. NULL: nothing. */
  enum ex_status (*check)(const void *values, int32_t n_points, struct ex_error *err);
  /* The loss of one batch: returns it, adds its gradients at heads and gates.
   * A point whose doutput is NULL adds nothing to the loss. In EX_PHASE_TRUNK
   * every method is the plain cross-entropy of the last exit, weight 1, whatever
   * its parameters: no smoothing, and no loss at heads that run only because
   * the last one reads them. Then methods start from the same trunk. */
  double (*loss)(const void *values, void *state, const struct ex_loss_call *call);
};

const struct ex_method *ex__method_find(const char *name); /* NULL: none */
const struct ex_method *ex__method_at(int32_t index);      /* NULL past the last */
/* The "method" object of a recipe: {"name": NAME, parameter: value…}; NULL or an
 * absent name: joint. values [EX_MAX_METHOD_VALUES], aligned as from ex__calloc.
 * Unknown names list the known. */
enum ex_status ex__method_from_json(const json_t *json, int32_t n_points,
                                    const struct ex_method **out, void *values,
                                    struct ex_error *err);

/* ---- for the files of methods -------------------------------------------- */

/* Adds factor × mean cross-entropy of one point to the loss (returned) and to
 * doutput[point]; sets point_loss[point]. `smoothing` in [0, 1): share of the
 * target that is spread over all classes (Szegedy et al. 2016). Overwrites
 * call->scratch, so nothing of the caller's may wait there. */
double ex__method_cross_entropy(const struct ex_loss_call *call, int32_t point, double factor,
                                double smoothing);

#endif
