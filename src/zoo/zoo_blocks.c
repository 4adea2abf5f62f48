/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/zoo_blocks: the common building blocks. Convolutions that feed a
 * batch-norm have no bias, since its shift would undo it.
 */
#include "zoo/zoo_blocks.h"

#include <math.h>
#include <stdio.h>

/* Names longer than this are cut here, and refused by the graph as repeated. */
enum { STEM = 64 };

static int32_t conv_bn(ex_builder *builder, const char *name, const char *suffix, int32_t x,
                       int32_t channels, int32_t kernel, int32_t stride, int32_t pad) {
  char full[EX_NAME_SIZE];
  ex__builder_init(builder, EX_INIT_HE_FAN_OUT);
  snprintf(full, sizeof full, "%.*s.conv%s", STEM, name, suffix);
  x = ex__builder_conv(builder, full, x, channels, kernel, stride, pad, false);
  snprintf(full, sizeof full, "%.*s.bn%s", STEM, name, suffix);
  return ex__builder_batch_norm(builder, full, x);
}

int32_t ex__zoo_conv_bn_relu(ex_builder *builder, const char *name, int32_t x, int32_t channels,
                             int32_t kernel, int32_t stride, int32_t pad) {
  return ex__builder_relu(builder, conv_bn(builder, name, "", x, channels, kernel, stride, pad));
}

int32_t ex__zoo_residual(ex_builder *builder, const char *name, int32_t x, int32_t channels,
                         int32_t stride) {
  int32_t y = conv_bn(builder, name, "1", x, channels, 3, stride, 1);
  y = conv_bn(builder, name, "2", ex__builder_relu(builder, y), channels, 3, 1, 1);
  if (stride != 1 || ex__builder_shape(builder, x)->dim[0] != channels) {
    char shortcut[EX_NAME_SIZE];
    snprintf(shortcut, sizeof shortcut, "%.*s.shortcut", STEM, name);
    x = conv_bn(builder, shortcut, "", x, channels, 1, stride, 0);
  }
  return ex__builder_relu(builder, ex__builder_add(builder, y, x));
}

int32_t ex__zoo_linear(ex_builder *builder, const char *name, int32_t x, int32_t features) {
  ex__builder_init(builder, EX_INIT_DEFAULT);
  return ex__builder_linear(builder, name, ex__builder_flatten(builder, x), features);
}

int32_t ex__zoo_max_pool(ex_builder *builder, int32_t x, int32_t kernel, int32_t stride,
                         int32_t ceil_mode) {
  const struct ex_pool attr = {
      .kernel = kernel, .stride = stride, .ceil_mode = ceil_mode, .count_include_pad = 1};
  return ex__builder_op(builder, "max_pool", NULL, &attr, &x, 1);
}

int32_t ex__zoo_dropout(ex_builder *builder, int32_t x, double rate) {
  const struct ex_dropout attr = {rate};
  return rate > 0 ? ex__builder_op(builder, "dropout", NULL, &attr, &x, 1) : x;
}

void ex__zoo_classify(ex_builder *builder, int32_t x) {
  int32_t output = ex__zoo_linear(builder, "linear", x, ex__builder_outputs(builder));
  ex__builder_point(builder, output, -1, 0);
}

bool ex__zoo_has(const struct ex_list *list, int32_t number) {
  for (int32_t i = 0; i < list->n; i++)
    if (ex__zoo_int(list, i) == number) return true;
  return false;
}

int32_t ex__zoo_int(const struct ex_list *list, int32_t i) {
  if (list->n == 0) return 0;
  return (int32_t)lround(list->value[i < list->n ? i : list->n - 1]);
}
