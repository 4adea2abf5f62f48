/* SPDX-License-Identifier: Apache-2.0
 *
 * data/idx: the IDX format of MNIST and its kin, compressed by gzip or not.
 */
#ifndef EX_DATA_IDX_H
#define EX_DATA_IDX_H

#include "base/status.h"
#include "data/array.h"

/* Reads a whole file of unsigned bytes, int32, float or double into an array
 * that owns its data. `rank` is what the caller expects (1 labels, 3 images,
 * 4 images with channels); another is refused, as is a file that ends early or
 * goes on after its data. */
enum ex_status ex__idx_read(const char *path, int32_t rank, struct ex_array *out,
                            struct ex_error *err);

#endif
