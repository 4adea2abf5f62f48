/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_split: stratified splits.
 *
 * Each class is shuffled and spread evenly over [0, 1): its k-th of m samples
 * lies at (k + ½)/m. All samples sorted by that place form a sequence of which
 * every stretch has nearly the classes' proportions, so that parts are cut
 * from it at exactly the sizes asked for; no rounding has to be repaired.
 * Places are compared as fractions of integers, hence without rounding.
 */
#include "data/data_split.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

enum { STREAM_SPLIT = 0x5391, STREAM_FEW = 0x5392 };

struct place {
  int64_t rank, size; /* (k + ½)/m as 2k + 1 and m */
  int32_t stratum, index;
};

static int compare_places(const void *left, const void *right) {
  const struct place *a = left, *b = right;
  int64_t x = a->rank * b->size, y = b->rank * a->size;
  if (x != y) return x < y ? -1 : 1;
  if (a->stratum != b->stratum) return a->stratum < b->stratum ? -1 : 1;
  return a->index < b->index ? -1 : a->index > b->index;
}

static int compare_int32(const void *left, const void *right) {
  int32_t a = *(const int32_t *)left, b = *(const int32_t *)right;
  return a < b ? -1 : a > b;
}

static void sort_indices(int32_t *items, int32_t n) {
  if (n > 1) qsort(items, (size_t)n, sizeof *items, compare_int32);
}

/* Groups indices by class with a counting sort: `start` [n_strata + 1]. */
static void group(const int32_t *y, int32_t n, int32_t n_strata, int32_t *start, int32_t *items) {
  for (int32_t i = 0; i < n; i++) start[(y != NULL ? y[i] + 1 : 0) + 1]++;
  for (int32_t s = 0; s < n_strata; s++) start[s + 1] += start[s];
  for (int32_t i = n - 1; i >= 0; i--) items[--start[(y != NULL ? y[i] + 1 : 0) + 1]] = i;
  /* Every start but the first has moved down to where its stratum begins. */
  for (int32_t s = 0; s < n_strata; s++) start[s] = start[s + 1];
  start[n_strata] = n;
}

static void place_samples(const int32_t *start, int32_t n_strata, int32_t *items, uint64_t seed,
                          struct place *places) {
  for (int32_t s = 0; s < n_strata; s++) {
    int32_t size = start[s + 1] - start[s];
    struct ex_random random = ex__random_seed(seed, (uint64_t)STREAM_SPLIT << 32 | (uint32_t)s);
    ex__random_shuffle(&random, items + start[s], size);
    for (int32_t k = 0; k < size; k++)
      places[start[s] + k] = (struct place){2 * (int64_t)k + 1, size, s, items[start[s] + k]};
  }
}

static enum ex_status check_sizes(int32_t n, int32_t n_parts, const int32_t *sizes,
                                  struct ex_error *err) {
  int64_t sum = 0;
  for (int32_t p = 0; p < n_parts; p++) {
    if (sizes[p] < 0) return ex__fail(err, EX_EINVAL, "split: a part of %d samples", (int)sizes[p]);
    sum += sizes[p];
  }
  if (sum > n)
    return ex__fail(err, EX_EINVAL, "split: parts of %lld samples in all; there are %d",
                    (long long)sum, (int)n);
  return EX_OK;
}

enum ex_status ex__split(const int32_t *y, int32_t n, int32_t n_classes, uint64_t seed,
                         int32_t n_parts, const int32_t *sizes, int32_t *order,
                         struct ex_error *err) {
  EX_TRY(check_sizes(n, n_parts, sizes, err));
  int32_t n_strata = n_classes + 1; /* the first: not labelled */
  int32_t *start = ex__calloc((size_t)n_strata + 1, sizeof *start);
  struct place *places = ex__alloc((size_t)n, sizeof *places);
  if (start == NULL || places == NULL) {
    ex__free(start);
    ex__free(places);
    return ex__fail(err, EX_ENOMEM, "split: no memory for %d samples", (int)n);
  }
  group(y, n, n_strata, start, order);
  place_samples(start, n_strata, order, seed, places);
  if (n > 0) qsort(places, (size_t)n, sizeof *places, compare_places);
  for (int32_t i = 0; i < n; i++) order[i] = places[i].index;
  int32_t at = 0;
  for (int32_t p = 0; p < n_parts; at += sizes[p++]) sort_indices(order + at, sizes[p]);
  sort_indices(order + at, n - at);
  ex__free(start);
  ex__free(places);
  return EX_OK;
}

enum ex_status ex__split_few(const int32_t *y, int32_t n_classes, int32_t per_class, uint64_t seed,
                             int32_t *items, int32_t n, int32_t *n_kept, struct ex_error *err) {
  int32_t *taken = ex__calloc((size_t)n_classes, sizeof *taken), kept = 0;
  int32_t *order = ex__alloc((size_t)n, sizeof *order);
  if (taken == NULL || order == NULL) {
    ex__free(taken);
    ex__free(order);
    return ex__fail(err, EX_ENOMEM, "split: no memory for %d samples", (int)n);
  }
  memcpy(order, items, (size_t)n * sizeof *order);
  struct ex_random random = ex__random_seed(seed, STREAM_FEW);
  ex__random_shuffle(&random, order, n);
  for (int32_t i = 0; i < n; i++) {
    int32_t label = y[order[i]];
    if (label >= 0 && taken[label] < per_class) {
      taken[label]++;
      order[kept++] = order[i];
    }
  }
  enum ex_status status = EX_OK;
  for (int32_t c = 0; c < n_classes && status == EX_OK; c++)
    if (taken[c] < per_class)
      status = ex__fail(err, EX_EINVAL, "%d labels per class asked for; class %d has %d",
                        (int)per_class, (int)c, (int)taken[c]);
  if (status == EX_OK) {
    sort_indices(order, kept);
    memcpy(items, order, (size_t)kept * sizeof *items);
    *n_kept = kept;
  }
  ex__free(taken);
  ex__free(order);
  return status;
}
