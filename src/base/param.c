/* SPDX-License-Identifier: Apache-2.0
 *
 * base/param: one mechanism for the parameters of every part.
 *
 * Text and JSON meet in `store`: both are first turned into numbers, and the
 * bounds are checked in one place. A rejected value leaves the field as it
 * was. Comparisons are written so that NaN fails them.
 */
#include "base/param.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

/* The rule of one parameter, for messages: "must be an integer in [1, 64]". */
static void describe_rule(const struct ex_param *param, struct ex_text *text) {
  switch (param->type) {
    case EX_PARAM_INT:
      ex__text_add(text, "must be an integer in [%.12g, %.12g]", param->min, param->max);
      break;
    case EX_PARAM_REAL:
      ex__text_add(text, "must be a number in [%.12g, %.12g]", param->min, param->max);
      break;
    case EX_PARAM_BOOL: ex__text_add(text, "must be true or false"); break;
    case EX_PARAM_ENUM:
      ex__text_add(text, "must be one of");
      for (size_t i = 0; param->choices[i] != NULL; i++)
        ex__text_add(text, "%s %s", i > 0 ? "," : "", param->choices[i]);
      break;
    case EX_PARAM_LIST:
      ex__text_add(text, "must be at most %d numbers in [%.12g, %.12g], separated by commas",
                   EX_MAX_LIST, param->min, param->max);
      break;
  }
}

static enum ex_status refuse(const char *part, const struct ex_param *param, const char *given,
                             struct ex_error *err) {
  struct ex_text rule = {0};
  describe_rule(param, &rule);
  ex__fail(err, EX_EINVAL, "%s: %s = %.60s; %s", part, param->name, given,
           rule.data != NULL ? rule.data : "not allowed");
  ex__text_clear(&rule);
  return EX_EINVAL;
}

static const struct ex_param *find(const struct ex_param *table, const char *name) {
  for (const struct ex_param *param = table; param != NULL && param->name != NULL; param++)
    if (strcmp(param->name, name) == 0) return param;
  return NULL;
}

static enum ex_status unknown_name(const char *part, const struct ex_param *table, const char *name,
                                   struct ex_error *err) {
  struct ex_text known = {0};
  for (const struct ex_param *param = table; param != NULL && param->name != NULL; param++)
    ex__text_add(&known, "%s%s", param == table ? "" : ", ", param->name);
  if (known.data == NULL)
    ex__fail(err, EX_EINVAL, "%s: parameter \"%.60s\" given; it has none", part, name);
  else
    ex__fail(err, EX_EINVAL, "%s: parameter \"%.60s\" is unknown; must be one of %s", part, name,
             known.data);
  ex__text_clear(&known);
  return EX_EINVAL;
}

/* ---- storing ------------------------------------------------------------ */

static bool within(const struct ex_param *param, double value) {
  return value >= param->min && value <= param->max;
}

/* What a text or a JSON value says, before it is checked. */
struct given {
  enum { GIVEN_NOTHING, GIVEN_INT, GIVEN_REAL, GIVEN_BOOL, GIVEN_WORD, GIVEN_LIST } kind;
  int64_t integer;
  double real;
  const char *word;
  struct ex_list list;
};

static int32_t choice_index(const struct ex_param *param, const char *word) {
  for (int32_t i = 0; param->choices[i] != NULL; i++)
    if (strcmp(param->choices[i], word) == 0) return i;
  return -1;
}

static bool store_integer(const struct ex_param *param, int64_t value, int32_t *field) {
  if (!within(param, (double)value) || value < INT32_MIN || value > INT32_MAX) return false;
  *field = (int32_t)value;
  return true;
}

/* False where the value breaks the rule. */
static bool store(const struct ex_param *param, void *values, const struct given *given) {
  char *field = (char *)values + param->offset;
  switch (param->type) {
    case EX_PARAM_INT:
      return given->kind == GIVEN_INT &&
             store_integer(param, given->integer, (int32_t *)(void *)field);
    case EX_PARAM_REAL: {
      double value = given->kind == GIVEN_INT ? (double)given->integer : given->real;
      if ((given->kind != GIVEN_INT && given->kind != GIVEN_REAL) || !within(param, value))
        return false;
      *(double *)(void *)field = value;
      return true;
    }
    case EX_PARAM_BOOL:
      if (given->kind != GIVEN_BOOL) return false;
      *(int32_t *)(void *)field = given->integer != 0;
      return true;
    case EX_PARAM_ENUM: {
      int32_t index = given->kind == GIVEN_WORD ? choice_index(param, given->word) : -1;
      if (index < 0) return false;
      *(int32_t *)(void *)field = index;
      return true;
    }
    case EX_PARAM_LIST:
      if (given->kind != GIVEN_LIST) return false;
      for (int32_t i = 0; i < given->list.n; i++)
        if (!within(param, given->list.value[i])) return false;
      *(struct ex_list *)(void *)field = given->list;
      return true;
  }
  return false;
}

/* ---- from text ---------------------------------------------------------- */

static void read_list(const char *text, struct given *given) {
  given->list.n = 0;
  given->kind = GIVEN_LIST;
  while (*text != '\0') {
    char item[64];
    size_t length = strcspn(text, ",");
    if (length >= sizeof item || given->list.n == EX_MAX_LIST) {
      given->kind = GIVEN_NOTHING;
      return;
    }
    memcpy(item, text, length);
    item[length] = '\0';
    text += length;
    bool more = *text == ',';
    if (more) text++;
    if (!ex__text_to_real(item, &given->list.value[given->list.n++]) || (more && *text == '\0')) {
      given->kind = GIVEN_NOTHING;
      return;
    }
  }
}

static void read_text(const struct ex_param *param, const char *text, struct given *given) {
  given->kind = GIVEN_NOTHING;
  switch (param->type) {
    case EX_PARAM_INT:
      if (ex__text_to_int(text, &given->integer)) given->kind = GIVEN_INT;
      break;
    case EX_PARAM_REAL:
      if (ex__text_to_real(text, &given->real)) given->kind = GIVEN_REAL;
      break;
    case EX_PARAM_BOOL:
      given->integer = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
      if (given->integer || strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
        given->kind = GIVEN_BOOL;
      break;
    case EX_PARAM_ENUM:
      given->kind = GIVEN_WORD;
      given->word = text;
      break;
    case EX_PARAM_LIST: read_list(text, given); break;
  }
}

void ex__param_defaults(const struct ex_param *table, void *values) {
  for (const struct ex_param *param = table; param != NULL && param->name != NULL; param++) {
    struct given given = {0};
    read_text(param, param->fallback != NULL ? param->fallback : "", &given);
    store(param, values, &given);
  }
}

static bool default_fits(const struct ex_param *param) {
  union {
    int32_t integer;
    double real;
    struct ex_list list;
  } field;
  struct ex_param alone = *param;
  alone.offset = 0;
  struct given given = {0};
  read_text(param, param->fallback != NULL ? param->fallback : "", &given);
  return store(&alone, &field, &given);
}

enum ex_status ex__param_check_table(const char *part, const struct ex_param *table,
                                     struct ex_error *err) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
  for (const struct ex_param *param = table; param != NULL && param->name != NULL; param++) {
    size_t help = param->help != NULL ? strlen(param->help) : 0;
    const char *fault = NULL;
    if (param->name[0] == '\0' || param->name[strspn(param->name, letters)] != '\0')
      fault = "the name must be lower-case words joined by '-'";
    else if (find(table, param->name) != param)
      fault = "the name is given twice";
    else if (!(param->min <= param->max))
      fault = "min must not be above max";
    else if (param->type == EX_PARAM_ENUM && param->choices == NULL)
      fault = "has no choices";
    else if (!default_fits(param))
      fault = "the default breaks its own rule";
    else if (help == 0 || param->help[help - 1] != '.')
      fault = "help must be a sentence";
    if (fault != NULL) return ex__fail(err, EX_EINVAL, "%s: %s: %s", part, param->name, fault);
  }
  return EX_OK;
}

enum ex_status ex__param_set(const char *part, const struct ex_param *table, void *values,
                             const char *name, const char *text, struct ex_error *err) {
  const struct ex_param *param = find(table, name);
  if (param == NULL) return unknown_name(part, table, name, err);
  struct given given = {0};
  read_text(param, text, &given);
  return store(param, values, &given) ? EX_OK : refuse(part, param, text, err);
}

/* ---- from and to JSON --------------------------------------------------- */

static void read_json_list(const json_t *json, struct given *given) {
  size_t n = json_is_array(json) ? json_array_size(json) : 1;
  if (n > EX_MAX_LIST) return;
  for (size_t i = 0; i < n; i++) {
    const json_t *item = json_is_array(json) ? json_array_get(json, i) : json;
    if (!json_is_number(item)) return;
    given->list.value[i] = json_number_value(item);
  }
  given->list.n = (int32_t)n;
  given->kind = GIVEN_LIST;
}

static void read_json(const struct ex_param *param, const json_t *json, struct given *given) {
  given->kind = GIVEN_NOTHING;
  if (param->type == EX_PARAM_LIST) {
    read_json_list(json, given);
  } else if (json_is_integer(json)) {
    given->kind = GIVEN_INT;
    given->integer = json_integer_value(json);
  } else if (json_is_real(json)) {
    given->kind = GIVEN_REAL;
    given->real = json_real_value(json);
  } else if (json_is_boolean(json)) {
    given->kind = GIVEN_BOOL;
    given->integer = json_is_true(json);
  } else if (json_is_string(json)) {
    given->kind = GIVEN_WORD;
    given->word = json_string_value(json);
  }
}

static enum ex_status set_from_json(const char *part, const struct ex_param *param, void *values,
                                    const json_t *json, struct ex_error *err) {
  struct given given = {0};
  read_json(param, json, &given);
  if (store(param, values, &given)) return EX_OK;
  char *text = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(12));
  enum ex_status status = refuse(part, param, text != NULL ? text : "?", err);
  ex__free(text);
  return status;
}

enum ex_status ex__param_from_json(const char *part, const struct ex_param *table, void *values,
                                   const json_t *object, struct ex_error *err) {
  if (!json_is_object(object))
    return ex__fail(err, EX_EINVAL, "%s: parameters must be a JSON object", part);
  const char *name;
  json_t *json;
  json_object_foreach((json_t *)(uintptr_t)object, name, json) {
    const struct ex_param *param = find(table, name);
    if (param == NULL) return unknown_name(part, table, name, err);
    EX_TRY(set_from_json(part, param, values, json, err));
  }
  return EX_OK;
}

static json_t *list_to_json(const struct ex_list *list) {
  json_t *array = json_array();
  for (int32_t i = 0; array != NULL && i < list->n; i++) {
    if (json_array_append_new(array, json_real(list->value[i])) == 0) continue;
    json_decref(array);
    return NULL;
  }
  return array;
}

static json_t *value_to_json(const struct ex_param *param, const void *values) {
  const char *field = (const char *)values + param->offset;
  switch (param->type) {
    case EX_PARAM_INT: return json_integer(*(const int32_t *)(const void *)field);
    case EX_PARAM_REAL: return json_real(*(const double *)(const void *)field);
    case EX_PARAM_BOOL: return json_boolean(*(const int32_t *)(const void *)field);
    case EX_PARAM_ENUM: return json_string(param->choices[*(const int32_t *)(const void *)field]);
    case EX_PARAM_LIST: return list_to_json((const struct ex_list *)(const void *)field);
  }
  return NULL;
}

json_t *ex__param_to_json(const struct ex_param *table, const void *values) {
  json_t *object = json_object();
  for (const struct ex_param *param = table; param != NULL && param->name != NULL; param++) {
    if (object == NULL) return NULL;
    if (json_object_set_new(object, param->name, value_to_json(param, values)) == 0) continue;
    json_decref(object);
    return NULL;
  }
  return object;
}

/* ---- help --------------------------------------------------------------- */

static void describe_bounds(const struct ex_param *param, struct ex_text *text) {
  switch (param->type) {
    case EX_PARAM_INT:
    case EX_PARAM_REAL: ex__text_add(text, "[%.12g, %.12g]", param->min, param->max); break;
    case EX_PARAM_BOOL: ex__text_add(text, "true|false"); break;
    case EX_PARAM_ENUM:
      for (size_t i = 0; param->choices[i] != NULL; i++)
        ex__text_add(text, "%s%s", i > 0 ? "|" : "", param->choices[i]);
      break;
    case EX_PARAM_LIST: ex__text_add(text, "list of [%.12g, %.12g]", param->min, param->max); break;
  }
}

enum ex_status ex__param_help(const struct ex_param *table, struct ex_text *text) {
  for (const struct ex_param *param = table; param != NULL && param->name != NULL; param++) {
    struct ex_text bounds = {0}, setting = {0};
    describe_bounds(param, &bounds);
    ex__text_add(&setting, "%s=%s", param->name, param->fallback != NULL ? param->fallback : "");
    if (bounds.failed || setting.failed)
      text->failed = true;
    else
      ex__text_add(text, "  %-28s %-16s %s\n", setting.data, bounds.data, param->help);
    ex__text_clear(&bounds);
    ex__text_clear(&setting);
  }
  return ex__text_status(text);
}
