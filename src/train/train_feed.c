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

enum { STREAM_META = 0x3e7a, STREAM_META_ORDER = 0x3e7b, STREAM_UNLABELLED = 0x3e7c };

/* Samples that are gone through pass after pass, each in an order of its own. */
struct ring {
  uint64_t stream;
  int32_t n;
  int32_t *items; /* [n], ascending */
  int32_t *order; /* [n] of the pass */
  int64_t pass;   /* −1: none yet */
};

struct ex_feed {
  const ex_data *data;
  uint64_t seed;
  int32_t batch, n_all;       /* n_all: of the split, held-out ones too */
  int32_t n_epoch, per_batch; /* samples of an epoch's order, and how many a batch takes of them */
  int64_t epoch;              /* that `order` is of; −1: none yet */
  int32_t *order;             /* [n_all]; the first n_epoch are gone through */
  bool *apart;                /* [n_all] not in the epoch's order; NULL: all are */
  struct ring meta, unlabelled;
  int32_t *items;      /* [batch] */
  ex_real *of_class;   /* [n_classes]; NULL: no class weights */
  ex_real *of_samples; /* [batch] */
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

static enum ex_status ring_new(struct ring *ring, uint64_t stream, int32_t n,
                               struct ex_error *err) {
  *ring = (struct ring){.stream = stream,
                        .n = n,
                        .items = ex__calloc((size_t)n, sizeof *ring->items),
                        .order = ex__calloc((size_t)n, sizeof *ring->order),
                        .pass = -1};
  if (ring->items == NULL || ring->order == NULL)
    return ex__fail(err, EX_ENOMEM, "training: no memory for the order of %d samples", (int)n);
  return EX_OK;
}

static void ring_clear(struct ring *ring) {
  ex__free(ring->items);
  ex__free(ring->order);
}

/* The sample at this place of all passes, one after the other. */
static int32_t ring_at(const ex_feed *feed, struct ring *ring, int64_t place) {
  int64_t pass = place / ring->n;
  if (ring->pass != pass) {
    struct ex_random random = ex__random_seed(feed->seed, ring->stream << 40 | (uint64_t)pass);
    memcpy(ring->order, ring->items, (size_t)ring->n * sizeof *ring->order);
    ex__random_shuffle(&random, ring->order, ring->n);
    ring->pass = pass;
  }
  return ring->order[place % ring->n];
}

/* work: [3 · n_all]. */
static enum ex_status cut_meta(ex_feed *feed, double share, int32_t *work, struct ex_error *err) {
  int32_t n = feed->n_all, *items = work, *y = work + n, *order = y + n;
  int32_t labelled = list_labelled(feed->data, n, items, y);
  int32_t n_meta = (int32_t)(share * labelled + 0.5);
  if (n_meta < 1 || n_meta >= labelled)
    return ex__fail(err, EX_EINVAL,
                    "train: meta-share = %g holds out %d of %d labelled samples; must leave some "
                    "of either kind",
                    share, (int)n_meta, (int)labelled);
  EX_TRY(ring_new(&feed->meta, STREAM_META_ORDER, n_meta, err));
  struct ex_random random = ex__random_seed(feed->seed, STREAM_META);
  EX_TRY(ex__split(y, labelled, ex__data_info(feed->data)->n_classes, ex__random_u64(&random), 1,
                   &n_meta, order, err));
  for (int32_t i = 0; i < n_meta; i++) {
    feed->meta.items[i] = items[order[i]];
    feed->apart[items[order[i]]] = true;
  }
  feed->n_epoch -= n_meta;
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

/* ---- unlabelled samples ----------------------------------------------------- */

/* The epoch's order keeps the labelled samples, the ring takes the others. */
static enum ex_status part_unlabelled(ex_feed *feed, struct ex_error *err) {
  int32_t n = 0;
  for (int32_t i = 0; i < feed->n_all; i++) n += ex__data_label(feed->data, EX_SPLIT_TRAIN, i) < 0;
  EX_TRY(ring_new(&feed->unlabelled, STREAM_UNLABELLED, n, err));
  for (int32_t i = 0, k = 0; i < feed->n_all; i++) {
    if (ex__data_label(feed->data, EX_SPLIT_TRAIN, i) >= 0) continue;
    feed->unlabelled.items[k++] = i;
    feed->apart[i] = true;
  }
  feed->n_epoch -= n;
  return EX_OK;
}

static enum ex_status size_batch(ex_feed *feed, const struct ex_feed_options *options,
                                 struct ex_error *err) {
  double share = options->labelled_share;
  if (share == 0 || share == 1) {
    feed->batch = options->batch < feed->n_epoch ? options->batch : feed->n_epoch;
    feed->per_batch = feed->batch;
    return EX_OK;
  }
  feed->batch = options->batch;
  feed->per_batch = (int32_t)(share * options->batch + 0.5);
  if (feed->unlabelled.n == 0)
    return ex__fail(err, EX_EINVAL,
                    "train: labelled-share = %g; no training sample is unlabelled "
                    "(data.split.keep-unlabelled keeps those whose labels are not used)",
                    share);
  if (feed->per_batch < 1 || feed->per_batch >= feed->batch || feed->per_batch > feed->n_epoch)
    return ex__fail(err, EX_EINVAL,
                    "train: labelled-share = %g is %d of a batch of %d; must be at least 1, leave "
                    "room for others, and be at most the %d labelled samples",
                    share, (int)feed->per_batch, (int)feed->batch, (int)feed->n_epoch);
  return EX_OK;
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

static enum ex_status part_samples(ex_feed *feed, const struct ex_feed_options *options,
                                   struct ex_error *err) {
  bool all = !(options->meta_share > 0) && !(options->labelled_share > 0);
  feed->n_epoch = feed->n_all;
  if (all) return size_batch(feed, options, err);
  feed->apart = ex__calloc((size_t)feed->n_all, sizeof *feed->apart);
  if (feed->apart == NULL)
    return ex__fail(err, EX_ENOMEM, "training: no memory for %d samples", (int)feed->n_all);
  if (options->meta_share > 0) EX_TRY(hold_out(feed, options->meta_share, err));
  if (options->labelled_share > 0) EX_TRY(part_unlabelled(feed, err));
  return size_batch(feed, options, err);
}

enum ex_status ex__feed_new(const ex_data *data, const struct ex_feed_options *options,
                            ex_feed **out, struct ex_error *err) {
  *out = NULL;
  ex_feed *feed = ex__calloc(1, sizeof *feed);
  if (feed == NULL) return ex__fail(err, EX_ENOMEM, "training: no memory for batches");
  *feed = (ex_feed){.data = data,
                    .seed = options->seed,
                    .n_all = ex__data_size(data, EX_SPLIT_TRAIN),
                    .epoch = -1};
  enum ex_status status = part_samples(feed, options, err);
  if (status == EX_OK) status = take_memory(feed, options->class_weights, err);
  if (status == EX_OK)
    *out = feed;
  else
    ex__feed_free(feed);
  return status;
}

void ex__feed_free(ex_feed *feed) {
  if (feed == NULL) return;
  ring_clear(&feed->meta);
  ring_clear(&feed->unlabelled);
  ex__free(feed->order);
  ex__free(feed->apart);
  ex__free(feed->items);
  ex__free(feed->of_class);
  ex__free(feed->of_samples);
  ex__free(feed);
}

/* ---- reading -------------------------------------------------------------- */

int32_t ex__feed_batch(const ex_feed *feed) { return feed->batch; }
int32_t ex__feed_steps(const ex_feed *feed) { return feed->n_epoch / feed->per_batch; }
int32_t ex__feed_meta(const ex_feed *feed) { return feed->meta.n; }

static void shuffle(ex_feed *feed, int64_t epoch) {
  ex__data_shuffle(feed->data, feed->seed, (int32_t)epoch, feed->order);
  feed->epoch = epoch;
  int32_t kept = 0;
  for (int32_t i = 0; feed->apart != NULL && i < feed->n_all; i++)
    if (!feed->apart[feed->order[i]]) feed->order[kept++] = feed->order[i];
}

/* An unlabelled sample is augmented anew in each pass over them. */
static void read_unlabelled(ex_feed *feed, int64_t index, ex_real *x, int32_t *y) {
  int64_t n = feed->batch - feed->per_batch, features = ex__data_info(feed->data)->features;
  for (int64_t i = 0; i < n; i++) {
    int32_t item = ring_at(feed, &feed->unlabelled, index * n + i);
    int32_t pass = (int32_t)feed->unlabelled.pass;
    ex__data_read_augmented(feed->data, feed->seed, pass, &item, 1, x + i * features, y + i);
  }
}

void ex__feed_read(ex_feed *feed, int64_t index, ex_real *x, int32_t *y) {
  int64_t epoch = index / ex__feed_steps(feed), step = index % ex__feed_steps(feed);
  int64_t features = ex__data_info(feed->data)->features;
  if (feed->epoch != epoch) shuffle(feed, epoch);
  const int32_t *items = feed->order + step * feed->per_batch;
  ex__data_read_augmented(feed->data, feed->seed, (int32_t)epoch, items, feed->per_batch, x, y);
  read_unlabelled(feed, index, x + feed->per_batch * features, y + feed->per_batch);
}

void ex__feed_read_meta(ex_feed *feed, int64_t index, ex_real *x, int32_t *y) {
  for (int32_t i = 0; i < feed->batch; i++)
    feed->items[i] = ring_at(feed, &feed->meta, index * feed->batch + i);
  ex__data_read(feed->data, EX_SPLIT_TRAIN, feed->items, feed->batch, x, y);
}

const ex_real *ex__feed_weights(ex_feed *feed, const int32_t *y) {
  if (feed->of_class == NULL) return NULL;
  for (int32_t i = 0; i < feed->batch; i++)
    feed->of_samples[i] = y[i] >= 0 ? feed->of_class[y[i]] : 0;
  return feed->of_samples;
}
