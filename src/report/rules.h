/* SPDX-License-Identifier: Apache-2.0
 *
 * report/rules: every exit rule on one model: what each makes of the same traces
 * under the same constraint, and which is best for which constraint.
 *
 * Rules are fitted on select, the best is chosen by certify, and test is looked
 * at once, for the figures that are told. Times are the live engines', one input
 * at a time, the rules by turns, so that a busy machine slows all alike; and each
 * live answer is held against the replayed one.
 */
#ifndef EX_REPORT_RULES_H
#define EX_REPORT_RULES_H

#include "base/progress.h"
#include "calibrate/risk.h"
#include "data/data.h"
#include "engine/engine.h"

struct ex_rules_job { /* everything is borrowed */
  const ex_model *model;
  const ex_data *data;      /* with select, certify and test, all labelled */
  const char *const *names; /* of the rules, NULL-terminated, each with values that are set where
                               wanted, NAME:KEY=VALUE:KEY=VALUE…; NULL: every rule of the register
                               that could be deployed */
  struct ex_constraint constraint;
  const struct ex_risk *risk; /* to be certified, in place of the constraint; NULL: none */
  int32_t threads;
  int32_t timed_samples; /* 0: no wall clock */
  struct ex_progress progress;
};

/* *out, owned by the caller: {constraint: {kind ("risk" where one was to be certified), value,
 * unit}, n, full: {accuracy, macs},
 * rules: [{policy, accuracy, drop, mean_macs, macs_share, mean_ns, p99_ns, risk, met, values} or
 * {policy, refused}…], best: [{constraint, policy, met, accuracy, drop, macs_share}…], curves:
 * {policy: [[macs_share, accuracy]…]}, by_rule: {policy: {drop, macs, latency: [{value, accuracy,
 * drop, macs_share, met} or {value}, where it was refused…]}}}. `risk`: share of the samples that are answered otherwise
 * than full depth does. Times are nanoseconds, null where they were not taken; figures of `rules`
 * and `curves` are of test, those of `best`, whose first is of the job's constraint, of certify. */
enum ex_status ex__rules_compare(const struct ex_rules_job *job, json_t **out,
                                 struct ex_error *err);

/* One self-contained HTML page of it. */
enum ex_status ex__rules_page(const json_t *rules, const char *path, struct ex_error *err);

#endif
