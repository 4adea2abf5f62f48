/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_lrn: local response normalisation across channels (Krizhevsky,
 * Sutskever & Hinton 2012), which B-AlexNet uses:
 *
 *   y_c = x_c · s_c^−β,  s_c = k + α/size · Σ x_j², |j − c| ≤ size/2
 *
 * α is divided by the size, as PyTorch and ONNX have it. The paper and Chainer
 * (in which BranchyNet's authors wrote) do not: their α is times size here, so
 * B-AlexNet's size 3, α 5e-5, β 0.75, k 2 is α = 1.5e-4.
 *
 *   dx_j = dy_j · s_j^−β − 2αβ/size · x_j · Σ dy_c y_c / s_c, |c − j| ≤ size/2
 *
 * The workspace keeps s.
 */
#include <math.h>

#include "graph/shape.h"

static const struct ex_param attrs[] = {
    {"size", EX_PARAM_INT, offsetof(struct ex_lrn, size), 1, 255, "5", NULL,
     "Channels that a sum runs over, odd."},
    {"alpha", EX_PARAM_REAL, offsetof(struct ex_lrn, alpha), 0, 1000, "1e-4", NULL,
     "Weight of the mean square."},
    {"beta", EX_PARAM_REAL, offsetof(struct ex_lrn, beta), 0, 10, "0.75", NULL, "Exponent."},
    {"k", EX_PARAM_REAL, offsetof(struct ex_lrn, k), 1e-6, 1000, "1", NULL,
     "Added to the mean square, so that the sum is never 0."},
    {.name = NULL},
};

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_lrn *attr = node->attr;
  if (attr->size % 2 == 0)
    return ex__fail(err, EX_EINVAL, "lrn: size = %d; must be odd", (int)attr->size);
  *out = *in[0];
  return EX_OK;
}

/* [batch][shape]: s. */
static size_t workspace(const struct ex_node *node, const struct ex_shape *const *in,
                        int32_t batch) {
  (void)in;
  return (size_t)batch * (size_t)ex__shape_count(&node->shape) * sizeof(ex_real);
}

/* Channels [first, last) that channel c sees. */
static void neighbours(const struct ex_op_call *call, int32_t c, int32_t *first, int32_t *last) {
  const struct ex_lrn *attr = call->node->attr;
  int32_t n = call->node->shape.dim[0], half = attr->size / 2;
  *first = c > half ? c - half : 0;
  *last = c + half + 1 < n ? c + half + 1 : n;
}

static void forward(const struct ex_op_call *call) {
  const struct ex_lrn *attr = call->node->attr;
  int64_t count = ex__shape_count(&call->node->shape), plane = ex__shape_plane(&call->node->shape);
  for (int64_t b = 0; b < call->batch; b++) {
    const ex_real *in = call->in[0] + b * count;
    ex_real *out = call->out + b * count, *s = (ex_real *)call->workspace + b * count;
    for (int32_t c = 0, first, last; c < call->node->shape.dim[0]; c++) {
      neighbours(call, c, &first, &last);
      for (int64_t p = 0; p < plane; p++) {
        double sum = 0;
        for (int64_t i = first * plane + p; i < last * plane; i += plane) sum += in[i] * in[i];
        double base = attr->k + attr->alpha / attr->size * sum;
        s[c * plane + p] = (ex_real)base;
        out[c * plane + p] = (ex_real)(in[c * plane + p] * pow(base, -attr->beta));
      }
    }
  }
}

/* Σ dy_c · y_c / s_c over the channels that saw this one, y being x · s^−β. */
static double answered(const struct ex_lrn *attr, const ex_real *in, const ex_real *dout,
                       const ex_real *s, int64_t from, int64_t to, int64_t step) {
  double sum = 0;
  for (int64_t i = from; i < to; i += step) sum += dout[i] * in[i] * pow(s[i], -attr->beta - 1);
  return sum;
}

static void backward(const struct ex_op_call *call) {
  if (call->din[0] == NULL) return;
  const struct ex_lrn *attr = call->node->attr;
  int64_t count = ex__shape_count(&call->node->shape), plane = ex__shape_plane(&call->node->shape);
  double factor = 2 * attr->alpha * attr->beta / attr->size;
  for (int64_t b = 0; b < call->batch; b++) {
    const ex_real *in = call->in[0] + b * count, *dout = call->dout + b * count;
    const ex_real *s = (const ex_real *)call->workspace + b * count;
    ex_real *din = call->din[0] + b * count;
    for (int32_t c = 0, first, last; c < call->node->shape.dim[0]; c++) {
      neighbours(call, c, &first, &last);
      for (int64_t p = 0; p < plane; p++) {
        int64_t i = c * plane + p;
        double others = answered(attr, in, dout, s, first * plane + p, last * plane, plane);
        din[i] += (ex_real)(dout[i] * pow(s[i], -attr->beta) - factor * in[i] * others);
      }
    }
  }
}

const struct ex_op ex__op_lrn = {
    .name = "lrn",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_lrn),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_INPUT,
    .shape = shape,
    .workspace = workspace,
    .forward = forward,
    .backward = backward,
};
