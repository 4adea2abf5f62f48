/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/onednn_simple: pooling, functions of single elements, batch-norm,
 * addition, change of layout: what has no weight matrix.
 *
 * Averages over a whole map are pooling, never oneDNN's `reduction`, whose
 * only implementation is the reference. Batch-norm takes scale and shift as
 * two arguments, as oneDNN 3 does. Eltwise backward wants the descriptor of a
 * forward as a hint although its caller has none, so one is made here.
 */
#include "graph/onednn_object.h"

enum ex_status ex__dnn_pool(ex_dnn *dnn, const struct ex_dnn_pool *p, const ex_dnn_op **out,
                            struct ex_error *err) {
  *out = NULL;
  int64_t dst_dim[] = {p->batch, p->channels, p->out_h, p->out_w};
  dnnl_memory_desc_t dst =
      p->dst != NULL ? p->dst->desc : ex__dnn_desc(4, dst_dim, dnnl_format_tag_any);
  dnnl_dims_t kernel = {p->kernel_h, p->kernel_w}, stride = {p->stride_h, p->stride_w};
  dnnl_dims_t before = {p->pad_h, p->pad_w};
  dnnl_dims_t behind = {(p->out_h - 1) * p->stride_h + p->kernel_h - p->in_h - p->pad_h,
                        (p->out_w - 1) * p->stride_w + p->kernel_w - p->in_w - p->pad_w};
  dnnl_alg_kind_t algorithm = p->max             ? dnnl_pooling_max
                              : p->count_padding ? dnnl_pooling_avg_include_padding
                                                 : dnnl_pooling_avg_exclude_padding;
  bool backward = p->pass == EX_DNN_BACKWARD;
  dnnl_pooling_desc_t desc;
  dnnl_status_t status;
  if (backward)
    status = dnnl_pooling_backward_desc_init(&desc, algorithm, &p->src->desc, &dst, stride, kernel,
                                             before, behind);
  else
    status = dnnl_pooling_forward_desc_init(
        &desc, p->pass == EX_DNN_INFER ? dnnl_forward_inference : dnnl_forward_training, algorithm,
        &p->src->desc, &dst, stride, kernel, before, behind);
  EX_TRY(ex__dnn_check(status, "pooling", err));
  static const enum ex_dnn_arg forward_args[] = {EX_DNN_SRC, EX_DNN_DST};
  static const enum ex_dnn_arg backward_args[] = {EX_DNN_DIFF_DST, EX_DNN_DIFF_SRC};
  struct ex_dnn_request request = {
      .op_desc = &desc,
      .hint = p->forward,
      .args = backward ? backward_args : forward_args,
      .n_args = 2,
      .threads = p->threads,
      .what = "pooling",
  };
  return ex__dnn_make(dnn, &request, out, err);
}

static dnnl_alg_kind_t function_code(enum ex_dnn_function function, bool trained) {
  switch (function) {
    case EX_DNN_GELU: return dnnl_eltwise_gelu_erf;
    case EX_DNN_SIGMOID:
      return trained ? dnnl_eltwise_logistic_use_dst_for_bwd : dnnl_eltwise_logistic;
    case EX_DNN_RELU: break;
  }
  return trained ? dnnl_eltwise_relu_use_dst_for_bwd : dnnl_eltwise_relu;
}

static enum ex_status eltwise_forward(ex_dnn *dnn, const struct ex_dnn_eltwise *e,
                                      const ex_dnn_op **out, struct ex_error *err) {
  bool infer = e->pass == EX_DNN_INFER;
  dnnl_eltwise_desc_t desc;
  EX_TRY(ex__dnn_check(dnnl_eltwise_forward_desc_init(
                           &desc, infer ? dnnl_forward_inference : dnnl_forward_training,
                           function_code(e->function, !infer), &e->data->desc, 0.0F, 0.0F),
                       "eltwise", err));
  static const enum ex_dnn_arg args[] = {EX_DNN_SRC, EX_DNN_DST};
  struct ex_dnn_request request = {
      .op_desc = &desc, .args = args, .n_args = 2, .threads = e->threads, .what = "eltwise"};
  return ex__dnn_make(dnn, &request, out, err);
}

enum ex_status ex__dnn_eltwise(ex_dnn *dnn, const struct ex_dnn_eltwise *e, const ex_dnn_op **out,
                               struct ex_error *err) {
  if (e->pass != EX_DNN_BACKWARD) return eltwise_forward(dnn, e, out, err);
  *out = NULL;
  struct ex_dnn_eltwise forward = *e;
  forward.pass = EX_DNN_FORWARD;
  const ex_dnn_op *hint;
  EX_TRY(eltwise_forward(dnn, &forward, &hint, err));
  dnnl_eltwise_desc_t desc;
  EX_TRY(ex__dnn_check(dnnl_eltwise_backward_desc_init(&desc, function_code(e->function, true),
                                                       &e->data->desc, &e->data->desc, 0.0F, 0.0F),
                       "eltwise", err));
  enum ex_dnn_arg args[] = {e->function == EX_DNN_GELU ? EX_DNN_SRC : EX_DNN_DST, EX_DNN_DIFF_DST,
                            EX_DNN_DIFF_SRC};
  struct ex_dnn_request request = {.op_desc = &desc,
                                   .hint = hint,
                                   .args = args,
                                   .n_args = 3,
                                   .threads = e->threads,
                                   .what = "eltwise"};
  return ex__dnn_make(dnn, &request, out, err);
}

enum ex_status ex__dnn_norm(ex_dnn *dnn, const struct ex_dnn_norm *n, const ex_dnn_op **out,
                            struct ex_error *err) {
  *out = NULL;
  unsigned flags = dnnl_use_scale | dnnl_use_shift | (n->relu ? dnnl_fuse_norm_relu : 0U) |
                   (n->pass == EX_DNN_INFER ? dnnl_use_global_stats : 0U);
  const dnnl_memory_desc_t *data = &n->data->desc;
  bool backward = n->pass == EX_DNN_BACKWARD;
  dnnl_batch_normalization_desc_t desc;
  dnnl_status_t status;
  if (backward)
    status = dnnl_batch_normalization_backward_desc_init(&desc, dnnl_backward, data, data, n->eps,
                                                         flags);
  else
    status = dnnl_batch_normalization_forward_desc_init(
        &desc, n->pass == EX_DNN_INFER ? dnnl_forward_inference : dnnl_forward_training, data,
        n->eps, flags);
  EX_TRY(ex__dnn_check(status, "batch-norm", err));
  static const enum ex_dnn_arg forward_args[] = {EX_DNN_SRC,      EX_DNN_DST,   EX_DNN_MEAN,
                                                 EX_DNN_VARIANCE, EX_DNN_SCALE, EX_DNN_SHIFT};
  static const enum ex_dnn_arg backward_args[] = {
      EX_DNN_SRC,   EX_DNN_DIFF_DST, EX_DNN_DIFF_SRC,   EX_DNN_MEAN,      EX_DNN_VARIANCE,
      EX_DNN_SCALE, EX_DNN_SHIFT,    EX_DNN_DIFF_SCALE, EX_DNN_DIFF_SHIFT};
  struct ex_dnn_request request = {
      .op_desc = &desc,
      .hint = n->forward,
      .args = backward ? backward_args : forward_args,
      .n_args = backward ? 9 : 6,
      .threads = n->threads,
      .what = "batch-norm",
  };
  return ex__dnn_make(dnn, &request, out, err);
}

enum ex_status ex__dnn_binary(ex_dnn *dnn, const struct ex_dnn_binary *b, const ex_dnn_op **out,
                              struct ex_error *err) {
  *out = NULL;
  const dnnl_memory_desc_t *data = &b->data->desc;
  dnnl_binary_desc_t desc;
  EX_TRY(ex__dnn_check(dnnl_binary_desc_init(&desc, b->multiply ? dnnl_binary_mul : dnnl_binary_add,
                                             data, data, data),
                       "binary", err));
  static const enum ex_dnn_arg args[] = {EX_DNN_SRC, EX_DNN_SRC1, EX_DNN_DST};
  struct ex_dnn_post post = {.relu = b->relu};
  struct ex_dnn_request request = {.op_desc = &desc,
                                   .post = &post,
                                   .args = args,
                                   .n_args = 3,
                                   .threads = b->threads,
                                   .what = "binary"};
  return ex__dnn_make(dnn, &request, out, err);
}

enum ex_status ex__dnn_reorder(ex_dnn *dnn, const ex_dnn_layout *from, const ex_dnn_layout *to,
                               bool add, int32_t threads, const ex_dnn_op **out,
                               struct ex_error *err) {
  *out = NULL;
  static const enum ex_dnn_arg args[] = {EX_DNN_SRC, EX_DNN_DST};
  struct ex_dnn_request request = {.args = args, .n_args = 2, .what = "reorder"};
  struct ex_dnn_post post = {.sum = add};
  dnnl_primitive_attr_t attr;
  EX_TRY(ex__dnn_attr(&post, &attr, err));
  int32_t before = ex__dnn_threads(threads);
  dnnl_primitive_desc_t desc;
  enum ex_status status =
      ex__dnn_check(dnnl_reorder_primitive_desc_create(&desc, &from->desc, dnn->engine, &to->desc,
                                                       dnn->engine, attr),
                    "reorder", err);
  if (status == EX_OK) status = ex__dnn_finish(dnn, desc, &request, out, err);
  ex__dnn_threads(before);
  dnnl_primitive_attr_destroy(attr);
  return status;
}
