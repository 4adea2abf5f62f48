/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_view: the elements of the input at regular steps: transposed, cut
 * out, turned round, repeated; all that ONNX says by Transpose, Slice, Split,
 * Expand, Tile, DepthToSpace and nearest neighbours.
 */
#include "graph/strided.h"

static const struct ex_param attrs[] = {
    {"shape", EX_PARAM_LIST, offsetof(struct ex_view, shape), 1, INT32_MAX, "1", NULL,
     "Of the output."},
    {"dims", EX_PARAM_LIST, offsetof(struct ex_view, dims), 1, INT32_MAX, "1", NULL,
     "Of the output, as the steps count them."},
    {"steps", EX_PARAM_LIST, offsetof(struct ex_view, steps), INT32_MIN, INT32_MAX, "0", NULL,
     "Elements of the input between neighbours, a number per dim; 0 repeats."},
    {"offset", EX_PARAM_INT, offsetof(struct ex_view, offset), 0, INT32_MAX, "0", NULL,
     "The first element of the input."},
    {.name = NULL},
};

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_view *attr = node->attr;
  struct ex_strided view;
  EX_TRY(ex__strided("view", &attr->dims, &attr->steps, attr->offset, ex__shape_count(in[0]), &view,
                     err));
  return ex__strided_shape("view", &attr->shape, ex__strided_count(&view), out, err);
}

static void forward(const struct ex_op_call *call) {
  const struct ex_view *attr = call->node->attr;
  struct ex_strided view = ex__strided_of(&attr->dims, &attr->steps);
  int64_t n = ex__shape_count(&call->node->shape), n_in = ex__shape_count(call->in_shape[0]);
  for (int64_t s = 0; s < call->batch; s++) {
    struct ex_counter counter = {{0}};
    int64_t at = s * n_in + attr->offset;
    for (int64_t i = 0; i < n; i++, ex__count_on(&counter, &view, &at))
      call->out[s * n + i] = call->in[0][at];
  }
}

static void backward(const struct ex_op_call *call) {
  const struct ex_view *attr = call->node->attr;
  if (call->din[0] == NULL) return;
  struct ex_strided view = ex__strided_of(&attr->dims, &attr->steps);
  int64_t n = ex__shape_count(&call->node->shape), n_in = ex__shape_count(call->in_shape[0]);
  for (int64_t s = 0; s < call->batch; s++) {
    struct ex_counter counter = {{0}};
    int64_t at = s * n_in + attr->offset;
    for (int64_t i = 0; i < n; i++, ex__count_on(&counter, &view, &at))
      call->din[0][at] += call->dout[s * n + i];
  }
}

const struct ex_op ex__op_view = {
    .name = "view",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_view),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_ROWS,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
