/* SPDX-License-Identifier: Apache-2.0
 *
 * Every reader on small files made here, and what it says of wrong ones.
 */
#include <sys/stat.h>

#ifdef EX_HAVE_SPNG
#include <spng.h>
#endif

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/data.h"
#include "data/data_samples.h"
#include "data/npy.h"
#include "data/safetensors.h"
#include "tests/testing.h"

static char folder[64], first[96], second[96];
static struct ex_error err;
static struct ex_samples samples;

static int set_up(void **state) {
  (void)state;
  testing_folder(folder);
  snprintf(first, sizeof first, "%s/first", folder);
  snprintf(second, sizeof second, "%s/second", folder);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  ex__samples_free(&samples);
  testing_remove(folder);
  return 0;
}

static void write_file(const char *path, const void *data, size_t size) {
  assert_ok(ex__file_write_whole(path, data, size, &err), &err);
}

static void idx(void **state) {
  (void)state;
  const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6};
  const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 4, 0};
  write_file(first, images, sizeof images);
  write_file(second, labels, sizeof labels);
  assert_ok(ex__samples_read_idx(first, second, &samples, &err), &err);
  assert_true(samples.n == 2 && samples.rank == 3 && samples.dim[0] == 1 && samples.dim[2] == 3);
  assert_true(samples.n_classes == 5 && samples.y[0] == 4 && samples.y[1] == 0);
  ex__samples_free(&samples);
  assert_ok(ex__samples_read_idx(first, NULL, &samples, &err), &err);
  assert_true(samples.y == NULL && samples.n_classes == 0);
  ex__samples_free(&samples);
  assert_refused(ex__samples_read_idx(second, first, &samples, &err), EX_EFORMAT, &err,
                 "must have 3 (images)");
  const uint8_t fewer[] = {0, 0, 8, 1, 0, 0, 0, 1, 4};
  write_file(second, fewer, sizeof fewer);
  assert_refused(ex__samples_read_idx(first, second, &samples, &err), EX_ESHAPE, &err,
                 "labels of shape [1]; must be [2]");
}

static void npy(void **state) {
  (void)state;
  const double x[6] = {1, 2, 3, 4, 5, 6};
  int64_t y[2] = {-1, 2};
  assert_ok(ex__npy_write(first, EX_DTYPE_F64, 2, (int64_t[]){2, 3}, x, &err), &err);
  assert_ok(ex__npy_write(second, EX_DTYPE_I64, 1, (int64_t[]){2}, y, &err), &err);
  assert_ok(ex__samples_read_npy(first, second, &samples, &err), &err);
  assert_true(samples.dtype == EX_DTYPE_F32 && samples.rank == 1 && samples.dim[0] == 3);
  assert_true(((float *)samples.x)[5] == 6 && samples.y[0] == -1 && samples.n_classes == 3);
  ex__samples_free(&samples);
  y[1] = -2;
  assert_ok(ex__npy_write(second, EX_DTYPE_I64, 1, (int64_t[]){2}, y, &err), &err);
  assert_refused(ex__samples_read_npy(first, second, &samples, &err), EX_EFORMAT, &err,
                 "sample 1 has label -2");
  assert_refused(ex__samples_read_npy(first, first, &samples, &err), EX_EUNSUPPORTED, &err,
                 "labels of type F64");
  assert_ok(ex__npy_write(first, EX_DTYPE_F64, 2, (int64_t[]){2, 0}, x, &err), &err);
  assert_refused(ex__samples_read_npy(first, NULL, &samples, &err), EX_ESHAPE, &err, "at least 1");
}

static void safetensors(void **state) {
  (void)state;
  const uint8_t x[24] = {0};
  const int32_t y[2] = {1, 0};
  ex_safetensors_writer *writer = ex__safetensors_writer_new();
  assert_ok(ex__safetensors_add(writer, "x", EX_DTYPE_U8, 4, (int64_t[]){2, 3, 2, 2}, x, &err),
            &err);
  assert_ok(ex__safetensors_add(writer, "y", EX_DTYPE_I32, 1, (int64_t[]){2}, y, &err), &err);
  assert_ok(ex__safetensors_save(writer, first, &err), &err);
  ex__safetensors_writer_free(writer);
  assert_ok(ex__samples_read_safetensors(first, &samples, &err), &err);
  assert_true(samples.rank == 3 && samples.dim[0] == 3 && samples.dtype == EX_DTYPE_U8);
  assert_true(samples.y[0] == 1 && samples.n_classes == 2);
  ex__samples_free(&samples);

  writer = ex__safetensors_writer_new();
  assert_ok(ex__safetensors_add(writer, "inputs", EX_DTYPE_I32, 1, (int64_t[]){2}, y, &err), &err);
  assert_ok(ex__safetensors_save(writer, first, &err), &err);
  assert_refused(ex__samples_read_safetensors(first, &samples, &err), EX_ENOTFOUND, &err, "\"x\"");
  assert_ok(ex__safetensors_add(writer, "x", EX_DTYPE_I32, 1, (int64_t[]){2}, y, &err), &err);
  assert_ok(ex__safetensors_save(writer, first, &err), &err);
  ex__safetensors_writer_free(writer);
  assert_ok(ex__samples_read_safetensors(first, &samples, &err), &err); /* not labelled */
  assert_true(samples.y == NULL && samples.rank == 1 && ((float *)samples.x)[0] == 1);
}

static void cifar(void **state) {
  (void)state;
  uint8_t *file = ex__calloc(6148, 1); /* also 2 × 3074 */
  file[0] = 7;
  file[1] = 255;
  file[3073] = 9;
  file[3074] = 1;
  write_file(first, file, 6146);
  assert_ok(ex__samples_read_cifar(first, EX_CIFAR_10, &samples, &err), &err);
  assert_true(samples.n == 2 && samples.n_classes == 10 && samples.y[0] == 7 && samples.y[1] == 9);
  assert_true(((uint8_t *)samples.x)[0] == 255 && ((uint8_t *)samples.x)[3072] == 1);
  struct ex_samples more;
  assert_ok(ex__samples_read_cifar(first, EX_CIFAR_10, &more, &err), &err);
  assert_ok(ex__samples_append(&samples, &more, first, &err), &err);
  assert_true(samples.n == 4 && samples.y[2] == 7 && ((uint8_t *)samples.x)[3 * 3072] == 1);
  ex__samples_free(&samples);
  write_file(first, file, 6145);
  assert_refused(ex__samples_read_cifar(first, EX_CIFAR_10, &samples, &err), EX_EFORMAT, &err,
                 "6145 bytes; a CIFAR-10 file is a multiple of 3073");
  memset(file, 0, 6148);
  file[0] = 19;
  file[1] = 99;
  write_file(first, file, 6148);
  assert_ok(ex__samples_read_cifar(first, EX_CIFAR_100_FINE, &samples, &err), &err);
  assert_true(samples.y[0] == 99 && samples.n_classes == 100);
  ex__samples_free(&samples);
  assert_ok(ex__samples_read_cifar(first, EX_CIFAR_100_COARSE, &samples, &err), &err);
  assert_int_equal(samples.y[0], 19);
  ex__samples_free(&samples);
  file[0] = 20;
  write_file(first, file, 6148);
  assert_refused(ex__samples_read_cifar(first, EX_CIFAR_100_COARSE, &samples, &err), EX_EFORMAT,
                 &err, "label 20");
  ex__free(file);
}

static void appending_checks_shapes(void **state) {
  (void)state;
  const float x[6] = {0};
  struct ex_samples other;
  assert_ok(ex__npy_write(first, EX_DTYPE_F32, 2, (int64_t[]){2, 3}, x, &err), &err);
  assert_ok(ex__npy_write(second, EX_DTYPE_F32, 2, (int64_t[]){3, 2}, x, &err), &err);
  assert_ok(ex__samples_read_npy(first, NULL, &samples, &err), &err);
  assert_ok(ex__samples_read_npy(second, NULL, &other, &err), &err);
  assert_refused(ex__samples_append(&samples, &other, second, &err), EX_ESHAPE, &err,
                 "second: shape");
  ex__samples_free(&other);
}

#ifdef EX_HAVE_SPNG
static void write_png(const char *class_name, const char *name, uint8_t value) {
  char path[200];
  snprintf(path, sizeof path, "%s/%s", folder, class_name);
  mkdir(path, 0777);
  snprintf(path, sizeof path, "%s/%s/%s", folder, class_name, name);
  uint8_t pixels[4 * 6];
  memset(pixels, value, sizeof pixels);
  spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
  struct spng_ihdr header = {.width = 6, .height = 4, .bit_depth = 8};
  spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
  spng_set_ihdr(png, &header);
  assert_int_equal(
      spng_encode_image(png, pixels, sizeof pixels, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), 0);
  size_t size;
  int code;
  void *file = spng_get_png_buffer(png, &size, &code);
  write_file(path, file, size);
  free(file);
  spng_ctx_free(png);
}

static void pictures(void **state) {
  (void)state;
  write_png("dog", "b.png", 20);
  write_png("cat", "2.png", 10);
  write_png("cat", "1.png", 11);
  write_file(first, "a LICENSE", 9);
  const int32_t dim[3] = {1, 2, 3};
  assert_ok(ex__samples_read_folder(folder, dim, NULL, 0, &samples, &err), &err);
  assert_true(samples.n == 3 && samples.n_classes == 2);
  assert_string_equal(samples.class_names[0], "cat");
  assert_true(samples.y[0] == 0 && samples.y[1] == 0 && samples.y[2] == 1);
  const uint8_t *x = samples.x;
  assert_true(x[0] == 11 && x[6] == 10 && x[12] == 20 && x[17] == 20);
  ex__samples_free(&samples);

  const char *const known[] = {"bird", "cat", "dog"};
  assert_ok(ex__samples_read_folder(folder, dim, known, 3, &samples, &err), &err);
  assert_true(samples.n_classes == 3 && samples.y[0] == 1 && samples.y[2] == 2);
  ex__samples_free(&samples);
  assert_refused(ex__samples_read_folder(folder, dim, known, 2, &samples, &err), EX_EFORMAT, &err,
                 "dog: is not one of the 2 classes");
  char path[200];
  snprintf(path, sizeof path, "%s/cat/notes.txt", folder);
  write_file(path, "x", 1);
  assert_refused(ex__samples_read_folder(folder, dim, NULL, 0, &samples, &err), EX_EFORMAT, &err,
                 "notes.txt");
}

/* Opens the folder with these "classes"; no samples are cut for other roles. */
static enum ex_status open_classes(const char *classes, ex_data **data) {
  json_t *json =
      json_pack("{s:s, s:[i,i,i], s:{s:s}, s:{s:i, s:i, s:i}}", "format", "folder", "shape", 1, 2,
                3, "train", "inputs", folder, "split", "select", 0, "certify", 0, "test", 0);
  if (classes != NULL)
    json_object_set_new(json, "classes", json_loads(classes, JSON_REJECT_DUPLICATES, NULL));
  enum ex_status status = ex__data_open(json, NULL, data, &err);
  json_decref(json);
  return status;
}

/* "classes" names sub-folders and orders them; it never renames one. */
static void class_order(void **state) {
  (void)state;
  ex_data *data;
  write_png("cat", "1.png", 10);
  write_png("dog", "1.png", 20);
  assert_ok(open_classes("[\"dog\", \"cat\"]", &data), &err);
  ex_real x[6];
  int32_t y;
  for (int32_t i = 0; i < 2; i++) {
    ex__data_read_range(data, EX_SPLIT_TRAIN, i, 1, x, &y);
    assert_int_equal(y, x[0] < 0); /* normalised: the cat, label 1, is below the mean */
  }
  assert_string_equal(ex__data_info(data)->class_names[0], "dog");
  ex__data_free(data);
  assert_refused(open_classes("[\"dog\", \"cta\"]", &data), EX_EFORMAT, &err,
                 "cat: is not one of the 2 classes");
  assert_refused(open_classes("[\"dog\"]", &data), EX_EFORMAT, &err, "cat: is not one of");
  assert_refused(open_classes("[\"dog\", \"bird\", \"cat\"]", &data), EX_EFORMAT, &err,
                 "names \"bird\"; the training folder has no sub-folder");
}

static void empty_and_nested_classes(void **state) {
  (void)state;
  const int32_t dim[3] = {1, 2, 3};
  char path[200];
  write_png("cat", "1.png", 10);
  snprintf(path, sizeof path, "%s/dog", folder);
  mkdir(path, 0777);
  assert_refused(ex__samples_read_folder(folder, dim, NULL, 0, &samples, &err), EX_EFORMAT, &err,
                 "dog: has no pictures");
  snprintf(path, sizeof path, "%s/dog/deeper", folder);
  mkdir(path, 0777);
  assert_refused(ex__samples_read_folder(folder, dim, NULL, 0, &samples, &err), EX_EINVAL, &err,
                 "dog/deeper");
}
#else
static void pictures(void **state) { (void)state; }
static void class_order(void **state) { (void)state; }
static void empty_and_nested_classes(void **state) { (void)state; }
#endif

static void wrong_folders(void **state) {
  (void)state;
  const int32_t dim[3] = {1, 2, 3}, bad[3] = {2, 2, 3};
  char path[200];
  assert_refused(ex__samples_read_folder(first, dim, NULL, 0, &samples, &err), EX_ENOTFOUND, &err,
                 first);
  assert_refused(ex__samples_read_folder(folder, bad, NULL, 0, &samples, &err), EX_EINVAL, &err,
                 "[2, 2, 3]");
  assert_refused(ex__samples_read_folder(folder, dim, NULL, 0, &samples, &err), EX_EFORMAT, &err,
                 "0 sub-folders");
  snprintf(path, sizeof path, "%s/empty", folder);
  mkdir(path, 0777);
  assert_refused(ex__samples_read_folder(folder, dim, NULL, 0, &samples, &err), EX_EFORMAT, &err,
                 "has no pictures");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(idx, set_up, tear_down),
      cmocka_unit_test_setup_teardown(npy, set_up, tear_down),
      cmocka_unit_test_setup_teardown(safetensors, set_up, tear_down),
      cmocka_unit_test_setup_teardown(cifar, set_up, tear_down),
      cmocka_unit_test_setup_teardown(appending_checks_shapes, set_up, tear_down),
      cmocka_unit_test_setup_teardown(pictures, set_up, tear_down),
      cmocka_unit_test_setup_teardown(class_order, set_up, tear_down),
      cmocka_unit_test_setup_teardown(empty_and_nested_classes, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wrong_folders, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
