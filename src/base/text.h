/* SPDX-License-Identifier: Apache-2.0
 *
 * base/text: a growing string, for reports, help and JSON. A failed append
 * is remembered and reported once by ex__text_status.
 */
#ifndef EX_BASE_TEXT_H
#define EX_BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

struct ex_text {
  char *data; /* NUL-terminated; NULL while empty */
  size_t size, capacity;
  bool failed;
};

__attribute__((format(printf, 2, 3))) void ex__text_add(struct ex_text *text, const char *format,
                                                        ...);
/* The same, from the arguments of a function that formats on behalf of its caller. */
__attribute__((format(printf, 2, 0))) void ex__text_add_list(struct ex_text *text,
                                                             const char *format, va_list args);
void ex__text_add_bytes(struct ex_text *text, const void *bytes, size_t n);
enum ex_status ex__text_status(const struct ex_text *text);
void ex__text_clear(struct ex_text *text); /* frees */

/* The whole of `text` as a number, with a decimal point whatever the locale
 * ("inf" and "nan" are numbers: check the range); false where it is not one. */
bool ex__text_to_real(const char *text, double *out);
bool ex__text_to_int(const char *text, int64_t *out); /* decimal */

#endif
