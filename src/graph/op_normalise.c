/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_normalise: what a network does to raw values before its first layer,
 * as an operator, so that several networks with statistics of their own can read
 * one input: (x, / 255 where bytes, − mean) / deviation, per channel.
 *
 * It computes by ex__preprocess_apply, and in inference its value is plain like
 * the graph's input, which it stands for: what follows runs the same kernels on
 * the same numbers, so a network's bits are those of its own pre-processing.
 */
#include "data/preprocess.h"
#include "graph/shape.h"

static const struct ex_param attrs[] = {
    {"bytes", EX_PARAM_BOOL, offsetof(struct ex_normalise, bytes), 0, 1, "false", NULL,
     "Whether raw values are 0 to 255, and are divided by 255 first."},
    {"mean", EX_PARAM_LIST, offsetof(struct ex_normalise, mean), -1e30, 1e30, "0", NULL,
     "Subtracted: one number, or one per channel."},
    {"deviation", EX_PARAM_LIST, offsetof(struct ex_normalise, deviation), 1e-30, 1e30, "1", NULL,
     "Divided by after that; as many."},
    {.name = NULL},
};

static enum ex_status shape(const struct ex_node *node, const struct ex_shape *const *in,
                            struct ex_shape *out, struct ex_error *err) {
  const struct ex_normalise *attr = node->attr;
  int32_t n = attr->mean.n;
  if (n != attr->deviation.n || (n != 1 && n != in[0]->dim[0]))
    return ex__fail(err, EX_EINVAL,
                    "normalise: %d means and %d deviations; must be one of each, or one per "
                    "channel: %d",
                    (int)n, (int)attr->deviation.n, (int)in[0]->dim[0]);
  *out = *in[0];
  return EX_OK;
}

static void read(const struct ex_normalise *attr, struct ex_preprocess *out) {
  out->bytes = attr->bytes != 0;
  out->n_channels = attr->mean.n;
  for (int32_t c = 0; c < attr->mean.n; c++) {
    out->mean[c] = attr->mean.value[c];
    out->deviation[c] = attr->deviation.value[c];
  }
}

static void forward(const struct ex_op_call *call) {
  struct ex_preprocess preprocess;
  int64_t features = ex__shape_count(&call->node->shape);
  read(call->node->attr, &preprocess);
  for (int32_t b = 0; b < call->batch; b++)
    ex__preprocess_apply(&preprocess, call->in[0] + b * features, features,
                         call->out + b * features);
}

static void backward(const struct ex_op_call *call) {
  const struct ex_normalise *attr = call->node->attr;
  int64_t features = ex__shape_count(&call->node->shape), run = features / attr->mean.n;
  if (call->din[0] == NULL) return;
  for (int64_t i = 0; i < call->batch * features; i++) {
    double divisor = attr->deviation.value[i % features / run] * (attr->bytes ? 255 : 1);
    call->din[0][i] += (ex_real)(call->dout[i] / divisor);
  }
}

const struct ex_op ex__op_normalise = {
    .name = "normalise",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_normalise),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_PER_CHANNEL | EX_OP_PLAIN,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};
