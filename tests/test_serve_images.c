/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests that hold PNG files are answered as those that hold their pixels.
 */
#include "tests/png.h"
#include "tests/serve_fixture.h"

#ifdef EX_HAVE_SPNG
enum { N = 3 };

static void add_head(struct ex_text *text, const char *type, const char *shape, size_t size) {
  ex__text_add(text,
               "{\"outputs\":[{\"name\":\"logits\"},{\"name\":\"exit\"}],\"inputs\":[{\"name\":"
               "\"input\",\"datatype\":\"%s\",\"shape\":[%s],\"parameters\":{\"binary_data_size\":"
               "%zu}}]}",
               type, shape, size);
}

static struct reply post(const struct served_fixture *s, const char *type, const char *shape,
                         const struct ex_text *binary) {
  struct ex_text body = {0};
  char header[80];
  add_head(&body, type, shape, binary->size);
  snprintf(header, sizeof header, "Inference-Header-Content-Length: %zu\r\n", body.size);
  ex__text_add_bytes(&body, binary->data, binary->size);
  struct reply reply =
      http_call(s->port, "POST", "/v2/models/small/infer", header, body.data, body.size);
  ex__text_clear(&body);
  return reply;
}

/* Image i of `side`, as pixels or as a file with its length before it. */
static void add_image(struct ex_text *text, int i, uint32_t side, bool encoded) {
  uint8_t pixels[4 * FEATURES];
  size_t n = (size_t)side * side, size;
  assert_true(n <= sizeof pixels);
  for (size_t k = 0; k < n; k++) pixels[k] = (uint8_t)(k * k * (size_t)(i + 3) % 251);
  if (!encoded) {
    ex__text_add_bytes(text, pixels, n);
    return;
  }
  void *file = encode_png(side, side, SPNG_COLOR_TYPE_GRAYSCALE, pixels, n, &size);
  const uint32_t length = (uint32_t)size;
  ex__text_add_bytes(text, &length, 4);
  ex__text_add_bytes(text, file, size);
  free(file);
}

static void files_are_answered_as_pixels(void **state) {
  (void)state;
  struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  struct ex_text pixels = {0}, files = {0};
  for (int i = 0; i < N; i++) {
    add_image(&pixels, i, SIDE, false);
    add_image(&files, i, SIDE, true);
  }
  struct reply a = post(&s, "UINT8", "3,1,12,12", &pixels), b = post(&s, "BYTES", "3", &files);
  struct reply c = post(&s, "BYTES", "3,1", &files);
  assert_int_equal(a.status, 200);
  assert_int_equal(b.status, 200);
  assert_string_equal(http_text(&a), http_text(&b));
  assert_string_equal(http_text(&a), http_text(&c));
  ex__text_clear(&a.body);
  ex__text_clear(&b.body);
  ex__text_clear(&c.body);
  ex__text_clear(&pixels);
  ex__text_clear(&files);
  add_image(&files, 0, 2 * SIDE, true); /* another size: it is scaled */
  b = post(&s, "BYTES", "1", &files);
  assert_int_equal(b.status, 200);
  ex__text_clear(&b.body);
  ex__text_clear(&files);
  served_free(&s);
}

static void refused(const struct served_fixture *s, const char *shape, const struct ex_text *binary,
                    const char *text) {
  struct reply reply = post(s, "BYTES", shape, binary);
  if (reply.status != 400 || strstr(http_text(&reply), text) == NULL)
    fail_msg("%d %s; must say \"%s\"", reply.status, http_text(&reply), text);
  ex__text_clear(&reply.body);
}

static void what_is_no_image_is_refused(void **state) {
  (void)state;
  struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  struct ex_text files = {0};
  add_image(&files, 0, SIDE, true);
  refused(&s, "2", &files, "image 1: its 0 bytes are not there");
  refused(&s, "1,2", &files, "must be [n] or [n, 1]");
  refused(&s, "0", &files, "must be [n] or [n, 1]");
  refused(&s, "32", &files, "32 images; they are not there");
  files.data[4] = 'x';
  refused(&s, "1", &files, "must be a PNG or JPEG image");
  files.data[4] = '\x89';
  ex__text_add_bytes(&files, "more", 4);
  refused(&s, "1", &files, "4 bytes follow the last image");
  files.size -= 5;
  refused(&s, "1", &files, "bytes are not there");
  ex__text_clear(&files);
  served_free(&s);
}
#endif

int main(void) {
#ifdef EX_HAVE_SPNG
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(files_are_answered_as_pixels),
      cmocka_unit_test(what_is_no_image_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
#else
  return 77; /* built without a PNG writer */
#endif
}
