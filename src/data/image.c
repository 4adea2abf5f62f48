/* SPDX-License-Identifier: Apache-2.0
 *
 * data/image: what does not depend on the codec: telling the format, planes
 * instead of interleaved pixels, luma, and fitting to a size.
 *
 * The limits are checked between reading the header and decoding, so that a
 * small file cannot claim a large part of memory.
 */
#include "data/image.h"

#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

enum ex_status ex__image_check_size(const char *source, int64_t height, int64_t width,
                                    struct ex_error *err) {
  if (height >= 1 && width >= 1 && height <= EX_IMAGE_MAX_SIDE && width <= EX_IMAGE_MAX_SIDE &&
      height * width <= EX_IMAGE_MAX_PIXELS)
    return EX_OK;
  return ex__fail(err, EX_EFORMAT,
                  "%s: an image of %" PRId64 " × %" PRId64
                  " pixels; sides must be in [1, %d], their product at most %d",
                  source, width, height, EX_IMAGE_MAX_SIDE, EX_IMAGE_MAX_PIXELS);
}

/* Rounded luma; equal channels come out unchanged. */
static uint8_t luma(const uint8_t *rgb) {
  return (uint8_t)((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
}

static enum ex_status to_planes(const uint8_t *rgb, const char *source, struct ex_image *image,
                                struct ex_error *err) {
  size_t n = (size_t)image->height * (size_t)image->width;
  image->pixels = ex__alloc(n, (size_t)image->channels);
  if (image->pixels == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory for the image", source);
  if (image->channels == 1) {
    for (size_t i = 0; i < n; i++) image->pixels[i] = luma(rgb + 3 * i);
  } else {
    for (size_t c = 0; c < 3; c++)
      for (size_t i = 0; i < n; i++) image->pixels[c * n + i] = rgb[3 * i + c];
  }
  return EX_OK;
}

enum ex_status ex__image_decode(const void *data, size_t size, const char *source, int32_t channels,
                                struct ex_image *out, struct ex_error *err) {
  *out = (struct ex_image){0};
  if (channels != 1 && channels != 3)
    return ex__fail(err, EX_EINVAL, "%s: %d channels asked for; must be 1 or 3", source,
                    (int)channels);
  struct ex_image image = {.channels = channels};
  uint8_t *rgb = NULL;
  if (size >= 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0)
    EX_TRY(ex__png_decode(data, size, source, &image.height, &image.width, &rgb, err));
  else if (size >= 3 && memcmp(data, "\xff\xd8\xff", 3) == 0)
    EX_TRY(ex__jpeg_decode(data, size, source, &image.height, &image.width, &rgb, err));
  else
    return ex__fail(err, EX_EFORMAT, "%s: must be a PNG or JPEG image", source);
  enum ex_status status = to_planes(rgb, source, &image, err);
  ex__free(rgb);
  if (status == EX_OK) *out = image;
  return status;
}

enum ex_status ex__image_read(const char *path, int32_t channels, struct ex_image *out,
                              struct ex_error *err) {
  *out = (struct ex_image){0};
  void *data = NULL;
  size_t size = 0;
  EX_TRY(ex__file_read(path, EX_IMAGE_MAX_FILE, &data, &size, err));
  enum ex_status status = ex__image_decode(data, size, path, channels, out, err);
  ex__free(data);
  return status;
}

void ex__image_free(struct ex_image *image) {
  ex__free(image->pixels);
  *image = (struct ex_image){0};
}

/* Mean of the plane over [top, bottom) × [left, right), pixels at the edge
 * weighted by how much of them lies inside. */
static double area_mean(const uint8_t *plane, int32_t width, double top, double bottom, double left,
                        double right) {
  double sum = 0;
  for (int32_t y = (int32_t)top; y < bottom; y++) {
    double high = (y + 1 < bottom ? y + 1 : bottom) - (y > top ? y : top);
    double row = 0;
    for (int32_t x = (int32_t)left; x < right; x++) {
      double wide = (x + 1 < right ? x + 1 : right) - (x > left ? x : left);
      row += wide * plane[(size_t)y * (size_t)width + (size_t)x];
    }
    sum += high * row;
  }
  return sum / ((bottom - top) * (right - left));
}

void ex__image_fit(const struct ex_image *image, int32_t height, int32_t width, uint8_t *out) {
  size_t source_n = (size_t)image->height * (size_t)image->width,
         n = (size_t)height * (size_t)width;
  if (image->height == height && image->width == width) {
    memcpy(out, image->pixels, n * (size_t)image->channels);
    return;
  }
  double by_height = (double)image->height / height, by_width = (double)image->width / width;
  double step = by_height < by_width ? by_height : by_width; /* source pixels per target pixel */
  double top = (image->height - step * height) / 2, left = (image->width - step * width) / 2;
  for (int32_t c = 0; c < image->channels; c++)
    for (int32_t y = 0; y < height; y++)
      for (int32_t x = 0; x < width; x++) {
        double y0 = top + y * step, x0 = left + x * step;
        double y1 = y0 + step < image->height ? y0 + step : image->height;
        double x1 = x0 + step < image->width ? x0 + step : image->width;
        double mean = area_mean(image->pixels + (size_t)c * source_n, image->width, y0 > 0 ? y0 : 0,
                                y1, x0 > 0 ? x0 : 0, x1);
        out[(size_t)c * n + (size_t)y * (size_t)width + (size_t)x] = (uint8_t)(mean + 0.5);
      }
}
