/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_transform: from a stored sample to what the network reads: scaled,
 * augmented, normalised.
 */
#ifndef EX_DATA_DATA_TRANSFORM_H
#define EX_DATA_DATA_TRANSFORM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/real.h"
#include "data/data_samples.h"

/* Mean and standard deviation per channel (rank 3), after bytes were divided
 * by 255; over all features together for rank 1. Over `items` [n], the
 * training samples only. A channel that never changes gets deviation 1. */
enum ex_status ex__transform_statistics(const struct ex_samples *samples, const int32_t *items,
                                        int32_t n, double *mean, double *deviation,
                                        struct ex_error *err);
int32_t ex__transform_channels(const struct ex_samples *samples); /* how many statistics */

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

/* Sample `index`: out [dim…] = (x/255 or x − mean) / deviation; mean and
 * deviation [channels] may both be NULL. Rank 1 ignores the draw, which may
 * be NULL. */
void ex__transform_fill(const struct ex_samples *samples, int32_t index, const double *mean,
                        const double *deviation, const struct ex_augment_draw *draw, ex_real *out);

#endif
