/* SPDX-License-Identifier: Apache-2.0
 *
 * base/param_given: "3", "0.5,0.9" and "1,2;3,4" as numbers, lists and tables,
 * and the same from JSON, where a number alone is a list of one and a table is an
 * array of arrays.
 */
#include "base/param_given.h"

#include <string.h>

#include "base/text.h"

/* ---- from text ---------------------------------------------------------- */

/* Numbers separated by commas up to `end`; how many, −1 where it is no such row
 * or has too many. */
static int32_t read_row(const char *text, const char *end, double value[EX_MAX_LIST]) {
  int32_t n = 0;
  if (text == end) return 0;
  for (;;) {
    char item[64];
    size_t length = strcspn(text, ",");
    if (length > (size_t)(end - text)) length = (size_t)(end - text);
    if (length >= sizeof item || n == EX_MAX_LIST) return -1;
    memcpy(item, text, length);
    item[length] = '\0';
    if (!ex__text_to_real(item, &value[n++])) return -1;
    text += length;
    if (text == end) return n;
    text++;
  }
}

static void read_list(const char *text, struct ex_given *given) {
  given->list.n = read_row(text, text + strlen(text), given->list.value);
  given->kind = given->list.n < 0 ? GIVEN_NOTHING : GIVEN_LIST;
}

/* The next row of a table; false where it cannot be one. */
static bool add_row(const char *text, const char *end, struct ex_table *table) {
  if (table->n_rows == EX_MAX_LIST) return false;
  int32_t n = read_row(text, end, table->value[table->n_rows]);
  if (n < 1 || (table->n_rows > 0 && n != table->n_columns)) return false;
  table->n_columns = n;
  table->n_rows++;
  return true;
}

static void read_table(const char *text, struct ex_given *given) {
  given->table.n_rows = given->table.n_columns = 0;
  given->kind = GIVEN_TABLE;
  if (*text == '\0') return;
  for (;;) {
    const char *end = text + strcspn(text, ";");
    if (!add_row(text, end, &given->table)) {
      given->kind = GIVEN_NOTHING;
      return;
    }
    if (*end == '\0') return;
    text = end + 1;
  }
}

void ex__given_from_text(const struct ex_param *param, const char *text, struct ex_given *given) {
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
    case EX_PARAM_TABLE: read_table(text, given); break;
  }
}

/* ---- from and to JSON --------------------------------------------------- */

/* How many numbers; −1 where it is no row of them. */
static int32_t read_json_row(const json_t *json, double value[EX_MAX_LIST]) {
  size_t n = json_array_size(json);
  if (!json_is_array(json) || n > EX_MAX_LIST) return -1;
  for (size_t i = 0; i < n; i++) {
    if (!json_is_number(json_array_get(json, i))) return -1;
    value[i] = json_number_value(json_array_get(json, i));
  }
  return (int32_t)n;
}

static void read_json_list(const json_t *json, struct ex_given *given) {
  if (json_is_number(json)) {
    given->list.n = 1;
    given->list.value[0] = json_number_value(json);
  } else {
    given->list.n = read_json_row(json, given->list.value);
  }
  given->kind = given->list.n < 0 ? GIVEN_NOTHING : GIVEN_LIST;
}

static void read_json_table(const json_t *json, struct ex_given *given) {
  struct ex_table *table = &given->table;
  table->n_rows = table->n_columns = 0;
  given->kind = GIVEN_NOTHING;
  if (!json_is_array(json) || json_array_size(json) > EX_MAX_LIST) return;
  for (; table->n_rows < (int32_t)json_array_size(json); table->n_rows++) {
    int32_t row = table->n_rows;
    int32_t n = read_json_row(json_array_get(json, (size_t)row), table->value[row]);
    if (n < 1 || (row > 0 && n != table->n_columns)) return;
    table->n_columns = n;
  }
  given->kind = GIVEN_TABLE;
}

void ex__given_from_json(const struct ex_param *param, const json_t *json, struct ex_given *given) {
  given->kind = GIVEN_NOTHING;
  if (param->type == EX_PARAM_LIST) {
    read_json_list(json, given);
  } else if (param->type == EX_PARAM_TABLE) {
    read_json_table(json, given);
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

static json_t *row_to_json(const double *value, int32_t n) {
  json_t *array = json_array();
  for (int32_t i = 0; array != NULL && i < n; i++) {
    if (json_array_append_new(array, json_real(value[i])) == 0) continue;
    json_decref(array);
    return NULL;
  }
  return array;
}

json_t *ex__list_to_json(const struct ex_list *list) { return row_to_json(list->value, list->n); }

json_t *ex__table_to_json(const struct ex_table *table) {
  json_t *rows = json_array();
  for (int32_t row = 0; rows != NULL && row < table->n_rows; row++) {
    if (json_array_append_new(rows, row_to_json(table->value[row], table->n_columns)) == 0)
      continue;
    json_decref(rows);
    return NULL;
  }
  return rows;
}
