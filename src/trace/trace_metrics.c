/* SPDX-License-Identifier: Apache-2.0
 *
 * trace/trace_metrics: see the header for definitions and sources.
 *
 * Areas are computed from ranks, not from a drawn curve, so that they are
 * exact and do not depend on the order of samples with equal scores.
 */
#include "trace/trace_metrics.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

static double confidence_at(const ex_trace *trace, int64_t at) {
  double confidence = trace->answer[at].max_probability;
  return isfinite(confidence) ? confidence : 0;
}

static bool right_at(const ex_trace *trace, int64_t at) { return trace->quality[at] > 0.5f; }

double ex__trace_accuracy(const ex_trace *trace, int32_t point) {
  int32_t right = 0;
  for (int32_t i = 0; i < trace->n; i++) right += right_at(trace, ex__trace_at(trace, point, i));
  return (double)right / trace->n;
}

/* ---- calibration -------------------------------------------------------- */

void ex__trace_reliability(const ex_trace *trace, int32_t point,
                           struct ex_reliability_bin bins[EX_RELIABILITY_BINS]) {
  for (int32_t b = 0; b < EX_RELIABILITY_BINS; b++) bins[b] = (struct ex_reliability_bin){0};
  for (int32_t i = 0; i < trace->n; i++) {
    int64_t at = ex__trace_at(trace, point, i);
    double confidence = confidence_at(trace, at);
    int32_t b = (int32_t)(confidence * EX_RELIABILITY_BINS);
    if (b > EX_RELIABILITY_BINS - 1) b = EX_RELIABILITY_BINS - 1;
    bins[b].n++;
    bins[b].confidence += confidence;
    bins[b].accuracy += right_at(trace, at);
  }
  for (int32_t b = 0; b < EX_RELIABILITY_BINS; b++) {
    if (bins[b].n == 0) continue;
    bins[b].confidence /= bins[b].n;
    bins[b].accuracy /= bins[b].n;
  }
}

double ex__trace_ece(const ex_trace *trace, int32_t point) {
  struct ex_reliability_bin bins[EX_RELIABILITY_BINS];
  double ece = 0;
  ex__trace_reliability(trace, point, bins);
  for (int32_t b = 0; b < EX_RELIABILITY_BINS; b++)
    ece += bins[b].n * fabs(bins[b].accuracy - bins[b].confidence);
  return ece / trace->n;
}

/* ---- areas by rank ------------------------------------------------------ */

struct scored {
  double score;
  bool marked;
};

static int descending(const void *a, const void *b) {
  double x = ((const struct scored *)a)->score, y = ((const struct scored *)b)->score;
  return (x < y) - (x > y);
}

/* Copies, sorted by score, highest first; NULL: no memory. */
static struct scored *sorted(const double *score, const bool *mark, int32_t n) {
  struct scored *items = ex__alloc((size_t)n, sizeof *items);
  if (items == NULL) return NULL;
  for (int32_t i = 0; i < n; i++) items[i] = (struct scored){score[i], mark[i]};
  qsort(items, (size_t)n, sizeof *items, descending);
  return items;
}

/* Of the samples from `first` on with its score: how many, and how many marked. */
static int32_t tie_at(const struct scored *items, int32_t n, int32_t first, int32_t *n_marked) {
  int32_t size = 0;
  *n_marked = 0;
  while (first + size < n && items[first + size].score == items[first].score)
    *n_marked += items[first + size++].marked;
  return size;
}

enum ex_status ex__auroc(const double *score, const bool *positive, int32_t n, double *out) {
  struct scored *items = sorted(score, positive, n);
  if (items == NULL) return EX_ENOMEM;
  double pairs = 0, above = 0; /* above: positives with a higher score */
  for (int32_t i = 0, size, marked; i < n; i += size) {
    size = tie_at(items, n, i, &marked);
    pairs += (size - marked) * (above + 0.5 * marked);
    above += marked;
  }
  *out = pairs / (above * (n - above));
  ex__free(items);
  return EX_OK;
}

enum ex_status ex__aurc(const double *score, const bool *right, int32_t n, double *out) {
  struct scored *items = sorted(score, right, n);
  if (items == NULL) return EX_ENOMEM;
  double area = 0, errors = 0;
  for (int32_t i = 0, size, marked; i < n; i += size) {
    size = tie_at(items, n, i, &marked);
    double each = (double)(size - marked) / size;
    for (int32_t j = 1; j <= size; j++) area += (errors + each * j) / (i + j);
    errors += size - marked;
  }
  *out = area / n;
  ex__free(items);
  return EX_OK;
}

/* Σ_k ‖p_k − p_K‖₁ of one sample. */
static double confusion(const ex_trace *trace, int32_t sample) {
  const ex_real *last =
      trace->probability + ex__trace_at(trace, trace->n_points - 1, sample) * trace->n_outputs;
  double sum = 0;
  for (int32_t p = 0; p < trace->n_points - 1; p++) {
    const ex_real *here = trace->probability + ex__trace_at(trace, p, sample) * trace->n_outputs;
    for (int32_t c = 0; c < trace->n_outputs; c++) sum += fabs((double)here[c] - (double)last[c]);
  }
  return isfinite(sum) ? sum : 2.0 * (trace->n_points - 1);
}

/* The area for confidence at a point and its right answers; or, where point is
 * −1, for confusion and the last exit's errors. */
static enum ex_status failure_area(const ex_trace *trace, int32_t point, double *out) {
  double *score = ex__alloc((size_t)trace->n, sizeof *score);
  bool *mark = ex__alloc((size_t)trace->n, sizeof *mark);
  enum ex_status status = score != NULL && mark != NULL ? EX_OK : EX_ENOMEM;
  for (int32_t i = 0; status == EX_OK && i < trace->n; i++) {
    int64_t at = ex__trace_at(trace, point >= 0 ? point : trace->n_points - 1, i);
    score[i] = point >= 0 ? confidence_at(trace, at) : confusion(trace, i);
    mark[i] = right_at(trace, at) == (point >= 0);
  }
  if (status == EX_OK) status = ex__auroc(score, mark, trace->n, out);
  ex__free(score);
  ex__free(mark);
  return status;
}

enum ex_status ex__trace_failure_auroc(const ex_trace *trace, int32_t point, double *out) {
  return failure_area(trace, point, out);
}

enum ex_status ex__trace_confusion_auroc(const ex_trace *trace, double *out) {
  return failure_area(trace, -1, out);
}

/* ---- overthinking ------------------------------------------------------- */

struct ex_overthinking ex__trace_overthinking(const ex_trace *trace) {
  int32_t last = trace->n_points - 1, some = 0, errors = 0, destroyed = 0, wasted = 0;
  double macs = 0;
  for (int32_t i = 0; i < trace->n; i++) {
    int32_t first = 0;
    while (first < last && !right_at(trace, ex__trace_at(trace, first, i))) first++;
    bool right = right_at(trace, ex__trace_at(trace, last, i)), early = first < last;
    some += right || early;
    errors += !right;
    destroyed += !right && early;
    wasted += right && early;
    macs += (double)trace->cost.macs[first];
  }
  int32_t n = trace->n;
  return (struct ex_overthinking){
      .cumulative_accuracy = (double)some / n,
      .destructive = errors > 0 ? (double)destroyed / errors : 0,
      .wasteful = n > errors ? (double)wasted / (n - errors) : 0,
      .oracle_macs = macs / n,
  };
}

double ex__trace_hindsight(const ex_trace *trace, int32_t point) {
  int32_t errors = 0, known = 0;
  for (int32_t i = 0; i < trace->n; i++) {
    if (right_at(trace, ex__trace_at(trace, point, i))) continue;
    int32_t first = 0;
    while (first < point && !right_at(trace, ex__trace_at(trace, first, i))) first++;
    errors++;
    known += first < point;
  }
  return errors > 0 ? (double)known / errors : 0;
}

double ex__trace_falls(const ex_trace *trace, double drop) {
  int32_t falls = 0;
  for (int32_t i = 0; i < trace->n; i++) {
    double best = 0, worst = 0; /* worst: largest fall so far */
    for (int32_t p = 0; p < trace->n_points && trace->target[i] >= 0; p++) {
      double here =
          (double)
              trace->probability[ex__trace_at(trace, p, i) * trace->n_outputs + trace->target[i]];
      if (here > best) best = here;
      if (best - here > worst) worst = best - here;
    }
    falls += worst > drop;
  }
  return (double)falls / trace->n;
}
