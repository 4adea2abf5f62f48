/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/sdn_vgg: VGG-16 with batch-norm as a Shallow-Deep Network (Kaya, Hong &
 * Dumitras, ICML 2019), for images of about 32×32: internal classifiers at 15
 * to 90 % of the work, the final classifier last.
 *
 * As in the authors' code the linear layers are 512, ReLU, dropout, 512,
 * dropout, and the classifier. Deviations: a pooling that would leave nothing
 * of a map (28×28 has four halvings, not five) is left out; linear layers start
 * as PyTorch's do and not with a deviation of 0.01; classifiers follow
 * convolutions only.
 */
#include <stdio.h>

#include "zoo/zoo_internal_classifier.h"

struct vgg {
  struct ex_list channels, pool_after, hidden, shares;
  int32_t batch_norm;
  double dropout;
};

static const struct ex_param params[] = {
    {"channels", EX_PARAM_LIST, offsetof(struct vgg, channels), 1, 4096,
     "64,64,128,128,256,256,256,512,512,512,512,512,512", NULL,
     "Channels of each 3×3 convolution."},
    {"pool-after", EX_PARAM_LIST, offsetof(struct vgg, pool_after), 1, EX_MAX_LIST, "2,4,7,10,13",
     NULL, "Convolutions (from 1) that a 2×2 max pooling follows."},
    {"hidden", EX_PARAM_LIST, offsetof(struct vgg, hidden), 1, 65536, "512,512", NULL,
     "Features of the linear layers before the last classifier."},
    {"shares", EX_PARAM_LIST, offsetof(struct vgg, shares), 0.001, 0.999,
     "0.15,0.3,0.45,0.6,0.75,0.9", NULL,
     "Shares of the multiply-adds near which there is an internal classifier."},
    {"batch-norm", EX_PARAM_BOOL, offsetof(struct vgg, batch_norm), 0, 1, "true", NULL,
     "Whether batch-norm follows each convolution."},
    {"dropout", EX_PARAM_REAL, offsetof(struct vgg, dropout), 0, 0.95, "0.5", NULL,
     "Share of features dropped after each hidden linear layer."},
    {.name = NULL},
};

static bool pools(const struct vgg *p, int32_t layer, int32_t height, int32_t width) {
  return ex__zoo_has(&p->pool_after, layer + 1) && height >= 2 && width >= 2;
}

/* Multiply-adds of each convolution, as build_conv makes it; returns the total. */
static int64_t plan_costs(const struct vgg *p, const struct ex_shape *input, int64_t *cost) {
  int64_t channels = input->dim[0], total = 0;
  int32_t height = input->dim[1], width = input->dim[2];
  for (int32_t i = 0; i < p->channels.n; i++) {
    int64_t next = ex__zoo_int(&p->channels, i);
    cost[i] = 9 * channels * next * height * width;
    total += cost[i];
    if (pools(p, i, height, width)) {
      height /= 2;
      width /= 2;
    }
    channels = next;
  }
  int64_t features = channels * height * width;
  for (int32_t i = 0; i < p->hidden.n; i++) {
    total += features * ex__zoo_int(&p->hidden, i);
    features = ex__zoo_int(&p->hidden, i);
  }
  return total; /* the last classifier is as small as the internal ones, and not counted */
}

static int32_t build_conv(ex_builder *builder, const struct vgg *p, int32_t i, int32_t x) {
  char name[32];
  snprintf(name, sizeof name, "layer%d.conv", (int)i + 1);
  ex__builder_init(builder, EX_INIT_HE_FAN_OUT);
  x = ex__builder_conv(builder, name, x, ex__zoo_int(&p->channels, i), 3, 1, 1, !p->batch_norm);
  snprintf(name, sizeof name, "layer%d.bn", (int)i + 1);
  if (p->batch_norm) x = ex__builder_batch_norm(builder, name, x);
  x = ex__builder_relu(builder, x);
  const struct ex_shape *shape = ex__builder_shape(builder, x);
  if (pools(p, i, shape->dim[1], shape->dim[2])) x = ex__builder_max_pool(builder, x, 2, 2, 0);
  return x;
}

static void build(const void *values, ex_builder *builder) {
  const struct vgg *p = values;
  int64_t cost[EX_MAX_LIST];
  bool marked[EX_MAX_LIST];
  ex__builder_stage(builder);
  int32_t x = ex__builder_input(builder);
  int64_t total = plan_costs(p, ex__builder_shape(builder, x), cost);
  ex__zoo_place(builder, cost, p->channels.n, total, &p->shares, marked);
  for (int32_t i = 0; i < p->channels.n; i++) {
    x = build_conv(builder, p, i, x);
    if (!marked[i]) continue;
    ex__zoo_internal_classifier(builder, x);
    ex__builder_stage(builder);
  }
  for (int32_t i = 0; i < p->hidden.n; i++) {
    char name[32];
    snprintf(name, sizeof name, "linear%d", (int)i + 1);
    x = ex__zoo_linear(builder, name, x, ex__zoo_int(&p->hidden, i));
    if (i + 1 < p->hidden.n) x = ex__builder_relu(builder, x);
    x = ex__zoo_dropout(builder, x, p->dropout);
  }
  ex__builder_head(builder);
  ex__zoo_classify(builder, x);
}

extern const struct ex_architecture ex__architecture_sdn_vgg;
const struct ex_architecture ex__architecture_sdn_vgg = {
    "sdn_vgg",
    "Kaya, Hong & Dumitras, ICML 2019",
    "VGG-16 with six internal classifiers.",
    params,
    sizeof(struct vgg),
    build,
};
