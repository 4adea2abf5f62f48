/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/threshold_problem: from a trace to bins, and from levels back to
 * thresholds.
 *
 * Levels are quantiles of the distinct scores at an exit, so that each carries
 * about as many samples; with at most EX_MAX_LEVELS distinct scores every
 * possible policy is on the grid. What those who never leave are answered
 * with is taken from a replay with every exit off, because a rule may then
 * give an earlier exit's answer (SDN's fallback).
 */
#include "calibrate/threshold_problem.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "policy/exit_costs.h"

static void all_off(ex_policy *policy) {
  struct ex_list *list = ex__policy_thresholds(policy);
  list->n = policy->n_points - 1;
  for (int32_t p = 0; p < list->n; p++) list->value[p] = policy->class->threshold_off;
}

double ex__trace_score(const ex_policy *policy, const ex_trace *trace, int32_t point,
                       int32_t sample) {
  int64_t at = ex__trace_at(trace, point, sample);
  struct ex_observation seen = {
      .point = point,
      .n_points = trace->n_points,
      .n_outputs = trace->n_outputs,
      .output = trace->output + at * trace->n_outputs,
      .probability = trace->probability + at * trace->n_outputs,
      .answer = trace->answer[at],
      .gate = trace->gate != NULL ? (double)trace->gate[at] : NAN,
  };
  return seen.answer.label < 0 ? NAN : policy->class->score(policy->values, &seen);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Sorts scores [n] and picks levels from the distinct ones, the largest always. */
static int32_t pick_levels(double *scores, int32_t n, double *level) {
  int32_t finite = 0, distinct = 0;
  for (int32_t i = 0; i < n; i++)
    if (!isnan(scores[i])) scores[finite++] = scores[i];
  if (finite > 0) qsort(scores, (size_t)finite, sizeof *scores, compare);
  for (int32_t i = 0; i < finite; i++)
    if (i == 0 || scores[i] > scores[i - 1]) distinct++;
  int32_t n_levels = 0, seen = 0;
  for (int32_t i = 0; i < finite && distinct <= EX_MAX_LEVELS; i++)
    if (i == 0 || scores[i] > scores[i - 1]) level[n_levels++] = scores[i];
  if (distinct <= EX_MAX_LEVELS) return n_levels;
  for (int32_t l = 0; l < EX_MAX_LEVELS; l++) {
    seen = (int32_t)((int64_t)(finite - 1) * l / (EX_MAX_LEVELS - 1));
    if (n_levels == 0 || scores[seen] > level[n_levels - 1]) level[n_levels++] = scores[seen];
  }
  return n_levels;
}

static uint8_t bin_of(const double *level, int32_t n_levels, double score) {
  int32_t low = 0, high = n_levels; /* NaN reaches none: comparisons are false */
  while (low < high) {
    int32_t middle = (low + high) / 2;
    if (score >= level[middle])
      low = middle + 1;
    else
      high = middle;
  }
  return (uint8_t)low;
}

static bool is_right(const ex_trace *trace, int32_t point, int32_t sample) {
  return trace->quality[ex__trace_at(trace, point, sample)] > 0.5F;
}

static bool at_fault(const ex_trace *trace, enum ex_fault fault, int32_t point, int32_t sample) {
  return !is_right(trace, point, sample) &&
         (fault == EX_FAULT_WRONG || is_right(trace, trace->n_points - 1, sample));
}

static void fill_exit(const ex_policy *policy, const ex_trace *trace, struct ex_samples_range range,
                      enum ex_fault fault, int32_t exit, double *scores,
                      struct ex_threshold_problem *problem) {
  double *sorted = scores + problem->n;
  for (int32_t j = 0; j < problem->n; j++) {
    int32_t sample = range.first + j * range.step;
    sorted[j] = scores[j] = ex__trace_score(policy, trace, exit, sample);
    problem->wrong[(int64_t)exit * problem->n + j] = at_fault(trace, fault, exit, sample);
  }
  problem->n_levels[exit] = pick_levels(sorted, problem->n, problem->level[exit]);
  for (int32_t j = 0; j < problem->n; j++)
    problem->bin[(int64_t)exit * problem->n + j] =
        bin_of(problem->level[exit], problem->n_levels[exit], scores[j]);
}

static void fill_last(const ex_policy *policy, const ex_trace *trace, struct ex_samples_range range,
                      enum ex_fault fault, struct ex_outcome *outcomes,
                      struct ex_threshold_problem *problem) {
  ex_policy off = *policy;
  all_off(&off);
  ex__policy_replay(&off, trace, NULL, outcomes);
  for (int32_t j = 0; j < problem->n; j++) {
    int32_t sample = range.first + j * range.step;
    problem->wrong[(int64_t)problem->n_exits * problem->n + j] =
        at_fault(trace, fault, outcomes[sample].answer, sample);
  }
}

/* An exit that is off saves its head unless the rule reads it all the same. */
static void fill_costs(const ex_policy *policy, const ex_trace *trace, bool ns,
                       struct ex_threshold_problem *problem) {
  struct ex_exit_costs costs;
  ex__exit_costs(trace, ns, (policy->class->needs & EX_POLICY_NEEDS_GATE) != 0, &costs);
  ex_policy off = *policy;
  all_off(&off);
  int64_t body = 0;
  for (int32_t p = 0; p < trace->n_points; p++) {
    body += costs.way[p];
    problem->body[p] = body;
    problem->look[p] = costs.look[p];
    bool skipped = ex__policy_next(&off, p - 1, trace->n_points - 1) != p;
    problem->look_off[p] = skipped ? costs.look_off[p] : costs.look[p];
  }
}

enum ex_status ex__threshold_problem_new(const ex_policy *policy, const ex_trace *trace,
                                         struct ex_samples_range range, enum ex_fault fault,
                                         bool ns, struct ex_threshold_problem **out,
                                         struct ex_error *err) {
  struct ex_threshold_problem *problem = ex__calloc(1, sizeof *problem);
  *out = NULL;
  if (problem == NULL) return ex__fail(err, EX_ENOMEM, "calibrate: no memory");
  size_t points = (size_t)trace->n_points,
         n = (size_t)(trace->n - range.first + range.step - 1) / (size_t)range.step;
  problem->n = (int32_t)n;
  problem->n_exits = trace->n_points - 1;
  problem->bin = ex__calloc(points * n, 1);
  problem->wrong = ex__calloc(points * n, 1);
  double *scores = ex__calloc(2 * n, sizeof *scores);
  struct ex_outcome *outcomes = ex__calloc((size_t)trace->n, sizeof *outcomes);
  bool ok = problem->bin != NULL && problem->wrong != NULL && scores != NULL && outcomes != NULL;
  if (ok) {
    for (int32_t e = 0; e < problem->n_exits; e++)
      fill_exit(policy, trace, range, fault, e, scores, problem);
    fill_last(policy, trace, range, fault, outcomes, problem);
    fill_costs(policy, trace, ns, problem);
    *out = problem;
  } else {
    ex__threshold_problem_free(problem);
  }
  ex__free(scores);
  ex__free(outcomes);
  return ok ? EX_OK
            : ex__fail(err, EX_ENOMEM, "calibrate: no memory for %zu samples at %zu exits", n,
                       points);
}

void ex__threshold_problem_free(struct ex_threshold_problem *problem) {
  if (problem == NULL) return;
  ex__free(problem->bin);
  ex__free(problem->wrong);
  ex__free(problem);
}

void ex__threshold_problem_apply(const struct ex_threshold_problem *problem, const uint8_t *level,
                                 ex_policy *policy) {
  struct ex_list *list = ex__policy_thresholds(policy);
  list->n = problem->n_exits;
  for (int32_t e = 0; e < problem->n_exits; e++)
    list->value[e] = level[e] < problem->n_levels[e]
                         ? policy->class->leave_at(problem->level[e][level[e]])
                         : policy->class->threshold_off;
}
