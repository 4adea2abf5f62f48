/* SPDX-License-Identifier: Apache-2.0
 *
 * PNG files for tests, where the library that writes them is there.
 */
#ifndef EX_TESTS_PNG_H
#define EX_TESTS_PNG_H

#ifdef EX_HAVE_SPNG
#include <spng.h>

#include "tests/testing.h"

/* pixels [height][width] of the colour type, 8 bits each; to be freed with free. */
static inline void *encode_png(uint32_t width, uint32_t height, uint8_t color, const void *pixels,
                               size_t size, size_t *png_size) {
  spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
  struct spng_ihdr header = {.width = width, .height = height, .bit_depth = 8, .color_type = color};
  int code;
  spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
  spng_set_ihdr(png, &header);
  assert_int_equal(spng_encode_image(png, pixels, size, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), 0);
  void *buffer = spng_get_png_buffer(png, png_size, &code);
  spng_ctx_free(png);
  return buffer;
}
#endif

#endif
