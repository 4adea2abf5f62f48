/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_onnx_op: operators of a network as ONNX nodes: a line in `layers` each,
 * or in the table of export_onnx_rows.c.
 * Batch-norm stays a node of its own: runtimes fold it themselves.
 */
#include <string.h>

#include "export/export_onnx_walk.h"

static const int64_t channels_axis = 1;

const char *ex__onnx_tensor_as(const struct ex_onnx_step *step, int32_t index, int32_t rank,
                               const int64_t *dim) {
  const ex_net *net = step->net;
  const struct ex_tensor_info *info = ex__graph_tensor(net->graph, step->node->tensor[index]);
  const ex_slabs *slabs = info->role == EX_ROLE_BUFFER ? net->buffers : net->params;
  return ex__onnx_reals(step->graph, ex__slabs_tensor(slabs, net->graph, step->node->tensor[index]),
                        rank, dim);
}

/* In its own shape. */
static const char *tensor(const struct ex_onnx_step *step, int32_t index) {
  const struct ex_shape *shape =
      &ex__graph_tensor(step->net->graph, step->node->tensor[index])->shape;
  int64_t dim[EX_MAX_RANK];
  for (int32_t i = 0; i < shape->rank; i++) dim[i] = shape->dim[i];
  return ex__onnx_tensor_as(step, index, shape->rank, dim);
}

const char *ex__onnx_reshaped(ex_onnx_graph *graph, const char *value, const int64_t *dim,
                              int32_t n) {
  int64_t to[EX_ONNX_MAX_DIMS + 1] = {0}; /* the batch stays what it is */
  for (int32_t i = 0; i < n; i++) to[i + 1] = dim[i];
  return ex__onnx_node(graph, "Reshape", value, ex__onnx_integers(graph, to, n + 1));
}

const char *ex__onnx_as_node(const struct ex_onnx_step *step, const char *value) {
  const struct ex_shape *shape = &step->node->shape;
  int64_t dim[EX_MAX_RANK];
  for (int32_t i = 0; i < shape->rank; i++) dim[i] = shape->dim[i];
  return ex__onnx_reshaped(step->graph, value, dim, shape->rank);
}

static void set_both(ex_onnx_graph *graph, const char *name, int64_t value) {
  const int64_t values[2] = {value, value};
  ex__onnx_set_ints(graph, name, values, 2);
}

static const char *write_list(const struct ex_onnx_step *step, const char *onnx) {
  return ex__onnx_node_list(step->graph, onnx, step->in, step->node->n_in);
}

static const char *write_along(const struct ex_onnx_step *step, const char *onnx) {
  const char *name = write_list(step, onnx);
  ex__onnx_set_int(step->graph, "axis", channels_axis);
  return name;
}

static const char *write_conv2d(const struct ex_onnx_step *step, const char *onnx) {
  const struct ex_conv2d *attr = step->node->attr;
  ex_onnx_graph *graph = step->graph;
  const int64_t kernel[] = {attr->kernel_h, attr->kernel_w};
  const int64_t pads[] = {attr->pad_h, attr->pad_w, attr->pad_h, attr->pad_w};
  const char *weight = tensor(step, 0), *bias = attr->bias ? tensor(step, 1) : NULL;
  const char *name = ex__onnx_node(graph, onnx, step->in[0], weight, bias);
  ex__onnx_set_ints(graph, "kernel_shape", kernel, 2);
  ex__onnx_set_ints(graph, "pads", pads, 4);
  set_both(graph, "strides", attr->stride);
  set_both(graph, "dilations", attr->dilation);
  ex__onnx_set_int(graph, "group", attr->groups);
  return name;
}

static const char *write_linear(const struct ex_onnx_step *step, const char *onnx) {
  const struct ex_linear *attr = step->node->attr;
  const char *weight = tensor(step, 0), *bias = attr->bias ? tensor(step, 1) : NULL;
  const char *name = ex__onnx_node(step->graph, onnx, step->in[0], weight, bias);
  ex__onnx_set_int(step->graph, "transB", 1);
  return name;
}

static const char *write_batch_norm(const struct ex_onnx_step *step, const char *onnx) {
  const struct ex_batch_norm *attr = step->node->attr;
  const char *in[5] = {step->in[0]};
  for (int32_t i = 0; i < 4; i++) in[i + 1] = tensor(step, i);
  const char *name = ex__onnx_node_list(step->graph, onnx, in, 5);
  ex__onnx_set_real(step->graph, "epsilon", attr->eps);
  return name;
}

static const char *write_pool(const struct ex_onnx_step *step, const char *onnx) {
  const struct ex_pool *attr = step->node->attr;
  ex_onnx_graph *graph = step->graph;
  const int64_t pads[] = {attr->pad, attr->pad, attr->pad, attr->pad};
  const char *name = ex__onnx_node(graph, onnx, step->in[0]);
  set_both(graph, "kernel_shape", attr->kernel);
  set_both(graph, "strides", attr->stride > 0 ? attr->stride : attr->kernel);
  ex__onnx_set_ints(graph, "pads", pads, 4);
  ex__onnx_set_int(graph, "ceil_mode", attr->ceil_mode != 0);
  return name;
}

static const char *write_avg_pool(const struct ex_onnx_step *step, const char *onnx) {
  const struct ex_pool *attr = step->node->attr;
  const char *name = write_pool(step, onnx);
  ex__onnx_set_int(step->graph, "count_include_pad", attr->count_include_pad != 0);
  return name;
}

/* Runtimes do not agree on what the last windows divide by. */
static const char *refuses_avg_pool(const struct ex_onnx_step *step) {
  const struct ex_pool *attr = step->node->attr;
  return attr->ceil_mode && attr->count_include_pad ? "ceil-mode together with count-include-pad"
                                                    : NULL;
}

static bool even_windows(const struct ex_onnx_step *step) {
  const struct ex_adaptive_pool *attr = step->node->attr;
  const int32_t *in = step->in_shape[0]->dim;
  return in[1] % attr->height == 0 && in[2] % attr->width == 0;
}

static const char *write_even_pool(const struct ex_onnx_step *step) {
  const struct ex_adaptive_pool *attr = step->node->attr;
  const int64_t kernel[] = {step->in_shape[0]->dim[1] / attr->height,
                            step->in_shape[0]->dim[2] / attr->width};
  const char *name = ex__onnx_node(step->graph, attr->max ? "MaxPool" : "AveragePool", step->in[0]);
  ex__onnx_set_ints(step->graph, "kernel_shape", kernel, 2);
  ex__onnx_set_ints(step->graph, "strides", kernel, 2);
  return name;
}

/* Windows of different sizes, along one axis: window i of n over `size` begins and ends here. */
struct windows {
  int64_t size, n;
};

static int64_t window_begin(struct windows w, int64_t i) { return i * w.size / w.n; }
static int64_t window_end(struct windows w, int64_t i) {
  return ((i + 1) * w.size + w.n - 1) / w.n;
}

/* Means along an axis are a product with a constant: rows × [size][n], or [n][size] × columns. */
static const char *means(ex_onnx_graph *graph, struct windows w, bool rows) {
  const int64_t dim[] = {rows ? w.size : w.n, rows ? w.n : w.size};
  float *share;
  const char *name = ex__onnx_blank_reals(graph, 2, dim, &share);
  for (int64_t i = 0; share != NULL && i < w.n; i++) {
    int64_t begin = window_begin(w, i), end = window_end(w, i);
    for (int64_t k = begin; k < end; k++)
      share[rows ? k * w.n + i : i * w.size + k] = 1 / (float)(end - begin);
  }
  return name;
}

/* Largest along an axis: its windows are gathered, the smaller ones with their last
 * element repeated, which changes no maximum. */
static const char *largest(ex_onnx_graph *graph, const char *value, struct windows w,
                           int64_t axis) {
  int64_t dim[] = {w.n, 0}, *place;
  const int64_t reduced = axis + 1;
  for (int64_t i = 0; i < w.n; i++)
    if (window_end(w, i) - window_begin(w, i) > dim[1])
      dim[1] = window_end(w, i) - window_begin(w, i);
  const char *places = ex__onnx_blank_integers(graph, 2, dim, &place);
  for (int64_t i = 0; place != NULL && i < w.n; i++)
    for (int64_t k = 0; k < dim[1]; k++) {
      int64_t at = window_begin(w, i) + k, last = window_end(w, i) - 1;
      place[i * dim[1] + k] = at < last ? at : last;
    }
  const char *gathered = ex__onnx_node(graph, "Gather", value, places);
  ex__onnx_set_int(graph, "axis", axis);
  const char *name = ex__onnx_node(graph, "ReduceMax", gathered);
  ex__onnx_set_ints(graph, "axes", &reduced, 1);
  ex__onnx_set_int(graph, "keepdims", 0);
  return name;
}

static const char *write_adaptive_pool(const struct ex_onnx_step *step, const char *onnx) {
  (void)onnx;
  const struct ex_adaptive_pool *attr = step->node->attr;
  if (even_windows(step)) return write_even_pool(step);
  const struct windows down = {step->in_shape[0]->dim[1], attr->height};
  const struct windows across = {step->in_shape[0]->dim[2], attr->width};
  ex_onnx_graph *graph = step->graph;
  if (attr->max) return largest(graph, largest(graph, step->in[0], down, 2), across, 3);
  const char *rows = ex__onnx_node(graph, "MatMul", step->in[0], means(graph, across, true));
  return ex__onnx_node(graph, "MatMul", means(graph, down, false), rows);
}

static const char *write_reshape(const struct ex_onnx_step *step, const char *onnx) {
  (void)onnx;
  return ex__onnx_as_node(step, step->in[0]);
}

static const char *write_global_pool(const struct ex_onnx_step *step, const char *onnx) {
  return ex__onnx_node(step->graph, "Flatten", ex__onnx_node(step->graph, onnx, step->in[0]));
}

static const char *write_slice(const struct ex_onnx_step *step, const char *onnx) {
  const struct ex_slice *attr = step->node->attr;
  const int64_t begin = attr->begin, end = attr->begin + step->node->shape.dim[0];
  return ex__onnx_node(step->graph, onnx, step->in[0], ex__onnx_integers(step->graph, &begin, 1),
                       ex__onnx_integers(step->graph, &end, 1),
                       ex__onnx_integers(step->graph, &channels_axis, 1));
}

/* One after another, in order. */
static const char *write_in_turn(const struct ex_onnx_step *step, const char *onnx) {
  const char *name = step->in[0];
  for (int32_t k = 1; k < step->node->n_in; k++)
    name = ex__onnx_node(step->graph, onnx, name, step->in[k]);
  return name;
}

/* share · x + (1 − share) · y. */
static const char *write_blend(const struct ex_onnx_step *step, const char *onnx) {
  (void)onnx;
  ex_onnx_graph *graph = step->graph;
  const char *share = tensor(step, 0);
  const char *rest = ex__onnx_node(graph, "Sub", ex__onnx_real(graph, 1), share);
  return ex__onnx_node(graph, "Add", ex__onnx_node(graph, "Mul", step->in[0], share),
                       ex__onnx_node(graph, "Mul", step->in[1], rest));
}

static const char *write_gelu(const struct ex_onnx_step *step, const char *onnx) {
  (void)onnx;
  ex_onnx_graph *graph = step->graph;
  const char *root_half = ex__onnx_real(graph, 0.70710678118654752440);
  const char *scaled = ex__onnx_node(graph, "Mul", step->in[0], root_half);
  const char *twice =
      ex__onnx_node(graph, "Add", ex__onnx_node(graph, "Erf", scaled), ex__onnx_real(graph, 1));
  const char *share = ex__onnx_node(graph, "Mul", twice, ex__onnx_real(graph, 0.5));
  return ex__onnx_node(graph, "Mul", step->in[0], share);
}

static const char *write_lrn(const struct ex_onnx_step *step, const char *onnx) {
  const struct ex_lrn *attr = step->node->attr;
  const char *name = write_list(step, onnx);
  ex__onnx_set_int(step->graph, "size", attr->size);
  ex__onnx_set_real(step->graph, "alpha", attr->alpha);
  ex__onnx_set_real(step->graph, "beta", attr->beta);
  ex__onnx_set_real(step->graph, "bias", attr->k);
  return name;
}

/* Dropout drops in training alone. */
static const char *write_nothing(const struct ex_onnx_step *step, const char *onnx) {
  (void)onnx;
  return step->in[0];
}

static const struct ex_onnx_lowering layers[] = {
    {"conv2d", "Conv", write_conv2d, NULL},
    {"linear", "Gemm", write_linear, NULL},
    {"batch_norm", "BatchNormalization", write_batch_norm, NULL},
    {"max_pool", "MaxPool", write_pool, NULL},
    {"avg_pool", "AveragePool", write_avg_pool, refuses_avg_pool},
    {"global_avg_pool", "GlobalAveragePool", write_global_pool, NULL},
    {"adaptive_pool", NULL, write_adaptive_pool, NULL},
    {"relu", "Relu", write_list, NULL},
    {"sigmoid", "Sigmoid", write_list, NULL},
    {"gelu", NULL, write_gelu, NULL},
    {"softmax", "Softmax", write_along, NULL},
    {"log_softmax", "LogSoftmax", write_along, NULL},
    {"add", "Add", write_in_turn, NULL},
    {"mul", "Mul", write_in_turn, NULL},
    {"blend", NULL, write_blend, NULL},
    {"concat", "Concat", write_along, NULL},
    {"slice", "Slice", write_slice, NULL},
    {"reshape", "Reshape", write_reshape, NULL},
    {"dropout", NULL, write_nothing, NULL},
    {"lrn", "LRN", write_lrn, NULL},
    {.name = NULL},
};

/* ---- normalisation ---------------------------------------------------------- */

/* One number per channel, or for all, of a shape that spreads over the input. */
static const char *per_channel(ex_onnx_graph *graph, const ex_real *values, int32_t n,
                               const struct ex_shape *shape) {
  int64_t dim[EX_MAX_RANK + 1] = {1, n, 1, 1, 1};
  return ex__onnx_reals(graph, values, shape->rank + 1, dim);
}

enum ex_status ex__onnx_normalise(ex_onnx_graph *graph, const struct ex_preprocess *preprocess,
                                  const struct ex_shape *shape, const char *input,
                                  const char **name, struct ex_error *err) {
  int32_t n = preprocess->n_channels;
  ex_real mean[EX_MAX_STATISTICS], scale[EX_MAX_STATISTICS];
  bool plain = !preprocess->bytes;
  if (n != 1 && n != shape->dim[0])
    return ex__fail(err, EX_EUNSUPPORTED,
                    "pre-processing of %d channels for an input of %d; must be 1 or as many",
                    (int)n, (int)shape->dim[0]);
  for (int32_t c = 0; c < n; c++) {
    mean[c] = (ex_real)preprocess->mean[c];
    scale[c] = (ex_real)(1 / preprocess->deviation[c]);
    plain = plain && preprocess->mean[c] == 0 && preprocess->deviation[c] == 1;
  }
  *name = input;
  if (plain) return EX_OK;
  if (preprocess->bytes) *name = ex__onnx_node(graph, "Div", *name, ex__onnx_real(graph, 255));
  *name = ex__onnx_node(graph, "Sub", *name, per_channel(graph, mean, n, shape));
  *name = ex__onnx_node(graph, "Mul", *name, per_channel(graph, scale, n, shape));
  return EX_OK;
}

static enum ex_status write_normalise(const struct ex_onnx_step *step, const char **name,
                                      struct ex_error *err) {
  const struct ex_normalise *attr = step->node->attr;
  struct ex_preprocess preprocess = {.bytes = attr->bytes != 0, .n_channels = attr->mean.n};
  memcpy(preprocess.mean, attr->mean.value, sizeof attr->mean.value);
  memcpy(preprocess.deviation, attr->deviation.value, sizeof attr->deviation.value);
  return ex__onnx_normalise(step->graph, &preprocess, step->in_shape[0], step->in[0], name, err);
}

/* ----------------------------------------------------------------------------- */

const struct ex_onnx_lowering *ex__onnx_lowering_of(const char *op) {
  const struct ex_onnx_lowering *const tables[] = {layers, ex__onnx_lower_rows};
  for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
    for (const struct ex_onnx_lowering *row = tables[t]; row->name != NULL; row++)
      if (strcmp(row->name, op) == 0) return row;
  return NULL;
}

enum ex_status ex__onnx_step(const struct ex_onnx_step *step, int32_t id, const char **name,
                             struct ex_error *err) {
  const char *op = step->node->op->name;
  if (strcmp(op, "normalise") == 0) return write_normalise(step, name, err);
  const struct ex_onnx_lowering *row = ex__onnx_lowering_of(op);
  if (row == NULL)
    return ex__fail(err, EX_EUNSUPPORTED, "node %d, operator %s: cannot be written as ONNX",
                    (int)id, op);
  const char *what = row->refuses != NULL ? row->refuses(step) : NULL;
  if (what != NULL)
    return ex__fail(err, EX_EUNSUPPORTED, "node %d, operator %s: %s cannot be written as ONNX",
                    (int)id, op, what);
  *name = row->write(step, row->onnx);
  return EX_OK;
}
