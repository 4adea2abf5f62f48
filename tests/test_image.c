/* SPDX-License-Identifier: Apache-2.0
 *
 * Images are made here by the encoders of the same libraries, so no foreign
 * data are needed; a build without a codec must say so instead.
 */
#include "base/memory.h"
#include "data/image.h"
#include "tests/png.h"
#include "tests/testing.h"
#ifdef EX_HAVE_TURBOJPEG
#include <turbojpeg.h>
#endif

static void not_an_image(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_image image;
  assert_refused(ex__image_decode("GIF89a..", 8, "a.gif", 3, &image, &err), EX_EFORMAT, &err,
                 "a.gif: must be");
  assert_refused(ex__image_decode("", 0, "empty", 3, &image, &err), EX_EFORMAT, &err, "empty");
  assert_refused(ex__image_decode("", 0, "empty", 2, &image, &err), EX_EINVAL, &err, "2 channels");
  assert_null(image.pixels);
}

static void fit_averages_areas(void **state) {
  (void)state;
  uint8_t pixels[4 * 6], out[6];
  for (int y = 0; y < 4; y++)
    for (int x = 0; x < 6; x++) pixels[6 * y + x] = (uint8_t)(10 * y + x);
  struct ex_image image = {1, 4, 6, pixels};
  ex__image_fit(&image, 2, 3, out);                 /* 2 × 2 blocks */
  const uint8_t halves[6] = {6, 8, 10, 26, 28, 30}; /* 5.5, 7.5, … rounded up */
  assert_memory_equal(out, halves, 6);
  ex__image_fit(&image, 2, 2, out); /* the centre 4 × 4 */
  const uint8_t centre[4] = {7, 9, 27, 29};
  assert_memory_equal(out, centre, 4);
  ex__image_fit(&image, 1, 1, out);
  assert_int_equal(out[0], 18); /* 15 + 2.5 */
  uint8_t same[24];
  ex__image_fit(&image, 4, 6, same);
  assert_memory_equal(same, pixels, 24);
}

/* Any size to any size stays inside the image and keeps a constant. */
static void fit_keeps_constants(void **state) {
  (void)state;
  uint8_t pixels[17 * 13], out[3 * 31 * 29];
  memset(pixels, 200, sizeof pixels);
  for (int32_t h = 1; h <= 17; h += 4)
    for (int32_t w = 1; w <= 13; w += 3)
      for (int32_t th = 1; th <= 31; th += 5)
        for (int32_t tw = 1; tw <= 29; tw += 4) {
          struct ex_image image = {1, h, w, pixels};
          ex__image_fit(&image, th, tw, out);
          for (int32_t i = 0; i < th * tw; i++) assert_int_equal(out[i], 200);
        }
}

#ifdef EX_HAVE_SPNG
static void png(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_image image;
  const uint8_t grey[6] = {0, 1, 127, 128, 254, 255}, rgb[6] = {255, 0, 0, 10, 20, 30};
  size_t size;
  uint8_t *file = encode_png(3, 2, SPNG_COLOR_TYPE_GRAYSCALE, grey, 6, &size);
  assert_ok(ex__image_decode(file, size, "g.png", 1, &image, &err), &err);
  assert_true(image.height == 2 && image.width == 3 && image.channels == 1);
  assert_memory_equal(image.pixels, grey, 6);
  ex__image_free(&image);
  for (size_t cut = 5; cut < size; cut++) /* libspng does not read the end mark's own check sum */
    assert_int_not_equal(ex__image_decode(file, size - cut, "g.png", 1, &image, &err), EX_OK);
  free(file);
  file = encode_png(2, 1, SPNG_COLOR_TYPE_TRUECOLOR, rgb, 6, &size);
  assert_ok(ex__image_decode(file, size, "c.png", 3, &image, &err), &err);
  const uint8_t planes[6] = {255, 10, 0, 20, 0, 30};
  assert_memory_equal(image.pixels, planes, 6);
  ex__image_free(&image);
  assert_ok(ex__image_decode(file, size, "c.png", 1, &image, &err), &err);
  assert_true(image.pixels[0] == 76 && image.pixels[1] == 18); /* 0.299·255 and 0.299·10 + … */
  ex__image_free(&image);
  memcpy(file + 16, "\0\0\xff\xff\0\0\xff\xff", 8); /* the size, with a wrong check sum */
  assert_int_not_equal(ex__image_decode(file, size, "c.png", 3, &image, &err), EX_OK);
  free(file);
}
#else
static void png(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_image image;
  assert_refused(ex__image_decode("\x89PNG\r\n\x1a\n", 8, "a.png", 3, &image, &err),
                 EX_EUNSUPPORTED, &err, "no libspng");
}
#endif

#ifdef EX_HAVE_TURBOJPEG
static void jpeg(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_image image;
  uint8_t rgb[16 * 16 * 3];
  for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = i % 3 == 0 ? 200 : i % 3 == 1 ? 100 : 50;
  unsigned char *file = NULL;
  unsigned long size = 0;
  tjhandle encoder = tjInitCompress();
  assert_int_equal(tjCompress2(encoder, rgb, 16, 0, 16, TJPF_RGB, &file, &size, TJSAMP_444, 95, 0),
                   0);
  tjDestroy(encoder);
  assert_ok(ex__image_decode(file, size, "a.jpg", 3, &image, &err), &err);
  assert_true(image.height == 16 && image.width == 16);
  for (size_t i = 0; i < 256; i++) {
    assert_in_range(image.pixels[i], 197, 203);
    assert_in_range(image.pixels[512 + i], 47, 53);
  }
  ex__image_free(&image);
  for (size_t cut = 3; cut < size; cut += 7) /* the last two bytes are only a mark */
    assert_int_not_equal(ex__image_decode(file, size - cut, "a.jpg", 3, &image, &err), EX_OK);
  tjFree(file);
}
#else
static void jpeg(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_image image;
  assert_refused(ex__image_decode("\xff\xd8\xff\xe0", 4, "a.jpg", 3, &image, &err), EX_EUNSUPPORTED,
                 &err, "no libturbojpeg");
}
#endif

static void sizes_are_limited(void **state) {
  (void)state;
  struct ex_error err;
  assert_ok(ex__image_check_size("x", 16384, 4096, &err), &err);
  assert_refused(ex__image_check_size("x", 16384, 4097, &err), EX_EFORMAT, &err, "4097 × 16384");
  assert_refused(ex__image_check_size("x", 0, 1, &err), EX_EFORMAT, &err, "sides");
  assert_refused(ex__image_check_size("x", 16385, 1, &err), EX_EFORMAT, &err, "sides");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(not_an_image),
      cmocka_unit_test(fit_averages_areas),
      cmocka_unit_test(fit_keeps_constants),
      cmocka_unit_test(png),
      cmocka_unit_test(jpeg),
      cmocka_unit_test(sizes_are_limited),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
