/* SPDX-License-Identifier: Apache-2.0
 *
 * Files are whole or absent. A full disk is played by a limit on file size,
 * which makes write fail in the middle just as ENOSPC does.
 */
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "tests/testing.h"

static char folder[64], path[96];

static int set_up(void **state) {
  (void)state;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/model", folder);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  testing_remove(folder);
  return 0;
}

static int count_files(void) {
  int n = 0;
  DIR *dir = opendir(folder);
  for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
    n += entry->d_name[0] != '.';
  closedir(dir);
  return n;
}

static void assert_content(const char *expected) {
  struct ex_error err;
  void *data;
  size_t size;
  assert_ok(ex__file_read(path, 1000, &data, &size, &err), &err);
  assert_int_equal(size, strlen(expected));
  assert_string_equal(data, expected);
  ex__free(data);
}

static void commit_and_discard(void **state) {
  (void)state;
  struct ex_error err;
  ex_file_writer *writer;
  assert_ok(ex__file_create(path, &writer, &err), &err);
  assert_ok(ex__file_write(writer, "new ", 4, &err), &err);
  assert_int_equal(access(path, F_OK), -1); /* not yet */
  assert_ok(ex__file_write(writer, "text", 4, &err), &err);
  assert_ok(ex__file_commit(writer, &err), &err);
  assert_content("new text");
  assert_ok(ex__file_create(path, &writer, &err), &err);
  assert_ok(ex__file_write(writer, "other", 5, &err), &err);
  ex__file_discard(writer);
  ex__file_discard(NULL);
  assert_content("new text");
  assert_int_equal(count_files(), 1);
}

static void a_full_disk_leaves_the_old_file(void **state) {
  (void)state;
  struct ex_error err;
  assert_ok(ex__file_write_whole(path, "old", 3, &err), &err);
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit before, small = {100000, 100000};
  getrlimit(RLIMIT_FSIZE, &before);
  small.rlim_max = before.rlim_max;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  char *big = ex__calloc(1, 1000000);
  ex_file_writer *writer;
  assert_refused(ex__file_write_whole(path, big, 1000000, &err), EX_EIO, &err, "cannot write");
  assert_ok(ex__file_create(path, &writer, &err), &err);
  enum ex_status status = EX_OK;
  for (int i = 0; i < 1000; i++) status = ex__file_write(writer, big, 1000, &err);
  assert_int_equal(status, EX_EIO);
  assert_refused(ex__file_commit(writer, &err), EX_EIO, &err, path);
  assert_ok(ex__file_create(path, &writer, &err), &err); /* seen only by the last flush */
  assert_ok(ex__file_write(writer, big, 99000, &err), &err);
  for (int i = 0; i < 2; i++) ex__file_write(writer, big, 600, &err);
  assert_refused(ex__file_commit(writer, &err), EX_EIO, &err, path);
  setrlimit(RLIMIT_FSIZE, &before);
  ex__free(big);
  assert_content("old");
  assert_int_equal(count_files(), 1);
}

static void what_is_not_a_file_is_refused(void **state) {
  (void)state;
  struct ex_error err;
  void *data;
  size_t size;
  ex_file_writer *writer;
  struct ex_mapping map;
  assert_refused(ex__file_read(folder, 10, &data, &size, &err), EX_EINVAL, &err, "a folder");
  assert_refused(ex__file_map("/dev/zero", &map, &err), EX_EINVAL, &err, "regular file");
  assert_refused(ex__file_create("/dev/full", &writer, &err), EX_EINVAL, &err, "regular file");
  assert_refused(ex__file_create("/nonexistent/x", &writer, &err), EX_ENOTFOUND, &err,
                 "/nonexistent/x");
  assert_refused(ex__file_read(path, 10, &data, &size, &err), EX_ENOTFOUND, &err, path);
  assert_int_equal(mkfifo(path, 0600), 0); /* must not wait for a writer */
  assert_refused(ex__file_read(path, 10, &data, &size, &err), EX_EINVAL, &err, "not a file");
}

static void mapping(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_mapping map;
  assert_ok(ex__file_write_whole(path, "mapped", 6, &err), &err);
  assert_ok(ex__file_map(path, &map, &err), &err);
  assert_int_equal(map.size, 6);
  assert_memory_equal(map.data, "mapped", 6);
  ex__file_unmap(&map);
  ex__file_unmap(&map);
  assert_ok(ex__file_write_whole(path, NULL, 0, &err), &err);
  assert_ok(ex__file_map(path, &map, &err), &err);
  assert_int_equal(map.size, 0);
  assert_non_null(map.data);
  ex__file_unmap(&map);
}

static void reading_is_bounded(void **state) {
  (void)state;
  struct ex_error err;
  void *data;
  size_t size;
  assert_ok(ex__file_write_whole(path, "12345", 5, &err), &err);
  assert_ok(ex__file_read(path, 5, &data, &size, &err), &err);
  ex__free(data);
  assert_refused(ex__file_read(path, 4, &data, &size, &err), EX_EFORMAT, &err, "5 bytes");
}

static void mode_follows_umask_and_old_file(void **state) {
  (void)state;
  struct ex_error err;
  struct stat info;
  mode_t before = umask(022);
  assert_ok(ex__file_write_whole(path, "a", 1, &err), &err);
  assert_int_equal(stat(path, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0644);
  chmod(path, 0600);
  assert_ok(ex__file_write_whole(path, "b", 1, &err), &err);
  assert_int_equal(stat(path, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
  umask(before);
}

/* A child that writes to `path` until it is killed; returned once it has begun. */
static pid_t write_for_ever(void) {
  int begun[2];
  assert_int_equal(pipe(begun), 0);
  pid_t child = fork();
  if (child == 0) {
    ex_file_writer *writer;
    alarm(20); /* where an assertion fails nobody kills it, and ctest waits for it */
    if (ex__file_create(path, &writer, NULL) != EX_OK || write(begun[1], "", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte;
  assert_int_equal(read(begun[0], &byte, 1), 1);
  close(begun[0]);
  close(begun[1]);
  return child;
}

static void killed_writers_leave_nothing_for_long(void **state) {
  (void)state;
  struct ex_error err;
  char other[sizeof path + 40];
  snprintf(other, sizeof other, "%s.data.0123456789abcdef01234567.tmp",
           path); /* of a file model.data */
  assert_ok(ex__file_write_whole(other, "x", 1, &err), &err);
  pid_t killed = write_for_ever(), living = write_for_ever();
  kill(killed, SIGKILL);
  assert_int_equal(waitpid(killed, NULL, 0), killed);
  assert_int_equal(count_files(), 3);
  ex__file_sweep(path);
  assert_int_equal(count_files(), 2); /* the living one's stays */
  kill(living, SIGKILL);
  assert_int_equal(waitpid(living, NULL, 0), living);
  assert_ok(ex__file_write_whole(path, "new", 3, &err), &err);
  assert_content("new");
  assert_int_equal(count_files(), 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(commit_and_discard, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_full_disk_leaves_the_old_file, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_is_not_a_file_is_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(mapping, set_up, tear_down),
      cmocka_unit_test_setup_teardown(reading_is_bounded, set_up, tear_down),
      cmocka_unit_test_setup_teardown(killed_writers_leave_nothing_for_long, set_up, tear_down),
      cmocka_unit_test_setup_teardown(mode_follows_umask_and_old_file, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
