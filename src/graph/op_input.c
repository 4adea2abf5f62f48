/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_input: where samples enter. Its value is given from outside: who
 * runs the graph puts the batch where the node's output is, so both twins
 * have nothing to do.
 */
#include "graph/shape.h"

static const struct ex_param attrs[] = {
    {"shape", EX_PARAM_LIST, offsetof(struct ex_reshape, shape), 1, INT32_MAX, "1", NULL,
     "Of one sample: features, or channels, height and width."},
    {.name = NULL},
};

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  (void)in;
  const struct ex_reshape *attr = node->attr;
  return ex__shape_from_list("input", &attr->shape, out, err);
}

static void nothing(const struct ex_op_call *call) { (void)call; }

const struct ex_op ex__op_input = {
    .name = "input",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_reshape),
    .flags = EX_OP_PLAIN,
    .shape = shape,
    .forward = nothing,
    .backward = nothing,
};
