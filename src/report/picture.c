/* SPDX-License-Identifier: Apache-2.0
 *
 * report/picture: the smallest PNG writer that is right: one image, 8 bits,
 * no filter, through zlib, which the library links for IDX files anyway. The
 * PNG library is optional and only reads here.
 */
#include "report/picture.h"

#include <math.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"

static void put_be32(uint8_t *at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Length, type, data, CRC of the two; data may be NULL where size is 0. */
static void add_chunk(struct ex_text *png, const char type[5], const uint8_t *data, size_t size) {
  uint8_t word[4];
  put_be32(word, (uint32_t)size);
  ex__text_add_bytes(png, word, 4);
  ex__text_add_bytes(png, type, 4);
  ex__text_add_bytes(png, data, size);
  uLong crc = crc32(crc32(0, NULL, 0), (const Bytef *)type, 4);
  if (size > 0) crc = crc32(crc, data, (uInt)size);
  put_be32(word, (uint32_t)crc);
  ex__text_add_bytes(png, word, 4);
}

static void add_base64(struct ex_text *text, const uint8_t *data, size_t size) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < size; i += 3) {
    uint32_t triple = 0;
    for (size_t j = 0; j < 3; j++) triple = triple << 8 | (i + j < size ? data[i + j] : 0);
    char quad[4];
    for (int j = 0; j < 4; j++) quad[j] = digits[triple >> (18 - 6 * j) & 63];
    if (i + 1 >= size) quad[2] = '=';
    if (i + 2 >= size) quad[3] = '=';
    ex__text_add_bytes(text, quad, 4);
  }
}

/* Stored values to the range of a byte: value × scale + shift. */
static void range_of(const double *x, int64_t n, bool bytes, double *scale, double *shift) {
  double least = INFINITY, largest = -INFINITY;
  for (int64_t i = 0; i < n; i++) {
    if (x[i] < least) least = x[i];
    if (x[i] > largest) largest = x[i];
  }
  *scale = bytes ? 1 : largest > least ? 255 / (largest - least) : 0;
  *shift = bytes || !isfinite(least) ? 0 : -least * *scale;
}

/* PNG's rows: a filter byte of 0, then the pixels, interleaved. */
static void fill_rows(const double *x, int32_t channels, int32_t height, int32_t width, bool bytes,
                      uint8_t *rows) {
  double scale, shift;
  int64_t plane = (int64_t)height * width;
  range_of(x, channels * plane, bytes, &scale, &shift);
  for (int32_t r = 0; r < height; r++) {
    *rows++ = 0;
    for (int32_t c = 0; c < width; c++)
      for (int32_t k = 0; k < channels; k++) {
        double value = x[k * plane + (int64_t)r * width + c] * scale + shift;
        *rows++ = (uint8_t)(value >= 255 ? 255 : value > 0 ? value + 0.5 : 0);
      }
  }
}

static void write_png(struct ex_text *png, int32_t channels, int32_t height, int32_t width,
                      const uint8_t *packed, size_t size) {
  uint8_t header[13] = {0};
  put_be32(header, (uint32_t)width);
  put_be32(header + 4, (uint32_t)height);
  header[8] = 8;                     /* bits */
  header[9] = channels == 3 ? 2 : 0; /* RGB or grey */
  ex__text_add_bytes(png, "\x89PNG\r\n\x1a\n", 8);
  add_chunk(png, "IHDR", header, sizeof header);
  add_chunk(png, "IDAT", packed, size);
  add_chunk(png, "IEND", NULL, 0);
}

enum ex_status ex__picture_add(struct ex_text *text, const double *x, int32_t channels,
                               int32_t height, int32_t width, bool bytes) {
  if (channels != 3) channels = 1;
  size_t size = (size_t)height * (1 + (size_t)width * (size_t)channels);
  uLongf packed_size = compressBound((uLong)size);
  uint8_t *rows = ex__alloc(size, 1), *packed = ex__alloc(packed_size, 1);
  struct ex_text png = {0};
  bool ok = rows != NULL && packed != NULL;
  if (ok) fill_rows(x, channels, height, width, bytes, rows);
  ok = ok && compress2(packed, &packed_size, rows, (uLong)size, 9) == Z_OK;
  if (ok) {
    write_png(&png, channels, height, width, packed, packed_size);
    ex__text_add(text, "data:image/png;base64,");
    add_base64(text, (const uint8_t *)png.data, png.size);
    ok = ex__text_status(&png) == EX_OK;
  }
  ex__text_clear(&png);
  ex__free(rows);
  ex__free(packed);
  return ok ? EX_OK : EX_ENOMEM;
}
