/* SPDX-License-Identifier: Apache-2.0
 *
 * base/arena: arrays whose lives are known beforehand, in one block of memory.
 */
#ifndef EX_BASE_ARENA_H
#define EX_BASE_ARENA_H

#include <stdint.h>

struct ex_arena_item {
  int64_t size;       /* bytes; is rounded up to a multiple of 64 */
  int32_t begin, end; /* the first and the last moment at which it is alive */
  int64_t *offset;    /* bytes; a multiple of 64 */
};

/* Sets every *offset so that no two items that live at the same time overlap.
 * Returns the size of the arena; −1: no memory. */
int64_t ex__arena_place(struct ex_arena_item *items, int32_t n);

#endif
