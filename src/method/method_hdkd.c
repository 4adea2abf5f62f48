/* SPDX-License-Identifier: Apache-2.0
 *
 * method/hdkd: Wang and Li, "Harmonized Dense Knowledge Distillation Training
 * for Multi-Exit Architectures" (AAAI 2021). Every exit learns from its labels
 * and from all later exits,
 *
 *     L(θ; γ) = Σ_i γ_i CE_i + Σ_{j<i} γ_ij KD(i→j),
 *
 * and every weight γ is learned: after a virtual step θ'(γ) on a training batch,
 * the loss of held-out samples is differentiated by γ (method/bilevel.h), γ moves
 * down, and the real step is made with the new γ.
 *
 * No code is public, and the paper's text was not at hand: the alternation, the
 * dense terms and the balanced validation loss are known from its abstract and
 * from a summary by others. Reconstructions:
 * - γ = softplus(a), a moved by Adam; a weight that begins at 0 stays there. By
 *   default the sum of all weights is kept (`keep-sum`), as a common factor would
 *   only be another learning rate.
 * - The validation loss is alpha · mean CE_i + (1 − alpha) · mean softplus(CE_i / m_i
 *   − 1), m_i being the exit's running mean on held-out samples, held constant.
 * - Temperature 3, and first weights 1 for labels, as in joint training, 1 for the
 *   last teacher and 0.1 for others.
 * - The virtual step is the optimiser's own, with its moments and decay.
 */
#include "method/hdkd.h"

#include <math.h>
#include <string.h>

#include "method/bilevel.h"

struct hdkd {
  double label, last, others; /* first weights */
  double rate, alpha, memory;
  int32_t every, keep_sum;
  struct ex_temperature temperature;
};

#define FIELD(name) offsetof(struct hdkd, name)

static const struct ex_param params[] = {
    {"label", EX_PARAM_REAL, FIELD(label), 0, 100, "1", NULL,
     "First weight of each exit's labels."},
    {"last", EX_PARAM_REAL, FIELD(last), 0, 100, "1", NULL,
     "First weight of what the last exit teaches an earlier one."},
    {"others", EX_PARAM_REAL, FIELD(others), 0, 100, "0.1", NULL,
     "First weight of what any other exit teaches an earlier one."},
    {"rate", EX_PARAM_REAL, FIELD(rate), 0, 1, "0.001", NULL,
     "Adam's learning rate of the weights; 0: they stay."},
    {"every", EX_PARAM_INT, FIELD(every), 1, 1000, "1", NULL,
     "Steps from one update of the weights to the next."},
    {"keep-sum", EX_PARAM_BOOL, FIELD(keep_sum), 0, 1, "true", NULL,
     "The sum of the weights stays, so that they cannot become a learning rate."},
    {"alpha", EX_PARAM_REAL, FIELD(alpha), 0, 1, "0.5", NULL,
     "Share of plain cross-entropy in the loss of held-out samples; the rest compares each exit "
     "with what is expected of it."},
    {"memory", EX_PARAM_REAL, FIELD(memory), 0, 0.9999, "0.9", NULL,
     "Of the running mean of each exit's loss on held-out samples."},
    EX_TEMPERATURE_PARAMS(FIELD(temperature), "3", "false"),
    {0}};

static enum ex_status check(const void *values, int32_t n_points, struct ex_error *err) {
  const struct hdkd *own = values;
  (void)n_points;
  if (!(own->label > 0))
    return ex__fail(err, EX_EINVAL, "hdkd: label = 0; the labels' first weight must be above 0");
  return ex__temperature_check("hdkd", &own->temperature, err);
}

/* ---- weights ---------------------------------------------------------------- */

static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* Of the term's student, or of the point whose labels it has. */
static int32_t point_of(int32_t n_points, int32_t term) {
  if (term < n_points) return term;
  int32_t teacher = 1;
  while (ex__teaching_pair(n_points, teacher + 1, 0) <= term) teacher++;
  return term - ex__teaching_pair(n_points, teacher, 0);
}

static double first_weight(const struct hdkd *own, int32_t n_points, int32_t term) {
  if (term < n_points) return own->label;
  return term >= ex__teaching_pair(n_points, n_points - 1, 0) ? own->last : own->others;
}

/* The weights as they are, and what they are made of. Terms of exits that are not
 * trained have no weight and no part in the sum. */
struct weights {
  int32_t n;
  double factor;               /* γ = factor · softplus(a) */
  double gamma[EX_HDKD_TERMS]; /* 0 where the term is not trained */
};

static void weigh(const struct hdkd *own, const struct ex_hdkd_state *kept,
                  const struct ex_loss_call *call, struct weights *weights) {
  double first = 0, sum = 0;
  int32_t n_points = call->n_points, n = weights->n = ex__teaching_n_terms(n_points);
  for (int32_t m = 0; m < n; m++) {
    bool trained = call->doutput[point_of(n_points, m)] != NULL;
    weights->gamma[m] = trained ? softplus(kept->a[m]) : 0;
    sum += weights->gamma[m];
    first += trained ? first_weight(own, n_points, m) : 0;
  }
  weights->factor = own->keep_sum && sum > 0 ? first / sum : 1;
  for (int32_t m = 0; m < n; m++) weights->gamma[m] *= weights->factor;
}

/* slope [n]: dL/dγ on entry, dL/da on return. */
static void through_softplus(const struct hdkd *own, const struct ex_hdkd_state *kept,
                             const struct weights *weights, double *slope) {
  double sum = 0, mean = 0;
  for (int32_t m = 0; m < weights->n; m++) {
    sum += weights->gamma[m];
    mean += weights->gamma[m] * slope[m];
  }
  mean = own->keep_sum && sum > 0 ? mean / sum : 0;
  for (int32_t m = 0; m < weights->n; m++)
    slope[m] =
        weights->gamma[m] > 0 ? weights->factor * sigmoid(kept->a[m]) * (slope[m] - mean) : 0;
}

/* ---- the loss ----------------------------------------------------------------- */

static void needs(const void *values, const ex_net *net, int32_t batch, int32_t n_steps,
                  struct ex_method_needs *needs) {
  const struct hdkd *own = values;
  (void)n_steps;
  size_t terms = (size_t)ex__teaching_n_terms(net->n_points);
  size_t outputs = (size_t)net->n_points * (size_t)batch * (size_t)net->n_outputs;
  needs->state = sizeof(struct ex_hdkd_state);
  needs->scratch = 2 * terms * sizeof(double) + outputs * sizeof(ex_real);
  needs->work = EX_BILEVEL_WORK;
  needs->aside = own->rate > 0;
  needs->meta = true;
}

static void start(const void *values, const ex_net *net, uint64_t seed, void *state) {
  const struct hdkd *own = values;
  struct ex_hdkd_state *kept = state;
  (void)seed;
  kept->temperature = own->temperature.first;
  for (int32_t m = 0; m < ex__teaching_n_terms(net->n_points); m++) {
    double weight = first_weight(own, net->n_points, m);
    kept->a[m] = weight + log(-expm1(-weight)); /* softplus⁻¹; −∞ of 0 */
  }
}

static double taught(const struct hdkd *own, const struct ex_hdkd_state *kept,
                     const struct ex_loss_call *call) {
  struct ex_teaching teaching = {.temperature = kept->temperature};
  struct weights weights;
  int32_t n = call->n_points;
  weigh(own, kept, call, &weights);
  memcpy(teaching.label, weights.gamma, (size_t)n * sizeof *teaching.label);
  for (int32_t t = 1; t < n; t++)
    for (int32_t s = 0; s < t; s++)
      teaching.teach[t][s] = weights.gamma[ex__teaching_pair(n, t, s)];
  return ex__teaching_loss(call, &teaching);
}

static double loss(const void *values, void *state, const struct ex_loss_call *call) {
  const struct hdkd *own = values;
  struct ex_hdkd_state *kept = state;
  double sum = taught(own, kept, call);
  kept->temperature = ex__teaching_anneal(call, kept->temperature, &own->temperature);
  return sum;
}

/* ---- learning the weights ----------------------------------------------------- */

struct context {
  const struct hdkd *own;
  struct ex_hdkd_state *kept;
  ex_real *still;                        /* [n_points][n][n_outputs] outputs at θ */
  const ex_real *teacher[EX_MAX_POINTS]; /* into it */
};

static void inner(void *context, const struct ex_loss_call *call) {
  struct context *c = context;
  size_t size = (size_t)call->n * (size_t)call->n_outputs;
  taught(c->own, c->kept, call);
  for (int32_t k = 0; k < call->n_points; k++) {
    memcpy(c->still + (size_t)k * size, call->output[k], size * sizeof *c->still);
    c->teacher[k] = c->still + (size_t)k * size;
  }
}

/* What is expected of an exit follows its loss, and is then held constant. */
static double expect(const struct context *c, int32_t point, double loss) {
  double memory = c->own->memory, *expected = &c->kept->expected[point];
  *expected = memory * *expected + (1 - memory) * loss;
  return *expected / (1 - pow(memory, (double)(c->kept->adam.step + 1)));
}

static void outer(void *context, const struct ex_loss_call *call) {
  struct context *c = context;
  double alpha = c->own->alpha;
  int32_t n = 0;
  for (int32_t k = 0; k < call->n_points; k++) n += call->doutput[k] != NULL;
  for (int32_t k = 0; k < call->n_points; k++) {
    ex__method_cross_entropy(call, k, 0, 0);
    double loss = call->point_loss[k];
    if (call->doutput[k] == NULL || isnan(loss)) continue;
    double expected = expect(c, k, loss);
    double ratio = expected > 0 ? sigmoid(loss / expected - 1) / expected : 0;
    ex__method_cross_entropy(call, k, (alpha + (1 - alpha) * ratio) / n, 0);
  }
}

static void measure(void *context, const struct ex_loss_call *call, double *losses) {
  const struct context *c = context;
  ex__teaching_terms(call, c->teacher, c->kept->temperature, losses);
}

static void learn(const struct hdkd *own, struct ex_hdkd_state *kept, struct ex_trainer *trainer) {
  int32_t n = ex__teaching_n_terms(trainer->call->n_points);
  double *slope = trainer->scratch, *spare = slope + n;
  struct context context = {.own = own, .kept = kept, .still = (void *)(spare + n)};
  const struct ex_hyper hyper = {.inner_batch = trainer->at,
                                 .outer_source = EX_SOURCE_META,
                                 .outer_batch = trainer->at / own->every,
                                 .n = n,
                                 .inner = inner,
                                 .outer = outer,
                                 .measure = measure,
                                 .context = &context,
                                 .spare = spare,
                                 .gradient = slope};
  struct weights weights;
  ex__hypergradient(trainer, &hyper);
  weigh(own, kept, trainer->call, &weights);
  through_softplus(own, kept, &weights, slope);
  ex__adam_step(&kept->adam, n, own->rate, slope, kept->mean, kept->square, kept->a);
}

static void step(const void *values, void *state, struct ex_trainer *trainer) {
  const struct hdkd *own = values;
  trainer->read(trainer, EX_SOURCE_TRAIN, trainer->at);
  trainer->forward(trainer, trainer->net->params, true);
  if (own->rate > 0 && trainer->at % own->every == 0) learn(own, state, trainer);
  ex__method_descend(trainer, loss(values, state, trainer->call));
}

const struct ex_method ex__method_hdkd = {
    .name = "hdkd",
    .cite = "Wang and Li, AAAI 2021",
    .summary = "Every exit learns from its labels and from all later exits, with weights that are "
               "learned on held-out samples by looking one step ahead. A step that also moves the "
               "weights takes four forward and three backward passes instead of one of each, and a "
               "tenth of the training samples is held out. Choose it when labels are few, "
               "distillation helps, and nobody wants to tune its weights.",
    .params = params,
    .size = sizeof(struct hdkd),
    .detached = true,
    .check = check,
    .needs = needs,
    .start = start,
    .loss = loss,
    .step = step,
};
