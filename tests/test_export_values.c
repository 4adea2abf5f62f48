/* SPDX-License-Identifier: Apache-2.0
 *
 * The values of a rule by name, of every type, and names that are not there.
 */
#include "export/export_values.h"
#include "tests/testing.h"

static ex_policy policy_of(const char *rule, const char *name, const char *text) {
  struct ex_error err = {0};
  ex_policy policy;
  assert_ok(ex__policy_init(&policy, rule, 3, 10, &err), &err);
  if (name != NULL) assert_ok(ex__policy_set(&policy, name, text, &err), &err);
  return policy;
}

static void values_are_read_by_name(void **state) {
  (void)state;
  struct ex_error err = {0};
  ex_policy policy = policy_of("patience", "patience", "7");
  struct ex_rule_values values = {.policy = &policy};
  assert_true(ex__value_number(&values, "patience") == 7);
  policy = policy_of("pcee", "accuracy", "0.75");
  assert_true(ex__value_number(&values, "accuracy") == 0.75);
  assert_int_equal(ex__value_table(&values, "edge")->n_rows, 0);
  policy = policy_of("max-probability", "fallback", "true");
  assert_true(ex__value_number(&values, "fallback") == 1);
  policy = policy_of("predictive", "engine", "learned");
  assert_true(ex__value_is(&values, "engine", "learned"));
  assert_false(ex__value_is(&values, "engine", "neighbours"));
  assert_ok(ex__values_status(&values, &err), &err);
}

static void a_list_has_a_number_per_exit_or_one(void **state) {
  (void)state;
  struct ex_error err = {0};
  ex_policy policy = policy_of("margin", NULL, NULL);
  struct ex_rule_values values = {.policy = &policy};
  assert_true(ex__value_of_exit(&values, "thresholds", 1, 2) == 2);
  policy = policy_of("margin", "thresholds", "0.5");
  assert_true(ex__value_of_exit(&values, "thresholds", 1, 2) == 0.5);
  policy = policy_of("margin", "thresholds", "0.5,0.25");
  assert_true(ex__value_of_exit(&values, "thresholds", 1, 2) == 0.25);
  assert_int_equal(ex__value_list(&values, "thresholds")->n, 2);
  assert_ok(ex__values_status(&values, &err), &err);
}

static void what_is_not_there_is_told(void **state) {
  (void)state;
  struct ex_error err = {0};
  ex_policy policy = policy_of("margin", "thresholds", "0.5");
  struct ex_rule_values values = {.policy = &policy};
  assert_true(ex__value_number(&values, "thresholds") == 0); /* of another type */
  assert_refused(ex__values_status(&values, &err), EX_EBACKEND, &err,
                 "rule margin has no value thresholds");
  values.wrong = NULL;
  assert_true(ex__value_number(&values, "tresholds") == 0);
  assert_int_equal(ex__value_list(&values, "bands")->n, 0);
  assert_refused(ex__values_status(&values, &err), EX_EBACKEND, &err, "no value tresholds");
  values.wrong = NULL;
  assert_int_equal(ex__value_table(&values, "thresholds")->n_rows, 0);
  assert_refused(ex__values_status(&values, &err), EX_EBACKEND, &err, "no value thresholds");
  values.wrong = NULL;
  assert_false(ex__value_is(&values, "thresholds", "0.5"));
  assert_refused(ex__values_status(&values, &err), EX_EBACKEND, &err, "no value thresholds");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_are_read_by_name),
      cmocka_unit_test(a_list_has_a_number_per_exit_or_one),
      cmocka_unit_test(what_is_not_there_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
