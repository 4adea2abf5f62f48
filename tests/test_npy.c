/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "data/npy.h"
#include "tests/testing.h"

static void written_files_read_back(void **state) {
  (void)state;
  char folder[64], path[96];
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/a.npy", folder);
  struct ex_error err;
  const float values[6] = {1, 2, 3, 4, 5, 6.5f};
  for (int32_t rank = 0; rank <= 3; rank++) {
    const int64_t dim[3] = {rank == 1 ? 6 : rank == 0 ? 1 : 3, rank == 3 ? 1 : 2, 2};
    assert_ok(ex__npy_write(path, EX_DTYPE_F32, rank, dim, values, &err), &err);
    struct ex_npy npy;
    assert_ok(ex__npy_open(path, &npy, &err), &err);
    assert_int_equal(npy.array.rank, rank);
    assert_int_equal(npy.array.count, rank == 0 ? 1 : 6);
    assert_memory_equal(npy.array.data, values, npy.array.size);
    ex__npy_close(&npy);
    ex__npy_close(&npy);
  }
  assert_refused(ex__npy_write(path, EX_DTYPE_BF16, 0, NULL, values, &err), EX_EUNSUPPORTED, &err,
                 "BF16");
  testing_remove(folder);
}

/* A version-1 file with `dict` as header and `n` bytes of data. */
static enum ex_status parse(const char *dict, size_t n, struct ex_array *array,
                            struct ex_error *err) {
  size_t length = strlen(dict), size = 10 + length + n;
  uint8_t *file = ex__calloc(size, 1);
  memcpy(file, "\x93NUMPY\1\0", 8);
  file[8] = (uint8_t)length;
  file[9] = (uint8_t)(length >> 8);
  memcpy(file + 10, dict, length);
  struct ex_npy npy;
  enum ex_status status = ex__npy_parse(file, size, "t", &npy, err);
  if (array != NULL) *array = npy.array;
  ex__npy_close(&npy);
  ex__free(file);
  return status;
}

static void spellings(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_array array;
  assert_ok(parse("{'shape': (2,3), \"fortran_order\":False,'descr':'|u1'}", 6, &array, &err),
            &err);
  assert_true(array.rank == 2 && array.dim[1] == 3 && array.dtype == EX_DTYPE_U8);
  assert_ok(
      parse("{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }  \n", 24, &array, &err),
      &err);
  assert_true(array.rank == 1 && array.dtype == EX_DTYPE_I64);
  assert_ok(parse("{'descr': '<f8', 'fortran_order': True, 'shape': (3,), }", 24, &array, &err),
            &err);
  assert_ok(parse("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 7), }", 0, &array, &err),
            &err);
}

static void hostile_headers(void **state) {
  (void)state;
  struct ex_error err;
  static const struct {
    const char *dict, *part;
    size_t n;
  } bad[] = {
      {"", "malformed", 0},
      {"{", "malformed", 0},
      {"{'descr", "malformed", 0},
      {"{'descr': '<f4', 'fortran_order': False}", "malformed", 4},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1), }", "malformed", 4},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "malformed", 4},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,,), }", "malformed", 4},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", "malformed", 4},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "malformed", 4},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", "malformed", 4},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", "malformed", 4},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "malformed",
       4},
      {"{'descr': '<f4', 'fortran_order': os.system('x'), 'shape': (1,)}", "malformed", 4},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", "overflows",
       0},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,)}", "overflows", 0},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
       "7 bytes of data; <f4 [2] needs 8", 7},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "needs 8", 9},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_refused(parse(bad[i].dict, bad[i].n, NULL, &err), EX_EFORMAT, &err, bad[i].part);
  assert_refused(parse("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", 4, NULL, &err),
                 EX_EUNSUPPORTED, &err, "'>f4'");
  assert_refused(parse("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 8, NULL, &err),
                 EX_EUNSUPPORTED, &err, "'|O'");
  assert_refused(parse("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1)}", 4, NULL, &err),
                 EX_EUNSUPPORTED, &err, "Fortran");
}

static void lengths_and_versions(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_npy npy;
  assert_refused(ex__npy_parse("\x93NUMPY\1\0", 8, "t", &npy, &err), EX_EFORMAT, &err,
                 "not a .npy");
  assert_refused(ex__npy_parse("\x93NUMPX\1\0\0\0", 10, "t", &npy, &err), EX_EFORMAT, &err,
                 "not a .npy");
  assert_refused(ex__npy_parse("\x93NUMPY\1\0\1\0", 10, "t", &npy, &err), EX_EFORMAT, &err,
                 "1 bytes in a file");
  assert_refused(ex__npy_parse("\x93NUMPY\2\0\1\0", 10, "t", &npy, &err), EX_EFORMAT, &err,
                 "ends within");
  assert_refused(ex__npy_parse("\x93NUMPY\2\0\xff\xff\xff\xff", 12, "t", &npy, &err), EX_EFORMAT,
                 &err, "header of");
  assert_refused(ex__npy_parse("\x93NUMPY\4\0\1\0", 10, "t", &npy, &err), EX_EUNSUPPORTED, &err,
                 "version 4");
  const char v2[] =
      "\x93NUMPY\2\0\x37\0\0\0{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}x";
  assert_ok(ex__npy_parse(v2, sizeof v2 - 1, "t", &npy, &err), &err);
  assert_int_equal(*(const char *)npy.array.data, 'x');
  ex__npy_close(&npy);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(written_files_read_back),
      cmocka_unit_test(spellings),
      cmocka_unit_test(hostile_headers),
      cmocka_unit_test(lengths_and_versions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
