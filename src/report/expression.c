/* SPDX-License-Identifier: Apache-2.0
 *
 * report/expression: recursive descent over two levels of precedence.
 */
#include "report/expression.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { MAX_WORD = 96 };

struct reader {
  const char *text, *at;
  const json_t *document;
  struct ex_error *err;
};

/* The next word, without moving past it; false at the end. */
static bool peek(struct reader *reader, char word[MAX_WORD]) {
  while (*reader->at == ' ') reader->at++;
  size_t n = strcspn(reader->at, " ");
  if (n == 0 || n >= MAX_WORD) return false;
  memcpy(word, reader->at, n);
  word[n] = '\0';
  return true;
}

/* The number at the end of a path; "*" goes to every item of an array and takes
 * the mean. NaN where there is none. */
static double follow(const json_t *at, const char *path) {
  if (*path == '\0') return json_is_number(at) ? json_number_value(at) : NAN;
  char key[MAX_WORD];
  size_t n = strcspn(path, ".");
  snprintf(key, sizeof key, "%.*s", (int)n, path);
  const char *rest = path + n + (path[n] == '.');
  if (!json_is_array(at)) return follow(json_object_get(at, key), rest);
  int64_t index;
  if (strcmp(key, "*") != 0)
    return ex__text_to_int(key, &index) && index >= 0
               ? follow(json_array_get(at, (size_t)index), rest)
               : (double)NAN;
  double sum = 0;
  size_t i;
  const json_t *item;
  json_array_foreach(at, i, item) { sum += follow(item, rest); }
  return sum / (double)json_array_size(at);
}

static enum ex_status factor(struct reader *reader, double *value) {
  char word[MAX_WORD];
  if (!peek(reader, word))
    return ex__fail(reader->err, EX_EINVAL, "claim \"%.96s\": ends where a path must stand",
                    reader->text);
  reader->at += strlen(word);
  if (ex__text_to_real(word, value)) return EX_OK;
  *value = follow(reader->document, word);
  if (isnan(*value))
    return ex__fail(reader->err, EX_ENOTFOUND,
                    "claim \"%.96s\": \"%s\" is not a number that was measured", reader->text,
                    word);
  return EX_OK;
}

/* Whether one of two operators stands next; it is read then. */
static bool next_operator(struct reader *reader, const char *two, char *found) {
  char word[MAX_WORD];
  if (!peek(reader, word) || strlen(word) != 1 || strchr(two, word[0]) == NULL) return false;
  *found = word[0];
  reader->at++;
  return true;
}

static enum ex_status term(struct reader *reader, double *value) {
  EX_TRY(factor(reader, value));
  char sign;
  while (next_operator(reader, "*/", &sign)) {
    double right;
    EX_TRY(factor(reader, &right));
    *value = sign == '*' ? *value * right : *value / right;
  }
  return EX_OK;
}

enum ex_status ex__expression_evaluate(const char *text, const json_t *document, double *value,
                                       struct ex_error *err) {
  struct reader reader = {text, text, document, err};
  EX_TRY(term(&reader, value));
  char sign, rest[MAX_WORD];
  while (next_operator(&reader, "+-", &sign)) {
    double right;
    EX_TRY(term(&reader, &right));
    *value += sign == '+' ? right : -right;
  }
  if (peek(&reader, rest))
    return ex__fail(err, EX_EINVAL, "claim \"%.96s\": \"%s\" must be one of + - * /", text, rest);
  return EX_OK;
}
