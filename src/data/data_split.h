/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_split: which samples play which role, by seed.
 */
#ifndef EX_DATA_DATA_SPLIT_H
#define EX_DATA_DATA_SPLIT_H

#include <stdint.h>

#include "base/status.h"

/* Cuts samples 0 … n − 1 into parts of exactly `sizes` (their sum ≤ n), each
 * with the classes in the proportion of the whole, to within one sample per
 * class and cut. `y` [n] (−1: not labelled, a class of its own) may be NULL.
 * `order` [n] receives the parts one after the other, each in ascending
 * order, then what is left. */
enum ex_status ex__split(const int32_t *y, int32_t n, int32_t n_classes, uint64_t seed,
                         int32_t n_parts, const int32_t *sizes, int32_t *order,
                         struct ex_error *err);

/* Keeps `per_class` of the labelled samples of each class, chosen by seed;
 * returns how many, in the order they had. A class that has fewer is an error. */
enum ex_status ex__split_few(const int32_t *y, int32_t n_classes, int32_t per_class, uint64_t seed,
                             int32_t *items, int32_t n, int32_t *n_kept, struct ex_error *err);

#endif
