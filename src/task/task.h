/* SPDX-License-Identifier: Apache-2.0
 *
 * task/task: what an answer is.
 *
 * A task turns the output of a head into an answer, says how good an answer
 * is against its target, and names the loss that trains it by default. Rooms
 * above never ask "is this classification?": they call the task. Regression,
 * dense maps and tokens become further files and lines of tasks.def; their
 * target types are named here so that the contract does not change.
 */
#ifndef EX_TASK_TASK_H
#define EX_TASK_TASK_H

#include <stdint.h>

#include "base/real.h"
#include "base/status.h"

enum ex_target { EX_TARGET_CLASS, EX_TARGET_REAL, EX_TARGET_MAP, EX_TARGET_TOKEN, EX_TARGET_NONE };

/* All that an exit rule may read of one output, computed in one pass. */
struct ex_answer {
  int32_t label;          /* the answer: the class of the largest output, lowest index on ties */
  double max_probability; /* in (0, 1] */
  double margin;          /* largest minus second largest probability, in [0, 1] */
  double entropy;         /* nats, in [0, ln n_outputs] */
};

struct ex_task {
  const char *name; /* "classification" */
  enum ex_target target;
  /* `output` [n_outputs] raw (before softmax) and already transformed;
   * `probability` [n_outputs] receives softmax(output). Accumulates in double
   * in index order: trace, engine and export share this one function. A number
   * that is not finite gives label −1 and NaN features. */
  void (*answer)(const ex_real *output, int32_t n_outputs, ex_real *probability,
                 struct ex_answer *out);
  /* Higher is better; correctness, 0 or 1, for classification; NaN without a target. */
  double (*quality)(const struct ex_answer *answer, int32_t target);
  /* Of one sample: cross-entropy in nats for classification; NaN without a target. */
  double (*loss)(const ex_real *output, int32_t n_outputs, int32_t target);
};

/* NULL where there is no such task. */
const struct ex_task *ex__task_find(const char *name);

#endif
