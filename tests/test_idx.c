/* SPDX-License-Identifier: Apache-2.0 */
#include <zlib.h>

#include "base/file.h"
#include "data/idx.h"
#include "tests/testing.h"

static char folder[64], path[96];

static int set_up(void **state) {
  (void)state;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/x-idx", folder);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  testing_remove(folder);
  return 0;
}

static void write_plain(const void *data, size_t size) {
  struct ex_error err;
  assert_ok(ex__file_write_whole(path, data, size, &err), &err);
}

static void write_gz(const void *data, size_t size) {
  gzFile file = gzopen(path, "wb");
  assert_int_equal(gzwrite(file, data, (unsigned)size), size);
  assert_int_equal(gzclose(file), Z_OK);
}

static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6};

static void plain_and_compressed(void **state) {
  (void)state;
  struct ex_error err;
  for (int compressed = 0; compressed < 2; compressed++) {
    if (compressed)
      write_gz(images, sizeof images);
    else
      write_plain(images, sizeof images);
    struct ex_array array;
    assert_ok(ex__idx_read(path, 3, &array, &err), &err);
    assert_int_equal(array.dtype, EX_DTYPE_U8);
    assert_true(array.dim[0] == 2 && array.dim[1] == 1 && array.dim[2] == 3);
    assert_memory_equal(array.data, images + 16, 6);
    ex__array_free(&array);
  }
}

static void wide_types_are_swapped(void **state) {
  (void)state;
  const uint8_t floats[] = {0, 0, 13, 1, 0, 0, 0, 1, 0x3f, 0xc0, 0, 0};
  struct ex_error err;
  struct ex_array array;
  write_plain(floats, sizeof floats);
  assert_ok(ex__idx_read(path, 1, &array, &err), &err);
  assert_true(*(const float *)array.data == 1.5f);
  ex__array_free(&array);
}

static void wrong_files_are_named(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_array array;
  assert_refused(ex__idx_read(path, 3, &array, &err), EX_ENOTFOUND, &err, path);
  write_plain(images, sizeof images);
  assert_refused(ex__idx_read(path, 1, &array, &err), EX_EFORMAT, &err,
                 "3 dimensions; must have 1 (labels)");
  write_plain("PK\3\4 not IDX at all", 19);
  assert_refused(ex__idx_read(path, 3, &array, &err), EX_EFORMAT, &err, "50 4b");
  write_plain("", 0);
  assert_refused(ex__idx_read(path, 3, &array, &err), EX_EFORMAT, &err, "ends after 0 bytes");
  write_plain("\0\0\11\1\0\0\0\0", 8);
  assert_refused(ex__idx_read(path, 1, &array, &err), EX_EUNSUPPORTED, &err, "type 09");
  assert_refused(ex__idx_read(folder, 1, &array, &err), EX_EINVAL, &err, "regular file");
}

/* Every proper beginning of a valid file is refused, and so is more. */
static void cut_and_longer_files(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_array array;
  for (size_t size = 0; size < sizeof images; size++) {
    write_plain(images, size);
    assert_refused(ex__idx_read(path, 3, &array, &err), EX_EFORMAT, &err, path);
    write_gz(images, size);
    assert_refused(ex__idx_read(path, 3, &array, &err), EX_EFORMAT, &err, path);
  }
  uint8_t longer[sizeof images + 1] = {0};
  memcpy(longer, images, sizeof images);
  write_plain(longer, sizeof longer);
  assert_refused(ex__idx_read(path, 3, &array, &err), EX_EFORMAT, &err,
                 "goes on after the 6 bytes");
}

static void damaged_gzip(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_array array;
  write_gz(images, sizeof images);
  void *file;
  size_t size;
  assert_ok(ex__file_read(path, 1000, &file, &size, &err), &err);
  for (size_t cut = 1; cut < size; cut++) {
    write_plain(file, size - cut);
    assert_int_not_equal(ex__idx_read(path, 3, &array, &err), EX_OK);
  }
  ((uint8_t *)file)[size - 6] ^= 1; /* in the check sum */
  write_plain(file, size);
  assert_refused(ex__idx_read(path, 3, &array, &err), EX_EFORMAT, &err, "cannot decompress");
  free(file);
}

static void impossible_sizes_cost_no_memory(void **state) {
  (void)state;
  const uint8_t huge[] = {0, 0, 8, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 9, 1};
  const uint8_t more[] = {0,    0,    14,   3,    0xff, 0xff, 0xff, 0xff,
                          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  struct ex_error err;
  struct ex_array array;
  write_plain(huge, sizeof huge);
  assert_refused(ex__idx_read(path, 3, &array, &err), EX_EFORMAT, &err,
                 "a file of 17 bytes cannot hold");
  write_gz(huge, sizeof huge);
  assert_refused(ex__idx_read(path, 3, &array, &err), EX_EFORMAT, &err, "cannot hold");
  write_plain(more, sizeof more);
  assert_refused(ex__idx_read(path, 3, &array, &err), EX_EFORMAT, &err, "overflows");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(plain_and_compressed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wide_types_are_swapped, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wrong_files_are_named, set_up, tear_down),
      cmocka_unit_test_setup_teardown(cut_and_longer_files, set_up, tear_down),
      cmocka_unit_test_setup_teardown(damaged_gzip, set_up, tear_down),
      cmocka_unit_test_setup_teardown(impossible_sizes_cost_no_memory, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
