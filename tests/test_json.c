/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "tests/testing.h"

static void bad_documents_are_refused(void **state) {
  (void)state;
  static const char *const bad[] = {
      "",        "{\"a\":1", "{\"a\":1} x", "{\"a\":1,\"a\":2}", "{\"a\":1,}", "{\"a\":\"\xff\"}",
      "[1e999]", "[NaN]",    "3",           "[\"\\u0000\"]",     "{'a':1}",    "[01]",
  };
  struct ex_error err;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    json_t *json = NULL;
    assert_refused(ex__json_parse(bad[i], strlen(bad[i]), "recipe", &json, &err), EX_EFORMAT, &err,
                   "recipe: line ");
    assert_null(json);
  }
}

static enum ex_status parse_nested(int depth, struct ex_error *err) {
  char text[300] = {0};
  memset(text, '[', (size_t)depth);
  memset(text + depth, ']', (size_t)depth);
  json_t *json;
  enum ex_status status = ex__json_parse(text, strlen(text), "bomb", &json, err);
  json_decref(json);
  return status;
}

static void depth_is_limited(void **state) {
  (void)state;
  struct ex_error err;
  assert_ok(parse_nested(64, &err), &err);
  assert_refused(parse_nested(65, &err), EX_EFORMAT, &err, "64 levels");
  json_t *json;
  char brackets[100] = "[\"\\\"";
  memset(brackets + strlen(brackets), '[', 80);
  strcat(brackets, "\"]");
  assert_ok(ex__json_parse(brackets, strlen(brackets), "string", &json, &err), &err);
  json_decref(json);
}

static void numbers_round_trip(void **state) {
  (void)state;
  static const double values[] = {0.1, 1.0 / 3, 1e-308, 123456789012345678.0, -0.0};
  struct ex_error err;
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    json_t *json = json_pack("{s:f}", "x", values[i]), *back;
    char *text;
    double out;
    assert_int_equal(ex__json_dump(json, true, &text), EX_OK);
    assert_ok(ex__json_parse(text, strlen(text), "test", &back, &err), &err);
    assert_ok(ex__json_real(back, "x", "test", -1e300, 1e300, &out, &err), &err);
    assert_memory_equal(&out, &values[i], sizeof out);
    ex__free(text);
    json_decref(json);
    json_decref(back);
  }
}

static void getters_check(void **state) {
  (void)state;
  struct ex_error err;
  json_t *json = json_pack("{s:i, s:f, s:s, s:[i,i,i], s:{}}", "n", 5, "r", 0.5, "s", "text", "a",
                           1, 2, 3, "o");
  int64_t n;
  double r;
  const char *s;
  const json_t *part;
  assert_ok(ex__json_int(json, "n", "net", 0, 5, &n, &err), &err);
  assert_ok(ex__json_real(json, "n", "net", 0, 5, &r, &err), &err);
  assert_ok(ex__json_string(json, "s", "net", &s, &err), &err);
  assert_ok(ex__json_array(json, "a", "net", 3, &part, &err), &err);
  assert_ok(ex__json_object(json, "o", "net", &part, &err), &err);
  assert_string_equal(s, "text");
  assert_refused(ex__json_int(json, "n", "net", 0, 4, &n, &err), EX_EFORMAT, &err,
                 "net: \"n\" = 5; must be");
  assert_refused(ex__json_int(json, "r", "net", 0, 4, &n, &err), EX_EFORMAT, &err, "an integer");
  assert_refused(ex__json_real(json, "s", "net", 0, 4, &r, &err), EX_EFORMAT, &err, "is a string");
  assert_refused(ex__json_string(json, "zz", "net", &s, &err), EX_EFORMAT, &err,
                 "\"zz\" is missing");
  assert_refused(ex__json_array(json, "a", "net", 2, &part, &err), EX_EFORMAT, &err, "has 3 items");
  assert_refused(ex__json_object(json, "a", "net", &part, &err), EX_EFORMAT, &err,
                 "must be an object");
  assert_refused(ex__json_int(NULL, "n", "net", 0, 4, &n, &err), EX_EFORMAT, &err,
                 "must be an object");
  json_decref(json);
}

static void loading_names_the_file(void **state) {
  (void)state;
  char folder[64], path[96];
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/recipe.json", folder);
  struct ex_error err;
  json_t *json;
  assert_refused(ex__json_load(path, 100, &json, &err), EX_ENOTFOUND, &err, path);
  assert_ok(ex__file_write_whole(path, "{\"a\": 1}", 8, &err), &err);
  assert_ok(ex__json_load(path, 8, &json, &err), &err);
  json_decref(json);
  assert_refused(ex__json_load(path, 7, &json, &err), EX_EFORMAT, &err, "must have at most 7");
  testing_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bad_documents_are_refused), cmocka_unit_test(depth_is_limited),
      cmocka_unit_test(numbers_round_trip),        cmocka_unit_test(getters_check),
      cmocka_unit_test(loading_names_the_file),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
