/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_map_elements: functions of single elements, arithmetic of two, and
 * what keeps every element where it is.
 */
#include <math.h>
#include <string.h>

#include "onnx/onnx_broadcast.h"
#include "onnx/onnx_map.h"

static enum ex_status one_to_one(struct ex_onnx_map *map, const char *op, const void *attr) {
  int32_t x = ex__onnx_map_in(map, 0), value;
  EX_TRY(ex__onnx_map_add(map, op, attr, -1, &x, 1, &value));
  return ex__onnx_map_out(map, 0, value);
}

/* ---- elementary functions ---------------------------------------------------------- */

static enum ex_status relu(struct ex_onnx_map *map) { return one_to_one(map, "relu", NULL); }
static enum ex_status sigmoid(struct ex_onnx_map *map) { return one_to_one(map, "sigmoid", NULL); }

/* Attributes that are the numbers of a function, with ONNX's defaults. */
static const struct {
  const char *op;
  int32_t kind;
  const char *a, *b;
  double a_default, b_default;
} functions[] = {
    {"Abs", EX_FUNCTION_ABS, NULL, NULL, 0, 0},
    {"Celu", EX_FUNCTION_CELU, "alpha", NULL, 1, 0},
    {"Cos", EX_FUNCTION_COS, NULL, NULL, 0, 0},
    {"Elu", EX_FUNCTION_ELU, "alpha", NULL, 1, 0},
    {"Erf", EX_FUNCTION_ERF, NULL, NULL, 0, 0},
    {"Exp", EX_FUNCTION_EXP, NULL, NULL, 0, 0},
    {"HardSigmoid", EX_FUNCTION_HARD_SIGMOID, "alpha", "beta", 0.2, 0.5},
    {"HardSwish", EX_FUNCTION_HARD_SWISH, NULL, NULL, 0, 0},
    {"LeakyRelu", EX_FUNCTION_LEAKY_RELU, "alpha", NULL, 0.01, 0},
    {"Log", EX_FUNCTION_LOG, NULL, NULL, 0, 0},
    {"Neg", EX_FUNCTION_AFFINE, NULL, NULL, -1, 0},
    {"Reciprocal", EX_FUNCTION_RECIPROCAL, NULL, NULL, 0, 0},
    {"Selu", EX_FUNCTION_SELU, "alpha", "gamma", 1.67326319217681884765625,
     1.05070102214813232421875},
    {"Sin", EX_FUNCTION_SIN, NULL, NULL, 0, 0},
    {"Softplus", EX_FUNCTION_SOFTPLUS, NULL, NULL, 0, 0},
    {"Softsign", EX_FUNCTION_SOFTSIGN, NULL, NULL, 0, 0},
    {"Sqrt", EX_FUNCTION_SQRT, NULL, NULL, 0, 0},
    {"Tanh", EX_FUNCTION_TANH, NULL, NULL, 0, 0},
    {"ThresholdedRelu", EX_FUNCTION_THRESHOLDED_RELU, "alpha", NULL, 1, 0},
};

static enum ex_status function(struct ex_onnx_map *map) {
  size_t i = 0;
  while (strcmp(functions[i].op, map->call->node->op_type) != 0) i++; /* the table has it */
  struct ex_function attr = {functions[i].kind, functions[i].a_default, functions[i].b_default};
  if (functions[i].a != NULL) attr.a = ex__onnx_float(map->call, functions[i].a, attr.a);
  if (functions[i].b != NULL) attr.b = ex__onnx_float(map->call, functions[i].b, attr.b);
  return one_to_one(map, "function", &attr);
}

static enum ex_status clip(struct ex_onnx_map *map) {
  struct ex_function attr = {EX_FUNCTION_CLIP, -3.4e38, 3.4e38};
  if (map->call->opset < 11) {
    attr.a = ex__onnx_float(map->call, "min", attr.a);
    attr.b = ex__onnx_float(map->call, "max", attr.b);
  }
  for (int32_t k = 1; k <= 2 && map->call->opset >= 11; k++) {
    const struct ex_onnx_tensor *bound;
    if (!ex__onnx_has(map->call, k)) continue;
    EX_TRY(ex__onnx_map_constant(map, k, &bound));
    *(k == 1 ? &attr.a : &attr.b) = fmax(-3.4e38, fmin(3.4e38, ex__onnx_at(bound, 0)));
  }
  return one_to_one(map, "function", &attr);
}

/* ---- arithmetic ----------------------------------------------------------------------- */

/* Exponents that are constants: x to the power of a single number. */
static enum ex_status power(struct ex_onnx_map *map) {
  const struct ex_onnx_tensor *exponent;
  if (!ex__onnx_map_depends(map, 0)) return map_fail(map, "the base is a constant");
  EX_TRY(ex__onnx_map_constant(map, 1, &exponent));
  if (exponent->count != 1) return map_fail(map, "exponents that differ; must be one");
  const struct ex_function attr = {EX_FUNCTION_POWER, ex__onnx_at(exponent, 0), 0};
  return one_to_one(map, "function", &attr);
}

static const struct {
  const char *op;
  int32_t kind;
} kinds[] = {{"Add", EX_ARITHMETIC_ADD}, {"Sub", EX_ARITHMETIC_SUB},    {"Mul", EX_ARITHMETIC_MUL},
             {"Div", EX_ARITHMETIC_DIV}, {"Max", EX_ARITHMETIC_MAX},    {"Min", EX_ARITHMETIC_MIN},
             {"Sum", EX_ARITHMETIC_ADD}, {"PRelu", EX_ARITHMETIC_PRELU}};

static int32_t kind_of(const struct ex_onnx_map *map) {
  size_t i = 0;
  while (strcmp(kinds[i].op, map->call->node->op_type) != 0) i++; /* the table has it */
  return kinds[i].kind;
}

/* A single number on one side: an affine function, where it is one. */
static bool as_affine(int32_t kind, bool swap, double c, struct ex_function *attr) {
  *attr = (struct ex_function){EX_FUNCTION_AFFINE, 1, 0};
  switch (kind) {
    case EX_ARITHMETIC_ADD: attr->b = c; return true;
    case EX_ARITHMETIC_SUB:
      attr->a = swap ? -1 : 1;
      attr->b = swap ? c : -c;
      return true;
    case EX_ARITHMETIC_MUL: attr->a = c; return true;
    case EX_ARITHMETIC_DIV: attr->a = 1 / c; return !swap && c != 0;
    default: return false;
  }
}

/* Steps of operand k for one sample; the batch lies in dimension `axis` of the result. */
static enum ex_status sample_steps(struct ex_onnx_map *map, const struct ex_onnx_broadcast *at,
                                   int32_t axis, int32_t k, struct ex_list *steps) {
  struct ex_onnx_sample own = {.rank = map->call->in[k]->rank};
  int64_t step[EX_ONNX_MAX_RANK];
  if (ex__onnx_map_depends(map, k)) own = ex__onnx_map_sample(map, k);
  if (ex__onnx_map_depends(map, k) && own.axis + at->rank - own.rank != axis)
    return map_fail(map, "the batch of input %d is in another dimension than the result's", (int)k);
  ex__onnx_steps(own.dim, own.rank, step);
  steps->n = at->rank;
  for (int32_t i = 0; i < at->rank; i++) {
    bool sampled = ex__onnx_map_depends(map, k) && at->step[k][i] != 0;
    steps->value[i] = (double)(sampled ? step[i - (at->rank - own.rank)] : at->step[k][i]);
  }
  if (ex__onnx_map_depends(map, k) || at->step[k][axis] == 0) return EX_OK;
  return map_fail(map, "constant input %d has numbers for each sample of a batch", (int)k);
}

static enum ex_status repeated(struct ex_onnx_map *map, int32_t kind) {
  struct ex_onnx_broadcast at;
  struct ex_arithmetic attr = {.kind = kind, .parameters = 1};
  struct ex_onnx_sample out = ex__onnx_map_shape(map, 0);
  bool swap = !ex__onnx_map_depends(map, 0), both = !swap && ex__onnx_map_depends(map, 1);
  int32_t constant = swap ? 0 : 1, value;
  EX_TRY(ex__onnx_broadcast(map->call, 0, 2, &at));
  attr.swap = swap;
  attr.dims.n = at.rank;
  for (int32_t i = 0; i < at.rank; i++) attr.dims.value[i] = (double)out.dim[i];
  EX_TRY(sample_steps(map, &at, out.axis, swap ? 1 : 0, &attr.first_steps));
  EX_TRY(sample_steps(map, &at, out.axis, constant, &attr.second_steps));
  EX_TRY(ex__onnx_map_place(map, &out, &attr.shape));
  if (both) {
    int32_t in[] = {ex__onnx_map_in(map, 0), ex__onnx_map_in(map, 1)};
    EX_TRY(ex__onnx_map_add(map, "arithmetic", &attr, -1, in, 2, &value));
    return ex__onnx_map_out(map, 0, value);
  }
  int32_t x = ex__onnx_map_in(map, swap ? 1 : 0);
  attr.parameters = (int32_t)map->call->in[constant]->count;
  EX_TRY(ex__onnx_map_add(map, "arithmetic", &attr, constant, &x, 1, &value));
  EX_TRY(ex__onnx_map_weigh(map, value, 0, constant));
  return ex__onnx_map_out(map, 0, value);
}

static bool same_shape(const struct ex_onnx_tensor *a, const struct ex_onnx_tensor *b) {
  return a->rank == b->rank && a->axis == b->axis &&
         memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
}

static enum ex_status arithmetic(struct ex_onnx_map *map) {
  const struct ex_onnx_call *call = map->call;
  int32_t kind = kind_of(map);
  struct ex_function affine;
  if (call->n_in == 1) return ex__onnx_map_out(map, 0, ex__onnx_map_in(map, 0));
  if (call->n_in > 2) return map_fail(map, "%d inputs; must be 1 or 2", (int)call->n_in);
  bool both = ex__onnx_map_depends(map, 0) && ex__onnx_map_depends(map, 1);
  if (both && same_shape(call->in[0], call->in[1]) &&
      (kind == EX_ARITHMETIC_ADD || kind == EX_ARITHMETIC_MUL)) {
    int32_t in[] = {ex__onnx_map_in(map, 0), ex__onnx_map_in(map, 1)}, value;
    EX_TRY(
        ex__onnx_map_add(map, kind == EX_ARITHMETIC_ADD ? "add" : "mul", NULL, -1, in, 2, &value));
    return ex__onnx_map_out(map, 0, value);
  }
  int32_t constant = ex__onnx_map_depends(map, 0) ? 1 : 0;
  const struct ex_onnx_tensor *number;
  if (!both && call->in[constant]->count == 1) {
    EX_TRY(ex__onnx_map_constant(map, constant, &number));
    if (as_affine(kind, constant == 0, ex__onnx_at(number, 0), &affine)) {
      int32_t x = ex__onnx_map_in(map, 1 - constant), value;
      EX_TRY(ex__onnx_map_add(map, "function", &affine, -1, &x, 1, &value));
      return ex__onnx_map_out(map, 0, value);
    }
  }
  return repeated(map, kind);
}

/* ---- the same elements -------------------------------------------------------------------- */

/* What comes out is what goes in, in another shape at most. As many elements must
 * lie before the batch, else one sample would be another row of numbers. */
static enum ex_status same(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0), out = ex__onnx_map_shape(map, 0);
  if (map->call->n_out > 1) return map_fail(map, "its second output");
  if (ex__onnx_product(in.dim, 0, in.axis) != ex__onnx_product(out.dim, 0, out.axis))
    return map_fail(map, "it mixes the batch with other dimensions");
  return ex__onnx_map_out(map, 0, ex__onnx_map_in(map, 0));
}

static enum ex_status cast(struct ex_onnx_map *map) {
  const struct ex_onnx_tensor *out = ex__onnx_eval_find(map->eval, map->call->node->output[0]);
  if (!ex__onnx_is_real(out->type) || !ex__onnx_is_real(map->call->in[0]->type))
    return map_fail(map, "to %s; must be of floating numbers", ex__onnx_type_name(out->type));
  return same(map);
}

const struct ex_onnx_mapping ex__onnx_map_elements[] = {
    {"Relu", relu},          {"Sigmoid", sigmoid},     {"Abs", function},
    {"Celu", function},      {"Cos", function},        {"Elu", function},
    {"Erf", function},       {"Exp", function},        {"HardSigmoid", function},
    {"HardSwish", function}, {"LeakyRelu", function},  {"Log", function},
    {"Neg", function},       {"Reciprocal", function}, {"Selu", function},
    {"Sin", function},       {"Softplus", function},   {"Softsign", function},
    {"Sqrt", function},      {"Tanh", function},       {"ThresholdedRelu", function},
    {"Clip", clip},          {"Pow", power},           {"Add", arithmetic},
    {"Sub", arithmetic},     {"Mul", arithmetic},      {"Div", arithmetic},
    {"Max", arithmetic},     {"Min", arithmetic},      {"Sum", arithmetic},
    {"PRelu", arithmetic},   {"Identity", same},       {"Dropout", same},
    {"Reshape", same},       {"Flatten", same},        {"Squeeze", same},
    {"Unsqueeze", same},     {"Cast", cast},           {NULL, NULL},
};
