/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_ops_shape: operators that keep the elements and their order, or
 * make elements from shapes and attributes alone.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "onnx/onnx_eval.h"

static int64_t clamp(int64_t x, int64_t low, int64_t high) {
  return x < low ? low : x > high ? high : x;
}

/* The shape of a tensor is known even where its numbers are not. */
static enum ex_status shape(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  int64_t rank = in->rank, start = ex__onnx_int(call, "start", 0);
  int64_t end = ex__onnx_int(call, "end", rank);
  start = clamp(start < 0 ? start + rank : start, 0, rank);
  end = clamp(end < 0 ? end + rank : end, start, rank);
  int64_t n = end - start;
  bool numbers;
  call->unknown = call->depends = false;
  EX_TRY(ex__onnx_out(call, 0, ONNX(INT64), 1, &n, &numbers));
  for (int64_t i = 0; i < n; i++) call->out[0].whole[i] = in->dim[start + i];
  return EX_OK;
}

static enum ex_status size(struct ex_onnx_call *call) {
  bool numbers;
  call->unknown = call->depends = false;
  EX_TRY(ex__onnx_out(call, 0, ONNX(INT64), 0, NULL, &numbers));
  call->out[0].whole[0] = call->in[0]->count;
  return EX_OK;
}

/* The elements of input 0 under another shape. */
static enum ex_status same_elements(struct ex_onnx_call *call, int32_t rank, const int64_t *dim) {
  const struct ex_onnx_tensor *in = call->in[0];
  char from[128], to[128];
  bool numbers;
  EX_TRY(ex__onnx_out(call, 0, in->type, rank, dim, &numbers));
  if (call->out[0].count != in->count)
    return onnx_fail(call, EX_ESHAPE, "%s cannot become %s", ex__onnx_shape_text(in, from),
                     ex__onnx_shape_text(&call->out[0], to));
  for (int64_t i = 0; numbers && i < in->count; i++) ex__onnx_copy(&call->out[0], i, in, i);
  return EX_OK;
}

/* One dimension may be −1: what is left. */
static enum ex_status fill_gap(struct ex_onnx_call *call, int64_t rank, int64_t *dim) {
  int64_t product = 1, gap = -1;
  for (int64_t i = 0; i < rank; i++) {
    if (dim[i] == -1 && gap < 0)
      gap = i;
    else if (dim[i] < 0 || dim[i] > EX_ONNX_MAX_COUNT || product > EX_ONNX_MAX_COUNT)
      return onnx_fail(call, EX_ESHAPE, "dimension %" PRId64 " of its shape is %" PRId64, i,
                       dim[i]);
    else
      product *= dim[i];
  }
  if (gap < 0) return EX_OK;
  if (product == 0 || call->in[0]->count % product != 0)
    return onnx_fail(call, EX_ESHAPE, "%" PRId64 " elements do not divide by %" PRId64,
                     call->in[0]->count, product);
  dim[gap] = call->in[0]->count / product;
  return EX_OK;
}

static enum ex_status reshape(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  const int64_t *list = NULL;
  int64_t n = -1, dim[EX_ONNX_MAX_RANK];
  if (ex__onnx_has(call, 1)) {
    EX_TRY(ex__onnx_list(call, 1, &list, &n));
  } else {
    int32_t count;
    list = ex__onnx_ints(call, "shape", &count);
    n = count;
  }
  if (n < 0) return onnx_fail(call, EX_EFORMAT, "it is not told a shape");
  EX_TRY(ex__onnx_check_list(call, "shape", n));
  bool keeps_zero = ex__onnx_int(call, "allowzero", 0) != 0;
  for (int64_t i = 0; i < n; i++) {
    bool copies = list[i] == 0 && !keeps_zero;
    if (copies && i >= in->rank)
      return onnx_fail(call, EX_ESHAPE, "its shape copies dimension %" PRId64 " of %d", i,
                       (int)in->rank);
    dim[i] = copies ? in->dim[i] : list[i];
  }
  bool fixed = call->declared_batch > 0 && n > 1 && in->depends && in->rank > 0;
  if (fixed && dim[0] == call->declared_batch && in->dim[0] == call->batch) dim[0] = call->batch;
  EX_TRY(fill_gap(call, n, dim));
  return same_elements(call, (int32_t)n, dim);
}

static enum ex_status flatten(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  int64_t axis = ex__onnx_int(call, "axis", 1);
  if (axis < -in->rank || axis > in->rank)
    return onnx_fail(call, EX_EFORMAT, "axis %" PRId64 " of %d dimensions", axis, (int)in->rank);
  int32_t at = (int32_t)(axis < 0 ? axis + in->rank : axis);
  int64_t dim[2] = {ex__onnx_product(in->dim, 0, at), ex__onnx_product(in->dim, at, in->rank)};
  return same_elements(call, 2, dim);
}

/* The axes of Squeeze and Unsqueeze: an attribute before opset 13, then an input. */
static enum ex_status axes_of(struct ex_onnx_call *call, int32_t rank, bool *named, bool *given) {
  const int64_t *list = NULL;
  int64_t n = 0;
  int32_t count;
  *given = true;
  if (ex__onnx_has(call, 1)) {
    EX_TRY(ex__onnx_list(call, 1, &list, &n));
  } else {
    list = ex__onnx_ints(call, "axes", &count);
    *given = count >= 0;
    n = count;
  }
  for (int64_t i = 0; i < n; i++) {
    int32_t axis;
    EX_TRY(ex__onnx_axis(call, list[i], rank, &axis));
    if (named[axis]) return onnx_fail(call, EX_EFORMAT, "axis %d is named twice", (int)axis);
    named[axis] = true;
  }
  return EX_OK;
}

static enum ex_status squeeze(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  bool named[EX_ONNX_MAX_RANK] = {false}, given;
  int64_t dim[EX_ONNX_MAX_RANK];
  int32_t rank = 0;
  EX_TRY(axes_of(call, in->rank, named, &given));
  for (int32_t i = 0; i < in->rank; i++)
    if (given ? !named[i] : in->dim[i] != 1) dim[rank++] = in->dim[i];
  return same_elements(call, rank, dim);
}

static enum ex_status unsqueeze(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  bool named[EX_ONNX_MAX_RANK] = {false}, given;
  int64_t n = 0, dim[EX_ONNX_MAX_RANK];
  if (ex__onnx_has(call, 1)) {
    n = call->in[1]->count;
  } else {
    int32_t count;
    (void)ex__onnx_ints(call, "axes", &count);
    n = count > 0 ? count : 0;
  }
  if (n + in->rank > EX_ONNX_MAX_RANK)
    return onnx_fail(call, EX_EUNSUPPORTED, "%" PRId64 " dimensions; must be at most %d",
                     n + in->rank, EX_ONNX_MAX_RANK);
  int32_t rank = (int32_t)n + in->rank;
  EX_TRY(axes_of(call, rank, named, &given));
  for (int32_t i = 0, k = 0; i < rank; i++) dim[i] = named[i] ? 1 : in->dim[k++];
  return same_elements(call, rank, dim);
}

/* ---- made from nothing -------------------------------------------------------------- */

static enum ex_status constant_list(struct ex_onnx_call *call, const Onnx__AttributeProto *a) {
  bool numbers, scalar = a->has_i || a->has_f;
  bool real = a->has_f || a->n_floats > 0;
  int64_t n = (int64_t)(a->n_floats > 0 ? a->n_floats : a->n_ints);
  EX_TRY(ex__onnx_out(call, 0, real ? ONNX(FLOAT) : ONNX(INT64), scalar ? 0 : 1, &n, &numbers));
  struct ex_onnx_tensor *out = &call->out[0];
  for (int64_t i = 0; i < out->count; i++)
    if (real)
      out->real[i] = (double)(scalar ? a->f : a->floats[i]);
    else
      out->whole[i] = scalar ? a->i : a->ints[i];
  return EX_OK;
}

static enum ex_status constant(struct ex_onnx_call *call) {
  static const char *const names[] = {"value_float", "value_floats", "value_int", "value_ints"};
  const Onnx__AttributeProto *attribute = ex__onnx_attribute(call->node, "value");
  if (attribute != NULL && attribute->t != NULL)
    return ex__onnx_tensor_from(attribute->t, &call->out[0], call->err);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    attribute = ex__onnx_attribute(call->node, names[i]);
    if (attribute != NULL) return constant_list(call, attribute);
  }
  return onnx_fail(call, EX_EUNSUPPORTED, "its value must be a tensor, or numbers");
}

static enum ex_status constant_of_shape(struct ex_onnx_call *call) {
  const int64_t *list;
  int64_t n, budget = 16;
  bool numbers;
  struct ex_onnx_tensor value = {.type = ONNX(FLOAT)};
  EX_TRY(ex__onnx_list(call, 0, &list, &n));
  EX_TRY(ex__onnx_check_list(call, "shape", n));
  const Onnx__AttributeProto *attribute = ex__onnx_attribute(call->node, "value");
  if (attribute != NULL && attribute->t != NULL) {
    EX_TRY(ex__onnx_tensor_from(attribute->t, &value, call->err));
    if (value.count != 1) return onnx_fail(call, EX_EFORMAT, "its value must be a single number");
    EX_TRY(ex__onnx_tensor_load(&value, &budget, call->err));
  }
  enum ex_status status = ex__onnx_out(call, 0, value.type, (int32_t)n, list, &numbers);
  for (int64_t i = 0; status == EX_OK && attribute != NULL && i < call->out[0].count; i++)
    ex__onnx_copy(&call->out[0], i, &value, 0);
  ex__onnx_tensor_clear(&value);
  return status;
}

static enum ex_status range(struct ex_onnx_call *call) {
  bool numbers;
  for (int32_t k = 0; k < 3; k++) {
    if (call->in[k]->unknown || call->in[k]->count != 1 || call->in[k]->type != call->in[0]->type)
      return onnx_fail(call, EX_EUNSUPPORTED, "its inputs must be single constants of one type");
    EX_TRY(ex__onnx_eval_load(call->eval, call->in[k], call->err));
  }
  double start = ex__onnx_at(call->in[0], 0), delta = ex__onnx_at(call->in[2], 0);
  double count = ceil((ex__onnx_at(call->in[1], 0) - start) / delta);
  if (!(count < EX_ONNX_MAX_COUNT)) return onnx_fail(call, EX_ESHAPE, "%g elements", count);
  int64_t n = count > 0 ? (int64_t)count : 0;
  EX_TRY(ex__onnx_out(call, 0, call->in[0]->type, 1, &n, &numbers));
  for (int64_t i = 0; i < n; i++)
    if (call->out[0].real != NULL)
      call->out[0].real[i] = start + (double)i * delta;
    else
      call->out[0].whole[i] = (int64_t)((uint64_t)call->in[0]->whole[0] +
                                        (uint64_t)i * (uint64_t)call->in[2]->whole[0]);
  return EX_OK;
}

static enum ex_status eye_like(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  int64_t diagonal = ex__onnx_int(call, "k", 0), type = ex__onnx_int(call, "dtype", in->type);
  bool numbers;
  if (in->rank != 2) return onnx_fail(call, EX_ESHAPE, "its input must be a matrix");
  call->unknown = call->depends = false;
  EX_TRY(ex__onnx_out(call, 0, type > 0 && type < 100 ? (int32_t)type : 0, 2, in->dim, &numbers));
  for (int64_t row = 0; row < in->dim[0]; row++) {
    if (diagonal < -row || diagonal >= in->dim[1] - row) continue;
    int64_t at = row * in->dim[1] + row + diagonal;
    if (call->out[0].real != NULL)
      call->out[0].real[at] = 1;
    else
      call->out[0].whole[at] = 1;
  }
  return EX_OK;
}

/* ---- the branch that a constant chooses ------------------------------------------------- */

static enum ex_status branch(struct ex_onnx_call *call) {
  const int64_t *condition;
  int64_t n;
  EX_TRY(ex__onnx_list(call, 0, &condition, &n));
  if (n != 1) return onnx_fail(call, EX_ESHAPE, "its condition must be a single truth value");
  const char *name = condition[0] != 0 ? "then_branch" : "else_branch";
  const Onnx__AttributeProto *attribute = ex__onnx_attribute(call->node, name);
  if (attribute == NULL || attribute->g == NULL)
    return onnx_fail(call, EX_EFORMAT, "it has no %s", name);
  return ex__onnx_eval_inner(call->eval, attribute->g, call->out, call->n_out, call->err);
}

extern const struct ex_onnx_op ex__onnx_ops_shape[];
const struct ex_onnx_op ex__onnx_ops_shape[] = {
    {"Shape", 1, 1, 1, shape},
    {"Size", 1, 1, 1, size},
    {"Reshape", 1, 2, 1, reshape},
    {"Flatten", 1, 1, 1, flatten},
    {"Squeeze", 1, 2, 1, squeeze},
    {"Unsqueeze", 1, 2, 1, unsqueeze},
    {"Constant", 0, 0, 1, constant},
    {"ConstantOfShape", 1, 1, 1, constant_of_shape},
    {"Range", 3, 3, 1, range},
    {"EyeLike", 1, 1, 1, eye_like},
    {"If", 1, 1, EX_ONNX_MAX_OUT, branch},
    {NULL, 0, 0, 0, NULL},
};
