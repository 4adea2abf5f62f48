/* SPDX-License-Identifier: Apache-2.0
 *
 * export/layer_product: convolutions and linear layers: rows of weights, one per
 * output channel, with the batch-norm behind them folded in. In double; rounded
 * once, when they are written.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "export/layer_product.h"

enum { WEIGHT, BIAS };
enum { NORM_WEIGHT, NORM_BIAS, NORM_MEAN, NORM_VAR };

static bool is_conv(const struct ex_layer_step *step) {
  return strcmp(step->layer->op, "conv2d") == 0;
}

static bool has_bias(const struct ex_layer_step *step) {
  if (is_conv(step)) return ((const struct ex_conv2d *)step->node->attr)->bias != 0;
  return ((const struct ex_linear *)step->node->attr)->bias != 0;
}

int32_t ex__product_rows(const struct ex_layer_step *step) {
  if (is_conv(step)) return ((const struct ex_conv2d *)step->node->attr)->channels;
  return ((const struct ex_linear *)step->node->attr)->features;
}

int64_t ex__product_depth(const struct ex_export_plan *plan, const struct ex_layer_step *step) {
  const struct ex_shape *in = &ex__layer_in(plan, step, 0)->shape;
  if (!is_conv(step)) return ex__shape_count(in);
  const struct ex_conv2d *attr = step->node->attr;
  return (int64_t)(in->dim[0] / attr->groups) * attr->kernel_h * attr->kernel_w;
}

/* From [outer][inner] to [inner][outer]: channels first to channels last. */
static void transpose(const ex_real *from, int64_t outer, int64_t inner, double factor,
                      double *to) {
  for (int64_t i = 0; i < inner; i++)
    for (int64_t o = 0; o < outer; o++) *to++ = factor * (double)from[o * inner + i];
}

/* What a folded batch-norm does to a row: row · factor + shift. */
static void norm_of(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                    int32_t row, double *factor, double *shift) {
  *factor = 1;
  *shift = 0;
  if (step->norm != NULL) ex__norm_at(plan, step->norm, row, factor, shift);
}

void ex__norm_at(const struct ex_export_plan *plan, const struct ex_node *norm, int32_t channel,
                 double *factor, double *shift) {
  const struct ex_batch_norm *attr = norm->attr;
  double weight = (double)ex__export_tensor(plan, norm, NORM_WEIGHT)[channel];
  double bias = (double)ex__export_tensor(plan, norm, NORM_BIAS)[channel];
  double mean = (double)ex__export_tensor(plan, norm, NORM_MEAN)[channel];
  double var = (double)ex__export_tensor(plan, norm, NORM_VAR)[channel];
  *factor = weight / sqrt(var + attr->eps);
  *shift = bias - mean * *factor;
}

double ex__product_row(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                       int32_t row, double *weight) {
  const struct ex_shape *in = &ex__layer_in(plan, step, 0)->shape;
  int64_t depth = ex__product_depth(plan, step), inner = 1;
  if (is_conv(step)) {
    const struct ex_conv2d *attr = step->node->attr;
    inner = (int64_t)attr->kernel_h * attr->kernel_w;
  } else if (in->rank == 3) {
    inner = (int64_t)in->dim[1] * in->dim[2]; /* of a flattened map, which is channels last */
  }
  double factor, shift;
  norm_of(plan, step, row, &factor, &shift);
  transpose(ex__export_tensor(plan, step->node, WEIGHT) + row * depth, depth / inner, inner, factor,
            weight);
  double bias = has_bias(step) ? (double)ex__export_tensor(plan, step->node, BIAS)[row] : 0;
  return bias * factor + shift;
}

enum ex_status ex__product_all(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                               double **weight, double **bias) {
  int64_t rows = ex__product_rows(step), depth = ex__product_depth(plan, step);
  *weight = ex__alloc((size_t)(rows * depth), sizeof **weight);
  *bias = ex__alloc((size_t)rows, sizeof **bias);
  if (*weight == NULL || *bias == NULL) {
    ex__free(*weight);
    ex__free(*bias);
    *weight = *bias = NULL;
    return EX_ENOMEM;
  }
  for (int32_t row = 0; row < rows; row++)
    (*bias)[row] = ex__product_row(plan, step, row, *weight + row * depth);
  return EX_OK;
}

/* ---- float ------------------------------------------------------------------ */

static void write_rows(struct ex_writer *writer, const struct ex_layer_step *step) {
  double *weight, *bias;
  int64_t rows = ex__product_rows(step), depth = ex__product_depth(writer->plan, step);
  if (ex__product_all(writer->plan, step, &weight, &bias) != EX_OK) {
    writer->text->failed = true;
    return;
  }
  ex__write_floats(writer, step, "weight", weight, rows * depth);
  ex__write_floats(writer, step, "bias", bias, rows);
  ex__free(weight);
  ex__free(bias);
}

void ex__product_geometry(const struct ex_writer *writer, const struct ex_layer_step *step,
                          struct ex_text *text) {
  const struct ex_conv2d *attr = step->node->attr;
  const struct ex_shape *in = &ex__layer_in(writer->plan, step, 0)->shape;
  const struct ex_shape *out = &ex__layer_out(writer->plan, step)->shape;
  ex__text_add(text,
               ".height = %d, .width = %d, .channels = %d,\n"
               "    .out_height = %d, .out_width = %d, .out_channels = %d,\n"
               "    .kernel_h = %d, .kernel_w = %d, .stride = %d, .pad_h = %d, .pad_w = %d,\n"
               "    .dilation = %d, .groups = %d",
               (int)in->dim[1], (int)in->dim[2], (int)in->dim[0], (int)out->dim[1],
               (int)out->dim[2], (int)out->dim[0], (int)attr->kernel_h, (int)attr->kernel_w,
               (int)attr->stride, (int)attr->pad_h, (int)attr->pad_w, (int)attr->dilation,
               (int)attr->groups);
}

static void conv_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  struct ex_text geometry = {0};
  write_rows(writer, step);
  ex__product_geometry(writer, step, &geometry);
  ex__write_layer(writer, step, "conv2d",
                  "%s, .relu = %d,\n    .weight = %s_weight, .bias = %s_bias", geometry.data,
                  (int)step->relu, step->name, step->name);
  writer->text->failed |= geometry.failed;
  ex__text_clear(&geometry);
}

/* Without a residual there is none to point at. */
static void conv_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__text_add(writer->text, "  conv2d(&%s_layer, ", step->name);
  ex__write_place(writer, step->in[0]);
  ex__text_add(writer->text, ", ");
  if (step->adds)
    ex__write_place(writer, step->in[1]);
  else
    ex__text_add(writer->text, "NULL");
  ex__text_add(writer->text, ", ");
  ex__write_place(writer, step->out);
  ex__text_add(writer->text, ");\n");
}

static void linear_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  write_rows(writer, step);
  ex__write_layer(writer, step, "linear",
                  ".features = %d, .out_features = %d, .relu = %d,\n"
                  "    .weight = %s_weight, .bias = %s_bias",
                  (int)ex__product_depth(writer->plan, step), (int)ex__product_rows(step),
                  (int)step->relu, step->name, step->name);
}

static void linear_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__write_call(writer, step, "linear");
}

static void logits_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__write_call(writer, step, "logits");
}

extern const struct ex_layer ex__layer_conv2d, ex__layer_linear;
const struct ex_layer ex__layer_conv2d = {
    .op = "conv2d",
    .flags = EX_LAYER_TAKES_NORM | EX_LAYER_TAKES_RELU | EX_LAYER_TAKES_ADD,
    .check = ex__product_check,
    .form[EX_FLOAT] = {"float_conv2d", conv_constants, conv_call},
    .form[EX_INT8] = {"int8_conv2d", ex__conv2d_int8_constants, conv_call},
};
const struct ex_layer ex__layer_linear = {
    .op = "linear",
    .flags = EX_LAYER_TAKES_NORM | EX_LAYER_TAKES_RELU,
    .check = ex__product_check,
    .form[EX_FLOAT] = {"float_linear", linear_constants, linear_call},
    .form[EX_INT8] = {"int8_linear", ex__linear_int8_constants, linear_call},
};
const struct ex_layer ex__layer_logits = {
    .op = "linear",
    .form[EX_FLOAT] = {"float_linear", linear_constants, linear_call},
    .form[EX_INT8] = {"int8_logits", ex__linear_int8_constants, logits_call},
};
