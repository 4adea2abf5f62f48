/* SPDX-License-Identifier: Apache-2.0 */
#include <locale.h>
#include <math.h>

#include "base/text.h"
#include "tests/testing.h"

static void appending(void **state) {
  (void)state;
  struct ex_text text = {0};
  for (int i = 0; i < 1000; i++) ex__text_add(&text, "%d,", i);
  ex__text_add_bytes(&text, "end\0more", 8);
  assert_int_equal(ex__text_status(&text), EX_OK);
  assert_int_equal(text.size, 10 * 2 + 90 * 3 + 900 * 4 + 8);
  assert_int_equal(strncmp(text.data, "0,1,2,3,", 8), 0);
  assert_int_equal(text.data[text.size], '\0');
  ex__text_clear(&text);
  assert_null(text.data);
}

static void failure_is_remembered(void **state) {
  (void)state;
  struct ex_text text = {0};
  ex__text_add(&text, "kept");
  ex__text_add_bytes(&text, "x", SIZE_MAX - 2);
  ex__text_add(&text, "ignored");
  assert_int_equal(ex__text_status(&text), EX_ENOMEM);
  assert_string_equal(text.data, "kept");
  ex__text_clear(&text);
}

static void numbers(void **state) {
  (void)state;
  double real;
  int64_t integer;
  assert_true(ex__text_to_real("0.25", &real) && real == 0.25);
  assert_true(ex__text_to_real("-1e-3", &real) && real == -1e-3);
  assert_false(ex__text_to_real("", &real) || ex__text_to_real("1x", &real) ||
               ex__text_to_real("0,5", &real));
  assert_true(ex__text_to_int("-42", &integer) && integer == -42);
  assert_false(ex__text_to_int("4.0", &integer) || ex__text_to_int("", &integer) ||
               ex__text_to_int("9223372036854775808", &integer));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(appending),
      cmocka_unit_test(failure_is_remembered),
      cmocka_unit_test(numbers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
