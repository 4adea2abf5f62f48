/* SPDX-License-Identifier: Apache-2.0
 *
 * data/npy: magic, version, header length, a Python dictionary of three keys
 * ('descr', 'fortran_order', 'shape' in any order), then the elements
 * (numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
 *
 * The dictionary is parsed as the literal that numpy writes, by a cursor that
 * cannot leave the header; anything else in it is refused, never evaluated.
 */
#include "data/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

enum { MAGIC_SIZE = 6, MAX_HEADER = 65535, DATA_ALIGNMENT = 64 };
static const char magic[MAGIC_SIZE] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

static const struct {
  const char *descr;
  enum ex_dtype dtype;
} types[] = {
    {"|u1", EX_DTYPE_U8},  {"|i1", EX_DTYPE_I8},  {"<i4", EX_DTYPE_I32}, {"<i8", EX_DTYPE_I64},
    {"<f4", EX_DTYPE_F32}, {"<f8", EX_DTYPE_F64}, {"|b1", EX_DTYPE_U8},
};

/* ---- the header --------------------------------------------------------- */

struct cursor {
  const char *at, *end;
};

static void skip_spaces(struct cursor *cursor) {
  while (cursor->at < cursor->end &&
         (*cursor->at == ' ' || *cursor->at == '\n' || *cursor->at == '\t'))
    cursor->at++;
}

/* Takes `c`, with spaces before it, if it is what comes next. */
static bool take(struct cursor *cursor, char c) {
  skip_spaces(cursor);
  if (cursor->at == cursor->end || *cursor->at != c) return false;
  cursor->at++;
  return true;
}

/* A quoted string without escapes, of less than `size` bytes. */
static bool take_string(struct cursor *cursor, char *out, size_t size) {
  skip_spaces(cursor);
  if (cursor->at == cursor->end || (*cursor->at != '\'' && *cursor->at != '"')) return false;
  char quote = *cursor->at++;
  size_t n = 0;
  while (cursor->at < cursor->end && *cursor->at != quote) {
    if (n + 1 >= size || *cursor->at == '\\' || *cursor->at == '\0') return false;
    out[n++] = *cursor->at++;
  }
  out[n] = '\0';
  return take(cursor, quote);
}

static bool take_word(struct cursor *cursor, const char *word) {
  skip_spaces(cursor);
  size_t n = strlen(word);
  if ((size_t)(cursor->end - cursor->at) < n || memcmp(cursor->at, word, n) != 0) return false;
  cursor->at += n;
  return true;
}

static bool take_integer(struct cursor *cursor, int64_t *out) {
  skip_spaces(cursor);
  const char *first = cursor->at;
  int64_t value = 0;
  for (; cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9'; cursor->at++)
    if (__builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, *cursor->at - '0', &value))
      return false;
  *out = value;
  return cursor->at > first;
}

struct header {
  char descr[16];
  bool has_descr, has_order, has_shape, fortran_order;
  int32_t rank;
  int64_t dim[EX_MAX_ARRAY_RANK];
};

/* (), (3,), (3, 4) or (3, 4,) */
static bool take_shape(struct cursor *cursor, struct header *header) {
  if (!take(cursor, '(')) return false;
  while (!take(cursor, ')')) {
    if (header->rank == EX_MAX_ARRAY_RANK || !take_integer(cursor, &header->dim[header->rank]))
      return false;
    header->rank++;
    if (take(cursor, ',')) continue;
    return header->rank > 1 && take(cursor, ')');
  }
  return true;
}

static bool take_value(struct cursor *cursor, const char *key, struct header *header) {
  if (strcmp(key, "descr") == 0 && !header->has_descr) {
    header->has_descr = true;
    return take_string(cursor, header->descr, sizeof header->descr);
  }
  if (strcmp(key, "fortran_order") == 0 && !header->has_order) {
    header->has_order = true;
    header->fortran_order = take_word(cursor, "True");
    return header->fortran_order || take_word(cursor, "False");
  }
  if (strcmp(key, "shape") == 0 && !header->has_shape) {
    header->has_shape = true;
    return take_shape(cursor, header);
  }
  return false;
}

static bool parse_header(const char *text, size_t size, struct header *header) {
  struct cursor cursor = {text, text + size};
  if (!take(&cursor, '{')) return false;
  while (!take(&cursor, '}')) {
    char key[16];
    if (!take_string(&cursor, key, sizeof key) || !take(&cursor, ':') ||
        !take_value(&cursor, key, header))
      return false;
    if (take(&cursor, ',')) continue;
    if (!take(&cursor, '}')) return false;
    break;
  }
  skip_spaces(&cursor);
  return cursor.at == cursor.end && header->has_descr && header->has_order && header->has_shape;
}

/* ---- reading ------------------------------------------------------------ */

/* Where the dictionary begins and how long it is. */
static enum ex_status find_header(const uint8_t *data, size_t size, const char *source,
                                  size_t *begin, size_t *length, struct ex_error *err) {
  if (size < 10 || memcmp(data, magic, sizeof magic) != 0)
    return ex__fail(err, EX_EFORMAT, "%s: is not a .npy file: must begin with \\x93NUMPY", source);
  uint8_t version = data[MAGIC_SIZE];
  if (version < 1 || version > 3)
    return ex__fail(err, EX_EUNSUPPORTED, "%s: .npy version %d; must be 1, 2 or 3", source,
                    version);
  *begin = version == 1 ? 10 : 12;
  if (size < *begin) return ex__fail(err, EX_EFORMAT, "%s: ends within its header", source);
  *length = (size_t)data[8] | (size_t)data[9] << 8;
  if (version > 1) *length |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
  if (*length > MAX_HEADER || *length > size - *begin)
    return ex__fail(err, EX_EFORMAT,
                    "%s: a header of %zu bytes in a file of %zu; must fit, and be at most %d",
                    source, *length, size, MAX_HEADER);
  return EX_OK;
}

static enum ex_status find_type(const char *descr, const char *source, enum ex_dtype *out,
                                struct ex_error *err) {
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    if (strcmp(types[i].descr, descr) != 0) continue;
    *out = types[i].dtype;
    return EX_OK;
  }
  return ex__fail(err, EX_EUNSUPPORTED,
                  "%s: elements of type '%s'; must be |u1, |i1, |b1, <i4, <i8, <f4 or <f8", source,
                  descr);
}

static enum ex_status align(struct ex_npy *npy, const uint8_t *data, const char *source,
                            struct ex_error *err) {
  npy->array.data = data;
  if ((uintptr_t)data % ex__dtype_size(npy->array.dtype) == 0) return EX_OK;
  npy->copy = ex__alloc(npy->array.size, 1);
  if (npy->copy == NULL)
    return ex__fail(err, EX_ENOMEM, "%s: no memory for %zu bytes", source, npy->array.size);
  if (npy->array.size > 0) memcpy(npy->copy, data, npy->array.size);
  npy->array.data = npy->copy;
  return EX_OK;
}

enum ex_status ex__npy_parse(const void *data, size_t size, const char *source, struct ex_npy *out,
                             struct ex_error *err) {
  *out = (struct ex_npy){0};
  size_t begin = 0, length = 0;
  EX_TRY(find_header(data, size, source, &begin, &length, err));
  struct header header = {0};
  if (!parse_header((const char *)data + begin, length, &header))
    return ex__fail(
        err, EX_EFORMAT,
        "%s: malformed .npy header; must hold descr, fortran_order and shape (at most %d dimensions)",
        source, EX_MAX_ARRAY_RANK);
  enum ex_dtype dtype = EX_DTYPE_U8;
  EX_TRY(find_type(header.descr, source, &dtype, err));
  EX_TRY(ex__array_shape(&out->array, source, dtype, header.rank, header.dim, err));
  if (header.fortran_order && header.rank > 1)
    return ex__fail(err, EX_EUNSUPPORTED,
                    "%s: is in Fortran order; must be in C order (numpy.ascontiguousarray)",
                    source);
  if (size - begin - length != out->array.size) {
    char shape[64];
    ex__array_shape_text(&out->array, shape, sizeof shape);
    return ex__fail(err, EX_EFORMAT, "%s: %zu bytes of data; %s %s needs %zu", source,
                    size - begin - length, header.descr, shape, out->array.size);
  }
  return align(out, (const uint8_t *)data + begin + length, source, err);
}

enum ex_status ex__npy_open(const char *path, struct ex_npy *out, struct ex_error *err) {
  *out = (struct ex_npy){0};
  struct ex_mapping map = {0};
  EX_TRY(ex__file_map(path, &map, err));
  enum ex_status status = ex__npy_parse(map.data, map.size, path, out, err);
  out->map = map;
  if (status != EX_OK) ex__npy_close(out);
  return status;
}

void ex__npy_close(struct ex_npy *npy) {
  ex__file_unmap(&npy->map);
  ex__free(npy->copy);
  *npy = (struct ex_npy){0};
}

/* ---- writing ------------------------------------------------------------ */

static enum ex_status build_header(const struct ex_array *array, struct ex_text *text) {
  const char *descr = NULL;
  for (size_t i = 0; i < sizeof types / sizeof *types && descr == NULL; i++)
    if (types[i].dtype == array->dtype) descr = types[i].descr;
  if (descr == NULL) return EX_EUNSUPPORTED;
  struct ex_text dict = {0};
  ex__text_add(&dict, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
  for (int32_t i = 0; i < array->rank; i++)
    ex__text_add(&dict, "%s%" PRId64, i > 0 ? ", " : "", array->dim[i]);
  ex__text_add(&dict, "%s), }", array->rank == 1 ? "," : "");
  while ((MAGIC_SIZE + 4 + dict.size + 1) % DATA_ALIGNMENT != 0 && !dict.failed)
    ex__text_add(&dict, " ");
  ex__text_add(&dict, "\n");
  const uint8_t prefix[4] = {1, 0, (uint8_t)dict.size, (uint8_t)(dict.size >> 8)};
  ex__text_add_bytes(text, magic, sizeof magic);
  ex__text_add_bytes(text, prefix, sizeof prefix);
  if (dict.failed)
    text->failed = true;
  else
    ex__text_add_bytes(text, dict.data, dict.size);
  ex__text_clear(&dict);
  return ex__text_status(text);
}

static enum ex_status write_all(const char *path, const struct ex_text *header,
                                const struct ex_array *array, struct ex_error *err) {
  ex_file_writer *file;
  EX_TRY(ex__file_create(path, &file, err));
  enum ex_status status = ex__file_write(file, header->data, header->size, err);
  if (status == EX_OK) status = ex__file_write(file, array->data, array->size, err);
  if (status == EX_OK) return ex__file_commit(file, err);
  ex__file_discard(file);
  return status;
}

enum ex_status ex__npy_write(const char *path, enum ex_dtype dtype, int32_t rank,
                             const int64_t *dim, const void *data, struct ex_error *err) {
  struct ex_array array = {.data = data};
  EX_TRY(ex__array_shape(&array, path, dtype, rank, dim, err));
  struct ex_text header = {0};
  enum ex_status status = build_header(&array, &header);
  if (status == EX_OK)
    status = write_all(path, &header, &array, err);
  else
    ex__fail(err, status, "%s: cannot write elements of type %s", path, ex__dtype_name(dtype));
  ex__text_clear(&header);
  return status;
}
