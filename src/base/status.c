/* SPDX-License-Identifier: Apache-2.0
 *
 * base/status: names of the status codes, and the text of an error.
 *
 * Texts are cut at the size of `struct ex_error`, never overrun; a cut text
 * still begins with what was given, because callers put the value first.
 */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

EX_API const char *ex_status_name(enum ex_status status) {
  switch (status) {
#define XX(name, value, text) \
  case EX_##name: return #name;
    EX_STATUS_MAP(XX)
#undef XX
  }
  return "unknown";
}

EX_API const char *ex_status_text(enum ex_status status) {
  switch (status) {
#define XX(name, value, text) \
  case EX_##name: return text;
    EX_STATUS_MAP(XX)
#undef XX
  }
  return "unknown";
}

void ex__note(struct ex_error *err, enum ex_status code, const char *format, ...) {
  if (err == NULL) return;
  err->code = code;
  va_list args;
  va_start(args, format);
  if (vsnprintf(err->text, sizeof err->text, format, args) < 0) err->text[0] = '\0';
  va_end(args);
}

enum ex_status ex__wrap(struct ex_error *err, enum ex_status code, const char *format, ...) {
  if (err == NULL) return code;
  char inner[sizeof err->text];
  memcpy(inner, err->text, sizeof inner);
  inner[sizeof inner - 1] = '\0';
  va_list args;
  va_start(args, format);
  int used = vsnprintf(err->text, sizeof err->text, format, args);
  va_end(args);
  if (used < 0) used = 0;
  size_t at = (size_t)used;
  if (at < sizeof err->text) snprintf(err->text + at, sizeof err->text - at, ": %s", inner);
  return err->code;
}
