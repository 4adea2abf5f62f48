/* SPDX-License-Identifier: Apache-2.0
 *
 * method/dfs: deep feature surgery, Gong et al., ECCV 2024.
 *
 * The feature map f_k that exit k < K reads is split by channels: the first
 * round(beta · C) are f+, which deeper parts of the network train, the rest f−,
 * which exit k trains. Forward everybody reads all of it; backward
 *
 *     deeper:  g([f+, sg(f−)])        exit k:  h_k([sg(f+), f−]),
 *
 * sg being the stop of a gradient. So the layer that makes f_k gets gradients
 * of the two sources in different output channels, and they cannot be at odds
 * there; below it they meet. Weights that read a stopped feature still learn.
 * The last exit is not split, nor is the input.
 *
 * The authors' code has two forms, and their headline MSDNet figures are of the
 * second: heads stop f+ (`detach`; their VGG and ResNet), or train the whole of
 * f_k (`full`; their feature_reroute.py, used by MSDNet and ViT). Channels are
 * counted after dense concatenation, so f+ are the oldest; of several scales
 * only the map that is handed to the classifier is split.
 *
 * The backward pass skips what is stopped: the product with the weights that
 * would give it is not computed.
 *
 * Deviations: references are always read (their ablation without, where the
 * other part is zero, would need another network); the losses of features and
 * of self-distillation that their ResNet recipe adds are left out.
 */
#include <math.h>

#include "method/method.h"

enum { REF_DETACH, REF_FULL };

struct dfs {
  double beta;
  int32_t head_ref;
};

static const char *const refs[] = {"detach", "full", NULL};

static const struct ex_param params[] = {
    {"beta", EX_PARAM_REAL, offsetof(struct dfs, beta), 0, 1, "0.5", NULL,
     "Share of a feature map's channels that deeper exits train."},
    {"head-ref", EX_PARAM_ENUM, offsetof(struct dfs, head_ref), 0, 0, "detach", refs,
     "Whether a head trains only the other channels, or all of them."},
    {0}};

/* Channels [from, to) go on; where there are none the flow is stopped. */
static void add_range(struct ex_flows *flows, int32_t value, int32_t segment, int32_t from,
                      int32_t to) {
  bool empty = from >= to;
  const struct ex_flow flow = {value, segment, empty ? 0 : 1, empty ? 0 : from, empty ? 0 : to};
  ex__method_flow(flows, flow);
}

static bool reads(const ex_net *net, int32_t segment, int32_t value) {
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    for (int32_t i = 0; node->segment == segment && i < node->n_in; i++)
      if (node->in[i] == value) return true;
  }
  return false;
}

/* Two exits that read one map: the first has split it. */
static bool is_split(const struct ex_flows *flows, int32_t value) {
  for (int32_t i = 0; i < flows->n; i++)
    if (flows->flow[i].value == value) return true;
  return false;
}

static void flow(const void *values, const ex_net *net, struct ex_flows *flows) {
  const struct dfs *dfs = values;
  for (int32_t p = 0; p < net->n_points - 1; p++) {
    int32_t feature = ex__method_feature(net, p), stage = net->points[p].stage;
    if (feature < 0 || is_split(flows, feature)) continue;
    const struct ex_node *maker = ex__graph_node(net->graph, feature);
    int32_t channels = maker->shape.dim[0], shared = (int32_t)lround(dfs->beta * channels);
    for (int32_t s = 0; s < net->n_stages * EX_N_PARTS; s++) {
      if (s == maker->segment || !reads(net, s, feature)) continue;
      bool own = s / EX_N_PARTS == stage && s % EX_N_PARTS != EX_PART_BODY;
      if (!own)
        add_range(flows, feature, s, 0, shared);
      else if (dfs->head_ref == REF_DETACH)
        add_range(flows, feature, s, shared, channels);
    }
  }
}

static double loss(const void *values, void *state, const struct ex_loss_call *call) {
  (void)values, (void)state;
  double sum = 0;
  for (int32_t k = 0; k < call->n_points; k++) sum += ex__method_cross_entropy(call, k, 1, 0);
  return sum;
}

const struct ex_method ex__method_dfs = {
    .name = "dfs",
    .cite = "Gong et al., Deep Feature Surgery, ECCV 2024",
    .summary = "Trains all exits together, where each exit and what lies behind it train different "
               "channels of the feature map that both read. A step has fewer multiply-adds than a "
               "joint step, as gradients that are stopped are not computed, and takes about as "
               "long. Choose it where early exits and the last are at odds.",
    .params = params,
    .size = sizeof(struct dfs),
    .flow = flow,
    .loss = loss,
};
