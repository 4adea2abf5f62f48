/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_batch_norm: batch normalisation (Ioffe & Szegedy 2015) per channel,
 * or per feature of a rank-1 value, with PyTorch's conventions: training
 * normalises by the biased variance of the batch, and moves the running
 * variance by the unbiased one; inference uses the running statistics. A
 * caller that freezes a norm passes training = false.
 *
 * A training batch with a single value per channel has no unbiased variance;
 * PyTorch refuses it, here (a call cannot fail) the biased one, 0, is used.
 *
 * The workspace keeps what forward normalised by, so that backward is right
 * even after the running statistics have moved on. Sums are in double: over a
 * large batch, float would lose the variance of a channel with a large mean.
 */
#include <math.h>

#include "graph/shape.h"

static const struct ex_param attrs[] = {
    {"eps", EX_PARAM_REAL, offsetof(struct ex_batch_norm, eps), 0, 1, "1e-5", NULL,
     "Added to the variance."},
    {"momentum", EX_PARAM_REAL, offsetof(struct ex_batch_norm, momentum), 0, 1, "0.1", NULL,
     "Share of the new batch in the running statistics."},
    {.name = NULL},
};

enum { WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR };

static int32_t tensors(const struct ex_node *node, const struct ex_shape *const *in,
                       struct ex_tensor_decl decl[EX_MAX_NODE_TENSORS]) {
  (void)node;
  struct ex_shape per_channel = {1, {in[0]->dim[0]}};
  decl[WEIGHT] = (struct ex_tensor_decl){"weight", per_channel, EX_ROLE_NORM, EX_INIT_ONE};
  decl[BIAS] = (struct ex_tensor_decl){"bias", per_channel, EX_ROLE_NORM, EX_INIT_ZERO};
  decl[RUNNING_MEAN] =
      (struct ex_tensor_decl){"running_mean", per_channel, EX_ROLE_BUFFER, EX_INIT_ZERO};
  decl[RUNNING_VAR] =
      (struct ex_tensor_decl){"running_var", per_channel, EX_ROLE_BUFFER, EX_INIT_ONE};
  return 4;
}

/* [2][channels]: mean, and 1 / deviation. */
static size_t workspace(const struct ex_node *node, const struct ex_shape *const *in,
                        int32_t batch) {
  (void)node, (void)batch;
  return 2 * (size_t)in[0]->dim[0] * sizeof(ex_real);
}

/* Values of channel c: `batch` runs of `plane`, `step` apart. */
struct channel {
  int64_t batch, plane, step, first;
};

static struct channel channel_of(const struct ex_op_call *call, int64_t c) {
  const struct ex_shape *shape = &call->node->shape;
  int64_t plane = ex__shape_plane(shape);
  return (struct channel){call->batch, plane, shape->dim[0] * plane, c * plane};
}

static void batch_statistics(const ex_real *in, struct channel at, double *mean, double *var) {
  double count = (double)(at.batch * at.plane), sum = 0, squares = 0;
  for (int64_t b = 0; b < at.batch; b++)
    for (int64_t p = 0; p < at.plane; p++) sum += in[at.first + b * at.step + p];
  *mean = sum / count;
  for (int64_t b = 0; b < at.batch; b++)
    for (int64_t p = 0; p < at.plane; p++) {
      double centred = in[at.first + b * at.step + p] - *mean;
      squares += centred * centred;
    }
  *var = squares / count;
}

static void move(ex_real *running, double value, double momentum) {
  if (running != NULL) *running = (ex_real)((1 - momentum) * *running + momentum * value);
}

static void statistics(const struct ex_op_call *call, int64_t c, double *mean, double *var) {
  const struct ex_batch_norm *attr = call->node->attr;
  ex_real *running_mean = call->tensor[RUNNING_MEAN], *running_var = call->tensor[RUNNING_VAR];
  if (!call->training) {
    *mean = running_mean[c];
    *var = running_var[c];
    return;
  }
  struct channel at = channel_of(call, c);
  batch_statistics(call->in[0], at, mean, var);
  double count = (double)(at.batch * at.plane), unbiased = count > 1 ? count / (count - 1) : 1;
  if (running_mean != NULL) move(running_mean + c, *mean, attr->momentum);
  if (running_var != NULL) move(running_var + c, *var * unbiased, attr->momentum);
}

static void forward(const struct ex_op_call *call) {
  const struct ex_batch_norm *attr = call->node->attr;
  int64_t n_channels = call->node->shape.dim[0];
  ex_real *kept_mean = call->workspace, *kept_scale = kept_mean + n_channels;
  for (int64_t c = 0; c < n_channels; c++) {
    double mean, var;
    statistics(call, c, &mean, &var);
    kept_mean[c] = (ex_real)mean;
    kept_scale[c] = (ex_real)(1 / sqrt(var + attr->eps));
    ex_real scale = call->tensor[WEIGHT][c] * kept_scale[c], bias = call->tensor[BIAS][c];
    struct channel at = channel_of(call, c);
    for (int64_t b = 0; b < at.batch; b++) {
      const ex_real *from = call->in[0] + at.first + b * at.step;
      ex_real *to = call->out + at.first + b * at.step;
      for (int64_t p = 0; p < at.plane; p++) to[p] = (from[p] - kept_mean[c]) * scale + bias;
    }
  }
}

/* Σ dy and Σ dy · x̂ over one channel: the gradients of bias and weight. */
static void gradient_sums(const struct ex_op_call *call, struct channel at, ex_real mean,
                          ex_real scale, double *sum, double *product) {
  *sum = *product = 0;
  for (int64_t b = 0; b < at.batch; b++)
    for (int64_t p = 0; p < at.plane; p++) {
      int64_t i = at.first + b * at.step + p;
      *sum += call->dout[i];
      *product += (double)call->dout[i] * ((call->in[0][i] - mean) * scale);
    }
}

/* Batch statistics depend on every x of the channel, so in training
 * dx = w/σ · (dy − mean(dy) − x̂ · mean(dy · x̂)); otherwise dx = w/σ · dy. */
static void backward(const struct ex_op_call *call) {
  int64_t n_channels = call->node->shape.dim[0];
  const ex_real *kept_mean = call->workspace, *kept_scale = kept_mean + n_channels;
  for (int64_t c = 0; c < n_channels; c++) {
    struct channel at = channel_of(call, c);
    ex_real mean = kept_mean[c], scale = kept_scale[c];
    double sum, product, count = (double)(at.batch * at.plane);
    gradient_sums(call, at, mean, scale, &sum, &product);
    if (call->dtensor[WEIGHT] != NULL) call->dtensor[WEIGHT][c] += (ex_real)product;
    if (call->dtensor[BIAS] != NULL) call->dtensor[BIAS][c] += (ex_real)sum;
    if (call->din[0] == NULL) continue;
    ex_real mean_dy = call->training ? (ex_real)(sum / count) : 0;
    ex_real mean_product = call->training ? (ex_real)(product / count) : 0;
    ex_real factor = call->tensor[WEIGHT][c] * scale;
    for (int64_t b = 0; b < at.batch; b++) {
      int64_t first = at.first + b * at.step;
      const ex_real *dout = call->dout + first, *in = call->in[0] + first;
      ex_real *din = call->din[0] + first;
      for (int64_t p = 0; p < at.plane; p++)
        din[p] += factor * (dout[p] - mean_dy - (in[p] - mean) * scale * mean_product);
    }
  }
}

const struct ex_op ex__op_batch_norm = {
    .name = "batch_norm",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_batch_norm),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_INPUT,
    .shape = ex__shape_of_inputs,
    .tensors = tensors,
    .workspace = workspace,
    .forward = forward,
    .backward = backward,
};
