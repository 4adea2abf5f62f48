/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures and marks of the report: PNGs that a decoder reads back, text that
 * cannot leave its place, ticks at round numbers.
 */
#include <math.h>

#include "data/image.h"
#include "report/picture.h"
#include "report/svg.h"
#include "tests/testing.h"

static struct ex_error err;

static int32_t digit(char c) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *at = strchr(digits, c);
  return at != NULL && c != '\0' ? (int32_t)(at - digits) : -1;
}

static size_t decode_base64(const char *text, uint8_t *out) {
  uint32_t bits = 0;
  int32_t n_bits = 0;
  size_t n = 0;
  for (; digit(*text) >= 0; text++) {
    bits = bits << 6 | (uint32_t)digit(*text);
    n_bits += 6;
    if (n_bits >= 8) out[n++] = (uint8_t)(bits >> (n_bits -= 8) & 255);
  }
  return n;
}

static void pictures_read_back(void **state) {
  (void)state;
  for (int32_t channels = 1; channels <= 3; channels += 2) {
    double x[3 * 5 * 7];
    uint8_t png[2048];
    struct ex_text text = {0};
    struct ex_image image;
    for (int j = 0; j < 105; j++) x[j] = j * 2 + (j == 3 ? 0.4 : 0);
    assert_int_equal(ex__picture_add(&text, x, channels, 5, 7, true), EX_OK);
    size_t size = decode_base64(text.data + strlen("data:image/png;base64,"), png);
    enum ex_status status = ex__image_decode(png, size, "picture", channels, &image, &err);
    ex__text_clear(&text);
    if (status == EX_EUNSUPPORTED) skip(); /* built without a PNG reader */
    assert_int_equal(status, EX_OK);
    assert_true(image.channels == channels && image.height == 5 && image.width == 7);
    for (int32_t j = 0; j < channels * 35; j++) assert_int_equal(image.pixels[j], 2 * j);
    ex__image_free(&image);
  }
}

static void numbers_that_are_not_bytes_are_stretched(void **state) {
  (void)state;
  const double x[] = {-1, 0, 3, 0.5};
  uint8_t png[2048];
  struct ex_text text = {0};
  struct ex_image image;
  assert_int_equal(ex__picture_add(&text, x, 1, 2, 2, false), EX_OK);
  size_t size = decode_base64(text.data + strlen("data:image/png;base64,"), png);
  enum ex_status status = ex__image_decode(png, size, "picture", 1, &image, &err);
  ex__text_clear(&text);
  if (status == EX_EUNSUPPORTED) skip();
  assert_int_equal(status, EX_OK);
  const uint8_t expected[] = {0, 64, 255, 96};
  assert_memory_equal(image.pixels, expected, 4);
  ex__image_free(&image);
}

static void ticks_are_nice(void **state) {
  (void)state;
  assert_true(fabs(ex__nice_step(10, 5) - 2) < 1e-12);
  assert_true(fabs(ex__nice_step(0.07, 5) - 0.01) < 1e-12);
  assert_true(fabs(ex__nice_step(13e6, 7) - 2e6) < 1e-3);
  assert_true(ex__nice_step(0, 5) > 0);
}

static void text_is_escaped(void **state) {
  (void)state;
  struct ex_text text = {0};
  ex__html_escape(&text, "a<b> & \"c\" 'd'\x01\n\xc3\xa9");
  assert_string_equal(text.data, "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;  \xc3\xa9");
  ex__text_clear(&text);
  const struct ex_plot plot = {0, 1, 0, 1, 0, 0, 100, 100};
  ex__svg_dot(&text, &plot, (double[]){0.25, 0.25}, 2, "bin", "%s", "</title>");
  assert_string_equal(text.data, "<circle class=\"bin\" cx=\"25.0\" cy=\"75.0\" r=\"2.0\"><title>"
                                 "&lt;/title&gt;</title></circle>\n");
  ex__text_clear(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pictures_read_back),
      cmocka_unit_test(numbers_that_are_not_bytes_are_stretched),
      cmocka_unit_test(ticks_are_nice),
      cmocka_unit_test(text_is_escaped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
