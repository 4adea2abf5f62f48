/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures, PNG and JPEG: decoded, then fitted to another size. Seeds are
 * encoded at the start; a mutated PNG gets right check sums again most of the
 * time, since the decoder would go no further than the first wrong one.
 */
#include <zlib.h>

#include "base/memory.h"
#include "data/image.h"
#include "tests/fuzzing.h"
#ifdef EX_HAVE_SPNG
#include <spng.h>
#endif
#ifdef EX_HAVE_TURBOJPEG
#include <turbojpeg.h>
#endif

enum { MAX_SEEDS = 8 };
static struct fuzz_seed seeds[MAX_SEEDS] = {{"\x89PNG\r\n\x1a\n\0\0\0\0IHDR", 16},
                                            {"\xff\xd8\xff\xe0", 4}};
static size_t n_seeds = 2;
static unsigned checksum;

#ifdef EX_HAVE_SPNG
static void add_png(uint8_t depth, uint8_t color, const void *pixels, size_t size) {
  spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
  struct spng_ihdr header = {.width = 4, .height = 2, .bit_depth = depth, .color_type = color};
  int code;
  spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
  spng_set_ihdr(png, &header);
  if (color == SPNG_COLOR_TYPE_INDEXED) {
    struct spng_plte palette = {.n_entries = 16};
    for (uint8_t i = 0; i < 16; i++) palette.entries[i] = (struct spng_plte_entry){i, i, i, 0};
    spng_set_plte(png, &palette);
  }
  FUZZ_REQUIRE(spng_encode_image(png, pixels, size, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE) == 0);
  seeds[n_seeds].data = spng_get_png_buffer(png, &seeds[n_seeds].size, &code);
  n_seeds++;
  spng_ctx_free(png);
}
#endif

#ifdef EX_HAVE_TURBOJPEG
static void add_jpeg(const uint8_t *pixels, int flags) {
  unsigned char *file = NULL;
  unsigned long size = 0;
  tjhandle jpeg = tjInitCompress();
  FUZZ_REQUIRE(tjCompress2(jpeg, pixels, 4, 0, 2, TJPF_RGB, &file, &size, TJSAMP_420, 50, flags) ==
               0);
  seeds[n_seeds++] = (struct fuzz_seed){file, size};
  tjDestroy(jpeg);
}
#endif

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  static uint8_t pixels[64];
  for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i % 16);
#ifdef EX_HAVE_SPNG
  add_png(8, SPNG_COLOR_TYPE_GRAYSCALE, pixels, 8);
  add_png(8, SPNG_COLOR_TYPE_INDEXED, pixels, 8);
  add_png(16, SPNG_COLOR_TYPE_TRUECOLOR_ALPHA, pixels, 64);
  add_png(1, SPNG_COLOR_TYPE_GRAYSCALE, pixels, 2);
#endif
#ifdef EX_HAVE_TURBOJPEG
  add_jpeg(pixels, 0);
  add_jpeg(pixels, TJFLAG_PROGRESSIVE);
#endif
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ex_error err;
  struct ex_image image;
  int32_t channels = size % 2 == 0 ? 1 : 3;
  if (ex__image_decode(data, size, "fuzz", channels, &image, &err) != EX_OK) {
    FUZZ_REQUIRE(image.pixels == NULL);
    return 0;
  }
  uint8_t fitted[3 * 5 * 7];
  if ((int64_t)image.height * image.width < 1 << 20) {
    ex__image_fit(&image, 5, 7, fitted);
    for (int32_t i = 0; i < channels * 35; i++) checksum += fitted[i];
  }
  ex__image_free(&image);
  return 0;
}

static void mend_png(uint8_t *data, size_t size) {
  for (size_t at = 8; at + 12 <= size;) {
    size_t length = (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 |
                    (size_t)data[at + 2] << 8 | data[at + 3];
    if (length > size - at - 12) return;
    uLong crc = crc32(0, data + at + 4, (uInt)length + 4);
    for (int i = 0; i < 4; i++) data[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    at += length + 12;
  }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  size = fuzz_mutate(seeds, n_seeds, data, size, max_size, seed);
  if (size > 8 && data[0] == 0x89 && seed % 8 != 1) mend_png(data, size);
  return size;
}
