/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_transform: from a stored sample to raw values, moved about for
 * training; and the statistics that a model's pre-processing is made of.
 */
#ifndef EX_DATA_DATA_TRANSFORM_H
#define EX_DATA_DATA_TRANSFORM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/real.h"
#include "data/data_samples.h"
#include "data/preprocess.h"

/* Mean and deviation over `items` [n], the training samples only: per channel
 * for images of up to EX_MAX_STATISTICS channels, else over all features
 * together. What never changes gets deviation 1. */
enum ex_status ex__transform_statistics(const struct ex_samples *samples, const int32_t *items,
                                        int32_t n, struct ex_preprocess *out, struct ex_error *err);

/* Random crop after padding each side by `crop` pixels of stored value 0, and
 * a mirror image (left for right) with probability `flip`. */
struct ex_augment {
  int32_t crop; /* pixels; 0: none */
  double flip;  /* in [0, 1] */
};

/* What happens to one sample in one epoch, whichever thread or batch asks. */
struct ex_augment_draw {
  int32_t dy, dx; /* in [-crop, crop]: the source pixel of the target's corner */
  bool mirror;
};
struct ex_augment_draw ex__augment_draw(const struct ex_augment *augment, uint64_t seed,
                                        int32_t epoch, int32_t sample);

/* The stored values of sample `index`, out [dim…], moved as drawn. Rank 1
 * ignores the draw, which may be NULL. */
void ex__transform_fill(const struct ex_samples *samples, int32_t index,
                        const struct ex_augment_draw *draw, ex_real *out);

#endif
