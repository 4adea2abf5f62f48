/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_onnx_rows: the operators that imported networks are made of besides,
 * as ONNX nodes: a line in the table at the end each. They see a sample as a row of
 * numbers, with dimensions that are told by attributes; so values are reshaped on the
 * way in and out, which costs runtimes nothing.
 */
#include "export/export_onnx_walk.h"
#include "graph/strided.h"

static void set_pair(const struct ex_onnx_step *step, const char *name, int64_t a, int64_t b) {
  const int64_t values[] = {a, b};
  ex__onnx_set_ints(step->graph, name, values, 2);
}

static const char *of_two(const struct ex_onnx_step *step, const char *op, const char *value,
                          double number) {
  return ex__onnx_node(step->graph, op, value, ex__onnx_real(step->graph, number));
}

/* ---- functions of single elements --------------------------------------------- */

static const char *affine(const struct ex_onnx_step *step, const struct ex_function *attr) {
  const char *value = step->in[0];
  if (attr->a != 1) value = of_two(step, "Mul", value, attr->a);
  return of_two(step, "Add", value, attr->b);
}

static const char *clip(const struct ex_onnx_step *step, const struct ex_function *attr) {
  return ex__onnx_node(step->graph, "Clip", step->in[0], ex__onnx_real(step->graph, attr->a),
                       ex__onnx_real(step->graph, attr->b));
}

static const char *power(const struct ex_onnx_step *step, const struct ex_function *attr) {
  return of_two(step, "Pow", step->in[0], attr->a);
}

/* x · (x / 6 + 1 / 2 within [0, 1]): an operator of its own from opset 14 on only. */
static const char *hard_swish(const struct ex_onnx_step *step, const struct ex_function *attr) {
  (void)attr;
  const char *share = ex__onnx_node(step->graph, "HardSigmoid", step->in[0]);
  ex__onnx_set_real(step->graph, "alpha", 1.0 / 6);
  ex__onnx_set_real(step->graph, "beta", 0.5);
  return ex__onnx_node(step->graph, "Mul", step->in[0], share);
}

/* By enum ex_function_kind: an operator and what it calls the numbers a and b, or a function. */
static const struct {
  const char *onnx, *a, *b;
  const char *(*write)(const struct ex_onnx_step *step, const struct ex_function *attr);
} functions[] = {
    [EX_FUNCTION_ABS] = {.onnx = "Abs"},
    [EX_FUNCTION_AFFINE] = {.write = affine},
    [EX_FUNCTION_CELU] = {.onnx = "Celu", .a = "alpha"},
    [EX_FUNCTION_CLIP] = {.write = clip},
    [EX_FUNCTION_COS] = {.onnx = "Cos"},
    [EX_FUNCTION_ELU] = {.onnx = "Elu", .a = "alpha"},
    [EX_FUNCTION_ERF] = {.onnx = "Erf"},
    [EX_FUNCTION_EXP] = {.onnx = "Exp"},
    [EX_FUNCTION_HARD_SIGMOID] = {.onnx = "HardSigmoid", .a = "alpha", .b = "beta"},
    [EX_FUNCTION_HARD_SWISH] = {.write = hard_swish},
    [EX_FUNCTION_LEAKY_RELU] = {.onnx = "LeakyRelu", .a = "alpha"},
    [EX_FUNCTION_LOG] = {.onnx = "Log"},
    [EX_FUNCTION_POWER] = {.write = power},
    [EX_FUNCTION_RECIPROCAL] = {.onnx = "Reciprocal"},
    [EX_FUNCTION_SELU] = {.onnx = "Selu", .a = "alpha", .b = "gamma"},
    [EX_FUNCTION_SIN] = {.onnx = "Sin"},
    [EX_FUNCTION_SOFTPLUS] = {.onnx = "Softplus"},
    [EX_FUNCTION_SOFTSIGN] = {.onnx = "Softsign"},
    [EX_FUNCTION_SQRT] = {.onnx = "Sqrt"},
    [EX_FUNCTION_TANH] = {.onnx = "Tanh"},
    [EX_FUNCTION_THRESHOLDED_RELU] = {.onnx = "ThresholdedRelu", .a = "alpha"},
};

static const char *write_function(const struct ex_onnx_step *step, const char *onnx) {
  (void)onnx;
  const struct ex_function *attr = step->node->attr;
  if (functions[attr->kind].write != NULL) return functions[attr->kind].write(step, attr);
  const char *name = ex__onnx_node(step->graph, functions[attr->kind].onnx, step->in[0]);
  if (functions[attr->kind].a != NULL)
    ex__onnx_set_real(step->graph, functions[attr->kind].a, attr->a);
  if (functions[attr->kind].b != NULL)
    ex__onnx_set_real(step->graph, functions[attr->kind].b, attr->b);
  return name;
}

/* ---- elements at steps ---------------------------------------------------------- */

/* Whether whole dimensions are put in another order or repeated, and nothing else;
 * order[*n]: those that are not repeated, as they lie in memory. */
static bool is_reordering(const struct ex_strided *view, int64_t count, int32_t *order,
                          int32_t *n) {
  int64_t step = 1;
  *n = 0;
  for (int32_t i = 0; i < view->n; i++) {
    if (view->step[i] == 0 || view->dim[i] == 1) continue;
    int32_t at = (*n)++;
    for (; at > 0 && view->step[order[at - 1]] < view->step[i]; at--) order[at] = order[at - 1];
    order[at] = i;
  }
  for (int32_t k = *n - 1; k >= 0; k--) {
    if (view->step[order[k]] != step) return false;
    step *= view->dim[order[k]];
  }
  return step == count;
}

/* The dimensions order[n], as they lie in memory, in the order of the view. */
static const char *reordered(ex_onnx_graph *graph, const char *value, const struct ex_strided *view,
                             const int32_t *order, int32_t n) {
  int64_t lying[EX_MAX_DIMS], perm[EX_MAX_DIMS + 1] = {0};
  bool moves = false;
  for (int32_t k = 0; k < n; k++) {
    int64_t place = 1;
    lying[k] = view->dim[order[k]];
    for (int32_t other = 0; other < n; other++) place += order[other] < order[k];
    perm[place] = k + 1;
    moves = moves || place != k + 1;
  }
  if (!moves) return value;
  const char *name = ex__onnx_node(graph, "Transpose", ex__onnx_reshaped(graph, value, lying, n));
  ex__onnx_set_ints(graph, "perm", perm, n + 1);
  return name;
}

/* Any elements, one by one. */
static const char *gathered(ex_onnx_graph *graph, const char *value, const struct ex_strided *view,
                            int64_t offset, int64_t count) {
  const int64_t n = ex__strided_count(view);
  int64_t *place, at = offset;
  struct ex_counter counter = {{0}};
  const char *places = ex__onnx_blank_integers(graph, 1, &n, &place);
  for (int64_t i = 0; place != NULL && i < n; i++) {
    place[i] = at;
    ex__count_on(&counter, view, &at);
  }
  const char *row = ex__onnx_reshaped(graph, value, &count, 1);
  const char *name = ex__onnx_node(graph, "Gather", row, places);
  ex__onnx_set_int(graph, "axis", 1);
  return name;
}

/* A value of `count` elements as the view has it, where dimensions that are repeated
 * may have size 1. */
static const char *seen_as(ex_onnx_graph *graph, const char *value, const struct ex_strided *view,
                           int64_t offset, int64_t count) {
  int32_t order[EX_MAX_DIMS], n;
  int64_t dim[EX_MAX_DIMS];
  bool reorders = is_reordering(view, count, order, &n);
  for (int32_t i = 0; i < view->n; i++) dim[i] = reorders && view->step[i] == 0 ? 1 : view->dim[i];
  value = reorders ? reordered(graph, value, view, order, n)
                   : gathered(graph, value, view, offset, count);
  return ex__onnx_reshaped(graph, value, dim, view->n);
}

static const char *write_view(const struct ex_onnx_step *step, const char *onnx) {
  (void)onnx;
  const struct ex_view *attr = step->node->attr;
  struct ex_strided view = ex__strided_of(&attr->dims, &attr->steps);
  int64_t to[EX_MAX_DIMS + 1] = {1}; /* times the batch */
  bool repeats = false;
  for (int32_t i = 0; i < view.n; i++) {
    to[i + 1] = view.dim[i];
    repeats = repeats || view.step[i] == 0;
  }
  const char *value =
      seen_as(step->graph, step->in[0], &view, attr->offset, ex__shape_count(step->in_shape[0]));
  if (repeats)
    value =
        ex__onnx_node(step->graph, "Expand", value, ex__onnx_integers(step->graph, to, view.n + 1));
  return ex__onnx_as_node(step, value);
}

/* The second operand where it is a parameter: a batch of one. */
static const char *own_operand(const struct ex_onnx_step *step, int64_t count) {
  const int64_t dim[] = {1, count};
  return ex__onnx_tensor_as(step, 0, 2, dim);
}

static const char *write_arithmetic(const struct ex_onnx_step *step, const char *onnx) {
  (void)onnx;
  static const char *const ops[] = {
      [EX_ARITHMETIC_ADD] = "Add",    [EX_ARITHMETIC_SUB] = "Sub", [EX_ARITHMETIC_MUL] = "Mul",
      [EX_ARITHMETIC_DIV] = "Div",    [EX_ARITHMETIC_MAX] = "Max", [EX_ARITHMETIC_MIN] = "Min",
      [EX_ARITHMETIC_PRELU] = "PRelu"};
  const struct ex_arithmetic *attr = step->node->attr;
  bool both = step->node->n_in > 1;
  int64_t n_first = ex__shape_count(step->in_shape[0]);
  int64_t n_second = both ? ex__shape_count(step->in_shape[1]) : attr->parameters;
  struct ex_strided first = ex__strided_of(&attr->dims, &attr->first_steps);
  struct ex_strided second = ex__strided_of(&attr->dims, &attr->second_steps);
  const char *in = both ? step->in[1] : own_operand(step, n_second);
  const char *a = seen_as(step->graph, step->in[0], &first, 0, n_first);
  const char *b = seen_as(step->graph, in, &second, 0, n_second);
  return ex__onnx_as_node(
      step, ex__onnx_node(step->graph, ops[attr->kind], attr->swap ? b : a, attr->swap ? a : b));
}

static const char *write_pad(const struct ex_onnx_step *step, const char *onnx) {
  const struct ex_pad *attr = step->node->attr;
  ex_onnx_graph *graph = step->graph;
  int32_t n = attr->dims.n;
  int64_t dim[EX_MAX_DIMS], pads[2 * (EX_MAX_DIMS + 1)] = {0};
  for (int32_t i = 0; i < n; i++) {
    dim[i] = (int64_t)attr->dims.value[i];
    pads[1 + i] = (int64_t)attr->before.value[i];
    pads[n + 2 + i] = (int64_t)attr->after.value[i];
  }
  const char *value = ex__onnx_reshaped(graph, step->in[0], dim, n);
  return ex__onnx_as_node(step, ex__onnx_node(graph, onnx, value,
                                              ex__onnx_integers(graph, pads, 2 * (n + 1)),
                                              ex__onnx_real(graph, attr->value)));
}

/* ---- groups of neighbours --------------------------------------------------------- */

static const int64_t group_axis = 2;

static const char *in_groups(const struct ex_onnx_step *step, int64_t size) {
  const int64_t dim[] = {ex__shape_count(step->in_shape[0]) / size, size};
  return ex__onnx_reshaped(step->graph, step->in[0], dim, 2);
}

static const char *mean_of_groups(const struct ex_onnx_step *step, const char *value) {
  const char *name = ex__onnx_node(step->graph, "ReduceMean", value);
  ex__onnx_set_ints(step->graph, "axes", &group_axis, 1);
  return name;
}

static const char *write_reduce(const struct ex_onnx_step *step, const char *onnx) {
  (void)onnx;
  static const char *const ops[] = {[EX_REDUCE_MEAN] = "ReduceMean",
                                    [EX_REDUCE_MAX] = "ReduceMax",
                                    [EX_REDUCE_MIN] = "ReduceMin"};
  const struct ex_reduce *attr = step->node->attr;
  const char *value = in_groups(step, attr->size);
  if (attr->kind == EX_REDUCE_SUM) {
    value = ex__onnx_node(step->graph, "ReduceSum", value,
                          ex__onnx_integers(step->graph, &group_axis, 1));
  } else {
    value = ex__onnx_node(step->graph, ops[attr->kind], value);
    ex__onnx_set_ints(step->graph, "axes", &group_axis, 1);
  }
  return ex__onnx_as_node(step, value);
}

static const char *write_standardise(const struct ex_onnx_step *step, const char *onnx) {
  (void)onnx;
  const struct ex_standardise *attr = step->node->attr;
  ex_onnx_graph *graph = step->graph;
  const char *value = in_groups(step, attr->size);
  const char *centred = ex__onnx_node(graph, "Sub", value, mean_of_groups(step, value));
  const char *variance = mean_of_groups(step, ex__onnx_node(graph, "Mul", centred, centred));
  const char *deviation = ex__onnx_node(graph, "Sqrt", of_two(step, "Add", variance, attr->eps));
  return ex__onnx_as_node(step, ex__onnx_node(graph, "Div", centred, deviation));
}

static const char *write_row_softmax(const struct ex_onnx_step *step, const char *onnx) {
  const struct ex_row_softmax *attr = step->node->attr;
  const char *value = ex__onnx_node(step->graph, onnx, in_groups(step, attr->size));
  ex__onnx_set_int(step->graph, "axis", group_axis);
  return ex__onnx_as_node(step, value);
}

/* ---- products and windows ----------------------------------------------------------- */

static const char *write_matmul(const struct ex_onnx_step *step, const char *onnx) {
  const struct ex_matmul *attr = step->node->attr;
  const int64_t first[] = {attr->count, attr->rows, attr->depth};
  const int64_t second[] = {attr->shared ? 1 : attr->count, attr->depth, attr->columns};
  const char *a = ex__onnx_reshaped(step->graph, step->in[0], first, 3);
  const char *b = step->node->n_in > 1 ? ex__onnx_reshaped(step->graph, step->in[1], second, 3)
                                       : ex__onnx_tensor_as(step, 0, 3, second);
  return ex__onnx_as_node(step, ex__onnx_node(step->graph, onnx, a, b));
}

static const char *write_window_pool(const struct ex_onnx_step *step, const char *onnx) {
  (void)onnx;
  const struct ex_window_pool *attr = step->node->attr;
  const int64_t pads[] = {attr->top, attr->left, attr->bottom, attr->right};
  const char *name = ex__onnx_node(step->graph, attr->max ? "MaxPool" : "AveragePool", step->in[0]);
  set_pair(step, "kernel_shape", attr->kernel_h, attr->kernel_w);
  set_pair(step, "strides", attr->stride_h, attr->stride_w);
  ex__onnx_set_ints(step->graph, "pads", pads, 4);
  if (attr->max)
    set_pair(step, "dilations", attr->dilation_h, attr->dilation_w);
  else
    ex__onnx_set_int(step->graph, "count_include_pad", attr->count_include_pad != 0);
  return name;
}

static const char *refuses_window_pool(const struct ex_onnx_step *step) {
  const struct ex_window_pool *attr = step->node->attr;
  bool dilated = attr->dilation_h != 1 || attr->dilation_w != 1;
  return !attr->max && dilated ? "a mean over dilated windows" : NULL;
}

/* ---- what gates read ------------------------------------------------------------------ */

static const char *write_confidence(const struct ex_onnx_step *step, const char *onnx) {
  ex_onnx_graph *graph = step->graph;
  const char *x = step->in[0];
  const char *figures[] = {ex__onnx_confidence(graph, x), ex__onnx_entropy(graph, x),
                           ex__onnx_margin(graph, step->in_shape[0]->dim[0], x),
                           ex__onnx_entropy(graph, of_two(step, "Mul", x, 2))};
  for (int32_t i = 0; i < 4; i++) figures[i] = ex__onnx_column(graph, figures[i]);
  const char *name = ex__onnx_node_list(graph, onnx, figures, 4);
  ex__onnx_set_int(graph, "axis", 1);
  return name;
}

const struct ex_onnx_lowering ex__onnx_lower_rows[] = {
    {"function", NULL, write_function, NULL},
    {"arithmetic", NULL, write_arithmetic, NULL},
    {"view", NULL, write_view, NULL},
    {"pad", "Pad", write_pad, NULL},
    {"reduce", NULL, write_reduce, NULL},
    {"matmul", "MatMul", write_matmul, NULL},
    {"standardise", NULL, write_standardise, NULL},
    {"row_softmax", "Softmax", write_row_softmax, NULL},
    {"window_pool", NULL, write_window_pool, refuses_window_pool},
    {"confidence", "Concat", write_confidence, NULL},
    {.name = NULL},
};
