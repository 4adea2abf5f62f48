/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_ops_reduce: along axes: reductions, softmax, running sums, winners.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "onnx/onnx_eval.h"

/* ---- reductions ------------------------------------------------------------------ */

/* Start, step and end of a reduction in double. */
struct reduction {
  const char *name;
  double start;
  double (*add)(double sum, double x);
  double (*finish)(double sum, double n); /* NULL: the sum itself */
  bool exponential;                       /* less the largest, which comes back at the end */
};

static double add(double sum, double x) { return sum + x; }
static double add_absolute(double sum, double x) { return sum + fabs(x); }
static double add_square(double sum, double x) { return sum + x * x; }
static double add_exponential(double sum, double x) { return sum + exp(x); }
static double multiply(double sum, double x) { return sum * x; }
static double larger(double sum, double x) { return x > sum || isnan(x) ? x : sum; }
static double smaller(double sum, double x) { return x < sum || isnan(x) ? x : sum; }
static double root(double sum, double n) { return (void)n, sqrt(sum); }
static double logarithm(double sum, double n) { return (void)n, log(sum); }
static double mean(double sum, double n) { return sum / n; }

static const struct reduction reductions[] = {
    {"ReduceSum", 0, add, NULL, false},
    {"ReduceMean", 0, add, mean, false},
    {"ReduceMax", -INFINITY, larger, NULL, false},
    {"ReduceMin", INFINITY, smaller, NULL, false},
    {"ReduceProd", 1, multiply, NULL, false},
    {"ReduceL1", 0, add_absolute, NULL, false},
    {"ReduceL2", 0, add_square, root, false},
    {"ReduceLogSum", 0, add, logarithm, false},
    {"ReduceLogSumExp", 0, add_exponential, logarithm, true},
    {"ReduceSumSquare", 0, add_square, NULL, false},
};

static const struct reduction *reduction_of(const char *name) {
  for (size_t i = 0; i < sizeof reductions / sizeof *reductions; i++)
    if (strcmp(reductions[i].name, name) == 0) return &reductions[i];
  return NULL;
}

/* Which axes are reduced; *all where none is named. */
static enum ex_status reduced_axes(struct ex_onnx_call *call, bool *reduced, bool *nothing) {
  const struct ex_onnx_tensor *in = call->in[0];
  const int64_t *list = NULL;
  int64_t n = 0;
  if (ex__onnx_has(call, 1)) {
    EX_TRY(ex__onnx_list(call, 1, &list, &n));
  } else {
    int32_t count;
    list = ex__onnx_ints(call, "axes", &count);
    n = count > 0 ? count : 0;
  }
  *nothing = n == 0 && ex__onnx_int(call, "noop_with_empty_axes", 0) != 0;
  for (int32_t i = 0; i < in->rank; i++) reduced[i] = n == 0 && !*nothing;
  for (int64_t i = 0; i < n; i++) {
    int32_t axis;
    EX_TRY(ex__onnx_axis(call, list[i], in->rank, &axis));
    reduced[axis] = true;
  }
  return EX_OK;
}

static double reduce_one(const struct reduction *rule, const struct ex_onnx_tensor *in,
                         int64_t base, const int64_t *dim, const int64_t *step, int32_t rank) {
  int64_t index[EX_ONNX_MAX_RANK] = {0}, n = ex__onnx_product(dim, 0, rank);
  double sum = rule->start, top = 0;
  if (n == 0) return sum;
  if (rule->exponential) {
    top = -INFINITY;
    do top = larger(top, ex__onnx_at(in, base + ex__onnx_offset(index, step, rank)));
    while (ex__onnx_next(index, dim, rank));
    if (!isfinite(top)) top = 0;
  }
  do sum = rule->add(sum, ex__onnx_at(in, base + ex__onnx_offset(index, step, rank)) - top);
  while (ex__onnx_next(index, dim, rank));
  return (rule->finish != NULL ? rule->finish(sum, (double)n) : sum) + top;
}

/* The dimensions of a tensor in two heaps: those that stay and those that go. */
struct heap {
  int32_t rank;
  int64_t dim[EX_ONNX_MAX_RANK], step[EX_ONNX_MAX_RANK];
};

static void part(const struct ex_onnx_tensor *in, const bool *reduced, struct heap *kept,
                 struct heap *gone) {
  int64_t own[EX_ONNX_MAX_RANK] = {0};
  ex__onnx_steps(in->dim, in->rank, own);
  for (int32_t i = 0; i < in->rank; i++) {
    struct heap *heap = reduced[i] ? gone : kept;
    heap->dim[heap->rank] = in->dim[i];
    heap->step[heap->rank++] = own[i];
  }
}

static enum ex_status reduce(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  const struct reduction *rule = reduction_of(call->node->op_type);
  bool reduced[EX_ONNX_MAX_RANK] = {false}, keeps = ex__onnx_int(call, "keepdims", 1) != 0;
  bool numbers, nothing;
  int64_t dim[EX_ONNX_MAX_RANK] = {0}, index[EX_ONNX_MAX_RANK] = {0};
  struct heap kept = {.rank = 0}, gone = {.rank = 0};
  int32_t rank = 0;
  EX_TRY(reduced_axes(call, reduced, &nothing));
  for (int32_t i = 0; i < in->rank; i++)
    if (!reduced[i] || keeps) dim[rank++] = reduced[i] ? 1 : in->dim[i];
  part(in, reduced, &kept, &gone);
  EX_TRY(ex__onnx_out(call, 0, in->type, rank, dim, &numbers));
  struct ex_onnx_tensor *out = &call->out[0];
  for (int64_t i = 0; numbers && i < out->count; i++) {
    int64_t base = ex__onnx_offset(index, kept.step, kept.rank);
    double x = nothing ? 0 : reduce_one(rule, in, base, gone.dim, gone.step, gone.rank);
    if (nothing)
      ex__onnx_copy(out, i, in, i);
    else if (out->real != NULL)
      out->real[i] = x;
    else
      out->whole[i] = fabs(x) < 9e18 ? (int64_t)x : 0;
    (void)ex__onnx_next(index, kept.dim, kept.rank);
  }
  return EX_OK;
}

/* ---- along one axis ----------------------------------------------------------------- */

/* Lines of n elements, `step` apart; line (o, i) begins at o · n · step + i. */
struct lines {
  int64_t outer, n, step;
};

static enum ex_status lines_of(struct ex_onnx_call *call, int64_t axis, struct lines *lines) {
  const struct ex_onnx_tensor *in = call->in[0];
  int32_t at;
  EX_TRY(ex__onnx_axis(call, axis, in->rank, &at));
  *lines = (struct lines){ex__onnx_product(in->dim, 0, at), in->dim[at],
                          ex__onnx_product(in->dim, at + 1, in->rank)};
  return EX_OK;
}

static int64_t line_top(const double *x, const struct lines *lines) {
  int64_t top = 0;
  for (int64_t i = 1; i < lines->n; i++)
    if (x[i * lines->step] > x[top * lines->step]) top = i;
  return top;
}

enum kind { SOFTMAX, LOG_SOFTMAX, HARDMAX };

static void soften(const double *x, double *y, const struct lines *lines, enum kind kind) {
  int64_t best = line_top(x, lines), step = lines->step;
  double top = x[best * step], sum = 0;
  for (int64_t i = 0; i < lines->n; i++) sum += exp(x[i * step] - top);
  for (int64_t i = 0; i < lines->n; i++) {
    double from_top = x[i * step] - top;
    y[i * step] = kind == SOFTMAX       ? exp(from_top) / sum
                  : kind == LOG_SOFTMAX ? from_top - log(sum)
                                        : i == best;
  }
}

static enum ex_status softmax_of(struct ex_onnx_call *call, enum kind kind) {
  const struct ex_onnx_tensor *in = call->in[0];
  struct lines lines;
  bool numbers, old = call->opset < 13; /* then all dimensions from the axis on were one */
  EX_TRY(ex__onnx_want_real(call, 0));
  EX_TRY(lines_of(call, ex__onnx_int(call, "axis", old ? 1 : -1), &lines));
  if (old) {
    lines.n *= lines.step;
    lines.step = 1;
  }
  EX_TRY(ex__onnx_out_like(call, 0, &numbers));
  if (!numbers || in->count == 0) return EX_OK;
  for (int64_t o = 0; o < lines.outer; o++)
    for (int64_t i = 0; i < lines.step; i++) {
      int64_t at = o * lines.n * lines.step + i;
      soften(in->real + at, call->out[0].real + at, &lines, kind);
    }
  return EX_OK;
}

static enum ex_status softmax(struct ex_onnx_call *call) { return softmax_of(call, SOFTMAX); }
static enum ex_status log_softmax(struct ex_onnx_call *call) {
  return softmax_of(call, LOG_SOFTMAX);
}
static enum ex_status hardmax(struct ex_onnx_call *call) { return softmax_of(call, HARDMAX); }

static enum ex_status cumulate(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  const int64_t *axis;
  int64_t n_axes;
  struct lines lines;
  bool numbers, exclusive = ex__onnx_int(call, "exclusive", 0) != 0;
  bool reverse = ex__onnx_int(call, "reverse", 0) != 0;
  EX_TRY(ex__onnx_list(call, 1, &axis, &n_axes));
  if (n_axes != 1) return onnx_fail(call, EX_ESHAPE, "the axis must be a single number");
  EX_TRY(lines_of(call, axis[0], &lines));
  EX_TRY(ex__onnx_out_like(call, 0, &numbers));
  for (int64_t l = 0; numbers && l < lines.outer * lines.step; l++) {
    int64_t base = l / lines.step * lines.n * lines.step + l % lines.step;
    double sum = 0;
    for (int64_t i = 0; i < lines.n; i++) {
      int64_t at = base + (reverse ? lines.n - 1 - i : i) * lines.step;
      double x = ex__onnx_at(in, at), y = exclusive ? sum : sum + x;
      sum += x;
      if (in->real != NULL)
        call->out[0].real[at] = y;
      else
        call->out[0].whole[at] = fabs(y) < 9e18 ? (int64_t)y : 0;
    }
  }
  return EX_OK;
}

/* ---- winners --------------------------------------------------------------------------- */

static bool better(double x, double than, bool largest) { return largest ? x > than : x < than; }

static enum ex_status arg_winner(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  bool largest = strcmp(call->node->op_type, "ArgMax") == 0, numbers;
  bool last = ex__onnx_int(call, "select_last_index", 0) != 0;
  bool keeps = ex__onnx_int(call, "keepdims", 1) != 0;
  int64_t axis = ex__onnx_int(call, "axis", 0), dim[EX_ONNX_MAX_RANK];
  struct lines lines;
  int32_t at, rank = 0;
  EX_TRY(lines_of(call, axis, &lines));
  EX_TRY(ex__onnx_axis(call, axis, in->rank, &at));
  for (int32_t i = 0; i < in->rank; i++)
    if (i != at || keeps) dim[rank++] = i == at ? 1 : in->dim[i];
  if (lines.n == 0) return onnx_fail(call, EX_ESHAPE, "there is nothing along its axis");
  EX_TRY(ex__onnx_out(call, 0, ONNX(INT64), rank, dim, &numbers));
  for (int64_t l = 0; numbers && l < lines.outer * lines.step; l++) {
    int64_t base = l / lines.step * lines.n * lines.step + l % lines.step, best = 0;
    for (int64_t i = 1; i < lines.n; i++) {
      double x = ex__onnx_at(in, base + i * lines.step);
      double top = ex__onnx_at(in, base + best * lines.step);
      if (better(x, top, largest) || (last && x == top)) best = i;
    }
    call->out[0].whole[l] = best;
  }
  return EX_OK;
}

static enum ex_status top_count(struct ex_onnx_call *call, int64_t *k) {
  const int64_t *list;
  int64_t n;
  *k = ex__onnx_int(call, "k", -1);
  if (!ex__onnx_has(call, 1)) return EX_OK;
  EX_TRY(ex__onnx_list(call, 1, &list, &n));
  if (n != 1) return onnx_fail(call, EX_ESHAPE, "k must be a single number");
  *k = list[0];
  return EX_OK;
}

/* The k best of a line by insertion; equals keep their order. */
static void top_line(const struct ex_onnx_tensor *in, int64_t base, const struct lines *lines,
                     int64_t k, bool largest, int64_t *found, int64_t apart) {
  int64_t n = 0;
  for (int64_t i = 0; i < lines->n; i++) {
    double x = ex__onnx_at(in, base + i * lines->step);
    int64_t at = n < k ? n++ : k;
    for (; at > 0; at--) {
      double above = ex__onnx_at(in, base + found[(at - 1) * apart] * lines->step);
      if (!better(x, above, largest)) break;
      if (at < k) found[at * apart] = found[(at - 1) * apart];
    }
    if (at < k) found[at * apart] = i;
  }
}

static enum ex_status top_k(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  int64_t k, axis = ex__onnx_int(call, "axis", -1), dim[EX_ONNX_MAX_RANK];
  bool largest = ex__onnx_int(call, "largest", 1) != 0, numbers;
  struct lines lines;
  int32_t at;
  EX_TRY(top_count(call, &k));
  EX_TRY(lines_of(call, axis, &lines));
  EX_TRY(ex__onnx_axis(call, axis, in->rank, &at));
  if (k < 0 || k > lines.n)
    return onnx_fail(call, EX_ESHAPE, "k = %" PRId64 " of %" PRId64, k, lines.n);
  EX_TRY(ex__onnx_spend(call, (double)in->count * (double)k));
  memcpy(dim, in->dim, sizeof dim);
  dim[at] = k;
  EX_TRY(ex__onnx_out(call, 0, in->type, in->rank, dim, &numbers));
  EX_TRY(ex__onnx_out(call, 1, ONNX(INT64), in->rank, dim, &numbers));
  for (int64_t l = 0; numbers && l < lines.outer * lines.step; l++) {
    int64_t outer = l / lines.step, inner = l % lines.step;
    int64_t base = outer * lines.n * lines.step + inner, to = outer * k * lines.step + inner;
    top_line(in, base, &lines, k, largest, call->out[1].whole + to, lines.step);
    for (int64_t i = 0; i < k; i++)
      ex__onnx_copy(&call->out[0], to + i * lines.step, in,
                    base + call->out[1].whole[to + i * lines.step] * lines.step);
  }
  return EX_OK;
}

extern const struct ex_onnx_op ex__onnx_ops_reduce[];
const struct ex_onnx_op ex__onnx_ops_reduce[] = {
    {"ReduceSum", 1, 2, 1, reduce},
    {"ReduceMean", 1, 2, 1, reduce},
    {"ReduceMax", 1, 2, 1, reduce},
    {"ReduceMin", 1, 2, 1, reduce},
    {"ReduceProd", 1, 2, 1, reduce},
    {"ReduceL1", 1, 2, 1, reduce},
    {"ReduceL2", 1, 2, 1, reduce},
    {"ReduceLogSum", 1, 2, 1, reduce},
    {"ReduceLogSumExp", 1, 2, 1, reduce},
    {"ReduceSumSquare", 1, 2, 1, reduce},
    {"Softmax", 1, 1, 1, softmax},
    {"LogSoftmax", 1, 1, 1, log_softmax},
    {"Hardmax", 1, 1, 1, hardmax},
    {"CumSum", 2, 2, 1, cumulate},
    {"ArgMax", 1, 1, 1, arg_winner},
    {"ArgMin", 1, 1, 1, arg_winner},
    {"TopK", 1, 2, 2, top_k},
    {NULL, 0, 0, 0, NULL},
};
