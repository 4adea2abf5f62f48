/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/estimate: what a policy does on a trace.
 */
#include "calibrate/estimate.h"

#include <math.h>

#include "base/memory.h"

bool ex__is_full_depth(const ex_policy *policy) {
  return ex__policy_next(policy, -1, policy->n_points - 1) == policy->n_points - 1;
}

/* No path of any rule costs more: every body, head and, where read, gate. */
static void dearest_path(const ex_policy *policy, const ex_trace *trace, double *macs, double *ns) {
  const struct ex_cost *cost = &trace->cost;
  bool gates = (policy->class->needs & EX_POLICY_NEEDS_GATE) != 0;
  *macs = *ns = 0;
  for (int32_t s = 0; s <= trace->stage[trace->n_points - 1]; s++) {
    *macs += (double)cost->body_macs[s];
    *ns += (double)cost->body_ns[s];
  }
  for (int32_t p = 0; p < trace->n_points; p++) {
    *macs += (double)(cost->head_macs[p] + (gates ? cost->gate_macs[p] : 0));
    *ns += (double)(cost->head_ns[p] + (gates ? cost->gate_ns[p] : 0));
  }
}

/* Whether the cost follows from the policy's values alone, as of full depth. A
 * sample that an output that is not finite sent further shows in the spread. */
static bool is_known(const ex_policy *policy, const struct ex_moments *cost, bool full_depth) {
  return full_depth || (policy->class->same_path && cost->n > 0 && cost->squares == 0);
}

/* What is known is not estimated: it has no margin. */
static void bound_costs(const ex_policy *policy, const ex_trace *trace,
                        const struct ex_moments *macs, const struct ex_moments *ns, double alpha,
                        struct ex_estimate *out) {
  double most_macs, most_ns;
  dearest_path(policy, trace, &most_macs, &most_ns);
  out->macs = ex__moments_mean(macs);
  out->ns = ex__moments_mean(ns);
  out->macs_upper =
      is_known(policy, macs, out->full_depth) ? out->macs : ex__mean_upper(macs, most_macs, alpha);
  out->ns_upper =
      is_known(policy, ns, out->full_depth) ? out->ns : ex__mean_upper(ns, most_ns, alpha);
}

static int64_t full_ns(const ex_trace *trace) {
  int32_t last = trace->n_points - 1;
  return ex__sum_over(trace->cost.body_ns, trace->bodies[last]) +
         ex__sum_over(trace->cost.head_ns, trace->closure[last]);
}

struct sums {
  struct ex_moments macs, ns;
  double right, full_right;
};

static void add_sample(const ex_trace *trace, const struct ex_outcome *outcome, int32_t sample,
                       struct ex_estimate *out, struct sums *sums) {
  double right = trace->quality[ex__trace_at(trace, outcome->answer, sample)];
  double full_right = trace->quality[ex__trace_at(trace, trace->n_points - 1, sample)];
  ex__moments_add(&sums->macs, (double)outcome->macs);
  ex__moments_add(&sums->ns, (double)outcome->ns);
  sums->right += right;
  sums->full_right += full_right;
  out->pairs.lost += full_right > right;
  out->pairs.won += right > full_right;
  out->pairs.n++;
  out->exits[outcome->point]++;
}

void ex__estimate_outcomes(const ex_policy *policy, const ex_trace *trace,
                           const struct ex_outcome *outcomes, struct ex_samples_range range,
                           double alpha, struct ex_estimate *out) {
  struct sums sums = {0};
  *out = (struct ex_estimate){0};
  for (int32_t i = range.first; i < trace->n; i += range.step)
    add_sample(trace, &outcomes[i], i, out, &sums);
  int32_t n = out->pairs.n;
  out->accuracy = sums.right / n;
  out->full_accuracy = sums.full_right / n;
  out->full_macs = (double)trace->cost.direct_macs[trace->n_points - 1];
  out->full_ns = (double)full_ns(trace);
  out->full_depth = ex__is_full_depth(policy);
  bound_costs(policy, trace, &sums.macs, &sums.ns, alpha, out);
  out->drop = (double)(out->pairs.lost - out->pairs.won) / n;
  out->drop_upper = NAN;
}

enum ex_status ex__estimate(const ex_policy *policy, const ex_trace *trace, double alpha,
                            struct ex_estimate *out, struct ex_error *err) {
  struct ex_outcome *outcomes = ex__alloc((size_t)trace->n, sizeof *outcomes);
  if (outcomes == NULL)
    return ex__fail(err, EX_ENOMEM, "calibrate: no memory for %d outcomes", (int)trace->n);
  ex__policy_replay(policy, trace, NULL, outcomes);
  ex__estimate_outcomes(policy, trace, outcomes, (struct ex_samples_range){0, 1}, alpha, out);
  out->drop_upper = out->full_depth ? 0 : ex__drop_upper(&out->pairs, alpha);
  ex__free(outcomes);
  return EX_OK;
}

/* ---- savings ------------------------------------------------------------ */

static double total_macs(const ex_policy *policy, const ex_trace *trace,
                         struct ex_outcome *outcomes) {
  double total = 0;
  ex__policy_replay(policy, trace, NULL, outcomes);
  for (int32_t i = 0; i < trace->n; i++) total += (double)outcomes[i].macs;
  return total;
}

/* A list of one number, or none, as one with a number per exit. */
static void spread(ex_policy *policy) {
  struct ex_list *list = ex__policy_thresholds(policy);
  double value = list->n == 1 ? list->value[0] : policy->class->threshold_off;
  if (list->n > 1) return;
  list->n = policy->n_points - 1;
  for (int32_t p = 0; p < list->n; p++) list->value[p] = value;
}

enum ex_status ex__exit_savings(const ex_policy *policy, const ex_trace *trace, double *saved,
                                struct ex_error *err) {
  const struct ex_policy_class *class = policy->class;
  if (class->score == NULL)
    return ex__fail(err, EX_EUNSUPPORTED, "%s: has no thresholds, so no exit can be switched off",
                    class->name);
  struct ex_outcome *outcomes = ex__alloc((size_t)trace->n, sizeof *outcomes);
  if (outcomes == NULL)
    return ex__fail(err, EX_ENOMEM, "calibrate: no memory for %d outcomes", (int)trace->n);
  double total = total_macs(policy, trace, outcomes);
  for (int32_t p = 0; p < trace->n_points - 1; p++) {
    ex_policy without = *policy;
    spread(&without);
    ex__policy_thresholds(&without)->value[p] = class->threshold_off;
    saved[p] = (total_macs(&without, trace, outcomes) - total) / trace->n;
  }
  ex__free(outcomes);
  return EX_OK;
}
