/* SPDX-License-Identifier: Apache-2.0
 *
 * Every exit rule as C beside the engine.
 */
#include "tests/export_rules.h"

static void told_exits(void **state) {
  (void)state;
  rules_on_told_exits(bench_run_c);
}

static void few_and_many(void **state) {
  (void)state;
  rules_on_few_and_many(bench_run_c);
}

static void exits_that_fail(void **state) {
  (void)state;
  rules_on_exits_that_fail(bench_run_c);
}

static void random_exits(void **state) {
  (void)state;
  rules_on_random_exits(bench_run_c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(told_exits),
      cmocka_unit_test(few_and_many),
      cmocka_unit_test(exits_that_fail),
      cmocka_unit_test(random_exits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
