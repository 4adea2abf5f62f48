/* SPDX-License-Identifier: Apache-2.0
 *
 * data/safetensors: reading. The file is mapped and its arrays are used in
 * place; one that does not lie on a multiple of its element's size (files of
 * others may do so) is copied, so that every array is aligned.
 *
 * The rules are those of the reference implementation: the header begins with
 * '{', entries cover the data without gap or overlap, metadata are strings.
 */
#include "data/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

struct entry {
  struct ex_array array;
  size_t begin, end; /* in the data section, bytes */
  void *copy;        /* of data that was not aligned, or NULL */
};

struct ex_safetensors {
  char *source;
  struct ex_mapping map;
  json_t *header; /* owns the names */
  int32_t n;
  struct entry *entries;        /* [n], by offset */
  const struct entry **by_name; /* [n], by name */
};

static enum ex_status parse_dtype(const json_t *json, const char *where, enum ex_dtype *out,
                                  struct ex_error *err) {
  const char *name;
  EX_TRY(ex__json_string(json, "dtype", where, &name, err));
  for (int i = 0; i < EX_N_DTYPES; i++) {
    if (strcmp(name, ex__dtype_name((enum ex_dtype)i)) != 0) continue;
    *out = (enum ex_dtype)i;
    return EX_OK;
  }
  return ex__fail(err, EX_EUNSUPPORTED, "%s: dtype \"%.20s\" is not known", where, name);
}

/* Up to `max` integers ≥ 0 of an array. */
static enum ex_status parse_integers(const json_t *json, const char *key, const char *where,
                                     size_t max, int64_t *out, size_t *n, struct ex_error *err) {
  const json_t *list;
  EX_TRY(ex__json_array(json, key, where, max, &list, err));
  *n = json_array_size(list);
  for (size_t i = 0; i < *n; i++) {
    const json_t *item = json_array_get(list, i);
    if (!json_is_integer(item) || json_integer_value(item) < 0)
      return ex__fail(err, EX_EFORMAT, "%s: \"%s\" must hold integers ≥ 0", where, key);
    out[i] = json_integer_value(item);
  }
  return EX_OK;
}

static enum ex_status parse_entry(const json_t *json, const char *where, size_t data_size,
                                  struct entry *entry, struct ex_error *err) {
  if (!json_is_object(json) || json_object_size(json) != 3)
    return ex__fail(err, EX_EFORMAT, "%s: must be an object of dtype, shape and data_offsets",
                    where);
  enum ex_dtype dtype;
  EX_TRY(parse_dtype(json, where, &dtype, err));
  int64_t dim[EX_MAX_ARRAY_RANK], offset[2];
  size_t rank, n_offsets;
  EX_TRY(parse_integers(json, "shape", where, EX_MAX_ARRAY_RANK, dim, &rank, err));
  EX_TRY(parse_integers(json, "data_offsets", where, 2, offset, &n_offsets, err));
  EX_TRY(ex__array_shape(&entry->array, where, dtype, (int32_t)rank, dim, err));
  if (n_offsets != 2 || offset[0] > offset[1] || (uint64_t)offset[1] > data_size)
    return ex__fail(err, EX_EFORMAT,
                    "%s: data_offsets must be [begin, end] within %zu bytes of data", where,
                    data_size);
  entry->begin = (size_t)offset[0];
  entry->end = (size_t)offset[1];
  if (entry->end - entry->begin != entry->array.size)
    return ex__fail(err, EX_EFORMAT, "%s: data_offsets span %zu bytes; dtype and shape need %zu",
                    where, entry->end - entry->begin, entry->array.size);
  return EX_OK;
}

static enum ex_status check_metadata(const json_t *json, const char *source, struct ex_error *err) {
  if (!json_is_object(json))
    return ex__fail(err, EX_EFORMAT, "%s: __metadata__ must be an object of strings", source);
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)json, key, value) {
    if (!json_is_string(value))
      return ex__fail(err, EX_EFORMAT, "%s: __metadata__ \"%.60s\" must be a string", source, key);
  }
  return EX_OK;
}

static enum ex_status parse_entries(ex_safetensors *file, size_t data_size, struct ex_error *err) {
  size_t max = json_object_size(file->header);
  file->entries = ex__calloc(max, sizeof *file->entries);
  file->by_name = ex__calloc(max, sizeof *file->by_name);
  if (file->entries == NULL || file->by_name == NULL)
    return ex__fail(err, EX_ENOMEM, "%s: no memory for %zu entries", file->source, max);
  const char *name;
  json_t *json;
  json_object_foreach(file->header, name, json) {
    if (strcmp(name, "__metadata__") == 0) {
      EX_TRY(check_metadata(json, file->source, err));
      continue;
    }
    char where[200];
    snprintf(where, sizeof where, "%.110s: \"%.80s\"", file->source, name);
    struct entry *entry = &file->entries[file->n++];
    EX_TRY(parse_entry(json, where, data_size, entry, err));
    entry->array.name = name;
  }
  return EX_OK;
}

static int compare_offset(const void *left, const void *right) {
  const struct entry *a = left, *b = right;
  if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
  return a->end < b->end ? -1 : a->end > b->end;
}

static int compare_name(const void *left, const void *right) {
  const struct entry *const *a = left, *const *b = right;
  return strcmp((*a)->array.name, (*b)->array.name);
}

static enum ex_status check_coverage(const ex_safetensors *file, size_t data_size,
                                     struct ex_error *err) {
  size_t at = 0;
  for (int32_t i = 0; i < file->n; i++) {
    const struct entry *entry = &file->entries[i];
    if (entry->begin != at)
      return ex__fail(err, EX_EFORMAT,
                      "%s: \"%.80s\" begins at byte %zu of the data; must be %zu (%s)",
                      file->source, entry->array.name, entry->begin, at,
                      entry->begin < at ? "entries overlap" : "there is a gap");
    at = entry->end;
  }
  if (at != data_size)
    return ex__fail(err, EX_EFORMAT, "%s: %zu bytes of data; its entries cover %zu", file->source,
                    data_size, at);
  return EX_OK;
}

static enum ex_status place(ex_safetensors *file, const uint8_t *data, struct ex_error *err) {
  for (int32_t i = 0; i < file->n; i++) {
    struct entry *entry = &file->entries[i];
    entry->array.data = data + entry->begin;
    file->by_name[i] = entry;
    if ((uintptr_t)entry->array.data % ex__dtype_size(entry->array.dtype) == 0) continue;
    entry->copy = ex__alloc(entry->array.size, 1);
    if (entry->copy == NULL)
      return ex__fail(err, EX_ENOMEM, "%s: no memory for \"%.80s\"", file->source,
                      entry->array.name);
    if (entry->array.size > 0) memcpy(entry->copy, entry->array.data, entry->array.size);
    entry->array.data = entry->copy;
  }
  return EX_OK;
}

static enum ex_status parse(ex_safetensors *file, const uint8_t *data, size_t size,
                            struct ex_error *err) {
  uint64_t length = 0;
  if (size < sizeof length)
    return ex__fail(err, EX_EFORMAT, "%s: %zu bytes; a safetensors file has at least 8",
                    file->source, size);
  memcpy(&length, data, sizeof length);
  if (length > size - sizeof length || length > EX_SAFETENSORS_MAX_HEADER)
    return ex__fail(err, EX_EFORMAT,
                    "%s: a header of %" PRIu64
                    " bytes in a file of %zu; must fit, and be at most %d",
                    file->source, length, size, EX_SAFETENSORS_MAX_HEADER);
  const uint8_t *header = data + sizeof length;
  if (length < 2 || header[0] != '{')
    return ex__fail(err, EX_EFORMAT, "%s: not a safetensors file: the header must begin with '{'",
                    file->source);
  EX_TRY(ex__json_parse((const char *)header, (size_t)length, file->source, &file->header, err));
  size_t data_size = size - sizeof length - (size_t)length;
  EX_TRY(parse_entries(file, data_size, err));
  if (file->n > 0) qsort(file->entries, (size_t)file->n, sizeof *file->entries, compare_offset);
  EX_TRY(check_coverage(file, data_size, err));
  EX_TRY(place(file, header + length, err));
  if (file->n > 0) qsort(file->by_name, (size_t)file->n, sizeof *file->by_name, compare_name);
  return EX_OK;
}

static ex_safetensors *file_new(const char *source, struct ex_error *err) {
  ex_safetensors *file = ex__calloc(1, sizeof *file);
  if (file != NULL) file->source = ex__strdup(source);
  if (file != NULL && file->source != NULL) return file;
  ex__free(file);
  ex__fail(err, EX_ENOMEM, "%s: no memory to open", source);
  return NULL;
}

enum ex_status ex__safetensors_parse(const void *data, size_t size, const char *source,
                                     ex_safetensors **out, struct ex_error *err) {
  *out = NULL;
  ex_safetensors *file = file_new(source, err);
  if (file == NULL) return EX_ENOMEM;
  enum ex_status status = parse(file, data, size, err);
  if (status == EX_OK)
    *out = file;
  else
    ex__safetensors_free(file);
  return status;
}

enum ex_status ex__safetensors_open(const char *path, ex_safetensors **out, struct ex_error *err) {
  *out = NULL;
  ex_safetensors *file = file_new(path, err);
  if (file == NULL) return EX_ENOMEM;
  enum ex_status status = ex__file_map(path, &file->map, err);
  if (status == EX_OK) status = parse(file, file->map.data, file->map.size, err);
  if (status == EX_OK)
    *out = file;
  else
    ex__safetensors_free(file);
  return status;
}

void ex__safetensors_free(ex_safetensors *file) {
  if (file == NULL) return;
  for (int32_t i = 0; i < file->n; i++) ex__free(file->entries[i].copy);
  ex__free(file->entries);
  ex__free(file->by_name);
  json_decref(file->header);
  ex__file_unmap(&file->map);
  ex__free(file->source);
  ex__free(file);
}

/* ---- looking up --------------------------------------------------------- */

int32_t ex__safetensors_count(const ex_safetensors *file) { return file->n; }

const struct ex_array *ex__safetensors_at(const ex_safetensors *file, int32_t index) {
  return &file->entries[index].array;
}

const struct ex_array *ex__safetensors_find(const ex_safetensors *file, const char *name) {
  int32_t low = 0, high = file->n;
  while (low < high) {
    int32_t middle = low + (high - low) / 2;
    int order = strcmp(name, file->by_name[middle]->array.name);
    if (order == 0) return &file->by_name[middle]->array;
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

enum ex_status ex__safetensors_get(const ex_safetensors *file, const char *name,
                                   enum ex_dtype dtype, int32_t rank, const int64_t *dim,
                                   const struct ex_array **out, struct ex_error *err) {
  const struct ex_array *array = ex__safetensors_find(file, name);
  if (array == NULL)
    return ex__fail(err, EX_ENOTFOUND, "%s: has no array \"%s\"", file->source, name);
  bool fits = array->dtype == dtype && array->rank == rank;
  for (int32_t i = 0; fits && i < rank; i++) fits = dim[i] == -1 || dim[i] == array->dim[i];
  if (fits) {
    *out = array;
    return EX_OK;
  }
  struct ex_array expected = {.rank = rank <= EX_MAX_ARRAY_RANK ? rank : EX_MAX_ARRAY_RANK};
  for (int32_t i = 0; i < expected.rank; i++) expected.dim[i] = dim[i];
  char found_text[64], expected_text[64];
  ex__array_shape_text(array, found_text, sizeof found_text);
  ex__array_shape_text(&expected, expected_text, sizeof expected_text);
  return ex__fail(err, EX_ESHAPE, "%s: \"%s\" is %s %s; must be %s %s", file->source, name,
                  ex__dtype_name(array->dtype), found_text, ex__dtype_name(dtype), expected_text);
}

const char *ex__safetensors_metadata(const ex_safetensors *file, const char *key) {
  return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}

const char *ex__safetensors_source(const ex_safetensors *file) { return file->source; }
