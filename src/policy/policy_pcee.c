/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_pcee: leave where samples of like confidence were answered right
 * often enough (performance control early exiting: Mofakhami et al., arXiv
 * 2412.19325; from its abstract: the bins are our reconstruction, and its smoothed
 * variant is not here).
 *
 * A confidence says little by itself, and not the same at every exit. So the
 * samples of a held-out split are put into bins by their largest probability at
 * an exit, with equally many in each, and a sample leaves where the accuracy of
 * its bin is at least `accuracy`: one knob for all exits, in the unit in which
 * the user thinks. Equal confidences share a bin, so there may be fewer.
 */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "policy/policy.h"

struct pcee {
  double accuracy;
  int32_t bins;
  struct ex_table edge, right; /* per exit but the last and bin: its least confidence, and the
                                  share that was right */
};

static const double off = 2; /* an accuracy is at most 1 */
static const double CANDIDATES = 200;

#define FIELD(name) offsetof(struct pcee, name)
static const struct ex_param params[] = {
    {"accuracy", EX_PARAM_REAL, FIELD(accuracy), 0, 2, "2", NULL,
     "Leave where samples of like confidence were right at least this often; above 1: nobody "
     "leaves early."},
    {"bins", EX_PARAM_INT, FIELD(bins), 1, EX_MAX_LIST, "20", NULL,
     "Groups of like confidence at an exit; more tell apart more and know less of each."},
    {"edge", EX_PARAM_TABLE, FIELD(edge), 0, 1, "", NULL,
     "Fitted: the least confidence of each group."},
    {"right", EX_PARAM_TABLE, FIELD(right), 0, 1, "", NULL,
     "Fitted: how often each group was right."},
    {.name = NULL},
};

/* ---- learning ------------------------------------------------------------- */

struct seen {
  double confidence;
  int32_t right;
};

static int compare(const void *left, const void *right) {
  const struct seen *a = left, *b = right;
  return (a->confidence > b->confidence) - (a->confidence < b->confidence);
}

/* Of n > 0 samples in order of confidence. A bin that would begin among equals of
 * the one before is left out: its row repeats the edge, and is never found. */
static void fill(const struct seen *seen, int32_t n, int32_t point, struct pcee *rule) {
  double *edge = rule->edge.value[point], *right = rule->right.value[point];
  int32_t from = 0;
  for (int32_t bin = 0; bin < rule->bins; bin++) {
    int32_t to = (int32_t)((int64_t)n * (bin + 1) / rule->bins);
    while (to > 0 && to < n && seen[to].confidence == seen[to - 1].confidence) to++;
    int32_t sum = 0;
    for (int32_t i = from; i < to; i++) sum += seen[i].right;
    edge[bin] = from < to ? seen[from].confidence : bin > 0 ? edge[bin - 1] : 0;
    right[bin] = from < to ? (double)sum / (to - from) : bin > 0 ? right[bin - 1] : 0;
    if (to > from) from = to;
  }
  edge[0] = 0;
}

static enum ex_status fit(void *values, const struct ex_policy_fit *job, struct ex_error *err) {
  struct pcee *rule = values;
  const ex_trace *trace = job->trace;
  struct seen *seen = ex__alloc((size_t)trace->n, sizeof *seen);
  if (seen == NULL)
    return ex__fail(err, EX_ENOMEM, "pcee: no memory for %d samples", (int)trace->n);
  rule->edge.n_rows = rule->right.n_rows = trace->n_points - 1;
  rule->edge.n_columns = rule->right.n_columns = rule->bins;
  for (int32_t point = 0; point < trace->n_points - 1; point++) {
    int32_t n = 0;
    for (int32_t i = job->first; i < trace->n; i += job->step) {
      int64_t at = ex__trace_at(trace, point, i);
      if (trace->answer[at].label >= 0) /* else not finite: it never leaves */
        seen[n++] = (struct seen){trace->answer[at].max_probability,
                                  trace->answer[at].label == trace->target[i]};
    }
    qsort(seen, (size_t)n, sizeof *seen, compare);
    fill(seen, n, point, rule);
  }
  ex__free(seen);
  return EX_OK;
}

/* ---- deciding ------------------------------------------------------------- */

static enum ex_status check(const void *values, int32_t n_points, int32_t n_outputs,
                            struct ex_error *err) {
  const struct pcee *rule = values;
  (void)n_outputs;
  if (rule->edge.n_rows == 0 && rule->right.n_rows == 0) return EX_OK;
  if (rule->edge.n_rows != n_points - 1 || rule->right.n_rows != n_points - 1 ||
      rule->edge.n_columns != rule->right.n_columns)
    return ex__fail(err, EX_EINVAL,
                    "pcee: edge and right have %d and %d rows; must have %d, one per exit but the "
                    "last, of equally many bins",
                    (int)rule->edge.n_rows, (int)rule->right.n_rows, (int)n_points - 1);
  return EX_OK;
}

/* From nobody leaves to everybody does. */
static bool candidate(void *values, int32_t n_points, int32_t index) {
  struct pcee *rule = values;
  (void)n_points;
  if (index > CANDIDATES) return false;
  rule->accuracy = index == 0 ? off : 1 - (index - 1) / (CANDIDATES - 1);
  return true;
}

static bool skips(const void *values, int32_t point, int32_t n_points) {
  const struct pcee *rule = values;
  (void)n_points;
  if (rule->accuracy > 1 || rule->right.n_rows == 0) return true;
  for (int32_t bin = 0; bin < rule->right.n_columns; bin++)
    if (rule->right.value[point][bin] >= rule->accuracy) return false;
  return true;
}

/* Of the samples of like confidence. */
static double accuracy_of(const struct pcee *rule, const struct ex_observation *seen) {
  const double *edge = rule->edge.value[seen->point];
  int32_t bin = rule->edge.n_columns - 1;
  while (bin > 0 && edge[bin] > seen->answer.max_probability) bin--;
  return rule->right.value[seen->point][bin];
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct pcee *rule = values;
  (void)scratch;
  (void)env;
  if (seen->point == seen->n_points - 1 || rule->edge.n_rows == 0)
    return (struct ex_decision){EX_GO_ON, seen->point};
  bool leave = accuracy_of(rule, seen) >= rule->accuracy;
  return (struct ex_decision){leave ? EX_LEAVE : EX_GO_ON, seen->point};
}

static struct ex_reading read(const void *values, const void *scratch,
                              const struct ex_observation *seen) {
  const struct pcee *rule = values;
  (void)scratch;
  return (struct ex_reading){"accuracy of like samples",
                             rule->edge.n_rows > 0 ? accuracy_of(rule, seen) : NAN, rule->accuracy,
                             false};
}

extern const struct ex_policy_class ex__policy_pcee;
const struct ex_policy_class ex__policy_pcee = {
    .name = "pcee",
    .cite = "PCEE (Mofakhami et al., arXiv 2412.19325, 2024)",
    .summary = "Leaves where samples of like confidence were answered right often enough, at this "
               "exit, on a held-out split. One knob, an accuracy.",
    .params = params,
    .size = sizeof(struct pcee),
    .candidate = candidate,
    .fit = fit,
    .skips = skips,
    .check = check,
    .decide = decide,
    .read = read,
};
