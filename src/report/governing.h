/* SPDX-License-Identifier: Apache-2.0
 *
 * report/governing: what a governor of frequencies makes of a model under its rule: the
 * same samples at full depth and under the rule, at the fastest level and governed.
 *
 * The work to the next decision is what the engine will do next, decision by decision,
 * of the live run. On the simulated device times and energies are those of its model
 * (policy/governor.h), for which the engine runs once. With real frequencies each way is
 * run, the level is set between decisions, and times are wall clock; energy is the
 * package's counter's, where there is one, with all else that the machine did.
 */
#ifndef EX_REPORT_GOVERNING_H
#define EX_REPORT_GOVERNING_H

#include "base/progress.h"
#include "data/data.h"
#include "engine/cpufreq.h"
#include "engine/engine.h"

struct ex_governing_job { /* everything is borrowed */
  const ex_model *model;
  const ex_policy *policy;
  const ex_data *data;
  enum ex_split split;
  int32_t samples;     /* at most, spread over the split, ≥ 1 */
  double deadline;     /* in times of full depth at the fastest level, > 0 */
  ex_cpufreq *cpufreq; /* NULL: the simulated device */
  struct ex_progress progress;
};

/* *out, owned by the caller: {simulated, levels_hz: […], deadline_ns, switch_ns, n, ways:
 * [{way, mean_ns, mean_joules, late, changes, energy}…]}, the ways being "full" (full depth)
 * and "race" (the rule) at the fastest level, "next" and "all" (enum ex_governing). Per
 * sample: nanoseconds, joules (null where no counter tells), share that came after the
 * deadline, changes of level; `energy` is joules as a share of those of "full". */
enum ex_status ex__govern(const struct ex_governing_job *job, json_t **out, struct ex_error *err);

#endif
