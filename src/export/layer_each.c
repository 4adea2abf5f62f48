/* SPDX-License-Identifier: Apache-2.0
 *
 * export/layer_each: layers that work element by element or pixel by pixel:
 * batch-norm by itself, relu, addition, blend, softmax, local response
 * normalisation, pre-processing within a network; and the confidences of a head's outputs.
 */
#include <math.h>

#include "base/memory.h"
#include "export/export_int8.h"
#include "export/layer_product.h"

/* Features are channels of one pixel. The node knows; the value it reads may be a
 * map with one channel or one pixel that was flattened. */
static int pixels_of(const struct ex_layer_step *step) {
  return (int)(ex__shape_count(&step->node->shape) / step->node->shape.dim[0]);
}
static int channels_of(const struct ex_layer_step *step) { return (int)step->node->shape.dim[0]; }

static int count_of(const struct ex_layer_step *step) {
  return (int)ex__shape_count(&step->node->shape);
}

/* "  KERNEL(FIRST IN…, OUT": what stands before the other arguments. */
static void open_call(struct ex_writer *writer, const struct ex_layer_step *step,
                      const char *kernel) {
  ex__text_add(writer->text, "  %s(", kernel);
  for (int32_t k = 0; k < step->n_in; k++) {
    ex__write_place(writer, step->in[k]);
    ex__text_add(writer->text, ", ");
  }
  ex__write_place(writer, step->out);
}

/* ---- batch-norm by itself --------------------------------------------------- */

static void norm_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  int32_t n = step->node->shape.dim[0];
  double *values = ex__alloc((size_t)n, 2 * sizeof *values);
  if (values == NULL) {
    writer->text->failed = true;
    return;
  }
  for (int32_t c = 0; c < n; c++)
    ex__norm_at(writer->plan, step->node, c, &values[c], &values[n + c]);
  ex__write_floats(writer, step, "factor", values, n);
  ex__write_floats(writer, step, "shift", values + n, n);
  ex__free(values);
  ex__write_layer(writer, step, "scale",
                  ".pixels = %d, .channels = %d, .relu = %d,\n"
                  "    .factor = %s_factor, .shift = %s_shift",
                  pixels_of(step), channels_of(step), (int)step->relu, step->name, step->name);
}

/* Factor and offset share a shift; the offset may be 256 times as large. */
static void quantise_norm(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                          int32_t channel, int64_t *factor, int64_t *offset, int64_t *shift) {
  double scale = ex__layer_out(plan, step)->quantum.scale, f, s;
  int exponent;
  ex__norm_at(plan, step->node, channel, &f, &s);
  f *= ex__layer_in(plan, step, 0)->quantum.scale / scale;
  s /= scale * 256;
  frexp(fmax(fmax(fabs(f), fabs(s)), 0x1p-30), &exponent);
  *shift = exponent < 29 ? 30 - exponent : 1; /* larger ones only saturate, whatever they are */
  *factor = (int64_t)fmin(fmax(round(ldexp(f, (int)*shift)), -0x1p30), 0x1p30);
  *offset = (int64_t)fmin(fmax(round(ldexp(s, (int)*shift)), -0x1p30), 0x1p30);
}

static void norm_int8_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  int32_t n = step->node->shape.dim[0];
  int64_t *values = ex__alloc((size_t)n, 3 * sizeof *values);
  if (values == NULL) {
    writer->text->failed = true;
    return;
  }
  for (int32_t c = 0; c < n; c++)
    quantise_norm(writer->plan, step, c, &values[c], &values[n + c], &values[2 * n + c]);
  ex__write_integers(writer, step, "int32_t", "factor", values, n, 1);
  ex__write_integers(writer, step, "int32_t", "offset", values + n, n, 1);
  ex__write_integers(writer, step, "uint8_t", "shift", values + 2 * n, n, 1);
  ex__free(values);
  ex__write_layer(writer, step, "scale",
                  ".pixels = %d, .channels = %d, .in_zero = %d, .out_zero = %d, .low = %d,\n"
                  "    .factor = %s_factor, .offset = %s_offset, .shift = %s_shift",
                  pixels_of(step), channels_of(step),
                  (int)ex__layer_in(writer->plan, step, 0)->quantum.zero,
                  (int)ex__layer_out(writer->plan, step)->quantum.zero,
                  (int)ex__int8_low(writer->plan, step), step->name, step->name, step->name);
}

static void norm_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__write_call(writer, step, "scale");
}

/* ---- element by element ----------------------------------------------------- */

static void relu_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  open_call(writer, step, "relu");
  ex__text_add(writer->text, ", %d);\n", count_of(step));
}

static void relu_int8_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  open_call(writer, step, "relu");
  ex__text_add(writer->text, ", %d, %d);\n", count_of(step),
               (int)ex__layer_out(writer->plan, step)->quantum.zero);
}

static enum ex_status check_add(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                                struct ex_error *err) {
  (void)plan;
  if (step->n_in == 2) return EX_OK;
  return ex__fail(err, EX_EUNSUPPORTED, "add of %d values; must be of 2", (int)step->n_in);
}

static void add_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  open_call(writer, step, "add");
  ex__text_add(writer->text, ", %d, %d);\n", count_of(step), (int)step->relu);
}

/* a · share_a + b · share_b */
static void write_sum(struct ex_writer *writer, const struct ex_layer_step *step, double share_a,
                      double share_b) {
  const struct ex_quantum *a = &ex__layer_in(writer->plan, step, 0)->quantum;
  const struct ex_quantum *b = &ex__layer_in(writer->plan, step, 1)->quantum;
  const struct ex_quantum *out = &ex__layer_out(writer->plan, step)->quantum;
  double factor_a = share_a * a->scale / out->scale, factor_b = share_b * b->scale / out->scale;
  int exponent;
  frexp(fmax(fmax(fabs(factor_a), fabs(factor_b)), 0x1p-30), &exponent);
  int shift = exponent < 29 ? 30 - exponent : 1;
  ex__write_layer(writer, step, "add",
                  ".n = %d, .a_zero = %d, .b_zero = %d, .out_zero = %d, .low = %d,\n"
                  "    .a_factor = %d, .b_factor = %d, .shift = %d",
                  count_of(step), (int)a->zero, (int)b->zero, (int)out->zero,
                  (int)ex__int8_low(writer->plan, step),
                  (int)fmin(fmax(round(ldexp(factor_a, shift)), -0x1p30), 0x1p30),
                  (int)fmin(fmax(round(ldexp(factor_b, shift)), -0x1p30), 0x1p30), shift);
}

static void add_int8_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  write_sum(writer, step, 1, 1);
}

static void blend_int8_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  double share = (double)ex__export_tensor(writer->plan, step->node, 0)[0];
  write_sum(writer, step, share, 1 - share);
}

static void add_int8_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__write_call(writer, step, "add");
}

static void blend_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__text_add(writer->text, "  blend(");
  ex__write_float(writer->text, (double)ex__export_tensor(writer->plan, step->node, 0)[0]);
  for (int32_t k = 0; k < 2; k++) {
    ex__text_add(writer->text, ", ");
    ex__write_place(writer, step->in[k]);
  }
  ex__text_add(writer->text, ", ");
  ex__write_place(writer, step->out);
  ex__text_add(writer->text, ", %d);\n", count_of(step));
}

/* ---- pixel by pixel --------------------------------------------------------- */

static void softmax_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  open_call(writer, step, "softmax");
  ex__text_add(writer->text, ", %d, %d);\n", pixels_of(step), channels_of(step));
}

static void softmax_int8_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  const struct ex_quantum *in = &ex__layer_in(writer->plan, step, 0)->quantum;
  const struct ex_quantum *out = &ex__layer_out(writer->plan, step)->quantum;
  struct ex_text numbers = {0};
  ex__text_add(&numbers, ".in_unit = ");
  ex__write_float(&numbers, in->scale);
  ex__text_add(&numbers, ", .per_unit = ");
  ex__write_float(&numbers, 1 / out->scale);
  writer->text->failed |= numbers.failed;
  ex__write_layer(writer, step, "softmax", ".pixels = %d, .channels = %d, .out_zero = %d,\n    %s",
                  pixels_of(step), channels_of(step), (int)out->zero,
                  numbers.data != NULL ? numbers.data : "");
  ex__text_clear(&numbers);
}

static void softmax_int8_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__write_call(writer, step, "softmax");
}

/* `square`: of one unit of the input, which the sum of squares is in. */
static void write_lrn(struct ex_writer *writer, const struct ex_layer_step *step, double square,
                      const char *more) {
  const struct ex_lrn *attr = step->node->attr;
  struct ex_text numbers = {0};
  ex__text_add(&numbers, ".alpha = ");
  ex__write_float(&numbers, attr->alpha / attr->size * square);
  ex__text_add(&numbers, ", .beta = ");
  ex__write_float(&numbers, attr->beta);
  ex__text_add(&numbers, ", .k = ");
  ex__write_float(&numbers, attr->k);
  writer->text->failed |= numbers.failed;
  ex__write_layer(writer, step, "lrn", ".pixels = %d, .channels = %d, .size = %d,\n    %s%s",
                  pixels_of(step), channels_of(step), (int)attr->size,
                  numbers.data != NULL ? numbers.data : "", more);
  ex__text_clear(&numbers);
}

static void lrn_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  write_lrn(writer, step, 1, "");
}

static void lrn_int8_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  const struct ex_quantum *in = &ex__layer_in(writer->plan, step, 0)->quantum;
  const struct ex_quantum *out = &ex__layer_out(writer->plan, step)->quantum;
  struct ex_text more = {0};
  ex__text_add(&more, ",\n    .in_zero = %d, .out_zero = %d, .per_unit = ", (int)in->zero,
               (int)out->zero);
  ex__write_float(&more, in->scale / out->scale);
  writer->text->failed |= more.failed;
  write_lrn(writer, step, in->scale * in->scale, more.data != NULL ? more.data : "");
  ex__text_clear(&more);
}

static void lrn_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__write_call(writer, step, "lrn");
}

/* Means and factors as ex__preprocess_apply takes them. */
static void normalise_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  const struct ex_normalise *attr = step->node->attr;
  double factor[EX_MAX_LIST];
  int32_t n = attr->mean.n;
  for (int32_t c = 0; c < n; c++) factor[c] = 1 / attr->deviation.value[c];
  ex__write_floats(writer, step, "mean", attr->mean.value, n);
  ex__write_floats(writer, step, "factor", factor, n);
  ex__write_layer(writer, step, "standardise",
                  ".pixels = %d, .channels = %d, .per_channel = %d, .divisor = %d,\n"
                  "    .mean = %s_mean, .factor = %s_factor",
                  pixels_of(step), channels_of(step), n > 1, attr->bytes ? 255 : 1, step->name,
                  step->name);
}

static void normalise_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__write_call(writer, step, "standardise");
}

static void confidence_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  open_call(writer, step, "confidence");
  ex__text_add(writer->text, ", %d);\n",
               (int)ex__shape_count(&ex__layer_in(writer->plan, step, 0)->shape));
}

extern const struct ex_layer ex__layer_batch_norm, ex__layer_relu, ex__layer_add, ex__layer_blend,
    ex__layer_softmax, ex__layer_lrn, ex__layer_normalise, ex__layer_confidence;
const struct ex_layer ex__layer_batch_norm = {
    .op = "batch_norm",
    .flags = EX_LAYER_TAKES_RELU | EX_LAYER_IN_PLACE,
    .form[EX_FLOAT] = {"float_scale", norm_constants, norm_call},
    .form[EX_INT8] = {"int8_scale", norm_int8_constants, norm_call},
};
const struct ex_layer ex__layer_relu = {
    .op = "relu",
    .flags = EX_LAYER_IN_PLACE | EX_LAYER_KEEPS_QUANTUM,
    .form[EX_FLOAT] = {"float_relu", NULL, relu_call},
    .form[EX_INT8] = {"int8_relu", NULL, relu_int8_call},
};
const struct ex_layer ex__layer_add = {
    .op = "add",
    .flags = EX_LAYER_TAKES_RELU | EX_LAYER_IN_PLACE,
    .check = check_add,
    .form[EX_FLOAT] = {"float_add", NULL, add_call},
    .form[EX_INT8] = {"int8_add", add_int8_constants, add_int8_call},
};
const struct ex_layer ex__layer_blend = {
    .op = "blend",
    .flags = EX_LAYER_IN_PLACE,
    .form[EX_FLOAT] = {"float_blend", NULL, blend_call},
    .form[EX_INT8] = {"int8_add", blend_int8_constants, add_int8_call},
};
const struct ex_layer ex__layer_softmax = {
    .op = "softmax",
    .flags = EX_LAYER_IN_PLACE,
    .form[EX_FLOAT] = {"float_softmax", NULL, softmax_call},
    .form[EX_INT8] = {"int8_softmax", softmax_int8_constants, softmax_int8_call},
};
const struct ex_layer ex__layer_lrn = {
    .op = "lrn",
    .form[EX_FLOAT] = {"float_lrn", lrn_constants, lrn_call},
    .form[EX_INT8] = {"int8_lrn", lrn_int8_constants, lrn_call},
};
const struct ex_layer ex__layer_normalise = {
    .op = "normalise",
    .form[EX_FLOAT] = {"float_normalise", normalise_constants, normalise_call},
};
const struct ex_layer ex__layer_confidence = {
    .op = "confidence",
    .form[EX_FLOAT] = {"float_confidence", NULL, confidence_call},
};
