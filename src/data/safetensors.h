/* SPDX-License-Identifier: Apache-2.0
 *
 * data/safetensors: named arrays with string metadata in one file
 * (github.com/huggingface/safetensors). Models, checkpoints and traces are
 * such files, so that others read them without us.
 *
 * The layout: 8 bytes header length (little-endian), the header (JSON: name →
 * dtype, shape, data_offsets; `__metadata__` → strings), the arrays without
 * gaps. Reading maps the file and believes nothing: header length and depth,
 * duplicate names, types, negative or overflowing shapes, offsets that are
 * out of range, overlap, leave gaps or disagree with the shape are refused.
 */
#ifndef EX_DATA_SAFETENSORS_H
#define EX_DATA_SAFETENSORS_H

#include "base/status.h"
#include "data/array.h"

enum { EX_SAFETENSORS_MAX_HEADER = 32 << 20 }; /* bytes; the writer keeps to it too */

/* ---- reading ------------------------------------------------------------ */

typedef struct ex_safetensors ex_safetensors;

enum ex_status ex__safetensors_open(const char *path, ex_safetensors **out, struct ex_error *err);
/* From memory that outlives the result; `source` names it in messages. */
enum ex_status ex__safetensors_parse(const void *data, size_t size, const char *source,
                                     ex_safetensors **out, struct ex_error *err);
void ex__safetensors_free(ex_safetensors *file); /* accepts NULL; ends every borrowed array */

int32_t ex__safetensors_count(const ex_safetensors *file);
/* In the order of the data; `index` in [0, count). */
const struct ex_array *ex__safetensors_at(const ex_safetensors *file, int32_t index);
/* NULL where there is none of that name. */
const struct ex_array *ex__safetensors_find(const ex_safetensors *file, const char *name);
/* The array `name`, which must have this type and shape: EX_ENOTFOUND, or
 * EX_ESHAPE with what was found and expected. A dim of -1 takes any size. */
enum ex_status ex__safetensors_get(const ex_safetensors *file, const char *name,
                                   enum ex_dtype dtype, int32_t rank, const int64_t *dim,
                                   const struct ex_array **out, struct ex_error *err);
/* Borrowed; NULL where the key is absent. */
const char *ex__safetensors_metadata(const ex_safetensors *file, const char *key);
const char *ex__safetensors_source(const ex_safetensors *file); /* path, for messages */

/* ---- writing ------------------------------------------------------------ */

typedef struct ex_safetensors_writer ex_safetensors_writer;

ex_safetensors_writer *ex__safetensors_writer_new(void);         /* NULL when memory is short */
void ex__safetensors_writer_free(ex_safetensors_writer *writer); /* accepts NULL */
/* `value` is UTF-8, copied. */
enum ex_status ex__safetensors_add_metadata(ex_safetensors_writer *writer, const char *key,
                                            const char *value, struct ex_error *err);
/* Arrays are stored in the order in which they are added. `data` [product of
 * dim] is borrowed until the file is saved. */
enum ex_status ex__safetensors_add(ex_safetensors_writer *writer, const char *name,
                                   enum ex_dtype dtype, int32_t rank, const int64_t *dim,
                                   const void *data, struct ex_error *err);
/* Whole or not at all (base/file). May be called again, for another path. */
enum ex_status ex__safetensors_save(const ex_safetensors_writer *writer, const char *path,
                                    struct ex_error *err);

#endif
