/* SPDX-License-Identifier: Apache-2.0
 *
 * MSDNet's dynamic.txt: what the authors' program writes is read; what we
 * write comes back bit for bit.
 */
#include "base/file.h"
#include "base/memory.h"
#include "tests/testing.h"
#include "trace/curve.h"

static void file_of_the_authors_form(void **state) {
  (void)state;
  char folder[64], path[96];
  struct ex_error err;
  struct ex_curve_point *points;
  int32_t n;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/dynamic.txt", folder);
  static const char text[] = "62.71\t7.0123e+06\n63.5\t8000000.5\r\n70\t12000000";
  assert_ok(ex__file_write_whole(path, text, sizeof text - 1, &err), &err);
  assert_ok(ex__curve_read(path, &points, &n, &err), &err);
  assert_int_equal(n, 3);
  assert_true(points[0].accuracy == 62.71 && points[0].cost == 7012300);
  assert_true(points[1].cost == 8000000.5 && points[2].accuracy == 70);
  points[1].accuracy = 1.0 / 3;
  struct ex_curve_point *again;
  assert_ok(ex__curve_write(path, points, n, &err), &err);
  assert_ok(ex__curve_read(path, &again, &n, &err), &err);
  assert_int_equal(n, 3);
  assert_memory_equal(again, points, 3 * sizeof *points);
  ex__free(again);
  ex__free(points);
  assert_ok(ex__curve_write(path, NULL, 0, &err), &err);
  assert_ok(ex__curve_read(path, &points, &n, &err), &err);
  assert_int_equal(n, 0);
  ex__free(points);
  testing_remove(folder);
}

static void hostile_files(void **state) {
  (void)state;
  static const struct {
    const char *text, *part;
    size_t size;
  } bad[] = {
      {"1 2\n", "line 1", 4},    {"1\t2\nx\t3\n", "line 2", 8},   {"1\t2\n\n", "line 2", 5},
      {"101\t2\n", "line 1", 6}, {"1\t-2\n", "line 1", 5},        {"1\tinf\n", "line 1", 6},
      {"nan\t2\n", "line 1", 6}, {"1\t2\0\n", "must be text", 5}, {"1\t2\t3\n", "line 1", 6}};
  char folder[64], path[96];
  struct ex_error err;
  struct ex_curve_point *points;
  int32_t n;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/dynamic.txt", folder);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_ok(ex__file_write_whole(path, bad[i].text, bad[i].size, &err), &err);
    assert_refused(ex__curve_read(path, &points, &n, &err), EX_EFORMAT, &err, bad[i].part);
    assert_null(points);
  }
  testing_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(file_of_the_authors_form),
      cmocka_unit_test(hostile_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
