/* SPDX-License-Identifier: Apache-2.0
 *
 * A file is written, read back and taken apart; then headers that lie. The
 * hostile cases are made from one valid file by changing one thing each.
 */
#include "base/file.h"
#include "base/memory.h"
#include "data/safetensors.h"
#include "tests/testing.h"

static void written_files_read_back(void **state) {
  (void)state;
  char folder[64], path[96];
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/m.safetensors", folder);
  struct ex_error err;
  float weight[6] = {1, 2, 3, 4, 5, -0.5f};
  uint8_t bytes[3] = {7, 8, 9};
  double scalar = 0.1;
  ex_safetensors_writer *writer = ex__safetensors_writer_new();
  assert_ok(ex__safetensors_add_metadata(writer, "format", "1", &err), &err);
  assert_ok(ex__safetensors_add_metadata(writer, "labels", "[\"T-shirt/top\"]", &err), &err);
  assert_ok(ex__safetensors_add(writer, "stage1.weight", EX_DTYPE_F32, 2, (int64_t[]){2, 3}, weight,
                                &err),
            &err);
  assert_ok(ex__safetensors_add(writer, "bytes", EX_DTYPE_U8, 1, (int64_t[]){3}, bytes, &err),
            &err);
  assert_ok(ex__safetensors_add(writer, "a.scalar", EX_DTYPE_F64, 0, NULL, &scalar, &err), &err);
  assert_ok(ex__safetensors_add(writer, "empty", EX_DTYPE_I64, 2, (int64_t[]){0, 4}, NULL, &err),
            &err);
  assert_refused(ex__safetensors_add(writer, "bytes", EX_DTYPE_U8, 1, (int64_t[]){3}, bytes, &err),
                 EX_EINVAL, &err, "taken");
  assert_ok(ex__safetensors_save(writer, path, &err), &err);
  ex__safetensors_writer_free(writer);

  ex_safetensors *file;
  assert_ok(ex__safetensors_open(path, &file, &err), &err);
  assert_int_equal(ex__safetensors_count(file), 4);
  assert_string_equal(ex__safetensors_at(file, 0)->name, "stage1.weight");
  assert_string_equal(ex__safetensors_metadata(file, "labels"), "[\"T-shirt/top\"]");
  assert_null(ex__safetensors_metadata(file, "absent"));
  const struct ex_array *array;
  assert_ok(
      ex__safetensors_get(file, "stage1.weight", EX_DTYPE_F32, 2, (int64_t[]){-1, 3}, &array, &err),
      &err);
  assert_memory_equal(array->data, weight, sizeof weight);
  assert_int_equal((uintptr_t)array->data % 64, 0);
  array = ex__safetensors_find(file, "a.scalar"); /* lies at an odd place: copied */
  assert_int_equal((uintptr_t)array->data % 8, 0);
  assert_memory_equal(array->data, &scalar, sizeof scalar);
  assert_int_equal(ex__safetensors_find(file, "empty")->count, 0);
  assert_null(ex__safetensors_find(file, "zzz"));
  assert_refused(
      ex__safetensors_get(file, "bytes", EX_DTYPE_F32, 2, (int64_t[]){3, 1}, &array, &err),
      EX_ESHAPE, &err, "\"bytes\" is U8 [3]; must be F32 [3, 1]");
  assert_refused(ex__safetensors_get(file, "b", EX_DTYPE_F32, 0, NULL, &array, &err), EX_ENOTFOUND,
                 &err, "no array \"b\"");
  ex__safetensors_free(file);
  testing_remove(folder);
}

/* Parses `header` followed by `data_size` zero bytes. */
static enum ex_status parse(const char *header, size_t data_size, struct ex_error *err) {
  uint64_t length = strlen(header);
  size_t size = 8 + (size_t)length + data_size;
  char *file = ex__calloc(size, 1);
  memcpy(file, &length, 8);
  memcpy(file + 8, header, (size_t)length);
  ex_safetensors *out;
  enum ex_status status = ex__safetensors_parse(file, size, "t", &out, err);
  ex__safetensors_free(out);
  ex__free(file);
  return status;
}

#define A8 "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static void lying_headers_are_refused(void **state) {
  (void)state;
  struct ex_error err;
  assert_ok(parse("{" A8 "}   ", 8, &err), &err);
  assert_ok(parse("{}", 0, &err), &err);
  static const struct {
    const char *header, *part;
    size_t data;
  } bad[] = {
      {"{" A8 "}", "within 4 bytes", 4},
      {"{" A8 "}", "entries cover 8", 9},
      {"{" A8 "," A8 "}", "duplicate", 8},
      {"{" A8 ",\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}", "overlap", 8},
      {"{" A8 ",\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[9,13]}}", "gap", 13},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", "need 12", 8},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", "[begin, end]", 8},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", "[begin, end]", 8},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", "has 3 items", 8},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", "integers", 8},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", "integers", 8},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
       "overflows", 0},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}",
       "overflows", 0},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}",
       "9 items", 4},
      {"{\"a\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", "F33", 8},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "object of dtype", 8},
      {"{\"a\":[]}", "object of dtype", 8},
      {"{\"__metadata__\":{\"x\":1}}", "must be a string", 0},
      {"{\"__metadata__\":[]}", "object of strings", 0},
      {"[]", "begin with '{'", 0},
      {" {}", "begin with '{'", 0},
      {"{}x", "end of file", 0},
      {"", "begin with '{'", 0},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    enum ex_status expected = strstr(bad[i].part, "F33") ? EX_EUNSUPPORTED : EX_EFORMAT;
    assert_refused(parse(bad[i].header, bad[i].data, &err), expected, &err, bad[i].part);
  }
}

static void lengths_are_checked(void **state) {
  (void)state;
  struct ex_error err;
  ex_safetensors *out;
  uint64_t file[4] = {UINT64_MAX};
  assert_refused(ex__safetensors_parse(file, 7, "t", &out, &err), EX_EFORMAT, &err, "at least 8");
  assert_refused(ex__safetensors_parse(file, 32, "t", &out, &err), EX_EFORMAT, &err, "header of");
  file[0] = 25;
  assert_refused(ex__safetensors_parse(file, 32, "t", &out, &err), EX_EFORMAT, &err,
                 "header of 25");
  assert_null(out);
  assert_refused(ex__safetensors_open("/nonexistent", &out, &err), EX_ENOTFOUND, &err,
                 "/nonexistent");
}

static void conversions(void **state) {
  (void)state;
  const int8_t small[3] = {-1, 0, 127};
  struct ex_array array = {.dtype = EX_DTYPE_I8, .rank = 1, .dim = {3}, .count = 3, .data = small};
  ex_real real[2];
  int64_t integer[2];
  assert_int_equal(ex__array_to_real(&array, 1, 2, real), EX_OK);
  assert_true(real[0] == 0 && real[1] == 127);
  assert_int_equal(ex__array_to_int(&array, 0, 2, integer), EX_OK);
  assert_true(integer[0] == -1 && integer[1] == 0);
  array.dtype = EX_DTYPE_F16;
  assert_int_equal(ex__array_to_real(&array, 0, 1, real), EX_EUNSUPPORTED);
  array.dtype = EX_DTYPE_F32;
  assert_int_equal(ex__array_to_int(&array, 0, 0, integer), EX_EUNSUPPORTED);
  char text[8];
  array.rank = 3;
  ex__array_shape_text(&array, text, sizeof text);
  assert_int_equal(strlen(text), 7);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(written_files_read_back),
      cmocka_unit_test(lying_headers_are_refused),
      cmocka_unit_test(lengths_are_checked),
      cmocka_unit_test(conversions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
