/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_slice: channels (or features) [begin, end) of the input.
 */
#include <string.h>

#include "graph/shape.h"

static const struct ex_param attrs[] = {
    {"begin", EX_PARAM_INT, offsetof(struct ex_slice, begin), 0, INT32_MAX, "0", NULL,
     "First channel."},
    {"end", EX_PARAM_INT, offsetof(struct ex_slice, end), 0, INT32_MAX, "0", NULL,
     "Channel after the last; 0 is the end of the input."},
    {.name = NULL},
};

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_slice *attr = node->attr;
  int32_t end = attr->end > 0 ? attr->end : in[0]->dim[0];
  if (attr->begin >= end || end > in[0]->dim[0])
    return ex__fail(err, EX_ESHAPE, "slice: [%d, %d); must not be empty, and lie in [0, %d)",
                    (int)attr->begin, (int)end, (int)in[0]->dim[0]);
  *out = *in[0];
  out->dim[0] = end - attr->begin;
  return EX_OK;
}

/* Offset of sample b's slice in the input. */
static int64_t first_of(const struct ex_op_call *call, int64_t b) {
  const struct ex_slice *attr = call->node->attr;
  const struct ex_shape *in = call->in_shape[0];
  return b * ex__shape_count(in) + attr->begin * ex__shape_plane(in);
}

static void forward(const struct ex_op_call *call) {
  int64_t n = ex__shape_count(&call->node->shape);
  for (int64_t b = 0; b < call->batch; b++)
    memcpy(call->out + b * n, call->in[0] + first_of(call, b), (size_t)n * sizeof *call->out);
}

static void backward(const struct ex_op_call *call) {
  if (call->din[0] == NULL) return;
  int64_t n = ex__shape_count(&call->node->shape);
  for (int64_t b = 0; b < call->batch; b++) {
    ex_real *din = call->din[0] + first_of(call, b);
    for (int64_t i = 0; i < n; i++) din[i] += call->dout[b * n + i];
  }
}

const struct ex_op ex__op_slice = {
    .name = "slice",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_slice),
    .min_in = 1,
    .max_in = 1,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
