/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_linear: y = W x + b on features; W is [out][in] as PyTorch has it.
 */
#include "graph/multiply.h"
#include "graph/shape.h"

static const struct ex_param attrs[] = {
    {"features", EX_PARAM_INT, offsetof(struct ex_linear, features), 1, 1 << 24, "1", NULL,
     "Output features."},
    {"bias", EX_PARAM_BOOL, offsetof(struct ex_linear, bias), 0, 1, "true", NULL,
     "Whether a bias is added."},
    {.name = NULL},
};

enum { WEIGHT, BIAS };

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_linear *attr = node->attr;
  char text[EX_SHAPE_TEXT_SIZE];
  if (in[0]->rank != 1)
    return ex__fail(err, EX_ESHAPE, "linear: input is %s; must be [features] (reshape it)",
                    ex__shape_text(in[0], text));
  int64_t features = attr->features;
  if (features * in[0]->dim[0] > INT32_MAX)
    return ex__fail(err, EX_ESHAPE, "linear: weight of %d × %d; must have at most %d elements",
                    (int)features, (int)in[0]->dim[0], INT32_MAX);
  return ex__shape_make("linear", 1, &features, out, err);
}

static int64_t macs(const struct ex_node *node, const struct ex_shape *const *in) {
  const struct ex_linear *attr = node->attr;
  return (int64_t)attr->features * in[0]->dim[0];
}

static int32_t tensors(const struct ex_node *node, const struct ex_shape *const *in,
                       struct ex_tensor_decl decl[EX_MAX_NODE_TENSORS]) {
  const struct ex_linear *attr = node->attr;
  decl[WEIGHT] = (struct ex_tensor_decl){
      "weight", {2, {attr->features, in[0]->dim[0]}}, EX_ROLE_WEIGHT, EX_INIT_DEFAULT};
  decl[BIAS] =
      (struct ex_tensor_decl){"bias", {1, {attr->features}}, EX_ROLE_BIAS, EX_INIT_DEFAULT};
  return attr->bias ? 2 : 1;
}

static void forward(const struct ex_op_call *call) {
  const struct ex_linear *attr = call->node->attr;
  const ex_real *weight = call->tensor[WEIGHT]; /* [n_out][n_in] */
  const ex_real *bias = attr->bias ? call->tensor[BIAS] : NULL;
  int64_t n_in = call->in_shape[0]->dim[0], n_out = attr->features;
  for (int64_t b = 0; b < call->batch; b++)
    for (int64_t o = 0; o < n_out; o++)
      call->out[b * n_out + o] =
          ex__dot(call->in[0] + b * n_in, weight + o * n_in, n_in) + (bias != NULL ? bias[o] : 0);
}

static void backward(const struct ex_op_call *call) {
  const struct ex_linear *attr = call->node->attr;
  const ex_real *dout = call->dout; /* [batch][n_out] */
  int64_t n_in = call->in_shape[0]->dim[0], n_out = attr->features;
  if (call->din[0] != NULL)
    ex__multiply_add(call->batch, n_in, n_out, (struct ex_matrix){dout, n_out, 1},
                     call->tensor[WEIGHT], n_in, call->din[0], n_in);
  if (call->dtensor[WEIGHT] != NULL)
    ex__multiply_add(n_out, n_in, call->batch, (struct ex_matrix){dout, 1, n_out}, call->in[0],
                     n_in, call->dtensor[WEIGHT], n_in);
  if (attr->bias && call->dtensor[BIAS] != NULL)
    for (int64_t b = 0; b < call->batch; b++)
      for (int64_t o = 0; o < n_out; o++) call->dtensor[BIAS][o] += dout[b * n_out + o];
}

const struct ex_op ex__op_linear = {
    .name = "linear",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_linear),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_INPUT,
    .shape = shape,
    .macs = macs,
    .tensors = tensors,
    .forward = forward,
    .backward = backward,
};
