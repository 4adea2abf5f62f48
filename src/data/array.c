/* SPDX-License-Identifier: Apache-2.0
 *
 * data/array: sizes, names and conversions of stored arrays. Files are
 * little-endian and are read in place, so the machine must be too.
 */
#include "data/array.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/memory.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "arrays are mapped from little-endian files"
#endif

size_t ex__dtype_size(enum ex_dtype dtype) {
  static const size_t sizes[] = {
#define XX(name, bytes) bytes,
    EX_DTYPE_MAP(XX)
#undef XX
  };
  return sizes[dtype];
}

const char *ex__dtype_name(enum ex_dtype dtype) {
  static const char *const names[] = {
#define XX(name, bytes) #name,
    EX_DTYPE_MAP(XX)
#undef XX
  };
  return names[dtype];
}

enum ex_status ex__array_shape(struct ex_array *array, const char *source, enum ex_dtype dtype,
                               int32_t rank, const int64_t *dim, struct ex_error *err) {
  if (rank < 0 || rank > EX_MAX_ARRAY_RANK)
    return ex__fail(err, EX_EFORMAT, "%s: %d dimensions; must be at most %d", source, (int)rank,
                    EX_MAX_ARRAY_RANK);
  int64_t count = 1;
  for (int32_t i = 0; i < rank; i++) {
    if (dim[i] < 0)
      return ex__fail(err, EX_EFORMAT, "%s: dimension %d is %" PRId64 "; must not be negative",
                      source, (int)i, dim[i]);
    if (__builtin_mul_overflow(count, dim[i], &count))
      return ex__fail(err, EX_EFORMAT, "%s: the product of its dimensions overflows", source);
    array->dim[i] = dim[i];
  }
  if (!ex__mul_size((size_t)count, ex__dtype_size(dtype), &array->size) ||
      array->size > PTRDIFF_MAX)
    return ex__fail(err, EX_EFORMAT, "%s: the product of its dimensions overflows", source);
  array->dtype = dtype;
  array->rank = rank;
  array->count = count;
  return EX_OK;
}

void ex__array_free(struct ex_array *array) {
  ex__free((void *)(uintptr_t)array->data);
  *array = (struct ex_array){0};
}

void ex__array_shape_text(const struct ex_array *array, char *text, size_t size) {
  size_t at = 0;
  int n = snprintf(text, size, "[");
  for (int32_t i = 0; i < array->rank && n >= 0 && (at += (size_t)n) < size; i++)
    n = snprintf(text + at, size - at, "%s%" PRId64, i > 0 ? ", " : "", array->dim[i]);
  if (n >= 0 && (at += array->rank > 0 ? (size_t)n : 1) < size) snprintf(text + at, size - at, "]");
}

#define CONVERT(type) \
  for (int64_t i = 0; i < n; i++) out[i] = ((const type *)array->data)[first + i]
#define CONVERT_REAL(type) \
  for (int64_t i = 0; i < n; i++) out[i] = (ex_real)((const type *)array->data)[first + i]

enum ex_status ex__array_to_real(const struct ex_array *array, int64_t first, int64_t n,
                                 ex_real *out) {
  switch (array->dtype) {
    case EX_DTYPE_U8: CONVERT_REAL(uint8_t); return EX_OK;
    case EX_DTYPE_I8: CONVERT_REAL(int8_t); return EX_OK;
    case EX_DTYPE_I32: CONVERT_REAL(int32_t); return EX_OK;
    case EX_DTYPE_I64: CONVERT_REAL(int64_t); return EX_OK;
    case EX_DTYPE_F32: CONVERT_REAL(float); return EX_OK;
    case EX_DTYPE_F64: CONVERT_REAL(double); return EX_OK;
    default: return EX_EUNSUPPORTED;
  }
}

enum ex_status ex__array_to_int(const struct ex_array *array, int64_t first, int64_t n,
                                int64_t *out) {
  switch (array->dtype) {
    case EX_DTYPE_U8: CONVERT(uint8_t); return EX_OK;
    case EX_DTYPE_I8: CONVERT(int8_t); return EX_OK;
    case EX_DTYPE_I32: CONVERT(int32_t); return EX_OK;
    case EX_DTYPE_I64: CONVERT(int64_t); return EX_OK;
    default: return EX_EUNSUPPORTED;
  }
}
