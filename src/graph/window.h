/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/window: where the windows of a pooling layer lie, for max_pool and
 * avg_pool alike: PyTorch's rules for stride, padding and ceil_mode.
 */
#ifndef EX_GRAPH_WINDOW_H
#define EX_GRAPH_WINDOW_H

#include "graph/op.h"

/* Shape function of both. */
enum ex_status ex__window_shape(const struct ex_node *node, const struct ex_shape *const *in,
                                struct ex_shape *out, struct ex_error *err);

/* Rows [top, bottom) and columns [left, right) of one plane. */
struct ex_window {
  int32_t top, bottom, left, right;
  int32_t padded; /* elements, counting those in the padding that was declared */
};

/* One direction of window `i`: what of it lies inside [0, size); returns its length
 * up to the end of the padding. */
int32_t ex__window_span(const struct ex_pool *attr, int64_t size, int64_t i, int32_t *begin,
                        int32_t *end);
struct ex_window ex__window_at(const struct ex_pool *attr, const struct ex_shape *in, int32_t row,
                               int32_t column);

#endif
