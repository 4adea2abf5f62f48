/* SPDX-License-Identifier: Apache-2.0
 *
 * report/evaluation: one model under one policy on one split: what it answers,
 * what it spends, and what full depth would have done, in the same run.
 *
 * Answers and multiply-adds come from the live engine, not from the trace; the
 * trace gives what the engine never sees (every exit of every sample), and the
 * two are held against each other sample by sample. Wall clock is measured one
 * input at a time, the policy and full depth by turns, so that a busy machine
 * slows both alike.
 */
#ifndef EX_REPORT_EVALUATION_H
#define EX_REPORT_EVALUATION_H

#include "base/progress.h"
#include "data/data.h"
#include "engine/engine.h"

struct ex_evaluation_job { /* everything is borrowed */
  const ex_model *model;
  const ex_policy *policy;
  const int32_t *classes; /* [n_classes] of a request, for rules that read classes; NULL: none */
  int32_t n_classes;
  const ex_data *data;
  enum ex_split split; /* of the figures; select gives the budgeted curve its thresholds */
  int32_t threads;
  int32_t timed_samples; /* of the split, for wall clock; 0: none */
  bool fast;
  struct ex_progress progress;
};

typedef struct ex_evaluation ex_evaluation;
struct ex_evaluation {
  json_t *json;               /* what `evaluate --json` prints; docs/measuring.md */
  ex_trace *trace;            /* of the split, on raw outputs */
  struct ex_outcome *outcome; /* [trace->n]: where the engine left */
};

enum ex_status ex__evaluate(const struct ex_evaluation_job *job, ex_evaluation **out,
                            struct ex_error *err);
void ex__evaluation_free(ex_evaluation *evaluation); /* accepts NULL */

/* The budgeted curve as MSDNet's dynamic.txt: accuracy in percent TAB mean cost. */
enum ex_status ex__evaluation_write_dynamic(const ex_evaluation *evaluation, const char *path,
                                            struct ex_error *err);

/* One self-contained HTML page. Pictures are drawn from `data`'s split. */
enum ex_status ex__report_html(const ex_evaluation *evaluation, const ex_model *model,
                               const ex_data *data, enum ex_split split, const char *path,
                               struct ex_error *err);

#endif
