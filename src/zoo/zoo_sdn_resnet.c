/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/sdn_resnet: ResNet-56 as a Shallow-Deep Network (Kaya, Hong & Dumitras,
 * ICML 2019), for images of about 32×32: internal classifiers at 15 to 90 % of
 * the work. Shortcuts that change the shape are 1×1 projections, as in the
 * authors' code; the last pooling, 8×8 there, is global here, which is the
 * same at 32×32.
 */
#include <stdio.h>

#include "zoo/zoo_internal_classifier.h"

struct sdn_resnet {
  struct ex_list blocks, widths, shares;
  int32_t stem_stride;
};

static const struct ex_param params[] = {
    {"blocks", EX_PARAM_LIST, offsetof(struct sdn_resnet, blocks), 1, 64, "9", NULL,
     "Residual blocks in each group; the last is repeated."},
    {"widths", EX_PARAM_LIST, offsetof(struct sdn_resnet, widths), 1, 4096, "16,32,64", NULL,
     "Channels of each group; every group but the first halves the map."},
    {"shares", EX_PARAM_LIST, offsetof(struct sdn_resnet, shares), 0.001, 0.999,
     "0.15,0.3,0.45,0.6,0.75,0.9", NULL,
     "Shares of the multiply-adds near which there is an internal classifier."},
    {"stem-stride", EX_PARAM_INT, offsetof(struct sdn_resnet, stem_stride), 1, 4, "1", NULL,
     "Stride of the first convolution; the authors take 2 for images of 64×64."},
    {.name = NULL},
};

/* One residual block, in the order in which they are built. */
struct block {
  int32_t channels, stride;
};

static int32_t list_blocks(const struct sdn_resnet *p, struct block *blocks) {
  int32_t n = 0;
  for (int32_t group = 0; group < p->widths.n; group++)
    for (int32_t i = 0; i < ex__zoo_int(&p->blocks, group) && n < EX_MAX_SDN_LAYERS; i++)
      blocks[n++] = (struct block){ex__zoo_int(&p->widths, group), group > 0 && i == 0 ? 2 : 1};
  return n;
}

static int32_t halved(int32_t side, int32_t stride) { return (side - 1) / stride + 1; }

/* Multiply-adds of each block, the stem's in the first; returns the total. */
static int64_t plan_costs(const struct sdn_resnet *p, const struct ex_shape *input,
                          const struct block *blocks, int32_t n, int64_t *cost) {
  int32_t height = halved(input->dim[1], p->stem_stride);
  int32_t width = halved(input->dim[2], p->stem_stride);
  int64_t channels = ex__zoo_int(&p->widths, 0), total = 0;
  int64_t stem = 9 * input->dim[0] * channels * height * width;
  for (int32_t i = 0; i < n; i++) {
    int64_t next = blocks[i].channels;
    height = halved(height, blocks[i].stride);
    width = halved(width, blocks[i].stride);
    bool projects = blocks[i].stride != 1 || next != channels;
    cost[i] = (9 * next * (channels + next) + (projects ? channels * next : 0)) * height * width;
    if (i == 0) cost[i] += stem;
    total += cost[i];
    channels = next;
  }
  return total;
}

static void build(const void *values, ex_builder *builder) {
  const struct sdn_resnet *p = values;
  struct block blocks[EX_MAX_SDN_LAYERS];
  int64_t cost[EX_MAX_SDN_LAYERS];
  bool marked[EX_MAX_SDN_LAYERS];
  ex__builder_stage(builder);
  int32_t x = ex__builder_input(builder), n = list_blocks(p, blocks);
  int64_t total = plan_costs(p, ex__builder_shape(builder, x), blocks, n, cost);
  ex__zoo_place(builder, cost, n - 1, total, &p->shares, marked);
  x = ex__zoo_conv_bn_relu(builder, "stem", x, ex__zoo_int(&p->widths, 0), 3, p->stem_stride, 1);
  for (int32_t i = 0; i < n; i++) {
    char name[32];
    snprintf(name, sizeof name, "block%d", (int)i + 1);
    x = ex__zoo_residual(builder, name, x, blocks[i].channels, blocks[i].stride);
    if (i == n - 1 || !marked[i]) continue;
    ex__zoo_internal_classifier(builder, x);
    ex__builder_stage(builder);
  }
  ex__builder_head(builder);
  ex__zoo_classify(builder, ex__builder_global_pool(builder, x));
}

extern const struct ex_architecture ex__architecture_sdn_resnet;
const struct ex_architecture ex__architecture_sdn_resnet = {
    "sdn_resnet", "Kaya, Hong & Dumitras, ICML 2019", "ResNet-56 with six internal classifiers.",
    params,       sizeof(struct sdn_resnet),          build,
};
