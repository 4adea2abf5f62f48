/* SPDX-License-Identifier: Apache-2.0
 *
 * base/param: one mechanism for the parameters of every part.
 *
 * Text and JSON meet in `store`: both are first turned into numbers, and the
 * bounds are checked in one place. A rejected value leaves the field as it
 * was. Comparisons are written so that NaN fails them.
 */
#include "base/param.h"

#include <string.h>

#include "base/memory.h"
#include "base/param_given.h"
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
    case EX_PARAM_TABLE:
      ex__text_add(text,
                   "must be at most %d rows, separated by semicolons, of as many numbers each, at "
                   "most %d, in [%.12g, %.12g]",
                   EX_MAX_LIST, EX_MAX_LIST, param->min, param->max);
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
static bool store(const struct ex_param *param, void *values, const struct ex_given *given) {
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
    case EX_PARAM_TABLE:
      if (given->kind != GIVEN_TABLE) return false;
      for (int32_t row = 0; row < given->table.n_rows; row++)
        for (int32_t i = 0; i < given->table.n_columns; i++)
          if (!within(param, given->table.value[row][i])) return false;
      *(struct ex_table *)(void *)field = given->table;
      return true;
  }
  return false;
}

void ex__param_defaults(const struct ex_param *table, void *values) {
  for (const struct ex_param *param = table; param != NULL && param->name != NULL; param++) {
    struct ex_given given = {0};
    ex__given_from_text(param, param->fallback != NULL ? param->fallback : "", &given);
    store(param, values, &given);
  }
}

static bool default_fits(const struct ex_param *param) {
  union {
    int32_t integer;
    double real;
    struct ex_list list;
    struct ex_table table;
  } field;
  struct ex_param alone = *param;
  alone.offset = 0;
  struct ex_given given = {0};
  ex__given_from_text(param, param->fallback != NULL ? param->fallback : "", &given);
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
  struct ex_given given = {0};
  ex__given_from_text(param, text, &given);
  return store(param, values, &given) ? EX_OK : refuse(part, param, text, err);
}

static enum ex_status set_from_json(const char *part, const struct ex_param *param, void *values,
                                    const json_t *json, struct ex_error *err) {
  struct ex_given given = {0};
  ex__given_from_json(param, json, &given);
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

static json_t *value_to_json(const struct ex_param *param, const void *values) {
  const char *field = (const char *)values + param->offset;
  switch (param->type) {
    case EX_PARAM_INT: return json_integer(*(const int32_t *)(const void *)field);
    case EX_PARAM_REAL: return json_real(*(const double *)(const void *)field);
    case EX_PARAM_BOOL: return json_boolean(*(const int32_t *)(const void *)field);
    case EX_PARAM_ENUM: return json_string(param->choices[*(const int32_t *)(const void *)field]);
    case EX_PARAM_LIST: return ex__list_to_json((const struct ex_list *)(const void *)field);
    case EX_PARAM_TABLE: return ex__table_to_json((const struct ex_table *)(const void *)field);
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
    case EX_PARAM_TABLE:
      ex__text_add(text, "rows of [%.12g, %.12g]", param->min, param->max);
      break;
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
