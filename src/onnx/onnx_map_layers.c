/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_map_layers: layers with weights, pools and normalisations.
 */
#include <string.h>

#include "base/memory.h"
#include "onnx/onnx_map.h"
#include "onnx/onnx_window.h"

/* ---- convolutions --------------------------------------------------------------- */

static bool is_square(const int64_t *x) { return x[1] == x[2]; }

/* Zeros (or `value`) around an image [C][H][W], where the operator to come has no
 * such padding. */
static enum ex_status pad_image(struct ex_onnx_map *map, const struct ex_onnx_window *w,
                                double value, int32_t *x) {
  const struct ex_shape *in = ex__builder_shape(map->builder, *x);
  struct ex_pad attr = {.shape.n = 3, .dims.n = 3, .before.n = 3, .after.n = 3, .value = value};
  for (int32_t i = 0; i < 3; i++) {
    attr.dims.value[i] = in->dim[i];
    attr.before.value[i] = i > 0 ? (double)w->begin[i] : 0;
    attr.after.value[i] = i > 0 ? (double)w->end[i] : 0;
    attr.shape.value[i] = in->dim[i] + attr.before.value[i] + attr.after.value[i];
  }
  return ex__onnx_map_add(map, "pad", &attr, -1, x, 1, x);
}

/* Every second row, or third column: what is left of windows with strides of two
 * lengths, of which the operator knows one. */
static enum ex_status thin_out(struct ex_onnx_map *map, const struct ex_onnx_window *w,
                               int32_t *x) {
  const struct ex_shape *in = ex__builder_shape(map->builder, *x);
  struct ex_view attr = {.shape.n = 3, .dims.n = 3, .steps.n = 3};
  double width = in->dim[2];
  const double dims[] = {in->dim[0], (double)w->out[1], (double)w->out[2]};
  const double steps[] = {in->dim[1] * width, (double)w->stride[1] * width, (double)w->stride[2]};
  memcpy(attr.shape.value, dims, sizeof dims);
  memcpy(attr.dims.value, dims, sizeof dims);
  memcpy(attr.steps.value, steps, sizeof steps);
  return ex__onnx_map_add(map, "view", &attr, -1, x, 1, x);
}

/* That an image of one or two dimensions comes in, a sample at a time. */
static enum ex_status want_image(struct ex_onnx_map *map, const struct ex_onnx_window *w) {
  EX_TRY(ex__onnx_map_first(map));
  if (w->n_space <= 2) return EX_OK;
  return map_fail(map, "images of %d dimensions; must be of 1 or 2", (int)w->n_space);
}

/* A dimension of size 1 that is not seen by a kernel of 1 is strided as one likes. */
static void ease(struct ex_onnx_window *w) {
  if (w->n_space == 1) {
    w->stride[1] = w->stride[2];
    w->dilation[1] = w->dilation[2];
  }
  for (int32_t d = 1; d < 3; d++)
    if (w->kernel[d] == 1) w->dilation[d] = w->dilation[3 - d];
}

static enum ex_status conv(struct ex_onnx_map *map) {
  struct ex_onnx_call *call = map->call;
  struct ex_onnx_window w;
  if (ex__onnx_map_depends(map, 1) || ex__onnx_map_depends(map, 2))
    return map_fail(map, "its weights depend on the input; must be constants");
  const struct ex_onnx_tensor *weight = call->in[1];
  EX_TRY(ex__onnx_window(call, weight->dim + 2, &w));
  EX_TRY(want_image(map, &w));
  ease(&w);
  int32_t x = ex__onnx_map_in(map, 0), value;
  if (!is_square(w.dilation)) return map_fail(map, "dilations of two lengths; must be one");
  if (w.begin[1] != w.end[1] || w.begin[2] != w.end[2]) {
    EX_TRY(pad_image(map, &w, 0, &x));
    w.begin[1] = w.begin[2] = 0;
  }
  bool bias = ex__onnx_has(call, 2);
  const struct ex_conv2d attr = {.channels = (int32_t)weight->dim[0],
                                 .kernel_h = (int32_t)w.kernel[1],
                                 .kernel_w = (int32_t)w.kernel[2],
                                 .stride = is_square(w.stride) ? (int32_t)w.stride[1] : 1,
                                 .pad_h = (int32_t)w.begin[1],
                                 .pad_w = (int32_t)w.begin[2],
                                 .dilation = (int32_t)w.dilation[1],
                                 .groups = (int32_t)ex__onnx_int(call, "group", 1),
                                 .bias = bias};
  EX_TRY(ex__onnx_map_add(map, "conv2d", &attr, 1, &x, 1, &value));
  EX_TRY(ex__onnx_map_weigh(map, value, 0, 1));
  if (bias) EX_TRY(ex__onnx_map_weigh(map, value, 1, 2));
  if (!is_square(w.stride)) EX_TRY(thin_out(map, &w, &value));
  return ex__onnx_map_out(map, 0, value);
}

/* ---- pools ------------------------------------------------------------------------- */

static enum ex_status pool(struct ex_onnx_map *map, bool max) {
  struct ex_onnx_call *call = map->call;
  struct ex_onnx_window w;
  EX_TRY(ex__onnx_window(call, NULL, &w));
  EX_TRY(want_image(map, &w));
  ease(&w);
  bool padding = !max && ex__onnx_int(call, "count_include_pad", 0) != 0;
  bool ceil_mode = ex__onnx_int(call, "ceil_mode", 0) != 0;
  bool padded = w.begin[1] + w.begin[2] + w.end[1] + w.end[2] > 0;
  bool plain = is_square(w.kernel) && is_square(w.stride) && w.dilation[1] == 1 &&
               w.dilation[2] == 1 && is_square(w.begin) && is_square(w.end) &&
               w.begin[1] == w.end[1] && w.begin[1] <= w.kernel[1] / 2;
  int32_t x = ex__onnx_map_in(map, 0), value;
  if (plain) {
    const struct ex_pool attr = {.kernel = (int32_t)w.kernel[1],
                                 .stride = (int32_t)w.stride[1],
                                 .pad = (int32_t)w.begin[1],
                                 .ceil_mode = ceil_mode,
                                 .count_include_pad = padding};
    EX_TRY(ex__onnx_map_add(map, max ? "max_pool" : "avg_pool", &attr, -1, &x, 1, &value));
    return ex__onnx_map_out(map, 0, value);
  }
  if (ceil_mode && padding && padded)
    return map_fail(map, "ceil_mode with count_include_pad and windows that are no squares");
  int64_t after[3];
  for (int32_t d = 1; d < 3; d++) { /* as much as the last window reaches */
    after[d] = (w.out[d] - 1) * w.stride[d] + w.reach[d] - w.in[d] - w.begin[d];
    if (after[d] < 0) after[d] = 0;
  }
  const struct ex_window_pool attr = {.kernel_h = (int32_t)w.kernel[1],
                                      .kernel_w = (int32_t)w.kernel[2],
                                      .stride_h = (int32_t)w.stride[1],
                                      .stride_w = (int32_t)w.stride[2],
                                      .dilation_h = (int32_t)w.dilation[1],
                                      .dilation_w = (int32_t)w.dilation[2],
                                      .top = (int32_t)w.begin[1],
                                      .bottom = (int32_t)after[1],
                                      .left = (int32_t)w.begin[2],
                                      .right = (int32_t)after[2],
                                      .max = max,
                                      .count_include_pad = padding};
  EX_TRY(ex__onnx_map_add(map, "window_pool", &attr, -1, &x, 1, &value));
  return ex__onnx_map_out(map, 0, value);
}

static enum ex_status max_pool(struct ex_onnx_map *map) { return pool(map, true); }
static enum ex_status average_pool(struct ex_onnx_map *map) { return pool(map, false); }

static enum ex_status global_average(struct ex_onnx_map *map) {
  struct ex_onnx_sample sample = ex__onnx_map_sample(map, 0);
  int32_t x = ex__onnx_map_in(map, 0), value;
  EX_TRY(ex__onnx_map_first(map));
  if (sample.rank < 3) return map_fail(map, "its input is no image");
  EX_TRY(ex__onnx_map_add(map, "global_avg_pool", NULL, -1, &x, 1, &value));
  return ex__onnx_map_out(map, 0, value);
}

static enum ex_status global_max(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0);
  int32_t x = ex__onnx_map_in(map, 0), value;
  struct ex_reduce attr = {.kind = EX_REDUCE_MAX,
                           .size = (int32_t)ex__onnx_product(in.dim, 2, in.rank)};
  struct ex_onnx_sample out = ex__onnx_map_shape(map, 0);
  EX_TRY(ex__onnx_map_first(map));
  EX_TRY(ex__onnx_map_place(map, &out, &attr.shape));
  EX_TRY(ex__onnx_map_add(map, "reduce", &attr, -1, &x, 1, &value));
  return ex__onnx_map_out(map, 0, value);
}

/* ---- normalisations ------------------------------------------------------------------ */

static enum ex_status batch_norm(struct ex_onnx_map *map) {
  struct ex_onnx_sample sample = ex__onnx_map_sample(map, 0);
  const struct ex_batch_norm attr = {.eps = ex__onnx_float(map->call, "epsilon", 1e-5),
                                     .momentum = 0.1};
  int32_t x = ex__onnx_map_in(map, 0), value;
  EX_TRY(ex__onnx_map_first(map));
  if (sample.rank < 2) return map_fail(map, "its input has no channels");
  EX_TRY(ex__onnx_map_add(map, "batch_norm", &attr, 1, &x, 1, &value));
  for (int32_t k = 1; k <= 4; k++) EX_TRY(ex__onnx_map_weigh(map, value, k - 1, k));
  const struct ex_onnx_tensor *variance = map->call->in[4]; /* loaded by now */
  for (int64_t i = 0; i < variance->count; i++)
    if (variance->real[i] < 0)
      return map_fail(map, "variance %d is %g; must be at least 0", (int)i, variance->real[i]);
  return ex__onnx_map_out(map, 0, value);
}

/* Scale and shift after standardise: constant inputs 1 and 2, each repeated by steps. */
static enum ex_status scale_and_shift(struct ex_onnx_map *map, const struct ex_list *dims,
                                      const struct ex_list *steps, const struct ex_list *own,
                                      int32_t *value) {
  struct ex_arithmetic attr = {
      .kind = EX_ARITHMETIC_MUL, .dims = *dims, .first_steps = *steps, .second_steps = *own};
  struct ex_onnx_sample out = ex__onnx_map_shape(map, 0);
  EX_TRY(ex__onnx_map_place(map, &out, &attr.shape));
  for (int32_t k = 1; k <= 2; k++) {
    if (!ex__onnx_has(map->call, k)) continue;
    attr.parameters = (int32_t)map->call->in[k]->count;
    EX_TRY(ex__onnx_map_add(map, "arithmetic", &attr, k, value, 1, value));
    EX_TRY(ex__onnx_map_weigh(map, *value, 0, k));
    attr.kind = EX_ARITHMETIC_ADD;
  }
  return EX_OK;
}

static enum ex_status layer_norm(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0);
  int32_t axis, value, x = ex__onnx_map_in(map, 0);
  EX_TRY(ex__onnx_axis(map->call, ex__onnx_int(map->call, "axis", -1), in.rank, &axis));
  if (axis <= in.axis) return map_fail(map, "it normalises over the batch");
  int64_t n = ex__onnx_product(in.dim, axis, in.rank);
  struct ex_standardise attr = {.size = (int32_t)n,
                                .eps = ex__onnx_float(map->call, "epsilon", 1e-5)};
  EX_TRY(ex__onnx_map_add(map, "standardise", &attr, -1, &x, 1, &value));
  const struct ex_list dims = {2, {(double)ex__onnx_product(in.dim, 0, axis), (double)n}};
  const struct ex_list steps = {2, {(double)n, 1}}, own = {2, {0, 1}};
  EX_TRY(scale_and_shift(map, &dims, &steps, &own, &value));
  return ex__onnx_map_out(map, 0, value);
}

static enum ex_status instance_norm(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0);
  int32_t value, x = ex__onnx_map_in(map, 0);
  int64_t plane = ex__onnx_product(in.dim, 2, in.rank);
  struct ex_standardise attr = {.size = (int32_t)plane,
                                .eps = ex__onnx_float(map->call, "epsilon", 1e-5)};
  EX_TRY(ex__onnx_map_first(map));
  EX_TRY(ex__onnx_map_add(map, "standardise", &attr, -1, &x, 1, &value));
  const struct ex_list dims = {2, {(double)in.dim[1], (double)plane}};
  const struct ex_list steps = {2, {(double)plane, 1}}, own = {2, {1, 0}};
  EX_TRY(scale_and_shift(map, &dims, &steps, &own, &value));
  return ex__onnx_map_out(map, 0, value);
}

static enum ex_status lrn(struct ex_onnx_map *map) {
  int64_t size = ex__onnx_int(map->call, "size", 1);
  const struct ex_lrn attr = {.size = (int32_t)size,
                              .alpha = ex__onnx_float(map->call, "alpha", 1e-4),
                              .beta = ex__onnx_float(map->call, "beta", 0.75),
                              .k = ex__onnx_float(map->call, "bias", 1)};
  int32_t x = ex__onnx_map_in(map, 0), value;
  EX_TRY(ex__onnx_map_first(map));
  if (size % 2 == 0) return map_fail(map, "size %d; must be odd", (int)size);
  EX_TRY(ex__onnx_map_add(map, "lrn", &attr, -1, &x, 1, &value));
  return ex__onnx_map_out(map, 0, value);
}

/* ---- products --------------------------------------------------------------------------- */

/* A matrix of constant input k as [out][in], times a factor. */
static enum ex_status weigh_matrix(struct ex_onnx_map *map, int32_t value, int32_t k, bool turned,
                                   double factor) {
  const struct ex_onnx_tensor *in;
  EX_TRY(ex__onnx_map_constant(map, k, &in));
  int64_t rows = in->dim[0], columns = in->dim[1];
  double *number = ex__alloc((size_t)in->count + 1, sizeof *number);
  if (number == NULL) return ex__fail(map->call->err, EX_ENOMEM, "no memory for weights");
  for (int64_t i = 0; i < in->count; i++)
    number[i] = factor * in->real[turned ? i % rows * columns + i / rows : i];
  enum ex_status status = ex__onnx_map_weigh_numbers(map, value, 0, number, in->count);
  ex__free(number);
  return status;
}

static enum ex_status weigh_bias(struct ex_onnx_map *map, int32_t value, int32_t k, int64_t n,
                                 double factor) {
  const struct ex_onnx_tensor *in;
  EX_TRY(ex__onnx_map_constant(map, k, &in));
  if (in->count != n && in->count != 1)
    return map_fail(map, "its bias differs by sample; must be one for all");
  double *number = ex__alloc((size_t)n + 1, sizeof *number);
  if (number == NULL) return ex__fail(map->call->err, EX_ENOMEM, "no memory for weights");
  for (int64_t i = 0; i < n; i++) number[i] = factor * in->real[in->count > 1 ? i : 0];
  enum ex_status status = ex__onnx_map_weigh_numbers(map, value, 1, number, n);
  ex__free(number);
  return status;
}

static enum ex_status gemm(struct ex_onnx_map *map) {
  struct ex_onnx_call *call = map->call;
  struct ex_onnx_sample out = ex__onnx_map_shape(map, 0);
  bool turned = ex__onnx_int(call, "transB", 0) != 0, bias = ex__onnx_has(call, 2);
  if (!ex__onnx_map_depends(map, 0) || ex__onnx_map_depends(map, 1) ||
      ex__onnx_map_depends(map, 2) || ex__onnx_int(call, "transA", 0) != 0)
    return map_fail(map, "it must be the input's rows by a constant matrix");
  EX_TRY(ex__onnx_map_first(map));
  const struct ex_linear attr = {(int32_t)out.dim[1], bias};
  int32_t x = ex__onnx_map_in(map, 0), value;
  EX_TRY(ex__onnx_map_add(map, "linear", &attr, 1, &x, 1, &value));
  EX_TRY(weigh_matrix(map, value, 1, !turned, ex__onnx_float(call, "alpha", 1)));
  if (bias) EX_TRY(weigh_bias(map, value, 2, out.dim[1], ex__onnx_float(call, "beta", 1)));
  return ex__onnx_map_out(map, 0, value);
}

/* A batch of products by one constant matrix. */
static enum ex_status constant_product(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0), out = ex__onnx_map_shape(map, 0);
  const struct ex_onnx_tensor *weight = map->call->in[1];
  int32_t x = ex__onnx_map_in(map, 0), value;
  if (weight->rank != 2)
    return map_fail(map, "a constant of %d dimensions; must be a matrix", (int)weight->rank);
  if (in.axis == in.rank - 1) return map_fail(map, "it sums over the batch");
  int64_t depth = in.dim[in.rank - 1], count = ex__onnx_product(in.dim, 0, in.rank) / depth;
  if (count == 1) {
    const struct ex_linear attr = {(int32_t)weight->dim[1], 0};
    const struct ex_onnx_sample flat = {2, 0, {1, depth}};
    EX_TRY(ex__onnx_map_reshape(map, &x, &flat));
    EX_TRY(ex__onnx_map_add(map, "linear", &attr, 1, &x, 1, &value));
    EX_TRY(weigh_matrix(map, value, 1, true, 1));
    return ex__onnx_map_out(map, 0, value);
  }
  struct ex_matmul attr = {.count = 1,
                           .rows = (int32_t)count,
                           .depth = (int32_t)depth,
                           .columns = (int32_t)weight->dim[1],
                           .shared = 1};
  EX_TRY(ex__onnx_map_place(map, &out, &attr.shape));
  EX_TRY(ex__onnx_map_add(map, "matmul", &attr, 1, &x, 1, &value));
  EX_TRY(ex__onnx_map_weigh(map, value, 0, 1));
  return ex__onnx_map_out(map, 0, value);
}

static enum ex_status matmul(struct ex_onnx_map *map) {
  if (!ex__onnx_map_depends(map, 0)) return map_fail(map, "a constant by the input's columns");
  if (!ex__onnx_map_depends(map, 1)) return constant_product(map);
  struct ex_onnx_sample a = ex__onnx_map_sample(map, 0);
  struct ex_onnx_sample b = ex__onnx_map_sample(map, 1), out = ex__onnx_map_shape(map, 0);
  bool alike = a.rank == b.rank && a.axis == b.axis && a.axis < a.rank - 2;
  for (int32_t i = 0; alike && i < a.rank - 2; i++) alike = a.dim[i] == b.dim[i];
  if (!alike) return map_fail(map, "products of values that are repeated");
  struct ex_matmul attr = {.count = (int32_t)ex__onnx_product(a.dim, 0, a.rank - 2),
                           .rows = (int32_t)a.dim[a.rank - 2],
                           .depth = (int32_t)a.dim[a.rank - 1],
                           .columns = (int32_t)b.dim[b.rank - 1]};
  int32_t in[] = {ex__onnx_map_in(map, 0), ex__onnx_map_in(map, 1)}, value;
  EX_TRY(ex__onnx_map_place(map, &out, &attr.shape));
  EX_TRY(ex__onnx_map_add(map, "matmul", &attr, -1, in, 2, &value));
  return ex__onnx_map_out(map, 0, value);
}

const struct ex_onnx_mapping ex__onnx_map_layers[] = {
    {"Conv", conv},
    {"MaxPool", max_pool},
    {"AveragePool", average_pool},
    {"GlobalAveragePool", global_average},
    {"GlobalMaxPool", global_max},
    {"BatchNormalization", batch_norm},
    {"LayerNormalization", layer_norm},
    {"InstanceNormalization", instance_norm},
    {"LRN", lrn},
    {"Gemm", gemm},
    {"MatMul", matmul},
    {NULL, NULL},
};
