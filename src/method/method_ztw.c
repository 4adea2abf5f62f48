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
#include "method/ensemble_fit.h"

enum { CASCADE_DETACHED, CASCADE_THROUGH, CASCADE_NONE };
enum { ENSEMBLE_GEOMETRIC, ENSEMBLE_ARITHMETIC, ENSEMBLE_NONE };
enum { FROM_TRAIN, FROM_META };

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
     "Of them, at most: their outputs at all exits are kept in memory, 4 bytes per class and exit."},
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

static void needs(const void *values, const ex_net *net, int32_t batch, int32_t n_steps,
                  struct ex_method_needs *out) {
  const struct ztw *ztw = values;
  (void)batch, (void)n_steps;
  if (ztw->ensemble == ENSEMBLE_NONE) return;
  out->scratch = ex__ensemble_fit_scratch(net->n_points, net->n_outputs) * sizeof(double);
  out->meta = ztw->source == FROM_META;
  out->finish = ztw->samples;
  out->finish_source = ztw->source == FROM_META ? EX_SOURCE_META : EX_SOURCE_TRAIN;
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
    struct ex_ensemble_fit fit = {.call = call, .mean = mean, .point = p};
    double *row = ex__ensemble_row(ensemble, p);
    if (row == NULL) return no_memory(ensemble, err);
    ex__ensemble_fit(&fit, call->own, row);
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
