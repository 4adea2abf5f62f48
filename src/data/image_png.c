/* SPDX-License-Identifier: Apache-2.0
 *
 * data/image: PNG through libspng. Every colour type is expanded to 8-bit RGB;
 * text and colour-profile chunks are bounded and not used.
 */
#include "data/image.h"

#ifdef EX_HAVE_SPNG

#include <spng.h>

#include "base/memory.h"

enum { MAX_CHUNK = 1 << 20, MAX_CHUNK_CACHE = 1 << 22 };

static enum ex_status spng_fault(const char *source, int code, struct ex_error *err) {
  enum ex_status status = code == SPNG_EMEM ? EX_ENOMEM : EX_EFORMAT;
  return ex__fail(err, status, "%s: cannot decode PNG: %s", source, spng_strerror(code));
}

static enum ex_status decode(spng_ctx *png, const char *source, int32_t *height, int32_t *width,
                             uint8_t **rgb, struct ex_error *err) {
  struct spng_ihdr header;
  int code = spng_get_ihdr(png, &header);
  if (code != 0) return spng_fault(source, code, err);
  EX_TRY(ex__image_check_size(source, header.height, header.width, err));
  size_t size = 0;
  code = spng_decoded_image_size(png, SPNG_FMT_RGB8, &size);
  if (code != 0) return spng_fault(source, code, err);
  uint8_t *pixels = ex__alloc(size, 1);
  if (pixels == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory for the image", source);
  code = spng_decode_image(png, pixels, size, SPNG_FMT_RGB8, 0);
  if (code == 0)
    code = spng_decode_chunks(png); /* to the end: a file that was cut short is refused */
  if (code != 0) {
    ex__free(pixels);
    return spng_fault(source, code, err);
  }
  *height = (int32_t)header.height;
  *width = (int32_t)header.width;
  *rgb = pixels;
  return EX_OK;
}

enum ex_status ex__png_decode(const void *data, size_t size, const char *source, int32_t *height,
                              int32_t *width, uint8_t **rgb, struct ex_error *err) {
  spng_ctx *png = spng_ctx_new(0);
  if (png == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory to decode", source);
  spng_set_chunk_limits(png, MAX_CHUNK, MAX_CHUNK_CACHE);
  int code = spng_set_png_buffer(png, data, size);
  enum ex_status status =
      code != 0 ? spng_fault(source, code, err) : decode(png, source, height, width, rgb, err);
  spng_ctx_free(png);
  return status;
}

#else

enum ex_status ex__png_decode(const void *data, size_t size, const char *source, int32_t *height,
                              int32_t *width, uint8_t **rgb, struct ex_error *err) {
  (void)data, (void)size, (void)height, (void)width, (void)rgb;
  return ex__fail(err, EX_EUNSUPPORTED, "%s: is a PNG image; this build has no libspng", source);
}

#endif
