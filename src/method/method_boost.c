/* SPDX-License-Identifier: Apache-2.0
 *
 * method/boost: boosted dynamic neural networks, Yu, Li, Hua, Huang, Shi, AAAI 2023
 * (BoostNet).
 *
 * Exits are the terms of an additive model: the answer of exit n is
 *
 *     F_1 = f_1,   F_n = f_n + t · sg(F_{n−1}),   L = Σ_n CE(F_n, y),
 *
 * where f are the heads' raw outputs, sg stops the gradient, and t, the paper's
 * temperature for reweighting predictions, leaves later exits enough samples
 * that are not yet solved. So dL/df_n = softmax(F_n) − y and a sample that the
 * earlier exits have right gives a late head almost no gradient, as it will
 * meet almost none of them when samples leave early. Answers and confidences
 * are those of F: `equip` gives the network the exit transform `additive`, and
 * going to an exit then needs all heads before it.
 *
 * Gradients are rescaled where exits branch off (gradient equilibrium,
 * method_equilibrium.c), as in all scripts of the authors; heads keep theirs.
 *
 * Deviations. One t for all exits: the authors' lists have different meanings
 * in training and at test, and all their scripts are constant. Their optional
 * equalising of losses, weight decay by block and masks of training samples
 * (which their code does not have) are left out. In the frozen-trunk regime the
 * last head is frozen too, with the terms before it changing.
 */
#include "base/real.h"
#include "method/method.h"

struct boost {
  double t;
  int32_t rescale;
};

static const struct ex_param params[] = {
    {"t", EX_PARAM_REAL, offsetof(struct boost, t), 0, 1, "0.5", NULL,
     "What the answer of the exit before counts in the next; 0: exits answer alone."},
    {"rescale", EX_PARAM_BOOL, offsetof(struct boost, rescale), 0, 1, "true", NULL,
     "Whether gradients are rescaled where exits branch off."},
    {0}};

static void equip(const void *values, ex_builder *builder) {
  const struct boost *boost = values;
  *ex__builder_transform(builder) =
      (struct ex_transform){.kind = EX_TRANSFORM_ADDITIVE, .factor = boost->t};
}

static void flow(const void *values, const ex_net *net, struct ex_flows *flows) {
  const struct boost *boost = values;
  if (boost->rescale) ex__method_equalise(net, flows);
}

static void needs(const void *values, const ex_net *net, int32_t batch, int32_t n_steps,
                  struct ex_method_needs *needs) {
  (void)values, (void)n_steps;
  needs->scratch = 2 * (size_t)batch * (size_t)net->n_outputs * sizeof(ex_real);
}

static double loss(const void *values, void *state, const struct ex_loss_call *call) {
  (void)values, (void)state;
  ex_real *ensemble = call->own; /* [n][n_outputs] F of this exit */
  ex_real *running = ensemble + (size_t)call->n * (size_t)call->n_outputs; /* of the transform */
  const ex_real *output[EX_MAX_POINTS];
  struct ex_loss_call boosted = *call;
  double sum = 0;
  boosted.output = output;
  int32_t width = call->n_outputs;
  for (int32_t i = 0; i < call->n; i++)
    ex__transform_start(call->transform, width, running + i * width);
  for (int32_t p = 0; p < call->n_points; p++) {
    for (int32_t i = 0; i < call->n; i++)
      ex__transform_apply(call->transform, p, width, call->output[p] + i * width,
                          running + i * width, ensemble + i * width);
    output[p] = ensemble;
    sum += ex__method_cross_entropy(&boosted, p, 1, 0);
  }
  return sum;
}

const struct ex_method ex__method_boost = {
    .name = "boost",
    .cite = "Yu et al., Boosted Dynamic Neural Networks, AAAI 2023",
    .summary = "Trains each exit as a correction to the sum of the earlier ones, and answers with "
               "the sum. A step costs what a joint step costs; an answer needs the heads of all "
               "exits before it. Choose it where samples leave early and late exits should be "
               "good at what is left.",
    .params = params,
    .size = sizeof(struct boost),
    .detached = true,
    .equip = equip,
    .flow = flow,
    .needs = needs,
    .loss = loss,
};
