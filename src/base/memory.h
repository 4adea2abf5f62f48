/* SPDX-License-Identifier: Apache-2.0
 *
 * base/memory: allocation that checks its arithmetic.
 *
 * All functions return NULL when memory is short or when count × size
 * overflows; none aborts. Everything is released with ex__free.
 */
#ifndef EX_BASE_MEMORY_H
#define EX_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed, 64-byte aligned; count and size may be 0 (a unique pointer). */
void *ex__calloc(size_t count, size_t size);
/* Not zeroed, 64-byte aligned. */
void *ex__alloc(size_t count, size_t size);
/* Keeps the first old_count elements, zeroes the rest; on failure `old` lives. */
void *ex__grow(void *old, size_t old_count, size_t new_count, size_t size);
char *ex__strdup(const char *text);
void ex__free(void *pointer); /* accepts NULL */

/* a × b and a + b into *out; false where the result does not fit. */
bool ex__mul_size(size_t a, size_t b, size_t *out);
bool ex__add_size(size_t a, size_t b, size_t *out);

#endif
