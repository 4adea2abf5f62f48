/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_eenet: a scheduler learned for a budget (EENet: Ilhan et al.,
 * "Adaptive Deep Neural Network Inference Optimization with EENet", WACV 2024;
 * the authors' code git-disl/EENet).
 *
 * Two things are learned by turns on a labelled trace. The score of exit k, how
 * likely its answer is right,
 *
 *     q_k = sigmoid(b_k + c_k · x_k),
 *
 * from the exit's probabilities, the largest of them, 1 − entropy / log C and the
 * scores of the exits before; and the assignment r_k of each sample to exits,
 * softmax over k of a small network of one hidden layer:
 *
 *     q: binary cross-entropy of q_k against "right", weighted by r_k;
 *     r: alpha_ce · KL(t ‖ r) + alpha_cost · |E[cost] − B| / B, t_k = q_k / Σ q,
 *        with alpha_ce = 0.001 and alpha_cost = 0.01.
 *
 * Then the mean of r_k is a quota: of the samples that came to exit k the ⌊N · r_k⌋
 * with the highest scores leave, the lowest of which is the threshold. So the cost
 * on the samples that were fitted to is that of the quotas. Leaves at a score ≥ it.
 *
 * Otherwise than the authors' code, and ours: scores are logistic, where theirs are
 * linear and cut to [0, 1], which loses the gradient of samples outside; r is the
 * softmax of unbounded numbers, where theirs are sigmoids, which keeps every r_k
 * above 1 / (1 + 3e) and so bounds the budgets that can be had; the network of r
 * reads the score, the confidence and the largest probability; above 31 features
 * the probabilities are the largest 8 in order instead of one per class; q is the
 * exact minimum, r is learned by 100 steps of Adam on at most 500
 * samples, twice, by turns. Costs are by
 * the table.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/exponential.h"
#include "base/logistic.h"
#include "base/memory.h"
#include "base/random.h"
#include "policy/policy.h"

enum {
  N_CANDIDATES = 20,
  N_TOP = 8,
  N_HIDDEN = 8,
  N_INPUTS = 3,
  N_WEIGHTS = N_HIDDEN * (N_INPUTS + 2) + 1, /* of one exit's network */
  ROUNDS = 2,
  STEPS = 100,
  MAX_ASSIGNED = 500 /* samples that r is learned on */
};
static const double off = 2; /* a score is at most 1 */
static const double alpha_ce = 0.001, alpha_cost = 0.01, rate = 0.05, l2 = 1e-4;

struct eenet {
  double budget;
  struct ex_list thresholds;
  struct ex_table score; /* per exit: intercept, then a coefficient per feature */
};

struct so_far { /* scratch */
  double score[EX_MAX_POINTS], last;
};

#define FIELD(name) offsetof(struct eenet, name)
static const struct ex_param params[] = {
    {"budget", EX_PARAM_REAL, FIELD(budget), 0.001, 1, "1", NULL,
     "Mean cost that is aimed at, as a share of full depth; 1: nobody leaves early."},
    {"thresholds", EX_PARAM_LIST, FIELD(thresholds), 0, 2, "", NULL,
     "Fitted: leave at or above this score, per exit but the last; above 1: nobody leaves."},
    {"score", EX_PARAM_TABLE, FIELD(score), -1e9, 1e9, "", NULL,
     "Fitted: what an exit's score is made of, intercept first."},
    {.name = NULL},
};

/* ---- scores ----------------------------------------------------------------- */

static bool reads_classes(int32_t n_outputs, int32_t n_points) {
  return n_outputs + 2 + n_points - 1 <= EX_MAX_FEATURES;
}

static int32_t n_features(int32_t n_outputs, int32_t n_points, int32_t point) {
  int32_t n = reads_classes(n_outputs, n_points) ? n_outputs + 2
              : n_outputs < N_TOP                ? n_outputs + 1
                                                 : N_TOP + 1;
  return n + point < EX_MAX_FEATURES ? n + point : EX_MAX_FEATURES;
}

static void add_largest(const struct ex_observation *seen, double *x) {
  int32_t n = seen->n_outputs < N_TOP ? seen->n_outputs : N_TOP;
  for (int32_t i = 0; i < n; i++) x[i] = 0;
  for (int32_t c = 0; c < seen->n_outputs; c++) {
    double value = (double)seen->probability[c];
    for (int32_t i = 0; i < n; i++) {
      if (value <= x[i]) continue;
      double smaller = x[i];
      x[i] = value;
      value = smaller;
    }
  }
}

/* `past`: scores of the exits before; of more than there is room for, the first. */
static int32_t read_features(const struct ex_observation *seen, const double *past, double *x) {
  int32_t n = 0, all = n_features(seen->n_outputs, seen->n_points, seen->point);
  if (reads_classes(seen->n_outputs, seen->n_points)) {
    for (int32_t c = 0; c < seen->n_outputs; c++) x[n++] = (double)seen->probability[c];
    x[n++] = seen->answer.max_probability;
  } else {
    add_largest(seen, x);
    n = seen->n_outputs < N_TOP ? seen->n_outputs : N_TOP;
  }
  x[n++] = seen->n_outputs > 1 ? 1 - seen->answer.entropy / log(seen->n_outputs) : 1;
  for (int32_t k = 0; n < all; k++) x[n++] = past[k];
  return n;
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static double score_of(const struct eenet *rule, const struct ex_observation *seen,
                       const double *past) {
  double x[EX_MAX_FEATURES];
  const double *row = rule->score.value[seen->point];
  int32_t n = read_features(seen, past, x);
  double sum = row[0];
  for (int32_t i = 0; i < n; i++) sum += row[1 + i] * x[i];
  return sigmoid(sum);
}

/* ---- learning --------------------------------------------------------------- */

struct learning {
  struct eenet *rule;
  const struct ex_policy_fit *job;
  int32_t n, n_points;
  const int32_t *item;        /* [n] samples of the trace */
  double cost[EX_MAX_POINTS]; /* of leaving there, shares of full depth */
  double *x;                  /* [n][EX_MAX_FEATURES] of one exit */
  uint8_t *right;             /* [n] of one exit */
  double *q, *r, *input;      /* [n_points][n], the last × N_INPUTS */
};

static void past_of(const struct learning *l, int32_t point, int32_t i, double *past) {
  for (int32_t k = 0; k < point; k++) past[k] = l->q[(int64_t)k * l->n + i];
}

/* Scores of all exits, first to last, with the present r as weights; `again`: they have
 * been learned with other weights, from where it is not far. */
static void learn_scores(const struct learning *l, bool again) {
  const ex_trace *trace = l->job->trace;
  double past[EX_MAX_POINTS];
  for (int32_t point = 0; point < l->n_points; point++) {
    int32_t d = n_features(trace->n_outputs, l->n_points, point);
    for (int32_t i = 0; i < l->n; i++) {
      const struct ex_observation seen = ex__policy_observe(trace, point, l->item[i]);
      past_of(l, point, i, past);
      read_features(&seen, past, l->x + (int64_t)i * d);
      l->right[i] = seen.answer.label == trace->target[l->item[i]];
    }
    const struct ex_logistic problem = {l->n, d, l->x, l->right, l->r + (int64_t)point * l->n, l2};
    if (again)
      ex__logistic_fit_from(&problem, l->rule->score.value[point]);
    else
      ex__logistic_fit(&problem, l->rule->score.value[point]);
    for (int32_t i = 0; i < l->n; i++) {
      const struct ex_observation seen = ex__policy_observe(trace, point, l->item[i]);
      int64_t at = (int64_t)point * l->n + i;
      past_of(l, point, i, past);
      l->q[at] = score_of(l->rule, &seen, past);
      double *input = l->input + at * N_INPUTS;
      input[0] = l->q[at];
      input[1] = seen.answer.max_probability;
      input[2] = trace->n_outputs > 1 ? 1 - seen.answer.entropy / log(trace->n_outputs) : 1;
    }
  }
}

/* ---- assignments ------------------------------------------------------------ */

struct assigner {
  double w[EX_MAX_POINTS][N_WEIGHTS], gradient[EX_MAX_POINTS][N_WEIGHTS];
  double first[EX_MAX_POINTS][N_WEIGHTS], second[EX_MAX_POINTS][N_WEIGHTS]; /* Adam's moments */
  double r[MAX_ASSIGNED][EX_MAX_POINTS], hidden[MAX_ASSIGNED][EX_MAX_POINTS][N_HIDDEN];
};

/* What the hidden layer of one exit adds up for one sample. Weights: the hidden layer's,
 * N_INPUTS and a bias each, then N_HIDDEN and a bias. */
static void add_up(const double *w, const double *input, double *sums) {
  for (int32_t h = 0; h < N_HIDDEN; h++) {
    const double *in = w + h * (N_INPUTS + 1);
    sums[h] = in[N_INPUTS];
    for (int32_t j = 0; j < N_INPUTS; j++) sums[h] += in[j] * input[j];
  }
}

/* In place, n ≥ 1. */
static void sigmoids(double *x, int32_t n) {
  ex_real z[EX_MAX_POINTS * N_HIDDEN];
  double small[EX_MAX_POINTS * N_HIDDEN];
  if (n < 1) return;
  for (int32_t i = 0; i < n; i++) z[i] = (ex_real)-fabs(x[i]);
  ex__exponentials(z, n, 0, small);
  for (int32_t i = 0; i < n; i++) x[i] = (x[i] < 0 ? small[i] : 1) / (1 + small[i]);
}

/* The number of one exit. */
static double rate_exit(const double *w, const double *hidden) {
  const double *out = w + N_HIDDEN * (N_INPUTS + 1);
  double sum = out[N_HIDDEN];
  for (int32_t h = 0; h < N_HIDDEN; h++) sum += out[h] * hidden[h];
  return sum;
}

static void add_gradient(const double *w, const double *input, const double *hidden, double d,
                         double *gradient) {
  const double *out = w + N_HIDDEN * (N_INPUTS + 1);
  double *d_out = gradient + N_HIDDEN * (N_INPUTS + 1);
  d_out[N_HIDDEN] += d;
  for (int32_t h = 0; h < N_HIDDEN; h++) {
    double *d_in = gradient + h * (N_INPUTS + 1);
    double d_a = d * out[h] * hidden[h] * (1 - hidden[h]);
    d_out[h] += d * hidden[h];
    for (int32_t j = 0; j < N_INPUTS; j++) d_in[j] += d_a * input[j];
    d_in[N_INPUTS] += d_a;
  }
}

/* r of sample i under w; what the hidden layers say is left behind. */
static void assign(const struct learning *l, const struct assigner *a, int32_t i, double *r,
                   double hidden[EX_MAX_POINTS][N_HIDDEN]) {
  double largest = -INFINITY, sum = 0;
  for (int32_t k = 0; k < l->n_points; k++)
    add_up(a->w[k], l->input + ((int64_t)k * l->n + i) * N_INPUTS, hidden[k]);
  sigmoids(hidden[0], l->n_points * N_HIDDEN);
  for (int32_t k = 0; k < l->n_points; k++) {
    r[k] = rate_exit(a->w[k], hidden[k]);
    largest = fmax(largest, r[k]);
  }
  for (int32_t k = 0; k < l->n_points; k++) sum += r[k] = exp(r[k] - largest);
  for (int32_t k = 0; k < l->n_points; k++) r[k] /= sum;
}

/* The gradient of alpha_ce · KL + alpha_cost · |E[cost] − B| / B. */
static void differentiate(const struct learning *l, struct assigner *a, int32_t n) {
  double mean = 0, budget = l->rule->budget;
  for (int32_t i = 0; i < n; i++) {
    assign(l, a, i, a->r[i], a->hidden[i]);
    for (int32_t k = 0; k < l->n_points; k++) mean += a->r[i][k] * l->cost[k] / n;
  }
  double over = mean > budget ? 1 : -1;
  memset(a->gradient, 0, sizeof a->gradient);
  for (int32_t i = 0; i < n; i++) {
    const double *r = a->r[i];
    double cost = 0, q = 0;
    for (int32_t k = 0; k < l->n_points; k++) {
      cost += r[k] * l->cost[k];
      q += l->q[(int64_t)k * l->n + i];
    }
    for (int32_t k = 0; k < l->n_points; k++) {
      int64_t at = (int64_t)k * l->n + i;
      double d = alpha_ce * (r[k] - l->q[at] / q) / l->n_points +
                 alpha_cost * over * r[k] * (l->cost[k] - cost) / budget;
      add_gradient(a->w[k], l->input + at * N_INPUTS, a->hidden[i][k], d / n, a->gradient[k]);
    }
  }
}

/* The rate falls to 0, as |E[cost] − B| has a kink at its least. */
static void descend(const struct learning *l, struct assigner *a, int32_t step) {
  double fall = 1 - (double)step / STEPS;
  double fix1 = 1 - pow(0.9, step + 1), fix2 = 1 - pow(0.999, step + 1);
  for (int32_t k = 0; k < l->n_points; k++)
    for (int32_t w = 0; w < N_WEIGHTS; w++) {
      double g = a->gradient[k][w];
      a->first[k][w] += 0.1 * (g - a->first[k][w]);
      a->second[k][w] += 0.001 * (g * g - a->second[k][w]);
      a->w[k][w] -= fall * rate * (a->first[k][w] / fix1) / (sqrt(a->second[k][w] / fix2) + 1e-12);
    }
}

static void begin(const struct learning *l, struct assigner *a) {
  struct ex_random random = ex__random_seed(1, 0);
  memset(a, 0, sizeof *a);
  for (int32_t k = 0; k < l->n_points; k++)
    for (int32_t w = 0; w < N_WEIGHTS; w++) a->w[k][w] = 0.5 * ex__random_normal(&random);
}

static void learn_assignments(const struct learning *l, struct assigner *a) {
  int32_t n = l->n < MAX_ASSIGNED ? l->n : MAX_ASSIGNED;
  double r[EX_MAX_POINTS], hidden[EX_MAX_POINTS][N_HIDDEN];
  begin(l, a);
  for (int32_t step = 0; step < STEPS; step++) {
    differentiate(l, a, n);
    descend(l, a, step);
  }
  for (int32_t i = 0; i < l->n; i++) {
    assign(l, a, i, r, hidden);
    for (int32_t k = 0; k < l->n_points; k++) l->r[(int64_t)k * l->n + i] = r[k];
  }
}

/* ---- thresholds --------------------------------------------------------------- */

struct ranked {
  double score;
  int32_t index;
};

static int by_score(const void *a, const void *b) { /* highest first; then in order */
  const struct ranked *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

static void find_thresholds(const struct learning *l, struct ranked *here) {
  struct ex_list *list = &l->rule->thresholds;
  int32_t n = l->n;
  for (int32_t i = 0; i < n; i++) here[i].index = i;
  for (int32_t k = 0; k < l->n_points - 1; k++) {
    double quota = 0;
    for (int32_t i = 0; i < l->n; i++) quota += l->r[(int64_t)k * l->n + i];
    int32_t leave = (int32_t)fmin(quota, n);
    for (int32_t i = 0; i < n; i++) here[i].score = l->q[(int64_t)k * l->n + here[i].index];
    qsort(here, (size_t)n, sizeof *here, by_score);
    list->value[k] = leave > 0 ? here[leave - 1].score : off;
    while (leave > 0 && leave < n && here[leave].score == list->value[k]) leave++; /* ties leave */
    memmove(here, here + leave, (size_t)(n - leave) * sizeof *here);
    n -= leave;
  }
}

/* ---- the fit ------------------------------------------------------------------ */

static void find_costs(struct learning *l) {
  const struct ex_cost *cost = &l->job->trace->cost;
  const ex_trace *trace = l->job->trace;
  const int64_t *of_body = l->job->ns ? cost->body_ns : cost->body_macs;
  const int64_t *of_head = l->job->ns ? cost->head_ns : cost->head_macs;
  int32_t last = l->n_points - 1;
  uint32_t looked = 0;
  double heads = 0;
  double full = (double)(ex__sum_over(of_body, trace->bodies[last]) + of_head[last]);
  for (int32_t k = 0; k <= last; k++) {
    looked |= trace->bodies[k];
    heads += (double)of_head[k];
    l->cost[k] = ((double)ex__sum_over(of_body, looked) + heads) / full;
  }
}

static void learn(struct learning *l, struct assigner *a, struct ranked *ranked) {
  for (int64_t i = 0; i < (int64_t)l->n_points * l->n; i++) l->r[i] = 1.0 / l->n_points;
  for (int32_t round = 0; round < ROUNDS; round++) {
    learn_scores(l, round > 0);
    learn_assignments(l, a);
  }
  find_thresholds(l, ranked);
}

/* Samples whose outputs are all finite. */
static int32_t choose_samples(const struct ex_policy_fit *job, int32_t *item) {
  const ex_trace *trace = job->trace;
  int32_t n = 0;
  for (int32_t i = job->first; i < trace->n; i += job->step) {
    bool finite = true;
    for (int32_t p = 0; p < trace->n_points; p++)
      finite = finite && trace->answer[ex__trace_at(trace, p, i)].label >= 0;
    if (finite) item[n++] = i;
  }
  return n;
}

static enum ex_status fit(void *values, const struct ex_policy_fit *job, struct ex_error *err) {
  struct eenet *rule = values;
  const ex_trace *trace = job->trace;
  size_t n = (size_t)trace->n, all = n * (size_t)trace->n_points;
  struct learning l = {.rule = rule, .job = job, .n_points = trace->n_points};
  int32_t *item = ex__alloc(n, sizeof *item);
  struct assigner *assigner = ex__calloc(1, sizeof *assigner);
  struct ranked *ranked = ex__alloc(n, sizeof *ranked);
  l.x = ex__alloc(n, EX_MAX_FEATURES * sizeof *l.x);
  l.right = ex__alloc(n, sizeof *l.right);
  l.q = ex__calloc(all, sizeof *l.q);
  l.r = ex__calloc(all, sizeof *l.r);
  l.input = ex__calloc(all, N_INPUTS * sizeof *l.input);
  enum ex_status status = EX_OK;
  rule->thresholds.n = trace->n_points - 1;
  for (int32_t k = 0; k < trace->n_points - 1; k++) rule->thresholds.value[k] = off;
  rule->score.n_rows = trace->n_points;
  rule->score.n_columns = 1 + n_features(trace->n_outputs, trace->n_points, trace->n_points - 1);
  if (item == NULL || assigner == NULL || ranked == NULL || l.x == NULL || l.right == NULL ||
      l.q == NULL || l.r == NULL || l.input == NULL) {
    status = ex__fail(err, EX_ENOMEM, "eenet: no memory for %d samples", (int)trace->n);
  } else if (rule->budget < 1) {
    l.item = item;
    l.n = choose_samples(job, item);
    find_costs(&l);
    if (l.n > 0) learn(&l, assigner, ranked);
  }
  ex__free(item);
  ex__free(assigner);
  ex__free(ranked);
  ex__free(l.x);
  ex__free(l.right);
  ex__free(l.q);
  ex__free(l.r);
  ex__free(l.input);
  return status;
}

/* ---- deciding ----------------------------------------------------------------- */

static enum ex_status check(const void *values, int32_t n_points, int32_t n_outputs,
                            struct ex_error *err) {
  const struct eenet *rule = values;
  int32_t columns = 1 + n_features(n_outputs, n_points, n_points - 1);
  if (rule->score.n_rows == 0 && rule->thresholds.n == 0) return EX_OK;
  if (rule->score.n_rows == n_points && rule->score.n_columns == columns &&
      rule->thresholds.n == n_points - 1)
    return EX_OK;
  return ex__fail(err, EX_EINVAL,
                  "eenet: score has %d rows of %d and there are %d thresholds; must be %d of %d, "
                  "and %d",
                  (int)rule->score.n_rows, (int)rule->score.n_columns, (int)rule->thresholds.n,
                  (int)n_points, (int)columns, (int)n_points - 1);
}

/* From everybody goes on down to a twentieth of the work. */
static bool candidate(void *values, int32_t n_points, int32_t index) {
  struct eenet *rule = values;
  (void)n_points;
  if (index >= N_CANDIDATES) return false;
  rule->budget = (double)(N_CANDIDATES - index) / N_CANDIDATES;
  return true;
}

/* A later score needs the earlier ones, so heads are left out only where nobody
 * leaves at all. */
static bool skips(const void *values, int32_t point, int32_t n_points) {
  const struct eenet *rule = values;
  (void)point;
  for (int32_t k = 0; k < n_points - 1 && k < rule->thresholds.n; k++)
    if (rule->thresholds.value[k] <= 1) return false;
  return true;
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct eenet *rule = values;
  struct so_far *so_far = scratch;
  (void)env;
  if (seen->point == seen->n_points - 1 || rule->thresholds.n == 0)
    return (struct ex_decision){EX_GO_ON, seen->point};
  so_far->last = so_far->score[seen->point] = score_of(rule, seen, so_far->score);
  bool leave = so_far->last >= rule->thresholds.value[seen->point];
  return (struct ex_decision){leave ? EX_LEAVE : EX_GO_ON, seen->point};
}

static struct ex_reading read(const void *values, const void *scratch,
                              const struct ex_observation *seen) {
  const struct eenet *rule = values;
  const struct so_far *so_far = scratch;
  bool fitted = rule->thresholds.n > 0;
  return (struct ex_reading){"score", fitted ? so_far->last : NAN,
                             fitted ? rule->thresholds.value[seen->point] : off, false};
}

extern const struct ex_policy_class ex__policy_eenet;
const struct ex_policy_class ex__policy_eenet = {
    .name = "eenet",
    .cite = "EENet (Ilhan et al., WACV 2024)",
    .summary =
        "Leaves where a learned score is high enough; scores and how many should leave where "
        "are learned together, for a mean cost. One knob, the budget.",
    .params = params,
    .size = sizeof(struct eenet),
    .scratch_size = sizeof(struct so_far),
    .candidate = candidate,
    .fit = fit,
    .fit_each = true,
    .skips = skips,
    .check = check,
    .decide = decide,
    .read = read,
};
