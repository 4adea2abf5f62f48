/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/branchynet_lenet: B-LeNet of BranchyNet (Teerapittayanon, McDanel &
 * Kung, ICPR 2016), two exits.
 *
 *   conv 5×5 (5) ─┬─ pool, ReLU, conv 5×5 (10), pool, ReLU, conv 5×5 (20),
 *                 │  pool, ReLU, linear 84 ── linear: exit 1
 *                 └─ pool, ReLU, conv 3×3 (10), pool, ReLU, linear: exit 0
 *
 * As in the authors' code there is no ReLU between the two last linear layers,
 * and the branch is taken before the pooling. The authors' framework rounds
 * the size of a pooled map up (`ceil-mode` true: 640 and 720 features at 28×28);
 * the default rounds down, as most do (490 and 500).
 */
#include "zoo/zoo_blocks.h"

struct lenet {
  struct ex_list channels;
  int32_t kernel, pad, branch_channels, branch_kernel, hidden, ceil_mode;
};

static const struct ex_param params[] = {
    {"channels", EX_PARAM_LIST, offsetof(struct lenet, channels), 1, 4096, "5,10,20", NULL,
     "Channels of the trunk's three convolutions."},
    {"kernel", EX_PARAM_INT, offsetof(struct lenet, kernel), 1, 15, "5", NULL,
     "Size of the trunk's kernels."},
    {"pad", EX_PARAM_INT, offsetof(struct lenet, pad), 0, 14, "3", NULL,
     "Padding of the trunk's convolutions."},
    {"branch-channels", EX_PARAM_INT, offsetof(struct lenet, branch_channels), 1, 4096, "10", NULL,
     "Channels of the branch's convolution."},
    {"branch-kernel", EX_PARAM_INT, offsetof(struct lenet, branch_kernel), 1, 15, "3", NULL,
     "Size of the branch's kernel, padded by half."},
    {"hidden", EX_PARAM_INT, offsetof(struct lenet, hidden), 1, 65536, "84", NULL,
     "Features before the last linear layer."},
    {"ceil-mode", EX_PARAM_BOOL, offsetof(struct lenet, ceil_mode), 0, 1, "false", NULL,
     "Whether pooled sizes are rounded up, as in the authors' framework."},
    {.name = NULL},
};

static int32_t pool_relu(ex_builder *builder, const struct lenet *p, int32_t x) {
  return ex__builder_relu(builder, ex__zoo_max_pool(builder, x, 2, 2, p->ceil_mode));
}

static void build(const void *values, ex_builder *builder) {
  const struct lenet *p = values;
  ex__builder_stage(builder);
  int32_t x = ex__builder_input(builder);
  x = ex__builder_conv(builder, "conv1", x, ex__zoo_int(&p->channels, 0), p->kernel, 1, p->pad,
                       true);

  ex__builder_head(builder);
  int32_t h = ex__builder_conv(builder, "conv1", pool_relu(builder, p, x), p->branch_channels,
                               p->branch_kernel, 1, p->branch_kernel / 2, true);
  ex__zoo_classify(builder, pool_relu(builder, p, h));

  ex__builder_stage(builder);
  x = pool_relu(builder, p, x);
  x = ex__builder_conv(builder, "conv2", x, ex__zoo_int(&p->channels, 1), p->kernel, 1, p->pad,
                       true);
  x = pool_relu(builder, p, x);
  x = ex__builder_conv(builder, "conv3", x, ex__zoo_int(&p->channels, 2), p->kernel, 1, p->pad,
                       true);
  x = ex__zoo_linear(builder, "linear", pool_relu(builder, p, x), p->hidden);
  ex__builder_head(builder);
  ex__zoo_classify(builder, x);
}

extern const struct ex_architecture ex__architecture_branchynet_lenet;
const struct ex_architecture ex__architecture_branchynet_lenet = {
    "branchynet_lenet",
    "Teerapittayanon, McDanel & Kung, ICPR 2016",
    "B-LeNet: a LeNet with one branch after its first convolution.",
    params,
    sizeof(struct lenet),
    build,
};
