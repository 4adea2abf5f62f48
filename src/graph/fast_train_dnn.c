/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_dnn: convolutions of blocked images by oneDNN.
 *
 * Layouts of images are given by the values' orders, algorithm auto, so that
 * oneDNN takes Winograd for wide 3x3 layers; layouts of weights are its own
 * choice, and weights are reordered from PyTorch's at every call, gradients of
 * weights back with an addition. The first layer reads the plain image.
 *
 * Where channels of the input are blocked (their gradient is not wanted), the
 * gradient of the others is that of a narrower convolution, if they are whole
 * blocks that follow each other; else all of it is computed.
 */
#include <string.h>

#include "base/memory.h"
#include "graph/fast_train.h"

enum { WEIGHT, BIAS };
/* The operations of one convolution; each has a call per run. */
enum { FORWARD, DATA, WEIGHTS, N_PASSES, PACK_FORWARD = N_PASSES, PACK_DATA, UNPACK, N_OPS };

/* Winograd's gradient of 512 x 512 weights wants 131 MB, a quarter of all memory
 * that ResNet-18 takes; directly it needs none and is hardly slower. */
enum { MOST_SCRATCH = 64 << 20 };

struct dnn_conv {
  bool bias;
  int32_t from, width;        /* channels of the input whose gradient is computed */
  const ex_dnn_op *op[N_OPS]; /* NULL: not needed */
  /* Of the passes FORWARD, DATA and WEIGHTS, which follow each other: bytes of
   * the reordered weights or their gradient, and of oneDNN's scratchpads. */
  size_t weight_bytes[N_PASSES], scratch[N_PASSES];
};

/* Orders that oneDNN's kernels take: blocked, or a plain image of few channels
 * in the first layer, into blocked. */
bool ex__train_dnn_conv_fits(const ex_program *program, const struct train_step *step) {
  const struct train *train = train_of(program);
  const struct train_value *in = &train->values[step->in[0]], *out = &train->values[step->out];
  if (out->order != TRAIN_BLOCKED) return false;
  return in->order == TRAIN_BLOCKED || (in->order == TRAIN_PLAIN && in->channels <= 3);
}

static enum ex_status image_layout(struct train *train, const struct train_value *v,
                                   const ex_dnn_layout **out, struct ex_error *err) {
  int64_t dim[] = {train->batch, v->channels, v->shape.dim[1], v->shape.dim[2]};
  enum ex_dnn_tag tag = v->order == TRAIN_PLAIN  ? EX_DNN_PLAIN
                        : v->order == TRAIN_NHWC ? EX_DNN_NHWC
                        : train->block == 16     ? EX_DNN_NCHW16C
                                                 : EX_DNN_NCHW8C;
  return ex__dnn_layout_new(train->dnn, 4, dim, tag, out, err);
}

static struct ex_dnn_conv describe_conv(const struct train *train, const struct train_step *step) {
  const struct ex_conv2d *attr = step->node->attr;
  const struct train_value *in = &train->values[step->in[0]], *out = &train->values[step->out];
  return (struct ex_dnn_conv){.pass = EX_DNN_FORWARD,
                              .algorithm = EX_DNN_AUTO,
                              .threads = train->threads,
                              .batch = train->batch,
                              .in_channels = in->channels,
                              .in_h = in->shape.dim[1],
                              .in_w = in->shape.dim[2],
                              .out_channels = out->channels,
                              .out_h = out->shape.dim[1],
                              .out_w = out->shape.dim[2],
                              .kernel_h = attr->kernel_h,
                              .kernel_w = attr->kernel_w,
                              .stride = attr->stride,
                              .pad_h = attr->pad_h,
                              .pad_w = attr->pad_w,
                              .dilation = attr->dilation,
                              .groups = attr->groups,
                              .bias = attr->bias != 0,
                              .admit_gemm = true,
                              .admit_reference = true};
}

/* PyTorch's weights as a layout. */
static enum ex_status weight_layout(struct train *train, const struct ex_dnn_conv *c,
                                    const ex_dnn_layout **out, struct ex_error *err) {
  int64_t dense[] = {c->out_channels, c->in_channels, c->kernel_h, c->kernel_w};
  int64_t grouped[] = {c->groups, c->out_channels / c->groups, c->in_channels / c->groups,
                       c->kernel_h, c->kernel_w};
  return ex__dnn_layout_new(train->dnn, c->groups > 1 ? 5 : 4, c->groups > 1 ? grouped : dense,
                            EX_DNN_PLAIN, out, err);
}

/* A reorder between PyTorch's weights and an operation's, unless they are equal. */
static enum ex_status plan_pack(struct train *train, struct dnn_conv *conv, int32_t which,
                                const ex_dnn_layout *plain, const ex_dnn_layout *packed,
                                struct ex_error *err) {
  bool back = which == UNPACK;
  if (!back && ex__dnn_layout_equal(plain, packed)) return EX_OK;
  conv->weight_bytes[which - N_PASSES] = ex__dnn_layout_bytes(packed);
  return ex__dnn_reorder(train->dnn, back ? packed : plain, back ? plain : packed, back,
                         train->threads, &conv->op[which], err);
}

static void choose_channels(const struct train *train, const struct train_step *step,
                            struct dnn_conv *conv) {
  const struct train_value *in = &train->values[step->in[0]];
  const struct ex_conv2d *attr = step->node->attr;
  int32_t from[2], to[2], n = ex__train_wanted_parts(in, from, to);
  bool fits = n == 1 && attr->groups == 1 && in->order == TRAIN_BLOCKED &&
              from[0] % train->block == 0 && to[0] % train->block == 0;
  conv->from = fits ? from[0] : 0;
  conv->width = fits ? to[0] - from[0] : in->channels;
}

/* Makes `c` and the layout of its weights those of the channels alone. */
static enum ex_status narrow(struct train *train, const struct train_step *step,
                             const struct dnn_conv *conv, struct ex_dnn_conv *c,
                             const ex_dnn_layout **plain, struct ex_error *err) {
  struct train_value part = train->values[step->in[0]];
  int64_t kernel = c->kernel_h * c->kernel_w;
  int64_t dim[] = {c->out_channels, conv->width, c->kernel_h, c->kernel_w};
  int64_t stride[] = {c->in_channels * kernel, kernel, c->kernel_w, 1};
  part.channels = conv->width;
  c->in_channels = conv->width;
  c->pass = EX_DNN_FORWARD;
  c->forward = NULL;
  EX_TRY(image_layout(train, &part, &c->src, err));
  EX_TRY(ex__dnn_layout_strided(train->dnn, 4, dim, stride, plain, err));
  return ex__dnn_conv(train->dnn, c, &c->forward, err); /* never run: backward asks for it */
}

static enum ex_status plan_ops(struct train *train, const struct train_step *step,
                               struct dnn_conv *conv, struct ex_error *err) {
  choose_channels(train, step, conv);
  struct ex_dnn_conv c = describe_conv(train, step);
  const ex_dnn_layout *plain;
  const struct train_value *in = &train->values[step->in[0]];
  EX_TRY(image_layout(train, in, &c.src, err));
  EX_TRY(image_layout(train, &train->values[step->out], &c.dst, err));
  EX_TRY(weight_layout(train, &c, &plain, err));
  EX_TRY(ex__dnn_conv(train->dnn, &c, &conv->op[FORWARD], err));
  EX_TRY(plan_pack(train, conv, PACK_FORWARD, plain,
                   ex__dnn_op_layout(conv->op[FORWARD], EX_DNN_WEIGHTS), err));
  c.forward = conv->op[FORWARD];
  c.pass = EX_DNN_BACKWARD_WEIGHTS;
  EX_TRY(ex__dnn_conv(train->dnn, &c, &conv->op[WEIGHTS], err));
  if (ex__dnn_op_scratch(conv->op[WEIGHTS]) > MOST_SCRATCH) {
    c.algorithm = EX_DNN_DIRECT;
    EX_TRY(ex__dnn_conv(train->dnn, &c, &conv->op[WEIGHTS], err));
    c.algorithm = EX_DNN_AUTO;
  }
  EX_TRY(plan_pack(train, conv, UNPACK, plain,
                   ex__dnn_op_layout(conv->op[WEIGHTS], EX_DNN_DIFF_WEIGHTS), err));
  if (!in->wanted) return EX_OK;
  if (conv->width < in->channels) EX_TRY(narrow(train, step, conv, &c, &plain, err));
  c.pass = EX_DNN_BACKWARD_DATA;
  c.bias = false;
  EX_TRY(ex__dnn_conv(train->dnn, &c, &conv->op[DATA], err));
  return plan_pack(train, conv, PACK_DATA, plain, ex__dnn_op_layout(conv->op[DATA], EX_DNN_WEIGHTS),
                   err);
}

static int64_t round_up(size_t n) { return (int64_t)((n + 63) & ~(size_t)63); }

static int64_t pass_bytes(const struct dnn_conv *conv, int32_t pass) {
  return round_up(conv->weight_bytes[pass]) + round_up(conv->scratch[pass]);
}

/* Scratch of a pass: weights, oneDNN's own; behind them, in backward, a bias'
 * gradient or, where gradients may have to be added, one for the input's. */
static enum ex_status plan(const ex_program *program, struct train_step *step,
                           struct ex_error *err) {
  struct train *train = train_of(program);
  struct dnn_conv *conv = step->impl = ex__calloc(1, sizeof *conv);
  if (conv == NULL) return ex__fail(err, EX_ENOMEM, "convolution: no memory");
  if (train->dnn == NULL) EX_TRY(ex__dnn_new(&train->dnn, err));
  conv->bias = ((const struct ex_conv2d *)step->node->attr)->bias != 0;
  EX_TRY(plan_ops(train, step, conv, err));
  for (int32_t i = 0; i < N_OPS; i++)
    if (conv->op[i] != NULL && ex__dnn_op_scratch(conv->op[i]) > conv->scratch[i % N_PASSES])
      conv->scratch[i % N_PASSES] = ex__dnn_op_scratch(conv->op[i]);
  const struct train_value *in = &train->values[step->in[0]];
  bool may_add = in->wanted && (in->in_port >= 0 || in->out_port >= 0 || in->n_readers > 1 ||
                                in->blocked_from < in->blocked_to); /* it was zeroed */
  step->data_macs = step->macs / in->channels * conv->width;
  int64_t bias = round_up(4 * (size_t)train->values[step->out].channels);
  int64_t weights = pass_bytes(conv, WEIGHTS) + bias;
  int64_t data = pass_bytes(conv, DATA) + (may_add ? 4 * in->count : 0);
  step->scratch_forward = pass_bytes(conv, FORWARD);
  step->scratch_backward = weights > data ? weights : data;
  return EX_OK;
}

/* ---- running ----------------------------------------------------------------- */

static void state_free(void *state) { ex__train_calls_free(state, N_OPS); }

static enum ex_status state_new(const struct train_step *step, void **state) {
  return ex__train_calls_new(((const struct dnn_conv *)step->impl)->op, N_OPS, state);
}

static void run_op(ex_dnn_call *call, void *scratch) {
  ex__dnn_call_set(call, EX_DNN_SCRATCHPAD, scratch);
  ex__dnn_call_run(call);
}

/* PyTorch's weights as an operation wants them. */
static const float *packed(ex_dnn_call *pack, const float *weight, char *at, char *scratch) {
  if (pack == NULL) return weight;
  ex__dnn_call_set(pack, EX_DNN_SRC, weight);
  ex__dnn_call_set(pack, EX_DNN_DST, at);
  run_op(pack, scratch);
  return (const float *)(void *)at;
}

static void forward(const struct train_call *call) {
  const struct dnn_conv *conv = call->step->impl;
  ex_dnn_call **calls = call->state;
  char *scratch = call->scratch + round_up(conv->weight_bytes[FORWARD]);
  ex_dnn_call *run = calls[FORWARD];
  ex__dnn_call_set(run, EX_DNN_SRC, call->in[0].data);
  ex__dnn_call_set(run, EX_DNN_WEIGHTS,
                   packed(calls[PACK_FORWARD], call->tensor[WEIGHT], call->scratch, scratch));
  if (conv->bias) ex__dnn_call_set(run, EX_DNN_BIAS, call->tensor[BIAS]);
  ex__dnn_call_set(run, EX_DNN_DST, call->out.data);
  run_op(run, scratch);
}

struct part {
  const float *from;
  float *to;
  int64_t from_step, to_step; /* floats from sample to sample */
};

static void add_samples(void *context, int32_t thread, int64_t begin, int64_t end) {
  (void)thread;
  const struct part *part = context;
  for (int64_t s = begin; s < end; s++)
    for (int64_t i = 0; i < part->from_step; i++)
      part->to[s * part->to_step + i] += part->from[s * part->from_step + i];
}

/* The gradient's blocks of channels, which follow each other in every sample. An
 * array with blocked channels was zeroed, so it is added to. */
static void add_part(const struct train_call *call, const float *sum) {
  const struct train *train = train_of(call->program);
  const struct dnn_conv *conv = call->step->impl;
  const struct train_value *in = train_in(call, 0);
  struct part part = {sum, call->din[0].data + (int64_t)conv->from * in->plane,
                      (int64_t)conv->width * in->plane, (int64_t)in->channels * in->plane};
  ex__train_parallel(train->threads, train->batch, add_samples, &part);
}

static void backward_data(const struct train_call *call) {
  const struct dnn_conv *conv = call->step->impl;
  const struct ex_conv2d *attr = call->step->node->attr;
  char *scratch = call->scratch + round_up(conv->weight_bytes[DATA]);
  float *sum = (float *)(void *)(call->scratch + pass_bytes(conv, DATA));
  ex_dnn_call **calls = call->state;
  ex_dnn_call *run = calls[DATA];
  ex__dnn_call_set(run, EX_DNN_DIFF_DST, call->dout.data);
  ex__dnn_call_set(run, EX_DNN_WEIGHTS,
                   packed(calls[PACK_DATA],
                          call->tensor[WEIGHT] + conv->from * attr->kernel_h * attr->kernel_w,
                          call->scratch, scratch));
  ex__dnn_call_set(run, EX_DNN_DIFF_SRC, call->add[0] ? sum : call->din[0].data);
  run_op(run, scratch);
  if (!call->add[0]) return;
  const struct train_value *in = train_in(call, 0);
  if (conv->width < in->channels) {
    add_part(call, sum);
    return;
  }
  ex__train_copy(train_of(call->program), in, (struct fast_rows){sum, in->ld}, call->din[0], true);
}

static void backward_weights(const struct train_call *call) {
  const struct dnn_conv *conv = call->step->impl;
  char *scratch = call->scratch + round_up(conv->weight_bytes[WEIGHTS]);
  float *dbias = (float *)(void *)(call->scratch + pass_bytes(conv, WEIGHTS));
  ex_dnn_call **calls = call->state;
  ex_dnn_call *run = calls[WEIGHTS];
  ex__dnn_call_set(run, EX_DNN_SRC, call->in[0].data);
  ex__dnn_call_set(run, EX_DNN_DIFF_DST, call->dout.data);
  ex__dnn_call_set(run, EX_DNN_DIFF_WEIGHTS, call->scratch);
  if (conv->bias) ex__dnn_call_set(run, EX_DNN_DIFF_BIAS, dbias);
  run_op(run, scratch);
  ex__dnn_call_set(calls[UNPACK], EX_DNN_SRC, call->scratch);
  ex__dnn_call_set(calls[UNPACK], EX_DNN_DST, call->dtensor[WEIGHT]);
  run_op(calls[UNPACK], scratch);
  if (conv->bias && call->dtensor[BIAS] != NULL)
    for (int32_t c = 0; c < train_out(call)->channels; c++) call->dtensor[BIAS][c] += dbias[c];
}

static void backward(const struct train_call *call) {
  if (call->dtensor[WEIGHT] != NULL) backward_weights(call);
  if (call->din[0].data != NULL) backward_data(call);
}

static void describe(const struct train_step *step, struct ex_text *text) {
  const struct dnn_conv *conv = step->impl;
  ex__text_add(text, ", %s", ex__dnn_op_implementation(conv->op[FORWARD]));
  if (conv->op[DATA] != NULL)
    ex__text_add(text, ", data %s", ex__dnn_op_implementation(conv->op[DATA]));
  ex__text_add(text, ", weights %s", ex__dnn_op_implementation(conv->op[WEIGHTS]));
}

const struct train_step_class ex__train_dnn_conv = {
    .name = "oneDNN conv",
    .plan = plan,
    .forward = forward,
    .backward = backward,
    .state_new = state_new,
    .state_free = state_free,
    .describe = describe,
};
