/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/threshold_front: policies of which none is as cheap and as right
 * as another, in order of cost.
 */
#include <string.h>

#include "base/memory.h"
#include "calibrate/threshold_problem.h"

/* Points whose cost is ≤ cost: they come first. */
static int32_t count_cheaper(const struct ex_front *front, int64_t cost) {
  int32_t low = 0, high = front->n;
  while (low < high) {
    int32_t middle = low + (high - low) / 2;
    if (front->items[middle].cost <= cost)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool ex__front_covers(const struct ex_front *front, int64_t cost, int32_t wrong) {
  int32_t n = count_cheaper(front, cost);
  return n > 0 && front->items[n - 1].wrong <= wrong;
}

enum ex_status ex__front_offer(struct ex_front *front, int64_t cost, int32_t wrong,
                               const uint8_t *level, int32_t n_exits) {
  if (ex__front_covers(front, cost, wrong)) return EX_OK;
  if (front->n == front->capacity) {
    int32_t capacity = front->capacity == 0 ? 256 : 2 * front->capacity;
    struct ex_front_point *items =
        ex__grow(front->items, (size_t)front->n, (size_t)capacity, sizeof *items);
    if (items == NULL) return EX_ENOMEM;
    front->items = items;
    front->capacity = capacity;
  }
  /* Out go those that cost as much or more and are not more often right. */
  int32_t at = count_cheaper(front, cost - 1), end = at;
  while (end < front->n && front->items[end].wrong >= wrong) end++;
  memmove(&front->items[at + 1], &front->items[end],
          (size_t)(front->n - end) * sizeof *front->items);
  front->n += at + 1 - end;
  struct ex_front_point *point = &front->items[at];
  *point = (struct ex_front_point){.cost = cost, .wrong = wrong};
  if (n_exits > 0) memcpy(point->level, level, (size_t)n_exits);
  return EX_OK;
}

void ex__front_free(struct ex_front *front) {
  ex__free(front->items);
  *front = (struct ex_front){0};
}
