/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_tensor: types, shapes, and tensors of a file.
 */
#include "onnx/onnx_tensor.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

#define T(name) ONNX__TENSOR_PROTO__DATA_TYPE__##name

static const struct type {
  int32_t type, bytes;
  bool real;
  const char *name;
} types[] = {
    {T(FLOAT), 4, true, "float32"},     {T(UINT8), 1, false, "uint8"},
    {T(INT8), 1, false, "int8"},        {T(UINT16), 2, false, "uint16"},
    {T(INT16), 2, false, "int16"},      {T(INT32), 4, false, "int32"},
    {T(INT64), 8, false, "int64"},      {T(BOOL), 1, false, "bool"},
    {T(FLOAT16), 2, true, "float16"},   {T(DOUBLE), 8, true, "float64"},
    {T(UINT32), 4, false, "uint32"},    {T(UINT64), 8, false, "uint64"},
    {T(BFLOAT16), 2, true, "bfloat16"},
};

static const struct type *find_type(int32_t type) {
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (types[i].type == type) return &types[i];
  return NULL;
}

bool ex__onnx_is_real(int32_t type) {
  const struct type *found = find_type(type);
  return found != NULL && found->real;
}

const char *ex__onnx_type_name(int32_t type) {
  const struct type *found = find_type(type);
  if (type == T(STRING)) return "string";
  return found != NULL ? found->name : "?";
}

const char *ex__onnx_shape_text(const struct ex_onnx_tensor *tensor, char text[128]) {
  int at = snprintf(text, 128, "[");
  for (int32_t i = 0; i < tensor->rank && at < 100; i++)
    at += snprintf(text + at, (size_t)(128 - at), "%s%" PRId64, i > 0 ? ", " : "", tensor->dim[i]);
  snprintf(text + at, (size_t)(128 - at), "]");
  return text;
}

enum ex_status ex__onnx_tensor_shape(struct ex_onnx_tensor *tensor, int32_t type, int32_t rank,
                                     const int64_t *dim, struct ex_error *err) {
  *tensor = (struct ex_onnx_tensor){.type = type, .rank = rank, .count = 1};
  if (find_type(type) == NULL)
    return ex__fail(err, EX_EUNSUPPORTED, "type %d (%s); must be one of numbers or bool", (int)type,
                    ex__onnx_type_name(type));
  if (rank < 0 || rank > EX_ONNX_MAX_RANK)
    return ex__fail(err, EX_EUNSUPPORTED, "%d dimensions; must be at most %d", (int)rank,
                    EX_ONNX_MAX_RANK);
  bool empty = false;
  for (int32_t i = 0; i < rank; i++) {
    tensor->dim[i] = dim[i];
    if (dim[i] < 0)
      return ex__fail(err, EX_ESHAPE, "dimension %d is %" PRId64 "; must be at least 0", (int)i,
                      dim[i]);
    if (dim[i] > EX_ONNX_MAX_COUNT || tensor->count > EX_ONNX_MAX_COUNT)
      return ex__fail(err, EX_ESHAPE, "more than %d elements", EX_ONNX_MAX_COUNT);
    empty = empty || dim[i] == 0;
    tensor->count *= dim[i] > 0 ? dim[i] : 1; /* below 2^57 */
  }
  if (tensor->count > EX_ONNX_MAX_COUNT)
    return ex__fail(err, EX_ESHAPE, "more than %d elements", EX_ONNX_MAX_COUNT);
  if (empty) tensor->count = 0;
  return EX_OK;
}

enum ex_status ex__onnx_tensor_alloc(struct ex_onnx_tensor *tensor, int64_t *budget,
                                     struct ex_error *err) {
  if (tensor->count > *budget)
    return ex__fail(err, EX_ENOMEM, "%" PRId64 " elements exceed what may be computed",
                    tensor->count);
  *budget -= tensor->count;
  size_t n = tensor->count > 0 ? (size_t)tensor->count : 1;
  bool real = ex__onnx_is_real(tensor->type);
  if (real)
    tensor->real = ex__calloc(n, sizeof *tensor->real);
  else
    tensor->whole = ex__calloc(n, sizeof *tensor->whole);
  if (real ? tensor->real != NULL : tensor->whole != NULL) return EX_OK;
  return ex__fail(err, EX_ENOMEM, "no memory for %zu elements", n);
}

void ex__onnx_tensor_clear(struct ex_onnx_tensor *tensor) {
  ex__free(tensor->real);
  ex__free(tensor->whole);
  *tensor = (struct ex_onnx_tensor){.rank = 0};
}

/* ---- small floating types ------------------------------------------------------- */

static double half_value(uint16_t bits) {
  int exponent = bits >> 10 & 31, fraction = bits & 1023;
  double value = exponent == 0    ? ldexp(fraction, -24)
                 : exponent == 31 ? (fraction != 0 ? NAN : INFINITY)
                                  : ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 != 0 ? -value : value;
}

double ex__onnx_round_half(double x) {
  if (!isfinite(x) || x == 0) return x;
  int exponent;
  (void)frexp(x, &exponent); /* |x| in [2^(exponent − 1), 2^exponent) */
  int unit = exponent - 11 > -24 ? exponent - 11 : -24;
  double rounded = ldexp(nearbyint(ldexp(x, -unit)), unit);
  return fabs(rounded) > 65504 ? copysign(INFINITY, x) : rounded;
}

static float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static double round_brain(double x) {
  float value = (float)x;
  uint32_t bits;
  if (!isfinite(value)) return (double)value;
  memcpy(&bits, &value, sizeof bits);
  bits += 0x7fff + (bits >> 16 & 1);
  return (double)float_of(bits & 0xffff0000U);
}

static int64_t wrap(int32_t type, int64_t x) {
  switch (type) {
    case T(UINT8): return (uint8_t)x;
    case T(INT8): return (int8_t)x;
    case T(UINT16): return (uint16_t)x;
    case T(INT16): return (int16_t)x;
    case T(UINT32): return (uint32_t)x;
    case T(INT32): return (int32_t)x;
    case T(BOOL): return x != 0;
    default: return x;
  }
}

void ex__onnx_tensor_settle(struct ex_onnx_tensor *tensor) {
  double *real = tensor->real;
  int64_t *whole = tensor->whole, n = tensor->count;
  if (real != NULL && tensor->type == T(FLOAT))
    for (int64_t i = 0; i < n; i++) real[i] = (double)(float)real[i];
  if (real != NULL && tensor->type == T(FLOAT16))
    for (int64_t i = 0; i < n; i++) real[i] = ex__onnx_round_half(real[i]);
  if (real != NULL && tensor->type == T(BFLOAT16))
    for (int64_t i = 0; i < n; i++) real[i] = round_brain(real[i]);
  if (whole != NULL)
    for (int64_t i = 0; i < n; i++) whole[i] = wrap(tensor->type, whole[i]);
}

/* ---- tensors of a file ------------------------------------------------------------ */

/* How many numbers the typed field holds that belongs to this type. */
static size_t typed_count(const Onnx__TensorProto *proto) {
  switch (proto->data_type) {
    case T(FLOAT): return proto->n_float_data;
    case T(DOUBLE): return proto->n_double_data;
    case T(INT64): return proto->n_int64_data;
    case T(UINT32):
    case T(UINT64): return proto->n_uint64_data;
    default: return proto->n_int32_data;
  }
}

enum ex_status ex__onnx_tensor_from(const Onnx__TensorProto *proto, struct ex_onnx_tensor *out,
                                    struct ex_error *err) {
  size_t rank = proto->n_dims;
  EX_TRY(ex__onnx_tensor_shape(out, proto->data_type,
                               rank > EX_ONNX_MAX_RANK ? EX_ONNX_MAX_RANK + 1 : (int32_t)rank,
                               proto->dims, err));
  if (proto->has_data_location &&
      proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
    return ex__fail(err, EX_EUNSUPPORTED,
                    "its numbers lie in another file; must be in the model's own");
  if (proto->segment != NULL)
    return ex__fail(err, EX_EUNSUPPORTED, "it is a segment of a tensor; must be whole");
  size_t n = (size_t)out->count, bytes = (size_t)find_type(out->type)->bytes;
  if (proto->has_raw_data ? proto->raw_data.len != n * bytes : typed_count(proto) != n)
    return ex__fail(err, EX_EFORMAT, "it holds %zu %s; its shape has %zu elements",
                    proto->has_raw_data ? proto->raw_data.len : typed_count(proto),
                    proto->has_raw_data ? "bytes" : "numbers", n);
  out->source = proto;
  return EX_OK;
}

static uint64_t raw_bits(const Onnx__TensorProto *proto, size_t i, int32_t bytes) {
  uint64_t bits = 0;
  const uint8_t *at = proto->raw_data.data + i * (size_t)bytes;
  for (int32_t b = 0; b < bytes; b++) bits |= (uint64_t)at[b] << (8 * b);
  return bits;
}

static double real_at(const Onnx__TensorProto *proto, size_t i, const struct type *type) {
  bool raw = proto->has_raw_data;
  uint64_t bits = raw ? raw_bits(proto, i, type->bytes) : 0;
  double wide;
  switch (type->type) {
    case T(FLOAT): return (double)(raw ? float_of((uint32_t)bits) : proto->float_data[i]);
    case T(DOUBLE):
      if (!raw) return proto->double_data[i];
      memcpy(&wide, &bits, sizeof wide);
      return wide;
    case T(FLOAT16): return half_value((uint16_t)(raw ? bits : (uint32_t)proto->int32_data[i]));
    default: return (double)float_of((uint32_t)(raw ? bits : (uint32_t)proto->int32_data[i]) << 16);
  }
}

static int64_t whole_at(const Onnx__TensorProto *proto, size_t i, const struct type *type) {
  if (proto->has_raw_data) return (int64_t)raw_bits(proto, i, type->bytes);
  switch (type->type) {
    case T(INT64): return proto->int64_data[i];
    case T(UINT32):
    case T(UINT64): return (int64_t)proto->uint64_data[i];
    default: return proto->int32_data[i];
  }
}

enum ex_status ex__onnx_tensor_load(struct ex_onnx_tensor *tensor, int64_t *budget,
                                    struct ex_error *err) {
  if (tensor->source == NULL || tensor->real != NULL || tensor->whole != NULL) return EX_OK;
  const struct type *type = find_type(tensor->type);
  EX_TRY(ex__onnx_tensor_alloc(tensor, budget, err));
  for (size_t i = 0; i < (size_t)tensor->count; i++) {
    if (tensor->real != NULL)
      tensor->real[i] = real_at(tensor->source, i, type);
    else if (tensor->whole != NULL)
      tensor->whole[i] = wrap(type->type, whole_at(tensor->source, i, type));
  }
  return EX_OK;
}

void ex__onnx_tensor_unload(struct ex_onnx_tensor *tensor, int64_t *budget) {
  bool loaded = tensor->real != NULL || tensor->whole != NULL;
  if (tensor->source == NULL || !loaded) return;
  *budget += tensor->count;
  ex__free(tensor->real);
  ex__free(tensor->whole);
  tensor->real = NULL;
  tensor->whole = NULL;
}

enum ex_status ex__onnx_tensor_read(const char *path, struct ex_onnx_tensor *out,
                                    struct ex_error *err) {
  struct ex_mapping mapping;
  ProtobufCMessage *message = NULL;
  int64_t budget = EX_ONNX_MAX_COUNT;
  *out = (struct ex_onnx_tensor){.rank = 0};
  EX_TRY(ex__file_map(path, &mapping, err));
  enum ex_status status =
      ex__onnx_unpack(&onnx__tensor_proto__descriptor, mapping.data, mapping.size, &message, err);
  if (status == EX_OK) status = ex__onnx_tensor_from((const Onnx__TensorProto *)message, out, err);
  if (status == EX_OK) status = ex__onnx_tensor_load(out, &budget, err);
  out->source = NULL;
  if (message != NULL) protobuf_c_message_free_unpacked(message, NULL);
  ex__file_unmap(&mapping);
  if (status == EX_OK) return EX_OK;
  ex__onnx_tensor_clear(out);
  return ex__wrap(err, status, "%s", path);
}
