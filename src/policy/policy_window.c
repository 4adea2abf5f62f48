/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_window: for a decision behind the network that accepts what it is
 * sure of and refuses the rest (Xia & Bouganis, "Window-Based Early-Exit Cascades
 * for Uncertainty Estimation", ICCV 2023; code Guoxoug).
 *
 * Whether a sample is accepted is only in doubt near the boundary: whoever is
 * clearly above it or clearly below can leave, and only those in a window around
 * it go on. `accept` says which share is to be accepted, so the boundary at an exit
 * is the (1 − accept) quantile of the confidences there, on a held-out split; the
 * window reaches `width` / 2 to either side of it, counted in samples. The rule
 * keeps the decision, not the answers: those that leave as hopeless are answered
 * wrongly more often than full depth would.
 *
 * A boundary per exit and more than two stages are ours: the paper has one early
 * stage. Quantiles are kept at 1/31 steps with straight lines between.
 */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "policy/policy.h"

struct window {
  double accept, width;
  struct ex_table quantile; /* per exit but the last: of its confidences, at i / (columns − 1) */
};

enum { N_CANDIDATES = 101 };
static const double whole = 2; /* a window that holds everybody, wherever its middle lies */

#define FIELD(name) offsetof(struct window, name)
static const struct ex_param params[] = {
    {"accept", EX_PARAM_REAL, FIELD(accept), 0, 1, "0.8", NULL,
     "Share of the samples that the decision behind the network accepts."},
    {"width", EX_PARAM_REAL, FIELD(width), 0, 2, "2", NULL,
     "Share of the samples, around the boundary, that go on; 2: everybody."},
    {"quantile", EX_PARAM_TABLE, FIELD(quantile), 0, 1, "", NULL,
     "Fitted: quantiles of each exit's confidence."},
    {.name = NULL},
};

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static enum ex_status fit(void *values, const struct ex_policy_fit *job, struct ex_error *err) {
  struct window *rule = values;
  const ex_trace *trace = job->trace;
  double *confidence = ex__alloc((size_t)trace->n, sizeof *confidence);
  if (confidence == NULL)
    return ex__fail(err, EX_ENOMEM, "window: no memory for %d samples", (int)trace->n);
  rule->quantile.n_rows = trace->n_points - 1;
  rule->quantile.n_columns = trace->n_points > 1 ? EX_MAX_LIST : 0;
  for (int32_t point = 0; point < trace->n_points - 1; point++) {
    int32_t n = 0;
    for (int32_t i = job->first; i < trace->n; i += job->step) {
      const struct ex_answer *answer = &trace->answer[ex__trace_at(trace, point, i)];
      if (answer->label >= 0) confidence[n++] = answer->max_probability;
    }
    qsort(confidence, (size_t)n, sizeof *confidence, by_value);
    for (int32_t q = 0; q < EX_MAX_LIST; q++)
      rule->quantile.value[point][q] =
          n > 0 ? confidence[(int64_t)(n - 1) * q / (EX_MAX_LIST - 1)] : 0;
  }
  ex__free(confidence);
  return EX_OK;
}

static enum ex_status check(const void *values, int32_t n_points, int32_t n_outputs,
                            struct ex_error *err) {
  const struct window *rule = values;
  (void)n_outputs;
  if (rule->quantile.n_rows == 0) return EX_OK;
  if (rule->quantile.n_rows == n_points - 1 && rule->quantile.n_columns > 1) return EX_OK;
  return ex__fail(err, EX_EINVAL,
                  "window: quantile has %d rows of %d; must have %d, one per exit but the last, of "
                  "at least 2",
                  (int)rule->quantile.n_rows, (int)rule->quantile.n_columns, (int)n_points - 1);
}

/* From everybody goes on to nobody does. */
static bool candidate(void *values, int32_t n_points, int32_t index) {
  struct window *rule = values;
  (void)n_points;
  if (index >= N_CANDIDATES) return false;
  rule->width = whole * (N_CANDIDATES - 1 - index) / (N_CANDIDATES - 1);
  return true;
}

/* The confidence that a share of the samples lies below; all lie above that of a
 * share ≤ 0, and below that of one ≥ 1. */
static double quantile(const struct window *rule, int32_t point, double share) {
  const double *at = rule->quantile.value[point];
  if (share <= 0) return -INFINITY;
  if (share >= 1) return INFINITY;
  double place = share * (rule->quantile.n_columns - 1);
  int32_t below = (int32_t)place;
  return at[below] + (place - below) * (at[below + 1] - at[below]);
}

static bool outside(const struct window *rule, const struct ex_observation *seen) {
  double middle = 1 - rule->accept, confidence = seen->answer.max_probability;
  return confidence < quantile(rule, seen->point, middle - rule->width / 2) ||
         confidence > quantile(rule, seen->point, middle + rule->width / 2);
}

static bool skips(const void *values, int32_t point, int32_t n_points) {
  const struct window *rule = values;
  (void)point;
  (void)n_points;
  double reach = rule->width / 2, middle = 1 - rule->accept;
  return rule->quantile.n_rows == 0 || (middle - reach <= 0 && middle + reach >= 1);
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct window *rule = values;
  (void)scratch;
  (void)env;
  bool leave = seen->point < seen->n_points - 1 && rule->quantile.n_rows > 0 && outside(rule, seen);
  return (struct ex_decision){leave ? EX_LEAVE : EX_GO_ON, seen->point};
}

extern const struct ex_policy_class ex__policy_window;
const struct ex_policy_class ex__policy_window = {
    .name = "window",
    .cite = "Xia and Bouganis, ICCV 2023",
    .summary =
        "Leaves where it is clear whether the answer will be accepted: only samples near the "
        "boundary go on. For networks whose answers are accepted or refused by their "
        "confidence, not for accuracy on all samples.",
    .params = params,
    .size = sizeof(struct window),
    .candidate = candidate,
    .fit = fit,
    .skips = skips,
    .check = check,
    .decide = decide,
};
