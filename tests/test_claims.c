/* SPDX-License-Identifier: Apache-2.0
 *
 * Claims over repeated runs, against figures worked out by hand.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "report/claims.h"
#include "report/comparison.h"
#include "report/expression.h"

static json_t *parse(const char *text) {
  json_t *json;
  struct ex_error err = {0};
  if (ex__json_parse(text, strlen(text), "test", &json, &err) != EX_OK) fail_msg("%s", err.text);
  return json;
}

static double value_of(const json_t *document, const char *text) {
  double value = NAN;
  struct ex_error err = {0};
  if (ex__expression_evaluate(text, document, &value, &err) != EX_OK) return NAN;
  return value;
}

static void test_expressions(void **state) {
  (void)state;
  json_t *document = parse("{\"a\": {\"exits\": [{\"x\": 1}, {\"x\": 4}, {\"y\": 9}]},"
                           " \"b\": {\"exits\": [{\"x\": 2}, {\"x\": 3}]}, \"none\": []}");
  assert_true(value_of(document, "a.exits.1.x - b.exits.0.x * 2 + 0.5") == 0.5);
  assert_true(value_of(document, "b.exits.*.x / 5") == 0.5);
  static const char *const bad[] = {
      "a.exits.*.x",   "none.*.x", "a.exits.9.x", "a.exits.-1.x", "a", "c.x", "b.exits.*",
      "b.exits.0.x +", "",         "1 ^ 2"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (!isnan(value_of(document, bad[i]))) fail_msg("\"%s\" has a value", bad[i]);
  json_decref(document);
}

static void test_repeated(void **state) {
  (void)state;
  struct ex_repeated one = ex__repeated((const double[]){3}, 1);
  assert_true(one.mean == 3 && one.half == 0);
  /* Mean 2, standard deviation 1, t of 2 degrees 4.303: 4.303 / sqrt(3). */
  struct ex_repeated three = ex__repeated((const double[]){1, 2, 3}, 3);
  assert_float_equal(three.mean, 2, 1e-12);
  assert_float_equal(three.half, 2.48434, 1e-4);
}

static const char runs[] =
    "{\"runs\": {\"base\": {}, \"new\": {\"against\": \"base\", \"setting\": \"small\"},"
    "            \"rare\": {\"seeds\": 2}}, \"claims\": ["
    "  {\"says\": \"gains\", \"value\": \"new.exits.0.accuracy - base.exits.0.accuracy\", "
    "\"at-least\": 0},"
    "  {\"says\": \"gains much\", \"value\": \"new.exits.0.accuracy - base.exits.0.accuracy\", "
    "\"at-least\": 0.5},"
    "  {\"says\": \"unclear\", \"value\": \"new.exits.0.accuracy - base.exits.0.accuracy\", "
    "\"at-least\": 0.11},"
    "  {\"says\": \"costs\", \"value\": \"new.exits.0.accuracy - base.exits.0.accuracy\", "
    "\"at-most\": 0},"
    "  {\"says\": \"two seeds\", \"value\": \"rare.exits.0.accuracy\", \"at-least\": 0.1},"
    "  {\"says\": \"no figure\", \"value\": \"new.speed\", \"at-least\": 0}]}";

static const char evaluations[] =
    "[{\"base\": {\"exits\": [{\"accuracy\": 0.5}]}, \"new\": {\"exits\": [{\"accuracy\": 0.60}]},"
    "  \"rare\": {\"exits\": [{\"accuracy\": 0.5}]}},"
    " {\"base\": {\"exits\": [{\"accuracy\": 0.6}]}, \"new\": {\"exits\": [{\"accuracy\": 0.71}]},"
    "  \"rare\": {\"exits\": [{\"accuracy\": 0.5}]}},"
    " {\"base\": {\"exits\": [{\"accuracy\": 0.7}]}, \"new\": {\"exits\": [{\"accuracy\": 0.82}]}}"
    "]";

static void test_verdicts(void **state) {
  (void)state;
  static const char *const expected[] = {"met",     "not met", "no significant difference",
                                         "not met", "met",     "not measured"};
  json_t *reproduction = parse(runs), *found = parse(evaluations);
  json_t *claims = ex__claims_check(reproduction, found, true);
  for (size_t i = 0; i < 6; i++)
    assert_string_equal(json_string_value(json_object_get(json_array_get(claims, i), "verdict")),
                        expected[i]);
  assert_int_equal(json_array_size(json_object_get(json_array_get(claims, 4), "per_seed")), 2);
  json_decref(claims);
  claims = ex__claims_check(reproduction, found, false); /* a quick run never counts */
  assert_string_equal(json_string_value(json_object_get(json_array_get(claims, 0), "verdict")),
                      "quick run, not counted");
  json_decref(claims);
  json_decref(found);
  json_decref(reproduction);
}

static void test_comparison(void **state) {
  (void)state;
  json_t *reproduction = parse(runs), *found = parse(evaluations);
  assert_true(ex__comparison_wanted(reproduction));
  json_t *rows = ex__comparison_rows("entry", reproduction, found);
  assert_int_equal(json_array_size(rows), 1);
  const json_t *row = json_array_get(rows, 0);
  assert_string_equal(json_string_value(json_object_get(row, "setting")), "small");
  const json_t *exit = json_array_get(json_object_get(row, "exits"), 0);
  assert_float_equal(json_number_value(json_object_get(exit, "accuracy")), 0.71, 1e-12);
  assert_float_equal(json_number_value(json_object_get(exit, "baseline")), 0.6, 1e-12);
  assert_float_equal(json_number_value(json_object_get(exit, "difference")), 0.11, 1e-12);
  /* 4.303 · 0.01 / sqrt(3) */
  const json_t *interval = json_object_get(exit, "interval");
  assert_float_equal(json_number_value(json_array_get(interval, 0)), 0.11 - 0.0248434, 1e-6);
  assert_null(json_object_get(row, "budgeted_area")); /* was not measured */
  json_decref(rows);
  json_decref(found);
  json_decref(reproduction);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_expressions),
      cmocka_unit_test(test_repeated),
      cmocka_unit_test(test_verdicts),
      cmocka_unit_test(test_comparison),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
