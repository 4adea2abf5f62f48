/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_infer_nhwc: convolutions on channels-last values, by oneDNN.
 *
 * The bits of a sample must depend neither on the batch nor on the threads.
 * oneDNN keeps that for nearly all shapes, not by promise; so each operation
 * is run against its one-sample, one-thread sister on random numbers when it
 * is made, and where a bit differs the sister runs sample after sample.
 *
 * Relu is a pass of our own behind it, not fused: oneDNN's turns a NaN into 0,
 * and who reads an answer must see that its numbers are none.
 *
 * What oneDNN cannot do without a reference kernel, the twin does.
 */
#include <string.h>

#include "base/memory.h"
#include "graph/fast_infer.h"
#include "graph/shape.h"

static const struct ex_conv2d *attr_of(const struct fast_step *step) { return step->node->attr; }

static const struct fast_value *in_of(const struct fast *fast, const struct fast_step *step) {
  return &fast->values[step->in[0]];
}

/* ---- making --------------------------------------------------------------------- */

static enum ex_status make_op(struct fast *fast, const struct fast_step *step, int32_t batch,
                              int32_t threads, bool plain_source, const ex_dnn_op **op,
                              struct ex_error *err) {
  const struct ex_conv2d *attr = attr_of(step);
  const struct ex_shape *in = &in_of(fast, step)->shape, *out = &fast->values[step->out].shape;
  struct ex_dnn_conv conv = {
      .pass = EX_DNN_INFER,
      .threads = threads,
      .batch = batch,
      .in_channels = in->dim[0],
      .in_h = in->dim[1],
      .in_w = in->dim[2],
      .out_channels = out->dim[0],
      .out_h = out->dim[1],
      .out_w = out->dim[2],
      .kernel_h = attr->kernel_h,
      .kernel_w = attr->kernel_w,
      .stride = attr->stride,
      .pad_h = attr->pad_h,
      .pad_w = attr->pad_w,
      .dilation = attr->dilation,
      .groups = attr->groups,
      .bias = true,
      .post = {.sum = step->residual >= 0},
  };
  int64_t src[] = {batch, in->dim[0], in->dim[1], in->dim[2]};
  int64_t dst[] = {batch, out->dim[0], out->dim[1], out->dim[2]};
  EX_TRY(ex__dnn_layout_new(fast->dnn, 4, src, plain_source ? EX_DNN_PLAIN : EX_DNN_NHWC, &conv.src,
                            err));
  EX_TRY(ex__dnn_layout_new(fast->dnn, 4, dst, EX_DNN_NHWC, &conv.dst, err));
  return ex__dnn_conv(fast->dnn, &conv, op, err);
}

static void fill_with_noise(float *to, size_t bytes) {
  uint64_t state = 88172645463325252U;
  for (size_t i = 0; i < bytes / sizeof *to; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    to[i] = (float)((double)(state >> 11) / 9007199254740992.0 - 0.5);
  }
}

/* What a self-check runs on: arrays for both operations. */
struct trial {
  char *src, *dst, *weights, *bias, *scratch;
};

static void run_trial(const ex_dnn_op *op, const struct trial *trial, int64_t sample, bool *ran) {
  ex_dnn_call *call;
  if (ex__dnn_call_new(op, &call) != EX_OK) {
    *ran = false;
    return;
  }
  size_t src = ex__dnn_layout_bytes(ex__dnn_op_layout(op, EX_DNN_SRC));
  size_t dst = ex__dnn_layout_bytes(ex__dnn_op_layout(op, EX_DNN_DST));
  ex__dnn_call_set(call, EX_DNN_SRC, trial->src + (size_t)sample * src);
  ex__dnn_call_set(call, EX_DNN_DST, trial->dst + (size_t)sample * dst);
  ex__dnn_call_set(call, EX_DNN_WEIGHTS, trial->weights);
  ex__dnn_call_set(call, EX_DNN_BIAS, trial->bias);
  ex__dnn_call_set(call, EX_DNN_SCRATCHPAD, trial->scratch);
  *ran = *ran && ex__dnn_call_run(call);
  ex__dnn_call_free(call);
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Whether `many` gives each sample the bits that `one` gives it. */
static bool keeps_bits(const struct fast *fast, const ex_dnn_op *one, const ex_dnn_op *many) {
  if (!ex__dnn_layout_equal(ex__dnn_op_layout(one, EX_DNN_WEIGHTS),
                            ex__dnn_op_layout(many, EX_DNN_WEIGHTS)))
    return false;
  size_t src = ex__dnn_layout_bytes(ex__dnn_op_layout(many, EX_DNN_SRC));
  size_t dst = ex__dnn_layout_bytes(ex__dnn_op_layout(many, EX_DNN_DST));
  size_t weights = ex__dnn_layout_bytes(ex__dnn_op_layout(many, EX_DNN_WEIGHTS));
  size_t bias = ex__dnn_layout_bytes(ex__dnn_op_layout(many, EX_DNN_BIAS));
  struct trial trial = {
      .src = ex__alloc(src, 1),
      .dst = ex__calloc(dst, 1),
      .weights = ex__alloc(weights, 1),
      .bias = ex__alloc(bias, 1),
      .scratch = ex__alloc(larger(ex__dnn_op_scratch(one), ex__dnn_op_scratch(many)) + 64, 1)};
  char *other = ex__calloc(dst, 1);
  bool ran = trial.src != NULL && trial.dst != NULL && trial.weights != NULL &&
             trial.bias != NULL && trial.scratch != NULL && other != NULL;
  if (ran) {
    fill_with_noise((float *)(void *)trial.src, src);
    fill_with_noise((float *)(void *)trial.weights, weights);
    fill_with_noise((float *)(void *)trial.bias, bias);
    int32_t before = ex__dnn_threads(fast->threads);
    run_trial(many, &trial, 0, &ran);
    ex__dnn_threads(1);
    char *first = trial.dst;
    trial.dst = other;
    for (int32_t b = 0; b < fast->batch; b++) run_trial(one, &trial, b, &ran);
    trial.dst = first;
    ex__dnn_threads(before);
  }
  bool same = ran && memcmp(trial.dst, other, dst) == 0;
  char *all[] = {trial.src, trial.dst, trial.weights, trial.bias, trial.scratch, other};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) ex__free(all[i]);
  return same;
}

static enum ex_status choose_op(struct fast *fast, struct fast_step *step, bool plain_source,
                                struct ex_error *err) {
  step->op_batch = step->op_threads = 1;
  EX_TRY(make_op(fast, step, 1, 1, plain_source, &step->op, err));
  if (fast->batch == 1 && fast->threads == 1) return EX_OK;
  const ex_dnn_op *many;
  if (make_op(fast, step, fast->batch, fast->threads, plain_source, &many, NULL) != EX_OK ||
      !keeps_bits(fast, step->op, many))
    return EX_OK;
  step->op = many;
  step->op_batch = fast->batch;
  step->op_threads = fast->threads;
  return EX_OK;
}

static enum ex_status make_reorder(struct fast *fast, struct fast_step *step,
                                   struct ex_error *err) {
  const struct ex_conv2d *attr = attr_of(step);
  int32_t groups = attr->groups, out = attr->channels, in = in_of(fast, step)->shape.dim[0];
  int64_t dense[] = {out, in, attr->kernel_h, attr->kernel_w};
  int64_t grouped[] = {groups, out / groups, in / groups, attr->kernel_h, attr->kernel_w};
  const ex_dnn_layout *plain;
  EX_TRY(ex__dnn_layout_new(fast->dnn, groups > 1 ? 5 : 4, groups > 1 ? grouped : dense,
                            EX_DNN_PLAIN, &plain, err));
  EX_TRY(ex__dnn_reorder(fast->dnn, plain, ex__dnn_op_layout(step->op, EX_DNN_WEIGHTS), false, 1,
                         &step->reorder, err));
  if (ex__dnn_call_new(step->reorder, &step->reorder_call) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "conv2d: no memory for its weights");
  return EX_OK;
}

static int64_t source_bytes(const struct fast *fast, const struct fast_step *step) {
  int64_t n = fast->batch * ex__shape_count(&in_of(fast, step)->shape);
  return (n * (int64_t)sizeof(float) + 63) & ~(int64_t)63;
}

static enum ex_status make_conv(struct fast *fast, struct fast_step *step, struct ex_error *err) {
  const struct fast_value *in = in_of(fast, step);
  if (fast->dnn == NULL) EX_TRY(ex__dnn_new(&fast->dnn, err));
  bool is_part = step->in_place[0].sample_step != ex__shape_count(&in->shape);
  enum ex_status status = EX_EUNSUPPORTED;
  if (!in->nhwc && !is_part) status = choose_op(fast, step, true, err);
  if (status != EX_OK) {
    step->lays_nhwc = !in->nhwc || is_part;
    status = choose_op(fast, step, false, err);
  }
  if (status == EX_EUNSUPPORTED && step->residual < 0 && step->norm == NULL && !step->relu) {
    step->kind = &ex__fast_twin;
    step->lays_nhwc = false;
    return step->kind->make(fast, step, err);
  }
  EX_TRY(status);
  EX_TRY(make_reorder(fast, step, err));
  step->scratch = (int64_t)larger(ex__dnn_op_scratch(step->op), ex__dnn_op_scratch(step->reorder));
  step->scratch = (step->scratch + 63) & ~(int64_t)63;
  if (step->lays_nhwc) step->scratch += source_bytes(fast, step);
  const ex_dnn_layout *weights = ex__dnn_op_layout(step->op, EX_DNN_WEIGHTS);
  return ex__fast_make_weights(step, (int64_t)(ex__dnn_layout_bytes(weights) / sizeof(float)),
                               attr_of(step)->channels, err);
}

static void pack_conv(const struct fast *fast, struct fast_step *step) {
  const struct ex_conv2d *attr = attr_of(step);
  const ex_real *weight = ex__fast_tensor(fast, step->node, 0);
  int64_t depth =
      (int64_t)in_of(fast, step)->shape.dim[0] / attr->groups * attr->kernel_h * attr->kernel_w;
  for (int32_t o = 0; o < attr->channels; o++) {
    double scale, shift;
    ex__fast_affine(fast, step, o, &scale, &shift);
    step->bias[o] = (float)shift;
    for (int64_t d = 0; d < depth; d++)
      fast->staging[o * depth + d] = (float)(weight[o * depth + d] * scale);
  }
  ex__dnn_call_set(step->reorder_call, EX_DNN_SRC, fast->staging);
  ex__dnn_call_set(step->reorder_call, EX_DNN_DST, step->weights);
  ex__dnn_call_run(step->reorder_call);
}

/* ---- running ----------------------------------------------------------------------- */

/* The source of all samples, dense and channels last, in scratch. */
static float *lay_source(const struct fast *fast, const struct fast_step *step,
                         const struct fast_run *run) {
  const struct fast_value *in = in_of(fast, step);
  const struct ex_shape *shape = &in->shape;
  int64_t plane = ex__shape_plane(shape), channels = shape->dim[0];
  float *laid = (float *)(void *)(run->scratch + step->scratch - source_bytes(fast, step));
  for (int32_t b = 0; b < fast->batch; b++) {
    const float *from = ex__fast_at(run, &step->in_place[0], b);
    float *to = laid + b * plane * channels;
    if (!in->nhwc) ex__fast_from_plain(shape, from, channels, to);
    for (int64_t p = 0; in->nhwc && p < plane; p++)
      memcpy(to + p * channels, from + p * step->in_place[0].pixel_step,
             (size_t)channels * sizeof *to);
  }
  return laid;
}

static void copy_residual(const struct fast *fast, const struct fast_step *step,
                          const struct fast_run *run) {
  const struct ex_shape *shape = &fast->values[step->out].shape;
  int64_t plane = ex__shape_plane(shape), channels = shape->dim[0];
  bool nhwc = fast->values[step->residual].nhwc;
  for (int32_t b = 0; b < fast->batch; b++) {
    const float *from = ex__fast_at(run, &step->residual_place, b);
    float *to = ex__fast_at(run, &step->out_place, b);
    if (from == to) continue;
    if (!nhwc) ex__fast_from_plain(shape, from, channels, to);
    for (int64_t p = 0; nhwc && p < plane; p++)
      memcpy(to + p * channels, from + p * step->residual_place.pixel_step,
             (size_t)channels * sizeof *to);
  }
}

static void clip(const struct fast *fast, const struct fast_step *step,
                 const struct fast_run *run) {
  int64_t n = fast->batch * ex__shape_count(&fast->values[step->out].shape);
  float *out = ex__fast_at(run, &step->out_place, 0);
  fast->kernels->relu(&(struct ex_rows){.n_rows = 1, .n = n, .out = out, .in = {out}});
}

static void run_conv(const struct fast *fast, const struct fast_step *step,
                     const struct fast_run *run) {
  ex_dnn_call *call = run->call[step - fast->steps];
  const float *src =
      step->lays_nhwc ? lay_source(fast, step, run) : ex__fast_at(run, &step->in_place[0], 0);
  if (step->residual >= 0) copy_residual(fast, step, run);
  ex__dnn_call_set(call, EX_DNN_WEIGHTS, step->weights);
  ex__dnn_call_set(call, EX_DNN_BIAS, step->bias);
  ex__dnn_call_set(call, EX_DNN_SCRATCHPAD, run->scratch);
  if (step->op_threads != fast->threads) ex__dnn_threads(step->op_threads);
  for (int32_t b = 0; b < fast->batch; b += step->op_batch) {
    ex__dnn_call_set(call, EX_DNN_SRC, src + b * ex__shape_count(&in_of(fast, step)->shape));
    ex__dnn_call_set(call, EX_DNN_DST, ex__fast_at(run, &step->out_place, b));
    ex__dnn_call_run(call);
  }
  if (step->op_threads != fast->threads) ex__dnn_threads(fast->threads);
  if (step->relu) clip(fast, step, run);
}

const struct fast_kind ex__fast_conv_nhwc = {
    .name = "nhwc", .make = make_conv, .run = run_conv, .pack = pack_conv};
