/* SPDX-License-Identifier: Apache-2.0
 *
 * method/l2w: Han, Pu, Lai, Wang, Song, Cao, Huang, Deng, Huang, "Learning to
 * Weight Samples for Dynamic Early-exiting Networks" (ECCV 2022). The loss is
 *
 *     L(θ; w) = Σ_k mean_i w_ik · CE_k(x_i),    w = 1 + strength · centred(tanh …),
 *
 * where a small network φ reads a sample's K losses (held constant) and says its K
 * weights. φ is trained by looking one step of the optimiser ahead, with its
 * moments and decay: at θ' a second batch is shared out among the exits as a
 * budget would do it (exit k keeps the most confident of those still there, a
 * share q_k ∝ p^k), and φ goes down the sum of the means of these parts. Batches
 * come in pairs, each of which is the other's second one (the halves of a loaded
 * batch, in the paper).
 *
 * By the weights the derivative is exact (method/bilevel.h), then it goes through
 * φ by hand. Shares, the choice of samples and what φ reads are held constant, as
 * in the published code. "exits" centring is that of its CIFAR, "all" that of its
 * ImageNet runs.
 *
 * Deviations: φ's weights begin as those of PyTorch's linear layer. Class
 * weights multiply w, and unlabelled samples are passed over. In batch norm's
 * running statistics nothing of the look ahead is left, where the published code
 * copies the network.
 */
#include "method/l2w.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "graph/loss.h"
#include "method/bilevel.h"

enum { MAX_HIDDEN = 2048, MAX_IN = 2 * EX_MAX_POINTS };
enum input { INPUT_LOSSES, INPUT_CONFIDENCES, INPUT_BOTH };
enum centre { CENTRE_EXITS, CENTRE_BATCH, CENTRE_ALL };

struct l2w {
  int32_t input, centre, hidden, every;
  double strength, p, rate, decay;
};

static const char *const inputs[] = {"losses", "confidences", "both", NULL};
static const char *const centres[] = {"exits", "batch", "all", NULL};

#define FIELD(name) offsetof(struct l2w, name)

static const struct ex_param params[] = {
    {"strength", EX_PARAM_REAL, FIELD(strength), 0, 1, "0.8", NULL,
     "How far weights may go from 1; the paper took 0.8 for CIFAR and 0.3 for ImageNet."},
    {"centre", EX_PARAM_ENUM, FIELD(centre), 0, 0, "exits", centres,
     "What weights have a mean of 1 over: a sample's exits, an exit's batch, or all."},
    {"input", EX_PARAM_ENUM, FIELD(input), 0, 0, "losses", inputs,
     "What the weight-prediction network reads of each exit."},
    {"hidden", EX_PARAM_INT, FIELD(hidden), 1, MAX_HIDDEN, "500", NULL,
     "Width of the weight-prediction network."},
    {"p", EX_PARAM_REAL, FIELD(p), 0.01, 2, "0.75", NULL,
     "Exit k keeps a share in proportion to p^k of the second batch: below 1 more leave early."},
    {"rate", EX_PARAM_REAL, FIELD(rate), 0, 1, "0.0001", NULL,
     "Adam's learning rate of the weight-prediction network, which falls to 0 as a cosine; 0: it "
     "stays as drawn."},
    {"decay", EX_PARAM_REAL, FIELD(decay), 0, 1, "0.0001", NULL,
     "Weight decay of the weight-prediction network, added to its gradient."},
    {"every", EX_PARAM_INT, FIELD(every), 1, 10000, "1", NULL,
     "The weight-prediction network learns in one of so many pairs of batches; the paper took 1 "
     "for CIFAR and 100 for ImageNet."},
    {0}};

/* ---- the weight-prediction network ------------------------------------------ */

static struct ex_l2w_shape shape_of(const struct l2w *own, int32_t n_points) {
  return (struct ex_l2w_shape){own->input == INPUT_BOTH ? 2 * n_points : n_points, own->hidden,
                               n_points};
}

/* The four parts of the network's numbers, or of their gradient. */
struct parts {
  double *w1, *b1, *w2, *b2;
};

static struct parts parts_of(const struct ex_l2w_shape *shape, double *number) {
  struct parts parts = {.w1 = number};
  parts.b1 = parts.w1 + (int64_t)shape->n_hidden * shape->n_in;
  parts.w2 = parts.b1 + shape->n_hidden;
  parts.b2 = parts.w2 + (int64_t)shape->n_points * shape->n_hidden;
  return parts;
}

/* hidden [n_hidden], out [n_points] in (−1, 1). */
static void predict(const struct ex_l2w_shape *shape, double *number, const double *in,
                    double *hidden, double *out) {
  struct parts own = parts_of(shape, number);
  for (int32_t j = 0; j < shape->n_hidden; j++) {
    double sum = own.b1[j];
    for (int32_t i = 0; i < shape->n_in; i++) sum += own.w1[j * shape->n_in + i] * in[i];
    hidden[j] = sum > 0 ? sum : 0;
  }
  for (int32_t k = 0; k < shape->n_points; k++) {
    double sum = own.b2[k];
    for (int32_t j = 0; j < shape->n_hidden; j++)
      sum += own.w2[k * shape->n_hidden + j] * hidden[j];
    out[k] = tanh(sum);
  }
}

/* Adds the gradient of Σ dout · out to `gradient`, laid out like the numbers. */
static void predict_back(const struct ex_l2w_shape *shape, double *number, const double *in,
                         const double *dout, double *gradient) {
  struct parts own = parts_of(shape, number), to = parts_of(shape, gradient);
  double hidden[MAX_HIDDEN], out[EX_MAX_POINTS], dsum[EX_MAX_POINTS];
  predict(shape, number, in, hidden, out);
  for (int32_t k = 0; k < shape->n_points; k++) {
    dsum[k] = dout[k] * (1 - out[k] * out[k]);
    to.b2[k] += dsum[k];
  }
  for (int32_t j = 0; j < shape->n_hidden; j++) {
    double dhidden = 0;
    if (hidden[j] == 0) continue; /* relu is shut, and nothing is multiplied by it */
    for (int32_t k = 0; k < shape->n_points; k++) {
      to.w2[k * shape->n_hidden + j] += dsum[k] * hidden[j];
      dhidden += dsum[k] * own.w2[k * shape->n_hidden + j];
    }
    to.b1[j] += dhidden;
    for (int32_t i = 0; i < shape->n_in; i++) to.w1[j * shape->n_in + i] += dhidden * in[i];
  }
}

/* ---- weights of samples ------------------------------------------------------ */

static const ex_real *row(const struct ex_loss_call *call, int32_t point, int32_t sample) {
  return call->output[point] + (int64_t)sample * call->n_outputs;
}

static double loss_of(const struct ex_loss_call *call, int32_t point, int32_t sample) {
  return ex__loss_cross_entropy(row(call, point, sample), 1, call->n_outputs, &call->target[sample],
                                NULL, NULL, NULL);
}

static double confidence_of(const struct ex_loss_call *call, int32_t point, int32_t sample) {
  ex_real *p = call->scratch, most = 0;
  ex__softmax(row(call, point, sample), 1, call->n_outputs, 1, p);
  for (int32_t c = 0; c < call->n_outputs; c++) most = p[c] > most ? p[c] : most;
  return (double)most;
}

static int32_t count_labelled(const struct ex_loss_call *call) {
  int32_t labelled = 0;
  for (int32_t i = 0; i < call->n; i++) labelled += call->target[i] >= 0;
  return labelled;
}

static double class_weight(const struct ex_loss_call *call, int32_t sample) {
  return call->weight != NULL ? (double)call->weight[sample] : 1;
}

/* in [n_in]: what the network reads of a sample. */
static void describe(const struct l2w *own, const struct ex_loss_call *call, int32_t sample,
                     double *in) {
  int32_t n = 0;
  for (int32_t k = 0; own->input != INPUT_CONFIDENCES && k < call->n_points; k++)
    in[n++] = loss_of(call, k, sample);
  for (int32_t k = 0; own->input != INPUT_LOSSES && k < call->n_points; k++)
    in[n++] = confidence_of(call, k, sample);
}

/* Of what the network says of the labelled samples. */
struct means {
  double point[EX_MAX_POINTS], all;
};

static struct means find_means(const struct l2w *own, double *number,
                               const struct ex_loss_call *call) {
  struct ex_l2w_shape shape = shape_of(own, call->n_points);
  double in[MAX_IN], hidden[MAX_HIDDEN], out[EX_MAX_POINTS];
  struct means means = {.all = 0};
  int32_t labelled = count_labelled(call);
  for (int32_t i = 0; own->centre != CENTRE_EXITS && i < call->n; i++) {
    if (call->target[i] < 0) continue;
    describe(own, call, i, in);
    predict(&shape, number, in, hidden, out);
    for (int32_t k = 0; k < call->n_points; k++) {
      means.point[k] += out[k] / labelled;
      means.all += out[k] / labelled / call->n_points;
    }
  }
  return means;
}

/* w [n_points] of a sample. */
static void weigh(const struct l2w *own, double *number, const struct ex_loss_call *call,
                  const struct means *means, int32_t sample, double *w) {
  struct ex_l2w_shape shape = shape_of(own, call->n_points);
  double in[MAX_IN], hidden[MAX_HIDDEN], mean = means->all;
  int32_t n = call->n_points;
  describe(own, call, sample, in);
  predict(&shape, number, in, hidden, w);
  if (own->centre == CENTRE_EXITS) {
    mean = 0;
    for (int32_t k = 0; k < n; k++) mean += w[k] / n;
  }
  for (int32_t k = 0; k < n; k++)
    w[k] = 1 + own->strength * (w[k] - (own->centre == CENTRE_BATCH ? means->point[k] : mean));
}

/* ---- the loss ------------------------------------------------------------------ */

/* Adds factor × the loss of one sample at one exit to the seeds; returns it. */
static double add_sample(const struct ex_loss_call *call, int32_t point, int32_t sample,
                         double factor) {
  if (call->doutput[point] == NULL) return 0;
  ex_real weight = (ex_real)(factor * class_weight(call, sample));
  return ex__loss_cross_entropy(row(call, point, sample), 1, call->n_outputs, &call->target[sample],
                                &weight, NULL,
                                call->doutput[point] + (int64_t)sample * call->n_outputs);
}

static double loss(const void *values, void *state, const struct ex_loss_call *call) {
  const struct l2w *own = values;
  struct ex_l2w_state *kept = state;
  struct means means = find_means(own, kept->number, call);
  double sum = 0, w[EX_MAX_POINTS];
  int32_t labelled = count_labelled(call);
  for (int32_t k = 0; k < call->n_points; k++) call->point_loss[k] = labelled > 0 ? 0 : NAN;
  for (int32_t i = 0; i < call->n; i++) {
    if (call->target[i] < 0) continue;
    weigh(own, kept->number, call, &means, i, w);
    for (int32_t k = 0; k < call->n_points; k++) {
      sum += add_sample(call, k, i, w[k] / labelled);
      call->point_loss[k] += loss_of(call, k, i) / labelled;
    }
  }
  return sum;
}

/* ---- the second batch, shared out ------------------------------------------------ */

struct place {
  double confidence;
  int32_t sample;
};

/* The surest first, of equals the first. */
static int compare_places(const void *left, const void *right) {
  const struct place *a = left, *b = right;
  if (a->confidence != b->confidence) return a->confidence > b->confidence ? -1 : 1;
  return a->sample < b->sample ? -1 : a->sample > b->sample;
}

/* How many of n the exit keeps; the last keeps who is left. */
static int32_t quota_of(double p, int32_t n_points, int32_t point, int32_t n) {
  double sum = 0;
  for (int32_t k = 1; k <= n_points; k++) sum += pow(p, k);
  double quota = n * pow(p, point + 1) / sum;
  return (int32_t)floor(quota + 1e-9); /* a whole number may have come out just below itself */
}

/* Adds the gradient of the sum of the parts' means; place [n] is overwritten. */
static double share_out(const struct l2w *own, const struct ex_loss_call *call,
                        struct place *place) {
  int32_t n = 0, n_points = call->n_points;
  double sum = 0;
  for (int32_t i = 0; i < call->n; i++)
    if (call->target[i] >= 0) place[n++].sample = i;
  for (int32_t k = 0, left = n; k < n_points && left > 0; k++) {
    int32_t quota = k == n_points - 1 ? left : quota_of(own->p, n_points, k, n);
    for (int32_t i = 0; i < left; i++)
      place[i].confidence = confidence_of(call, k, place[i].sample);
    qsort(place, (size_t)left, sizeof *place, compare_places);
    for (int32_t i = 0; i < quota; i++) sum += add_sample(call, k, place[i].sample, 1.0 / quota);
    left -= quota;
    memmove(place, place + quota, (size_t)left * sizeof *place);
  }
  return sum;
}

/* ---- learning ---------------------------------------------------------------------- */

static void needs(const void *values, const ex_net *net, int32_t batch, int32_t n_steps,
                  struct ex_method_needs *needs) {
  const struct l2w *own = values;
  struct ex_l2w_shape shape = shape_of(values, net->n_points);
  size_t count = (size_t)ex__l2w_count(&shape), n = (size_t)batch;
  (void)n_steps;
  needs->state = sizeof(struct ex_l2w_state) + 3 * count * sizeof(double);
  needs->scratch = (n * (size_t)(2 * shape.n_points + shape.n_in) + count) * sizeof(double) +
                   n * sizeof(struct place);
  needs->work = EX_BILEVEL_WORK;
  needs->aside = own->rate > 0;
}

static void draw(struct ex_random *random, double *x, int64_t n, int32_t n_in) {
  double bound = 1 / sqrt(n_in);
  for (int64_t i = 0; i < n; i++) x[i] = bound * (2 * ex__random_uniform(random) - 1);
}

static void start(const void *values, const ex_net *net, uint64_t seed, void *state) {
  enum { STREAM = 0x12e };
  struct ex_l2w_state *kept = state;
  struct ex_l2w_shape shape = shape_of(values, net->n_points);
  struct parts parts = parts_of(&shape, kept->number);
  struct ex_random random = ex__random_seed(seed, STREAM);
  draw(&random, parts.w1, (int64_t)shape.n_hidden * shape.n_in, shape.n_in);
  draw(&random, parts.b1, shape.n_hidden, shape.n_in);
  draw(&random, parts.w2, (int64_t)shape.n_points * shape.n_hidden, shape.n_hidden);
  draw(&random, parts.b2, shape.n_points, shape.n_hidden);
}

struct context {
  const struct l2w *own;
  struct ex_l2w_state *kept;
  double *in; /* [n][n_in] what the network reads of the first batch at θ */
  struct place *place;
};

static void inner(void *context, const struct ex_loss_call *call) {
  const struct context *c = context;
  int32_t n_in = shape_of(c->own, call->n_points).n_in;
  for (int32_t i = 0; i < call->n; i++)
    if (call->target[i] >= 0) describe(c->own, call, i, c->in + (int64_t)i * n_in);
  loss(c->own, c->kept, call);
}

static void outer(void *context, const struct ex_loss_call *call) {
  const struct context *c = context;
  share_out(c->own, call, c->place);
}

/* The loss of every sample at every exit, [n][n_points]. */
static void measure(void *context, const struct ex_loss_call *call, double *losses) {
  (void)context;
  for (int32_t i = 0; i < call->n; i++)
    for (int32_t k = 0; k < call->n_points; k++)
      *losses++ = call->doutput[k] != NULL ? loss_of(call, k, i) : 0;
}

/* dL/dw of what multiplies a sample's loss → dL/d(what the network says), both
 * [n][n_points] in place. Centring is symmetric, so it is its own transpose. */
static void through_centring(const struct l2w *own, const struct ex_loss_call *call, double *dw) {
  int32_t n_points = call->n_points, labelled = count_labelled(call);
  double of_point[EX_MAX_POINTS] = {0}, of_all = 0;
  for (int32_t i = 0; i < call->n; i++) {
    double *of_sample = dw + (int64_t)i * n_points, sum = 0;
    if (call->target[i] < 0) continue;
    for (int32_t k = 0; k < n_points; k++) {
      of_sample[k] *= own->strength * class_weight(call, i) / labelled;
      of_point[k] += of_sample[k] / labelled;
      sum += of_sample[k] / n_points;
    }
    of_all += sum / labelled;
    for (int32_t k = 0; own->centre == CENTRE_EXITS && k < n_points; k++) of_sample[k] -= sum;
  }
  for (int32_t i = 0; own->centre != CENTRE_EXITS && i < call->n; i++)
    for (int32_t k = 0; k < n_points; k++)
      dw[(int64_t)i * n_points + k] -= own->centre == CENTRE_BATCH ? of_point[k] : of_all;
}

static double rate_now(const struct l2w *own, const struct ex_trainer *trainer) {
  double done = ((double)trainer->epoch * trainer->n_steps + trainer->step) /
                ((double)trainer->n_epochs * trainer->n_steps);
  return own->rate * 0.5 * (1 + cos(3.14159265358979323846 * done));
}

static void learn(const struct l2w *own, struct ex_l2w_state *kept, struct ex_trainer *trainer) {
  const struct ex_loss_call *call = trainer->call;
  struct ex_l2w_shape shape = shape_of(own, call->n_points);
  int64_t n = (int64_t)call->n * call->n_points, count = ex__l2w_count(&shape);
  double *dw = trainer->scratch, *spare = dw + n, *in = spare + n;
  double *gradient = in + (int64_t)call->n * shape.n_in;
  struct context context = {own, kept, in, (struct place *)(gradient + count)};
  const struct ex_hyper hyper = {.inner_batch = trainer->at,
                                 .outer_source = EX_SOURCE_TRAIN,
                                 .outer_batch = trainer->at ^ 1, /* the other of the pair */
                                 .n = (int32_t)n,
                                 .inner = inner,
                                 .outer = outer,
                                 .measure = measure,
                                 .context = &context,
                                 .spare = spare,
                                 .gradient = dw};
  ex__hypergradient(trainer, &hyper);
  through_centring(own, call, dw);
  memset(gradient, 0, (size_t)count * sizeof *gradient);
  for (int32_t i = 0; i < call->n; i++)
    if (call->target[i] >= 0)
      predict_back(&shape, kept->number, in + (int64_t)i * shape.n_in,
                   dw + (int64_t)i * call->n_points, gradient);
  for (int64_t i = 0; i < count; i++) gradient[i] += own->decay * kept->number[i];
  ex__adam_step(&kept->adam, count, rate_now(own, trainer), gradient, kept->number + count,
                kept->number + 2 * count, kept->number);
}

static void step(const void *values, void *state, struct ex_trainer *trainer) {
  const struct l2w *own = values;
  trainer->read(trainer, EX_SOURCE_TRAIN, trainer->at);
  trainer->forward(trainer, trainer->net->params, true);
  if (own->rate > 0 && trainer->at / 2 % own->every == 0) learn(own, state, trainer);
  ex__method_descend(trainer, loss(values, state, trainer->call));
}

const struct ex_method ex__method_l2w = {
    .name = "l2w",
    .cite = "Han et al., ECCV 2022",
    .summary = "A small network learns how much each sample counts at each exit, so that after a "
               "step the exits are good at the samples that a budget would leave to them. A step "
               "in which it learns takes four forward and three backward passes instead of one of "
               "each. Choose it when answers are taken under a budget, and not for the accuracy of "
               "every exit on all samples.",
    .params = params,
    .size = sizeof(struct l2w),
    .detached = true,
    .needs = needs,
    .start = start,
    .loss = loss,
    .step = step,
};
