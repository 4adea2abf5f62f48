/* SPDX-License-Identifier: Apache-2.0
 *
 * base/json: strict JSON through jansson.
 *
 * jansson already refuses bad UTF-8, numbers out of range and trailing text;
 * duplicates are refused by a flag. Its own nesting limit is 2048, which is
 * deep for code that walks a document recursively, hence the scan before.
 */
#include "base/json.h"

#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

enum { MAX_DEPTH = 64 };

/* Deepest nesting of brackets outside strings; exact for valid JSON. */
static int nesting_depth(const char *text, size_t size) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < size && deepest <= MAX_DEPTH; i++) {
    char c = text[i];
    if (in_string) {
      if (c == '\\')
        i++;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > deepest) deepest = depth;
    } else if (c == ']' || c == '}') {
      depth--;
    }
  }
  return deepest;
}

enum ex_status ex__json_parse(const char *text, size_t size, const char *source, json_t **out,
                              struct ex_error *err) {
  *out = NULL;
  if (nesting_depth(text, size) > MAX_DEPTH)
    return ex__fail(err, EX_EFORMAT, "%s: JSON nested deeper than %d levels", source, MAX_DEPTH);
  json_error_t fault;
  json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &fault);
  if (json == NULL) {
    enum ex_status code =
        json_error_code(&fault) == json_error_out_of_memory ? EX_ENOMEM : EX_EFORMAT;
    return ex__fail(err, code, "%s: line %d, column %d: %s", source, fault.line, fault.column,
                    fault.text);
  }
  *out = json;
  return EX_OK;
}

enum ex_status ex__json_load(const char *path, size_t limit, json_t **out, struct ex_error *err) {
  *out = NULL;
  void *text;
  size_t size;
  EX_TRY(ex__file_read(path, limit, &text, &size, err));
  enum ex_status status = ex__json_parse(text, size, path, out, err);
  ex__free(text);
  return status;
}

static int append(const char *bytes, size_t size, void *text) {
  ex__text_add_bytes(text, bytes, size);
  return ex__text_status(text) == EX_OK ? 0 : -1;
}

enum ex_status ex__json_dump(const json_t *json, bool pretty, char **text) {
  *text = NULL;
  size_t flags = JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17);
  flags |= pretty ? JSON_INDENT(2) : JSON_COMPACT;
  struct ex_text buffer = {0};
  if (json_dump_callback(json, append, &buffer, flags) != 0) {
    enum ex_status status = buffer.failed ? EX_ENOMEM : EX_EINVAL;
    ex__text_clear(&buffer);
    return status;
  }
  *text = buffer.data;
  return EX_OK;
}

static const char *type_name(const json_t *json) {
  switch (json_typeof(json)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    case JSON_NULL: return "null";
  }
  return "something else";
}

static enum ex_status find(const json_t *object, const char *key, const char *where,
                           const json_t **out, struct ex_error *err) {
  if (!json_is_object(object))
    return ex__fail(err, EX_EFORMAT, "%s: must be an object with the key \"%s\"", where, key);
  *out = json_object_get(object, key);
  if (*out == NULL) return ex__fail(err, EX_EFORMAT, "%s: the key \"%s\" is missing", where, key);
  return EX_OK;
}

static enum ex_status wrong_type(const json_t *value, const char *key, const char *where,
                                 const char *rule, struct ex_error *err) {
  return ex__fail(err, EX_EFORMAT, "%s: \"%s\" is %s; must be %s", where, key, type_name(value),
                  rule);
}

enum ex_status ex__json_int(const json_t *object, const char *key, const char *where, int64_t min,
                            int64_t max, int64_t *out, struct ex_error *err) {
  const json_t *value;
  EX_TRY(find(object, key, where, &value, err));
  if (!json_is_integer(value)) return wrong_type(value, key, where, "an integer", err);
  int64_t number = json_integer_value(value);
  if (number < min || number > max)
    return ex__fail(err, EX_EFORMAT,
                    "%s: \"%s\" = %" PRId64 "; must be an integer in [%" PRId64 ", %" PRId64 "]",
                    where, key, number, min, max);
  *out = number;
  return EX_OK;
}

enum ex_status ex__json_real(const json_t *object, const char *key, const char *where, double min,
                             double max, double *out, struct ex_error *err) {
  const json_t *value;
  EX_TRY(find(object, key, where, &value, err));
  if (!json_is_number(value)) return wrong_type(value, key, where, "a number", err);
  double number = json_number_value(value);
  if (!(number >= min && number <= max))
    return ex__fail(err, EX_EFORMAT, "%s: \"%s\" = %.12g; must be a number in [%.12g, %.12g]",
                    where, key, number, min, max);
  *out = number;
  return EX_OK;
}

enum ex_status ex__json_string(const json_t *object, const char *key, const char *where,
                               const char **out, struct ex_error *err) {
  const json_t *value;
  EX_TRY(find(object, key, where, &value, err));
  if (!json_is_string(value)) return wrong_type(value, key, where, "a string", err);
  *out = json_string_value(value);
  return EX_OK;
}

enum ex_status ex__json_array(const json_t *object, const char *key, const char *where,
                              size_t max_items, const json_t **out, struct ex_error *err) {
  const json_t *value;
  EX_TRY(find(object, key, where, &value, err));
  if (!json_is_array(value)) return wrong_type(value, key, where, "an array", err);
  if (json_array_size(value) > max_items)
    return ex__fail(err, EX_EFORMAT, "%s: \"%s\" has %zu items; must have at most %zu", where, key,
                    json_array_size(value), max_items);
  *out = value;
  return EX_OK;
}

enum ex_status ex__json_object(const json_t *object, const char *key, const char *where,
                               const json_t **out, struct ex_error *err) {
  const json_t *value;
  EX_TRY(find(object, key, where, &value, err));
  if (!json_is_object(value)) return wrong_type(value, key, where, "an object", err);
  *out = value;
  return EX_OK;
}
