/* SPDX-License-Identifier: Apache-2.0
 *
 * Roles, batches and recipes on a small made set: 120 samples of 3 classes,
 * 1 × 4 × 4 bytes, of which the first byte is the number of the sample.
 */
#include <math.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/data.h"
#include "data/data_recipe.h"
#include "data/npy.h"
#include "tests/testing.h"

enum { N = 120, FEATURES = 16 };
static char folder[64];
static struct ex_error err;
static ex_data *data;

static int set_up(void **state) {
  (void)state;
  testing_folder(folder);
  uint8_t x[N][FEATURES];
  int32_t y[N];
  for (int32_t i = 0; i < N; i++) {
    for (int32_t j = 0; j < FEATURES; j++) x[i][j] = (uint8_t)(i + j);
    x[i][0] = (uint8_t)i;
    y[i] = i % 3;
  }
  char path[96];
  snprintf(path, sizeof path, "%s/x.npy", folder);
  assert_ok(ex__npy_write(path, EX_DTYPE_U8, 3, (int64_t[]){N, 4, 4}, x, &err), &err);
  snprintf(path, sizeof path, "%s/y.npy", folder);
  assert_ok(ex__npy_write(path, EX_DTYPE_I32, 1, (int64_t[]){N}, y, &err), &err);
  snprintf(path, sizeof path, "%s/test.npy", folder);
  assert_ok(ex__npy_write(path, EX_DTYPE_U8, 3, (int64_t[]){7, 4, 4}, x, &err), &err);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  ex__data_free(data);
  data = NULL;
  testing_remove(folder);
  return 0;
}

/* Opens the made set with `rest` added to its recipe. */
static enum ex_status open_with(const char *rest) {
  char text[600];
  snprintf(text, sizeof text,
           "{\"format\": \"npy\", \"train\": {\"inputs\": \"x.npy\", \"labels\": \"y.npy\"}%s}",
           rest);
  ex__data_free(data);
  json_t *json;
  assert_ok(ex__json_parse(text, strlen(text), "recipe", &json, &err), &err);
  enum ex_status status = ex__data_open(json, folder, &data, &err);
  json_decref(json);
  return status;
}

static int32_t number_of(enum ex_split split, int32_t index) {
  ex_real x[FEATURES];
  ex__data_raw(data, split, index, x);
  return (int32_t)x[0];
}

static void roles_are_disjoint(void **state) {
  (void)state;
  assert_ok(open_with(", \"split\": {\"select\": 30, \"certify\": 15, \"test\": 9}"), &err);
  const int32_t expected[EX_N_SPLITS] = {66, 30, 15, 9};
  int32_t seen[N] = {0};
  for (int split = 0; split < EX_N_SPLITS; split++) {
    int32_t count[3] = {0};
    assert_int_equal(ex__data_size(data, split), expected[split]);
    for (int32_t i = 0; i < expected[split]; i++) {
      int32_t number = number_of(split, i);
      seen[number]++;
      count[ex__data_label(data, split, i)]++;
      assert_int_equal(ex__data_label(data, split, i), number % 3);
    }
    for (int c = 0; c < 3; c++) assert_int_equal(count[c], expected[split] / 3);
  }
  for (int32_t i = 0; i < N; i++) assert_int_equal(seen[i], 1);
  assert_ok(open_with(""), &err);
  assert_int_equal(ex__data_size(data, EX_SPLIT_SELECT), 10); /* a twelfth */
}

static void info(void **state) {
  (void)state;
  assert_ok(open_with(", \"classes\": [\"a\", \"b\", \"c\", \"d\"]"), &err);
  const struct ex_data_info *info = ex__data_info(data);
  assert_true(info->rank == 3 && info->features == FEATURES && info->preprocess->bytes &&
              info->preprocess->n_channels == 1);
  assert_int_equal(info->n_classes, 4);
  assert_string_equal(info->class_names[3], "d");
  double sum = 0, square = 0;
  int32_t n = ex__data_size(data, EX_SPLIT_TRAIN);
  ex_real x[FEATURES];
  for (int32_t i = 0; i < n; i++) { /* normalised training samples have mean 0, deviation 1 */
    ex__data_read_range(data, EX_SPLIT_TRAIN, i, 1, x, NULL);
    for (int j = 0; j < FEATURES; j++) {
      sum += (double)x[j] / n / FEATURES;
      square += (double)x[j] * (double)x[j] / n / FEATURES;
    }
  }
  assert_true(fabs(sum) < 1e-5 && fabs(square - 1) < 1e-5);
  assert_ok(open_with(""), &err);
  assert_string_equal(ex__data_info(data)->class_names[2], "2");
}

static void epochs_do_not_depend_on_batches(void **state) {
  (void)state;
  assert_ok(open_with(", \"augment\": {\"crop\": 1, \"flip\": 0.5}"), &err);
  int32_t n = ex__data_size(data, EX_SPLIT_TRAIN), order[N], next[N], y[N], y_one, seen[N] = {0};
  ex__data_shuffle(data, 5, 0, order);
  ex__data_shuffle(data, 5, 1, next);
  assert_memory_not_equal(order, next, (size_t)n * sizeof *order);
  for (int32_t i = 0; i < n; i++) seen[order[i]]++;
  for (int32_t i = 0; i < n; i++) assert_int_equal(seen[i], 1);
  static ex_real all[N * FEATURES], again[N * FEATURES];
  ex__data_read_augmented(data, 5, 0, order, n, all, y);
  for (int32_t i = n - 1; i >= 0; i--) {
    ex_real one[FEATURES];
    ex__data_read_augmented(data, 5, 0, &order[i], 1, one, &y_one);
    assert_memory_equal(one, all + i * FEATURES, sizeof one);
    assert_int_equal(y_one, y[i]);
  }
  ex__data_read_augmented(data, 5, 1, order, n, again, NULL);
  assert_memory_not_equal(all, again, (size_t)n * FEATURES * sizeof *all);
}

static void test_files(void **state) {
  (void)state;
  assert_ok(open_with(", \"test\": {\"inputs\": \"test.npy\"}"), &err);
  assert_int_equal(ex__data_size(data, EX_SPLIT_TEST), 7);
  assert_int_equal(ex__data_size(data, EX_SPLIT_TRAIN), 100);
  assert_int_equal(ex__data_label(data, EX_SPLIT_TEST, 0), -1); /* not labelled */
  assert_int_equal(number_of(EX_SPLIT_TEST, 6), 6);
  assert_refused(open_with(", \"test\": {\"inputs\": \"none.npy\"}"), EX_ENOTFOUND, &err,
                 "none.npy");
}

static void digests(void **state) {
  (void)state;
  char first[EX_DIGEST_TEXT], second[EX_DIGEST_TEXT], other[EX_DIGEST_TEXT];
  assert_ok(open_with(", \"split\": {\"seed\": 1}"), &err);
  assert_int_equal(ex__data_digest(data, EX_SPLIT_CERTIFY, first), EX_OK);
  assert_int_equal(ex__data_digest(data, EX_SPLIT_SELECT, other), EX_OK);
  assert_string_not_equal(first, other);
  assert_ok(open_with(", \"split\": {\"seed\": 1}"), &err);
  assert_int_equal(ex__data_digest(data, EX_SPLIT_CERTIFY, second), EX_OK);
  assert_string_equal(first, second);
  assert_ok(open_with(", \"split\": {\"seed\": 2}"), &err);
  assert_int_equal(ex__data_digest(data, EX_SPLIT_CERTIFY, other), EX_OK);
  assert_string_not_equal(first, other);
}

static void few_labels(void **state) {
  (void)state;
  assert_ok(open_with(", \"split\": {\"labels-per-class\": 4}"), &err);
  assert_int_equal(ex__data_size(data, EX_SPLIT_TRAIN), 12);
  ex_real weights[3];
  ex__data_class_weights(data, weights);
  for (int c = 0; c < 3; c++) assert_true(weights[c] == 1);
  assert_ok(open_with(", \"split\": {\"labels-per-class\": 4, \"keep-unlabelled\": true}"), &err);
  int32_t labelled = 0;
  for (int32_t i = 0; i < 90; i++) labelled += ex__data_label(data, EX_SPLIT_TRAIN, i) >= 0;
  assert_int_equal(ex__data_size(data, EX_SPLIT_TRAIN), 90);
  assert_int_equal(labelled, 12);
  assert_true(ex__data_label(data, EX_SPLIT_SELECT, 0) >= 0);
}

static void wrong_recipes(void **state) {
  (void)state;
  static const struct {
    const char *rest, *part;
  } bad[] = {
      {", \"augmentation\": {}", "\"augmentation\" is unknown"},
      {", \"augment\": {\"crop\": -1}", "data.augment: crop = -1; must be"},
      {", \"split\": {\"select\": 60, \"certify\": 60}", "leave nothing of 120"},
      {", \"split\": {\"selected\": 60}", "\"selected\" is unknown; must be one of select"},
      {", \"shape\": [1, 2, 3]", "\"shape\" must be given for the format folder"},
      {", \"classes\": []", "\"classes\" must be"},
      {", \"classes\": [1]", "\"classes\" must be"},
      {", \"test\": {\"inputs\": []}", "data.test: \"inputs\" names 0"},
      {", \"test\": {\"inputs\": [1]}", "path or an array"},
      {", \"test\": {\"inputs\": \"x.npy\", \"labels\": [\"a\", \"b\"]}",
       "2 files of labels for 1"},
      {", \"test\": {\"labels\": \"y.npy\"}", "the key \"inputs\""},
      {", \"split\": {\"labels-per-class\": 40}", "40 labels per class"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_refused(open_with(bad[i].rest), EX_EINVAL, &err, bad[i].part);
    assert_null(data);
  }
  assert_refused(open_with(", \"classes\": [\"a\"]"), EX_EFORMAT, &err,
                 "3 classes; \"classes\" names 1");
  json_t *json = json_pack("{s:s}", "format", "tar");
  assert_refused(ex__data_open(json, folder, &data, &err), EX_EINVAL, &err, "\"tar\"; must be idx");
  json_decref(json);
  ex__data_free(NULL);
}

static void parameters_keep_their_rules(void **state) {
  (void)state;
  assert_ok(ex__param_check_table("split", ex__data_split_params, &err), &err);
  assert_ok(ex__param_check_table("augment", ex__data_augment_params, &err), &err);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(roles_are_disjoint, set_up, tear_down),
      cmocka_unit_test_setup_teardown(info, set_up, tear_down),
      cmocka_unit_test_setup_teardown(epochs_do_not_depend_on_batches, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
      cmocka_unit_test_setup_teardown(digests, set_up, tear_down),
      cmocka_unit_test_setup_teardown(few_labels, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wrong_recipes, set_up, tear_down),
      cmocka_unit_test(parameters_keep_their_rules),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
