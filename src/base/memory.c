/* SPDX-License-Identifier: Apache-2.0
 *
 * base/memory: the one place that calls the allocator.
 *
 * Blocks are aligned to 64 bytes (a cache line and an AVX-512 register).
 * Growing therefore allocates and copies: realloc would lose the alignment.
 */
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

bool ex__mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }

bool ex__add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

void *ex__alloc(size_t count, size_t size) {
  size_t bytes;
  if (!ex__mul_size(count, size, &bytes) || bytes > PTRDIFF_MAX - ALIGNMENT) return NULL;
  void *block = NULL;
  if (posix_memalign(&block, ALIGNMENT, bytes > 0 ? bytes : 1) != 0) return NULL;
  return block;
}

void *ex__calloc(size_t count, size_t size) {
  void *block = ex__alloc(count, size);
  if (block != NULL) memset(block, 0, count * size);
  return block;
}

void *ex__grow(void *old, size_t old_count, size_t new_count, size_t size) {
  char *block = ex__alloc(new_count, size);
  if (block == NULL) return NULL;
  size_t kept = (old_count < new_count ? old_count : new_count) * size;
  if (kept > 0) memcpy(block, old, kept);
  memset(block + kept, 0, new_count * size - kept);
  ex__free(old);
  return block;
}

char *ex__strdup(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = ex__alloc(size, 1);
  if (copy != NULL) memcpy(copy, text, size);
  return copy;
}

void ex__free(void *pointer) { free(pointer); }
