/* SPDX-License-Identifier: Apache-2.0
 *
 * base/file: files that are whole or absent.
 *
 * Writing goes to a temporary file beside the target, is flushed and fsynced,
 * and renamed over it; a failure (a full disk included) removes the temporary
 * file and leaves what was there; that of a killed process goes with the next
 * writing. Reading is bounded.
 */
#ifndef EX_BASE_FILE_H
#define EX_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Reads all of a regular file of at most `limit` bytes; `*data` has one NUL
 * byte behind it and is released with ex__free. */
enum ex_status ex__file_read(const char *path, size_t limit, void **data, size_t *size,
                             struct ex_error *err);

typedef struct ex_file_writer ex_file_writer;
enum ex_status ex__file_create(const char *path, ex_file_writer **out, struct ex_error *err);
enum ex_status ex__file_write(ex_file_writer *writer, const void *data, size_t size,
                              struct ex_error *err);
/* Both release the writer; commit makes the file appear, discard leaves no trace. */
enum ex_status ex__file_commit(ex_file_writer *writer, struct ex_error *err);
void ex__file_discard(ex_file_writer *writer); /* accepts NULL */
/* Removes what writers of `path` that were killed left beside it; those that
 * still write are left alone. Creating does so too: for files that are removed. */
void ex__file_sweep(const char *path);
/* The three in one. */
enum ex_status ex__file_write_whole(const char *path, const void *data, size_t size,
                                    struct ex_error *err);

/* A read-only mapping of a whole regular file (copied where mmap fails). */
struct ex_mapping {
  const uint8_t *data;
  size_t size;
  void *owner; /* internal */
};
enum ex_status ex__file_map(const char *path, struct ex_mapping *out, struct ex_error *err);
void ex__file_unmap(struct ex_mapping *mapping);

#endif
