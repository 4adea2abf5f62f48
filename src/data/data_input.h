/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_input: files given to a finished model, one input or many.
 */
#ifndef EX_DATA_DATA_INPUT_H
#define EX_DATA_DATA_INPUT_H

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

#endif
