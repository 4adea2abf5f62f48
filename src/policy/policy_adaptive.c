/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_adaptive: learned decisions to stop or to pay for more (Bolukbasi,
 * Wang, Dekel, Saligrama, "Adaptive Neural Networks for Efficient Inference", ICML
 * 2017), in both of the paper's forms:
 *
 * - `next`, early exit: one network, whose exits stay as they are; at each exit a
 *   gate says stop or go on (policy/stopping);
 * - `any`, network selection: several whole networks from cheap to dear, a DAG with
 *   an edge from each to every dearer one; at each a chain of gates says stop, or
 *   which network to ask next (policy/routing). What lies between does not run.
 *
 * `auto` takes the second where some exit does without bodies that an earlier one
 * needs, as those of joined networks do; in a row a jump would save heads alone.
 *
 * An answer that is wrong where full depth would be right costs `lambda`, in units
 * of the cost of full depth; only such answers are charged. Under that price the
 * gates are learned, from the last exit to the first, on samples that did not train
 * the network. Each lambda is a problem of its own, so each candidate of calibration
 * is fitted anew, from dear errors to cheap ones.
 *
 * Verified by the paper's abstract and summaries: stopping decisions are reduced to
 * weighted binary classification, layer by layer, from confidence features; networks
 * are chosen in a DAG, and nothing is used again between them.
 * Reconstruction: the recursion, features, classifier, learned downstream gates as
 * the default, the chain of gates, and all constants. Features: the largest
 * probability, the margin, the entropy, and the third to the `top`-th largest
 * probability (the second is the largest less the margin); in the second form also
 * how sure the exit before was, if it answered the same, and if it did not.
 * Ours: exits that do not pay for their heads are off, the exit that is looked at
 * first, and as an option exact thresholds (gate.h). Not here: pooled activations as
 * features, losses other than 0 and 1.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "policy/confidences.h"
#include "policy/exit_costs.h"
#include "policy/policy.h"
#include "policy/routing.h"
#include "policy/stopping.h"

struct adaptive {
  double lambda;
  int32_t successors, downstream, threshold, sweeps, top; /* as the tables below */
  double l2;
  int32_t first;
  /* Rows of the sum from which a gate fires, then its weights: `next`, one per exit
   * but the last; `any`, ex__route_row, with PRIOR weights more. */
  struct ex_table gates;
};

struct before { /* scratch: of the exit that was looked at before, in the form `any` */
  bool looked;
  int32_t label;
  double probability;
  double score; /* of the first gate of the exit that was looked at last */
};

enum { AUTO, NEXT, ANY };
enum { LEARNED, ORACLE };
enum { REGRESSION, EXACT };
enum { CANDIDATES = 64, PRIOR = 2 };

static const char *const forms[] = {"auto", "next", "any", NULL};

static const char *const downstreams[] = {"learned", "oracle", NULL};
static const char *const thresholds[] = {"regression", "exact", NULL};
static const double PRICELESS = 1e9; /* nobody may leave early */

#define FIELD(name) offsetof(struct adaptive, name)
static const struct ex_param params[] = {
    {"lambda", EX_PARAM_REAL, FIELD(lambda), 0, 1e9, "1e9", NULL,
     "Price of an answer that full depth would not have got wrong, in runs of full depth; 1e9: "
     "nobody leaves early."},
    {"successors", EX_PARAM_ENUM, FIELD(successors), 0, 2, "auto", forms,
     "Where to go from an exit: next, to the next one; any, to whichever later one, of at most 8 "
     "exits; auto, to any where exits do without the work of earlier ones, as joined networks do."},
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
    {"first", EX_PARAM_INT, FIELD(first), 0, EX_MAX_POINTS - 1, "0", NULL,
     "Fitted, where any exit may be next: the one that is looked at first."},
    {"gates", EX_PARAM_TABLE, FIELD(gates), -EX_GATE_REACH, EX_GATE_REACH, "", NULL,
     "Fitted, per exit but the last: the weighted sum at which to leave, and the weights of "
     "largest probability, margin, entropy, third largest probability and so on. Where any exit "
     "may be next: per exit rows to leave, to go to the next one, to the one after and so on, and "
     "in each two weights more, of the probability of the answer before, if it was the same, and "
     "if it was another."},
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
  for (int32_t exit = 0; exit < lesson->n_exits; exit++)
    for (int32_t at = 0; at < lesson->n; at++)
      fill_sample(lesson, exit, at, lesson->job->first + at * lesson->job->step);
}

static void write_row(const struct ex_gate *gate, int32_t d, double *row) {
  row[0] = gate->on ? gate->leave_at : 1;
  for (int32_t j = 0; gate->on && j < d; j++) row[1 + j] = gate->weight[j];
}

/* ---- the next exit ------------------------------------------------------------ */

static void fill_costs(struct lesson *lesson) {
  const ex_trace *trace = lesson->job->trace;
  ex__exit_costs(trace, lesson->job->ns, false, &lesson->costs);
  double full = (double)lesson->costs.full;
  for (int32_t p = 0; p < trace->n_points; p++) {
    lesson->way[p] = (double)lesson->costs.way[p] / full;
    lesson->look[p] = (double)lesson->costs.look[p] / full;
    lesson->look_off[p] = (double)lesson->costs.look_off[p] / full;
  }
}

static enum ex_status learn_next(struct lesson *lesson, struct adaptive *rule,
                                 struct ex_error *err) {
  fill_costs(lesson);
  const struct ex_stopping problem = {.n = lesson->n,
                                      .n_exits = lesson->n_exits,
                                      .d = lesson->d,
                                      .feature = lesson->feature,
                                      .price = lesson->price,
                                      .way = lesson->way,
                                      .look = lesson->look,
                                      .look_off = lesson->look_off,
                                      .l2 = rule->l2,
                                      .exact = rule->threshold == EXACT,
                                      .oracle = rule->downstream == ORACLE,
                                      .sweeps = rule->sweeps};
  struct ex_gate gates[EX_MAX_POINTS];
  EX_TRY(ex__stopping_fit(&problem, gates, NULL, err));
  rule->gates = (struct ex_table){.n_rows = lesson->n_exits, .n_columns = 1 + lesson->d};
  for (int32_t exit = 0; exit < lesson->n_exits; exit++)
    write_row(&gates[exit], lesson->d, rule->gates.value[exit]);
  return EX_OK;
}

/* ---- any exit ----------------------------------------------------------------- */

static void recall(const struct before *before, const struct ex_answer *answer,
                   double feature[PRIOR]) {
  bool same = before->label == answer->label;
  feature[0] = before->looked && same ? before->probability : 0;
  feature[1] = before->looked && !same ? before->probability : 0;
}

/* Features of an exit by the exit before, as in struct ex_routing. */
static void fill_routed(const struct lesson *lesson, double *feature) {
  const ex_trace *trace = lesson->job->trace;
  int32_t d = lesson->d + PRIOR;
  for (int32_t exit = 0; exit < lesson->n_exits; exit++)
    for (int32_t p = -1; p < trace->n_points - 1; p++)
      for (int32_t at = 0; at < lesson->n; at++, feature += d) {
        int32_t sample = lesson->job->first + at * lesson->job->step;
        const double *own = lesson->feature + ((int64_t)exit * lesson->n + at) * lesson->d;
        struct before before = {.looked = p >= 0};
        if (p >= 0) {
          const struct ex_answer *earlier = &trace->answer[ex__trace_at(trace, p, sample)];
          before.label = earlier->label;
          before.probability = earlier->label >= 0 ? earlier->max_probability : 0;
        }
        memcpy(feature, own, (size_t)lesson->d * sizeof *feature);
        recall(&before, &trace->answer[ex__trace_at(trace, exit, sample)], feature + lesson->d);
      }
}

static void fill_steps(const struct lesson *lesson, struct ex_routing *problem) {
  const struct ex_policy_fit *job = lesson->job;
  int32_t last = lesson->n_exits;
  double full = (double)ex__exit_step(job->trace, job->ns, -1, last);
  for (int32_t to = 0; to <= last; to++)
    for (int32_t from = -1; from < to; from++)
      problem->step[1 + from][to] = (double)ex__exit_step(job->trace, job->ns, from, to) / full;
}

static void write_route(const struct ex_route *route, int32_t n_points, int32_t d,
                        struct adaptive *rule) {
  rule->first = route->first;
  if (route->first == n_points - 1) return; /* as without gates */
  rule->gates =
      (struct ex_table){.n_rows = ex__route_row(n_points, n_points - 1, 0), .n_columns = 1 + d};
  for (int32_t exit = 0; exit < n_points - 1; exit++)
    for (int32_t option = 0; option < n_points - 1 - exit; option++)
      write_row(&route->gate[exit][option], d,
                rule->gates.value[ex__route_row(n_points, exit, option)]);
}

static enum ex_status learn_any(struct lesson *lesson, struct adaptive *rule,
                                struct ex_error *err) {
  int32_t n_points = lesson->n_exits + 1, d = lesson->d + PRIOR;
  if (n_points > EX_MAX_ROUTED)
    return ex__fail(err, EX_EINVAL, "adaptive: successors = any with %d exits; must be at most %d",
                    (int)n_points, EX_MAX_ROUTED);
  size_t rows = (size_t)lesson->n_exits * (size_t)n_points * (size_t)lesson->n;
  double *feature = ex__alloc(rows * (size_t)d, sizeof *feature);
  if (feature == NULL)
    return ex__fail(err, EX_ENOMEM, "adaptive: no memory for %d samples", (int)lesson->n);
  fill_routed(lesson, feature);
  struct ex_routing problem = {.n = lesson->n,
                               .n_exits = n_points,
                               .d = d,
                               .feature = feature,
                               .price = lesson->price,
                               .l2 = rule->l2,
                               .exact = rule->threshold == EXACT,
                               .oracle = rule->downstream == ORACLE,
                               .sweeps = rule->sweeps};
  fill_steps(lesson, &problem);
  struct ex_route route;
  enum ex_status status = ex__routing_fit(&problem, &route, err);
  if (status == EX_OK) write_route(&route, n_points, d, rule);
  ex__free(feature);
  return status;
}

/* ---- either ------------------------------------------------------------------- */

/* Whether going past an exit may save more than its head. */
static bool passes_bodies(const ex_trace *trace) {
  for (int32_t p = 1; p < trace->n_points; p++)
    if ((trace->bodies[p - 1] & ~trace->bodies[p]) != 0) return true;
  return false;
}

static enum ex_status learn(struct lesson *lesson, struct adaptive *rule, struct ex_error *err) {
  const ex_trace *trace = lesson->job->trace;
  bool any = rule->successors == ANY ||
             (rule->successors == AUTO && trace->n_points <= EX_MAX_ROUTED && passes_bodies(trace));
  fill(lesson);
  return any ? learn_any(lesson, rule, err) : learn_next(lesson, rule, err);
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
  rule->first = 0;
  if (rule->lambda >= PRICELESS || lesson.n_exits == 0) return EX_OK;
  size_t rows = (size_t)lesson.n_exits * (size_t)lesson.n;
  lesson.feature = ex__calloc(rows * (size_t)lesson.d, sizeof *lesson.feature);
  lesson.price = ex__calloc(rows, sizeof *lesson.price);
  enum ex_status status =
      lesson.feature != NULL && lesson.price != NULL
          ? learn(&lesson, rule, err)
          : ex__fail(err, EX_ENOMEM, "adaptive: no memory for %d samples", (int)lesson.n);
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

/* Whether the gates choose among all later exits. */
static bool is_routed(const struct adaptive *rule) {
  return rule->gates.n_columns == 1 + ex__n_confidences(rule->top) + PRIOR;
}

static enum ex_status check(const void *values, int32_t n_points, int32_t n_outputs,
                            struct ex_error *err) {
  const struct adaptive *rule = values;
  (void)n_outputs;
  int32_t rows = rule->gates.n_rows, columns = rule->gates.n_columns;
  int32_t next = 1 + ex__n_confidences(rule->top);
  if (rule->first > 0 && rule->first >= n_points)
    return ex__fail(err, EX_EINVAL, "adaptive: first = %d; must be below %d, the exits",
                    (int)rule->first, (int)n_points);
  if (rows == 0 || (rows == n_points - 1 && columns == next) ||
      (n_points <= EX_MAX_ROUTED && rows == ex__route_row(n_points, n_points - 1, 0) &&
       columns == next + PRIOR))
    return EX_OK;
  return ex__fail(
      err, EX_EINVAL,
      "adaptive: gates has %d rows of %d; must have %d rows, one per exit but the last, "
      "of %d: a threshold and a weight per feature; or %d rows of %d where any exit may be next",
      (int)rows, (int)columns, (int)n_points - 1, (int)next,
      (int)ex__route_row(n_points, n_points - 1, 0), (int)next + PRIOR);
}

/* Without weights the sum is 0, so a threshold above it lets nobody leave. */
static bool skips(const void *values, int32_t point, int32_t n_points) {
  const struct adaptive *rule = values;
  (void)n_points;
  if (rule->gates.n_rows == 0) return true;
  if (is_routed(rule)) return point < rule->first;
  const double *row = rule->gates.value[point];
  bool sloped = false;
  for (int32_t j = 1; j < rule->gates.n_columns; j++) sloped = sloped || row[j] != 0;
  return !sloped && row[0] > 0;
}

static double score_of(const double *row, const double *feature, int32_t columns) {
  return ex__gate_score(row + 1, feature, columns - 1);
}

/* The first option whose gate fires: 0 leaves, t goes t exits on; else the last exit. */
static struct ex_decision choose(const struct adaptive *rule, struct before *before,
                                 const struct ex_observation *seen) {
  double feature[EX_MAX_CONFIDENCES + PRIOR];
  int32_t last = seen->n_points - 1 - seen->point, option = 0;
  ex__confidences(&seen->answer, seen->probability, seen->n_outputs, rule->top, feature);
  recall(before, &seen->answer, feature + ex__n_confidences(rule->top));
  for (; option < last; option++) {
    const double *row = rule->gates.value[ex__route_row(seen->n_points, seen->point, option)];
    double score = score_of(row, feature, rule->gates.n_columns);
    if (option == 0) before->score = score;
    if (score >= row[0]) break;
  }
  before->looked = true;
  before->label = seen->answer.label;
  before->probability = seen->answer.max_probability;
  if (option == 0) return (struct ex_decision){EX_LEAVE, seen->point};
  return (struct ex_decision){option == 1 ? EX_GO_ON : EX_GO_TO, seen->point + option};
}

/* What the gate of an exit makes of it, in the form `next`; leaves from row[0] on. */
static double score_at(const struct adaptive *rule, const struct ex_observation *seen) {
  double feature[EX_MAX_CONFIDENCES];
  ex__confidences(&seen->answer, seen->probability, seen->n_outputs, rule->top, feature);
  return score_of(rule->gates.value[seen->point], feature, rule->gates.n_columns);
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct adaptive *rule = values;
  (void)env;
  if (seen->point == seen->n_points - 1 || rule->gates.n_rows == 0)
    return (struct ex_decision){EX_GO_ON, seen->point};
  if (is_routed(rule)) return choose(rule, scratch, seen);
  bool leave = score_at(rule, seen) >= rule->gates.value[seen->point][0];
  return (struct ex_decision){leave ? EX_LEAVE : EX_GO_ON, seen->point};
}

static struct ex_reading read(const void *values, const void *scratch,
                              const struct ex_observation *seen) {
  const struct adaptive *rule = values;
  const struct before *before = scratch;
  if (rule->gates.n_rows == 0) return (struct ex_reading){.what = NULL};
  if (!is_routed(rule))
    return (struct ex_reading){"gate", score_at(rule, seen), rule->gates.value[seen->point][0],
                               false};
  int32_t row = ex__route_row(seen->n_points, seen->point, 0);
  return (struct ex_reading){"gate", before->score, rule->gates.value[row][0], false};
}

extern const struct ex_policy_class ex__policy_adaptive;
const struct ex_policy_class ex__policy_adaptive = {
    .name = "adaptive",
    .cite = "Adaptive Neural Networks (Bolukbasi et al., ICML 2017)",
    .summary = "Leaves where a gate that was learned for this exit says that going on costs more "
               "than the errors that it would spare; among joined networks, further gates say "
               "which to ask next. One knob, the price of an error.",
    .params = params,
    .size = sizeof(struct adaptive),
    .scratch_size = sizeof(struct before),
    .candidate = candidate,
    .fit = fit,
    .fit_each = true,
    .skips = skips,
    .check = check,
    .decide = decide,
    .read = read,
};
