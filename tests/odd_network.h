/* SPDX-License-Identifier: Apache-2.0
 *
 * A network of what the architectures of the zoo lack, for tests of exported C.
 */
#ifndef EX_TESTS_ODD_NETWORK_H
#define EX_TESTS_ODD_NETWORK_H

#include "tests/export_fixture.h"

static inline int32_t conv(ex_builder *b, const char *name, int32_t x,
                           const struct ex_conv2d *attr) {
  return ex__builder_op(b, "conv2d", name, attr, &x, 1);
}

static inline int32_t op(ex_builder *b, const char *name, const void *attr, int32_t x) {
  return ex__builder_op(b, name, NULL, attr, &x, 1);
}

/* Groups, dilation, uneven kernels; pools with padding, rounded up, and adaptive; a norm
 * and a relu by themselves; slice, softmax and sigmoid on maps. */
static inline int32_t odd_body(ex_builder *b, int32_t x, bool smooth) {
  x = conv(b, "uneven", x, &(struct ex_conv2d){8, 3, 2, 2, 2, 1, 1, 1, 1});
  x = op(b, "avg_pool", &(struct ex_pool){3, 2, 1, 1, 0}, ex__builder_relu(b, x));
  x = ex__builder_batch_norm(b, "alone", x);
  int32_t grouped = conv(b, "grouped", x, &(struct ex_conv2d){6, 3, 3, 1, 2, 2, 2, 2, 0});
  int32_t parts[] = {smooth ? op(b, "softmax", NULL, grouped) : grouped,
                     op(b, "slice", &(struct ex_slice){1, 5}, x),
                     smooth ? op(b, "sigmoid", NULL, ex__builder_relu(b, x))
                            : ex__builder_relu(b, x)};
  return ex__builder_concat(b, parts, 3);
}

/* A head whose features others than linear layers read, and one that reads an earlier. */
static inline int32_t odd_head(ex_builder *b, int32_t x, int32_t earlier) {
  ex__builder_head(b);
  int32_t mean = op(b, "adaptive_pool", &(struct ex_adaptive_pool){3, 2, 0}, x);
  int32_t most = op(b, "adaptive_pool", &(struct ex_adaptive_pool){3, 2, 1}, x);
  int32_t in[] = {ex__builder_flatten(b, mean), ex__builder_flatten(b, most), earlier};
  int32_t all = ex__builder_concat(b, in, earlier >= 0 ? 3 : 2);
  int32_t output = ex__builder_linear(b, "fc", all, 10);
  ex__builder_point(b, output, -1, earlier >= 0 ? 1 : 0);
  return output;
}

/* `linked`: with a head that reads an earlier: float alone. */
static inline ex_model *odd_model(bool smooth, bool linked) {
  struct ex_error err = {0};
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&(struct ex_shape){3, {2, 17, 15}}, 10, &b, &err), &err);
  ex__builder_stage(b);
  int32_t x = odd_body(b, ex__builder_input(b), smooth);
  int32_t first = odd_head(b, x, -1);
  ex__builder_stage(b);
  x = op(b, "dropout", &(struct ex_dropout){0.5}, ex__builder_conv(b, "next", x, 6, 3, 1, 1, true));
  odd_head(b, ex__builder_relu(b, x), -1);
  ex__builder_stage(b);
  x = op(b, "max_pool", &(struct ex_pool){3, 2, 1, 1, 0}, x);
  odd_head(b, x, linked ? first : -1);
  assert_ok(ex__builder_finish(b, 4, &net, &err), &err);
  return export_model_of(net);
}

#endif
