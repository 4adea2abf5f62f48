/* SPDX-License-Identifier: Apache-2.0
 *
 * method/equilibrium: gradient equilibrium, Li, Zhang, Qi, Yang, Huang,
 * "Improved Techniques for Training Adaptive Deep Networks", ICCV 2019.
 *
 * Deep exits all send their gradients through the first stages, which therefore
 * get K of them and the last stage one. Where exit i of K (from 0) reads its
 * feature map, the gradient of the head counts 1/(K − i) and what comes from
 * deeper readers (K − i − 1)/(K − i). Along a chain every stage then gets the
 * mean of the gradients of the exits behind it: with K = 3 the first stage a
 * third of each, since 1/3 = 2/3 · 1/2 = 2/3 · 1/2 · 1. Forward is untouched,
 * and heads keep their own gradients whole.
 *
 * As in the code of BoostNet (Yu et al., AAAI 2023), which uses the same, only
 * the map that is handed to the classifier is rescaled: MSDNet's finer scales
 * carry deeper gradients as they are. A head that reads several values has only
 * the first rescaled. The paper's two other techniques (inline subnetwork
 * collaboration and one-for-all distillation) are not here.
 */
#include "method/method.h"

struct equilibrium {
  double label_smoothing;
};

static const struct ex_param params[] = {
    {"label-smoothing", EX_PARAM_REAL, offsetof(struct equilibrium, label_smoothing), 0, 0.9, "0",
     NULL, "Share of each target that is spread evenly over all classes."},
    {0}};

static bool has_flow(const struct ex_flows *flows, int32_t value, int32_t segment) {
  for (int32_t i = 0; i < flows->n; i++)
    if (flows->flow[i].value == value && flows->flow[i].segment == segment) return true;
  return false;
}

/* What `segment` counts for the feature map of point p; 0: it is no reader there
 * that counts (its maker, or of an earlier stage). */
static double share(const ex_net *net, int32_t p, int32_t feature, int32_t segment) {
  double left = net->n_points - p; /* exits from here on */
  int32_t stage = net->points[p].stage;
  if (segment / EX_N_PARTS < stage || segment == ex__graph_node(net->graph, feature)->segment)
    return 0;
  bool own = segment / EX_N_PARTS == stage && segment % EX_N_PARTS != EX_PART_BODY;
  return own ? 1 / left : (left - 1) / left;
}

void ex__method_equalise(const ex_net *net, struct ex_flows *flows) {
  for (int32_t p = 0; p < net->n_points; p++) {
    int32_t feature = ex__method_feature(net, p);
    for (int32_t id = 0; feature >= 0 && id < ex__graph_n_nodes(net->graph); id++) {
      const struct ex_node *node = ex__graph_node(net->graph, id);
      bool reads = false;
      for (int32_t i = 0; i < node->n_in; i++) reads |= node->in[i] == feature;
      double scale = reads ? share(net, p, feature, node->segment) : 0;
      if (scale > 0 && !has_flow(flows, feature, node->segment))
        ex__method_flow(flows, (struct ex_flow){feature, node->segment, scale, 0, 0});
    }
  }
}

static void flow(const void *values, const ex_net *net, struct ex_flows *flows) {
  (void)values;
  ex__method_equalise(net, flows);
}

static double loss(const void *values, void *state, const struct ex_loss_call *call) {
  (void)state;
  const struct equilibrium *equilibrium = values;
  double sum = 0;
  for (int32_t k = 0; k < call->n_points; k++)
    sum += ex__method_cross_entropy(call, k, 1, equilibrium->label_smoothing);
  return sum;
}

const struct ex_method ex__method_equilibrium = {
    .name = "equilibrium",
    .cite = "Li et al., Improved Techniques for Training Adaptive Deep Networks, ICCV 2019",
    .summary = "Trains all exits together with the gradients rescaled where an exit branches off, "
               "so that early stages get the mean of the exits' gradients and not their sum. A "
               "step costs what a joint step costs. Choose it where there are many exits, or where "
               "joint training is unsteady at a good learning rate.",
    .params = params,
    .size = sizeof(struct equilibrium),
    .flow = flow,
    .loss = loss,
};
