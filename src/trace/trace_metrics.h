/* SPDX-License-Identifier: Apache-2.0
 *
 * trace/trace_metrics: what the field measures on the exits of a labelled
 * split, whatever rule may choose among them. Shares lie in [0, 1].
 *
 * Every sample must be labelled. An output that is not finite counts as wrong
 * with confidence 0.
 */
#ifndef EX_TRACE_TRACE_METRICS_H
#define EX_TRACE_TRACE_METRICS_H

#include "trace/trace.h"

double ex__trace_accuracy(const ex_trace *trace, int32_t point);

/* Calibration: confidence (largest probability) in equal bins of [0, 1]. */
enum { EX_RELIABILITY_BINS = 15 };
struct ex_reliability_bin {
  int32_t n;
  double confidence, accuracy; /* means over the bin; 0 where it is empty */
};
void ex__trace_reliability(const ex_trace *trace, int32_t point,
                           struct ex_reliability_bin bins[EX_RELIABILITY_BINS]);
/* Expected calibration error (Guo et al., ICML 2017): Σ n_b/n · |acc_b − conf_b|. */
double ex__trace_ece(const ex_trace *trace, int32_t point);

/* Probability that a positive's score is above a negative's, ties counting
 * half; NaN where one of the two kinds is missing. score, positive [n]. */
enum ex_status ex__auroc(const double *score, const bool *positive, int32_t n, double *out);
/* Area under the risk–coverage curve: the mean over i of the share of errors
 * among the i most confident (Geifman et al., ICLR 2019); equal scores share
 * their errors evenly. score, right [n]. */
enum ex_status ex__aurc(const double *score, const bool *right, int32_t n, double *out);

/* Failure prediction at a point: does a right answer have the higher confidence? */
enum ex_status ex__trace_failure_auroc(const ex_trace *trace, int32_t point, double *out);
/* SDN's confusion (Kaya et al., ICML 2019): Σ_k ‖p_k − p_K‖₁ per sample, as a
 * predictor of errors of the last exit. Standardising it would not change the
 * area. */
enum ex_status ex__trace_confusion_auroc(const ex_trace *trace, double *out);

/* SDN's overthinking. */
struct ex_overthinking {
  double cumulative_accuracy; /* some exit is right */
  double destructive; /* of the last exit's errors: an earlier exit was right; 0: no errors */
  double wasteful;    /* of the last exit's right answers: an earlier exit had it already */
  double oracle_macs; /* mean cost of leaving at the first right exit, never right: full depth;
                         each exit on the way looked at */
};
struct ex_overthinking ex__trace_overthinking(const ex_trace *trace);
/* Hindsight improvability of an exit (Wołczyk et al., NeurIPS 2021): of its errors,
 * the share that an earlier exit had right; 0: no errors. `destructive` is that of
 * the last. */
double ex__trace_hindsight(const ex_trace *trace, int32_t point);

/* Share of samples whose probability of the true class falls by more than
 * `drop` from some exit to a later one (conditional monotonicity: Jazbec et
 * al., NeurIPS 2023). */
double ex__trace_falls(const ex_trace *trace, double drop);

#endif
