/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_lte: learning to exit (Xin, Tang, Yu, Lin, "BERxiT: Early Exiting for
 * BERT with Better Fine-Tuning and Extension to Regression", EACL 2021; the authors'
 * code castorini/berxit).
 *
 * One linear layer with a sigmoid, the same at every exit, says how uncertain an
 * answer is, the chance that it is wrong,
 *
 *     u = sigmoid(b + c · x);
 *
 * it is trained by squared error against 1 where the exit's answer is wrong and 0
 * where it is right, and a sample leaves at the first exit with u < `uncertainty`: at
 * 0 nobody does, above 1 everybody at the first. Being shared, it learns from the
 * errors of all exits together; an exit has no threshold of its own.
 *
 * Reconstruction: x. The paper's is the transformer's hidden state at that layer,
 * which has the same meaning at every layer; the layers of other networks have not, nor
 * does a trace record them, so x is what the exit's probabilities show
 * (policy/confidences). The paper trains the layer with the network, in turns; here it
 * is learned after it, on samples that did not train the network: there an answer that
 * is wrong is no rarity. Ours besides: the last exit, which decides nothing, is left
 * out; a small penalty (`l2`) keeps weights finite where errors can be told apart
 * exactly; and the minimum is sought by L-BFGS, from that of the cross-entropy, since
 * squared error of a sigmoid has more than one. No regression: answers are classes.
 */
#include <math.h>

#include "base/logistic.h"
#include "base/memory.h"
#include "base/minimise.h"
#include "policy/confidences.h"
#include "policy/policy.h"

enum { CANDIDATES = 160, MAX_WEIGHTS = 1 + EX_MAX_CONFIDENCES, MAX_CALLS = 200 };

struct lte {
  double uncertainty, l2;
  int32_t top;
  struct ex_list weights; /* intercept first, then one per feature */
};

struct gone_by { /* scratch: what the last decision went by */
  double uncertainty;
};

#define FIELD(name) offsetof(struct lte, name)
static const struct ex_param params[] = {
    {"uncertainty", EX_PARAM_REAL, FIELD(uncertainty), 0, 2, "0", NULL,
     "Leave below this chance of being wrong; 0: nobody leaves early; above 1: everybody at the "
     "first exit."},
    {"l2", EX_PARAM_REAL, FIELD(l2), 1e-12, 1e3, "1e-6", NULL,
     "Penalty of the weights, for features of unit spread, beside the mean squared error."},
    {"top", EX_PARAM_INT, FIELD(top), 2, EX_MAX_TOP, "5", NULL,
     "How many of the largest probabilities are read."},
    {"weights", EX_PARAM_LIST, FIELD(weights), -1e9, 1e9, "", NULL,
     "Fitted, for all exits: an intercept, and the weights of largest probability, margin, "
     "entropy, third largest probability and so on."},
    {.name = NULL},
};

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* ---- learning --------------------------------------------------------------- */

struct lesson {
  int32_t n, d; /* answers of all exits together */
  double *x;    /* [n][d], about their mean in units of their spread */
  uint8_t *wrong;
  double *weight;
  double l2, mean[EX_MAX_CONFIDENCES], spread[EX_MAX_CONFIDENCES]; /* spread 0: says nothing */
};

static void gather(const struct ex_policy_fit *job, int32_t top, struct lesson *lesson) {
  const ex_trace *trace = job->trace;
  for (int32_t point = 0; point < trace->n_points - 1; point++)
    for (int32_t i = job->first; i < trace->n; i += job->step) {
      int64_t at = ex__trace_at(trace, point, i);
      const struct ex_answer *answer = &trace->answer[at];
      if (answer->label < 0) continue; /* not finite: it never leaves */
      ex__confidences(answer, trace->probability + at * trace->n_outputs, trace->n_outputs, top,
                      lesson->x + (int64_t)lesson->n * lesson->d);
      lesson->wrong[lesson->n] = answer->label != trace->target[i];
      lesson->weight[lesson->n++] = 1;
    }
}

static void standardise(struct lesson *lesson) {
  for (int32_t j = 0; j < lesson->d; j++) {
    double sum = 0, squares = 0, *x = lesson->x + j;
    for (int32_t i = 0; i < lesson->n; i++) sum += x[(int64_t)i * lesson->d];
    double mean = sum / lesson->n;
    for (int32_t i = 0; i < lesson->n; i++) {
      double off = x[(int64_t)i * lesson->d] - mean;
      squares += off * off;
    }
    double spread = sqrt(squares / lesson->n);
    if (spread <= 1e-12 * (1 + fabs(mean))) spread = 0;
    for (int32_t i = 0; i < lesson->n; i++) {
      double *value = &x[(int64_t)i * lesson->d];
      *value = spread > 0 ? (*value - mean) / spread : 0;
    }
    lesson->mean[j] = mean;
    lesson->spread[j] = spread;
  }
}

/* Mean squared error and the penalty, whose intercept's part is a thousandth, as in
 * base/logistic. */
static double squared_error(void *context, const double *w, double *gradient) {
  const struct lesson *lesson = context;
  int32_t d = lesson->d;
  double sum = 0, g[MAX_WEIGHTS] = {0};
  for (int32_t i = 0; i < lesson->n; i++) {
    const double *x = lesson->x + (int64_t)i * d;
    double z = w[0];
    for (int32_t j = 0; j < d; j++) z += w[1 + j] * x[j];
    double u = sigmoid(z), error = u - lesson->wrong[i], slope = 2 * error * u * (1 - u);
    sum += error * error;
    g[0] += slope;
    for (int32_t j = 0; j < d; j++) g[1 + j] += slope * x[j];
  }
  sum /= lesson->n;
  for (int32_t j = 0; j <= d; j++) {
    double l2 = j == 0 ? lesson->l2 / 1000 : lesson->l2;
    sum += l2 / 2 * w[j] * w[j];
    gradient[j] = g[j] / lesson->n + l2 * w[j];
  }
  return sum;
}

static void learn(struct lesson *lesson, double *scratch, struct ex_list *weights) {
  double w[MAX_WEIGHTS];
  const struct ex_logistic start = {lesson->n,     lesson->d,      lesson->x,
                                    lesson->wrong, lesson->weight, lesson->l2};
  const struct ex_objective objective = {1 + lesson->d, squared_error, lesson};
  standardise(lesson);
  ex__logistic_fit(&start, w);
  ex__minimise(&objective, 1e-8, MAX_CALLS, w, scratch);
  *weights = (struct ex_list){.n = 1 + lesson->d};
  weights->value[0] = w[0];
  for (int32_t j = 0; j < lesson->d; j++) {
    if (!(lesson->spread[j] > 0)) continue;
    weights->value[1 + j] = w[1 + j] / lesson->spread[j];
    weights->value[0] -= weights->value[1 + j] * lesson->mean[j];
  }
}

static enum ex_status fit(void *values, const struct ex_policy_fit *job, struct ex_error *err) {
  struct lte *rule = values;
  const ex_trace *trace = job->trace;
  struct lesson lesson = {.d = ex__n_confidences(rule->top), .l2 = rule->l2};
  size_t rows = (size_t)trace->n * (size_t)trace->n_points;
  rule->weights = (struct ex_list){.n = 0};
  lesson.x = ex__alloc(rows * (size_t)lesson.d, sizeof *lesson.x);
  lesson.wrong = ex__alloc(rows, sizeof *lesson.wrong);
  lesson.weight = ex__alloc(rows, sizeof *lesson.weight);
  double *scratch = ex__alloc(ex__minimise_scratch(1 + lesson.d), sizeof *scratch);
  enum ex_status status = EX_OK;
  if (lesson.x == NULL || lesson.wrong == NULL || lesson.weight == NULL || scratch == NULL) {
    status = ex__fail(err, EX_ENOMEM, "lte: no memory for %d samples", (int)trace->n);
  } else {
    gather(job, rule->top, &lesson);
    if (lesson.n > 0) learn(&lesson, scratch, &rule->weights);
  }
  ex__free(lesson.x);
  ex__free(lesson.wrong);
  ex__free(lesson.weight);
  ex__free(scratch);
  return status;
}

/* ---- deciding --------------------------------------------------------------- */

static enum ex_status check(const void *values, int32_t n_points, int32_t n_outputs,
                            struct ex_error *err) {
  const struct lte *rule = values;
  (void)n_points, (void)n_outputs;
  int32_t wanted = 1 + ex__n_confidences(rule->top);
  if (rule->weights.n == 0 || rule->weights.n == wanted) return EX_OK;
  return ex__fail(err, EX_EINVAL,
                  "lte: weights has %d numbers; must have %d: an intercept, and one per feature, "
                  "of which top = %d makes %d",
                  (int)rule->weights.n, (int)wanted, (int)rule->top, (int)wanted - 1);
}

/* Nobody, then 0.0005 to above 1, a twentieth more each time. */
static bool candidate(void *values, int32_t n_points, int32_t index) {
  struct lte *rule = values;
  (void)n_points;
  rule->uncertainty = index == 0 ? 0 : fmin(0.0005 * pow(1.05, index - 1), 1.1);
  return index <= CANDIDATES;
}

static bool skips(const void *values, int32_t point, int32_t n_points) {
  const struct lte *rule = values;
  (void)point, (void)n_points;
  return rule->uncertainty <= 0 || rule->weights.n == 0;
}

static double uncertainty_of(const struct lte *rule, const struct ex_observation *seen) {
  double x[EX_MAX_CONFIDENCES], sum = rule->weights.value[0];
  ex__confidences(&seen->answer, seen->probability, seen->n_outputs, rule->top, x);
  for (int32_t j = 1; j < rule->weights.n; j++) sum += rule->weights.value[j] * x[j - 1];
  return sigmoid(sum);
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct lte *rule = values;
  struct gone_by *gone_by = scratch;
  (void)env;
  gone_by->uncertainty = NAN;
  if (seen->point == seen->n_points - 1 || rule->weights.n == 0)
    return (struct ex_decision){EX_GO_ON, seen->point};
  gone_by->uncertainty = uncertainty_of(rule, seen);
  bool leave = gone_by->uncertainty < rule->uncertainty;
  return (struct ex_decision){leave ? EX_LEAVE : EX_GO_ON, seen->point};
}

static struct ex_reading read(const void *values, const void *scratch,
                              const struct ex_observation *seen) {
  const struct lte *rule = values;
  const struct gone_by *gone_by = scratch;
  (void)seen;
  return (struct ex_reading){"uncertainty", gone_by->uncertainty, rule->uncertainty, true};
}

extern const struct ex_policy_class ex__policy_lte;
const struct ex_policy_class ex__policy_lte = {
    .name = "lte",
    .cite = "BERxiT (Xin et al., EACL 2021)",
    .summary = "Leaves where one learned layer, shared by all exits, holds a wrong answer unlikely "
               "enough. One knob, the uncertainty.",
    .params = params,
    .size = sizeof(struct lte),
    .scratch_size = sizeof(struct gone_by),
    .candidate = candidate,
    .fit = fit,
    .skips = skips,
    .check = check,
    .decide = decide,
    .read = read,
};
