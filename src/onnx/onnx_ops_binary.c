/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_ops_binary: operators on single elements of two or more tensors.
 */
#include <math.h>
#include <string.h>

#include "onnx/onnx_broadcast.h"

/* ---- bringing shapes together --------------------------------------------------- */

enum ex_status ex__onnx_broadcast_dims(struct ex_onnx_call *call, int32_t rank_a, const int64_t *a,
                                       int32_t rank_b, const int64_t *b, int32_t *rank,
                                       int64_t *dim) {
  int64_t joined[EX_ONNX_MAX_RANK] = {0};
  int32_t n = rank_a > rank_b ? rank_a : rank_b;
  for (int32_t i = 0; i < n; i++) {
    int64_t x = i < rank_a ? a[rank_a - 1 - i] : 1, y = i < rank_b ? b[rank_b - 1 - i] : 1;
    if (x != y && x != 1 && y != 1)
      return onnx_fail(call, EX_ESHAPE, "dimensions %lld and %lld do not go together", (long long)x,
                       (long long)y);
    joined[n - 1 - i] = x == 1 ? y : x;
  }
  *rank = n;
  memcpy(dim, joined, (size_t)n * sizeof *dim);
  return EX_OK;
}

/* Shape of input k as it is aligned: before opset 7 the second has its own place. */
static enum ex_status aligned(struct ex_onnx_call *call, int32_t k, int32_t *rank, int64_t *dim) {
  const struct ex_onnx_tensor *in = call->in[k], *first = call->in[0];
  *rank = in->rank;
  memcpy(dim, in->dim, sizeof in->dim);
  /* Slopes of channels, which PRelu then knew without saying so. */
  bool slopes = strcmp(call->node->op_type, "PRelu") == 0 && in->rank == 1 && first->rank > 1;
  bool placed = slopes || ex__onnx_attribute(call->node, "axis") != NULL;
  int32_t axis;
  if (call->opset >= 7 || k != 1 || !placed || in->rank == 0) return EX_OK;
  EX_TRY(ex__onnx_axis(call, ex__onnx_int(call, "axis", 1), first->rank, &axis));
  if (axis + in->rank > first->rank)
    return onnx_fail(call, EX_ESHAPE, "axis %d leaves no place for %d dimensions", (int)axis,
                     (int)in->rank);
  for (int32_t i = in->rank; i < first->rank - axis; i++) dim[i] = 1;
  *rank = first->rank - axis;
  return EX_OK;
}

enum ex_status ex__onnx_broadcast(struct ex_onnx_call *call, int32_t first, int32_t n,
                                  struct ex_onnx_broadcast *out) {
  int64_t dim[3][EX_ONNX_MAX_RANK], own[EX_ONNX_MAX_RANK];
  int32_t rank[3];
  memset(out, 0, sizeof *out);
  for (int32_t k = 0; k < n; k++) {
    EX_TRY(aligned(call, first + k, &rank[k], dim[k]));
    EX_TRY(
        ex__onnx_broadcast_dims(call, out->rank, out->dim, rank[k], dim[k], &out->rank, out->dim));
  }
  for (int32_t k = 0; k < n; k++) {
    ex__onnx_steps(dim[k], rank[k], own);
    for (int32_t i = 0; i < rank[k]; i++)
      if (dim[k][i] != 1) out->step[k][out->rank - rank[k] + i] = own[i];
  }
  return EX_OK;
}

/* ---- formulas -------------------------------------------------------------------- */

struct formula {
  const char *name;
  double (*real)(double a, double b);
  int64_t (*whole)(int64_t a, int64_t b); /* NULL: floating numbers only */
  bool logical;                           /* the result is bool */
};

#define REAL(name, expression) \
  static double name(double a, double b) { return expression; }
#define WHOLE(name, expression) \
  static int64_t name(int64_t a, int64_t b) { return expression; }
REAL(r_add, a + b)
REAL(r_sub, a - b)
REAL(r_mul, a *b)
REAL(r_div, a / b)
REAL(r_pow, pow(a, b))
REAL(r_max, isnan(a) || a > b ? a : b)
REAL(r_min, isnan(a) || a < b ? a : b)
REAL(r_prelu, a < 0 ? a * b : a)
REAL(r_equal, a == b)
REAL(r_greater, a > b)
REAL(r_greater_equal, a >= b)
REAL(r_less, a < b)
REAL(r_less_equal, a <= b)
WHOLE(w_add, (int64_t)((uint64_t)a + (uint64_t)b))
WHOLE(w_sub, (int64_t)((uint64_t)a - (uint64_t)b))
WHOLE(w_mul, (int64_t)((uint64_t)a *(uint64_t)b))
WHOLE(w_div, b == 0 ? 0 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b)
WHOLE(w_max, a > b ? a : b)
WHOLE(w_min, a < b ? a : b)
WHOLE(w_prelu, a < 0 ? (int64_t)((uint64_t)a * (uint64_t)b) : a)
WHOLE(w_equal, a == b)
WHOLE(w_greater, a > b)
WHOLE(w_greater_equal, a >= b)
WHOLE(w_less, a < b)
WHOLE(w_less_equal, a <= b)
WHOLE(w_and, a != 0 && b != 0)
WHOLE(w_or, a != 0 || b != 0)
WHOLE(w_xor, (a != 0) != (b != 0))

static int64_t w_pow(int64_t a, int64_t b) {
  uint64_t power = 1, base = (uint64_t)a;
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 != 0 ? -1 : 1) : 0;
  for (; b > 0; b >>= 1, base *= base)
    if (b & 1) power *= base;
  return (int64_t)power;
}

static const struct formula formulas[] = {
    {"Add", r_add, w_add, false},
    {"Sub", r_sub, w_sub, false},
    {"Mul", r_mul, w_mul, false},
    {"Div", r_div, w_div, false},
    {"Pow", r_pow, w_pow, false},
    {"Max", r_max, w_max, false},
    {"Min", r_min, w_min, false},
    {"Sum", r_add, NULL, false},
    {"Mean", r_add, NULL, false},
    {"PRelu", r_prelu, w_prelu, false},
    {"Equal", r_equal, w_equal, true},
    {"Greater", r_greater, w_greater, true},
    {"GreaterOrEqual", r_greater_equal, w_greater_equal, true},
    {"Less", r_less, w_less, true},
    {"LessOrEqual", r_less_equal, w_less_equal, true},
    {"And", NULL, w_and, true},
    {"Or", NULL, w_or, true},
    {"Xor", NULL, w_xor, true},
};

static const struct formula *formula_of(const char *name) {
  for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++)
    if (strcmp(formulas[i].name, name) == 0) return &formulas[i];
  return NULL;
}

static enum ex_status check_types(struct ex_onnx_call *call, const struct formula *formula) {
  bool real = ex__onnx_is_real(call->in[0]->type);
  if (real ? formula->real == NULL : formula->whole == NULL)
    return onnx_fail(call, EX_EUNSUPPORTED, "inputs of %s are not supported",
                     ex__onnx_type_name(call->in[0]->type));
  for (int32_t k = 1; k < call->n_in; k++)
    if (call->in[k] == NULL || ex__onnx_is_real(call->in[k]->type) != real)
      return onnx_fail(call, EX_EFORMAT, "input %d must be given, of the first one's type", (int)k);
  return EX_OK;
}

static double number(const struct formula *formula, const struct ex_onnx_tensor *a, int64_t i,
                     const struct ex_onnx_tensor *b, int64_t k) {
  return formula->real(a->real[i], b->real[k]);
}

static enum ex_status apply(struct ex_onnx_call *call) {
  const struct formula *formula = formula_of(call->node->op_type);
  const struct ex_onnx_tensor *a = call->in[0], *b = call->in[1];
  struct ex_onnx_broadcast at;
  bool numbers;
  EX_TRY(check_types(call, formula));
  EX_TRY(ex__onnx_broadcast(call, 0, 2, &at));
  int32_t type = formula->logical ? ONNX(BOOL) : a->type;
  EX_TRY(ex__onnx_out(call, 0, type, at.rank, at.dim, &numbers));
  struct ex_onnx_tensor *out = &call->out[0];
  for (int64_t i = 0; numbers && i < out->count; i++, ex__onnx_advance(&at)) {
    int64_t x = ex__onnx_where(&at, 0), y = ex__onnx_where(&at, 1);
    if (out->real != NULL)
      out->real[i] = number(formula, a, x, b, y);
    else
      out->whole[i] = a->real != NULL ? (int64_t)number(formula, a, x, b, y)
                                      : formula->whole(a->whole[x], b->whole[y]);
  }
  return EX_OK;
}

/* A power may be of another type than the base. */
static enum ex_status power(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *a = call->in[0], *b = call->in[1];
  struct ex_onnx_broadcast at;
  bool numbers;
  if (ex__onnx_is_real(a->type) == ex__onnx_is_real(b->type)) return apply(call);
  EX_TRY(ex__onnx_broadcast(call, 0, 2, &at));
  EX_TRY(ex__onnx_out(call, 0, a->type, at.rank, at.dim, &numbers));
  for (int64_t i = 0; numbers && i < call->out[0].count; i++, ex__onnx_advance(&at)) {
    double x = pow(ex__onnx_at(a, ex__onnx_where(&at, 0)), ex__onnx_at(b, ex__onnx_where(&at, 1)));
    if (call->out[0].real != NULL)
      call->out[0].real[i] = x;
    else
      call->out[0].whole[i] = fabs(x) < 9e18 ? (int64_t)x : 0;
  }
  return EX_OK;
}

/* Max, Min, Sum and Mean of any number of tensors: one after another. */
static enum ex_status fold(struct ex_onnx_call *call) {
  const struct formula *formula = formula_of(call->node->op_type);
  struct ex_onnx_broadcast whole = {.rank = 0};
  bool numbers;
  EX_TRY(check_types(call, formula));
  for (int32_t k = 0; k < call->n_in; k++)
    EX_TRY(ex__onnx_broadcast_dims(call, whole.rank, whole.dim, call->in[k]->rank, call->in[k]->dim,
                                   &whole.rank, whole.dim));
  EX_TRY(ex__onnx_out(call, 0, call->in[0]->type, whole.rank, whole.dim, &numbers));
  struct ex_onnx_tensor *out = &call->out[0];
  for (int32_t k = 0; numbers && k < call->n_in; k++) {
    const struct ex_onnx_tensor *in = call->in[k];
    struct ex_onnx_broadcast at = whole;
    int64_t own[EX_ONNX_MAX_RANK];
    ex__onnx_steps(in->dim, in->rank, own);
    for (int32_t i = 0; i < in->rank; i++)
      at.step[0][at.rank - in->rank + i] = in->dim[i] != 1 ? own[i] : 0;
    for (int64_t i = 0; i < out->count; i++, ex__onnx_advance(&at)) {
      int64_t x = ex__onnx_where(&at, 0);
      if (k == 0)
        ex__onnx_copy(out, i, in, x);
      else if (out->real != NULL)
        out->real[i] = formula->real(out->real[i], in->real[x]);
      else
        out->whole[i] = formula->whole(out->whole[i], in->whole[x]);
    }
  }
  if (numbers && strcmp(formula->name, "Mean") == 0)
    for (int64_t i = 0; i < out->count; i++) out->real[i] /= call->n_in;
  return EX_OK;
}

/* ---- with rules of their own -------------------------------------------------------- */

static int64_t whole_mod(int64_t a, int64_t b, bool as_c) {
  if (b == 0 || b == -1) return 0;
  int64_t left = a % b;
  return !as_c && left != 0 && (left < 0) != (b < 0) ? left + b : left;
}

static enum ex_status modulo(struct ex_onnx_call *call) {
  struct ex_onnx_broadcast at;
  bool numbers, as_c = ex__onnx_int(call, "fmod", 0) != 0;
  if (ex__onnx_is_real(call->in[0]->type) != ex__onnx_is_real(call->in[1]->type))
    return onnx_fail(call, EX_EFORMAT, "inputs must be of one type");
  EX_TRY(ex__onnx_broadcast(call, 0, 2, &at));
  EX_TRY(ex__onnx_out(call, 0, call->in[0]->type, at.rank, at.dim, &numbers));
  struct ex_onnx_tensor *out = &call->out[0];
  for (int64_t i = 0; numbers && i < out->count; i++, ex__onnx_advance(&at)) {
    int64_t x = ex__onnx_where(&at, 0), y = ex__onnx_where(&at, 1);
    if (out->real != NULL)
      out->real[i] = fmod(call->in[0]->real[x], call->in[1]->real[y]);
    else
      out->whole[i] = whole_mod(call->in[0]->whole[x], call->in[1]->whole[y], as_c);
  }
  return EX_OK;
}

static enum ex_status shift(struct ex_onnx_call *call) {
  struct ex_onnx_broadcast at;
  char text[32];
  bool numbers, left = strcmp(ex__onnx_string(call, "direction", "", text), "LEFT") == 0;
  EX_TRY(ex__onnx_want_whole(call, 0));
  EX_TRY(ex__onnx_want_whole(call, 1));
  EX_TRY(ex__onnx_broadcast(call, 0, 2, &at));
  EX_TRY(ex__onnx_out(call, 0, call->in[0]->type, at.rank, at.dim, &numbers));
  for (int64_t i = 0; numbers && i < call->out[0].count; i++, ex__onnx_advance(&at)) {
    uint64_t x = (uint64_t)call->in[0]->whole[ex__onnx_where(&at, 0)];
    uint64_t by = (uint64_t)call->in[1]->whole[ex__onnx_where(&at, 1)];
    call->out[0].whole[i] = by > 63 ? 0 : (int64_t)(left ? x << by : x >> by);
  }
  return EX_OK;
}

static enum ex_status choose(struct ex_onnx_call *call) {
  struct ex_onnx_broadcast at;
  bool numbers;
  EX_TRY(ex__onnx_want_whole(call, 0));
  if (call->in[1]->type != call->in[2]->type)
    return onnx_fail(call, EX_EFORMAT, "inputs 1 and 2 must be of one type");
  EX_TRY(ex__onnx_broadcast(call, 0, 3, &at));
  EX_TRY(ex__onnx_out(call, 0, call->in[1]->type, at.rank, at.dim, &numbers));
  for (int64_t i = 0; numbers && i < call->out[0].count; i++, ex__onnx_advance(&at)) {
    int32_t k = call->in[0]->whole[ex__onnx_where(&at, 0)] != 0 ? 1 : 2;
    ex__onnx_copy(&call->out[0], i, call->in[k], ex__onnx_where(&at, k));
  }
  return EX_OK;
}

/* The bounds were attributes before opset 11. */
static enum ex_status clip_bound(struct ex_onnx_call *call, int32_t k, const char *name,
                                 double *bound) {
  if (call->opset < 11) {
    *bound = ex__onnx_float(call, name, *bound);
    return EX_OK;
  }
  if (!ex__onnx_has(call, k)) return EX_OK;
  if (call->in[k]->count != 1)
    return onnx_fail(call, EX_ESHAPE, "%s must be a single number", name);
  if (call->in[k]->unknown) return EX_OK;
  EX_TRY(ex__onnx_eval_load(call->eval, call->in[k], call->err));
  *bound = ex__onnx_at(call->in[k], 0);
  return EX_OK;
}

static enum ex_status clip(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  double low = -INFINITY, high = INFINITY;
  bool numbers;
  EX_TRY(clip_bound(call, 1, "min", &low));
  EX_TRY(clip_bound(call, 2, "max", &high));
  EX_TRY(ex__onnx_out_like(call, 0, &numbers));
  for (int64_t i = 0; numbers && i < in->count; i++) {
    if (in->real != NULL) {
      double x = in->real[i] < low ? low : in->real[i];
      call->out[0].real[i] = x > high ? high : x;
    } else {
      double own = (double)in->whole[i], x = own < low ? low : own;
      if (x > high) x = high;
      call->out[0].whole[i] = x == own || fabs(x) > 9e18 ? in->whole[i] : (int64_t)x;
    }
  }
  return EX_OK;
}

extern const struct ex_onnx_op ex__onnx_ops_binary[];
const struct ex_onnx_op ex__onnx_ops_binary[] = {
    {"Add", 2, 2, 1, apply},     {"Sub", 2, 2, 1, apply},
    {"Mul", 2, 2, 1, apply},     {"Div", 2, 2, 1, apply},
    {"PRelu", 2, 2, 1, apply},   {"Equal", 2, 2, 1, apply},
    {"Greater", 2, 2, 1, apply}, {"GreaterOrEqual", 2, 2, 1, apply},
    {"Less", 2, 2, 1, apply},    {"LessOrEqual", 2, 2, 1, apply},
    {"And", 2, 2, 1, apply},     {"Or", 2, 2, 1, apply},
    {"Xor", 2, 2, 1, apply},     {"Pow", 2, 2, 1, power},
    {"Max", 1, -1, 1, fold},     {"Min", 1, -1, 1, fold},
    {"Sum", 1, -1, 1, fold},     {"Mean", 1, -1, 1, fold},
    {"Mod", 2, 2, 1, modulo},    {"BitShift", 2, 2, 1, shift},
    {"Where", 3, 3, 1, choose},  {"Clip", 1, 3, 1, clip},
    {NULL, 0, 0, 0, NULL},
};
