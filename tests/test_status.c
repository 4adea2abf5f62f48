/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/testing.h"

static void names_and_texts(void **state) {
  (void)state;
  assert_string_equal(ex_status_name(EX_ESHAPE), "ESHAPE");
  assert_string_equal(ex_status_text(EX_ESHAPE), "shape mismatch");
  assert_string_equal(ex_status_name(EX_OK), "OK");
  assert_string_equal(ex_status_name((enum ex_status)77), "unknown");
}

static void version_is_the_headers(void **state) {
  (void)state;
  char text[32];
  snprintf(text, sizeof text, "%d.%d.%d", EX_VERSION_MAJOR, EX_VERSION_MINOR, EX_VERSION_PATCH);
  assert_string_equal(ex_version(), text);
}

static void wrapping_keeps_code_and_text(void **state) {
  (void)state;
  struct ex_error err;
  ex__fail(&err, EX_EFORMAT, "found %d", 3);
  assert_int_equal(ex__wrap(&err, EX_EIO, "file %s", "a.npy"), EX_EFORMAT);
  assert_string_equal(err.text, "file a.npy: found 3");
  assert_int_equal(ex__wrap(NULL, EX_EIO, "file"), EX_EIO);
  assert_int_equal(ex__fail(NULL, EX_ENOMEM, "x"), EX_ENOMEM);
}

static void long_texts_are_cut(void **state) {
  (void)state;
  struct ex_error err;
  char text[1000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  ex__fail(&err, EX_EINVAL, "%s", text);
  assert_int_equal(strlen(err.text), sizeof err.text - 1);
  ex__wrap(&err, EX_EINVAL, "%s", text);
  assert_int_equal(strlen(err.text), sizeof err.text - 1);
  ex__fail(&err, EX_EINVAL, "inner");
  memset(text + 255, '\0', 1);
  ex__wrap(&err, EX_EINVAL, "%s", text); /* exactly fills the text: nothing may be appended */
  assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_and_texts),
      cmocka_unit_test(version_is_the_headers),
      cmocka_unit_test(wrapping_keeps_code_and_text),
      cmocka_unit_test(long_texts_are_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
