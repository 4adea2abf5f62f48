/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/msdnet: Multi-Scale Dense Network (Huang et al., ICLR 2018).
 *
 * Feature maps at S scales at every depth; layer l at scale s appends to its
 * map x(l−1, s) new channels made from that map and, by a strided convolution,
 * from the finer x(l−1, s−1), half of them each; the finest live scale makes
 * all of them from its own. Each convolution is a 1×1 bottleneck to at most
 * factor × new channels (the factor of the scale it reads), then 3×3. Exits
 * read the coarsest scale only. Finer scales are dropped towards the end: one
 * after each S-th of the depth (`prune` max: there every live map is halved by a
 * 1×1 transition) or as late as they can still matter (min: transitions after
 * one and two thirds of the depth, whatever S). The rules of layers, scales and transitions are those of
 * the authors' PyTorch code; the channels, multiply-adds and parameters of
 * three configurations are a test.
 *
 * Maps are made on demand by `map`. By default every scale of every layer of
 * a block is demanded before its exit, as in the authors' code, even the last
 * fine maps that nothing reads. With `lazy` only what an exit needs is
 * demanded (the paper's lazy evaluation): the rest is made in a later stage,
 * or never.
 */
#include <math.h>
#include <stdio.h>

#include "zoo/zoo_blocks.h"

enum { MAX_LAYERS = 512, MAX_SCALES = 8, NOT_MADE = -2 };

struct msdnet {
  int32_t exits, base, step, mode, channels, growth, bottleneck, prune, stem, head, head_channels,
      lazy;
  struct ex_list factors, bottleneck_factors;
  double reduction;
};

enum { MODE_EVEN, MODE_LIN_GROW };
enum { PRUNE_MAX, PRUNE_MIN };
enum { FOR_CIFAR, FOR_IMAGENET };
static const char *const modes[] = {"even", "lin_grow", NULL};
static const char *const prunes[] = {"max", "min", NULL};
static const char *const forms[] = {"cifar", "imagenet", NULL};

static const struct ex_param params[] = {
    {"exits", EX_PARAM_INT, offsetof(struct msdnet, exits), 1, EX_MAX_POINTS, "7", NULL,
     "Blocks, each with an exit after it."},
    {"base", EX_PARAM_INT, offsetof(struct msdnet, base), 1, 64, "4", NULL,
     "Layers of the first block."},
    {"step", EX_PARAM_INT, offsetof(struct msdnet, step), 1, 64, "2", NULL,
     "Layers of the others; with lin_grow, block k (from 1) has step·k + 1."},
    {"mode", EX_PARAM_ENUM, offsetof(struct msdnet, mode), 0, 0, "even", modes,
     "How the blocks grow."},
    {"channels", EX_PARAM_INT, offsetof(struct msdnet, channels), 1, 1024, "16", NULL,
     "Channels of the first layer, times the factor of a scale."},
    {"growth", EX_PARAM_INT, offsetof(struct msdnet, growth), 1, 1024, "6", NULL,
     "New channels of a layer, times the factor of a scale."},
    {"factors", EX_PARAM_LIST, offsetof(struct msdnet, factors), 1, 64, "1,2,4", NULL,
     "Factor of each scale, from fine to coarse; as many as there are scales."},
    {"bottleneck", EX_PARAM_BOOL, offsetof(struct msdnet, bottleneck), 0, 1, "true", NULL,
     "Whether a 1×1 convolution comes before each 3×3."},
    {"bottleneck-factors", EX_PARAM_LIST, offsetof(struct msdnet, bottleneck_factors), 1, 64,
     "1,2,4", NULL, "Width of the bottleneck over new channels, by the scale it reads."},
    {"prune", EX_PARAM_ENUM, offsetof(struct msdnet, prune), 0, 0, "max", prunes,
     "When finer scales are dropped."},
    {"reduction", EX_PARAM_REAL, offsetof(struct msdnet, reduction), 0, 1, "0.5", NULL,
     "Share of channels that a transition keeps; 0: no transitions."},
    {"stem", EX_PARAM_ENUM, offsetof(struct msdnet, stem), 0, 0, "cifar", forms,
     "First convolution: 3×3, or 7×7 of stride 2 and pooling."},
    {"head", EX_PARAM_ENUM, offsetof(struct msdnet, head), 0, 0, "cifar", forms,
     "Heads of head-channels, or of as many as the map they read."},
    {"head-channels", EX_PARAM_INT, offsetof(struct msdnet, head_channels), 1, 4096, "128", NULL,
     "Channels of the two convolutions of a cifar head."},
    {"lazy", EX_PARAM_BOOL, offsetof(struct msdnet, lazy), 0, 1, "false", NULL,
     "Whether maps that an exit does not need wait for a later stage."},
    {.name = NULL},
};

/* ---- the plan ------------------------------------------------------------- */

struct layer {
  int32_t first;        /* finest live scale of its output */
  bool drops;           /* whether it drops a scale that its input has */
  int32_t channels;     /* of its input, over the scale's factor */
  int32_t reduced;      /* of the transition after it, over the factor; 0: none */
  int32_t out_channels; /* what the next layer gets */
};

struct build {
  const struct msdnet *p;
  ex_builder *builder;
  int32_t input, n_scales, n_layers;
  struct layer layer[MAX_LAYERS + 1];      /* [0]: the first layer */
  int32_t map[MAX_LAYERS + 1][MAX_SCALES]; /* values, −1 after a failure, or NOT_MADE */
};

static int32_t block_layers(const struct msdnet *p, int32_t block) {
  if (block == 0) return p->base;
  return p->mode == MODE_EVEN ? p->step : p->step * block + 1;
}

static int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

/* Scales alive at the input and output of layer l, from 1. */
static void live_scales(const struct build *b, int32_t l, int32_t *in, int32_t *out) {
  int32_t scales = b->n_scales, layers = b->n_layers;
  if (b->p->prune == PRUNE_MIN) {
    *in = smaller(scales, layers - l + 2);
    *out = smaller(scales, layers - l + 1);
    return;
  }
  int32_t interval = (layers + scales - 1) / scales;
  *in = scales - (l > 2 ? l - 2 : 0) / interval;
  *out = scales - (l - 1) / interval;
}

static bool has_transition(const struct build *b, int32_t l, bool drops) {
  if (b->p->reduction <= 0) return false;
  if (b->p->prune == PRUNE_MAX) return drops;
  return l == b->n_layers / 3 || l == 2 * b->n_layers / 3;
}

static void plan_layers(struct build *b) {
  for (int32_t l = 0; l <= b->n_layers; l++)
    for (int32_t s = 0; s < b->n_scales; s++) b->map[l][s] = NOT_MADE;
  b->layer[0] = (struct layer){.out_channels = b->p->channels};
  for (int32_t l = 1; l <= b->n_layers; l++) {
    struct layer *layer = &b->layer[l];
    int32_t in, out;
    live_scales(b, l, &in, &out);
    layer->first = b->n_scales - out;
    layer->drops = in > out;
    layer->channels = b->layer[l - 1].out_channels;
    layer->out_channels = layer->channels + b->p->growth;
    layer->reduced = 0;
    if (!has_transition(b, l, layer->drops)) continue;
    layer->reduced = (int32_t)floor(b->p->reduction * layer->out_channels);
    layer->out_channels = layer->reduced;
  }
}

/* Coarser scales take half of their new channels from either source. */
static bool check_growth(const struct build *b) {
  for (int32_t s = 1; s < b->n_scales; s++) {
    int32_t channels = b->p->growth * ex__zoo_int(&b->p->factors, s);
    if (channels % 2 == 0) continue;
    ex__builder_fail(b->builder, EX_EINVAL,
                     "growth = %d: scale %d would get %d channels; must be even", (int)b->p->growth,
                     (int)s, (int)channels);
    return false;
  }
  return true;
}

/* False, with the builder failed, where the parameters do not fit each other. */
static bool check(struct build *b) {
  const struct msdnet *p = b->p;
  b->n_scales = p->factors.n;
  for (int32_t block = 0; block < p->exits; block++) b->n_layers += block_layers(p, block);
  if (b->n_scales < 1 || b->n_scales > MAX_SCALES || p->bottleneck_factors.n != b->n_scales)
    ex__builder_fail(b->builder, EX_EINVAL,
                     "%d factors and %d bottleneck-factors; must be as many, 1 to %d",
                     (int)b->n_scales, (int)p->bottleneck_factors.n, MAX_SCALES);
  else if (b->n_layers > MAX_LAYERS || b->n_layers < b->n_scales)
    ex__builder_fail(b->builder, EX_EINVAL, "%d layers; must be %d to %d", (int)b->n_layers,
                     (int)b->n_scales, MAX_LAYERS);
  else
    return check_growth(b);
  return false;
}

/* ---- maps ----------------------------------------------------------------- */

static int32_t factor(const struct build *b, int32_t s) { return ex__zoo_int(&b->p->factors, s); }

static int32_t make_stem(struct build *b) {
  ex_builder *builder = b->builder;
  int32_t channels = b->p->channels * factor(b, 0);
  if (b->p->stem == FOR_CIFAR)
    return ex__zoo_conv_bn_relu(builder, "layer0.scale0", b->input, channels, 3, 1, 1);
  ex__builder_init(builder, EX_INIT_HE_FAN_OUT);
  int32_t x = ex__builder_conv(builder, "layer0.scale0.conv", b->input, channels, 7, 2, 3, true);
  x = ex__builder_relu(builder, ex__builder_batch_norm(builder, "layer0.scale0.bn", x));
  return ex__builder_max_pool(builder, x, 3, 2, 1);
}

/* Bottleneck and 3×3 from the map x of scale `from`. */
static int32_t make_new(struct build *b, const char *name, int32_t x, int32_t from,
                        int32_t channels, int32_t stride) {
  char full[EX_NAME_SIZE + 16];
  if (b->p->bottleneck) {
    int32_t in = ex__builder_shape(b->builder, x)->dim[0];
    int32_t width = smaller(in, ex__zoo_int(&b->p->bottleneck_factors, from) * channels);
    snprintf(full, sizeof full, "%s.bottleneck", name);
    x = ex__zoo_conv_bn_relu(b->builder, full, x, width, 1, 1, 0);
  }
  return ex__zoo_conv_bn_relu(b->builder, name, x, channels, 3, stride, 1);
}

static int32_t map(struct build *b, int32_t l, int32_t s);

static int32_t make_layer(struct build *b, int32_t l, int32_t s) {
  const struct layer *layer = &b->layer[l];
  char name[48];
  int32_t channels = b->p->growth * factor(b, s), in[3], n_in = 0;
  bool has_finer = s > layer->first || layer->drops;
  in[n_in++] = map(b, l - 1, s);
  if (has_finer) {
    channels /= 2;
    snprintf(name, sizeof name, "layer%d.scale%d.down", (int)l, (int)s);
    in[n_in++] = make_new(b, name, map(b, l - 1, s - 1), s - 1, channels, 2);
  }
  snprintf(name, sizeof name, "layer%d.scale%d.normal", (int)l, (int)s);
  in[n_in++] = make_new(b, name, in[0], s, channels, 1);
  int32_t x = ex__builder_concat(b->builder, in, n_in);
  if (layer->reduced == 0) return x;
  snprintf(name, sizeof name, "layer%d.scale%d.transition", (int)l, (int)s);
  return ex__zoo_conv_bn_relu(b->builder, name, x, layer->reduced * factor(b, s), 1, 1, 0);
}

/* The map of layer l at scale s, made in the current stage unless it exists. */
static int32_t map(struct build *b, int32_t l, int32_t s) {
  if (b->map[l][s] != NOT_MADE) return b->map[l][s];
  if (l == 0 && s == 0) {
    b->map[l][s] = make_stem(b);
  } else if (l == 0) {
    char name[48];
    snprintf(name, sizeof name, "layer0.scale%d", (int)s);
    b->map[l][s] = ex__zoo_conv_bn_relu(b->builder, name, map(b, 0, s - 1),
                                        b->p->channels * factor(b, s), 3, 2, 1);
  } else {
    b->map[l][s] = make_layer(b, l, s);
  }
  return b->map[l][s];
}

/* ---- exits ---------------------------------------------------------------- */

static void build_head(struct build *b, int32_t x) {
  ex__builder_head(b->builder);
  int32_t channels =
      b->p->head == FOR_CIFAR ? b->p->head_channels : ex__builder_shape(b->builder, x)->dim[0];
  x = ex__zoo_conv_bn_relu(b->builder, "layer1", x, channels, 3, 2, 1);
  x = ex__zoo_conv_bn_relu(b->builder, "layer2", x, channels, 3, 2, 1);
  ex__zoo_classify(b->builder, ex__builder_avg_pool(b->builder, x, 2, 2, 0));
}

static void demand_all(struct build *b, int32_t from, int32_t to) {
  for (int32_t l = from; l <= to; l++)
    for (int32_t s = b->layer[l].first; s < b->n_scales; s++) map(b, l, s);
}

static void build(const void *values, ex_builder *builder) {
  struct build b = {.p = values, .builder = builder};
  if (!check(&b)) return;
  plan_layers(&b);
  for (int32_t block = 0, l = 0; block < b.p->exits; block++) {
    ex__builder_stage(builder);
    if (block == 0) b.input = ex__builder_input(builder);
    int32_t next = l + block_layers(b.p, block);
    if (!b.p->lazy) demand_all(&b, block == 0 ? 0 : l + 1, next);
    build_head(&b, map(&b, next, b.n_scales - 1));
    l = next;
  }
}

extern const struct ex_architecture ex__architecture_msdnet;
const struct ex_architecture ex__architecture_msdnet = {
    "msdnet",
    "Huang et al., ICLR 2018",
    "Multi-Scale Dense Network: coarse features from the first layer on, dense connections.",
    params,
    sizeof(struct msdnet),
    build,
};
