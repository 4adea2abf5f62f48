/* SPDX-License-Identifier: Apache-2.0
 *
 * data/safetensors: writing. The header is padded with spaces so that the
 * data begin at a multiple of 64 bytes: mapped arrays are then aligned as
 * well as allocated ones, as long as their sizes allow it.
 */
#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/safetensors.h"

enum { DATA_ALIGNMENT = 64 };

struct piece {
  const void *data;
  size_t size;
};

struct ex_safetensors_writer {
  json_t *metadata, *entries;
  struct piece *pieces; /* [capacity], n used */
  size_t n, capacity;
  int64_t offset; /* end of the data so far */
};

ex_safetensors_writer *ex__safetensors_writer_new(void) {
  ex_safetensors_writer *writer = ex__calloc(1, sizeof *writer);
  if (writer == NULL) return NULL;
  writer->metadata = json_object();
  writer->entries = json_object();
  if (writer->metadata != NULL && writer->entries != NULL) return writer;
  ex__safetensors_writer_free(writer);
  return NULL;
}

void ex__safetensors_writer_free(ex_safetensors_writer *writer) {
  if (writer == NULL) return;
  json_decref(writer->metadata);
  json_decref(writer->entries);
  ex__free(writer->pieces);
  ex__free(writer);
}

enum ex_status ex__safetensors_add_metadata(ex_safetensors_writer *writer, const char *key,
                                            const char *value, struct ex_error *err) {
  json_t *text = json_string(value);
  if (text == NULL) return ex__fail(err, EX_EINVAL, "metadata \"%s\": must be valid UTF-8", key);
  if (json_object_set_new(writer->metadata, key, text) != 0)
    return ex__fail(err, EX_ENOMEM, "metadata \"%s\": no memory", key);
  return EX_OK;
}

static json_t *describe(const struct ex_array *array, int64_t begin, int64_t end) {
  json_t *shape = json_array();
  for (int32_t i = 0; shape != NULL && i < array->rank; i++)
    if (json_array_append_new(shape, json_integer(array->dim[i])) != 0) {
      json_decref(shape);
      return NULL;
    }
  if (shape == NULL) return NULL;
  return json_pack("{s:s, s:o, s:[I, I]}", "dtype", ex__dtype_name(array->dtype), "shape", shape,
                   "data_offsets", (json_int_t)begin, (json_int_t)end);
}

static enum ex_status keep_piece(ex_safetensors_writer *writer, const void *data, size_t size) {
  if (writer->n == writer->capacity) {
    size_t capacity = writer->capacity == 0 ? 64 : 2 * writer->capacity;
    struct piece *pieces = ex__grow(writer->pieces, writer->n, capacity, sizeof *pieces);
    if (pieces == NULL) return EX_ENOMEM;
    writer->pieces = pieces;
    writer->capacity = capacity;
  }
  writer->pieces[writer->n++] = (struct piece){data, size};
  return EX_OK;
}

enum ex_status ex__safetensors_add(ex_safetensors_writer *writer, const char *name,
                                   enum ex_dtype dtype, int32_t rank, const int64_t *dim,
                                   const void *data, struct ex_error *err) {
  struct ex_array array = {0};
  EX_TRY(ex__array_shape(&array, name, dtype, rank, dim, err));
  if (strcmp(name, "__metadata__") == 0 || json_object_get(writer->entries, name) != NULL)
    return ex__fail(err, EX_EINVAL, "array \"%s\": the name is taken", name);
  int64_t end;
  if (__builtin_add_overflow(writer->offset, (int64_t)array.size, &end))
    return ex__fail(err, EX_EINVAL, "array \"%s\": the file would be too large", name);
  json_t *entry = describe(&array, writer->offset, end);
  if (entry == NULL || keep_piece(writer, data, array.size) != EX_OK) {
    json_decref(entry);
    return ex__fail(err, EX_ENOMEM, "array \"%s\": no memory", name);
  }
  if (json_object_set_new(writer->entries, name, entry) != 0) {
    writer->n--;
    return ex__fail(err, EX_EINVAL, "array \"%s\": the name must be valid UTF-8", name);
  }
  writer->offset = end;
  return EX_OK;
}

static int append(const char *bytes, size_t size, void *text) {
  ex__text_add_bytes(text, bytes, size);
  return ex__text_status(text) == EX_OK ? 0 : -1;
}

/* Not sorted: entries stand in the order of the data, which is what a reader
 * of a file's beginning wants. */
static enum ex_status build_header(const ex_safetensors_writer *writer, struct ex_text *text) {
  json_t *header = json_object();
  bool ok = header != NULL;
  if (ok && json_object_size(writer->metadata) > 0)
    ok = json_object_set(header, "__metadata__", writer->metadata) == 0;
  ok = ok && json_object_update(header, writer->entries) == 0;
  ok = ok && json_dump_callback(header, append, text, JSON_COMPACT) == 0;
  json_decref(header);
  while (ok && (sizeof(uint64_t) + text->size) % DATA_ALIGNMENT != 0) ex__text_add(text, " ");
  return ok ? ex__text_status(text) : EX_ENOMEM;
}

static enum ex_status write_all(const ex_safetensors_writer *writer, const struct ex_text *header,
                                ex_file_writer *file, struct ex_error *err) {
  uint64_t length = header->size;
  EX_TRY(ex__file_write(file, &length, sizeof length, err));
  EX_TRY(ex__file_write(file, header->data, header->size, err));
  for (size_t i = 0; i < writer->n; i++)
    EX_TRY(ex__file_write(file, writer->pieces[i].data, writer->pieces[i].size, err));
  return EX_OK;
}

enum ex_status ex__safetensors_save(const ex_safetensors_writer *writer, const char *path,
                                    struct ex_error *err) {
  struct ex_text header = {0};
  enum ex_status status = build_header(writer, &header);
  ex_file_writer *file = NULL;
  if (status != EX_OK)
    ex__fail(err, status, "%s: no memory for the header", path);
  else if (header.size > EX_SAFETENSORS_MAX_HEADER)
    status = ex__fail(err, EX_EINVAL, "%s: a header of %zu bytes; must be at most %d", path,
                      header.size, EX_SAFETENSORS_MAX_HEADER);
  else
    status = ex__file_create(path, &file, err);
  if (status == EX_OK) status = write_all(writer, &header, file, err);
  ex__text_clear(&header);
  if (status == EX_OK) return ex__file_commit(file, err);
  ex__file_discard(file);
  return status;
}
