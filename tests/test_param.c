/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "base/memory.h"
#include "base/param.h"
#include "base/text.h"
#include "tests/testing.h"

struct part {
  int32_t patience, nesterov, kind;
  double rate;
  struct ex_list weights;
  struct ex_table fitted;
};

static const char *const kinds[] = {"step", "cosine", NULL};
static const struct ex_param table[] = {
    {"patience", EX_PARAM_INT, offsetof(struct part, patience), 1, 64, "3", NULL,
     "Equal predictions."},
    {"nesterov", EX_PARAM_BOOL, offsetof(struct part, nesterov), 0, 1, "true", NULL,
     "Looks ahead."},
    {"schedule", EX_PARAM_ENUM, offsetof(struct part, kind), 0, 0, "cosine", kinds, "Of the rate."},
    {"rate", EX_PARAM_REAL, offsetof(struct part, rate), 0, 10, "0.1", NULL, "Learning rate."},
    {"weights", EX_PARAM_LIST, offsetof(struct part, weights), 0, 5, "1,0.5", NULL, "Per exit."},
    {"fitted", EX_PARAM_TABLE, offsetof(struct part, fitted), -9, 9, "", NULL, "Rows."},
    {.name = NULL},
};

static void defaults(void **state) {
  (void)state;
  struct part part;
  ex__param_defaults(table, &part);
  assert_int_equal(part.patience, 3);
  assert_int_equal(part.nesterov, 1);
  assert_int_equal(part.kind, 1);
  assert_true(part.rate == 0.1);
  assert_true(part.weights.n == 2 && part.weights.value[1] == 0.5);
  ex__param_defaults(NULL, &part);
}

static void from_text(void **state) {
  (void)state;
  struct part part;
  struct ex_error err;
  ex__param_defaults(table, &part);
  assert_ok(ex__param_set("p", table, &part, "patience", "64", &err), &err);
  assert_ok(ex__param_set("p", table, &part, "nesterov", "false", &err), &err);
  assert_ok(ex__param_set("p", table, &part, "schedule", "step", &err), &err);
  assert_ok(ex__param_set("p", table, &part, "rate", "1e-2", &err), &err);
  assert_ok(ex__param_set("p", table, &part, "weights", "1,2,3.5", &err), &err);
  assert_true(part.patience == 64 && part.nesterov == 0 && part.kind == 0 && part.rate == 1e-2);
  assert_true(part.weights.n == 3 && part.weights.value[2] == 3.5);
  assert_ok(ex__param_set("p", table, &part, "weights", "", &err), &err);
  assert_int_equal(part.weights.n, 0);
}

static void tables(void **state) {
  (void)state;
  struct part part, again;
  struct ex_error err;
  ex__param_defaults(table, &part);
  assert_int_equal(part.fitted.n_rows, 0);
  assert_ok(ex__param_set("p", table, &part, "fitted", "1,-2.5,3;4,5,6", &err), &err);
  assert_true(part.fitted.n_rows == 2 && part.fitted.n_columns == 3);
  assert_true(part.fitted.value[0][1] == -2.5 && part.fitted.value[1][2] == 6);
  json_t *json = ex__param_to_json(table, &part);
  ex__param_defaults(table, &again);
  assert_ok(ex__param_from_json("p", table, &again, json, &err), &err);
  assert_memory_equal(&again.fitted, &part.fitted, sizeof part.fitted);
  json_decref(json);
  static const char *const bad[] = {"1,2;3", ";", "1;", "1,;2,3", "1,2;3,10", "x", "1,2;;3,4"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_refused(ex__param_set("p", table, &part, "fitted", bad[i], &err), EX_EINVAL, &err,
                   "at most 32 rows");
  static const char *const bad_json[] = {"[[1,2],[3]]", "[1,2]",  "[[]]",
                                         "[[1,\"x\"]]", "[[10]]", "3"};
  for (size_t i = 0; i < sizeof bad_json / sizeof *bad_json; i++) {
    json_t *value = json_loads(bad_json[i], JSON_DECODE_ANY, NULL);
    json = json_pack("{s:o}", "fitted", value);
    assert_refused(ex__param_from_json("p", table, &part, json, &err), EX_EINVAL, &err, "rows");
    json_decref(json);
  }
  assert_true(part.fitted.n_rows == 2 && part.fitted.value[0][1] == -2.5);
}

static void refusals_name_value_and_rule(void **state) {
  (void)state;
  struct part part;
  struct ex_error err;
  ex__param_defaults(table, &part);
  assert_int_equal(ex__param_set("pabee", table, &part, "patience", "0", &err), EX_EINVAL);
  assert_string_equal(err.text, "pabee: patience = 0; must be an integer in [1, 64]");
  static const char *const bad[][3] = {
      {"patience", "3.5", "integer"},    {"patience", "", "integer"},
      {"patience", "65", "[1, 64]"},     {"rate", "nan", "number"},
      {"rate", "inf", "[0, 10]"},        {"rate", "0.1x", "number"},
      {"nesterov", "yes", "true or"},    {"schedule", "x", "step, cosine"},
      {"weights", "1,,2", "32 numbers"}, {"weights", "1,", "numbers"},
      {"weights", "6", "[0, 5]"},        {"momentum", "1", "patience, nesterov"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_refused(ex__param_set("p", table, &part, bad[i][0], bad[i][1], &err), EX_EINVAL, &err,
                   bad[i][2]);
  char many[200] = "1";
  for (int i = 1; i <= EX_MAX_LIST; i++) strcat(many, ",1");
  assert_refused(ex__param_set("p", table, &part, "weights", many, &err), EX_EINVAL, &err,
                 "at most 32");
  assert_true(part.patience == 3 && part.rate == 0.1 && part.weights.n == 2);
  assert_refused(ex__param_set("p", NULL, &part, "x", "1", &err), EX_EINVAL, &err, "it has none");
}

static void json_round_trip(void **state) {
  (void)state;
  struct part part, back;
  struct ex_error err;
  memset(&part, 0, sizeof part);
  memset(&back, 0, sizeof back);
  ex__param_defaults(table, &part);
  part.rate = 1.0 / 3;
  part.patience = 7;
  json_t *json = ex__param_to_json(table, &part);
  char *text;
  assert_int_equal(ex__json_dump(json, false, &text), EX_OK);
  json_decref(json);
  assert_ok(ex__json_parse(text, strlen(text), "test", &json, &err), &err);
  ex__param_defaults(table, &back);
  assert_ok(ex__param_from_json("p", table, &back, json, &err), &err);
  assert_memory_equal(&part, &back, sizeof part);
  json_decref(json);
  ex__free(text);
}

static void hostile_json(void **state) {
  (void)state;
  static const char *const bad[] = {
      "{\"patience\": 3.0}",   "{\"patience\": 4294967297}",
      "{\"patience\": \"3\"}", "{\"rate\": true}",
      "{\"rate\": -1}",        "{\"nesterov\": 1}",
      "{\"schedule\": 1}",     "{\"weights\": [1, \"a\"]}",
      "{\"other\": 1}",        "[]",
  };
  struct part part, before;
  struct ex_error err;
  memset(&part, 0, sizeof part);
  ex__param_defaults(table, &part);
  before = part;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    json_t *json;
    assert_ok(ex__json_parse(bad[i], strlen(bad[i]), "test", &json, &err), &err);
    assert_int_equal(ex__param_from_json("p", table, &part, json, &err), EX_EINVAL);
    json_decref(json);
  }
  assert_memory_equal(&part, &before, sizeof part);
}

static void tables_are_checked(void **state) {
  (void)state;
  struct ex_error err;
  assert_ok(ex__param_check_table("p", table, &err), &err);
  assert_ok(ex__param_check_table("p", NULL, &err), &err);
  struct ex_param bad[3] = {table[0], table[3], {.name = NULL}};
  bad[1].fallback = "11";
  assert_refused(ex__param_check_table("p", bad, &err), EX_EINVAL, &err, "p: rate: the default");
  bad[1] = bad[0];
  assert_refused(ex__param_check_table("p", bad, &err), EX_EINVAL, &err, "given twice");
  bad[0].name = "Patience";
  assert_refused(ex__param_check_table("p", bad, &err), EX_EINVAL, &err, "lower-case");
  bad[0] = table[0];
  bad[0].help = "No full stop";
  assert_refused(ex__param_check_table("p", bad, &err), EX_EINVAL, &err, "sentence");
}

static void help_shows_every_parameter(void **state) {
  (void)state;
  struct ex_text text = {0};
  assert_int_equal(ex__param_help(table, &text), EX_OK);
  for (const struct ex_param *param = table; param->name != NULL; param++) {
    assert_non_null(strstr(text.data, param->name));
    assert_non_null(strstr(text.data, param->help));
  }
  assert_non_null(strstr(text.data, "patience=3"));
  assert_non_null(strstr(text.data, "[1, 64]"));
  assert_non_null(strstr(text.data, "step|cosine"));
  ex__text_clear(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults),
      cmocka_unit_test(from_text),
      cmocka_unit_test(tables),
      cmocka_unit_test(refusals_name_value_and_rule),
      cmocka_unit_test(json_round_trip),
      cmocka_unit_test(hostile_json),
      cmocka_unit_test(tables_are_checked),
      cmocka_unit_test(help_shows_every_parameter),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
