/* SPDX-License-Identifier: Apache-2.0
 *
 * base/arena: placing live intervals.
 *
 * Placement is greedy by size: the largest item first, each at the lowest
 * offset where no item that lives at the same time lies. For the chains that
 * networks are, this comes close to the largest sum of what lives together.
 */
#include "base/arena.h"

#include <stdlib.h>

#include "base/memory.h"

static int by_size(const void *a, const void *b) {
  const struct ex_arena_item *x = *(struct ex_arena_item *const *)a,
                             *y = *(struct ex_arena_item *const *)b;
  if (x->size != y->size) return x->size < y->size ? 1 : -1;
  return x < y ? -1 : x > y;
}

static int by_offset(const void *a, const void *b) {
  const struct ex_arena_item *x = *(struct ex_arena_item *const *)a,
                             *y = *(struct ex_arena_item *const *)b;
  return *x->offset < *y->offset ? -1 : *x->offset > *y->offset;
}

/* The lowest offset at which `size` bytes fit between items sorted by offset. */
static int64_t lowest_gap(struct ex_arena_item *const *near, int32_t n, int64_t size) {
  int64_t at = 0;
  for (int32_t i = 0; i < n; i++) {
    if (*near[i]->offset - at >= size) return at;
    int64_t end = *near[i]->offset + near[i]->size;
    if (end > at) at = end;
  }
  return at;
}

int64_t ex__arena_place(struct ex_arena_item *items, int32_t n) {
  struct ex_arena_item **order = ex__alloc((size_t)n + 1, sizeof *order);
  struct ex_arena_item **near = ex__alloc((size_t)n + 1, sizeof *near);
  int64_t total = order != NULL && near != NULL ? 0 : -1;
  for (int32_t i = 0; total >= 0 && i < n; i++) {
    items[i].size = (items[i].size + 63) & ~(int64_t)63;
    order[i] = &items[i];
  }
  if (total >= 0) qsort(order, (size_t)n, sizeof *order, by_size);
  for (int32_t i = 0; total >= 0 && i < n; i++) {
    int32_t n_near = 0;
    for (int32_t k = 0; k < i; k++)
      if (order[k]->begin <= order[i]->end && order[i]->begin <= order[k]->end)
        near[n_near++] = order[k];
    qsort(near, (size_t)n_near, sizeof *near, by_offset);
    *order[i]->offset = lowest_gap(near, n_near, order[i]->size);
    if (*order[i]->offset + order[i]->size > total) total = *order[i]->offset + order[i]->size;
  }
  ex__free(order);
  ex__free(near);
  return total;
}
