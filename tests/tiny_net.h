/* SPDX-License-Identifier: Apache-2.0
 *
 * A network of 3 exits that is small and has what makes training hard: norms,
 * dropout, a value that two later stages and a head read, and, where `linked`,
 * a second head that reads the output of the first.
 */
#ifndef EX_TESTS_TINY_NET_H
#define EX_TESTS_TINY_NET_H

#include "net/builder.h"
#include "tests/testing.h"

enum { TINY_CHANNELS = 2, TINY_SIZE = 6, TINY_CLASSES = 3, TINY_POINTS = 3 };

/* `earlier`: output of the first head, or −1. */
static inline int32_t tiny_head(ex_builder *b, int32_t x, int32_t earlier) {
  ex__builder_head(b);
  int32_t in[2] = {ex__builder_flatten(b, x), earlier};
  int32_t y = earlier >= 0 ? ex__builder_concat(b, in, 2) : in[0];
  int32_t output = ex__builder_linear(b, "fc", y, TINY_CLASSES);
  ex__builder_point(b, output, -1, earlier >= 0 ? 1u : 0);
  return output;
}

static inline int32_t tiny_block(ex_builder *b, int32_t x, int32_t channels, int32_t stride) {
  x = ex__builder_conv(b, "conv", x, channels, 3, stride, 1, false);
  return ex__builder_relu(b, ex__builder_batch_norm(b, "bn", x));
}

/* `equip`: what a training method adds, with its values; or NULL. */
static inline ex_net *tiny_net_with(double dropout, bool linked, uint64_t seed,
                                    void (*equip)(const void *, ex_builder *), const void *values) {
  const struct ex_shape input = {3, {TINY_CHANNELS, TINY_SIZE, TINY_SIZE}};
  struct ex_error err = {0};
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&input, TINY_CLASSES, &b, &err), &err);
  ex__builder_stage(b);
  int32_t first = tiny_block(b, ex__builder_input(b), 4, 1);
  if (dropout > 0) {
    const struct ex_dropout attr = {dropout};
    first = ex__builder_op(b, "dropout", NULL, &attr, &first, 1);
  }
  int32_t answer = tiny_head(b, first, -1);
  ex__builder_stage(b);
  int32_t second = tiny_block(b, first, 5, 2);
  tiny_head(b, second, linked ? answer : -1);
  ex__builder_stage(b);
  int32_t third = ex__builder_add(b, ex__builder_conv(b, "conv1", second, 4, 3, 1, 1, true),
                                  ex__builder_conv(b, "conv2", first, 4, 3, 2, 1, true));
  tiny_head(b, ex__builder_relu(b, third), -1);
  if (equip != NULL) equip(values, b);
  assert_ok(ex__builder_finish(b, seed, &net, &err), &err);
  return net;
}

static inline ex_net *tiny_net(double dropout, bool linked, uint64_t seed) {
  return tiny_net_with(dropout, linked, seed, NULL, NULL);
}

#endif
