/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/expression: recursive descent over two levels of precedence.
 */
#include "cli/expression.h"

#include <stdlib.h>
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

static const json_t *follow(const json_t *at, char *path) {
  char *rest = path;
  for (char *key; at != NULL && (key = strtok_r(rest, ".", &rest)) != NULL;) {
    int64_t index;
    if (json_is_array(at))
      at = ex__text_to_int(key, &index) && index >= 0 ? json_array_get(at, (size_t)index) : NULL;
    else
      at = json_object_get(at, key);
  }
  return at;
}

static enum ex_status factor(struct reader *reader, double *value) {
  char word[MAX_WORD];
  if (!peek(reader, word))
    return ex__fail(reader->err, EX_EINVAL, "claim \"%.96s\": ends where a path must stand",
                    reader->text);
  reader->at += strlen(word);
  if (ex__text_to_real(word, value)) return EX_OK;
  char path[MAX_WORD];
  memcpy(path, word, sizeof path);
  const json_t *found = follow(reader->document, path);
  if (!json_is_number(found))
    return ex__fail(reader->err, EX_ENOTFOUND,
                    "claim \"%.96s\": \"%s\" is not a number that was measured", reader->text,
                    word);
  *value = json_number_value(found);
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

enum ex_status expression_evaluate(const char *text, const json_t *document, double *value,
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
