/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_ops_unary: operators on single elements of one tensor.
 *
 * A row of the table is a formula with up to two attributes. Those that also
 * take integers are computed on integers.
 */
#include <math.h>
#include <string.h>

#include "onnx/onnx_eval.h"

struct formula {
  const char *name;
  double (*real)(double x, double a, double b);
  int64_t (*whole)(int64_t x); /* NULL: floating numbers only */
  const char *a, *b;           /* attributes; NULL: none */
  double a_default, b_default;
};

#define FORMULA(name, expression)                    \
  static double name(double x, double a, double b) { \
    (void)a, (void)b;                                \
    return expression;                               \
  }
FORMULA(f_abs, fabs(x))
FORMULA(f_acos, acos(x))
FORMULA(f_acosh, acosh(x))
FORMULA(f_asin, asin(x))
FORMULA(f_asinh, asinh(x))
FORMULA(f_atan, atan(x))
FORMULA(f_atanh, atanh(x))
FORMULA(f_ceil, ceil(x))
FORMULA(f_celu, x > 0 ? x : a * expm1(x / a))
FORMULA(f_cos, cos(x))
FORMULA(f_cosh, cosh(x))
FORMULA(f_elu, x > 0 ? x : a * expm1(x))
FORMULA(f_erf, erf(x))
FORMULA(f_exp, exp(x))
FORMULA(f_floor, floor(x))
FORMULA(f_hard_sigmoid, fmax(0, fmin(1, a *x + b)))
FORMULA(f_hard_swish, x *fmax(0, fmin(1, x / 6 + 0.5)))
FORMULA(f_leaky_relu, x < 0 ? a * x : x)
FORMULA(f_log, log(x))
FORMULA(f_neg, -x)
FORMULA(f_reciprocal, 1 / x)
FORMULA(f_relu, x < 0 ? 0 : x)
FORMULA(f_round, nearbyint(x))
FORMULA(f_selu, x > 0 ? b * x : b * a * expm1(x))
FORMULA(f_shrink, x<-b ? x + a : x> b ? x - a : 0)
FORMULA(f_sigmoid, 1 / (1 + exp(-x)))
FORMULA(f_sign, (x > 0) - (x < 0))
FORMULA(f_sin, sin(x))
FORMULA(f_sinh, sinh(x))
FORMULA(f_softplus, x > 30 ? x : log1p(exp(x)))
FORMULA(f_softsign, x / (1 + fabs(x)))
FORMULA(f_sqrt, sqrt(x))
FORMULA(f_tan, tan(x))
FORMULA(f_tanh, tanh(x))
FORMULA(f_thresholded_relu, x > a ? x : 0)

static int64_t i_abs(int64_t x) { return x < 0 ? (int64_t)(0 - (uint64_t)x) : x; }
static int64_t i_neg(int64_t x) { return (int64_t)(0 - (uint64_t)x); }
static int64_t i_relu(int64_t x) { return x < 0 ? 0 : x; }
static int64_t i_sign(int64_t x) { return (x > 0) - (x < 0); }
static int64_t i_same(int64_t x) { return x; }

static const struct formula formulas[] = {
    {"Abs", f_abs, i_abs, NULL, NULL, 0, 0},
    {"Acos", f_acos, NULL, NULL, NULL, 0, 0},
    {"Acosh", f_acosh, NULL, NULL, NULL, 0, 0},
    {"Asin", f_asin, NULL, NULL, NULL, 0, 0},
    {"Asinh", f_asinh, NULL, NULL, NULL, 0, 0},
    {"Atan", f_atan, NULL, NULL, NULL, 0, 0},
    {"Atanh", f_atanh, NULL, NULL, NULL, 0, 0},
    {"Ceil", f_ceil, NULL, NULL, NULL, 0, 0},
    {"Celu", f_celu, NULL, "alpha", NULL, 1, 0},
    {"Cos", f_cos, NULL, NULL, NULL, 0, 0},
    {"Cosh", f_cosh, NULL, NULL, NULL, 0, 0},
    {"Elu", f_elu, NULL, "alpha", NULL, 1, 0},
    {"Erf", f_erf, NULL, NULL, NULL, 0, 0},
    {"Exp", f_exp, NULL, NULL, NULL, 0, 0},
    {"Floor", f_floor, NULL, NULL, NULL, 0, 0},
    {"HardSigmoid", f_hard_sigmoid, NULL, "alpha", "beta", 0.2, 0.5},
    {"HardSwish", f_hard_swish, NULL, NULL, NULL, 0, 0},
    {"LeakyRelu", f_leaky_relu, NULL, "alpha", NULL, 0.01, 0},
    {"Log", f_log, NULL, NULL, NULL, 0, 0},
    {"Neg", f_neg, i_neg, NULL, NULL, 0, 0},
    {"Reciprocal", f_reciprocal, NULL, NULL, NULL, 0, 0},
    {"Relu", f_relu, i_relu, NULL, NULL, 0, 0},
    {"Round", f_round, NULL, NULL, NULL, 0, 0},
    {"Selu", f_selu, NULL, "alpha", "gamma", 1.67326319217681884765625, 1.05070102214813232421875},
    {"Shrink", f_shrink, i_same, "bias", "lambd", 0, 0.5},
    {"Sigmoid", f_sigmoid, NULL, NULL, NULL, 0, 0},
    {"Sign", f_sign, i_sign, NULL, NULL, 0, 0},
    {"Sin", f_sin, NULL, NULL, NULL, 0, 0},
    {"Sinh", f_sinh, NULL, NULL, NULL, 0, 0},
    {"Softplus", f_softplus, NULL, NULL, NULL, 0, 0},
    {"Softsign", f_softsign, NULL, NULL, NULL, 0, 0},
    {"Sqrt", f_sqrt, NULL, NULL, NULL, 0, 0},
    {"Tan", f_tan, NULL, NULL, NULL, 0, 0},
    {"Tanh", f_tanh, NULL, NULL, NULL, 0, 0},
    {"ThresholdedRelu", f_thresholded_relu, NULL, "alpha", NULL, 1, 0},
};

static const struct formula *formula_of(const char *name) {
  for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++)
    if (strcmp(formulas[i].name, name) == 0) return &formulas[i];
  return NULL;
}

static enum ex_status apply(struct ex_onnx_call *call) {
  const struct formula *formula = formula_of(call->node->op_type);
  const struct ex_onnx_tensor *in = call->in[0];
  double a = formula->a != NULL ? ex__onnx_float(call, formula->a, formula->a_default) : 0;
  double b = formula->b != NULL ? ex__onnx_float(call, formula->b, formula->b_default) : 0;
  bool numbers;
  if (formula->whole == NULL) EX_TRY(ex__onnx_want_real(call, 0));
  EX_TRY(ex__onnx_out_like(call, 0, &numbers));
  if (!numbers) return EX_OK;
  for (int64_t i = 0; i < in->count; i++)
    if (in->real != NULL)
      call->out[0].real[i] = formula->real(in->real[i], a, b);
    else if (formula->whole == i_same) /* Shrink on integers is as on numbers */
      call->out[0].whole[i] = (int64_t)formula->real((double)in->whole[i], a, b);
    else if (formula->whole != NULL)
      call->out[0].whole[i] = formula->whole(in->whole[i]);
  return EX_OK;
}

/* ---- with types of their own ------------------------------------------------------ */

static enum ex_status is_nan(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  bool numbers;
  EX_TRY(ex__onnx_want_real(call, 0));
  EX_TRY(ex__onnx_out(call, 0, ONNX(BOOL), in->rank, in->dim, &numbers));
  for (int64_t i = 0; numbers && i < in->count; i++) call->out[0].whole[i] = isnan(in->real[i]);
  return EX_OK;
}

static enum ex_status is_inf(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  bool numbers, above = ex__onnx_int(call, "detect_positive", 1) != 0;
  bool below = ex__onnx_int(call, "detect_negative", 1) != 0;
  EX_TRY(ex__onnx_want_real(call, 0));
  EX_TRY(ex__onnx_out(call, 0, ONNX(BOOL), in->rank, in->dim, &numbers));
  for (int64_t i = 0; numbers && i < in->count; i++)
    call->out[0].whole[i] = isinf(in->real[i]) && (in->real[i] > 0 ? above : below);
  return EX_OK;
}

static enum ex_status invert(struct ex_onnx_call *call) {
  bool numbers;
  EX_TRY(ex__onnx_want_whole(call, 0));
  EX_TRY(ex__onnx_out_like(call, 0, &numbers));
  for (int64_t i = 0; numbers && i < call->in[0]->count; i++)
    call->out[0].whole[i] = call->in[0]->whole[i] == 0;
  return EX_OK;
}

static enum ex_status identity(struct ex_onnx_call *call) {
  bool numbers;
  EX_TRY(ex__onnx_out_like(call, 0, &numbers));
  for (int64_t i = 0; numbers && i < call->in[0]->count; i++)
    ex__onnx_copy(&call->out[0], i, call->in[0], i);
  return EX_OK;
}

/* In inference: the same, and a mask of true. */
static enum ex_status dropout(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  bool numbers;
  if (ex__onnx_has(call, 2)) {
    const int64_t *training;
    int64_t n;
    EX_TRY(ex__onnx_list(call, 2, &training, &n));
    double ratio = 0.5;
    if (ex__onnx_has(call, 1)) {
      EX_TRY(ex__onnx_eval_load(call->eval, call->in[1], call->err));
      if (!call->in[1]->unknown && call->in[1]->count == 1) ratio = ex__onnx_at(call->in[1], 0);
    }
    if (n == 1 && training[0] != 0 && ratio != 0)
      return onnx_fail(call, EX_EUNSUPPORTED, "it drops at random, as in training");
  }
  EX_TRY(identity(call));
  if (call->n_out < 2) return EX_OK;
  int32_t type = call->opset >= 10 ? ONNX(BOOL) : in->type;
  EX_TRY(ex__onnx_out(call, 1, type, in->rank, in->dim, &numbers));
  for (int64_t i = 0; numbers && i < in->count; i++)
    if (call->out[1].real != NULL)
      call->out[1].real[i] = 1;
    else
      call->out[1].whole[i] = 1;
  return EX_OK;
}

static int64_t to_whole(double x) {
  if (isnan(x)) return 0;
  return x >= 9.2e18 ? INT64_MAX : x <= -9.2e18 ? INT64_MIN : (int64_t)x;
}

static enum ex_status convert(struct ex_onnx_call *call, int32_t type) {
  const struct ex_onnx_tensor *in = call->in[0];
  bool numbers;
  EX_TRY(ex__onnx_out(call, 0, type, in->rank, in->dim, &numbers));
  if (!numbers) return EX_OK;
  struct ex_onnx_tensor *out = &call->out[0];
  for (int64_t i = 0; i < in->count; i++) {
    if (out->real != NULL)
      out->real[i] = in->type == ONNX(UINT64) ? (double)(uint64_t)in->whole[i] : ex__onnx_at(in, i);
    else if (type == ONNX(BOOL))
      out->whole[i] = ex__onnx_at(in, i) != 0;
    else
      out->whole[i] = in->whole != NULL ? in->whole[i] : to_whole(in->real[i]);
  }
  return EX_OK;
}

static enum ex_status cast(struct ex_onnx_call *call) {
  int64_t to = ex__onnx_int(call, "to", 0);
  return convert(call, to > 0 && to < 100 ? (int32_t)to : 0);
}

static enum ex_status cast_like(struct ex_onnx_call *call) {
  return convert(call, call->in[1]->type);
}

#define ROW(name) \
  { name, 1, 1, 1, apply }
extern const struct ex_onnx_op ex__onnx_ops_unary[];
const struct ex_onnx_op ex__onnx_ops_unary[] = {
    ROW("Abs"),
    ROW("Acos"),
    ROW("Acosh"),
    ROW("Asin"),
    ROW("Asinh"),
    ROW("Atan"),
    ROW("Atanh"),
    ROW("Ceil"),
    ROW("Celu"),
    ROW("Cos"),
    ROW("Cosh"),
    ROW("Elu"),
    ROW("Erf"),
    ROW("Exp"),
    ROW("Floor"),
    ROW("HardSigmoid"),
    ROW("HardSwish"),
    ROW("LeakyRelu"),
    ROW("Log"),
    ROW("Neg"),
    ROW("Reciprocal"),
    ROW("Relu"),
    ROW("Round"),
    ROW("Selu"),
    ROW("Shrink"),
    ROW("Sigmoid"),
    ROW("Sign"),
    ROW("Sin"),
    ROW("Sinh"),
    ROW("Softplus"),
    ROW("Softsign"),
    ROW("Sqrt"),
    ROW("Tan"),
    ROW("Tanh"),
    ROW("ThresholdedRelu"),
    {"IsNaN", 1, 1, 1, is_nan},
    {"IsInf", 1, 1, 1, is_inf},
    {"Not", 1, 1, 1, invert},
    {"Identity", 1, 1, 1, identity},
    {"Dropout", 1, 3, 2, dropout},
    {"Cast", 1, 1, 1, cast},
    {"CastLike", 2, 2, 1, cast_like},
    {NULL, 0, 0, 0, NULL},
};
