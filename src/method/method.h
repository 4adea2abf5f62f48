/* SPDX-License-Identifier: Apache-2.0
 *
 * method/method: how to train. One paper is one file and one line in
 * methods.def.
 *
 * A method sees arrays, never the engine, files, clocks or globals. Hooks that
 * are NULL mean the default: everything that the phase trains is trained, in
 * one backward pass, gradients of shared parameters add, one optimiser step.
 * In the order in which they are called:
 *
 *   check   what a table of bounds cannot say of the values
 *   equip   what the method adds to a network before weights are drawn: gates,
 *           links between heads, the exit transform
 *   flow    how gradients travel over cuts: scaled, stopped, in some channels
 *   needs   memory, held-out samples, length of an epoch
 *   start   first values of the method's own state
 *   loss    the loss of one batch, with its gradients at heads and gates
 *   merge   gradients of single exits into one, by their inner products
 *   step    a step of its own, through struct ex_trainer (method/trainer.h)
 *   finish  what is fitted when the weights have been chosen, to outputs of heads
 *           that stand still: the exit transform
 *
 * While the trunk alone is trained (EX_PHASE_TRUNK) flow, loss, merge and step are
 * not used: every method begins from the same trunk, trained with the plain
 * cross-entropy of the last exit.
 */
#ifndef EX_METHOD_METHOD_H
#define EX_METHOD_METHOD_H

#include "base/param.h"
#include "net/builder.h"
#include "net/net.h"

enum { EX_MAX_METHOD_VALUES = 2048 }; /* bytes */

/* What a phase of training moves. "Trunk" is all bodies and the last head
 * (with the heads that it reads): the network without its exits. */
enum ex_phase {
  EX_PHASE_ALL,
  EX_PHASE_HEADS, /* the trunk is frozen: no gradient, momentum, decay, statistics or dropout */
  EX_PHASE_TRUNK, /* plain training of the last exit; the other heads are not even run */
  EX_PHASE_NONE   /* looking only */
};

/* Where a batch comes from. Meta samples are cut from the training samples
 * (train.meta-share) and never trained on; they are not augmented. */
enum ex_source { EX_SOURCE_TRAIN, EX_SOURCE_META };

struct ex_trainer;

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
  void *own;        /* [needs.scratch] bytes, aligned for any type; lost between two steps */
  const struct ex_transform *transform; /* of the net: raw outputs → answers */
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

/* How the gradient goes from one reader of a value to the value's maker, where
 * that is another part of the network. Forward is never changed. */
struct ex_flow {
  int32_t value;    /* of the graph, made in a body or a head */
  int32_t segment;  /* that reads it */
  double scale;     /* × the gradient; 0: none goes, and it is not even computed */
  int32_t from, to; /* channels (of rank 1: features) it goes for, 0 ≤ from < to; the others get
                       nothing from this reader. to = 0: all of them */
};
enum { EX_MAX_FLOWS = 512 };
struct ex_flows { /* a pair that is not listed: scale 1, all channels */
  int32_t n;
  struct ex_flow flow[EX_MAX_FLOWS];
};

/* What joins the gradients of single exits: their inner products over the
 * parameters that at least two exits reach. What one exit reaches alone keeps
 * its own gradient. */
struct ex_merge_call {
  int32_t n;             /* exits that are trained */
  const double *product; /* [n][n], symmetric */
  uint64_t seed;         /* of this step */
  double *weight;        /* [n], result: the merged gradient is the sum of weight × gradient */
};

/* What `finish` is given: outputs of labelled samples, each once, at the weights
 * that were chosen, as inference computes them (running statistics, no dropout). */
struct ex_finish_call {
  int32_t n, n_points, n_outputs;
  ex_real *output;                /* [n][n_points][n_outputs], raw; may be overwritten */
  const int32_t *target;          /* [n], none below 0 */
  const ex_real *weight;          /* [n]: class weights; NULL: 1 */
  void *own;                      /* [needs.scratch] bytes */
  struct ex_transform *transform; /* of the net: what is to be set */
};

enum { EX_MAX_KEPT = EX_MAX_POINTS + 4 };
struct ex_method_needs { /* zeroed before the call */
  size_t state;          /* bytes, saved in checkpoints, zeroed when training begins */
  size_t scratch;        /* bytes of one step, or of finish */
  int32_t kept, work;    /* slabs like the parameters: saved in checkpoints (at most
                                 EX_MAX_KEPT); of one step */
  bool aside;            /* passes aside: trainer->aside */
  bool meta;             /* held-out samples; train.meta-share, 0.1 where that is 0 */
  int64_t cycle;         /* steps that belong together; 0: any. An epoch is then one cycle,
                                 and the learning rate is constant in it */
  int32_t finish;        /* samples that finish is given, at most; 0: it is not called. Memory for
                            their outputs is taken when training begins */
  enum ex_source finish_source; /* of them: as they are trained on, augmented, or held out */
};

struct ex_method {
  const char *name;    /* "joint" */
  const char *cite;    /* NULL: folklore */
  const char *summary; /* what it does, what it costs, when to choose it: three sentences */
  const struct ex_param *params;
  size_t size; /* of the parameters' struct */
  /* The seeds of `loss` are not its whole gradient: some of it is held constant
   * (a teacher, an ensemble so far). A test of the method's own checks them. */
  bool detached;
  enum ex_status (*check)(const void *values, int32_t n_points, struct ex_error *err);
  void (*equip)(const void *values, ex_builder *builder); /* may fail by ex__builder_fail */
  void (*flow)(const void *values, const ex_net *net, struct ex_flows *flows);
  /* n_steps: batches that hold all training samples once. */
  void (*needs)(const void *values, const ex_net *net, int32_t batch, int32_t n_steps,
                struct ex_method_needs *needs);
  void (*start)(const void *values, const ex_net *net, uint64_t seed, void *state);
  /* The loss of one batch: returns it, adds its gradients at heads and gates. A
   * point whose doutput is NULL adds nothing to the loss. Never NULL. */
  double (*loss)(const void *values, void *state, const struct ex_loss_call *call);
  void (*merge)(const void *values, void *state, const struct ex_merge_call *call);
  void (*step)(const void *values, void *state, struct ex_trainer *trainer);
  /* Once, when training is over and the best epoch is chosen: by raw answers, since
   * this comes after. A function of its arguments alone, for a run that is killed
   * in it does it again. Fails for want of memory only. */
  enum ex_status (*finish)(const void *values, const void *state, const struct ex_finish_call *call,
                           struct ex_error *err);
};

const struct ex_method *ex__method_find(const char *name); /* NULL: none */
const struct ex_method *ex__method_at(int32_t index);      /* NULL past the last */
/* The "method" object of a recipe: {"name": NAME, parameter: value…}; NULL or an
 * absent name: joint. values [EX_MAX_METHOD_VALUES], aligned as from ex__calloc.
 * Unknown names list the known. */
enum ex_status ex__method_from_json(const json_t *json, int32_t n_points,
                                    const struct ex_method **out, void *values,
                                    struct ex_error *err);

/* The loss of one batch in any phase: the plain cross-entropy of the last exit
 * while the trunk alone is trained (no smoothing, and no loss at heads that run
 * only because the last one reads them), the method's own else. */
double ex__method_loss(const struct ex_method *method, const void *values, void *state,
                       const struct ex_loss_call *call);

/* ---- for the files of methods -------------------------------------------- */

/* Adds factor × mean cross-entropy of one point to the loss (returned) and to
 * doutput[point]; sets point_loss[point]. `smoothing` in [0, 1): share of the
 * target that is spread over all classes (Szegedy et al. 2016). Overwrites
 * call->scratch, so nothing of the caller's may wait there. */
double ex__method_cross_entropy(const struct ex_loss_call *call, int32_t point, double factor,
                                double smoothing);

/* SDN's ramped weight (Kaya et al., ICML 2019) of a point: min(C, 0.01 + e · C / E)
 * in epoch e from 1 of E; 1 at the last point. `ceiling` C; below 0: the work of
 * going straight to the point, as a share of going to the last. */
double ex__method_ramp(const struct ex_loss_call *call, int32_t point, double ceiling);
/* Adds a flow. EX_MAX_FLOWS are enough for a flow per reader of the value that
 * each head reads; more are a programming error, and are dropped. */
void ex__method_flow(struct ex_flows *flows, struct ex_flow flow);
/* The value of a body that the head of `point` reads: the feature map that is
 * handed to the classifier. The first of several; −1 where it reads none. */
int32_t ex__method_feature(const ex_net *net, int32_t point);
/* Adds the flows of gradient equilibrium (method_equilibrium.c). */
void ex__method_equalise(const ex_net *net, struct ex_flows *flows);

#endif
