/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/branchynet_resnet: B-ResNet-110 of BranchyNet (Teerapittayanon, McDanel
 * & Kung, ICPR 2016), three exits, for images of about 32×32.
 *
 * The authors' code: a 3×3 stem without padding, 3 × 18 residual blocks of 16,
 * 32 and 64 channels; the first branch (after the stem) has a 5×5 and two 3×3
 * convolutions, the second (after 18 blocks) one residual block; each ends in
 * a linear layer over the whole map; the trunk ends in a 6×6 average pooling
 * of stride 1 and a linear layer.
 *
 * Reconstruction: where a block changes the shape, its shortcut is a 1×1
 * projection with batch-norm (the authors subsample and pad with zeros), and
 * convolutions before a batch-norm have no bias.
 */
#include <stdio.h>

#include "zoo/zoo_blocks.h"

struct bresnet {
  struct ex_list widths, branch_after, branch_widths, branch_kernels;
  int32_t blocks, stem_pad, final_pool, lrn_size;
  double lrn_alpha, lrn_beta, lrn_k;
};

static const struct ex_param params[] = {
    {"widths", EX_PARAM_LIST, offsetof(struct bresnet, widths), 1, 4096, "16,32,64", NULL,
     "Channels of each group of blocks; every group but the first halves the map."},
    {"blocks", EX_PARAM_INT, offsetof(struct bresnet, blocks), 1, 200, "18", NULL,
     "Residual blocks in each group."},
    {"stem-pad", EX_PARAM_INT, offsetof(struct bresnet, stem_pad), 0, 1, "0", NULL,
     "Padding of the stem's 3×3 convolution."},
    {"branch-after", EX_PARAM_LIST, offsetof(struct bresnet, branch_after), 0, 1000, "0,18", NULL,
     "Residual blocks before each branch; 0 is after the stem."},
    {"branch-widths", EX_PARAM_LIST, offsetof(struct bresnet, branch_widths), 1, 4096, "64,32,32",
     NULL, "Channels of the convolutions of a branch after the stem."},
    {"branch-kernels", EX_PARAM_LIST, offsetof(struct bresnet, branch_kernels), 1, 15, "5,3,3",
     NULL, "Their kernels, padded by half."},
    {"final-pool", EX_PARAM_INT, offsetof(struct bresnet, final_pool), 1, 64, "6", NULL,
     "Window of the last average pooling, stride 1; no larger than the map."},
    {"lrn-size", EX_PARAM_INT, offsetof(struct bresnet, lrn_size), 1, 255, "3", NULL,
     "Channels that the normalisation of the first branch runs over, odd."},
    {"lrn-alpha", EX_PARAM_REAL, offsetof(struct bresnet, lrn_alpha), 0, 1000, "1.5e-4", NULL,
     "Weight of the mean square in the normalisation."},
    {"lrn-beta", EX_PARAM_REAL, offsetof(struct bresnet, lrn_beta), 0, 10, "0.75", NULL,
     "Exponent of the normalisation."},
    {"lrn-k", EX_PARAM_REAL, offsetof(struct bresnet, lrn_k), 1e-6, 1000, "2", NULL,
     "Constant of the normalisation."},
    {.name = NULL},
};

static int32_t build_branch_convs(ex_builder *builder, const struct bresnet *p, int32_t x) {
  for (int32_t i = 0; i < p->branch_widths.n; i++) {
    char name[32];
    snprintf(name, sizeof name, "conv%d", (int)i + 1);
    int32_t kernel = ex__zoo_int(&p->branch_kernels, i);
    ex__builder_init(builder, EX_INIT_HE_FAN_OUT);
    x = ex__builder_conv(builder, name, x, ex__zoo_int(&p->branch_widths, i), kernel, 1, kernel / 2,
                         true);
    x = ex__builder_relu(builder, x);
    const struct ex_lrn attr = {p->lrn_size, p->lrn_alpha, p->lrn_beta, p->lrn_k};
    if (i == 0) x = ex__builder_op(builder, "lrn", NULL, &attr, &x, 1);
  }
  return x;
}

/* A branch, if there is one after `done` blocks; the next stage follows it. */
static void branch(ex_builder *builder, const struct bresnet *p, int32_t done, int32_t x) {
  if (!ex__zoo_has(&p->branch_after, done)) return;
  ex__builder_head(builder);
  if (done == 0)
    x = build_branch_convs(builder, p, x);
  else
    x = ex__zoo_residual(builder, "block1", x, ex__builder_shape(builder, x)->dim[0], 1);
  ex__zoo_classify(builder, x);
  ex__builder_stage(builder);
}

static int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

static void build(const void *values, ex_builder *builder) {
  const struct bresnet *p = values;
  ex__builder_stage(builder);
  int32_t x = ex__builder_input(builder);
  x = ex__zoo_conv_bn_relu(builder, "stem", x, ex__zoo_int(&p->widths, 0), 3, 1, p->stem_pad);
  branch(builder, p, 0, x);
  int32_t total = p->blocks * p->widths.n;
  for (int32_t i = 0; i < total; i++) {
    char name[32];
    snprintf(name, sizeof name, "block%d", (int)i + 1);
    bool halve = i > 0 && i % p->blocks == 0;
    x = ex__zoo_residual(builder, name, x, ex__zoo_int(&p->widths, i / p->blocks), halve ? 2 : 1);
    if (i + 1 < total) branch(builder, p, i + 1, x);
  }
  ex__builder_head(builder);
  const struct ex_shape *shape = ex__builder_shape(builder, x);
  int32_t window = smaller(p->final_pool, smaller(shape->dim[1], shape->dim[2]));
  ex__zoo_classify(builder, ex__builder_avg_pool(builder, x, window, 1, 0));
}

extern const struct ex_architecture ex__architecture_branchynet_resnet;
const struct ex_architecture ex__architecture_branchynet_resnet = {
    "branchynet_resnet",
    "Teerapittayanon, McDanel & Kung, ICPR 2016",
    "B-ResNet-110: a residual network of 54 blocks with two branches.",
    params,
    sizeof(struct bresnet),
    build,
};
