/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches by number: what a batch holds with and without a share of labelled
 * samples, that each sample comes once in a pass, and that the order in which
 * batches are asked for does not matter. Every sample is one number, by which
 * it is known again.
 */
#include <math.h>

#include "base/json.h"
#include "data/npy.h"
#include "tests/testing.h"
#include "train/train_feed.h"

enum { N = 60, CLASSES = 3, PER_CLASS = 7, LABELLED = CLASSES * PER_CLASS, BATCH = 8 };

static char folder[64];
static struct ex_error err;
static ex_data *data;
static ex_real known[N]; /* x of every training sample */

static int set_up(void **state) {
  (void)state;
  float x[N];
  int32_t y[N];
  char path[96];
  testing_folder(folder);
  for (int32_t i = 0; i < N; i++) {
    x[i] = (float)i;
    y[i] = i % CLASSES;
  }
  const int64_t dim[] = {N, 1};
  snprintf(path, sizeof path, "%s/x.npy", folder);
  assert_ok(ex__npy_write(path, EX_DTYPE_F32, 2, dim, x, &err), &err);
  snprintf(path, sizeof path, "%s/y.npy", folder);
  assert_ok(ex__npy_write(path, EX_DTYPE_I32, 1, dim, y, &err), &err);
  static const char recipe[] =
      "{\"format\": \"npy\", \"train\": {\"inputs\": \"x.npy\", \"labels\": \"y.npy\"},"
      " \"split\": {\"select\": 0, \"certify\": 0, \"test\": 0, \"labels-per-class\": 7,"
      " \"keep-unlabelled\": true}}";
  json_t *json;
  assert_ok(ex__json_parse(recipe, strlen(recipe), "recipe", &json, &err), &err);
  assert_ok(ex__data_open(json, folder, &data, &err), &err);
  json_decref(json);
  assert_int_equal(ex__data_size(data, EX_SPLIT_TRAIN), N);
  ex__data_read_range(data, EX_SPLIT_TRAIN, 0, N, known, NULL);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  ex__data_free(data);
  testing_remove(folder);
  return 0;
}

static ex_feed *feed_with(double labelled_share, double meta_share, uint64_t seed) {
  const struct ex_feed_options options = {
      .seed = seed, .batch = BATCH, .labelled_share = labelled_share, .meta_share = meta_share};
  ex_feed *feed;
  assert_ok(ex__feed_new(data, &options, &feed, &err), &err);
  assert_int_equal(ex__feed_batch(feed), BATCH);
  return feed;
}

static int32_t sample_of(ex_real x) {
  for (int32_t i = 0; i < N; i++)
    if (known[i] == x) return i;
  fail_msg("%g is no training sample", (double)x);
  return -1;
}

/* Adds the batch to `seen`; returns how many of it are labelled. */
static int32_t look(ex_feed *feed, int64_t index, int32_t seen[N]) {
  ex_real x[BATCH];
  int32_t y[BATCH], labelled = 0;
  ex__feed_read(feed, index, x, y);
  for (int32_t i = 0; i < BATCH; i++) {
    int32_t sample = sample_of(x[i]);
    assert_int_equal(y[i], ex__data_label(data, EX_SPLIT_TRAIN, sample));
    labelled += y[i] >= 0;
    seen[sample]++;
  }
  return labelled;
}

static void batches_mix_in_a_fixed_ratio(void **state) {
  (void)state;
  ex_feed *feed = feed_with(0.375, 0, 1);
  int32_t seen[N] = {0}, n_steps = LABELLED / 3;
  assert_int_equal(ex__feed_steps(feed), n_steps);
  for (int32_t epoch = 0; epoch < 2; epoch++)
    for (int32_t step = 0; step < n_steps; step++)
      assert_int_equal(look(feed, epoch * n_steps + step, seen), 3);
  /* Two passes over 21 labelled samples, and 70 of 39 unlabelled ones. */
  for (int32_t i = 0; i < N; i++)
    if (ex__data_label(data, EX_SPLIT_TRAIN, i) >= 0)
      assert_int_equal(seen[i], 2);
    else
      assert_in_range(seen[i], 1, 2);
  ex__feed_free(feed);
}

static void as_they_come(void **state) {
  (void)state;
  ex_feed *feed = feed_with(0, 0, 1);
  int32_t seen[N] = {0}, labelled = 0, least = BATCH, most = 0;
  assert_int_equal(ex__feed_steps(feed), N / BATCH);
  for (int32_t step = 0; step < N / BATCH; step++) {
    int32_t n = look(feed, step, seen);
    labelled += n;
    least = n < least ? n : least;
    most = n > most ? n : most;
  }
  for (int32_t i = 0; i < N; i++) assert_in_range(seen[i], 0, 1);
  assert_true(least < most);
  assert_in_range(labelled, LABELLED - 4, LABELLED);
  ex__feed_free(feed);
}

static void a_share_of_one_leaves_them_out(void **state) {
  (void)state;
  ex_feed *feed = feed_with(1, 0, 1);
  int32_t seen[N] = {0};
  assert_int_equal(ex__feed_steps(feed), LABELLED / BATCH);
  for (int32_t step = 0; step < 2; step++) assert_int_equal(look(feed, step, seen), BATCH);
  ex__feed_free(feed);
}

static void the_number_is_all(void **state) {
  (void)state;
  static const int64_t order[] = {40, 3, 17, 3, 0, 40};
  ex_feed *in_order = feed_with(0.5, 0.2, 5), *jumping = feed_with(0.5, 0.2, 5);
  ex_real x[41][BATCH], there[BATCH], other[BATCH];
  int32_t y[BATCH], differ = 0;
  for (int64_t i = 0; i < 41; i++) ex__feed_read(in_order, i, x[i], y);
  for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
    ex__feed_read(jumping, order[i], there, y);
    assert_memory_equal(there, x[order[i]], sizeof there);
  }
  ex_feed *another = feed_with(0.5, 0.2, 6);
  ex__feed_read(another, 3, other, y);
  differ = memcmp(other, x[3], sizeof other) != 0;
  assert_true(differ);
  ex__feed_free(in_order);
  ex__feed_free(jumping);
  ex__feed_free(another);
}

static void held_out_samples_are_labelled_and_apart(void **state) {
  (void)state;
  ex_feed *feed = feed_with(0.5, 0.2, 1);
  int32_t seen[N] = {0}, n_meta = ex__feed_meta(feed), y[BATCH];
  ex_real x[BATCH];
  assert_int_equal(n_meta, 4);
  assert_int_equal(ex__feed_steps(feed), (LABELLED - 4) / 4);
  for (int64_t i = 0; i < 20; i++) assert_int_equal(look(feed, i, seen), 4);
  for (int64_t i = 0; i < 3; i++) {
    ex__feed_read_meta(feed, i, x, y);
    for (int32_t k = 0; k < BATCH; k++) {
      assert_true(y[k] >= 0);
      assert_int_equal(seen[sample_of(x[k])], 0);
    }
  }
  ex__feed_free(feed);
}

static void shares_that_cannot_be_are_refused(void **state) {
  (void)state;
  ex_feed *feed;
  struct ex_feed_options options = {.batch = BATCH, .labelled_share = 0.05};
  assert_refused(ex__feed_new(data, &options, &feed, &err), EX_EINVAL, &err, "0 of a batch of 8");
  options.labelled_share = 0.99;
  assert_refused(ex__feed_new(data, &options, &feed, &err), EX_EINVAL, &err, "8 of a batch of 8");
  options = (struct ex_feed_options){.batch = 50, .labelled_share = 0.5};
  assert_refused(ex__feed_new(data, &options, &feed, &err), EX_EINVAL, &err, "the 21 labelled");
  assert_null(feed);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(batches_mix_in_a_fixed_ratio),
      cmocka_unit_test(as_they_come),
      cmocka_unit_test(a_share_of_one_leaves_them_out),
      cmocka_unit_test(the_number_is_all),
      cmocka_unit_test(held_out_samples_are_labelled_and_apart),
      cmocka_unit_test(shares_that_cannot_be_are_refused),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
