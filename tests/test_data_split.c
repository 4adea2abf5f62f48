/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "data/data_split.h"
#include "tests/testing.h"

enum { N = 1000, CLASSES = 4 };
static int32_t y[N], order[N], again[N];
static struct ex_error err;

/* Classes of 100, 200, 300 and 400 samples, mixed. */
static void make_labels(void) {
  for (int32_t i = 0; i < N; i++) y[i] = i % 10 < 1 ? 0 : i % 10 < 3 ? 1 : i % 10 < 6 ? 2 : 3;
}

static void parts_are_exact_disjoint_and_stratified(void **state) {
  (void)state;
  make_labels();
  const int32_t sizes[3] = {700, 100, 50};
  assert_ok(ex__split(y, N, CLASSES, 7, 3, sizes, order, &err), &err);
  int32_t seen[N] = {0};
  for (int32_t i = 0; i < N; i++) seen[order[i]]++;
  for (int32_t i = 0; i < N; i++) assert_int_equal(seen[i], 1);
  for (int32_t p = 0, at = 0; p < 3; at += sizes[p++]) {
    int32_t count[CLASSES] = {0};
    for (int32_t i = at; i < at + sizes[p]; i++) {
      count[y[order[i]]]++;
      if (i > at) assert_true(order[i] > order[i - 1]);
    }
    for (int32_t c = 0; c < CLASSES; c++)
      assert_in_range(count[c] * 10 + 10, sizes[p] * (c + 1), sizes[p] * (c + 1) + 20);
  }
}

static void equal_classes_are_cut_evenly(void **state) {
  (void)state;
  for (int32_t i = 0; i < N; i++) y[i] = i % CLASSES;
  const int32_t sizes[2] = {800, 200};
  assert_ok(ex__split(y, N, CLASSES, 1, 2, sizes, order, &err), &err);
  int32_t count[CLASSES] = {0};
  for (int32_t i = 800; i < N; i++) count[y[order[i]]]++;
  for (int32_t c = 0; c < CLASSES; c++) assert_int_equal(count[c], 50);
}

static void seed_decides(void **state) {
  (void)state;
  make_labels();
  const int32_t size = 500;
  assert_ok(ex__split(y, N, CLASSES, 7, 1, &size, order, &err), &err);
  assert_ok(ex__split(y, N, CLASSES, 7, 1, &size, again, &err), &err);
  assert_memory_equal(order, again, sizeof order);
  assert_ok(ex__split(y, N, CLASSES, 8, 1, &size, again, &err), &err);
  assert_memory_not_equal(order, again, sizeof order);
}

static void unlabelled_and_empty(void **state) {
  (void)state;
  make_labels();
  for (int32_t i = 0; i < N; i += 2) y[i] = -1;
  const int32_t size = 100;
  assert_ok(ex__split(y, N, CLASSES, 7, 1, &size, order, &err), &err);
  int32_t none = 0;
  for (int32_t i = 0; i < 100; i++) none += y[order[i]] == -1;
  assert_in_range(none, 49, 51);
  assert_ok(ex__split(NULL, N, 0, 7, 1, &size, order, &err), &err);
  assert_ok(ex__split(NULL, 0, 0, 7, 0, NULL, order, &err), &err);
}

static void impossible_sizes(void **state) {
  (void)state;
  const int32_t sizes[2] = {600, 401}, negative = -1;
  assert_refused(ex__split(y, N, CLASSES, 7, 2, sizes, order, &err), EX_EINVAL, &err,
                 "1001 samples in all; there are 1000");
  assert_refused(ex__split(y, N, CLASSES, 7, 1, &negative, order, &err), EX_EINVAL, &err, "-1");
}

static void few_labels(void **state) {
  (void)state;
  make_labels();
  int32_t items[N], n = 0, count[CLASSES] = {0};
  for (int32_t i = 0; i < N; i++) items[i] = i;
  assert_ok(ex__split_few(y, CLASSES, 25, 3, items, N, &n, &err), &err);
  assert_int_equal(n, 100);
  for (int32_t i = 0; i < n; i++) {
    count[y[items[i]]]++;
    if (i > 0) assert_true(items[i] > items[i - 1]);
  }
  for (int32_t c = 0; c < CLASSES; c++) assert_int_equal(count[c], 25);
  assert_refused(ex__split_few(y, CLASSES, 101, 3, items, n, &n, &err), EX_EINVAL, &err,
                 "101 labels per class asked for; class 0 has 25");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parts_are_exact_disjoint_and_stratified),
      cmocka_unit_test(equal_classes_are_cut_evenly),
      cmocka_unit_test(seed_decides),
      cmocka_unit_test(unlabelled_and_empty),
      cmocka_unit_test(impossible_sizes),
      cmocka_unit_test(few_labels),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
