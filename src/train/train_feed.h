/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_feed: the batches of a run, by number.
 *
 * Batches are numbered through all epochs of the data, and a number is all that
 * a batch depends on. Where a share of the training samples is held out (meta
 * samples, for methods that learn their weights on samples that they do not
 * train on), it is cut once, by seed, with the classes in proportion.
 *
 * Where a share of labelled samples is asked for, every batch begins with that
 * many labelled samples and ends with unlabelled ones. An epoch is then one pass
 * over the labelled; the unlabelled have passes of their own, which go on
 * across batches and epochs.
 */
#ifndef EX_TRAIN_TRAIN_FEED_H
#define EX_TRAIN_TRAIN_FEED_H

#include "data/data.h"

typedef struct ex_feed ex_feed;

struct ex_feed_options {
  uint64_t seed;
  int32_t batch; /* wanted; fewer where there are not as many */
  bool class_weights;
  double meta_share;     /* of the labelled training samples; 0: none are held out */
  double labelled_share; /* of a batch; 0: as the samples come; 1: no unlabelled ones */
};

enum ex_status ex__feed_new(const ex_data *data, const struct ex_feed_options *options,
                            ex_feed **out, struct ex_error *err); /* borrows the data */
void ex__feed_free(ex_feed *feed);                                /* accepts NULL */
int32_t ex__feed_batch(const ex_feed *feed);
int32_t ex__feed_steps(const ex_feed *feed); /* whole batches in an epoch of the data */
int32_t ex__feed_meta(const ex_feed *feed);  /* held-out samples */
/* Batch `index` of the training samples, augmented: x [batch][features], y [batch]. */
void ex__feed_read(ex_feed *feed, int64_t index, ex_real *x, int32_t *y);
/* Batch `index` of the held-out samples, as they are: one pass over them in an
 * order of its own follows the other, across batches. */
void ex__feed_read_meta(ex_feed *feed, int64_t index, ex_real *x, int32_t *y);
/* Class weights of such a batch [batch], NULL where there are none; valid
 * until the next call. */
const ex_real *ex__feed_weights(ex_feed *feed, const int32_t *y);

#endif
