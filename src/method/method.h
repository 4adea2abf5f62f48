/* SPDX-License-Identifier: Apache-2.0
 *
 * method/method: how to train. One paper is one file and one line in
 * methods.def.
 *
 * A method sees arrays, never the engine, files, clocks or globals. Hooks that
 * are NULL mean the default: everything trains, one backward pass, gradients
 * of shared parameters add, one optimiser step. `plan` and `step` are where
 * frozen trunks, blocked channels and inner loops will sit; their structs grow
 * with the first method that needs them.
 */
#ifndef EX_METHOD_METHOD_H
#define EX_METHOD_METHOD_H

#include "base/param.h"
#include "net/net.h"

enum { EX_MAX_METHOD_VALUES = 2048 }; /* bytes */

/* One batch as a loss sees it. */
struct ex_loss_call {
  int32_t n, n_points, n_outputs;
  const ex_real *const *output; /* [n_points][n][n_outputs], transformed head outputs */
  const ex_real *const *gate;   /* [n_points][n]; an entry is NULL where there is no gate */
  const int32_t *target;        /* [n]; −1: not labelled */
  const ex_real *weight;        /* [n]: class weights; NULL: 1 */
  int32_t epoch, n_epochs;      /* from 0 */
  const struct ex_cost *cost;
  /* Results. Gradients are of the mean over labelled samples, and are added. */
  ex_real *const *doutput; /* [n_points][n][n_outputs]; an entry is NULL where frozen */
  ex_real *const *dgate;   /* [n_points][n] or NULL entries */
  double *point_loss;      /* [n_points]: mean cross-entropy of each point, unweighted */
};

enum ex_freeze { EX_TRAIN_ALL, EX_TRAIN_HEADS, EX_TRAIN_TRUNK };

struct ex_method {
  const char *name;    /* "joint" */
  const char *cite;    /* NULL: folklore */
  const char *summary; /* what it does, what it costs, when to choose it: three sentences */
  const struct ex_param *params;
  size_t size;       /* of the parameters */
  size_t state_size; /* own state, flat, saved in checkpoints */
  enum ex_status (*check)(const void *values, int32_t n_points, struct ex_error *err);
  /* The loss of one batch: returns it, fills the gradients at heads and gates. */
  double (*loss)(const void *values, void *state, const struct ex_loss_call *call);
};

const struct ex_method *ex__method_find(const char *name); /* NULL: none */
const struct ex_method *ex__method_at(int32_t index);      /* NULL past the last */

#endif
