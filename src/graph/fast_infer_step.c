/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_infer_step: the steps without a weight matrix, and the twins.
 *
 * A value that is planar is a row of elements per sample, one that is channels
 * last a row per pixel; either may be part of a wider buffer. What works on
 * single elements is therefore written once, on rows.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "graph/fast_infer.h"
#include "graph/shape.h"

static const struct fast_value *in_of(const struct fast *fast, const struct fast_step *step,
                                      int32_t k) {
  return &fast->values[step->in[k]];
}

static const struct fast_value *out_of(const struct fast *fast, const struct fast_step *step) {
  return &fast->values[step->out];
}

const ex_real *ex__fast_tensor(const struct fast *fast, const struct ex_node *node, int32_t i) {
  const ex_graph *graph = fast->program->graph;
  bool is_buffer = ex__graph_tensor(graph, node->tensor[i])->role == EX_ROLE_BUFFER;
  return ex__slabs_tensor(is_buffer ? fast->buffers : fast->params, graph, node->tensor[i]);
}

enum ex_status ex__fast_make_weights(struct fast_step *step, int64_t n_weights, int64_t n_bias,
                                     struct ex_error *err) {
  step->n_weights = n_weights;
  step->n_bias = n_bias;
  step->weights = ex__calloc((size_t)n_weights, sizeof(float));
  step->bias = ex__calloc((size_t)n_bias, sizeof(float));
  if (step->weights != NULL && step->bias != NULL) return EX_OK;
  return ex__fail(err, EX_ENOMEM, "%s: no memory for its weights", step->node->op->name);
}

/* ---- nothing ------------------------------------------------------------------- */

static void run_nothing(const struct fast *fast, const struct fast_step *step,
                        const struct fast_run *run) {
  (void)fast, (void)step, (void)run;
}

const struct fast_kind ex__fast_nothing = {.name = "same memory", .run = run_nothing};

/* ---- rows ------------------------------------------------------------------------ */

static bool is_planar(const struct fast_value *value) {
  return !value->nhwc && ex__shape_plane(&value->shape) > 1;
}

/* Rows of one operand of one sample. */
static int64_t row_step(const struct fast_value *value, const struct fast_place *place) {
  return ex__fast_is_nhwc(value) ? place->pixel_step : 0;
}

static struct ex_rows rows_of(const struct fast *fast, const struct fast_step *step,
                              const struct fast_run *run, int64_t sample) {
  const struct fast_value *out = out_of(fast, step);
  struct ex_rows rows = {.n_rows = 1, .n = ex__shape_count(&out->shape)};
  if (ex__fast_is_nhwc(out)) {
    rows.n_rows = ex__shape_plane(&out->shape);
    rows.n = out->shape.dim[0];
  }
  rows.out = ex__fast_at(run, &step->out_place, sample);
  rows.out_step = row_step(out, &step->out_place);
  for (int32_t k = 0; k < 2 && k < step->n_in; k++) {
    rows.in[k] = ex__fast_at(run, &step->in_place[k], sample);
    rows.in_step[k] = row_step(in_of(fast, step, k), &step->in_place[k]);
  }
  return rows;
}

static void run_add(const struct fast *fast, const struct fast_step *step,
                    const struct fast_run *run) {
  for (int32_t b = 0; b < fast->batch; b++) {
    struct ex_rows rows = rows_of(fast, step, run, b);
    fast->kernels->add(&rows, step->relu);
    for (int32_t k = 2; k < step->n_in; k++) {
      rows.in[0] = rows.out;
      rows.in_step[0] = rows.out_step;
      rows.in[1] = ex__fast_at(run, &step->in_place[k], b);
      rows.in_step[1] = row_step(in_of(fast, step, k), &step->in_place[k]);
      fast->kernels->add(&rows, false);
    }
  }
}

static void run_mul(const struct fast *fast, const struct fast_step *step,
                    const struct fast_run *run) {
  for (int32_t b = 0; b < fast->batch; b++) {
    struct ex_rows rows = rows_of(fast, step, run, b);
    fast->kernels->mul(&rows);
    for (int32_t k = 2; k < step->n_in; k++) {
      rows.in[0] = rows.out;
      rows.in_step[0] = rows.out_step;
      rows.in[1] = ex__fast_at(run, &step->in_place[k], b);
      rows.in_step[1] = row_step(in_of(fast, step, k), &step->in_place[k]);
      fast->kernels->mul(&rows);
    }
  }
}

static void run_relu(const struct fast *fast, const struct fast_step *step,
                     const struct fast_run *run) {
  for (int32_t b = 0; b < fast->batch; b++) {
    struct ex_rows rows = rows_of(fast, step, run, b);
    fast->kernels->relu(&rows);
  }
}

static const struct fast_kind add_kind = {
    .name = "add", .run = run_add, .writes_parts = true, .fuses = true};
static const struct fast_kind mul_kind = {.name = "mul", .run = run_mul, .writes_parts = true};
static const struct fast_kind relu_kind = {.name = "relu", .run = run_relu, .writes_parts = true};

/* A twin of single elements knows no layout: it runs where the rows lie. */
static void run_elements(const struct fast *fast, const struct fast_step *step,
                         const struct fast_run *run) {
  struct ex_node node = *step->node;
  for (int32_t b = 0; b < fast->batch; b++) {
    struct ex_rows rows = rows_of(fast, step, run, b);
    struct ex_op_call call = {.node = &node, .batch = 1};
    if (rows.n_rows > 1 && rows.out_step == rows.n && rows.in_step[0] == rows.n) {
      rows.n *= rows.n_rows; /* at most EX_MAX_COUNT, as the value has */
      rows.n_rows = 1;
    }
    node.shape = (struct ex_shape){1, {(int32_t)rows.n}};
    for (int64_t r = 0; r < rows.n_rows; r++) {
      call.in[0] = rows.in[0] + r * rows.in_step[0];
      call.out = rows.out + r * rows.out_step;
      node.op->forward(&call);
    }
  }
}

const struct fast_kind ex__fast_elements = {
    .name = "elements", .run = run_elements, .writes_parts = true};

/* ---- copies ---------------------------------------------------------------------- */

/* Copies `channels` channels of one sample between two values of one layout. */
static void copy_channels(const struct fast_value *like, int32_t channels, const float *from,
                          int64_t from_step, float *to, int64_t to_step) {
  int64_t plane = ex__shape_plane(&like->shape);
  if (!ex__fast_is_nhwc(like)) {
    memcpy(to, from, (size_t)(channels * plane) * sizeof *to);
    return;
  }
  for (int64_t p = 0; p < plane; p++, from += from_step, to += to_step)
    for (int32_t c = 0; c < channels; c++) to[c] = from[c];
}

static void run_concat(const struct fast *fast, const struct fast_step *step,
                       const struct fast_run *run) {
  const struct fast_value *out = out_of(fast, step);
  int64_t channel_step = ex__fast_is_nhwc(out) ? 1 : ex__shape_plane(&out->shape);
  int32_t channel = 0;
  for (int32_t k = 0; k < step->n_in; channel += in_of(fast, step, k)->shape.dim[0], k++) {
    const struct fast_value *in = in_of(fast, step, k);
    if (in->home == step->out && in->home_offset == channel * channel_step) continue;
    for (int32_t b = 0; b < fast->batch; b++)
      copy_channels(out, in->shape.dim[0], ex__fast_at(run, &step->in_place[k], b),
                    step->in_place[k].pixel_step,
                    ex__fast_at(run, &step->out_place, b) + channel * channel_step,
                    step->out_place.pixel_step);
  }
}

static void run_slice(const struct fast *fast, const struct fast_step *step,
                      const struct fast_run *run) {
  const struct ex_slice *attr = step->node->attr;
  const struct fast_value *out = out_of(fast, step);
  int64_t channel_step = ex__fast_is_nhwc(out) ? 1 : ex__shape_plane(&out->shape);
  for (int32_t b = 0; b < fast->batch; b++)
    copy_channels(out, out->shape.dim[0],
                  ex__fast_at(run, &step->in_place[0], b) + attr->begin * channel_step,
                  step->in_place[0].pixel_step, ex__fast_at(run, &step->out_place, b),
                  step->out_place.pixel_step);
}

/* A reshape or dropout whose output must be an array of its own. */
static void run_copy(const struct fast *fast, const struct fast_step *step,
                     const struct fast_run *run) {
  const struct fast_value *out = out_of(fast, step);
  for (int32_t b = 0; b < fast->batch; b++)
    copy_channels(out, out->shape.dim[0], ex__fast_at(run, &step->in_place[0], b),
                  step->in_place[0].pixel_step, ex__fast_at(run, &step->out_place, b),
                  step->out_place.pixel_step);
}

static const struct fast_kind concat_kind = {
    .name = "concat", .run = run_concat, .writes_parts = true};
static const struct fast_kind slice_kind = {
    .name = "slice", .run = run_slice, .writes_parts = true};
static const struct fast_kind copy_kind = {.name = "copy", .run = run_copy, .writes_parts = true};

/* ---- batch-norm ----------------------------------------------------------------------- */

static enum ex_status make_norm(struct fast *fast, struct fast_step *step, struct ex_error *err) {
  int32_t channels = out_of(fast, step)->shape.dim[0];
  return ex__fast_make_weights(step, channels, channels, err);
}

/* Of batch-norm `norm` at channel c: scale and shift. */
static void norm_affine(const struct fast *fast, const struct ex_node *norm, int32_t c,
                        double *scale, double *shift) {
  const struct ex_batch_norm *attr = norm->attr;
  double mean = ex__fast_tensor(fast, norm, 2)[c], variance = ex__fast_tensor(fast, norm, 3)[c];
  *scale = ex__fast_tensor(fast, norm, 0)[c] / sqrt(variance + attr->eps);
  *shift = ex__fast_tensor(fast, norm, 1)[c] - mean * *scale;
}

void ex__fast_affine(const struct fast *fast, const struct fast_step *step, int32_t c,
                     double *scale, double *shift) {
  *scale = 1;
  *shift = 0;
  if (step->norm != NULL) norm_affine(fast, step->norm, c, scale, shift);
  if (step->node->n_tensors > 1) *shift += ex__fast_tensor(fast, step->node, 1)[c] * *scale;
}

static void pack_norm(const struct fast *fast, struct fast_step *step) {
  for (int32_t c = 0; c < step->n_weights; c++) {
    double scale, shift;
    norm_affine(fast, step->node, c, &scale, &shift);
    step->weights[c] = (float)scale;
    step->bias[c] = (float)shift;
  }
}

static void run_norm(const struct fast *fast, const struct fast_step *step,
                     const struct fast_run *run) {
  const struct fast_value *out = out_of(fast, step);
  int64_t plane = ex__shape_plane(&out->shape);
  for (int32_t b = 0; b < fast->batch; b++) {
    struct ex_rows rows = rows_of(fast, step, run, b);
    if (ex__fast_is_nhwc(out) || plane == 1) {
      fast->kernels->scale(&rows, step->weights, step->bias, step->relu);
      continue;
    }
    for (int32_t c = 0; c < out->shape.dim[0]; c++)
      fast->kernels->scale_plane(rows.in[0] + c * plane, rows.out + c * plane, plane,
                                 step->weights[c], step->bias[c], step->relu);
  }
}

static const struct fast_kind norm_kind = {.name = "batch-norm",
                                           .make = make_norm,
                                           .run = run_norm,
                                           .pack = pack_norm,
                                           .writes_parts = true,
                                           .fuses = true};

/* ---- pooling --------------------------------------------------------------------------- */

/* A side of one pixel is in either layout, so the other side has the say. */
static void run_pool(const struct fast *fast, const struct fast_step *step,
                     const struct fast_run *run, bool max) {
  const struct ex_pool *attr = step->node->attr;
  const struct fast_value *in = in_of(fast, step, 0), *out = out_of(fast, step);
  bool planar = !ex__fast_is_nhwc(in) && !ex__fast_is_nhwc(out);
  struct ex_pool_call call = {
      .channels = in->shape.dim[0],
      .in_h = in->shape.dim[1],
      .in_w = in->shape.dim[2],
      .out_h = out->shape.dim[1],
      .out_w = out->shape.dim[2],
      .kernel = attr->kernel,
      .stride = attr->stride > 0 ? attr->stride : attr->kernel,
      .pad = attr->pad,
      .max = max,
      .count_padding = attr->count_include_pad,
      .planar = planar,
      .in_step = planar ? ex__shape_plane(&in->shape) : step->in_place[0].pixel_step,
      .out_step = planar ? ex__shape_plane(&out->shape) : step->out_place.pixel_step,
  };
  for (int32_t b = 0; b < fast->batch; b++) {
    call.in = ex__fast_at(run, &step->in_place[0], b);
    call.out = ex__fast_at(run, &step->out_place, b);
    fast->kernels->pool(&call);
  }
}

static void run_max_pool(const struct fast *fast, const struct fast_step *step,
                         const struct fast_run *run) {
  run_pool(fast, step, run, true);
}

static void run_avg_pool(const struct fast *fast, const struct fast_step *step,
                         const struct fast_run *run) {
  run_pool(fast, step, run, false);
}

static void run_means(const struct fast *fast, const struct fast_step *step,
                      const struct fast_run *run) {
  const struct fast_value *in = in_of(fast, step, 0);
  int64_t plane = ex__shape_plane(&in->shape);
  for (int32_t b = 0; b < fast->batch; b++) {
    const float *from = ex__fast_at(run, &step->in_place[0], b);
    float *to = ex__fast_at(run, &step->out_place, b);
    if (ex__fast_is_nhwc(in))
      fast->kernels->pixel_means(from, plane, step->in_place[0].pixel_step, in->shape.dim[0], to);
    else
      fast->kernels->plane_means(from, in->shape.dim[0], plane, plane, to);
  }
}

static const struct fast_kind max_pool_kind = {
    .name = "pool", .run = run_max_pool, .writes_parts = true};
static const struct fast_kind avg_pool_kind = {
    .name = "pool", .run = run_avg_pool, .writes_parts = true};
static const struct fast_kind means_kind = {
    .name = "means", .run = run_means, .writes_parts = true};

/* ---- twins -------------------------------------------------------------------------------
 * A twin computes its own node and nothing more: it does not fuse. */

void ex__fast_to_plain(const struct ex_shape *shape, const float *in, int64_t pixel_step,
                       float *out) {
  int64_t plane = ex__shape_plane(shape);
  for (int64_t p = 0; p < plane; p++)
    for (int32_t c = 0; c < shape->dim[0]; c++) out[c * plane + p] = in[p * pixel_step + c];
}

void ex__fast_from_plain(const struct ex_shape *shape, const float *in, int64_t pixel_step,
                         float *out) {
  int64_t plane = ex__shape_plane(shape);
  for (int64_t p = 0; p < plane; p++)
    for (int32_t c = 0; c < shape->dim[0]; c++) out[p * pixel_step + c] = in[c * plane + p];
}

static size_t rounded(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

static size_t twin_workspace(const struct fast *fast, const struct fast_step *step) {
  const struct ex_shape *shape[EX_MAX_INPUTS];
  for (int32_t k = 0; k < step->n_in; k++) shape[k] = &in_of(fast, step, k)->shape;
  return step->node->op->workspace != NULL
             ? step->node->op->workspace(step->node, shape, fast->batch)
             : 0;
}

/* Elements of a tensor of the twin, up to a whole number of cache lines. */
static size_t tensor_room(const struct fast *fast, const struct fast_step *step, int32_t t) {
  const struct ex_tensor_info *info = ex__graph_tensor(fast->program->graph, step->node->tensor[t]);
  return rounded((size_t)ex__shape_count(&info->shape) * sizeof(float)) / sizeof(float);
}

/* Scratch: workspace, then each input, then the output, all plain and dense. */
static enum ex_status make_twin(struct fast *fast, struct fast_step *step, struct ex_error *err) {
  size_t bytes = rounded(twin_workspace(fast, step)) + 64, n_weights = 0;
  for (int32_t k = 0; k < step->n_in; k++)
    bytes += rounded((size_t)(fast->batch * ex__shape_count(&in_of(fast, step, k)->shape)) *
                     sizeof(float));
  bytes +=
      rounded((size_t)(fast->batch * ex__shape_count(&out_of(fast, step)->shape)) * sizeof(float));
  step->scratch = (int64_t)bytes;
  for (int32_t t = 0; t < step->node->n_tensors; t++) n_weights += tensor_room(fast, step, t);
  return ex__fast_make_weights(step, (int64_t)n_weights, 0, err);
}

static void pack_twin(const struct fast *fast, struct fast_step *step) {
  float *to = step->weights;
  for (int32_t t = 0; t < step->node->n_tensors; t++) {
    const struct ex_tensor_info *info =
        ex__graph_tensor(fast->program->graph, step->node->tensor[t]);
    size_t n = (size_t)ex__shape_count(&info->shape);
    memcpy(to, ex__fast_tensor(fast, step->node, t), n * sizeof *to);
    to += tensor_room(fast, step, t);
  }
}

/* One sample of a value into or out of a plain array. */
static void exchange(const struct fast_value *value, const struct fast_place *place,
                     const struct fast_run *run, int32_t sample, float *plain, bool out) {
  int64_t n = ex__shape_count(&value->shape);
  float *own = ex__fast_at(run, place, sample);
  plain += sample * n;
  if (!ex__fast_is_nhwc(value))
    memcpy(out ? own : plain, out ? plain : own, (size_t)n * sizeof *plain);
  else if (out)
    ex__fast_from_plain(&value->shape, plain, place->pixel_step, own);
  else
    ex__fast_to_plain(&value->shape, own, place->pixel_step, plain);
}

static void run_twin(const struct fast *fast, const struct fast_step *step,
                     const struct fast_run *run) {
  char *scratch = run->scratch;
  struct ex_op_call call = {.node = step->node, .batch = fast->batch, .workspace = scratch};
  scratch += rounded(twin_workspace(fast, step));
  for (int32_t k = 0; k < step->n_in; k++) {
    const struct fast_value *in = in_of(fast, step, k);
    float *plain = (float *)(void *)scratch;
    for (int32_t b = 0; b < fast->batch; b++)
      exchange(in, &step->in_place[k], run, b, plain, false);
    call.in[k] = plain;
    call.in_shape[k] = &in->shape;
    scratch += rounded((size_t)(fast->batch * ex__shape_count(&in->shape)) * sizeof(float));
  }
  float *weights = step->weights;
  for (int32_t t = 0; t < step->node->n_tensors; t++) {
    call.tensor[t] = weights;
    weights += tensor_room(fast, step, t);
  }
  call.out = (float *)(void *)scratch;
  step->node->op->forward(&call);
  for (int32_t b = 0; b < fast->batch; b++)
    exchange(out_of(fast, step), &step->out_place, run, b, call.out, true);
}

const struct fast_kind ex__fast_twin = {
    .name = "twin", .make = make_twin, .run = run_twin, .pack = pack_twin, .writes_parts = true};

/* ---- choosing ------------------------------------------------------------------------------ */

/* Whether one layout fits all operands; those of one pixel fit any. */
static bool same_layout(const struct fast *fast, const struct fast_step *step) {
  bool nhwc = ex__fast_is_nhwc(out_of(fast, step)), planar = is_planar(out_of(fast, step));
  for (int32_t k = 0; k < step->n_in; k++) {
    nhwc = nhwc || ex__fast_is_nhwc(in_of(fast, step, k));
    planar = planar || is_planar(in_of(fast, step, k));
  }
  return !nhwc || !planar;
}

static bool can_copy(const struct fast *fast, const struct fast_step *step) {
  if (strcmp(step->node->op->name, "dropout") == 0) return same_layout(fast, step);
  return !ex__fast_is_nhwc(in_of(fast, step, 0)) && !ex__fast_is_nhwc(out_of(fast, step));
}

void ex__fast_choose_kind(const struct fast *fast, struct fast_step *step) {
  static const struct {
    const char *op;
    const struct fast_kind *kind;
  } known[] = {{"add", &add_kind},
               {"mul", &mul_kind},
               {"relu", &relu_kind},
               {"concat", &concat_kind},
               {"slice", &slice_kind},
               {"batch_norm", &norm_kind},
               {"max_pool", &max_pool_kind},
               {"avg_pool", &avg_pool_kind},
               {"reshape", &copy_kind},
               {"dropout", &copy_kind},
               {"linear", &ex__fast_linear},
               {"global_avg_pool", &means_kind},
               {"function", &ex__fast_elements},
               {"sigmoid", &ex__fast_elements}};
  const char *op = step->node->op->name;
  step->kind = &ex__fast_twin;
  if (strcmp(op, "conv2d") == 0) {
    if (out_of(fast, step)->nhwc)
      step->kind =
          ex__fast_winograd_can(fast, step) ? &ex__fast_conv_winograd : &ex__fast_conv_lanes;
    else if (!ex__fast_is_nhwc(in_of(fast, step, 0)) &&
             ex__fast_planar_can(step->node, &in_of(fast, step, 0)->shape))
      step->kind = &ex__fast_conv_planar;
    return;
  }
  if (ex__fast_choose_rows(fast, step)) return;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(op, known[i].op) == 0) step->kind = known[i].kind;
  bool copies = step->kind == &copy_kind;
  bool free_of_layout = step->kind == &means_kind || step->kind == &ex__fast_linear;
  if (copies ? !can_copy(fast, step) : !free_of_layout && !same_layout(fast, step))
    step->kind = &ex__fast_twin;
}
