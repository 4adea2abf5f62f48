/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/budget: from a trace to distinct samples, and what hard thresholds do with
 * them. Sums are whole numbers, so equal costs are equal.
 */
#include "policy/budget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static const double NEVER = -1e3; /* rank of those who cannot leave: no sigmoid reaches it */

/* ---- distinct samples ------------------------------------------------------- */

/* A row: its length, scores, right answers as a number. */
static int compare(const void *left, const void *right) {
  const double *a = *(const double *const *)left, *b = *(const double *const *)right;
  for (int32_t j = 1; j < (int32_t)a[0]; j++)
    if (a[j] != b[j]) return a[j] < b[j] ? -1 : 1;
  return 0;
}

static void write_row(const ex_trace *trace, int32_t sample, double *row) {
  uint32_t right = 0;
  row[0] = trace->n_points + 1;
  for (int32_t p = 0; p < trace->n_points; p++) {
    int64_t at = ex__trace_at(trace, p, sample);
    bool finite = trace->answer[at].label >= 0;
    right |= (uint32_t)(trace->quality[at] > 0.5F) << p;
    if (p < trace->n_points - 1) row[1 + p] = finite ? trace->answer[at].max_probability : -1;
  }
  row[trace->n_points] = right;
}

static void take_rows(double **row, int32_t n, struct ex_budget *out) {
  for (int32_t i = 0; i < n; i++) {
    out->total++;
    if (i > 0 && compare(&row[i - 1], &row[i]) == 0) {
      out->count[out->n - 1]++;
      continue;
    }
    int32_t at = out->n++;
    out->count[at] = 1;
    for (int32_t e = 0; e < out->n_exits; e++) out->score[(int64_t)e * n + at] = row[i][1 + e];
    uint32_t right = (uint32_t)row[i][1 + out->n_exits];
    for (int32_t p = 0; p <= out->n_exits; p++)
      out->right[(int64_t)p * n + at] = (uint8_t)(right >> p & 1);
  }
}

/* Rows of n were made; they are drawn together to rows of the distinct. */
static void tighten(struct ex_budget *out, int32_t n) {
  for (int32_t p = 0; p <= out->n_exits; p++) {
    memmove(out->right + (int64_t)p * out->n, out->right + (int64_t)p * n, (size_t)out->n);
    if (p < out->n_exits)
      memmove(out->score + (int64_t)p * out->n, out->score + (int64_t)p * n,
              (size_t)out->n * sizeof *out->score);
  }
}

/* ---- orders ----------------------------------------------------------------- */

struct seen {
  double score;
  int32_t sample;
};

static int surest_first(const void *left, const void *right) {
  const struct seen *a = left, *b = right;
  if (a->score != b->score) return a->score > b->score ? -1 : 1;
  return a->sample - b->sample;
}

/* Equals share the middle of their ranks. */
static void rank_exit(struct ex_budget *out, int32_t exit, const struct seen *seen) {
  int64_t row = (int64_t)exit * out->n, above = 0;
  for (int32_t i = 0, end; i < out->n; i = end) {
    int64_t equal = 0;
    for (end = i; end < out->n && seen[end].score == seen[i].score; end++)
      equal += out->count[seen[end].sample];
    double rank = 1 - ((double)above + 0.5 * (double)equal) / (double)out->total;
    for (int32_t j = i; j < end; j++)
      out->rank[row + seen[j].sample] = seen[j].score < 0 ? NEVER : rank;
    above += equal;
  }
}

static void order_exit(struct ex_budget *out, int32_t exit, struct seen *seen) {
  int64_t row = (int64_t)exit * out->n;
  for (int32_t i = 0; i < out->n; i++) seen[i] = (struct seen){out->score[row + i], i};
  qsort(seen, (size_t)out->n, sizeof *seen, surest_first);
  out->able[exit] = 0;
  for (int32_t i = 0; i < out->n; i++) {
    out->order[row + i] = seen[i].sample;
    out->place[row + seen[i].sample] = i;
    out->able[exit] += seen[i].score >= 0;
  }
  rank_exit(out, exit, seen);
}

static void fill_costs(const ex_trace *trace, bool ns, struct ex_budget *out) {
  ex__exit_costs(trace, ns, false, &out->costs);
  int64_t sum = 0;
  for (int32_t p = 0; p < trace->n_points; p++) {
    sum += out->costs.way[p] + out->costs.look[p];
    out->leave[p] = (double)sum / (double)out->costs.full;
  }
}

static bool reserve(struct ex_budget *out, size_t n, size_t points) {
  out->count = ex__calloc(n, sizeof *out->count);
  out->right = ex__calloc(points * n, 1);
  out->score = ex__calloc(points * n, sizeof *out->score);
  out->rank = ex__calloc(points * n, sizeof *out->rank);
  out->order = ex__calloc(points * n, sizeof *out->order);
  out->place = ex__calloc(points * n, sizeof *out->place);
  return out->count != NULL && out->right != NULL && out->score != NULL && out->rank != NULL &&
         out->order != NULL && out->place != NULL;
}

enum ex_status ex__budget_new(const ex_trace *trace, int32_t first, int32_t step, bool ns,
                              struct ex_budget *out, struct ex_error *err) {
  int32_t n = (trace->n - first + step - 1) / step;
  size_t width = (size_t)trace->n_points + 1;
  *out = (struct ex_budget){.n_exits = trace->n_points - 1};
  double *rows = ex__calloc((size_t)n * width, sizeof *rows),
         **row = ex__calloc((size_t)n, sizeof *row);
  struct seen *seen = ex__calloc((size_t)n, sizeof *seen);
  bool ok = reserve(out, (size_t)n, (size_t)trace->n_points) && rows != NULL && row != NULL &&
            seen != NULL;
  if (ok) {
    for (int32_t i = 0; i < n; i++) {
      row[i] = rows + (size_t)i * width;
      write_row(trace, first + i * step, row[i]);
    }
    qsort(row, (size_t)n, sizeof *row, compare);
    take_rows(row, n, out);
    tighten(out, n);
    for (int32_t e = 0; e < out->n_exits; e++) order_exit(out, e, seen);
    fill_costs(trace, ns, out);
  } else {
    ex__budget_free(out);
  }
  ex__free(rows);
  ex__free(row);
  ex__free(seen);
  return ok ? EX_OK : ex__fail(err, EX_ENOMEM, "budget: no memory for %d samples", (int)n);
}

void ex__budget_free(struct ex_budget *budget) {
  ex__free(budget->count);
  ex__free(budget->right);
  ex__free(budget->score);
  ex__free(budget->rank);
  ex__free(budget->order);
  ex__free(budget->place);
  *budget = (struct ex_budget){.n = 0};
}

/* ---- hard thresholds -------------------------------------------------------- */

struct ex_spent ex__budget_spent(const struct ex_budget *budget, const struct ex_cuts *cuts) {
  int64_t path[EX_MAX_POINTS] = {0}, sum = 0;
  struct ex_spent spent = {0, 0};
  int32_t last = budget->n_exits;
  for (int32_t p = 0; p <= last; p++) {
    bool on = p == last || cuts->at[p] > 0;
    sum += budget->costs.way[p] + (on ? budget->costs.look[p] : budget->costs.look_off[p]);
    path[p] = sum;
  }
  for (int32_t i = 0; i < budget->n; i++) {
    int32_t e = 0;
    while (e < last && budget->place[(int64_t)e * budget->n + i] >= cuts->at[e]) e++;
    spent.cost += budget->count[i] * path[e];
    spent.right += budget->count[i] * budget->right[(int64_t)e * budget->n + i];
  }
  return spent;
}

/* Shares have rounding errors, sums have none. */
bool ex__budget_keeps(const struct ex_budget *budget, int64_t cost, double bound) {
  return (double)cost <= bound * (double)budget->costs.full * (double)budget->total * (1 + 1e-12);
}

void ex__budget_thresholds(const struct ex_budget *budget, const struct ex_cuts *cuts, double off,
                           double *threshold) {
  for (int32_t e = 0; e < budget->n_exits; e++) {
    int64_t row = (int64_t)e * budget->n;
    threshold[e] = off;
    if (cuts->at[e] > 0) threshold[e] = budget->score[row + budget->order[row + cuts->at[e] - 1]];
  }
}

void ex__budget_cuts(const struct ex_budget *budget, const double *threshold,
                     struct ex_cuts *cuts) {
  for (int32_t e = 0; e < budget->n_exits; e++) {
    int64_t row = (int64_t)e * budget->n;
    int32_t low = 0, high = budget->able[e];
    while (low < high) {
      int32_t middle = (low + high) / 2;
      if (budget->score[row + budget->order[row + middle]] >= threshold[e])
        low = middle + 1;
      else
        high = middle;
    }
    cuts->at[e] = low;
  }
}
