/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_feed: reading and augmenting a batch, when it is wanted.
 *
 * Not ahead of time in a thread of its own: 64 cropped and mirrored images of
 * 28×28 take 0.12 ms, against 40 ms of one thread for a step of the small
 * residual network and 15 ms for one of B-LeNet. A third runnable thread on
 * two processors that compute would cost more than this third of a percent.
 */
#include "train/train_feed.h"

#include "base/memory.h"

struct ex_feed {
  const ex_data *data;
  uint64_t seed;
  int32_t batch, n_steps;
  int32_t epoch;       /* that `order` is of; −1: none yet */
  int32_t *order;      /* [size of train] */
  ex_real *of_class;   /* [n_classes]; NULL: no class weights */
  ex_real *of_samples; /* [batch] */
};

enum ex_status ex__feed_new(const ex_data *data, uint64_t seed, int32_t batch, bool class_weights,
                            ex_feed **out, struct ex_error *err) {
  *out = NULL;
  int32_t n = ex__data_size(data, EX_SPLIT_TRAIN);
  size_t n_classes = (size_t)ex__data_info(data)->n_classes;
  ex_feed *feed = ex__calloc(1, sizeof *feed);
  if (feed == NULL) return ex__fail(err, EX_ENOMEM, "training: no memory for batches");
  *feed = (ex_feed){.data = data,
                    .seed = seed,
                    .batch = batch,
                    .n_steps = n / batch,
                    .epoch = -1,
                    .order = ex__calloc((size_t)n, sizeof *feed->order),
                    .of_samples = ex__calloc((size_t)batch, sizeof *feed->of_samples)};
  if (class_weights) feed->of_class = ex__calloc(n_classes, sizeof *feed->of_class);
  if (feed->order == NULL || feed->of_samples == NULL ||
      (class_weights && feed->of_class == NULL)) {
    ex__feed_free(feed);
    return ex__fail(err, EX_ENOMEM, "training: no memory for the order of %d samples", (int)n);
  }
  if (class_weights) ex__data_class_weights(data, feed->of_class);
  *out = feed;
  return EX_OK;
}

void ex__feed_free(ex_feed *feed) {
  if (feed == NULL) return;
  ex__free(feed->order);
  ex__free(feed->of_class);
  ex__free(feed->of_samples);
  ex__free(feed);
}

int32_t ex__feed_steps(const ex_feed *feed) { return feed->n_steps; }

void ex__feed_read(ex_feed *feed, int32_t epoch, int32_t step, ex_real *x, int32_t *y) {
  if (feed->epoch != epoch) {
    ex__data_shuffle(feed->data, feed->seed, epoch, feed->order);
    feed->epoch = epoch;
  }
  const int32_t *items = feed->order + (int64_t)step * feed->batch;
  ex__data_read_augmented(feed->data, feed->seed, epoch, items, feed->batch, x, y);
}

const ex_real *ex__feed_weights(ex_feed *feed, const int32_t *y) {
  if (feed->of_class == NULL) return NULL;
  for (int32_t i = 0; i < feed->batch; i++)
    feed->of_samples[i] = y[i] >= 0 ? feed->of_class[y[i]] : 0;
  return feed->of_samples;
}
