/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_input: files given to a finished model, one input or many.
 */
#ifndef EX_DATA_DATA_INPUT_H
#define EX_DATA_DATA_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/real.h"
#include "base/status.h"

/* Reads PNG or JPEG (one input; fitted to the shape, values 0 … 255) or .npy
 * (one input of the shape, or many behind a leading dimension; a single
 * channel may be left out) as raw values, before pre-processing.
 * rank, dim: the model's input, as in struct ex_data_info.
 * *x [*n][product of dim], released with ex__free. */
enum ex_status ex__input_read(const char *path, int32_t rank, const int32_t *dim, ex_real **x,
                              int32_t *n, struct ex_error *err);

/* The same of one PNG or JPEG in memory; errors open with `source`. out [product of
 * dim]; *n_decoded: pixels that the image had. */
enum ex_status ex__input_decode(const void *data, size_t size, const char *source, int32_t rank,
                                const int32_t *dim, uint8_t *out, int64_t *n_decoded,
                                struct ex_error *err);

#endif
