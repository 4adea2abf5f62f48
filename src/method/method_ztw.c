/* SPDX-License-Identifier: Apache-2.0
 *
 * method/ztw: Zero Time Waste, Wołczyk, Wójcik, Bałazy, Podolak, Tabor, Śmieja,
 * Trzciński, NeurIPS 2021 (code gmum/Zero-Time-Waste): what earlier exits found
 * out is used again.
 *
 * Cascade. A head also reads the raw output of the head before, held constant
 * (their runs detach it). They concatenate it with the features of the last
 * linear layer, which is the same as adding a linear map of it to the output.
 * The last head, the trunk's own, reads none.
 *
 * Ensemble. When heads are trained, each exit k but the last gets running weights,
 * fitted by cross-entropy on training samples with all heads held still:
 *
 *     geometric    log q_k = (1/k) Σ_{j≤k} exp(w_kj) · log p_j + b_k, normalised
 *     arithmetic   q_k = Σ_{j≤k} exp(w_kj) · p_j + exp(b_k), normalised
 *
 * one w per head, one b per class. It becomes the network's exit transform
 * (net/ensemble.h). The best epoch is chosen before, by the heads' own answers.
 *
 * The heads' loss is the sum of their cross-entropies, all with weight 1. The
 * paper freezes the trunk: use the regime frozen-trunk. In other regimes the last
 * exit's loss is one more term, which is ours.
 *
 * The code of the paper ensembles the last exit too (`last`); their later code,
 * whose way is the default here, does not. Deviations: weights start at 0, not at
 * normal(0, 0.01), and are taken to the minimum by L-BFGS, where they run Adam
 * over 501 epochs of stored outputs; the map of the earlier output starts at 0;
 * the layer norm of it, which they use for ImageNet, is left out, and so is the
 * penalty on unequal weights, which is 0 in their scripts.
 */
#include <math.h>

#include "base/minimise.h"
#include "method/method.h"

enum { CASCADE_DETACHED, CASCADE_THROUGH, CASCADE_NONE };
enum { ENSEMBLE_GEOMETRIC, ENSEMBLE_ARITHMETIC, ENSEMBLE_NONE };
enum { FROM_TRAIN, FROM_META };
enum { MOST_PASSES = 200 };
static const double tolerance = 1e-6; /* of the mean loss's gradient */

struct ztw {
  int32_t cascade, ensemble, last, source, samples;
};

static const char *const cascades[] = {"detached", "through", "none", NULL};
static const char *const ensembles[] = {"geometric", "arithmetic", "none", NULL};
static const char *const sources[] = {"train", "meta", NULL};

#define FIELD(name) offsetof(struct ztw, name)
static const struct ex_param params[] = {
    {"cascade", EX_PARAM_ENUM, FIELD(cascade), 0, 0, "detached", cascades,
     "Whether a head reads the output of the one before, and whether gradients go through it."},
    {"ensemble", EX_PARAM_ENUM, FIELD(ensemble), 0, 0, "geometric", ensembles,
     "The mean in which an exit answers together with the exits before it."},
    {"last", EX_PARAM_BOOL, FIELD(last), 0, 1, "false", NULL,
     "Whether the last exit answers together with the others too."},
    {"source", EX_PARAM_ENUM, FIELD(source), 0, 0, "train", sources,
     "Samples that the ensemble is fitted to: those trained on, as published, or held-out ones."},
    {"samples", EX_PARAM_INT, FIELD(samples), 1, 100000000, "50000", NULL,
     "Of them, at most: their outputs at all exits are kept in memory, 4 bytes per class."},
    {0}};

/* ---- the cascade ------------------------------------------------------------ */

static void equip(const void *values, ex_builder *builder) {
  const struct ztw *ztw = values;
  if (ztw->cascade == CASCADE_NONE) return;
  ex__builder_init(builder, EX_INIT_ZERO);
  for (int32_t p = 1; p < ex__builder_points(builder) - 1; p++) {
    const struct ex_point point = *ex__builder_at(builder, p);
    const struct ex_linear map = {ex__builder_outputs(builder), 0};
    int32_t before = ex__builder_at(builder, p - 1)->output;
    ex__builder_back(builder, p, EX_PART_HEAD);
    int32_t known = ex__builder_op(builder, "linear", "cascade", &map, &before, 1);
    ex__builder_answer(builder, p, ex__builder_add(builder, point.output, known), point.gate,
                       point.needs | UINT32_C(1) << (p - 1));
  }
}

static void flow(const void *values, const ex_net *net, struct ex_flows *flows) {
  const struct ztw *ztw = values;
  for (int32_t p = 1; p < net->n_points - 1 && ztw->cascade == CASCADE_DETACHED; p++)
    ex__method_flow(flows,
                    (struct ex_flow){.value = net->points[p - 1].output,
                                     .segment = ex__net_segment(net->points[p].stage, EX_PART_HEAD),
                                     .scale = 0});
}

static double loss(const void *values, void *state, const struct ex_loss_call *call) {
  (void)values, (void)state;
  double sum = 0;
  for (int32_t p = 0; p < call->n_points; p++) sum += ex__method_cross_entropy(call, p, 1, 0);
  return sum;
}

/* ---- the ensemble ----------------------------------------------------------- */

/* Numbers that are fitted at one exit: [point + 1] w, then [n_outputs] b. */
struct fit {
  const struct ex_finish_call *call; /* its outputs are opinions by now */
  enum ex_mean mean;
  int32_t point;
  double *factor; /* [point + 1] what multiplies each head's opinion */
  double *sum;    /* [n_outputs] of one sample: log q, or q, not normalised */
};

static size_t fit_numbers(int32_t n_points, int32_t n_outputs) {
  return (size_t)n_points + (size_t)n_outputs;
}

static void needs(const void *values, const ex_net *net, int32_t batch, int32_t n_steps,
                  struct ex_method_needs *out) {
  const struct ztw *ztw = values;
  (void)batch, (void)n_steps;
  if (ztw->ensemble == ENSEMBLE_NONE) return;
  size_t numbers = fit_numbers(net->n_points, net->n_outputs);
  out->scratch = (2 * numbers + ex__minimise_scratch((int32_t)numbers)) * sizeof(double);
  out->meta = ztw->source == FROM_META;
  out->finish = ztw->samples;
  out->finish_source = ztw->source == FROM_META ? EX_SOURCE_META : EX_SOURCE_TRAIN;
}

static double factor_of(const struct fit *fit, double w) {
  return fit->mean == EX_MEAN_GEOMETRIC ? exp(w) / (fit->point + 1) : exp(w);
}

/* fit->sum ← what the class probabilities of one sample are proportional to, as
 * logarithms where the mean is geometric. opinion [n_points][n_outputs] */
static void add_up(const struct fit *fit, const ex_real *opinion, const double *bias) {
  int32_t n_outputs = fit->call->n_outputs;
  bool geometric = fit->mean == EX_MEAN_GEOMETRIC;
  for (int32_t c = 0; c < n_outputs; c++) fit->sum[c] = geometric ? bias[c] : exp(bias[c]);
  for (int32_t j = 0; j <= fit->point; j++)
    for (int32_t c = 0; c < n_outputs; c++)
      fit->sum[c] += fit->factor[j] * (double)opinion[(int64_t)j * n_outputs + c];
}

/* Cross-entropy of fit->sum, which becomes its gradient by these sums. */
static double geometric_loss(const struct fit *fit, int32_t target) {
  int32_t n_outputs = fit->call->n_outputs;
  double most = -INFINITY, all = 0, right = fit->sum[target];
  for (int32_t c = 0; c < n_outputs; c++) most = fmax(most, fit->sum[c]);
  for (int32_t c = 0; c < n_outputs; c++) all += fit->sum[c] = exp(fit->sum[c] - most);
  for (int32_t c = 0; c < n_outputs; c++) fit->sum[c] = fit->sum[c] / all - (c == target);
  return most + log(all) - right;
}

static double arithmetic_loss(const struct fit *fit, int32_t target) {
  int32_t n_outputs = fit->call->n_outputs;
  double all = 0, right = fit->sum[target];
  for (int32_t c = 0; c < n_outputs; c++) all += fit->sum[c];
  for (int32_t c = 0; c < n_outputs; c++) fit->sum[c] = 1 / all - (c == target) / right;
  return log(all) - log(right);
}

static double value(void *context, const double *x, double *gradient) {
  const struct fit *fit = context;
  const struct ex_finish_call *call = fit->call;
  int32_t n_heads = fit->point + 1, n_outputs = call->n_outputs;
  bool geometric = fit->mean == EX_MEAN_GEOMETRIC;
  double total = 0, *dw = gradient, *db = gradient + n_heads;
  const double *bias = x + n_heads;
  for (int32_t i = 0; i < n_heads + n_outputs; i++) gradient[i] = 0;
  for (int32_t j = 0; j < n_heads; j++) fit->factor[j] = factor_of(fit, x[j]);
  for (int32_t i = 0; i < call->n; i++) {
    const ex_real *opinion = call->output + (int64_t)i * call->n_points * n_outputs;
    double weight = (call->weight != NULL ? (double)call->weight[i] : 1) / call->n;
    add_up(fit, opinion, bias);
    total += weight * (geometric ? geometric_loss : arithmetic_loss)(fit, call->target[i]);
    for (int32_t c = 0; c < n_outputs; c++) db[c] += weight * fit->sum[c];
    for (int32_t j = 0; j < n_heads; j++) {
      double inner = 0;
      for (int32_t c = 0; c < n_outputs; c++)
        inner += fit->sum[c] * (double)opinion[(int64_t)j * n_outputs + c];
      dw[j] += weight * inner * fit->factor[j];
    }
  }
  for (int32_t c = 0; c < n_outputs && !geometric; c++) db[c] *= exp(bias[c]);
  return total;
}

static double bounded(double value) {
  return fmax(-ex_largest_factor, fmin(value, ex_largest_factor));
}

/* Fits one exit into its row. */
static void fit_exit(struct fit *fit, double *row) {
  int32_t n_heads = fit->point + 1, n_outputs = fit->call->n_outputs;
  const struct ex_objective objective = {n_heads + n_outputs, value, fit};
  double *x = fit->call->own;
  fit->factor = x + objective.n;
  fit->sum = fit->factor + n_heads;
  for (int32_t i = 0; i < objective.n; i++) x[i] = 0;
  ex__minimise(&objective, tolerance, MOST_PASSES, x, fit->sum + n_outputs);
  for (int32_t j = 0; j < n_heads; j++) row[j] = bounded(factor_of(fit, x[j]));
  for (int32_t c = n_heads; c < objective.n; c++)
    row[c] = bounded(fit->mean == EX_MEAN_GEOMETRIC ? x[c] : exp(x[c]));
}

static enum ex_status no_memory(struct ex_ensemble *ensemble, struct ex_error *err) {
  ex__ensemble_free(ensemble);
  return ex__fail(err, EX_ENOMEM, "ztw: no memory for an ensemble");
}

static enum ex_status finish(const void *values, const void *state,
                             const struct ex_finish_call *call, struct ex_error *err) {
  const struct ztw *ztw = values;
  enum ex_mean mean = ztw->ensemble == ENSEMBLE_GEOMETRIC ? EX_MEAN_GEOMETRIC : EX_MEAN_ARITHMETIC;
  int32_t n_points = call->n_points, n_outputs = call->n_outputs;
  int32_t n_fitted = ztw->last ? n_points : n_points - 1;
  struct ex_ensemble *ensemble = ex__ensemble_new(mean, n_points, n_outputs);
  (void)state;
  if (ensemble == NULL) return no_memory(NULL, err);
  for (int64_t i = 0; i < (int64_t)call->n * n_points; i++) {
    ex_real *raw = call->output + i * n_outputs;
    ex__ensemble_opinion(mean, raw, n_outputs, raw);
  }
  for (int32_t p = 0; p < n_fitted; p++) {
    struct fit fit = {.call = call, .mean = mean, .point = p};
    double *row = ex__ensemble_row(ensemble, p);
    if (row == NULL) return no_memory(ensemble, err);
    fit_exit(&fit, row);
  }
  ex__transform_clear(call->transform);
  *call->transform = (struct ex_transform){.kind = EX_TRANSFORM_ENSEMBLE, .ensemble = ensemble};
  return EX_OK;
}

const struct ex_method ex__method_ztw = {
    .name = "ztw",
    .cite = "Wołczyk et al., Zero Time Waste, NeurIPS 2021",
    .summary =
        "Every head also reads what the head before said, and every exit but the last answers "
        "together with the exits before it, with weights that are fitted when training is over. "
        "A step costs what a joint step costs; the fit takes seconds, and an answer needs the "
        "heads of all exits before it. Choose it for exits on a frozen trunk.",
    .params = params,
    .size = sizeof(struct ztw),
    .equip = equip,
    .flow = flow,
    .needs = needs,
    .loss = loss,
    .finish = finish,
};
