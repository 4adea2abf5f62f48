/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_function: elementary functions of single elements. A row of the
 * table is a function and its derivative, both of x and two numbers a and b. At
 * a corner the derivative is that of the side below.
 */
#include <math.h>

#include "graph/shape.h"

static const char *const kinds[] = {
    "abs",  "affine",       "celu",       "clip",       "cos",  "elu",   "erf",
    "exp",  "hard-sigmoid", "hard-swish", "leaky-relu", "log",  "power", "reciprocal",
    "selu", "sin",          "softplus",   "softsign",   "sqrt", "tanh",  "thresholded-relu",
    NULL};

static const struct ex_param attrs[] = {
    {"kind", EX_PARAM_ENUM, offsetof(struct ex_function, kind), 0, 0, "abs", kinds,
     "Which function."},
    {"a", EX_PARAM_REAL, offsetof(struct ex_function, a), -3.5e38, 3.5e38, "1", NULL,
     "Its first number: slope, bound, exponent."},
    {"b", EX_PARAM_REAL, offsetof(struct ex_function, b), -3.5e38, 3.5e38, "0", NULL,
     "Its second number: offset, upper bound."},
    {.name = NULL},
};

static double logistic(double x) { return 1 / (1 + exp(-x)); }

#define FUNCTION(name, value, slope)                         \
  static double name(double x, double a, double b) {         \
    (void)a, (void)b;                                        \
    return value;                                            \
  }                                                          \
  static double name##_slope(double x, double a, double b) { \
    (void)x, (void)a, (void)b;                               \
    return slope;                                            \
  }
FUNCTION(absolute, fabs(x), x > 0 ? 1 : -1)
FUNCTION(affine, a *x + b, a)
FUNCTION(celu, x > 0 ? x : a * expm1(x / a), x > 0 ? 1 : exp(x / a))
FUNCTION(clip, x<a ? a : x> b ? b : x, x > a && x <= b ? 1 : 0)
FUNCTION(cosine, cos(x), -sin(x))
FUNCTION(elu, x > 0 ? x : a * expm1(x), x > 0 ? 1 : a * exp(x))
FUNCTION(error_function, erf(x), 1.12837916709551257390 * exp(-x * x))
FUNCTION(exponential, exp(x), exp(x))
FUNCTION(hard_sigmoid, fmax(0, fmin(1, a *x + b)), a *x + b > 0 && a * x + b <= 1 ? a : 0)
FUNCTION(hard_swish, x *fmax(0, fmin(1, x / 6 + 0.5)), x <= -3 ? 0 : x <= 3 ? x / 3 + 0.5 : 1)
FUNCTION(leaky_relu, x<0 ? a * x : x, x> 0 ? 1 : a)
FUNCTION(logarithm, log(x), 1 / x)
FUNCTION(power, pow(x, a), a *pow(x, a - 1))
FUNCTION(reciprocal, 1 / x, -1 / (x * x))
FUNCTION(selu, x > 0 ? b * x : b * a * expm1(x), x > 0 ? b : b * a * exp(x))
FUNCTION(sine, sin(x), cos(x))
FUNCTION(softplus, x > 30 ? x : log1p(exp(x)), logistic(x))
FUNCTION(softsign, x / (1 + fabs(x)), 1 / ((1 + fabs(x)) * (1 + fabs(x))))
FUNCTION(root, sqrt(x), 0.5 / sqrt(x))
FUNCTION(hyperbolic, tanh(x), 1 - tanh(x) * tanh(x))
FUNCTION(thresholded_relu, x > a ? x : 0, x > a ? 1 : 0)

#define ROW(name) \
  { name, name##_slope }
static const struct {
  double (*value)(double x, double a, double b);
  double (*slope)(double x, double a, double b);
} functions[] = {ROW(absolute),        ROW(affine),     ROW(celu),           ROW(clip),
                 ROW(cosine),          ROW(elu),        ROW(error_function), ROW(exponential),
                 ROW(hard_sigmoid),    ROW(hard_swish), ROW(leaky_relu),     ROW(logarithm),
                 ROW(power),           ROW(reciprocal), ROW(selu),           ROW(sine),
                 ROW(softplus),        ROW(softsign),   ROW(root),           ROW(hyperbolic),
                 ROW(thresholded_relu)};

/* Those that networks for small devices have behind every convolution, as loops
 * that vectorise; false: none of them. */
static bool forward_simple(const struct ex_function *attr, const ex_real *x, ex_real *y,
                           int64_t n) {
  ex_real a = (ex_real)attr->a, b = (ex_real)attr->b;
  switch (attr->kind) {
    case EX_FUNCTION_AFFINE:
      for (int64_t i = 0; i < n; i++) y[i] = a * x[i] + b;
      return true;
    case EX_FUNCTION_CLIP:
      for (int64_t i = 0; i < n; i++) {
        ex_real low = x[i] < a ? a : x[i];
        y[i] = low > b ? b : low;
      }
      return true;
    case EX_FUNCTION_LEAKY_RELU:
      for (int64_t i = 0; i < n; i++) y[i] = x[i] < 0 ? a * x[i] : x[i];
      return true;
    case EX_FUNCTION_HARD_SIGMOID:
      for (int64_t i = 0; i < n; i++) {
        ex_real low = a * x[i] + b < 0 ? 0 : a * x[i] + b;
        y[i] = low > 1 ? 1 : low;
      }
      return true;
    case EX_FUNCTION_HARD_SWISH:
      for (int64_t i = 0; i < n; i++) {
        ex_real low = x[i] < -3 ? 0 : x[i] + 3, gate = low > 6 ? 6 : low;
        y[i] = x[i] * gate / 6;
      }
      return true;
    case EX_FUNCTION_SQRT:
      for (int64_t i = 0; i < n; i++) y[i] = (ex_real)sqrt((double)x[i]);
      return true;
    case EX_FUNCTION_POWER:
      for (int64_t i = 0; attr->a == 2 && i < n; i++) y[i] = x[i] * x[i];
      return attr->a == 2;
    default: return false;
  }
}

static void forward(const struct ex_op_call *call) {
  const struct ex_function *attr = call->node->attr;
  int64_t n = ex__call_count(call);
  if (forward_simple(attr, call->in[0], call->out, n)) return;
  for (int64_t i = 0; i < n; i++)
    call->out[i] = (ex_real)functions[attr->kind].value((double)call->in[0][i], attr->a, attr->b);
}

static void backward(const struct ex_op_call *call) {
  const struct ex_function *attr = call->node->attr;
  if (call->din[0] == NULL) return;
  int64_t n = ex__call_count(call);
  for (int64_t i = 0; i < n; i++)
    call->din[0][i] += (ex_real)(call->dout[i] * functions[attr->kind].slope((double)call->in[0][i],
                                                                             attr->a, attr->b));
}

const struct ex_op ex__op_function = {
    .name = "function",
    .version = 1,
    .attrs = attrs,
    .attr_size = sizeof(struct ex_function),
    .min_in = 1,
    .max_in = 1,
    .flags = EX_OP_NEEDS_INPUT | EX_OP_PER_CHANNEL,
    .shape = ex__shape_of_inputs,
    .forward = forward,
    .backward = backward,
};
