/* SPDX-License-Identifier: Apache-2.0
 *
 * method/jei: JEI-DNN, jointly-learned exit and inference for a dynamic neural
 * network (Regol, Chataoui & Coates, ICLR 2024; code networkslab/dynn).
 *
 * Every exit but the last gets a gate, g_l = sigmoid(a_l · u_l + b_l), that reads
 * four figures u_l of its head's answer (graph/op_confidence) and sends no
 * gradient into it. The gates make probabilities of leaving that sum to one,
 *
 *     P_l = max(0, min(g_l, 1 − Σ_{j<l} P_j)),   P_L = 1 − Σ_{l<L} P_l,
 *
 * and training alternates, `turn` batches each, after a warm-up of the heads:
 *
 *   heads   Σ_{l<L} P_l · CE_l per sample, times r = Σ CE_l / Σ P_l · CE_l, which
 *           keeps the loss's size and is a constant; the mean over samples and
 *           the L − 1 heads. Gates stand still.
 *   gates   m_l = CE_l + λ · c_l for all exits, c_l the exit's share of the
 *           multiply-adds; l* = argmin m. Gate l learns 1 where l ≥ l* (who may
 *           leave at l* may leave later) and 0 before, by binary cross-entropy;
 *           the ones are weighted by w_l = min((n − n_l) / n_l, 5) with n_l how
 *           many held-out samples had l* = l at the epoch's start (1 at first).
 *           Heads stand still.
 *
 * Every epoch begins with the gates' turn. Warm-up: Σ_l (G + 1 − l) · CE_l, G
 * gates, l from 0; a head whose held-out accuracy has not risen for two epochs
 * goes back to its best and waits; it ends when all wait, after `warmup` epochs,
 * or with half of the epochs (the last is ours).
 *
 * In the authors' code r carries a gradient, and r · Σ P_l · CE_l is then Σ CE_l
 * whatever P is: the probabilities have no effect. Here r is constant, as meant.
 * The paper's trunk is frozen: use the regime frozen-trunk. Where the trunk is
 * trained too, it moves with the heads' turns, and the last exit's cross-entropy
 * is added to their loss; that is ours. A head's normalisation takes the
 * statistics of the batch while it is judged on held-out samples.
 */
#include <math.h>
#include <string.h>

#include "graph/loss.h"
#include "method/trainer.h"

enum { COST_LOSS, COST_CORRECT, COST_CONFIDENCE };
enum { FROM_TRAIN, FROM_META };
enum { PATIENCE = 2 };

struct jei {
  double price, largest_weight;
  int32_t turn, warmup, cost, source;
};

static const char *const costs[] = {"loss", "correct", "confidence", NULL};
static const char *const sources[] = {"train", "meta", NULL};

#define FIELD(name) offsetof(struct jei, name)
static const struct ex_param params[] = {
    {"price", EX_PARAM_REAL, FIELD(price), 0, 1000, "0.7", NULL,
     "Lambda: nats of loss that the whole network's work is worth; higher leaves earlier. Try 0.01 "
     "to 2."},
    {"turn", EX_PARAM_INT, FIELD(turn), 1, 1000000, "200", NULL,
     "Batches before heads and gates take turns."},
    {"warmup", EX_PARAM_INT, FIELD(warmup), 0, 100000, "6", NULL,
     "Epochs, at most, that train the heads alone at first; never more than half."},
    {"cost", EX_PARAM_ENUM, FIELD(cost), 0, 0, "loss", costs,
     "What an answer is worth to a gate: its loss, -1 where it is right, or minus its largest "
     "probability where it is right."},
    {"source", EX_PARAM_ENUM, FIELD(source), 0, 0, "train", sources,
     "Samples that the gates learn on: those trained on, as published, or held-out ones, which "
     "does better where the trunk fits its training data closely."},
    {"largest-weight", EX_PARAM_REAL, FIELD(largest_weight), 0.1, 1000, "5", NULL,
     "Bound on the weight of samples that a gate should let go."},
    {0}};

struct state {
  int32_t warm;                      /* the warm-up is over */
  int32_t waits[EX_MAX_POINTS];      /* this head has stopped warming up */
  int32_t not_better[EX_MAX_POINTS]; /* epochs in a row */
  double best[EX_MAX_POINTS];        /* held-out accuracy; −1 to begin */
  double gate_weight[EX_MAX_POINTS]; /* w_l */
};

/* Of one batch; [n_points][n] each. */
struct batch {
  double *cost, *leave; /* CE_l, or what stands for it; P_l */
  ex_real *each;        /* [n] */
};

static struct batch batch_of(const struct ex_trainer *trainer) {
  const struct ex_loss_call *call = trainer->call;
  double *numbers = trainer->scratch;
  int64_t size = (int64_t)call->n_points * call->n;
  return (struct batch){numbers, numbers + size, (ex_real *)(void *)(numbers + 2 * size)};
}

static void equip(const void *values, ex_builder *builder) {
  (void)values;
  for (int32_t p = 0; p < ex__builder_points(builder) - 1; p++) {
    const struct ex_point point = *ex__builder_at(builder, p);
    if (point.gate >= 0) {
      ex__builder_fail(builder, EX_EINVAL, "jei: exit %d has a gate already; must have none",
                       (int)p);
      return;
    }
    ex__builder_back(builder, p, EX_PART_GATE);
    int32_t figures = ex__builder_op(builder, "confidence", "figures", NULL, &point.output, 1);
    int32_t gate = ex__builder_linear(builder, "fc", figures, 1);
    ex__builder_answer(builder, p, point.output, gate, point.needs);
  }
}

static void flow(const void *values, const ex_net *net, struct ex_flows *flows) {
  (void)values;
  for (int32_t p = 0; p < net->n_points; p++)
    if (net->points[p].gate >= 0)
      ex__method_flow(
          flows, (struct ex_flow){.value = net->points[p].output,
                                  .segment = ex__net_segment(net->points[p].stage, EX_PART_GATE),
                                  .scale = 0});
}

static void needs(const void *values, const ex_net *net, int32_t batch, int32_t n_steps,
                  struct ex_method_needs *out) {
  (void)values, (void)n_steps;
  size_t size = (size_t)net->n_points * (size_t)batch;
  out->state = sizeof(struct state);
  out->scratch = 2 * size * sizeof(double) + (size_t)batch * sizeof(ex_real);
  out->kept = 1; /* the best heads of the warm-up */
  out->meta = true;
}

static void start(const void *values, const ex_net *net, uint64_t seed, void *memory) {
  (void)values, (void)net, (void)seed;
  struct state *state = memory;
  for (int32_t p = 0; p < EX_MAX_POINTS; p++) {
    state->best[p] = -1;
    state->gate_weight[p] = 1;
  }
}

/* ---- the losses ------------------------------------------------------------- */

static double warm_loss(const struct ex_loss_call *call) {
  double sum = 0;
  for (int32_t p = 0; p < call->n_points; p++)
    sum += ex__method_cross_entropy(call, p, call->n_points - p, 0);
  return sum;
}

static double loss(const void *values, void *state, const struct ex_loss_call *call) {
  (void)values, (void)state;
  return warm_loss(call);
}

/* Cross-entropy of every (exit, sample); 0 where it is not labelled. Fills
 * call->point_loss. */
static void each_loss(const struct ex_loss_call *call, const struct batch *batch) {
  for (int32_t p = 0; p < call->n_points; p++) {
    double sum = 0;
    int32_t labelled = 0;
    ex__loss_cross_entropy(call->output[p], call->n, call->n_outputs, call->target, NULL,
                           batch->each, NULL);
    for (int32_t i = 0; i < call->n; i++) {
      batch->cost[(int64_t)p * call->n + i] = (double)batch->each[i];
      sum += (double)batch->each[i];
      labelled += call->target[i] >= 0;
    }
    call->point_loss[p] = labelled > 0 ? sum / labelled : NAN;
  }
}

/* P_l of every (exit, sample) from the gates of the last forward. */
static void leave_probabilities(const struct ex_loss_call *call, const struct batch *batch) {
  for (int32_t i = 0; i < call->n; i++) {
    double left = 0;
    for (int32_t p = 0; p < call->n_points; p++) {
      bool last = p == call->n_points - 1;
      double gate = last ? 1 : 1 / (1 + exp(-(double)call->gate[p][i]));
      double leaves = fmax(0, fmin(gate, 1 - left));
      batch->leave[(int64_t)p * call->n + i] = leaves;
      left += leaves;
    }
  }
}

/* Adds the seeds of the heads' loss and returns it. */
static double head_loss(const struct ex_loss_call *call, const struct batch *batch) {
  int32_t n = call->n, heads = call->n_points - 1, labelled = 0;
  double total = 0;
  each_loss(call, batch);
  leave_probabilities(call, batch);
  for (int32_t i = 0; i < n; i++) labelled += call->target[i] >= 0;
  for (int32_t p = 0; p < heads && labelled > 0; p++) {
    for (int32_t i = 0; i < n; i++) {
      double plain = 0, weighted = 0;
      for (int32_t q = 0; q < heads; q++) {
        plain += batch->cost[(int64_t)q * n + i];
        weighted += batch->leave[(int64_t)q * n + i] * batch->cost[(int64_t)q * n + i];
      }
      /* Nobody leaves early, or nothing is lost: this sample teaches no head. */
      double scale = weighted > 1e-12 ? plain / weighted : 0;
      double of_class = call->weight != NULL ? (double)call->weight[i] : 1;
      batch->each[i] = (ex_real)(scale * of_class * batch->leave[(int64_t)p * n + i] /
                                 ((double)labelled * heads));
    }
    total += ex__loss_cross_entropy(call->output[p], n, call->n_outputs, call->target, batch->each,
                                    NULL, call->doutput[p]);
  }
  if (call->doutput[heads] != NULL) /* the trunk is trained too */
    total += ex__method_cross_entropy(call, heads, 1, 0);
  return total;
}

/* What a gate weighs against work: replaces the losses in batch->cost. */
static void judge_answers(const struct jei *jei, const struct ex_loss_call *call,
                          const struct batch *batch) {
  each_loss(call, batch);
  for (int32_t p = 0; p < call->n_points && jei->cost != COST_LOSS; p++)
    for (int32_t i = 0; i < call->n; i++) {
      const ex_real *row = call->output[p] + (int64_t)i * call->n_outputs;
      double *cost = &batch->cost[(int64_t)p * call->n + i];
      int32_t best = 0;
      for (int32_t c = 1; c < call->n_outputs; c++)
        if (row[c] > row[best]) best = c;
      bool right = best == call->target[i];
      /* Where it is right its loss is −log of its largest probability. */
      *cost = !right ? 0 : jei->cost == COST_CORRECT ? -1 : -exp(-*cost);
    }
}

/* l* of one sample: the first of the cheapest. */
static int32_t best_exit(const struct jei *jei, const struct ex_loss_call *call,
                         const struct batch *batch, int32_t sample) {
  int32_t best = 0, last = call->n_points - 1;
  double least = INFINITY;
  for (int32_t p = 0; p <= last; p++) {
    double share = (double)call->cost->macs[p] / (double)call->cost->macs[last];
    double cost = batch->cost[(int64_t)p * call->n + sample] + jei->price * share;
    if (cost < least) {
      least = cost;
      best = p;
    }
  }
  return best;
}

/* Adds the seeds of the gates' loss and returns it. batch->leave is overwritten:
 * it holds what gate l should say. */
static double gate_loss(const struct jei *jei, const struct state *state,
                        const struct ex_loss_call *call, const struct batch *batch) {
  int32_t n = call->n, gates = call->n_points - 1;
  double total = 0;
  judge_answers(jei, call, batch);
  for (int32_t i = 0; i < n; i++) {
    if (call->target[i] < 0) continue;
    int32_t best = best_exit(jei, call, batch, i);
    for (int32_t p = 0; p < gates; p++) {
      ex_real wish = p >= best, gradient = 0;
      ex_real weight = (ex_real)((wish > 0 ? state->gate_weight[p] : 1) / ((double)n * gates));
      total += ex__loss_bce(&call->gate[p][i], 1, 1, &wish, &weight, NULL, &gradient);
      if (call->dgate[p] != NULL) call->dgate[p][i] += gradient;
    }
  }
  return total;
}

/* ---- looking at the held-out samples ------------------------------------------ */

/* Held-out batches that make one look. */
static int64_t batches_of_look(const struct ex_trainer *trainer) {
  return (trainer->n_meta + trainer->call->n - 1) / trainer->call->n;
}

static void read_meta(struct ex_trainer *trainer, int64_t index) {
  trainer->read(trainer, EX_SOURCE_META, index);
  trainer->forward(trainer, trainer->net->params, false);
}

static void count_best_exits(const struct jei *jei, struct state *state,
                             struct ex_trainer *trainer) {
  const struct ex_loss_call *call = trainer->call;
  const struct batch batch = batch_of(trainer);
  double n = 0, best[EX_MAX_POINTS] = {0};
  for (int64_t b = 0; b < batches_of_look(trainer); b++) {
    read_meta(trainer, b);
    judge_answers(jei, call, &batch);
    for (int32_t i = 0; i < call->n; i++) best[best_exit(jei, call, &batch, i)]++;
    n += call->n;
  }
  for (int32_t p = 0; p < call->n_points; p++)
    state->gate_weight[p] = fmin((n - best[p]) / fmax(best[p], 0.1), jei->largest_weight);
}

static void accuracies(struct ex_trainer *trainer, double accuracy[EX_MAX_POINTS]) {
  const struct ex_loss_call *call = trainer->call;
  int64_t batches = batches_of_look(trainer);
  for (int32_t p = 0; p < call->n_points; p++) accuracy[p] = 0;
  for (int64_t b = 0; b < batches; b++) {
    read_meta(trainer, b);
    for (int32_t p = 0; p < call->n_points; p++)
      for (int32_t i = 0; i < call->n; i++) {
        const ex_real *row = call->output[p] + (int64_t)i * call->n_outputs;
        bool right = true;
        for (int32_t c = 0; c < call->n_outputs; c++) right &= row[c] <= row[call->target[i]];
        accuracy[p] += right / ((double)batches * call->n);
      }
  }
}

/* Copies the parameters of one point's head. */
static void copy_head(const ex_net *net, int32_t point, ex_slabs *to, const ex_slabs *from) {
  int32_t segment = ex__net_segment(net->points[point].stage, EX_PART_HEAD);
  for (int32_t t = 0; t < ex__graph_n_tensors(net->graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, t);
    if (info->role == EX_ROLE_BUFFER || ex__graph_node(net->graph, info->node)->segment != segment)
      continue;
    memcpy(ex__slabs_tensor(to, net->graph, t), ex__slabs_tensor(from, net->graph, t),
           (size_t)ex__shape_count(&info->shape) * sizeof(ex_real));
  }
}

/* After an epoch of the warm-up: who has not become better for two waits, with
 * the weights of its best epoch. True: all do. */
static bool judge_warm_up(struct state *state, struct ex_trainer *trainer) {
  double accuracy[EX_MAX_POINTS] = {0};
  accuracies(trainer, accuracy);
  bool all = true;
  for (int32_t p = 0; p < trainer->net->n_points - 1; p++) {
    if (state->waits[p]) continue;
    if (accuracy[p] > state->best[p]) {
      state->best[p] = accuracy[p];
      state->not_better[p] = 0;
      copy_head(trainer->net, p, trainer->kept[0], trainer->net->params);
    } else if (++state->not_better[p] >= PATIENCE) {
      state->waits[p] = 1;
      copy_head(trainer->net, p, trainer->net->params, trainer->kept[0]);
    }
    all &= state->waits[p] != 0;
  }
  return all;
}

/* ---- steps --------------------------------------------------------------------- */

static void begin_epoch(const struct jei *jei, struct state *state, struct ex_trainer *trainer) {
  int32_t half = (trainer->n_epochs + 1) / 2;
  int32_t warmup = jei->warmup < half ? jei->warmup : half;
  if (!state->warm && trainer->epoch > 0 && judge_warm_up(state, trainer)) state->warm = 1;
  if (trainer->epoch >= warmup) state->warm = 1;
  if (state->warm && trainer->epoch > 0) count_best_exits(jei, state, trainer);
}

static void step(const void *values, void *memory, struct ex_trainer *trainer) {
  const struct jei *jei = values;
  struct state *state = memory;
  if (trainer->step == 0) begin_epoch(jei, state, trainer);
  const struct batch batch = batch_of(trainer);
  ex_slabs *params = trainer->net->params;
  bool gates = state->warm && trainer->step / jei->turn % 2 == 0;
  bool held_out = gates && jei->source == FROM_META;
  struct ex_update what = {!gates, UINT32_MAX, 0};
  if (gates) what = (struct ex_update){false, 0, UINT32_MAX};
  for (int32_t p = 0; !state->warm && p < trainer->net->n_points; p++)
    if (state->waits[p]) what.heads &= ~(UINT32_C(1) << p);
  trainer->read(trainer, held_out ? EX_SOURCE_META : EX_SOURCE_TRAIN, trainer->at);
  trainer->forward(trainer, params, !gates);
  trainer->note(trainer, !state->warm ? warm_loss(trainer->call)
                         : gates      ? gate_loss(jei, state, trainer->call, &batch)
                                      : head_loss(trainer->call, &batch));
  ex__slabs_zero(trainer->grads);
  trainer->backward(trainer, params, -1, trainer->grads);
  trainer->update(trainer, trainer->grads, what);
}

const struct ex_method ex__method_jei = {
    .name = "jei",
    .cite = "Regol et al., ICLR 2024",
    .summary =
        "Adds a gate to every exit of a frozen trunk and learns heads and gates by turns, so "
        "that heads are trained on the samples that will leave there. A step costs one pass "
        "through the trunk and one backward pass through heads or gates. Choose it to make "
        "a trained network leave early with one knob, the price of work, and with the "
        "policy jei.",
    .params = params,
    .size = sizeof(struct jei),
    .detached = true,
    .equip = equip,
    .flow = flow,
    .needs = needs,
    .start = start,
    .loss = loss,
    .step = step,
};
