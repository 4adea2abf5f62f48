/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_classy: early exits for the classes of interest alone (Ayyat, Nadeem &
 * Krawczyk, "ClassyNet", IEEE Internet of Things Journal 11(9), 2024). An urgent input
 * is answered early, everything else goes on, whatever it is sure of.
 *
 * From the paper's abstract: no formula of loss or gate was to be had, so what follows
 * is a reconstruction. Heads are whole: all classes take part in the softmax, since one
 * over the classes of interest alone would be sure of strangers. At an exit that is not
 * the last a sample leaves if its answer is a class c of interest and its probability
 * reaches the exit's threshold for c: the least at which, on a held-out split, of those
 * that have come this far and would leave here as c at least `precision` are c. No such
 * threshold: nobody leaves here as c. The last exit answers with any class. `from` tells
 * at which exit each class may first leave, so that the sets grow with depth; without it
 * the set is the same at every early exit.
 *
 * `others` = refuse: a sample whose answer is not of interest may leave as well, where
 * the classes of interest together have so little probability that at least `precision`
 * of such samples are none of them. Its label, a class outside the set, means "not of
 * interest" and is no better than that.
 *
 * A request may narrow the set (struct ex_env). A class that was not fitted leaves
 * nowhere early, and nothing is refused, since the bound on refusals was fitted for the
 * whole set. Without `classes` all are of interest, up to EX_MAX_LIST of them.
 */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "policy/policy.h"

enum others { GO_ON, REFUSE };

struct classy {
  struct ex_list classes, from;
  double precision;
  int32_t others;
  struct ex_list column;     /* the class of each column of `threshold` */
  struct ex_table threshold; /* per exit but the last and column; above 1: none */
  struct ex_list refusal;    /* per exit but the last: refused below this */
};

static const char *const others[] = {"go-on", "refuse", NULL};
static const double OFF = 2, CANDIDATES = 51; /* precisions of 1, 0.99, … 0.5 */

#define FIELD(name) offsetof(struct classy, name)
static const struct ex_param params[] = {
    {"classes", EX_PARAM_LIST, FIELD(classes), 0, 1e6, "", NULL,
     "Classes of interest, by number from 0, which may leave early; none given: all."},
    {"from", EX_PARAM_LIST, FIELD(from), 0, EX_MAX_POINTS, "", NULL,
     "Exit, from 0, at which each class of interest may first leave, in the order of classes; none "
     "given: the first."},
    {"precision", EX_PARAM_REAL, FIELD(precision), 0, 2, "2", NULL,
     "Of those that leave early as a class, the share that must be of it; above 1: nobody leaves "
     "early."},
    {"others", EX_PARAM_ENUM, FIELD(others), 0, 0, "go-on", others,
     "What is not of interest goes on, or is refused where that is clear: answered early by a "
     "label outside the classes of interest, of no worth. That loses accuracy on all classes: "
     "calibrate it by --max-macs."},
    {"column", EX_PARAM_LIST, FIELD(column), 0, 1e6, "", NULL,
     "Fitted: the class of each column of threshold."},
    {"threshold", EX_PARAM_TABLE, FIELD(threshold), 0, 2, "", NULL,
     "Fitted: the probability at which each class leaves an exit; above 1: it does not."},
    {"refusal", EX_PARAM_LIST, FIELD(refusal), 0, 2, "", NULL,
     "Fitted: the probability of all classes of interest below which an exit refuses."},
    {.name = NULL},
};

/* ---- sets of classes -------------------------------------------------------- */

static int32_t place_in(const struct ex_list *list, int32_t class) {
  for (int32_t i = 0; i < list->n; i++)
    if ((int32_t)list->value[i] == class) return i;
  return -1;
}

/* Whether a class is in the set of an exit. */
static bool in_set(const struct classy *rule, int32_t point, int32_t class) {
  int32_t place = rule->classes.n > 0 ? place_in(&rule->classes, class) : class;
  return place >= 0 && (place >= rule->from.n || point >= (int32_t)rule->from.value[place]);
}

/* The column of a class that may leave here, by the rule and by the request; −1: none. */
static int32_t column_of(const struct classy *rule, const struct ex_env *env, int32_t point,
                         int32_t class) {
  if (!in_set(rule, point, class)) return -1;
  bool wanted = env == NULL || env->classes == NULL;
  for (int32_t i = 0; !wanted && i < env->n_classes; i++) wanted = env->classes[i] == class;
  return wanted ? place_in(&rule->column, class) : -1;
}

static enum ex_status check_list(const char *name, const struct ex_list *list, int32_t n_outputs,
                                 struct ex_error *err) {
  for (int32_t i = 0; i < list->n; i++) {
    double class = list->value[i];
    if (class != floor(class) || class >= n_outputs)
      return ex__fail(err, EX_EINVAL, "classy: %s has %g; must be whole numbers below %d", name,
                      class, (int)n_outputs);
    if (place_in(list, (int32_t) class) != i)
      return ex__fail(err, EX_EINVAL, "classy: %s has %g twice; must have each class once", name,
                      class);
  }
  return EX_OK;
}

static enum ex_status check_from(const struct classy *rule, int32_t n_outputs,
                                 struct ex_error *err) {
  int32_t wanted = rule->classes.n > 0 ? rule->classes.n : n_outputs;
  for (int32_t i = 0; i < rule->from.n; i++)
    if (rule->from.value[i] != floor(rule->from.value[i]))
      return ex__fail(err, EX_EINVAL, "classy: from has %g; must be whole numbers",
                      rule->from.value[i]);
  if (rule->from.n == 0 || rule->from.n == wanted) return EX_OK;
  return ex__fail(err, EX_EINVAL,
                  "classy: from has %d numbers; must have %d, one for each class of interest",
                  (int)rule->from.n, (int)wanted);
}

static enum ex_status check(const void *values, int32_t n_points, int32_t n_outputs,
                            struct ex_error *err) {
  const struct classy *rule = values;
  EX_TRY(check_list("classes", &rule->classes, n_outputs, err));
  EX_TRY(check_from(rule, n_outputs, err));
  EX_TRY(check_list("column", &rule->column, n_outputs, err));
  if (rule->column.n == 0 && rule->threshold.n_rows == 0 && rule->refusal.n == 0) return EX_OK;
  if (n_points > 1 && rule->threshold.n_columns == rule->column.n &&
      rule->threshold.n_rows == n_points - 1 && rule->refusal.n == n_points - 1)
    return EX_OK;
  return ex__fail(err, EX_EINVAL,
                  "classy: threshold has %d rows of %d, refusal %d numbers; must have %d, one per "
                  "exit but the last, and a column for each of the %d classes",
                  (int)rule->threshold.n_rows, (int)rule->threshold.n_columns, (int)rule->refusal.n,
                  (int)n_points - 1, (int)rule->column.n);
}

/* ---- learning --------------------------------------------------------------- */

struct seen {
  double sure; /* higher leaves first */
  int32_t right, sample;
};

static int surest_first(const void *left, const void *right) {
  const struct seen *a = left, *b = right;
  return a->sure != b->sure ? (a->sure < b->sure) - (a->sure > b->sure)
                            : (a->sample > b->sample) - (a->sample < b->sample);
}

/* How many of n may leave, surest first and equals together, so that the share
 * `precision` of them is right: the most. Sorts them. */
static int32_t most_precise(struct seen *seen, int32_t n, double precision) {
  int32_t most = 0, right = 0;
  qsort(seen, (size_t)n, sizeof *seen, surest_first);
  for (int32_t i = 0; i < n; i++) {
    right += seen[i].right;
    bool tied = i + 1 < n && seen[i + 1].sure == seen[i].sure;
    if (!tied && right >= precision * (i + 1)) most = i + 1;
  }
  return most;
}

struct fitting {
  const struct ex_policy_fit *job;
  struct classy *rule;
  struct seen *seen; /* [n] */
  bool *gone;        /* [n]: has left */
};

static double mass_of(const struct classy *rule, const ex_real *probability) {
  double sum = 0;
  for (int32_t i = 0; i < rule->column.n; i++)
    sum += (double)probability[(int32_t)rule->column.value[i]];
  return sum;
}

static void leave(const struct fitting *fitting, int32_t n) {
  for (int32_t i = 0; i < n; i++) fitting->gone[fitting->seen[i].sample] = true;
}

static void fit_class(const struct fitting *fitting, int32_t point, int32_t column) {
  const ex_trace *trace = fitting->job->trace;
  struct classy *rule = fitting->rule;
  int32_t class = (int32_t)rule->column.value[column], n = 0;
  rule->threshold.value[point][column] = OFF;
  if (!in_set(rule, point, class)) return;
  for (int32_t i = fitting->job->first; i < trace->n; i += fitting->job->step) {
    const struct ex_answer *answer = &trace->answer[ex__trace_at(trace, point, i)];
    if (!fitting->gone[i] && answer->label == class)
      fitting->seen[n++] = (struct seen){answer->max_probability, trace->target[i] == class, i};
  }
  int32_t most = most_precise(fitting->seen, n, rule->precision);
  if (most > 0) rule->threshold.value[point][column] = fitting->seen[most - 1].sure;
  leave(fitting, most);
}

static void fit_refusal(const struct fitting *fitting, int32_t point) {
  const ex_trace *trace = fitting->job->trace;
  struct classy *rule = fitting->rule;
  int32_t n = 0;
  for (int32_t i = fitting->job->first; i < trace->n; i += fitting->job->step) {
    int64_t at = ex__trace_at(trace, point, i);
    int32_t label = trace->answer[at].label;
    if (fitting->gone[i] || label < 0 || place_in(&rule->column, label) >= 0) continue;
    fitting->seen[n++] = (struct seen){-mass_of(rule, trace->probability + at * trace->n_outputs),
                                       place_in(&rule->column, trace->target[i]) < 0, i};
  }
  int32_t most = most_precise(fitting->seen, n, rule->precision);
  rule->refusal.value[point] =
      most > 0 ? fmin(nextafter(-fitting->seen[most - 1].sure, INFINITY), OFF) : 0;
  leave(fitting, most);
}

static enum ex_status choose_columns(struct classy *rule, int32_t n_outputs, struct ex_error *err) {
  rule->column = rule->classes;
  if (rule->classes.n > 0) return EX_OK;
  if (n_outputs > EX_MAX_LIST)
    return ex__fail(err, EX_EINVAL,
                    "classy: no classes of interest; must name 1 to %d of the network's %d",
                    EX_MAX_LIST, (int)n_outputs);
  rule->column.n = n_outputs;
  for (int32_t c = 0; c < n_outputs; c++) rule->column.value[c] = c;
  return EX_OK;
}

static enum ex_status fit(void *values, const struct ex_policy_fit *job, struct ex_error *err) {
  struct classy *rule = values;
  const ex_trace *trace = job->trace;
  if (trace->n_points < 2) return EX_OK; /* nothing is early */
  EX_TRY(choose_columns(rule, trace->n_outputs, err));
  struct fitting fitting = {job, rule, ex__alloc((size_t)trace->n, sizeof *fitting.seen),
                            ex__calloc((size_t)trace->n, sizeof *fitting.gone)};
  rule->threshold = (struct ex_table){.n_rows = trace->n_points - 1, .n_columns = rule->column.n};
  rule->refusal = (struct ex_list){.n = trace->n_points - 1};
  bool memory = fitting.seen != NULL && fitting.gone != NULL;
  for (int32_t p = 0; memory && p < trace->n_points - 1; p++) {
    for (int32_t c = 0; c < rule->column.n; c++) fit_class(&fitting, p, c);
    if (rule->others == REFUSE) fit_refusal(&fitting, p);
  }
  ex__free(fitting.seen);
  ex__free(fitting.gone);
  return memory ? EX_OK
                : ex__fail(err, EX_ENOMEM, "classy: no memory for %d samples", (int)trace->n);
}

/* From nobody leaves to those do whose class is right half of the time. */
static bool candidate(void *values, int32_t n_points, int32_t index) {
  struct classy *rule = values;
  (void)n_points;
  if (index > CANDIDATES) return false;
  rule->precision = index == 0 ? OFF : 1 - 0.01 * (index - 1);
  return true;
}

/* ---- deciding --------------------------------------------------------------- */

/* Whether anybody may leave at a point (not the last). */
static bool of_use(const struct classy *rule, const struct ex_env *env, int32_t point) {
  bool narrowed = env != NULL && env->classes != NULL;
  if (rule->others == REFUSE && !narrowed && rule->refusal.value[point] > 0) return true;
  for (int32_t i = 0; i < rule->column.n; i++)
    if (rule->threshold.value[point][i] <= 1 &&
        column_of(rule, env, point, (int32_t)rule->column.value[i]) >= 0)
      return true;
  return false;
}

static bool skips(const void *values, int32_t point, int32_t n_points) {
  const struct classy *rule = values;
  (void)n_points;
  return rule->precision > 1 || rule->column.n == 0 || !of_use(rule, NULL, point);
}

/* Scratch is what was gone by: a label outside the set has nothing to reach. */
static bool leaves(const struct classy *rule, const struct ex_env *env,
                   const struct ex_observation *seen, struct ex_reading *reading) {
  int32_t column = column_of(rule, env, seen->point, seen->answer.label);
  if (column >= 0) {
    double threshold = rule->threshold.value[seen->point][column];
    *reading = (struct ex_reading){"probability of its class", seen->answer.max_probability,
                                   threshold, false};
    return seen->answer.max_probability >= threshold;
  }
  *reading = (struct ex_reading){.what = NULL}; /* not of interest */
  if (rule->others != REFUSE || env->classes != NULL ||
      place_in(&rule->column, seen->answer.label) >= 0)
    return false;
  double mass = mass_of(rule, seen->probability);
  *reading = (struct ex_reading){"probability of what is of interest", mass,
                                 rule->refusal.value[seen->point], true};
  return mass < rule->refusal.value[seen->point];
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct classy *rule = values;
  int32_t last = seen->n_points - 1, next = seen->point + 1;
  if (seen->point == last || rule->column.n == 0)
    return (struct ex_decision){EX_GO_ON, seen->point};
  if (leaves(rule, env, seen, scratch)) return (struct ex_decision){EX_LEAVE, seen->point};
  if (env->classes == NULL) return (struct ex_decision){EX_GO_ON, seen->point};
  while (next < last && !of_use(rule, env, next)) next++; /* for this request, that is */
  return (struct ex_decision){EX_GO_TO, next};
}

static struct ex_reading read(const void *values, const void *scratch,
                              const struct ex_observation *seen) {
  (void)values;
  (void)seen;
  return *(const struct ex_reading *)scratch;
}

extern const struct ex_policy_class ex__policy_classy;
const struct ex_policy_class ex__policy_classy = {
    .name = "classy",
    .cite = "ClassyNet (Ayyat et al., IEEE Internet of Things Journal, 2024)",
    .summary = "Early exits for the classes of interest alone, each with a threshold of its own at "
               "each exit, fitted to a precision. A request may narrow the set.",
    .params = params,
    .size = sizeof(struct classy),
    .scratch_size = sizeof(struct ex_reading),
    .needs = EX_POLICY_READS_CLASSES,
    .classes_offset = FIELD(classes),
    .candidate = candidate,
    .fit = fit,
    .fit_each = true,
    .skips = skips,
    .check = check,
    .decide = decide,
    .read = read,
};
