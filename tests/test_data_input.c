/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/memory.h"
#include "data/data_input.h"
#include "data/npy.h"
#include "tests/testing.h"

static char folder[64], path[96];
static struct ex_error err;

static int set_up(void **state) {
  (void)state;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/input", folder);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  testing_remove(folder);
  return 0;
}

static int32_t count(int32_t rank, const int32_t *dim, int32_t array_rank, const int64_t *array) {
  static const uint8_t values[256] = {3, 4};
  ex_real *x;
  int32_t n;
  assert_ok(ex__npy_write(path, EX_DTYPE_U8, array_rank, array, values, &err), &err);
  enum ex_status status = ex__input_read(path, rank, dim, &x, &n, &err);
  if (status != EX_OK) {
    assert_int_equal(status, EX_ESHAPE);
    assert_null(x);
    return -1;
  }
  assert_true(x[0] == 3 && x[1] == 4);
  ex__free(x);
  return n;
}

static void arrays_of_one_and_many(void **state) {
  (void)state;
  const int32_t grey[3] = {1, 2, 3}, rgb[3] = {3, 2, 2}, flat[1] = {5};
  assert_int_equal(count(3, grey, 2, (int64_t[]){2, 3}), 1);
  assert_int_equal(count(3, grey, 3, (int64_t[]){1, 2, 3}), 1);
  assert_int_equal(count(3, grey, 3, (int64_t[]){7, 2, 3}), 7);
  assert_int_equal(count(3, grey, 4, (int64_t[]){7, 1, 2, 3}), 7);
  assert_int_equal(count(3, rgb, 3, (int64_t[]){3, 2, 2}), 1);
  assert_int_equal(count(3, rgb, 4, (int64_t[]){2, 3, 2, 2}), 2);
  assert_int_equal(count(1, flat, 1, (int64_t[]){5}), 1);
  assert_int_equal(count(1, flat, 2, (int64_t[]){4, 5}), 4);
  assert_int_equal(count(3, grey, 2, (int64_t[]){3, 2}), -1);
  assert_int_equal(count(3, grey, 4, (int64_t[]){7, 2, 2, 3}), -1);
  assert_int_equal(count(3, rgb, 3, (int64_t[]){1, 2, 2}), -1);
  assert_int_equal(count(3, rgb, 2, (int64_t[]){2, 2}), -1);
  assert_int_equal(count(1, flat, 0, NULL), -1);
  assert_int_equal(count(3, grey, 5, (int64_t[]){1, 7, 1, 2, 3}), -1);
}

static void wrong_files(void **state) {
  (void)state;
  const int32_t grey[3] = {1, 2, 3}, flat[1] = {5};
  ex_real *x;
  int32_t n;
  assert_refused(ex__input_read(path, 3, grey, &x, &n, &err), EX_ENOTFOUND, &err, path);
  assert_ok(ex__file_write_whole(path, "text", 4, &err), &err);
  assert_refused(ex__input_read(path, 3, grey, &x, &n, &err), EX_EFORMAT, &err, "PNG or JPEG");
  assert_refused(ex__input_read(path, 1, flat, &x, &n, &err), EX_ESHAPE, &err, "not a .npy");
  const float values[4] = {0};
  assert_ok(ex__npy_write(path, EX_DTYPE_F32, 1, (int64_t[]){4}, values, &err), &err);
  assert_refused(ex__input_read(path, 1, flat, &x, &n, &err), EX_ESHAPE, &err,
                 "shape [4]; must be [5]");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(arrays_of_one_and_many, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wrong_files, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
