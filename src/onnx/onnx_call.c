/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_call: what operators ask of their call, and the list of operators.
 */
#include <inttypes.h>
#include <string.h>

#include "onnx/onnx_eval.h"

#define ONNX_OPS(name) extern const struct ex_onnx_op ex__onnx_ops_##name[];
#include "onnx/onnx_ops.def"
#undef ONNX_OPS

static const struct ex_onnx_op *const families[] = {
#define ONNX_OPS(name) ex__onnx_ops_##name,
#include "onnx/onnx_ops.def"
#undef ONNX_OPS
};

const struct ex_onnx_op *ex__onnx_op_find(const char *name) {
  for (size_t f = 0; f < sizeof families / sizeof *families; f++)
    for (const struct ex_onnx_op *op = families[f]; op->name != NULL; op++)
      if (strcmp(op->name, name) == 0) return op;
  return NULL;
}

/* ---- attributes ---------------------------------------------------------------- */

const Onnx__AttributeProto *ex__onnx_attribute(const Onnx__NodeProto *node, const char *name) {
  for (size_t i = 0; i < node->n_attribute; i++)
    if (node->attribute[i]->name != NULL && strcmp(node->attribute[i]->name, name) == 0)
      return node->attribute[i];
  return NULL;
}

static void wrong_type(struct ex_onnx_call *call, const char *name, const char *wanted) {
  if (call->status == EX_OK)
    call->status = onnx_fail(call, EX_EFORMAT, "attribute %s: must be %s", name, wanted);
}

int64_t ex__onnx_int(struct ex_onnx_call *call, const char *name, int64_t fallback) {
  const Onnx__AttributeProto *attribute = ex__onnx_attribute(call->node, name);
  if (attribute == NULL) return fallback;
  if (!attribute->has_i) wrong_type(call, name, "an integer");
  return attribute->has_i ? attribute->i : fallback;
}

double ex__onnx_float(struct ex_onnx_call *call, const char *name, double fallback) {
  const Onnx__AttributeProto *attribute = ex__onnx_attribute(call->node, name);
  if (attribute == NULL) return fallback;
  if (!attribute->has_f) wrong_type(call, name, "a float");
  return attribute->has_f ? (double)attribute->f : fallback;
}

const char *ex__onnx_string(struct ex_onnx_call *call, const char *name, const char *fallback,
                            char text[32]) {
  const Onnx__AttributeProto *attribute = ex__onnx_attribute(call->node, name);
  if (attribute == NULL) return fallback;
  if (!attribute->has_s || attribute->s.len > 31) {
    wrong_type(call, name, "a short text");
    return fallback;
  }
  memset(text, 0, 32);
  if (attribute->s.len > 0) memcpy(text, attribute->s.data, attribute->s.len);
  return text;
}

const int64_t *ex__onnx_ints(struct ex_onnx_call *call, const char *name, int32_t *n) {
  const Onnx__AttributeProto *attribute = ex__onnx_attribute(call->node, name);
  *n = -1;
  if (attribute == NULL) return NULL;
  if (attribute->n_ints > 4096) {
    wrong_type(call, name, "at most 4096 integers");
    return NULL;
  }
  static const int64_t none[1];
  *n = (int32_t)attribute->n_ints;
  return *n > 0 ? attribute->ints : none;
}

/* ---- inputs and outputs ----------------------------------------------------------- */

enum ex_status ex__onnx_out(struct ex_onnx_call *call, int32_t k, int32_t type, int32_t rank,
                            const int64_t *dim, bool *numbers) {
  struct ex_onnx_tensor *out = &call->out[k];
  *numbers = false;
  EX_TRY(call->status);
  EX_TRY(ex__onnx_tensor_shape(out, type, rank, dim, call->err));
  out->unknown = call->unknown;
  if (call->unknown) return EX_OK;
  EX_TRY(ex__onnx_tensor_alloc(out, &call->limits->elements, call->err));
  *numbers = true;
  return EX_OK;
}

enum ex_status ex__onnx_out_like(struct ex_onnx_call *call, int32_t k, bool *numbers) {
  const struct ex_onnx_tensor *in = call->in[0];
  return ex__onnx_out(call, k, in->type, in->rank, in->dim, numbers);
}

enum ex_status ex__onnx_list(struct ex_onnx_call *call, int32_t k, const int64_t **list,
                             int64_t *n) {
  struct ex_onnx_tensor *in = call->in[k];
  if (in == NULL) return onnx_fail(call, EX_EFORMAT, "input %d is left out; must be given", (int)k);
  if (in->unknown)
    return onnx_fail(call, EX_EUNSUPPORTED,
                     "the shape of its output depends on the numbers of the model's input");
  EX_TRY(ex__onnx_want_whole(call, k));
  EX_TRY(ex__onnx_eval_load(call->eval, in, call->err));
  *list = in->whole;
  *n = in->count;
  return EX_OK;
}

enum ex_status ex__onnx_check_list(struct ex_onnx_call *call, const char *what, int64_t n) {
  if (n <= EX_ONNX_MAX_RANK) return EX_OK;
  return onnx_fail(call, EX_EUNSUPPORTED, "%" PRId64 " numbers in its %s; must be at most %d", n,
                   what, EX_ONNX_MAX_RANK);
}

enum ex_status ex__onnx_axis(struct ex_onnx_call *call, int64_t axis, int32_t rank, int32_t *out) {
  if (axis < -rank || axis >= rank)
    return onnx_fail(call, EX_EFORMAT, "axis %" PRId64 " of %d; must be in [%d, %d]", axis,
                     (int)rank, -(int)rank, (int)rank - 1);
  *out = (int32_t)(axis < 0 ? axis + rank : axis);
  return EX_OK;
}

enum ex_status ex__onnx_spend(struct ex_onnx_call *call, double work) {
  if (!(work <= (double)call->limits->work))
    return onnx_fail(call, EX_ENOMEM, "%.3g multiply-adds are more than may be computed", work);
  call->limits->work -= (int64_t)work;
  return EX_OK;
}

enum ex_status ex__onnx_want_real(struct ex_onnx_call *call, int32_t k) {
  if (ex__onnx_is_real(call->in[k]->type)) return EX_OK;
  return onnx_fail(call, EX_EUNSUPPORTED, "input %d is %s; must be of floating numbers", (int)k,
                   ex__onnx_type_name(call->in[k]->type));
}

enum ex_status ex__onnx_want_whole(struct ex_onnx_call *call, int32_t k) {
  if (!ex__onnx_is_real(call->in[k]->type)) return EX_OK;
  return onnx_fail(call, EX_EUNSUPPORTED, "input %d is %s; must be of integers", (int)k,
                   ex__onnx_type_name(call->in[k]->type));
}
