/* SPDX-License-Identifier: Apache-2.0
 *
 * data/idx: two zero bytes, a type byte, the number of dimensions, the
 * dimensions and the elements, all big-endian (yann.lecun.com/exdb/mnist).
 *
 * zlib's gz functions read plain files unchanged, so one path serves both.
 * Memory is taken only after the declared size was held against the size of
 * the file: deflate cannot compress by more than 1032 to 1, so a short file
 * that promises terabytes is refused at once.
 */
#include "data/idx.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <zlib.h>

#include "base/memory.h"

enum { MAX_RATIO = 1032, READ_PIECE = 1 << 26 };

static enum ex_status open_file(const char *path, gzFile *out, int64_t *file_size,
                                struct ex_error *err) {
  struct stat info;
  if (stat(path, &info) != 0)
    return ex__fail(err, errno == ENOENT ? EX_ENOTFOUND : EX_EIO, "%s: cannot open: %s", path,
                    strerror(errno));
  if (!S_ISREG(info.st_mode)) return ex__fail(err, EX_EINVAL, "%s: must be a regular file", path);
  errno = 0;
  *out = gzopen(path, "rb");
  if (*out == NULL)
    return ex__fail(err, errno != 0 ? EX_EIO : EX_ENOMEM, "%s: cannot open: %s", path,
                    errno != 0 ? strerror(errno) : "no memory");
  gzbuffer(*out, 1 << 17);
  *file_size = (int64_t)info.st_size;
  return EX_OK;
}

/* Reads up to `size` bytes; `*found` is less where the file ends early. */
static enum ex_status read_bytes(gzFile file, const char *path, void *data, size_t size,
                                 size_t *found, struct ex_error *err) {
  *found = 0;
  while (*found < size) {
    size_t piece = size - *found < READ_PIECE ? size - *found : READ_PIECE;
    int n = gzread(file, (char *)data + *found, (unsigned)piece);
    if (n > 0) *found += (size_t)n;
    int code;
    const char *text = gzerror(file, &code);
    if (code == Z_BUF_ERROR) return EX_OK; /* the compressed stream ends early */
    if (n < 0 || code != Z_OK)
      return ex__fail(err, code == Z_ERRNO ? EX_EIO : EX_EFORMAT, "%s: cannot decompress: %s", path,
                      code == Z_ERRNO ? strerror(errno) : text);
    if (n == 0) return EX_OK;
  }
  return EX_OK;
}

static bool find_dtype(uint8_t code, enum ex_dtype *out) {
  switch (code) {
    case 0x08: *out = EX_DTYPE_U8; return true;
    case 0x0c: *out = EX_DTYPE_I32; return true;
    case 0x0d: *out = EX_DTYPE_F32; return true;
    case 0x0e: *out = EX_DTYPE_F64; return true;
    default: return false;
  }
}

static enum ex_status parse_magic(const uint8_t magic[4], const char *path, int32_t rank,
                                  enum ex_dtype *dtype, struct ex_error *err) {
  if (magic[0] != 0 || magic[1] != 0)
    return ex__fail(err, EX_EFORMAT,
                    "%s: begins with bytes %02x %02x; an IDX file begins with 00 00", path,
                    magic[0], magic[1]);
  if (!find_dtype(magic[2], dtype))
    return ex__fail(
        err, EX_EUNSUPPORTED,
        "%s: IDX type %02x; must be 08 (unsigned byte), 0c (int), 0d (float) or 0e (double)", path,
        magic[2]);
  if (magic[3] != rank)
    return ex__fail(err, EX_EFORMAT, "%s: IDX array of %d dimensions; must have %d (%s)", path,
                    magic[3], (int)rank, rank == 1 ? "labels" : "images");
  return EX_OK;
}

static enum ex_status read_header(gzFile file, const char *path, int32_t rank, struct ex_array *out,
                                  struct ex_error *err) {
  uint8_t header[4 + 4 * EX_MAX_ARRAY_RANK] = {0};
  size_t size = 4 + 4 * (size_t)rank, found;
  EX_TRY(read_bytes(file, path, header, size, &found, err));
  enum ex_dtype dtype = EX_DTYPE_U8;
  if (found >= 4) EX_TRY(parse_magic(header, path, rank, &dtype, err));
  if (found < size)
    return ex__fail(err, EX_EFORMAT, "%s: ends after %zu bytes; its header needs %zu", path, found,
                    size);
  int64_t dim[EX_MAX_ARRAY_RANK];
  for (int32_t i = 0; i < rank; i++) {
    const uint8_t *b = header + 4 + 4 * i;
    dim[i] = (int64_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
  }
  return ex__array_shape(out, path, dtype, rank, dim, err);
}

static void swap_bytes(void *data, size_t count, size_t element) {
  if (element == 4) {
    uint32_t *words = data;
    for (size_t i = 0; i < count; i++) words[i] = __builtin_bswap32(words[i]);
  } else if (element == 8) {
    uint64_t *words = data;
    for (size_t i = 0; i < count; i++) words[i] = __builtin_bswap64(words[i]);
  }
}

static enum ex_status read_data(gzFile file, const char *path, void *data,
                                const struct ex_array *array, struct ex_error *err) {
  size_t found, more;
  EX_TRY(read_bytes(file, path, data, array->size, &found, err));
  char shape[64], extra;
  ex__array_shape_text(array, shape, sizeof shape);
  if (found < array->size)
    return ex__fail(err, EX_EFORMAT, "%s: ends after %zu bytes of data; its header %s needs %zu",
                    path, found, shape, array->size);
  EX_TRY(read_bytes(file, path, &extra, 1, &more, err));
  if (more > 0)
    return ex__fail(err, EX_EFORMAT,
                    "%s: goes on after the %zu bytes of data that its header %s declares", path,
                    array->size, shape);
  swap_bytes(data, (size_t)array->count, ex__dtype_size(array->dtype));
  return EX_OK;
}

static enum ex_status read_array(gzFile file, const char *path, int64_t file_size, int32_t rank,
                                 struct ex_array *out, struct ex_error *err) {
  EX_TRY(read_header(file, path, rank, out, err));
  int64_t most = gzdirect(file)                      ? file_size
                 : file_size > INT64_MAX / MAX_RATIO ? INT64_MAX
                                                     : file_size * MAX_RATIO;
  if (out->size > (uint64_t)most)
    return ex__fail(err, EX_EFORMAT,
                    "%s: a file of %" PRId64 " bytes cannot hold the %zu its header declares", path,
                    file_size, out->size);
  void *data = ex__alloc(out->size, 1);
  if (data == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory for %zu bytes", path, out->size);
  enum ex_status status = read_data(file, path, data, out, err);
  if (status == EX_OK)
    out->data = data;
  else
    ex__free(data);
  return status;
}

enum ex_status ex__idx_read(const char *path, int32_t rank, struct ex_array *out,
                            struct ex_error *err) {
  *out = (struct ex_array){0};
  gzFile file = NULL;
  int64_t file_size = 0;
  EX_TRY(open_file(path, &file, &file_size, err));
  struct ex_array array = {0};
  enum ex_status status = read_array(file, path, file_size, rank, &array, err);
  int closed = gzclose(file); /* Z_BUF_ERROR: the stream lacks its end, and so its check sum */
  if (status == EX_OK && closed != Z_OK) {
    ex__array_free(&array);
    return ex__fail(err, EX_EFORMAT, "%s: the compressed stream ends early", path);
  }
  if (status == EX_OK) *out = array;
  return status;
}
