/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_reshape: the same elements in the same order under another shape.
 * Flatten is reshape to one dimension.
 */
#include <string.h>

#include "graph/shape.h"

static const struct ex_param attrs[] = {
    {"shape", EX_PARAM_LIST, offsetof(struct ex_reshape, shape), 1, INT32_MAX, "", NULL,
     "Of one sample, without the batch; not given: one dimension."},
    {.name = NULL},
};

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_reshape *attr = node->attr;
  int64_t count = ex__shape_count(in[0]);
  if (attr->shape.n == 0) return ex__shape_make("reshape", 1, &count, out, err);
  EX_TRY(ex__shape_from_list("reshape", &attr->shape, out, err));
  char from[EX_SHAPE_TEXT_SIZE], to[EX_SHAPE_TEXT_SIZE];
  if (ex__shape_count(out) != count)
    return ex__fail(err, EX_ESHAPE, "reshape: %s to %s; must keep the number of elements",
                    ex__shape_text(in[0], from), ex__shape_text(out, to));
  return EX_OK;
}

static void forward(const struct ex_op_call *call) {
  size_t bytes = (size_t)ex__call_count(call) * sizeof(ex_real);
  if (call->out != call->in[0]) memcpy(call->out, call->in[0], bytes);
}

static void backward(const struct ex_op_call *call) {
  if (call->din[0] == NULL) return;
  int64_t n = ex__call_count(call);
  for (int64_t i = 0; i < n; i++) call->din[0][i] += call->dout[i];
}

const struct ex_op ex__op_reshape = {
    .name = "reshape",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_reshape),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_IN_PLACE | EX_OP_ROWS,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
