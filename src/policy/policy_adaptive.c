/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_adaptive: learned decisions, one per exit, to stop or to pay for
 * more (Bolukbasi, Wang, Dekel, Saligrama, "Adaptive Neural Networks for Efficient
 * Inference", ICML 2017; the exit form: one network, whose exits stay as they are).
 *
 * An answer that is wrong where full depth would be right costs `lambda`, in units
 * of the cost of full depth; only such answers are charged. Under that price the
 * gates of policy/stopping are learned, from the last exit to the first, on samples
 * that did not train the network. Each lambda is a problem of its own, so each
 * candidate of calibration is fitted anew, from dear errors to cheap ones.
 *
 * Verified by the paper's abstract and summaries: stopping decisions are reduced to
 * weighted binary classification, layer by layer, from confidence features.
 * Reconstruction: the recursion, features, classifier, learned downstream gates as
 * the default, and all constants. Features: the largest probability, the margin, the
 * entropy, and the third to the `top`-th largest probability (the second is the
 * largest less the margin). Ours: exits that do not pay for their heads are
 * off, and as an option exact thresholds (see stopping.h). Not here: the choice among several whole
 * networks, pooled activations as features, losses other than 0 and 1.
 */
#include <math.h>

#include "base/memory.h"
#include "policy/confidences.h"
#include "policy/exit_costs.h"
#include "policy/policy.h"
#include "policy/stopping.h"

struct adaptive {
  double lambda;
  int32_t downstream, threshold, sweeps, top; /* as the tables below */
  double l2;
  struct ex_table gates; /* per exit but the last: the sum at which to leave, then weights */
};

enum { LEARNED, ORACLE };
enum { REGRESSION, EXACT };
enum { CANDIDATES = 64 };

static const char *const downstreams[] = {"learned", "oracle", NULL};
static const char *const thresholds[] = {"regression", "exact", NULL};
static const double PRICELESS = 1e9; /* nobody may leave early */

#define FIELD(name) offsetof(struct adaptive, name)
static const struct ex_param params[] = {
    {"lambda", EX_PARAM_REAL, FIELD(lambda), 0, 1e9, "1e9", NULL,
     "Price of an answer that full depth would not have got wrong, in runs of full depth; 1e9: "
     "nobody leaves early."},
    {"downstream", EX_PARAM_ENUM, FIELD(downstream), 0, 1, "learned", downstreams,
     "What going on is expected to cost: under the gates that were learned, or under an oracle."},
    {"threshold", EX_PARAM_ENUM, FIELD(threshold), 0, 1, "regression", thresholds,
     "How a gate's threshold is found: by logistic regression, or as the exact minimum of its "
     "weighted risk, with the single features tried as well."},
    {"sweeps", EX_PARAM_INT, FIELD(sweeps), 0, 16, "0", NULL,
     "Times that the gates are learned again, on the samples that reach them."},
    {"top", EX_PARAM_INT, FIELD(top), 2, EX_MAX_TOP, "5", NULL,
     "How many of the largest probabilities a gate sees."},
    {"l2", EX_PARAM_REAL, FIELD(l2), 1e-9, 1e3, "1e-4", NULL,
     "Penalty of the regression, for features of unit spread and weights that sum to 1."},
    {"gates", EX_PARAM_TABLE, FIELD(gates), -1e6, 1e6, "", NULL,
     "Fitted, per exit but the last: the weighted sum at which to leave, and the weights of "
     "largest probability, margin, entropy, third largest probability and so on."},
    {.name = NULL},
};

/* ---- learning --------------------------------------------------------------- */

struct lesson {
  const struct adaptive *rule;
  const struct ex_policy_fit *job;
  int32_t n, n_exits, d;
  double *feature, *price; /* as in struct ex_stopping */
  struct ex_exit_costs costs;
  double way[EX_MAX_POINTS], look[EX_MAX_POINTS], look_off[EX_MAX_POINTS]; /* 1: full depth */
};

static void fill_sample(struct lesson *lesson, int32_t exit, int32_t at, int32_t sample) {
  const ex_trace *trace = lesson->job->trace;
  int64_t here = ex__trace_at(trace, exit, sample), row = (int64_t)exit * lesson->n + at;
  int64_t last = ex__trace_at(trace, trace->n_points - 1, sample);
  const struct ex_answer *answer = &trace->answer[here];
  bool lost = trace->quality[here] < 0.5F && trace->quality[last] > 0.5F;
  lesson->price[row] = answer->label < 0 ? INFINITY : lost ? lesson->rule->lambda : 0;
  if (answer->label >= 0)
    ex__confidences(answer, trace->probability + here * trace->n_outputs, trace->n_outputs,
                    lesson->rule->top, lesson->feature + row * lesson->d);
}

static void fill(struct lesson *lesson) {
  const ex_trace *trace = lesson->job->trace;
  ex__exit_costs(trace, lesson->job->ns, false, &lesson->costs);
  double full = (double)lesson->costs.full;
  for (int32_t p = 0; p < trace->n_points; p++) {
    lesson->way[p] = (double)lesson->costs.way[p] / full;
    lesson->look[p] = (double)lesson->costs.look[p] / full;
    lesson->look_off[p] = (double)lesson->costs.look_off[p] / full;
  }
  for (int32_t exit = 0; exit < lesson->n_exits; exit++)
    for (int32_t at = 0; at < lesson->n; at++)
      fill_sample(lesson, exit, at, lesson->job->first + at * lesson->job->step);
}

static enum ex_status learn(struct lesson *lesson, struct ex_gate *gates, struct ex_error *err) {
  fill(lesson);
  const struct ex_stopping problem = {.n = lesson->n,
                                      .n_exits = lesson->n_exits,
                                      .d = lesson->d,
                                      .feature = lesson->feature,
                                      .price = lesson->price,
                                      .way = lesson->way,
                                      .look = lesson->look,
                                      .look_off = lesson->look_off,
                                      .l2 = lesson->rule->l2,
                                      .exact = lesson->rule->threshold == EXACT,
                                      .oracle = lesson->rule->downstream == ORACLE,
                                      .sweeps = lesson->rule->sweeps};
  return ex__stopping_fit(&problem, gates, NULL, err);
}

static void write_gates(const struct lesson *lesson, const struct ex_gate *gates,
                        struct ex_table *table) {
  *table = (struct ex_table){.n_rows = lesson->n_exits, .n_columns = 1 + lesson->d};
  for (int32_t exit = 0; exit < lesson->n_exits; exit++) {
    double *row = table->value[exit];
    row[0] = gates[exit].on ? gates[exit].leave_at : 1;
    for (int32_t j = 0; gates[exit].on && j < lesson->d; j++) row[1 + j] = gates[exit].weight[j];
  }
}

static enum ex_status fit(void *values, const struct ex_policy_fit *job, struct ex_error *err) {
  struct adaptive *rule = values;
  const ex_trace *trace = job->trace;
  struct lesson lesson = {.rule = rule,
                          .job = job,
                          .n = (trace->n - job->first + job->step - 1) / job->step,
                          .n_exits = trace->n_points - 1,
                          .d = ex__n_confidences(rule->top)};
  rule->gates = (struct ex_table){.n_rows = 0};
  if (rule->lambda >= PRICELESS || lesson.n_exits == 0) return EX_OK;
  struct ex_gate gates[EX_MAX_POINTS];
  size_t rows = (size_t)lesson.n_exits * (size_t)lesson.n;
  lesson.feature = ex__calloc(rows * (size_t)lesson.d, sizeof *lesson.feature);
  lesson.price = ex__calloc(rows, sizeof *lesson.price);
  enum ex_status status =
      lesson.feature != NULL && lesson.price != NULL
          ? learn(&lesson, gates, err)
          : ex__fail(err, EX_ENOMEM, "adaptive: no memory for %d samples", (int)lesson.n);
  if (status == EX_OK) write_gates(&lesson, gates, &rule->gates);
  ex__free(lesson.feature);
  ex__free(lesson.price);
  return status;
}

/* From dear errors to cheap ones, sixteen to a factor of ten: 3162 to 0.36. */
static bool candidate(void *values, int32_t n_points, int32_t index) {
  struct adaptive *rule = values;
  (void)n_points;
  rule->lambda = index == 0 ? PRICELESS : pow(10, 3.5 - (index - 1) / 16.0);
  return index <= CANDIDATES;
}

/* ---- deciding --------------------------------------------------------------- */

static enum ex_status check(const void *values, int32_t n_points, int32_t n_outputs,
                            struct ex_error *err) {
  const struct adaptive *rule = values;
  (void)n_outputs;
  int32_t rows = rule->gates.n_rows, columns = rule->gates.n_columns;
  if (rows == 0 || (rows == n_points - 1 && columns == 1 + ex__n_confidences(rule->top)))
    return EX_OK;
  return ex__fail(
      err, EX_EINVAL,
      "adaptive: gates has %d rows of %d; must have %d rows, one per exit but the last, "
      "of %d: a threshold and a weight per feature",
      (int)rows, (int)columns, (int)n_points - 1, 1 + (int)ex__n_confidences(rule->top));
}

/* Without weights the sum is 0, so a threshold above it lets nobody leave. */
static bool skips(const void *values, int32_t point, int32_t n_points) {
  const struct adaptive *rule = values;
  (void)n_points;
  if (rule->gates.n_rows == 0) return true;
  const double *row = rule->gates.value[point];
  bool sloped = false;
  for (int32_t j = 1; j < rule->gates.n_columns; j++) sloped = sloped || row[j] != 0;
  return !sloped && row[0] > 0;
}

/* What the gate of an exit that has one makes of it; leaves from row[0] on. */
static double score_of(const struct adaptive *rule, const struct ex_observation *seen) {
  double feature[EX_MAX_CONFIDENCES];
  ex__confidences(&seen->answer, seen->probability, seen->n_outputs, rule->top, feature);
  return ex__gate_score(rule->gates.value[seen->point] + 1, feature, ex__n_confidences(rule->top));
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct adaptive *rule = values;
  (void)scratch, (void)env;
  if (seen->point == seen->n_points - 1 || rule->gates.n_rows == 0)
    return (struct ex_decision){EX_GO_ON, seen->point};
  bool leave = score_of(rule, seen) >= rule->gates.value[seen->point][0];
  return (struct ex_decision){leave ? EX_LEAVE : EX_GO_ON, seen->point};
}

static struct ex_reading read(const void *values, const void *scratch,
                              const struct ex_observation *seen) {
  const struct adaptive *rule = values;
  (void)scratch;
  if (rule->gates.n_rows == 0) return (struct ex_reading){.what = NULL};
  return (struct ex_reading){"gate", score_of(rule, seen), rule->gates.value[seen->point][0],
                             false};
}

extern const struct ex_policy_class ex__policy_adaptive;
const struct ex_policy_class ex__policy_adaptive = {
    .name = "adaptive",
    .cite = "Adaptive Neural Networks (Bolukbasi et al., ICML 2017)",
    .summary = "Leaves where a gate that was learned for this exit says that going on costs more "
               "than the errors that it would spare. One knob, the price of an error.",
    .params = params,
    .size = sizeof(struct adaptive),
    .candidate = candidate,
    .fit = fit,
    .fit_each = true,
    .skips = skips,
    .check = check,
    .decide = decide,
    .read = read,
};
