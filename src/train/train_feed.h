/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_feed: the batches of a run, by position.
 */
#ifndef EX_TRAIN_TRAIN_FEED_H
#define EX_TRAIN_TRAIN_FEED_H

#include "data/data.h"

typedef struct ex_feed ex_feed;

/* Borrows the data. batch ≤ samples of train. */
enum ex_status ex__feed_new(const ex_data *data, uint64_t seed, int32_t batch, bool class_weights,
                            ex_feed **out, struct ex_error *err);
void ex__feed_free(ex_feed *feed);           /* accepts NULL */
int32_t ex__feed_steps(const ex_feed *feed); /* whole batches in an epoch */
/* Batch `step` of `epoch`, augmented: x [batch][features], y [batch]. */
void ex__feed_read(ex_feed *feed, int32_t epoch, int32_t step, ex_real *x, int32_t *y);
/* Class weights of such a batch [batch], NULL where there are none; valid
 * until the next call. */
const ex_real *ex__feed_weights(ex_feed *feed, const int32_t *y);

#endif
