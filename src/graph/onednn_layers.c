/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/onednn_layers: convolution, linear and matmul: what has weights.
 *
 * oneDNN lists its implementations best first; `ref` and `gemm` stand last and
 * cost one or two orders of magnitude (a reference kernel took 474 ms where a
 * compiled one takes 1), so for convolutions they are refused unless asked for.
 */
#include <string.h>

#include "graph/onednn_object.h"

static bool admit_conv(const char *implementation, const void *context) {
  const struct ex_dnn_conv *conv = context;
  if (!conv->admit_reference && strstr(implementation, "ref") != NULL) return false;
  return conv->admit_gemm || strstr(implementation, "gemm") == NULL;
}

static dnnl_alg_kind_t conv_algorithm(enum ex_dnn_algorithm algorithm) {
  if (algorithm == EX_DNN_WINOGRAD) return dnnl_convolution_winograd;
  return algorithm == EX_DNN_DIRECT ? dnnl_convolution_direct : dnnl_convolution_auto;
}

/* The descriptor that was asked for, or "any" of the right dimensions. */
static dnnl_memory_desc_t wanted(const ex_dnn_layout *layout, int32_t rank, const int64_t *dim) {
  return layout != NULL ? layout->desc : ex__dnn_desc(rank, dim, dnnl_format_tag_any);
}

/* Padding behind the last row: what makes `out` positions fit. */
static int64_t pad_behind(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t dilation,
                          int64_t pad) {
  return (out - 1) * stride + (kernel - 1) * dilation + 1 - in - pad;
}

static enum ex_status describe_conv(const struct ex_dnn_conv *c, dnnl_convolution_desc_t *desc,
                                    struct ex_error *err) {
  int64_t src_dim[] = {c->batch, c->in_channels, c->in_h, c->in_w};
  int64_t dst_dim[] = {c->batch, c->out_channels, c->out_h, c->out_w};
  int64_t dense_dim[] = {c->out_channels, c->in_channels, c->kernel_h, c->kernel_w};
  int64_t group_dim[] = {c->groups, c->out_channels / c->groups, c->in_channels / c->groups,
                         c->kernel_h, c->kernel_w};
  dnnl_memory_desc_t src = wanted(c->src, 4, src_dim), dst = wanted(c->dst, 4, dst_dim);
  dnnl_memory_desc_t weights =
      c->groups > 1 ? wanted(c->weights, 5, group_dim) : wanted(c->weights, 4, dense_dim);
  dnnl_memory_desc_t bias_desc = ex__dnn_desc(1, &c->out_channels, dnnl_a);
  const dnnl_memory_desc_t *bias = c->bias ? &bias_desc : NULL;
  dnnl_dims_t stride = {c->stride, c->stride}, dilate = {c->dilation - 1, c->dilation - 1};
  dnnl_dims_t before = {c->pad_h, c->pad_w};
  dnnl_dims_t behind = {
      pad_behind(c->in_h, c->out_h, c->kernel_h, c->stride, c->dilation, c->pad_h),
      pad_behind(c->in_w, c->out_w, c->kernel_w, c->stride, c->dilation, c->pad_w)};
  dnnl_alg_kind_t algorithm = conv_algorithm(c->algorithm);
  dnnl_status_t status;
  if (c->pass == EX_DNN_BACKWARD_DATA)
    status = dnnl_dilated_convolution_backward_data_desc_init(desc, algorithm, &src, &weights, &dst,
                                                              stride, dilate, before, behind);
  else if (c->pass == EX_DNN_BACKWARD_WEIGHTS)
    status = dnnl_dilated_convolution_backward_weights_desc_init(
        desc, algorithm, &src, &weights, bias, &dst, stride, dilate, before, behind);
  else
    status = dnnl_dilated_convolution_forward_desc_init(
        desc, c->pass == EX_DNN_INFER ? dnnl_forward_inference : dnnl_forward_training, algorithm,
        &src, &weights, bias, &dst, stride, dilate, before, behind);
  return ex__dnn_check(status, "convolution", err);
}

/* Which arguments a pass has; the count is returned. */
static int32_t layer_args(enum ex_dnn_pass pass, bool bias, enum ex_dnn_arg args[4]) {
  int32_t n = 0;
  if (pass == EX_DNN_BACKWARD_DATA) {
    args[n++] = EX_DNN_DIFF_DST;
    args[n++] = EX_DNN_WEIGHTS;
    args[n++] = EX_DNN_DIFF_SRC;
  } else if (pass == EX_DNN_BACKWARD_WEIGHTS) {
    args[n++] = EX_DNN_SRC;
    args[n++] = EX_DNN_DIFF_DST;
    args[n++] = EX_DNN_DIFF_WEIGHTS;
    if (bias) args[n++] = EX_DNN_DIFF_BIAS;
  } else {
    args[n++] = EX_DNN_SRC;
    args[n++] = EX_DNN_WEIGHTS;
    if (bias) args[n++] = EX_DNN_BIAS;
    args[n++] = EX_DNN_DST;
  }
  return n;
}

enum ex_status ex__dnn_conv(ex_dnn *dnn, const struct ex_dnn_conv *conv, const ex_dnn_op **out,
                            struct ex_error *err) {
  *out = NULL;
  dnnl_convolution_desc_t desc;
  EX_TRY(describe_conv(conv, &desc, err));
  enum ex_dnn_arg args[4];
  struct ex_dnn_request request = {
      .op_desc = &desc,
      .post = &conv->post,
      .hint = conv->forward,
      .admit = admit_conv,
      .context = conv,
      .args = args,
      .n_args = layer_args(conv->pass, conv->bias, args),
      .threads = conv->threads,
      .what = "convolution",
  };
  return ex__dnn_make(dnn, &request, out, err);
}

enum ex_status ex__dnn_linear(ex_dnn *dnn, const struct ex_dnn_linear *l, const ex_dnn_op **out,
                              struct ex_error *err) {
  *out = NULL;
  int64_t src_dim[] = {l->rows, l->in}, weights_dim[] = {l->out, l->in},
          dst_dim[] = {l->rows, l->out};
  dnnl_memory_desc_t src = wanted(l->src, 2, src_dim), dst = wanted(l->dst, 2, dst_dim);
  dnnl_memory_desc_t weights = wanted(l->weights, 2, weights_dim);
  dnnl_memory_desc_t bias_desc = ex__dnn_desc(1, &l->out, dnnl_a);
  const dnnl_memory_desc_t *bias = l->bias ? &bias_desc : NULL;
  dnnl_inner_product_desc_t desc;
  dnnl_status_t status;
  if (l->pass == EX_DNN_BACKWARD_DATA)
    status = dnnl_inner_product_backward_data_desc_init(&desc, &src, &weights, &dst);
  else if (l->pass == EX_DNN_BACKWARD_WEIGHTS)
    status = dnnl_inner_product_backward_weights_desc_init(&desc, &src, &weights, bias, &dst);
  else
    status = dnnl_inner_product_forward_desc_init(
        &desc, l->pass == EX_DNN_INFER ? dnnl_forward_inference : dnnl_forward_training, &src,
        &weights, bias, &dst);
  EX_TRY(ex__dnn_check(status, "linear", err));
  enum ex_dnn_arg args[4];
  struct ex_dnn_request request = {
      .op_desc = &desc,
      .post = &l->post,
      .hint = l->forward,
      .args = args,
      .n_args = layer_args(l->pass, l->bias, args),
      .threads = l->threads,
      .what = "linear",
  };
  return ex__dnn_make(dnn, &request, out, err);
}

static dnnl_memory_desc_t matrix(int64_t rows, int64_t columns, int64_t stride, bool transposed) {
  dnnl_dims_t dim = {rows, columns}, strides = {0};
  strides[0] = transposed ? 1 : (stride > 0 ? stride : columns);
  strides[1] = transposed ? (stride > 0 ? stride : rows) : 1;
  dnnl_memory_desc_t desc = {0};
  dnnl_memory_desc_init_by_strides(&desc, 2, dim, dnnl_f32, strides);
  return desc;
}

enum ex_status ex__dnn_matmul(ex_dnn *dnn, const struct ex_dnn_matmul *m, const ex_dnn_op **out,
                              struct ex_error *err) {
  *out = NULL;
  int64_t weights_dim[] = {m->k, m->n}, bias_dim[] = {1, m->n};
  dnnl_memory_desc_t src = matrix(m->m, m->k, m->src_stride, m->src_transposed);
  dnnl_memory_desc_t weights = m->weights_any
                                   ? ex__dnn_desc(2, weights_dim, dnnl_format_tag_any)
                                   : matrix(m->k, m->n, m->weights_stride, m->weights_transposed);
  dnnl_memory_desc_t dst = matrix(m->m, m->n, m->dst_stride, false);
  dnnl_memory_desc_t bias = ex__dnn_desc(2, bias_dim, dnnl_ab);
  dnnl_matmul_desc_t desc;
  EX_TRY(ex__dnn_check(dnnl_matmul_desc_init(&desc, &src, &weights, m->bias ? &bias : NULL, &dst),
                       "matmul", err));
  enum ex_dnn_arg args[4];
  struct ex_dnn_request request = {
      .op_desc = &desc,
      .post = &m->post,
      .args = args,
      .n_args = layer_args(EX_DNN_INFER, m->bias, args),
      .threads = m->threads,
      .what = "matmul",
  };
  return ex__dnn_make(dnn, &request, out, err);
}
