/* SPDX-License-Identifier: Apache-2.0
 *
 * data/npy: NumPy's .npy files, versions 1 to 3, in C order.
 */
#ifndef EX_DATA_NPY_H
#define EX_DATA_NPY_H

#include "base/file.h"
#include "base/status.h"
#include "data/array.h"

struct ex_npy {
  struct ex_array array; /* data lie in `map` or in `copy` */
  struct ex_mapping map;
  void *copy;
};

/* The file stays mapped until ex__npy_close. */
enum ex_status ex__npy_open(const char *path, struct ex_npy *out, struct ex_error *err);
/* From memory that outlives the result. */
enum ex_status ex__npy_parse(const void *data, size_t size, const char *source, struct ex_npy *out,
                             struct ex_error *err);
void ex__npy_close(struct ex_npy *npy); /* also after a failure */

/* Whole or not at all; `data` [product of dim], types U8, I8, I32, I64, F32, F64. */
enum ex_status ex__npy_write(const char *path, enum ex_dtype dtype, int32_t rank,
                             const int64_t *dim, const void *data, struct ex_error *err);

#endif
