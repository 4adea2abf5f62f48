/* SPDX-License-Identifier: Apache-2.0
 *
 * export/layer_function: functions of one number: sigmoid, and of the kinds of
 * graph/op_function those that need no library. In float each has a loop of its own, in
 * int8 a table that the operator itself fills.
 */
#include <float.h>
#include <math.h>

#include "base/memory.h"
#include "export/export_int8.h"
#include "export/export_layer.h"

static bool is_kind(const struct ex_node *node, int32_t kind) {
  const struct ex_function *attr = node->attr;
  return attr->kind == kind;
}

static int count_of(const struct ex_layer_step *step) {
  return (int)ex__shape_count(&step->node->shape);
}

/* Without a bound, clip has one that no float holds. */
static void write_number(struct ex_text *text, double value) {
  ex__write_float(text, fmin(fmax(value, -FLT_MAX), FLT_MAX));
}

/* "  KERNEL(" is written; "IN, OUT, N" follows. */
static void write_operands(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__write_place(writer, step->in[0]);
  ex__text_add(writer->text, ", ");
  ex__write_place(writer, step->out);
  ex__text_add(writer->text, ", %d", count_of(step));
}

static void write_call(struct ex_writer *writer, const struct ex_layer_step *step,
                       const char *kernel) {
  const struct ex_function *attr = step->node->attr;
  ex__text_add(writer->text, "  %s(", kernel);
  write_operands(writer, step);
  ex__text_add(writer->text, ", ");
  write_number(writer->text, attr->a);
  ex__text_add(writer->text, ", ");
  write_number(writer->text, attr->b);
  ex__text_add(writer->text, ");\n");
}

/* What each of the 256 numbers becomes: as many samples as have them all. */
static void table_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  enum { N = 256 };
  const struct ex_quantum *in = &ex__layer_in(writer->plan, step, 0)->quantum;
  int32_t batch = (N + count_of(step) - 1) / count_of(step);
  int64_t n = (int64_t)batch * count_of(step), table[N];
  ex_real *x = ex__alloc((size_t)n, 2 * sizeof *x);
  if (x == NULL) {
    writer->text->failed = true;
    return;
  }
  for (int64_t i = 0; i < n; i++)
    x[i] = (ex_real)(in->scale * (double)((i < N ? i : 0) - 128 - in->zero));
  const struct ex_op_call call = {.node = step->node,
                                  .batch = batch,
                                  .in = {x},
                                  .in_shape = {&step->node->shape},
                                  .out = x + n};
  step->node->op->forward(&call);
  for (int32_t i = 0; i < N; i++)
    table[i] = ex__quantum_store(&ex__layer_out(writer->plan, step)->quantum, (double)x[n + i]);
  ex__free(x);
  ex__write_integers(writer, step, "int8_t", "table", table, N, 1);
}

static void table_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__text_add(writer->text, "  look_up(%s_table, ", step->name);
  write_operands(writer, step);
  ex__text_add(writer->text, ");\n");
}

static void sigmoid_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__text_add(writer->text, "  sigmoid(");
  write_operands(writer, step);
  ex__text_add(writer->text, ");\n");
}

extern const struct ex_layer ex__layer_sigmoid;
const struct ex_layer ex__layer_sigmoid = {
    .op = "sigmoid",
    .flags = EX_LAYER_IN_PLACE,
    .form[EX_FLOAT] = {"float_sigmoid", NULL, sigmoid_call},
    .form[EX_INT8] = {"int8_table", table_constants, table_call},
};

/* `id`: the kernel float_id, whose function has that name. */
#define FUNCTION(id, kind)                                                            \
  static bool is_##id(const struct ex_node *node) { return is_kind(node, kind); }     \
  static void call_##id(struct ex_writer *writer, const struct ex_layer_step *step) { \
    write_call(writer, step, #id);                                                    \
  }                                                                                   \
  extern const struct ex_layer ex__layer_##id;                                        \
  const struct ex_layer ex__layer_##id = {                                            \
      .op = "function",                                                               \
      .flags = EX_LAYER_IN_PLACE,                                                     \
      .suits = is_##id,                                                               \
      .form[EX_FLOAT] = {"float_" #id, NULL, call_##id},                              \
      .form[EX_INT8] = {"int8_table", table_constants, table_call},                   \
  };

FUNCTION(affine, EX_FUNCTION_AFFINE)
FUNCTION(clip, EX_FUNCTION_CLIP)
FUNCTION(elu, EX_FUNCTION_ELU)
FUNCTION(hard_sigmoid, EX_FUNCTION_HARD_SIGMOID)
FUNCTION(hard_swish, EX_FUNCTION_HARD_SWISH)
FUNCTION(hyperbolic, EX_FUNCTION_TANH)
FUNCTION(leaky_relu, EX_FUNCTION_LEAKY_RELU)
