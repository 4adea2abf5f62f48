/* SPDX-License-Identifier: Apache-2.0
 *
 * base/file: whole files.
 *
 * The temporary file lies in the target's own folder, since rename does not
 * cross file systems. Writing is buffered by stdio; the first failure is
 * remembered, so that a caller that looks only at commit still learns of it.
 * Files are opened without blocking, so that a named pipe given as a model is
 * an error and not a wait.
 *
 * A writer that is killed cannot remove its temporary file, so the next writer
 * of the same target does. A living one is told from a dead one by its lock
 * (flock), which ends with the process; the lock is held until the rename.
 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

struct ex_file_writer {
  FILE *stream;
  char *path, *temporary;
  int error; /* errno of the first failed write, or 0 */
};

static enum ex_status io_error(struct ex_error *err, const char *path, const char *action,
                               int code) {
  enum ex_status status = code == ENOENT ? EX_ENOTFOUND : EX_EIO;
  return ex__fail(err, status, "%s: cannot %s: %s", path, action, strerror(code));
}

/* ---- reading ------------------------------------------------------------ */

static enum ex_status open_regular(const char *path, int *fd, size_t *size, struct ex_error *err) {
  *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (*fd < 0) return io_error(err, path, "open", errno);
  struct stat info;
  if (fstat(*fd, &info) != 0) {
    int code = errno;
    close(*fd);
    return io_error(err, path, "examine", code);
  }
  if (!S_ISREG(info.st_mode)) {
    close(*fd);
    return ex__fail(err, EX_EINVAL, "%s: is %s; must be a regular file", path,
                    S_ISDIR(info.st_mode) ? "a folder" : "not a file");
  }
  *size = (size_t)info.st_size;
  return EX_OK;
}

static enum ex_status read_exactly(int fd, const char *path, char *data, size_t size,
                                   struct ex_error *err) {
  for (size_t at = 0; at < size;) {
    ssize_t n = read(fd, data + at, size - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(err, path, "read", errno);
    if (n == 0) return ex__fail(err, EX_EIO, "%s: ended after %zu of %zu bytes", path, at, size);
    at += (size_t)n;
  }
  return EX_OK;
}

static enum ex_status read_all(int fd, const char *path, size_t size, void **data,
                               struct ex_error *err) {
  size_t needed;
  char *block = ex__add_size(size, 1, &needed) ? ex__alloc(needed, 1) : NULL;
  if (block == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory for %zu bytes", path, size);
  enum ex_status status = read_exactly(fd, path, block, size, err);
  if (status != EX_OK) {
    ex__free(block);
    return status;
  }
  block[size] = '\0';
  *data = block;
  return EX_OK;
}

enum ex_status ex__file_read(const char *path, size_t limit, void **data, size_t *size,
                             struct ex_error *err) {
  *data = NULL;
  *size = 0;
  int fd;
  size_t found = 0;
  EX_TRY(open_regular(path, &fd, &found, err));
  enum ex_status status;
  if (found > limit)
    status = ex__fail(err, EX_EFORMAT, "%s: %zu bytes; must have at most %zu", path, found, limit);
  else
    status = read_all(fd, path, found, data, err);
  if (status == EX_OK) *size = found;
  close(fd);
  return status;
}

enum ex_status ex__file_map(const char *path, struct ex_mapping *out, struct ex_error *err) {
  *out = (struct ex_mapping){0};
  int fd;
  size_t size = 0;
  EX_TRY(open_regular(path, &fd, &size, err));
  enum ex_status status = EX_OK;
  void *data = size > 0 ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
  if (data == MAP_FAILED) {
    status = read_all(fd, path, size, &data, err);
    if (status == EX_OK) out->owner = data;
  }
  if (status == EX_OK) {
    out->data = data;
    out->size = size;
  }
  close(fd);
  return status;
}

void ex__file_unmap(struct ex_mapping *mapping) {
  if (mapping->owner != NULL)
    ex__free(mapping->owner);
  else if (mapping->data != NULL)
    munmap((void *)(uintptr_t)mapping->data, mapping->size);
  *mapping = (struct ex_mapping){0};
}

/* ---- writing ------------------------------------------------------------ */

static void release(ex_file_writer *writer) {
  if (writer->stream != NULL) fclose(writer->stream);
  ex__free(writer->path);
  ex__free(writer->temporary);
  ex__free(writer);
}

/* The folder of `path`, with room for the longest; false where it has none. */
static bool folder_of(const char *path, char folder[PATH_MAX]) {
  const char *slash = strrchr(path, '/');
  size_t length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
  if (length >= PATH_MAX) return false;
  memcpy(folder, slash == NULL ? "." : path, slash == NULL ? 1 : length);
  folder[slash == NULL ? 1 : length] = '\0';
  return true;
}

/* TARGET.<24 hexadecimal digits>.tmp, as create_temporary makes them. */
static bool is_temporary_of(const char *name, const char *target) {
  size_t length = strlen(target);
  if (strncmp(name, target, length) != 0 || name[length] != '.') return false;
  const char *digits = name + length + 1;
  size_t count = strspn(digits, "0123456789abcdef");
  return count == 24 && strcmp(digits + count, ".tmp") == 0;
}

static void remove_if_abandoned(int folder, const char *name) {
  int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (fd < 0) return;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) unlinkat(folder, name, 0);
  close(fd);
}

void ex__file_sweep(const char *path) {
  char folder[PATH_MAX];
  DIR *dir = folder_of(path, folder) ? opendir(folder) : NULL;
  if (dir == NULL) return;
  const char *slash = strrchr(path, '/');
  const char *target = slash == NULL ? path : slash + 1;
  for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
    if (is_temporary_of(entry->d_name, target)) remove_if_abandoned(dirfd(dir), entry->d_name);
  closedir(dir);
}

/* False where another writer's sweep came between open and lock. File systems
 * without locks are taken as they are: no sweep gets a lock there either. */
static bool lock_temporary(int fd) {
  struct stat info;
  flock(fd, LOCK_EX | LOCK_NB);
  return fstat(fd, &info) == 0 && info.st_nlink > 0;
}

/* Created by open and not mkstemp, so that the file's mode follows the umask
 * as any other output's does. */
static int create_temporary(ex_file_writer *writer, size_t size, mode_t mode) {
  for (int attempt = 0; attempt < 100; attempt++) {
    snprintf(writer->temporary, size, "%s.%08lx%016llx.tmp", writer->path, (unsigned long)getpid(),
             (unsigned long long)ex__now_ns() + (unsigned long long)attempt);
    int fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 && errno != EEXIST) return -1;
    if (fd >= 0 && lock_temporary(fd)) return fd;
    if (fd >= 0) close(fd);
  }
  return -1;
}

enum ex_status ex__file_create(const char *path, ex_file_writer **out, struct ex_error *err) {
  *out = NULL;
  struct stat info;
  bool exists = stat(path, &info) == 0;
  if (exists && !S_ISREG(info.st_mode))
    return ex__fail(err, EX_EINVAL, "%s: exists and is not a regular file", path);
  ex_file_writer *writer = ex__calloc(1, sizeof *writer);
  size_t size = strlen(path) + 64;
  if (writer != NULL) {
    writer->path = ex__strdup(path);
    writer->temporary = ex__calloc(size, 1);
  }
  if (writer == NULL || writer->path == NULL || writer->temporary == NULL) {
    if (writer != NULL) release(writer);
    return ex__fail(err, EX_ENOMEM, "%s: no memory to write", path);
  }
  ex__file_sweep(path);
  int fd = create_temporary(writer, size, exists ? info.st_mode & 0666 : 0666);
  if (fd >= 0) writer->stream = fdopen(fd, "wb");
  if (writer->stream == NULL) {
    int code = errno;
    if (fd >= 0) {
      close(fd);
      unlink(writer->temporary);
    }
    release(writer);
    return io_error(err, path, "create", code);
  }
  *out = writer;
  return EX_OK;
}

enum ex_status ex__file_write(ex_file_writer *writer, const void *data, size_t size,
                              struct ex_error *err) {
  if (writer->error == 0 && size > 0 && fwrite(data, 1, size, writer->stream) != size)
    writer->error = errno != 0 ? errno : EIO;
  if (writer->error != 0) return io_error(err, writer->path, "write", writer->error);
  return EX_OK;
}

/* Makes the rename itself durable; file systems that cannot are no failure. */
static void sync_folder(const char *path) {
  char folder[PATH_MAX];
  int fd = folder_of(path, folder) ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

/* 0, or the errno of what failed. The stream, and with it the lock, outlives
 * the rename. */
static int finish(ex_file_writer *writer) {
  if (writer->error != 0) return writer->error;
  if (fflush(writer->stream) != 0 || fsync(fileno(writer->stream)) != 0) return errno;
  return rename(writer->temporary, writer->path) != 0 ? errno : 0;
}

enum ex_status ex__file_commit(ex_file_writer *writer, struct ex_error *err) {
  int code = finish(writer);
  if (code != 0) {
    enum ex_status status = io_error(err, writer->path, "write", code);
    ex__file_discard(writer);
    return status == EX_ENOTFOUND ? EX_EIO : status;
  }
  sync_folder(writer->path);
  release(writer);
  return EX_OK;
}

void ex__file_discard(ex_file_writer *writer) {
  if (writer == NULL) return;
  unlink(writer->temporary);
  release(writer);
}

enum ex_status ex__file_write_whole(const char *path, const void *data, size_t size,
                                    struct ex_error *err) {
  ex_file_writer *writer;
  EX_TRY(ex__file_create(path, &writer, err));
  enum ex_status status = ex__file_write(writer, data, size, err);
  if (status != EX_OK) {
    ex__file_discard(writer);
    return status;
  }
  return ex__file_commit(writer, err);
}
