/* SPDX-License-Identifier: Apache-2.0
 *
 * base/text: a growing string.
 *
 * Numbers are always written and read with a decimal point: the calling
 * thread's locale is set aside meanwhile, because a program that links the
 * library may have chosen another, and these texts are JSON, SVG and recipes.
 */
#include "base/text.h"

#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* glibc answers newlocale(…, "C", …) from a constant object; where it could
 * fail, the caller's locale stays. */
static locale_t enter_c_locale(locale_t *c_locale) {
  *c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  return *c_locale != (locale_t)0 ? uselocale(*c_locale) : (locale_t)0;
}

static void leave_c_locale(locale_t c_locale, locale_t before) {
  if (c_locale == (locale_t)0) return;
  uselocale(before);
  freelocale(c_locale);
}

static bool reserve(struct ex_text *text, size_t more) {
  size_t needed;
  if (text->failed || !ex__add_size(text->size, more, &needed) ||
      !ex__add_size(needed, 1, &needed)) {
    text->failed = true;
    return false;
  }
  if (needed <= text->capacity) return true;
  size_t capacity = text->capacity < 128 ? 256 : text->capacity;
  while (capacity < needed) capacity = capacity <= SIZE_MAX / 2 ? capacity * 2 : needed;
  char *data = ex__alloc(capacity, 1);
  if (data == NULL) {
    text->failed = true;
    return false;
  }
  if (text->size > 0) memcpy(data, text->data, text->size);
  data[text->size] = '\0';
  ex__free(text->data);
  text->data = data;
  text->capacity = capacity;
  return true;
}

static void add_formatted(struct ex_text *text, const char *format, va_list args) {
  va_list again;
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, format, args);
  if (n < 0)
    text->failed = true;
  else if (reserve(text, (size_t)n)) {
    vsnprintf(text->data + text->size, (size_t)n + 1, format, again);
    text->size += (size_t)n;
  }
  va_end(again);
}

void ex__text_add_list(struct ex_text *text, const char *format, va_list args) {
  locale_t c_locale;
  locale_t before = enter_c_locale(&c_locale);
  add_formatted(text, format, args);
  leave_c_locale(c_locale, before);
}

void ex__text_add(struct ex_text *text, const char *format, ...) {
  va_list args;
  va_start(args, format);
  ex__text_add_list(text, format, args);
  va_end(args);
}

void ex__text_add_bytes(struct ex_text *text, const void *bytes, size_t n) {
  if (!reserve(text, n)) return;
  if (n > 0) memcpy(text->data + text->size, bytes, n);
  text->size += n;
  text->data[text->size] = '\0';
}

enum ex_status ex__text_status(const struct ex_text *text) {
  return text->failed ? EX_ENOMEM : EX_OK;
}

void ex__text_clear(struct ex_text *text) {
  ex__free(text->data);
  *text = (struct ex_text){0};
}

bool ex__text_to_real(const char *text, double *out) {
  locale_t c_locale;
  locale_t before = enter_c_locale(&c_locale);
  char *end;
  double value = strtod(text, &end);
  leave_c_locale(c_locale, before);
  if (end == text || *end != '\0') return false;
  *out = value;
  return true;
}

bool ex__text_to_int(const char *text, int64_t *out) {
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (end == text || *end != '\0' || errno != 0) return false;
  *out = value;
  return true;
}
