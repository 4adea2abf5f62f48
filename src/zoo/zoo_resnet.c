/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/resnet_exits and zoo/resnet18: residual networks (He et al., CVPR 2016)
 * with an exit after any group of blocks; one builder, two sets of defaults.
 *
 * resnet_exits is ours: a small network for 28×28 whose four exits are spread
 * over 13.0 M multiply-adds, a block of 16, 32, 32 and 64 channels each.
 * resnet18 is the usual form of ResNet-18 for 32×32: a 3×3 stem without
 * pooling, 2 blocks each of 64, 128, 256 and 512 channels.
 *
 * Heads read the group's map: `pool` averages it down to `head-grid` cells a
 * side, `conv` first puts a 3×3 convolution of stride 2 with batch-norm and
 * ReLU before the average. The last head is always the global average and a
 * linear layer, as in the paper.
 */
#include <stdio.h>

#include "zoo/zoo_blocks.h"

struct resnet {
  struct ex_list widths, strides, blocks, exits;
  int32_t stem, stem_kernel, stem_stride, head, head_grid, head_channels;
};

enum { HEAD_POOL, HEAD_CONV };
static const char *const heads[] = {"pool", "conv", NULL};

#define COMMON_PARAMS                                                                 \
  {"stem-kernel", EX_PARAM_INT, offsetof(struct resnet, stem_kernel),       1, 15,    \
   "3",           NULL,         "Size of the first kernel, padded by half."},         \
      {"stem-stride", EX_PARAM_INT, offsetof(struct resnet, stem_stride), 1, 4,       \
       "1",           NULL,         "Stride of the first convolution."},              \
      {"head",                                                                        \
       EX_PARAM_ENUM,                                                                 \
       offsetof(struct resnet, head),                                                 \
       0,                                                                             \
       0,                                                                             \
       "pool",                                                                        \
       heads,                                                                         \
       "Form of the early heads: pooling and linear, or a convolution before them."}, \
      {"head-grid",                                                                   \
       EX_PARAM_INT,                                                                  \
       offsetof(struct resnet, head_grid),                                            \
       1,                                                                             \
       16,                                                                            \
       "1",                                                                           \
       NULL,                                                                          \
       "Cells a side that an early head pools its map to; 1 is the global average."}, \
      {"head-channels",                                                               \
       EX_PARAM_INT,                                                                  \
       offsetof(struct resnet, head_channels),                                        \
       1,                                                                             \
       4096,                                                                          \
       "32",                                                                          \
       NULL,                                                                          \
       "Channels of the convolution of an early head of the form conv."},             \
  {                                                                                   \
    .name = NULL                                                                      \
  }

static const struct ex_param params_exits[] = {
    {"stem", EX_PARAM_INT, offsetof(struct resnet, stem), 1, 4096, "16", NULL,
     "Channels of the first convolution."},
    {"widths", EX_PARAM_LIST, offsetof(struct resnet, widths), 1, 4096, "16,32,32,64", NULL,
     "Channels of each group of blocks."},
    {"strides", EX_PARAM_LIST, offsetof(struct resnet, strides), 1, 4, "1,2,1,2", NULL,
     "Stride of each group's first block; the last is repeated."},
    {"blocks", EX_PARAM_LIST, offsetof(struct resnet, blocks), 1, 100, "1", NULL,
     "Residual blocks in each group; the last is repeated."},
    {"exits", EX_PARAM_LIST, offsetof(struct resnet, exits), 1, EX_MAX_LIST, "1,2,3,4", NULL,
     "Groups (from 1) after which there is an exit; the last group always has one."},
    COMMON_PARAMS,
};

static const struct ex_param params_18[] = {
    {"stem", EX_PARAM_INT, offsetof(struct resnet, stem), 1, 4096, "64", NULL,
     "Channels of the first convolution."},
    {"widths", EX_PARAM_LIST, offsetof(struct resnet, widths), 1, 4096, "64,128,256,512", NULL,
     "Channels of each group of blocks."},
    {"strides", EX_PARAM_LIST, offsetof(struct resnet, strides), 1, 4, "1,2", NULL,
     "Stride of each group's first block; the last is repeated."},
    {"blocks", EX_PARAM_LIST, offsetof(struct resnet, blocks), 1, 100, "2", NULL,
     "Residual blocks in each group; the last is repeated."},
    {"exits", EX_PARAM_LIST, offsetof(struct resnet, exits), 1, EX_MAX_LIST, "1,2,3,4", NULL,
     "Groups (from 1) after which there is an exit; the last group always has one."},
    COMMON_PARAMS,
};

static int32_t pool_to_grid(ex_builder *builder, int32_t x, int32_t grid) {
  const struct ex_adaptive_pool attr = {grid, grid, 0};
  if (grid == 1) return ex__builder_global_pool(builder, x);
  return ex__builder_op(builder, "adaptive_pool", NULL, &attr, &x, 1);
}

static void build_head(ex_builder *builder, const struct resnet *p, int32_t x, bool last) {
  ex__builder_head(builder);
  if (!last && p->head == HEAD_CONV)
    x = ex__zoo_conv_bn_relu(builder, "conv1", x, p->head_channels, 3, 2, 1);
  ex__zoo_classify(builder, pool_to_grid(builder, x, last ? 1 : p->head_grid));
}

static int32_t build_group(ex_builder *builder, const struct resnet *p, int32_t group, int32_t x) {
  for (int32_t i = 0; i < ex__zoo_int(&p->blocks, group); i++) {
    char name[48];
    snprintf(name, sizeof name, "group%d.block%d", (int)group + 1, (int)i + 1);
    x = ex__zoo_residual(builder, name, x, ex__zoo_int(&p->widths, group),
                         i == 0 ? ex__zoo_int(&p->strides, group) : 1);
  }
  return x;
}

static void build(const void *values, ex_builder *builder) {
  const struct resnet *p = values;
  ex__builder_stage(builder);
  int32_t x = ex__builder_input(builder);
  x = ex__zoo_conv_bn_relu(builder, "stem", x, p->stem, p->stem_kernel, p->stem_stride,
                           p->stem_kernel / 2);
  for (int32_t group = 0; group < p->widths.n; group++) {
    bool last = group == p->widths.n - 1;
    x = build_group(builder, p, group, x);
    if (!last && !ex__zoo_has(&p->exits, group + 1)) continue;
    build_head(builder, p, x, last);
    if (!last) ex__builder_stage(builder);
  }
}

extern const struct ex_architecture ex__architecture_resnet_exits, ex__architecture_resnet18;
const struct ex_architecture ex__architecture_resnet_exits = {
    "resnet_exits",
    NULL,
    "A small residual network with an exit after each group of blocks.",
    params_exits,
    sizeof(struct resnet),
    build,
};
const struct ex_architecture ex__architecture_resnet18 = {
    "resnet18",
    "He et al., CVPR 2016",
    "ResNet-18 for small images, with an exit after each group of blocks.",
    params_18,
    sizeof(struct resnet),
    build,
};
