/* SPDX-License-Identifier: Apache-2.0
 *
 * export/layer_product_int8: convolutions and linear layers with 8-bit weights, one
 * scale per row. The layer that ends a head keeps its exact sums, as floats.
 */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "export/export_int8.h"
#include "export/layer_product.h"

/* Sums of so many products of 8-bit numbers, and a bias, fit 32 bits. */
static const int64_t most_depth = 65000, most_bias = 1 << 24;

enum ex_status ex__product_check(const struct ex_export_plan *plan,
                                 const struct ex_layer_step *step, struct ex_error *err) {
  int64_t depth = ex__product_depth(plan, step);
  if (!plan->job->int8 || depth <= most_depth) return EX_OK;
  return ex__fail(err, EX_EUNSUPPORTED,
                  "%s: sums of %lld products in int8; must be at most %lld; leave --int8 out",
                  step->layer->op, (long long)depth, (long long)most_depth);
}

/* The rows as integers, and what they come with. */
struct rows {
  int64_t n, depth;
  int64_t *weight, *bias, *multiplier, *shift; /* [n][depth], [n] each */
  double *unit;                                /* [n]: what one unit of a sum is */
};

static void free_rows(struct rows *rows) {
  ex__free(rows->weight);
  ex__free(rows->bias);
  ex__free(rows->multiplier);
  ex__free(rows->shift);
  ex__free(rows->unit);
}

/* The scale of a row: its largest weight is 127, unless the bias asks for more room. */
static double scale_of(const double *weight, int64_t depth, double bias, double in_scale) {
  double most = 0;
  for (int64_t i = 0; i < depth; i++) most = fmax(most, fabs(weight[i]));
  double scale = fmax(most / 127, fabs(bias) / in_scale / (double)most_bias);
  return scale > 0 ? scale : 1;
}

static void fill_row(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                     const double *weight, double bias, int64_t row, struct rows *rows) {
  double in_scale = ex__layer_in(plan, step, 0)->quantum.scale;
  double scale = scale_of(weight, rows->depth, bias, in_scale);
  for (int64_t i = 0; i < rows->depth; i++)
    rows->weight[row * rows->depth + i] = (int64_t)round(weight[i] / scale);
  rows->unit[row] = in_scale * scale;
  rows->bias[row] = (int64_t)round(bias / rows->unit[row]);
  struct ex_multiplier m =
      ex__multiplier_of(rows->unit[row] / ex__layer_out(plan, step)->quantum.scale);
  rows->multiplier[row] = m.multiplier;
  rows->shift[row] = m.shift;
}

static bool make_rows(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                      struct rows *rows) {
  double *weight, *bias;
  *rows = (struct rows){.n = ex__product_rows(step), .depth = ex__product_depth(plan, step)};
  if (ex__product_all(plan, step, &weight, &bias) != EX_OK) return false;
  rows->weight = ex__alloc((size_t)(rows->n * rows->depth), sizeof *rows->weight);
  rows->bias = ex__alloc((size_t)rows->n, sizeof *rows->bias);
  rows->multiplier = ex__alloc((size_t)rows->n, sizeof *rows->multiplier);
  rows->shift = ex__alloc((size_t)rows->n, sizeof *rows->shift);
  rows->unit = ex__alloc((size_t)rows->n, sizeof *rows->unit);
  bool whole = rows->weight != NULL && rows->bias != NULL && rows->multiplier != NULL &&
               rows->shift != NULL && rows->unit != NULL;
  for (int64_t row = 0; whole && row < rows->n; row++)
    fill_row(plan, step, weight + row * rows->depth, bias[row], row, rows);
  ex__free(weight);
  ex__free(bias);
  return whole;
}

static void write_rows(struct ex_writer *writer, const struct ex_layer_step *step) {
  struct rows rows;
  bool logits = ex__layer_out(writer->plan, step)->is_logits;
  if (make_rows(writer->plan, step, &rows)) {
    ex__write_integers(writer, step, "int8_t", "weight", rows.weight, rows.n * rows.depth, 1);
    ex__write_integers(writer, step, "int32_t", "bias", rows.bias, rows.n, 1);
    if (logits) {
      ex__write_floats(writer, step, "unit", rows.unit, rows.n);
    } else {
      ex__write_integers(writer, step, "int32_t", "multiplier", rows.multiplier, rows.n, 1);
      ex__write_integers(writer, step, "uint8_t", "shift", rows.shift, rows.n, 1);
    }
  } else {
    writer->text->failed = true;
  }
  free_rows(&rows);
}

static void write_layer(struct ex_writer *writer, const struct ex_layer_step *step,
                        const char *kernel, const char *fields) {
  const struct ex_quantum *in = &ex__layer_in(writer->plan, step, 0)->quantum;
  const struct ex_quantum *out = &ex__layer_out(writer->plan, step)->quantum;
  ex__write_layer(writer, step, kernel,
                  "%s,\n    .in_zero = %d, .out_zero = %d, .low = %d,\n"
                  "    .weight = %s_weight, .bias = %s_bias,\n"
                  "    .multiplier = %s_multiplier, .shift = %s_shift",
                  fields, (int)in->zero, (int)out->zero, (int)ex__int8_low(writer->plan, step),
                  step->name, step->name, step->name, step->name);
}

/* What one unit of the residual is in units of the output. */
static void add_residual(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                         struct ex_text *text) {
  const struct ex_quantum *out = &ex__layer_out(plan, step)->quantum, *residual = out;
  if (step->adds) residual = &ex__layer_in(plan, step, 1)->quantum;
  struct ex_multiplier m = ex__multiplier_of(residual->scale / out->scale);
  ex__text_add(text, ",\n    .residual_zero = %d, .residual_multiplier = %d, .residual_shift = %d",
               (int)residual->zero, (int)m.multiplier, (int)m.shift);
}

void ex__conv2d_int8_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  struct ex_text geometry = {0};
  write_rows(writer, step);
  ex__product_geometry(writer, step, &geometry);
  add_residual(writer->plan, step, &geometry);
  if (!geometry.failed) write_layer(writer, step, "conv2d", geometry.data);
  writer->text->failed |= geometry.failed;
  ex__text_clear(&geometry);
}

void ex__linear_int8_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  char fields[96];
  int features = (int)ex__product_depth(writer->plan, step), n = (int)ex__product_rows(step);
  write_rows(writer, step);
  snprintf(fields, sizeof fields, ".features = %d, .out_features = %d", features, n);
  if (!ex__layer_out(writer->plan, step)->is_logits)
    write_layer(writer, step, "linear", fields);
  else
    ex__write_layer(writer, step, "logits",
                    "%s, .in_zero = %d,\n"
                    "    .weight = %s_weight, .bias = %s_bias, .unit = %s_unit",
                    fields, (int)ex__layer_in(writer->plan, step, 0)->quantum.zero, step->name,
                    step->name, step->name);
}
