/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/branchynet_alexnet: B-AlexNet of BranchyNet (Teerapittayanon, McDanel &
 * Kung, ICPR 2016), three exits, for images of about 32×32.
 *
 * Five convolutions and two linear layers; a branch repeats the ReLU, pooling
 * and local response normalisation of the trunk, then has its own
 * convolutions, a pooling and a linear layer. Early branches are deeper.
 *
 * Deviations. The paper's text puts the branches after its first and second
 * convolution, the authors' code after the second and third: the default is
 * the code's. Reconstruction: the α of the normalisation is 1.5e-4, which is
 * the authors' 5e-5 in a definition that divides by the size.
 */
#include <stdio.h>

#include "zoo/zoo_blocks.h"

struct alexnet {
  struct ex_list channels, kernels, pool_after, lrn_after, hidden, branch_after, branch_convs;
  int32_t branch_channels, branch_kernel, pool_kernel, pool_stride, lrn_size, ceil_mode;
  double lrn_alpha, lrn_beta, lrn_k, dropout;
};

static const struct ex_param params[] = {
    {"channels", EX_PARAM_LIST, offsetof(struct alexnet, channels), 1, 4096, "32,64,96,96,64", NULL,
     "Channels of each convolution of the trunk."},
    {"kernels", EX_PARAM_LIST, offsetof(struct alexnet, kernels), 1, 15, "5,5,3,3,3", NULL,
     "Size of each kernel of the trunk, padded by half."},
    {"pool-after", EX_PARAM_LIST, offsetof(struct alexnet, pool_after), 1, EX_MAX_LIST, "1,2,5",
     NULL, "Convolutions (from 1) that a pooling follows."},
    {"lrn-after", EX_PARAM_LIST, offsetof(struct alexnet, lrn_after), 1, EX_MAX_LIST, "1,2", NULL,
     "Convolutions (from 1) that local response normalisation follows."},
    {"hidden", EX_PARAM_LIST, offsetof(struct alexnet, hidden), 1, 65536, "256,128", NULL,
     "Features of the linear layers before the last classifier."},
    {"branch-after", EX_PARAM_LIST, offsetof(struct alexnet, branch_after), 1, EX_MAX_LIST, "2,3",
     NULL, "Convolutions (from 1) after which there is a branch."},
    {"branch-convs", EX_PARAM_LIST, offsetof(struct alexnet, branch_convs), 0, 16, "2,1", NULL,
     "Convolutions in each branch."},
    {"branch-channels", EX_PARAM_INT, offsetof(struct alexnet, branch_channels), 1, 4096, "32",
     NULL, "Channels of the branches' convolutions."},
    {"branch-kernel", EX_PARAM_INT, offsetof(struct alexnet, branch_kernel), 1, 15, "3", NULL,
     "Size of the branches' kernels, padded by half."},
    {"pool-kernel", EX_PARAM_INT, offsetof(struct alexnet, pool_kernel), 1, 16, "3", NULL,
     "Size of every pooling window."},
    {"pool-stride", EX_PARAM_INT, offsetof(struct alexnet, pool_stride), 1, 16, "2", NULL,
     "Pixels between pooling windows."},
    {"ceil-mode", EX_PARAM_BOOL, offsetof(struct alexnet, ceil_mode), 0, 1, "true", NULL,
     "Whether pooled sizes are rounded up, as in the authors' framework."},
    {"lrn-size", EX_PARAM_INT, offsetof(struct alexnet, lrn_size), 1, 255, "3", NULL,
     "Channels that a sum of the normalisation runs over, odd."},
    {"lrn-alpha", EX_PARAM_REAL, offsetof(struct alexnet, lrn_alpha), 0, 1000, "1.5e-4", NULL,
     "Weight of the mean square in the normalisation."},
    {"lrn-beta", EX_PARAM_REAL, offsetof(struct alexnet, lrn_beta), 0, 10, "0.75", NULL,
     "Exponent of the normalisation."},
    {"lrn-k", EX_PARAM_REAL, offsetof(struct alexnet, lrn_k), 1e-6, 1000, "2", NULL,
     "Constant of the normalisation."},
    {"dropout", EX_PARAM_REAL, offsetof(struct alexnet, dropout), 0, 0.95, "0.5", NULL,
     "Share of features dropped after each hidden linear layer."},
    {.name = NULL},
};

static int32_t pool(ex_builder *builder, const struct alexnet *p, int32_t x) {
  return ex__zoo_max_pool(builder, x, p->pool_kernel, p->pool_stride, p->ceil_mode);
}

static int32_t normalise(ex_builder *builder, const struct alexnet *p, int32_t x) {
  const struct ex_lrn attr = {p->lrn_size, p->lrn_alpha, p->lrn_beta, p->lrn_k};
  return ex__builder_op(builder, "lrn", NULL, &attr, &x, 1);
}

static void build_branch(ex_builder *builder, const struct alexnet *p, int32_t branch, int32_t x) {
  ex__builder_head(builder);
  x = normalise(builder, p, pool(builder, p, ex__builder_relu(builder, x)));
  for (int32_t i = 0; i < ex__zoo_int(&p->branch_convs, branch); i++) {
    char name[32];
    snprintf(name, sizeof name, "conv%d", (int)i + 1);
    x = ex__builder_conv(builder, name, x, p->branch_channels, p->branch_kernel, 1,
                         p->branch_kernel / 2, true);
    x = ex__builder_relu(builder, x);
  }
  ex__zoo_classify(builder, pool(builder, p, x));
}

static int32_t build_convs(ex_builder *builder, const struct alexnet *p) {
  int32_t x = ex__builder_input(builder), branch = 0;
  for (int32_t i = 0; i < p->channels.n; i++) {
    char name[32];
    snprintf(name, sizeof name, "conv%d", (int)i + 1);
    int32_t kernel = ex__zoo_int(&p->kernels, i);
    x = ex__builder_conv(builder, name, x, ex__zoo_int(&p->channels, i), kernel, 1, kernel / 2,
                         true);
    if (ex__zoo_has(&p->branch_after, i + 1)) {
      build_branch(builder, p, branch++, x);
      ex__builder_stage(builder);
    }
    x = ex__builder_relu(builder, x);
    if (ex__zoo_has(&p->pool_after, i + 1)) x = pool(builder, p, x);
    if (ex__zoo_has(&p->lrn_after, i + 1)) x = normalise(builder, p, x);
  }
  return x;
}

static void build(const void *values, ex_builder *builder) {
  const struct alexnet *p = values;
  ex__builder_stage(builder);
  int32_t x = build_convs(builder, p);
  for (int32_t i = 0; i < p->hidden.n; i++) {
    char name[32];
    snprintf(name, sizeof name, "linear%d", (int)i + 1);
    x = ex__builder_relu(builder, ex__zoo_linear(builder, name, x, ex__zoo_int(&p->hidden, i)));
    x = ex__zoo_dropout(builder, x, p->dropout);
  }
  ex__builder_head(builder);
  ex__zoo_classify(builder, x);
}

extern const struct ex_architecture ex__architecture_branchynet_alexnet;
const struct ex_architecture ex__architecture_branchynet_alexnet = {
    "branchynet_alexnet",
    "Teerapittayanon, McDanel & Kung, ICPR 2016",
    "B-AlexNet: an AlexNet for small images with two branches.",
    params,
    sizeof(struct alexnet),
    build,
};
