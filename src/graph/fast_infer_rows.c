/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_infer_rows: steps that see a sample as rows of numbers: what
 * encoders are made of beside their products (fast_infer_matmul.c) and what
 * moves numbers about (fast_infer_strided.c).
 */
#include <string.h>

#include "graph/fast_infer.h"
#include "graph/shape.h"

static bool is_op(const struct ex_node *node, const char *name) {
  return strcmp(node->op->name, name) == 0;
}

/* ---- standardised rows ------------------------------------------------------------- */

static int64_t n_rows_of(const struct fast *fast, const struct fast_step *step, int32_t size) {
  return ex__shape_count(&fast->values[step->in[0]].shape) / size;
}

bool ex__fast_is_by_column(const struct ex_node *next, int32_t kind, const struct ex_shape *in,
                           int32_t n) {
  if (!is_op(next, "arithmetic") || next->n_in != 1) return false;
  const struct ex_arithmetic *attr = next->attr;
  if (attr->kind != kind || attr->parameters != n) return false;
  int64_t own = 1, first = 1;
  for (int32_t i = attr->dims.n - 1; i >= 0; i--) {
    int64_t dim = (int64_t)attr->dims.value[i];
    if (dim == 1) continue;
    if ((int64_t)attr->first_steps.value[i] != first) return false;
    if ((int64_t)attr->second_steps.value[i] != (own < n ? own : 0)) return false;
    first *= dim;
    own *= dim;
  }
  return own == ex__shape_count(in) && own % n == 0;
}

/* Scale and shift of a layer normalisation. */
static bool standardise_absorbs(const struct fast *fast, struct fast_step *step,
                                const struct ex_node *next, int32_t id) {
  const struct ex_standardise *attr = step->node->attr;
  const struct ex_shape *shape = &step->node->shape;
  if (step->shift != NULL || !ex__fast_is_plain(fast, id)) return false;
  if (step->factor == NULL && ex__fast_is_by_column(next, EX_ARITHMETIC_MUL, shape, attr->size)) {
    step->factor = next;
    return true;
  }
  if (!ex__fast_is_by_column(next, EX_ARITHMETIC_ADD, shape, attr->size)) return false;
  step->shift = next;
  return true;
}

static enum ex_status make_standardise(struct fast *fast, struct fast_step *step,
                                       struct ex_error *err) {
  const struct ex_standardise *attr = step->node->attr;
  (void)fast;
  return ex__fast_make_weights(step, step->factor != NULL ? attr->size : 0,
                               step->shift != NULL ? attr->size : 0, err);
}

static void pack_standardise(const struct fast *fast, struct fast_step *step) {
  if (step->factor != NULL)
    memcpy(step->weights, ex__fast_tensor(fast, step->factor, 0),
           (size_t)step->n_weights * sizeof(float));
  if (step->shift != NULL)
    memcpy(step->bias, ex__fast_tensor(fast, step->shift, 0), (size_t)step->n_bias * sizeof(float));
}

static void run_standardise(const struct fast *fast, const struct fast_step *step,
                            const struct fast_run *run) {
  const struct ex_standardise *attr = step->node->attr;
  for (int32_t b = 0; b < fast->batch; b++)
    fast->kernels->standardise(
        ex__fast_at(run, &step->in_place[0], b), n_rows_of(fast, step, attr->size), attr->size,
        (float)attr->eps, step->factor != NULL ? step->weights : NULL,
        step->shift != NULL ? step->bias : NULL, ex__fast_at(run, &step->out_place, b));
}

const struct fast_kind ex__fast_standardise = {.name = "rows",
                                               .make = make_standardise,
                                               .run = run_standardise,
                                               .pack = pack_standardise,
                                               .writes_parts = true,
                                               .absorbs = standardise_absorbs};

/* ---- sums and softmax of rows --------------------------------------------------------- */

static void run_sums(const struct fast *fast, const struct fast_step *step,
                     const struct fast_run *run) {
  const struct ex_reduce *attr = step->node->attr;
  float divisor = attr->kind == EX_REDUCE_MEAN ? (float)attr->size : 1;
  for (int32_t b = 0; b < fast->batch; b++)
    fast->kernels->row_sums(ex__fast_at(run, &step->in_place[0], b),
                            n_rows_of(fast, step, attr->size), attr->size, divisor,
                            ex__fast_at(run, &step->out_place, b));
}

const struct fast_kind ex__fast_sums = {.name = "rows", .run = run_sums, .writes_parts = true};

static void run_softmax(const struct fast *fast, const struct fast_step *step,
                        const struct fast_run *run) {
  const struct ex_row_softmax *attr = step->node->attr;
  for (int32_t b = 0; b < fast->batch; b++)
    fast->kernels->softmax_rows(ex__fast_at(run, &step->in_place[0], b),
                                n_rows_of(fast, step, attr->size), attr->size,
                                ex__fast_at(run, &step->out_place, b));
}

const struct fast_kind ex__fast_softmax_rows = {
    .name = "rows", .run = run_softmax, .writes_parts = true};

/* ---- functions with loops of their own ---------------------------------------------------- */

static enum ex_curve curve_of(const struct ex_node *node) {
  if (is_op(node, "gelu")) return EX_CURVE_GELU;
  if (!is_op(node, "function")) return EX_CURVE_NONE;
  switch (((const struct ex_function *)node->attr)->kind) {
    case EX_FUNCTION_EXP: return EX_CURVE_EXP;
    case EX_FUNCTION_ERF: return EX_CURVE_ERF;
    case EX_FUNCTION_TANH: return EX_CURVE_TANH;
    default: return EX_CURVE_NONE;
  }
}

/* Values of one layout; a part of a wider buffer goes pixel by pixel. */
static void run_curve(const struct fast *fast, const struct fast_step *step,
                      const struct fast_run *run) {
  const struct fast_value *out = &fast->values[step->out];
  bool nhwc = ex__fast_is_nhwc(out);
  int64_t n = ex__shape_count(&out->shape), n_rows = nhwc ? ex__shape_plane(&out->shape) : 1;
  int64_t in_step = step->in_place[0].pixel_step, out_step = step->out_place.pixel_step;
  if (in_step == n / n_rows && out_step == n / n_rows) n_rows = 1;
  for (int32_t b = 0; b < fast->batch; b++) {
    const float *in = ex__fast_at(run, &step->in_place[0], b);
    float *to = ex__fast_at(run, &step->out_place, b);
    for (int64_t r = 0; r < n_rows; r++)
      fast->kernels->curve(step->curve, in + r * in_step, to + r * out_step, n / n_rows);
  }
}

const struct fast_kind ex__fast_curve = {
    .name = "function", .run = run_curve, .writes_parts = true};

/* ---- choosing --------------------------------------------------------------------------------- */

static bool all_plain(const struct fast *fast, const struct fast_step *step) {
  bool nhwc = ex__fast_is_nhwc(&fast->values[step->out]);
  for (int32_t k = 0; k < step->n_in; k++)
    nhwc = nhwc || ex__fast_is_nhwc(&fast->values[step->in[k]]);
  return !nhwc;
}

bool ex__fast_choose_rows(const struct fast *fast, struct fast_step *step) {
  const struct ex_node *node = step->node;
  const struct fast_kind *kind = NULL;
  const struct ex_reduce *reduce = node->attr;
  bool plain = all_plain(fast, step);
  step->curve = curve_of(node);
  if (plain && is_op(node, "matmul")) kind = &ex__fast_matmul;
  if (plain && is_op(node, "standardise")) kind = &ex__fast_standardise;
  if (plain && is_op(node, "row_softmax")) kind = &ex__fast_softmax_rows;
  if (plain && is_op(node, "reduce") &&
      (reduce->kind == EX_REDUCE_SUM || reduce->kind == EX_REDUCE_MEAN))
    kind = &ex__fast_sums;
  if (step->curve != EX_CURVE_NONE && (plain || ex__fast_is_nhwc(&fast->values[step->in[0]]) ==
                                                    ex__fast_is_nhwc(&fast->values[step->out])))
    kind = &ex__fast_curve;
  if (is_op(node, "view") && ex__fast_strides_can(fast, step)) kind = &ex__fast_view;
  if (is_op(node, "arithmetic") && ex__fast_strides_can(fast, step)) kind = &ex__fast_arithmetic;
  if (kind != NULL) step->kind = kind;
  return kind != NULL;
}
