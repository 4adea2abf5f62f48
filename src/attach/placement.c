/* SPDX-License-Identifier: Apache-2.0
 *
 * attach/placement: calibration does the work. What it counts as multiply-adds are
 * measured nanoseconds here, so that thresholds and savings are about time.
 */
#include "attach/placement.h"

#include <string.h>

#include "base/memory.h"
#include "calibrate/calibrate.h"
#include "calibrate/estimate.h"

/* Exits kept[0 … n) and full depth; bodies of those left out go to the next one. */
static struct ex_cost merge_costs(const struct ex_placement_job *job, const int32_t *kept,
                                  int32_t n) {
  struct ex_cost cost = {0};
  for (int32_t p = 0, stage = 0; p < job->trace->n_points; p++) {
    cost.body_macs[stage] += job->cost->body_ns[p];
    bool last = p == job->trace->n_points - 1;
    if (!last && (stage == n || kept[stage] != p)) continue;
    cost.head_macs[stage] = job->cost->head_ns[p];
    stage++;
  }
  memcpy(cost.body_ns, cost.body_macs, sizeof cost.body_ns);
  memcpy(cost.head_ns, cost.head_macs, sizeof cost.head_ns);
  return cost;
}

static enum ex_status take_exits(const struct ex_placement_job *job, const int32_t *kept, int32_t n,
                                 ex_trace **out, struct ex_error *err) {
  const ex_trace *all = job->trace;
  struct ex_cost cost = merge_costs(job, kept, n);
  size_t column = (size_t)all->n * (size_t)all->n_outputs;
  ex_real *raw = ex__alloc((size_t)(n + 1) * column, sizeof *raw);
  if (raw == NULL) return ex__fail(err, EX_ENOMEM, "out of memory");
  for (int32_t p = 0; p <= n; p++)
    memcpy(raw + (size_t)p * column,
           all->raw + (size_t)(p < n ? kept[p] : all->n_points - 1) * column, column * sizeof *raw);
  enum ex_status status =
      ex__trace_from_arrays(all->n, n + 1, all->n_outputs, raw, NULL, all->target, &cost, out, err);
  ex__free(raw);
  return status;
}

/* saved [n]: of full depth's time. */
static enum ex_status find_savings(const struct ex_placement_job *job, const int32_t *kept,
                                   int32_t n, double *saved, struct ex_error *err) {
  const struct ex_calibrate_options options = {.constraint = {EX_CONSTRAINT_DROP, job->drop}};
  ex_trace *trace;
  ex_policy policy;
  struct ex_calibration fitted = {0};
  EX_TRY(take_exits(job, kept, n, &trace, err));
  enum ex_status status = ex__policy_init(&policy, "max-probability", n + 1, trace->n_outputs, err);
  if (status == EX_OK) status = ex__calibrate(&policy, trace, trace, &options, &fitted, err);
  if (status == EX_OK) status = ex__exit_savings(&fitted.policy, trace, saved, err);
  if (status == EX_OK) {
    double full = (double)trace->cost.direct_macs[n];
    for (int32_t i = 0; i < n; i++) saved[i] /= full;
  }
  json_decref(fitted.receipt);
  ex__trace_free(trace);
  return status;
}

static int32_t least(const double *saved, int32_t n) {
  int32_t found = 0;
  for (int32_t i = 1; i < n; i++)
    if (saved[i] < saved[found]) found = i;
  return found;
}

static void describe_times(const struct ex_placement_job *job, struct ex_placement *out) {
  int64_t body = 0;
  for (int32_t p = 0; p < job->trace->n_points; p++) {
    body += job->cost->body_ns[p];
    out->ns[p] = body + job->cost->head_ns[p];
  }
  out->full_ns = out->ns[job->trace->n_points - 1];
}

enum ex_status ex__placement_choose(const struct ex_placement_job *job, struct ex_placement *out,
                                    struct ex_error *err) {
  int32_t kept[EX_MAX_POINTS] = {0}, n = job->trace->n_points - 1;
  double saved[EX_MAX_POINTS];
  memset(out, 0, sizeof *out);
  describe_times(job, out);
  for (int32_t i = 0; i < n; i++) kept[i] = i;
  while (n > 0) {
    EX_TRY(find_savings(job, kept, n, saved, err));
    for (int32_t i = 0; i < n; i++) out->saved[kept[i]] = saved[i];
    int32_t worst = least(saved, n);
    if (n <= job->most && saved[worst] >= job->gain) break;
    memmove(&kept[worst], &kept[worst + 1], (size_t)(n - 1 - worst) * sizeof *kept);
    n--;
  }
  for (int32_t i = 0; i < n; i++) out->kept[kept[i]] = true;
  return EX_OK;
}
