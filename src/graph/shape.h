/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/shape: what operators say about shapes, so that all say it alike.
 *
 * An operator's shape function is the gate through which a graph from a file
 * must pass: every product of sizes that is later computed or allocated is
 * held below 2^31 here, so that nothing behind it can overflow.
 */
#ifndef EX_GRAPH_SHAPE_H
#define EX_GRAPH_SHAPE_H

#include "graph/op.h"

enum { EX_SHAPE_TEXT_SIZE = 64 };

/* "[3][32][32]"; returns `text`. */
const char *ex__shape_text(const struct ex_shape *shape, char text[EX_SHAPE_TEXT_SIZE]);

/* A shape function for operators whose output looks like their first input,
 * and whose inputs must all be equal. */
enum ex_status ex__shape_of_inputs(const struct ex_node *node, const struct ex_shape *const *in,
                                   struct ex_shape *out, struct ex_error *err);
/* Refuses an input that is not [channels][height][width]. */
enum ex_status ex__shape_is_image(const char *op, const struct ex_shape *in, struct ex_error *err);
/* Sets *out after checking that each dimension, and the count, is in [1, 2^31 − 1]. */
enum ex_status ex__shape_make(const char *op, int32_t rank, const int64_t *dim,
                              struct ex_shape *out, struct ex_error *err);

/* The same from an attribute: rank 1 or 3, whole numbers. */
enum ex_status ex__shape_from_list(const char *op, const struct ex_list *list, struct ex_shape *out,
                                   struct ex_error *err);

/* Positions of a window of `kernel` with this dilation, stride and padding on
 * both sides along `size`; below 1 where it does not fit. With ceil_mode, as
 * PyTorch: rounded up, but no window begins in the padding on the right. */
int64_t ex__window_count(int64_t size, int64_t kernel, int64_t dilation, int64_t stride,
                         int64_t pad, bool ceil_mode);

/* Elements of the output of one call. */
static inline int64_t ex__call_count(const struct ex_op_call *call) {
  return call->batch * ex__shape_count(&call->node->shape);
}
/* Elements behind one channel (or feature): height × width, or 1. */
static inline int64_t ex__shape_plane(const struct ex_shape *shape) {
  return shape->rank == 3 ? (int64_t)shape->dim[1] * shape->dim[2] : 1;
}

#endif
