/* SPDX-License-Identifier: Apache-2.0
 *
 * data/image: PNG and JPEG pictures as planes of bytes.
 */
#ifndef EX_DATA_IMAGE_H
#define EX_DATA_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { EX_IMAGE_MAX_SIDE = 16384, EX_IMAGE_MAX_PIXELS = 1 << 26, EX_IMAGE_MAX_FILE = 1 << 28 };

struct ex_image {
  int32_t channels, height, width;
  uint8_t *pixels; /* [channels][height][width] */
};

/* Decodes by content, not by name. `channels` is 1 (luma, ITU-R BT.601) or 3
 * (RGB); transparency is dropped, 16 bits become 8. */
enum ex_status ex__image_decode(const void *data, size_t size, const char *source, int32_t channels,
                                struct ex_image *out, struct ex_error *err);
enum ex_status ex__image_read(const char *path, int32_t channels, struct ex_image *out,
                              struct ex_error *err);
void ex__image_free(struct ex_image *image);

/* Cuts the centre to the target's aspect and averages the area under each
 * target pixel. `out` [channels][height][width]. */
void ex__image_fit(const struct ex_image *image, int32_t height, int32_t width, uint8_t *out);

/* The decoders behind ex__image_decode: interleaved RGB, released with
 * ex__free. EX_EUNSUPPORTED where the library was built without them. */
enum ex_status ex__png_decode(const void *data, size_t size, const char *source, int32_t *height,
                              int32_t *width, uint8_t **rgb, struct ex_error *err);
enum ex_status ex__jpeg_decode(const void *data, size_t size, const char *source, int32_t *height,
                               int32_t *width, uint8_t **rgb, struct ex_error *err);
/* Sides and pixels within the limits above; opens with `source`. */
enum ex_status ex__image_check_size(const char *source, int64_t height, int64_t width,
                                    struct ex_error *err);

#endif
