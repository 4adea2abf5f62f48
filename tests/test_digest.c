/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 against the two examples of FIPS 180-2, in one piece and in many.
 */
#include "base/digest.h"
#include "tests/testing.h"

static void published_values(void **state) {
  (void)state;
  static const char text[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  char out[EX_DIGEST_TEXT];
  ex_digest *digest = ex__digest_new();
  ex__digest_add(digest, "abc", 3);
  ex__digest_finish(digest, out);
  assert_string_equal(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  digest = ex__digest_new();
  for (size_t i = 0; i < strlen(text); i++) ex__digest_add(digest, text + i, 1);
  ex__digest_add(digest, NULL, 0);
  ex__digest_finish(digest, out);
  assert_string_equal(out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(published_values)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
