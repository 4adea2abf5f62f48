/* SPDX-License-Identifier: Apache-2.0
 *
 * report/evaluation_facts: what was observed, apart from how it is told.
 *
 * evaluation.c observes (engine, clock, traces); evaluation_json.c and
 * evaluation_notes.c only compute, so they are tested on made traces.
 */
#ifndef EX_REPORT_EVALUATION_FACTS_H
#define EX_REPORT_EVALUATION_FACTS_H

#include <jansson.h>
#include <math.h>

#include "engine/engine.h"

/* Everything is borrowed. */
struct ex_evaluation_facts {
  const ex_trace *trace;             /* of the split, every sample labelled */
  const ex_trace *select;            /* NULL: no budgeted curve */
  const struct ex_outcome *outcomes; /* [trace->n], of the engine */
  const ex_policy *policy;
  struct ex_env env;         /* under which it decided */
  const json_t *receipt;     /* NULL: the model has none, or it is another policy's */
  const char *const *labels; /* [trace->n_outputs] */
  const char *split;         /* its name */
  struct ex_ledger ledger;   /* sums over all samples, profiled */
  int64_t full_executed;     /* multiply-adds of one sample at full depth, by the counters; 0: not
                                measured */
  int32_t threads;
  int32_t n_timed;                   /* samples measured alone; 0: none */
  const double *policy_ns, *full_ns; /* [n_timed], of samples spread over the split */
  int32_t n_differ; /* samples where engine and replay disagree: `fast` alone allows it */
};

/* The object that `evaluate --json` prints (docs/measuring.md). */
enum ex_status ex__evaluation_json(const struct ex_evaluation_facts *facts, json_t **out,
                                   struct ex_error *err);
/* Adds "interest" to it: null where the rule reads no classes. */
bool ex__evaluation_interest(const struct ex_evaluation_facts *facts, json_t *evaluation);
/* Adds "notes" to it: sentences on what a reader should know, from its figures. */
bool ex__evaluation_notes(const struct ex_evaluation_facts *facts, json_t *evaluation);

/* ---- small JSON --------------------------------------------------------- */

/* A number, or null where it is not finite; NULL when memory is short. */
static inline json_t *ex__number(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}
/* Takes `value`; false when memory is short, `value` NULL included. */
static inline bool ex__put(json_t *object, const char *key, json_t *value) {
  return json_object_set_new(object, key, value) == 0;
}
static inline bool ex__put_number(json_t *object, const char *key, double value) {
  return ex__put(object, key, ex__number(value));
}
/* A number of an object, down a path of keys ("full/accuracy"); NaN where there
 * is none. */
double ex__number_at(const json_t *object, const char *path);

#endif
