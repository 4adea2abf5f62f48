/* SPDX-License-Identifier: Apache-2.0
 *
 * method/metagf: Meta-GF, training deep-nets of multiple exits by meta-weighted
 * gradient fusion (Sun, Li & Xu, ECCV 2022; the authors' code SYVAE/MetaGF).
 *
 * A cycle begins at parameters θ0. Each exit k in turn starts from θ0 and is
 * trained for `inner` batches on
 *
 *     L_k = a_k · (l_k + aux · Σ_{j≠k} u_j · l_j),
 *
 * which gives θ_k and the displacement d_k = θ_k − θ0. With weights W_k > 0 per
 * group of parameters the fused network is
 *
 *     θ^ = θ0 + Σ_k W_k · d_k / Σ_k W_k       over the exits that use the group,
 *
 * and the weights are learned: for each of `meta` batches, L_meta = Σ a_k · l_k(θ^),
 * η ← Adam(η, dL_meta/dη). The hyper-gradient has a closed form; with
 * g = dL_meta/dθ^ and S = Σ W
 *
 *     tensor   W = sigmoid(η):   dL/dη_k = W_k · (1 − W_k) / S · <g, θ_k − θ^>
 *     channel  W = exp(T · η):   dL/dη_k = T · W_k / S · <g, θ_k − θ^>  per channel.
 *
 * The cycle ends at the last θ^, and η ← (1 − ema) · η_new + ema · η_old.
 *
 * As published: between exits the parameters go back to θ0, the running
 * statistics of batch norm do not, and those of the fused network move with the
 * meta batches. η starts at 1. The meta loss reads training data; `source` =
 * meta reads held-out samples instead, which is ours.
 *
 * Otherwise than the authors' code: the moments of SGD begin anew with every
 * exit (theirs carry one exit's direction into the next; `leak` does too). η is
 * one buffer throughout: in the tensor-wise code the moving average replaces it
 * by a copy that the optimiser does not hold, so that it is never trained after
 * the first cycle. Their meta rate would decay, by a schedule that in the
 * tensor-wise code never triggers: ours is constant. A cycle may be shorter than
 * K epochs and one (`inner`, `meta`). u and a are 1 unless given: the paper's
 * list, 1, 1, 0.6, 0.6, 0.75, 0.9, 1, is for seven exits.
 */
#include <math.h>
#include <string.h>

#include "method/adam.h"
#include "method/trainer.h"

enum granularity { BY_TENSOR, BY_CHANNEL };
enum fusion { LEARNED, UNIFORM };
enum { FROM_TRAIN, FROM_META };
enum { FIXED, RAMPED };

struct metagf {
  double aux, temperature, rate, ema;
  struct ex_list usefulness;
  int32_t inner, meta, granularity, fusion, source, leak, weights;
};

static const char *const granularities[] = {"tensor", "channel", NULL};
static const char *const fusions[] = {"learned", "uniform", NULL};
static const char *const sources[] = {"train", "meta", NULL};
static const char *const weightings[] = {"fixed", "ramped", NULL};

#define FIELD(name) offsetof(struct metagf, name)
static const struct ex_param params[] = {
    {"inner", EX_PARAM_INT, FIELD(inner), 0, 1000000, "0", NULL,
     "Batches that each exit trains on in a cycle; 0: all of an epoch, as published."},
    {"meta", EX_PARAM_INT, FIELD(meta), 0, 1000000, "0", NULL,
     "Batches on which the fusion is learned in a cycle; 0: as many as inner."},
    {"aux", EX_PARAM_REAL, FIELD(aux), 0, 10, "0.1", NULL,
     "Weight of the other exits' losses while one exit is trained."},
    {"usefulness", EX_PARAM_LIST, FIELD(usefulness), 0, 10, "", NULL,
     "One per exit: weight of its loss, times aux, while another is trained; not given: 1."},
    {"weights", EX_PARAM_ENUM, FIELD(weights), 0, 0, "fixed", weightings,
     "Weight of an exit's loss, in its own training and in the meta loss: 1, or growing with the "
     "epoch up to the exit's share of the work (for SDN's networks)."},
    {"granularity", EX_PARAM_ENUM, FIELD(granularity), 0, 0, "tensor", granularities,
     "What has a fusion weight per exit: a tensor, or each output channel of it."},
    {"temperature", EX_PARAM_REAL, FIELD(temperature), 1e-6, 100, "0.1", NULL,
     "By channel: the weight is exp(temperature times the learned number)."},
    {"fusion", EX_PARAM_ENUM, FIELD(fusion), 0, 0, "learned", fusions,
     "Whether fusion weights are learned, or stay equal."},
    {"rate", EX_PARAM_REAL, FIELD(rate), 0, 10, "0.1", NULL,
     "Learning rate of Adam for the fusion."},
    {"ema", EX_PARAM_REAL, FIELD(ema), 0, 1, "0.9", NULL,
     "Share of the fusion of the cycle before that is kept when a cycle ends."},
    {"source", EX_PARAM_ENUM, FIELD(source), 0, 0, "train", sources,
     "Samples of the meta loss: those trained on, as published, or held-out ones."},
    {"leak", EX_PARAM_BOOL, FIELD(leak), 0, 1, "false", NULL,
     "Whether the optimiser's momentum is carried from exit to exit, as in the authors' code."},
    {0}};

static enum ex_status check(const void *values, int32_t n_points, struct ex_error *err) {
  const struct metagf *m = values;
  if (m->usefulness.n != 0 && m->usefulness.n != n_points)
    return ex__fail(err, EX_EINVAL, "metagf: usefulness has %d numbers; must be one per exit, %d",
                    (int)m->usefulness.n, (int)n_points);
  if (n_points + 1 > EX_MAX_KEPT)
    return ex__fail(err, EX_EINVAL, "metagf: %d exits; at most %d", (int)n_points, EX_MAX_KEPT - 1);
  return EX_OK;
}

/* ---- state ------------------------------------------------------------------ */

/* Groups of one tensor follow each other; [n_points][n_groups] in each list. */
struct state {
  struct ex_adam adam;
  int32_t n_points, n_groups;
};

enum { ETA, BEFORE, FIRST, SECOND, GRADIENT, N_LISTS };

static int32_t groups_of(const struct metagf *m, const struct ex_tensor_info *tensor) {
  if (tensor->role == EX_ROLE_BUFFER) return 0;
  return m->granularity == BY_CHANNEL ? tensor->shape.dim[0] : 1;
}

static int32_t count_groups(const struct metagf *m, const ex_graph *graph) {
  int32_t n = 0;
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++)
    n += groups_of(m, ex__graph_tensor(graph, t));
  return n;
}

static double *list_of(struct state *state, int32_t list) {
  return (double *)(void *)(state + 1) + (int64_t)list * state->n_points * state->n_groups;
}

/* Which points use each node's tensors, behind the lists. */
static uint32_t *reached_of(struct state *state) {
  return (uint32_t *)(void *)list_of(state, N_LISTS);
}

static int32_t inner_of(const struct metagf *m, int32_t n_steps) {
  return m->inner > 0 ? m->inner : n_steps;
}

static void needs(const void *values, const ex_net *net, int32_t batch, int32_t n_steps,
                  struct ex_method_needs *out) {
  (void)batch;
  const struct metagf *m = values;
  int64_t inner = inner_of(m, n_steps), meta = m->meta > 0 ? m->meta : inner;
  size_t numbers = N_LISTS * (size_t)net->n_points * (size_t)count_groups(m, net->graph);
  out->state = sizeof(struct state) + numbers * sizeof(double) +
               (size_t)ex__graph_n_nodes(net->graph) * sizeof(uint32_t);
  out->kept = net->n_points + 1;
  out->work = 1;
  out->meta = m->source == FROM_META;
  out->cycle = net->n_points * inner + meta;
}

static void start(const void *values, const ex_net *net, uint64_t seed, void *memory) {
  (void)seed;
  struct state *state = memory;
  state->n_points = net->n_points;
  state->n_groups = count_groups(values, net->graph);
  double *eta = list_of(state, ETA);
  for (int64_t i = 0; i < (int64_t)state->n_points * state->n_groups; i++) eta[i] = 1;
  ex__net_reached(net, reached_of(state));
}

/* ---- fusion ----------------------------------------------------------------- */

static double weight_of(const struct metagf *m, double eta) {
  return m->granularity == BY_CHANNEL ? exp(m->temperature * eta) : 1 / (1 + exp(-eta));
}

/* dW/dη. */
static double slope_of(const struct metagf *m, double weight) {
  return m->granularity == BY_CHANNEL ? m->temperature * weight : weight * (1 - weight);
}

/* One group of parameters: `count` numbers from `offset` of a tensor. */
struct group {
  int32_t tensor, index;
  int64_t offset, count;
  uint32_t points; /* that use it */
};

typedef void group_visit(const struct metagf *m, struct state *state, struct ex_trainer *trainer,
                         const struct group *group);

static void visit_groups(const struct metagf *m, struct state *state, struct ex_trainer *trainer,
                         group_visit *visit) {
  const ex_graph *graph = trainer->net->graph;
  int32_t index = 0;
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *tensor = ex__graph_tensor(graph, t);
    int32_t n = groups_of(m, tensor);
    int64_t count = n > 0 ? ex__shape_count(&tensor->shape) / n : 0;
    for (int32_t g = 0; g < n; g++, index++) {
      const struct group group = {t, index, g * count, count, reached_of(state)[tensor->node]};
      visit(m, state, trainer, &group);
    }
  }
}

static ex_real *numbers_of(const struct ex_trainer *trainer, const ex_slabs *slabs,
                           const struct group *group) {
  return ex__slabs_tensor(slabs, trainer->net->graph, group->tensor) + group->offset;
}

/* Weights of the exits that use a group, 0 for the others; returns their sum. */
static double weights_of(const struct metagf *m, struct state *state, const struct group *group,
                         double weight[EX_MAX_POINTS]) {
  const double *eta = list_of(state, ETA);
  double sum = 0;
  for (int32_t k = 0; k < state->n_points; k++) {
    bool uses = (group->points >> k & 1) != 0;
    weight[k] = uses ? weight_of(m, eta[(int64_t)k * state->n_groups + group->index]) : 0;
    sum += weight[k];
  }
  return sum;
}

static void fuse(const struct metagf *m, struct state *state, struct ex_trainer *trainer,
                 const struct group *group) {
  const ex_real *from = numbers_of(trainer, trainer->kept[0], group);
  ex_real *to = numbers_of(trainer, trainer->work[0], group);
  double weight[EX_MAX_POINTS] = {0}, sum = weights_of(m, state, group, weight);
  for (int64_t i = 0; i < group->count; i++) to[i] = from[i];
  for (int32_t k = 0; k < state->n_points; k++) {
    if (weight[k] == 0) continue;
    const ex_real *moved = numbers_of(trainer, trainer->kept[k + 1], group);
    double share = weight[k] / sum; /* 1 where one exit alone uses it */
    for (int64_t i = 0; i < group->count; i++) to[i] += (ex_real)(share * (moved[i] - from[i]));
  }
}

static void differentiate(const struct metagf *m, struct state *state, struct ex_trainer *trainer,
                          const struct group *group) {
  const ex_real *g = numbers_of(trainer, trainer->grads, group);
  const ex_real *fused = numbers_of(trainer, trainer->work[0], group);
  double weight[EX_MAX_POINTS] = {0}, sum = weights_of(m, state, group, weight);
  bool alone = (group->points & (group->points - 1)) == 0;
  for (int32_t k = 0; k < state->n_points; k++) {
    double product = 0;
    const ex_real *moved = numbers_of(trainer, trainer->kept[k + 1], group);
    for (int64_t i = 0; weight[k] > 0 && !alone && i < group->count; i++)
      product += (double)g[i] * ((double)moved[i] - (double)fused[i]);
    list_of(state, GRADIENT)[(int64_t)k * state->n_groups + group->index] =
        weight[k] > 0 && !alone ? slope_of(m, weight[k]) / sum * product : 0;
  }
}

/* ---- steps ------------------------------------------------------------------ */

static double exit_weight(const struct metagf *m, const struct ex_loss_call *call, int32_t k) {
  return m->weights == RAMPED ? ex__method_ramp(call, k, -1) : 1;
}

static double loss(const void *values, void *state, const struct ex_loss_call *call) {
  (void)state;
  double sum = 0;
  for (int32_t k = 0; k < call->n_points; k++)
    sum += ex__method_cross_entropy(call, k, exit_weight(values, call, k), 0);
  return sum;
}

/* L_k of the exit that has its turn. */
static double inner_loss(const struct metagf *m, const struct ex_loss_call *call, int32_t turn) {
  double sum = 0, own = exit_weight(m, call, turn);
  for (int32_t j = 0; j < call->n_points; j++) {
    double usefulness = m->usefulness.n > 0 ? m->usefulness.value[j] : 1;
    sum += ex__method_cross_entropy(call, j, j == turn ? own : own * m->aux * usefulness, 0);
  }
  return sum;
}

static void inner_step(const struct metagf *m, struct ex_trainer *trainer, int32_t turn, int32_t at,
                       int32_t inner) {
  ex_slabs *params = trainer->net->params;
  if (turn == 0 && at == 0) ex__slabs_copy(trainer->kept[0], params);
  if (turn > 0 && at == 0) ex__slabs_copy(params, trainer->kept[0]);
  if (at == 0 && !m->leak) trainer->forget(trainer);
  trainer->read(trainer, EX_SOURCE_TRAIN, trainer->at);
  trainer->forward(trainer, params, true);
  ex__method_descend(trainer, inner_loss(m, trainer->call, turn));
  if (at == inner - 1) ex__slabs_copy(trainer->kept[turn + 1], params);
}

static void meta_step(const struct metagf *m, struct state *state, struct ex_trainer *trainer,
                      bool last) {
  bool held_out = m->source == FROM_META;
  visit_groups(m, state, trainer, fuse);
  trainer->read(trainer, held_out ? EX_SOURCE_META : EX_SOURCE_TRAIN, trainer->at);
  trainer->forward(trainer, trainer->work[0], true);
  trainer->note(trainer, loss(m, state, trainer->call));
  if (last) ex__slabs_copy(trainer->net->params, trainer->work[0]);
  if (m->fusion == UNIFORM) return;
  ex__slabs_zero(trainer->grads);
  trainer->backward(trainer, trainer->work[0], -1, trainer->grads);
  visit_groups(m, state, trainer, differentiate);
  int64_t n = (int64_t)state->n_points * state->n_groups;
  ex__adam_step(&state->adam, n, m->rate, list_of(state, GRADIENT), list_of(state, FIRST),
                list_of(state, SECOND), list_of(state, ETA));
}

static void average(const struct metagf *m, struct state *state) {
  double *eta = list_of(state, ETA);
  const double *before = list_of(state, BEFORE);
  for (int64_t i = 0; i < (int64_t)state->n_points * state->n_groups; i++)
    eta[i] = (1 - m->ema) * eta[i] + m->ema * before[i];
}

static void step(const void *values, void *memory, struct ex_trainer *trainer) {
  const struct metagf *m = values;
  struct state *state = memory;
  /* A cycle is n_points · inner + meta steps; meta = inner unless it is given. */
  int32_t n = state->n_points;
  int32_t inner = m->inner > 0  ? m->inner
                  : m->meta > 0 ? (trainer->n_steps - m->meta) / n
                                : trainer->n_steps / (n + 1);
  int32_t turn = trainer->step / inner;
  if (turn < n) {
    inner_step(m, trainer, turn, trainer->step % inner, inner);
    return;
  }
  bool first = trainer->step == n * inner, last = trainer->step == trainer->n_steps - 1;
  if (first)
    memcpy(list_of(state, BEFORE), list_of(state, ETA),
           (size_t)n * (size_t)state->n_groups * sizeof(double));
  meta_step(m, state, trainer, last);
  if (last) average(m, state);
}

const struct ex_method ex__method_metagf = {
    .name = "metagf",
    .cite = "Sun et al., ECCV 2022",
    .summary =
        "Trains every exit in turn from the same parameters, and learns per tensor how to fuse "
        "the displacements that they ask for. A cycle of K exits costs K + 1 passes over its "
        "batches for the progress of about one, and K + 2 copies of the parameters. Choose it "
        "where exits fight over shared layers and training time is cheap.",
    .params = params,
    .size = sizeof(struct metagf),
    .check = check,
    .needs = needs,
    .start = start,
    .loss = loss,
    .step = step,
};
