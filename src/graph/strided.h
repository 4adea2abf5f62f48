/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/strided: rows of numbers seen through dimensions and steps, for the
 * operators of imported networks. Lists come from files: they are checked here
 * once, so that no index is out of its row afterwards.
 */
#ifndef EX_GRAPH_STRIDED_H
#define EX_GRAPH_STRIDED_H

#include "graph/shape.h"

enum { EX_MAX_DIMS = 8 };

struct ex_strided {
  int32_t n;
  int64_t dim[EX_MAX_DIMS], step[EX_MAX_DIMS];
};

/* From the attributes dims and steps; every index, offset included, must lie in
 * [0, size). */
enum ex_status ex__strided(const char *op, const struct ex_list *dims, const struct ex_list *steps,
                           int64_t offset, int64_t size, struct ex_strided *out,
                           struct ex_error *err);
/* The same without checks, of lists that were checked. */
struct ex_strided ex__strided_of(const struct ex_list *dims, const struct ex_list *steps);
int64_t ex__strided_count(const struct ex_strided *strided);

/* Shape of an output from its attribute, which must have `count` elements. */
enum ex_status ex__strided_shape(const char *op, const struct ex_list *shape, int64_t count,
                                 struct ex_shape *out, struct ex_error *err);

/* Counts through the dimensions; `at` follows by steps. */
struct ex_counter {
  int64_t index[EX_MAX_DIMS];
};
static inline void ex__count_on(struct ex_counter *counter, const struct ex_strided *strided,
                                int64_t *at) {
  for (int32_t i = strided->n - 1; i >= 0; i--) {
    *at += strided->step[i];
    if (++counter->index[i] < strided->dim[i]) return;
    *at -= strided->dim[i] * strided->step[i];
    counter->index[i] = 0;
  }
}

#endif
