/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/zoo_blocks: what several architectures are made of.
 */
#ifndef EX_ZOO_ZOO_BLOCKS_H
#define EX_ZOO_ZOO_BLOCKS_H

#include "zoo/zoo.h"

/* name.conv without bias, name.bn, ReLU; He's initial weights by fan-out. */
int32_t ex__zoo_conv_bn_relu(ex_builder *builder, const char *name, int32_t x, int32_t channels,
                             int32_t kernel, int32_t stride, int32_t pad);
/* The basic residual block (He et al., CVPR 2016): two 3×3 convolutions with
 * batch-norm, and a 1×1 projection where the shape changes. */
int32_t ex__zoo_residual(ex_builder *builder, const char *name, int32_t x, int32_t channels,
                         int32_t stride);
/* Flattens where needed; PyTorch's default initial weights. */
int32_t ex__zoo_linear(ex_builder *builder, const char *name, int32_t x, int32_t features);
/* Pooling that may round its output size up. */
int32_t ex__zoo_max_pool(ex_builder *builder, int32_t x, int32_t kernel, int32_t stride,
                         int32_t ceil_mode);
int32_t ex__zoo_dropout(ex_builder *builder, int32_t x, double rate);
/* Ends the head of the current stage with a linear classifier over x. */
void ex__zoo_classify(ex_builder *builder, int32_t x);
/* Whether the list has this number (1-based layers, stages). */
bool ex__zoo_has(const struct ex_list *list, int32_t number);
/* Element `i`, rounded; lists shorter than i + 1 repeat their last element. */
int32_t ex__zoo_int(const struct ex_list *list, int32_t i);

#endif
