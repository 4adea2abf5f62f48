/* SPDX-License-Identifier: Apache-2.0
 *
 * The real thing: Debian's dataset-fashion-mnist, cut 50,000 / 5,000 / 5,000 /
 * 10,000, every class equal in every role. Skipped where it is not installed.
 */
#include <math.h>

#include "base/json.h"
#include "data/data.h"
#include "tests/testing.h"

#define ROOT "/usr/share/datasets/fashion-mnist"

static const char recipe[] =
    "{\"format\": \"idx\", \"root\": \"" ROOT "\","
    " \"train\": {\"inputs\": \"train-images-idx3-ubyte.gz\", \"labels\": \"train-labels-idx1-ubyte.gz\"},"
    " \"test\": {\"inputs\": \"t10k-images-idx3-ubyte.gz\", \"labels\": \"t10k-labels-idx1-ubyte.gz\"},"
    " \"split\": {\"select\": 5000, \"certify\": 5000, \"seed\": 1}}";

static void roles(void **state) {
  (void)state;
  struct ex_error err;
  json_t *json;
  ex_data *data;
  assert_ok(ex__json_parse(recipe, strlen(recipe), "recipe", &json, &err), &err);
  assert_ok(ex__data_open(json, NULL, &data, &err), &err);
  const int32_t expected[EX_N_SPLITS] = {50000, 5000, 5000, 10000};
  for (int split = 0; split < EX_N_SPLITS; split++) {
    int32_t count[10] = {0};
    assert_int_equal(ex__data_size(data, split), expected[split]);
    for (int32_t i = 0; i < expected[split]; i++) count[ex__data_label(data, split, i)]++;
    for (int c = 0; c < 10; c++) assert_int_equal(count[c], expected[split] / 10);
  }
  const struct ex_data_info *info = ex__data_info(data);
  assert_true(info->dim[0] == 1 && info->dim[1] == 28 && info->dim[2] == 28 &&
              info->n_classes == 10);
  assert_true(fabs(info->preprocess->mean[0] - 0.2860) < 2e-3 &&
              fabs(info->preprocess->deviation[0] - 0.3530) < 2e-3);
  char digest[EX_DIGEST_TEXT];
  assert_int_equal(ex__data_digest(data, EX_SPLIT_TEST, digest), EX_OK);
  assert_int_equal(strlen(digest), 64);
  ex__data_free(data);
  json_decref(json);
}

int main(void) {
  if (access(ROOT "/train-images-idx3-ubyte.gz", R_OK) != 0) {
    printf("skipped: %s is absent\n", ROOT);
    return 77;
  }
  const struct CMUnitTest tests[] = {cmocka_unit_test(roles)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
