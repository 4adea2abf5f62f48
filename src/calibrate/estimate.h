/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/estimate: what a policy does on a trace, against full depth: the
 * answer of the last exit, whose cost is all bodies and its own head alone.
 */
#ifndef EX_CALIBRATE_ESTIMATE_H
#define EX_CALIBRATE_ESTIMATE_H

#include "calibrate/bound.h"
#include "policy/policy.h"

/* Every `step`-th sample from `first`: halves of a split without copying it. */
struct ex_samples_range {
  int32_t first, step;
};

struct ex_estimate {
  struct ex_pairs pairs;
  double accuracy, full_accuracy; /* shares; NaN where a sample is not labelled */
  double macs, macs_upper;        /* mean per sample, and its bound */
  double ns, ns_upper;
  double full_macs, full_ns;    /* of full depth */
  double drop, drop_upper;      /* shares (× 100: percentage points) */
  int32_t exits[EX_MAX_POINTS]; /* samples that left at each point */
  bool full_depth;              /* the policy is full depth by its very values: its drop is 0 */
};

/* All points but the last are skipped: the answer is the last exit's whatever
 * the samples are, so what it loses is not estimated, it is known. */
bool ex__is_full_depth(const ex_policy *policy);

/* Of outcomes [trace->n] of the policy; bounds are one-sided at `alpha`. The
 * bound of the drop, which is most of the work, is left out (NaN). */
void ex__estimate_outcomes(const ex_policy *policy, const ex_trace *trace,
                           const struct ex_outcome *outcomes, struct ex_samples_range range,
                           double alpha, struct ex_estimate *out);
/* Replays, and estimates over all samples; with the bound of the drop. */
enum ex_status ex__estimate(const ex_policy *policy, const ex_trace *trace, double alpha,
                            struct ex_estimate *out, struct ex_error *err);

/* Mean multiply-adds per sample that having an exit saves against the same
 * policy with this exit switched off; negative: it costs more than it saves.
 * saved [n_points − 1]; 0 for exits that are off. For rules with a score. */
enum ex_status ex__exit_savings(const ex_policy *policy, const ex_trace *trace, double *saved,
                                struct ex_error *err);

#endif
