/* SPDX-License-Identifier: Apache-2.0
 *
 * Every exit rule as ONNX in the importer's evaluator beside the engine.
 */
#include "export/export_onnx_walk.h"
#include "tests/export_onnx_bench.h"
#include "tests/export_rules.h"

static void told_exits(void **state) {
  (void)state;
  rules_on_told_exits(bench_run_onnx);
}

static void few_and_many(void **state) {
  (void)state;
  rules_on_few_and_many(bench_run_onnx);
}

static void exits_that_fail(void **state) {
  (void)state;
  rules_on_exits_that_fail(bench_run_onnx);
}

static void random_exits(void **state) {
  (void)state;
  rules_on_random_exits(bench_run_onnx);
}

/* Who adds a rule is told here that it cannot go out as yet. */
static void none_is_missing(void **state) {
  (void)state;
  const struct ex_policy_class *class;
  for (int32_t i = 0; (class = ex__policy_at(i)) != NULL; i++) {
    struct ex_error err = {0};
    ex_policy policy;
    struct ex_rule_values values = {.policy = &policy};
    const struct ex_onnx_rule *rule;
    assert_ok(ex__policy_init(&policy, class->name, 4, 10, &err), &err);
    enum ex_status status = ex__onnx_rule_find(&values, &rule, &err);
    if (strcmp(class->name, "oracle") != 0)
      assert_ok(status, &err);
    else
      assert_refused(status, EX_EUNSUPPORTED, &err, "must be one of max-probability, margin");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(none_is_missing), cmocka_unit_test(told_exits),
      cmocka_unit_test(few_and_many),    cmocka_unit_test(exits_that_fail),
      cmocka_unit_test(random_exits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
