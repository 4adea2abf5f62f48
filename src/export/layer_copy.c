/* SPDX-License-Identifier: Apache-2.0
 *
 * export/layer_copy: layers that only move numbers: concat, slice, and flattening
 * where somebody sees the order of features.
 */
#include <stdio.h>
#include <string.h>

#include "export/export_int8.h"

/* Features are channels of one pixel. */
static int64_t pixels_of(const struct ex_layer_step *step) {
  return ex__shape_count(&step->node->shape) / step->node->shape.dim[0];
}

/* Of an input, as the node sees it. */
static int channels_of(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                       int32_t k) {
  return (int)(ex__shape_count(&ex__layer_in(plan, step, k)->shape) / pixels_of(step));
}

static void concat_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  int first = 0, all = (int)step->node->shape.dim[0];
  for (int32_t k = 0; k < step->n_in; k++) {
    int n = channels_of(writer->plan, step, k);
    ex__text_add(writer->text, "  copy_channels(");
    ex__write_place(writer, step->in[k]);
    ex__text_add(writer->text, ", %d, ", n);
    ex__write_place(writer, step->out);
    ex__text_add(writer->text, " + %d, %d, %d, %d);\n", first, all, n, (int)pixels_of(step));
    first += n;
  }
}

static void join_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  const struct ex_quantum *to = &ex__layer_out(writer->plan, step)->quantum;
  for (int32_t k = 0; k < step->n_in; k++) {
    const struct ex_quantum *from = &ex__layer_in(writer->plan, step, k)->quantum;
    struct ex_multiplier m = ex__multiplier_of(from->scale / to->scale);
    struct ex_layer_step part = *step;
    size_t length = strlen(part.name);
    snprintf(part.name + length, sizeof part.name - length, "_%d", (int)k);
    ex__write_layer(writer, &part, "join",
                    ".pixels = %d, .channels = %d, .out_channels = %d,\n"
                    "    .in_zero = %d, .out_zero = %d, .multiplier = %d, .shift = %d",
                    (int)pixels_of(step), channels_of(writer->plan, step, k),
                    (int)step->node->shape.dim[0], (int)from->zero, (int)to->zero,
                    (int)m.multiplier, (int)m.shift);
  }
}

static void join_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  int first = 0;
  for (int32_t k = 0; k < step->n_in; k++) {
    ex__text_add(writer->text, "  join(&%s_%d_layer, ", step->name, (int)k);
    ex__write_place(writer, step->in[k]);
    ex__text_add(writer->text, ", ");
    ex__write_place(writer, step->out);
    ex__text_add(writer->text, " + %d);\n", first);
    first += channels_of(writer->plan, step, k);
  }
}

static void slice_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  const struct ex_slice *attr = step->node->attr;
  int n = (int)step->node->shape.dim[0];
  ex__text_add(writer->text, "  copy_channels(");
  ex__write_place(writer, step->in[0]);
  ex__text_add(writer->text, " + %d, %d, ", (int)attr->begin, channels_of(writer->plan, step, 0));
  ex__write_place(writer, step->out);
  ex__text_add(writer->text, ", %d, %d, %d);\n", n, n, (int)pixels_of(step));
}

static void flatten_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  const struct ex_shape *in = &ex__layer_in(writer->plan, step, 0)->shape;
  ex__text_add(writer->text, "  flatten(");
  ex__write_place(writer, step->in[0]);
  ex__text_add(writer->text, ", ");
  ex__write_place(writer, step->out);
  ex__text_add(writer->text, ", %d, %d);\n", (int)(ex__shape_count(in) / in->dim[0]),
               (int)in->dim[0]);
}

extern const struct ex_layer ex__layer_concat, ex__layer_slice;
const struct ex_layer ex__layer_concat = {
    .op = "concat",
    .form[EX_FLOAT] = {"float_copy", NULL, concat_call},
    .form[EX_INT8] = {"int8_join", join_constants, join_call},
};
const struct ex_layer ex__layer_slice = {
    .op = "slice",
    .flags = EX_LAYER_KEEPS_QUANTUM,
    .form[EX_FLOAT] = {"float_copy", NULL, slice_call},
    .form[EX_INT8] = {"int8_copy", NULL, slice_call},
};
const struct ex_layer ex__layer_flatten = {
    .op = "reshape",
    .flags = EX_LAYER_KEEPS_QUANTUM,
    .form[EX_FLOAT] = {"float_flatten", NULL, flatten_call},
    .form[EX_INT8] = {"int8_flatten", NULL, flatten_call},
};
