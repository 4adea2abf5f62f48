/* SPDX-License-Identifier: Apache-2.0
 *
 * data/array: a view of a plain array as files store it (safetensors, .npy):
 * row-major, little-endian, aligned to its element.
 */
#ifndef EX_DATA_ARRAY_H
#define EX_DATA_ARRAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/real.h"
#include "base/status.h"

/* Name in safetensors, bytes per element. BOOL to U64 can be stored; only
 * those that ex__array_to_real takes are numbers to us. */
#define EX_DTYPE_MAP(XX) \
  XX(U8, 1)              \
  XX(I8, 1)              \
  XX(I32, 4)             \
  XX(I64, 8)             \
  XX(F32, 4)             \
  XX(F64, 8)             \
  XX(BOOL, 1)            \
  XX(I16, 2)             \
  XX(U16, 2)             \
  XX(U32, 4)             \
  XX(U64, 8)             \
  XX(F16, 2)             \
  XX(BF16, 2)

enum ex_dtype {
#define XX(name, bytes) EX_DTYPE_##name,
  EX_DTYPE_MAP(XX)
#undef XX
      EX_N_DTYPES
};

#ifdef EX_REAL_IS_DOUBLE
#define EX_DTYPE_REAL EX_DTYPE_F64
#else
#define EX_DTYPE_REAL EX_DTYPE_F32
#endif

enum { EX_MAX_ARRAY_RANK = 8 };

struct ex_array {
  const char *name; /* of a safetensors entry; NULL otherwise */
  enum ex_dtype dtype;
  int32_t rank;                   /* 0: one element */
  int64_t dim[EX_MAX_ARRAY_RANK]; /* each ≥ 0 */
  int64_t count;                  /* elements: the product of dim */
  size_t size;                    /* bytes */
  const void *data;               /* borrowed, or its own: the reader says which */
};

size_t ex__dtype_size(enum ex_dtype dtype);      /* bytes */
const char *ex__dtype_name(enum ex_dtype dtype); /* "F32" */

/* Sets rank, dim, count and size; EX_EFORMAT where they are negative, too many
 * or overflow. `source` opens the message. */
enum ex_status ex__array_shape(struct ex_array *array, const char *source, enum ex_dtype dtype,
                               int32_t rank, const int64_t *dim, struct ex_error *err);
/* Releases the data of an array that owns them, and empties it. */
void ex__array_free(struct ex_array *array);
/* "[3, 4]" into `text`, cut where it does not fit. */
void ex__array_shape_text(const struct ex_array *array, char *text, size_t size);

/* Elements first … first + n of a U8, I8, I32, I64, F32 or F64 array as real
 * numbers; EX_EUNSUPPORTED for the others. */
enum ex_status ex__array_to_real(const struct ex_array *array, int64_t first, int64_t n,
                                 ex_real *out);
/* The same as integers; for U8, I8, I32 and I64 arrays only. */
enum ex_status ex__array_to_int(const struct ex_array *array, int64_t first, int64_t n,
                                int64_t *out);

#endif
