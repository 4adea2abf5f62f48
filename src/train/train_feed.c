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

#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "data/data_split.h"

enum { STREAM_META = 0x3e7a, STREAM_META_ORDER = 0x3e7b };

struct ex_feed {
  const ex_data *data;
  uint64_t seed;
  int32_t batch, n_all, n_meta; /* n_all: of the split, held-out ones too */
  int64_t epoch;                /* that `order` is of; −1: none yet */
  int32_t *order;               /* [n_all]; the first n_all − n_meta are trained on */
  bool *held;                   /* [n_all]; NULL where none is */
  int64_t meta_pass;            /* that meta_order is of; −1: none yet */
  int32_t *meta;                /* [n_meta] items, ascending */
  int32_t *meta_order;          /* [n_meta] */
  int32_t *items;               /* [batch] */
  ex_real *of_class;            /* [n_classes]; NULL: no class weights */
  ex_real *of_samples;          /* [batch] */
};

/* ---- held-out samples ----------------------------------------------------- */

/* The labelled samples and their classes; returns how many. */
static int32_t list_labelled(const ex_data *data, int32_t n, int32_t *items, int32_t *y) {
  int32_t labelled = 0;
  for (int32_t i = 0; i < n; i++) {
    int32_t label = ex__data_label(data, EX_SPLIT_TRAIN, i);
    if (label < 0) continue;
    items[labelled] = i;
    y[labelled++] = label;
  }
  return labelled;
}

/* work: [3 · n_all]. */
static enum ex_status cut_meta(ex_feed *feed, double share, int32_t *work, struct ex_error *err) {
  int32_t n = feed->n_all, *items = work, *y = work + n, *order = y + n;
  int32_t labelled = list_labelled(feed->data, n, items, y);
  feed->n_meta = (int32_t)(share * labelled + 0.5);
  if (feed->n_meta < 1 || feed->n_meta >= n)
    return ex__fail(err, EX_EINVAL,
                    "train: meta-share = %g holds out %d of %d labelled samples; must leave some "
                    "of either kind",
                    share, (int)feed->n_meta, (int)labelled);
  feed->meta = ex__calloc((size_t)feed->n_meta, sizeof *feed->meta);
  feed->meta_order = ex__calloc((size_t)feed->n_meta, sizeof *feed->meta_order);
  feed->held = ex__calloc((size_t)n, sizeof *feed->held);
  if (feed->meta == NULL || feed->meta_order == NULL || feed->held == NULL)
    return ex__fail(err, EX_ENOMEM, "training: no memory for %d held-out samples",
                    (int)feed->n_meta);
  struct ex_random random = ex__random_seed(feed->seed, STREAM_META);
  EX_TRY(ex__split(y, labelled, ex__data_info(feed->data)->n_classes, ex__random_u64(&random), 1,
                   &feed->n_meta, order, err));
  for (int32_t i = 0; i < feed->n_meta; i++) {
    feed->meta[i] = items[order[i]];
    feed->held[items[order[i]]] = true;
  }
  return EX_OK;
}

static enum ex_status hold_out(ex_feed *feed, double share, struct ex_error *err) {
  int32_t *work = ex__calloc(3 * (size_t)feed->n_all, sizeof *work);
  if (work == NULL)
    return ex__fail(err, EX_ENOMEM, "training: no memory for %d samples", (int)feed->n_all);
  enum ex_status status = cut_meta(feed, share, work, err);
  ex__free(work);
  return status;
}

static void shuffle_meta(ex_feed *feed, int64_t pass) {
  struct ex_random random =
      ex__random_seed(feed->seed, (uint64_t)STREAM_META_ORDER << 40 | (uint64_t)pass);
  memcpy(feed->meta_order, feed->meta, (size_t)feed->n_meta * sizeof *feed->meta);
  ex__random_shuffle(&random, feed->meta_order, feed->n_meta);
  feed->meta_pass = pass;
}

/* ---- making --------------------------------------------------------------- */

static enum ex_status take_memory(ex_feed *feed, bool class_weights, struct ex_error *err) {
  size_t n_classes = (size_t)ex__data_info(feed->data)->n_classes;
  feed->order = ex__calloc((size_t)feed->n_all, sizeof *feed->order);
  feed->items = ex__calloc((size_t)feed->batch, sizeof *feed->items);
  feed->of_samples = ex__calloc((size_t)feed->batch, sizeof *feed->of_samples);
  if (class_weights) feed->of_class = ex__calloc(n_classes, sizeof *feed->of_class);
  if (feed->order == NULL || feed->items == NULL || feed->of_samples == NULL ||
      (class_weights && feed->of_class == NULL))
    return ex__fail(err, EX_ENOMEM, "training: no memory for the order of %d samples",
                    (int)feed->n_all);
  if (class_weights) ex__data_class_weights(feed->data, feed->of_class);
  return EX_OK;
}

enum ex_status ex__feed_new(const ex_data *data, const struct ex_feed_options *options,
                            ex_feed **out, struct ex_error *err) {
  *out = NULL;
  ex_feed *feed = ex__calloc(1, sizeof *feed);
  if (feed == NULL) return ex__fail(err, EX_ENOMEM, "training: no memory for batches");
  *feed = (ex_feed){.data = data,
                    .seed = options->seed,
                    .n_all = ex__data_size(data, EX_SPLIT_TRAIN),
                    .epoch = -1,
                    .meta_pass = -1};
  enum ex_status status = EX_OK;
  if (options->meta_share > 0) status = hold_out(feed, options->meta_share, err);
  int32_t trained = feed->n_all - feed->n_meta;
  feed->batch = options->batch < trained ? options->batch : trained;
  if (status == EX_OK) status = take_memory(feed, options->class_weights, err);
  if (status == EX_OK)
    *out = feed;
  else
    ex__feed_free(feed);
  return status;
}

void ex__feed_free(ex_feed *feed) {
  if (feed == NULL) return;
  ex__free(feed->order);
  ex__free(feed->held);
  ex__free(feed->meta);
  ex__free(feed->meta_order);
  ex__free(feed->items);
  ex__free(feed->of_class);
  ex__free(feed->of_samples);
  ex__free(feed);
}

/* ---- reading -------------------------------------------------------------- */

int32_t ex__feed_batch(const ex_feed *feed) { return feed->batch; }
int32_t ex__feed_steps(const ex_feed *feed) { return (feed->n_all - feed->n_meta) / feed->batch; }
int32_t ex__feed_meta(const ex_feed *feed) { return feed->n_meta; }

static void shuffle(ex_feed *feed, int64_t epoch) {
  ex__data_shuffle(feed->data, feed->seed, (int32_t)epoch, feed->order);
  feed->epoch = epoch;
  int32_t kept = 0;
  for (int32_t i = 0; feed->held != NULL && i < feed->n_all; i++)
    if (!feed->held[feed->order[i]]) feed->order[kept++] = feed->order[i];
}

void ex__feed_read(ex_feed *feed, int64_t index, ex_real *x, int32_t *y) {
  int64_t epoch = index / ex__feed_steps(feed), step = index % ex__feed_steps(feed);
  if (feed->epoch != epoch) shuffle(feed, epoch);
  const int32_t *items = feed->order + step * feed->batch;
  ex__data_read_augmented(feed->data, feed->seed, (int32_t)epoch, items, feed->batch, x, y);
}

void ex__feed_read_meta(ex_feed *feed, int64_t index, ex_real *x, int32_t *y) {
  for (int32_t i = 0; i < feed->batch; i++) {
    int64_t at = index * feed->batch + i, pass = at / feed->n_meta;
    if (feed->meta_pass != pass) shuffle_meta(feed, pass);
    feed->items[i] = feed->meta_order[at % feed->n_meta];
  }
  ex__data_read(feed->data, EX_SPLIT_TRAIN, feed->items, feed->batch, x, y);
}

const ex_real *ex__feed_weights(ex_feed *feed, const int32_t *y) {
  if (feed->of_class == NULL) return NULL;
  for (int32_t i = 0; i < feed->batch; i++)
    feed->of_samples[i] = y[i] >= 0 ? feed->of_class[y[i]] : 0;
  return feed->of_samples;
}
