/* SPDX-License-Identifier: Apache-2.0
 *
 * A model under a simulated governor: what it runs is what evaluate says that it runs,
 * and deadlines mean what they say.
 */
#include "report/governing.h"

#include "tests/evaluation_fixture.h"

static struct fixture f;

static int set_up(void **state) {
  struct ex_error err;
  (void)state;
  fixture_open(&f, 3, "[\"a\", \"b\", \"c\"]");
  fixture_thresholds(&f);
  assert_ok(fixture_evaluate(&f, 0, &err), &err);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  fixture_close(&f);
  return 0;
}

static json_t *govern(double deadline) {
  const struct ex_governing_job job = {.model = f.model,
                                       .policy = &f.policy,
                                       .data = f.data,
                                       .split = EX_SPLIT_TEST,
                                       .samples = 1000, /* more than there are */
                                       .deadline = deadline};
  struct ex_error err;
  json_t *json;
  assert_ok(ex__govern(&job, &json, &err), &err);
  assert_true(json_is_true(json_object_get(json, "simulated")));
  return json;
}

static double of_way(const json_t *json, size_t way, const char *key) {
  const json_t *at = json_array_get(json_object_get(json, "ways"), way);
  assert_true(json_is_number(json_object_get(at, key)));
  return json_number_value(json_object_get(at, key));
}

static void the_race_spends_what_evaluate_says(void **state) {
  (void)state;
  json_t *json = govern(1);
  double mean = json_number_value(json_object_get(f.evaluation->json, "mean_macs"));
  const json_t *full = json_object_get(f.evaluation->json, "full");
  double full_macs = json_number_value(json_object_get(full, "macs"));
  assert_int_equal(json_integer_value(json_object_get(json, "n")), f.evaluation->trace->n);
  assert_true(fabs(of_way(json, 1, "energy") - mean / full_macs) < 1e-9);
  assert_true(fabs(of_way(json, 1, "mean_ns") / of_way(json, 0, "mean_ns") - mean / full_macs) <
              1e-9);
  assert_true(of_way(json, 0, "energy") == 1 && of_way(json, 0, "late") == 0);
  assert_true(of_way(json, 1, "changes") == 0);
  json_decref(json);
}

static void deadlines_decide(void **state) {
  (void)state;
  static const double deadlines[] = {0.3, 1, 1.5, 3, 1e9};
  for (size_t d = 0; d < sizeof deadlines / sizeof *deadlines; d++) {
    json_t *json = govern(deadlines[d]);
    assert_true(of_way(json, 3, "late") <= of_way(json, 1, "late"));
    for (size_t way = 0; way < 4; way++)
      if (deadlines[d] == 1e9) assert_true(of_way(json, way, "late") == 0);
    if (deadlines[d] < 1) assert_true(of_way(json, 0, "late") == 1);
    json_decref(json);
  }
}

static void what_cannot_run_is_refused(void **state) {
  (void)state;
  struct ex_error err;
  json_t *json;
  ex_policy oracle;
  assert_ok(ex__policy_init(&oracle, "oracle", N_POINTS, N_CLASSES, &err), &err);
  const struct ex_governing_job job = {.model = f.model,
                                       .policy = &oracle,
                                       .data = f.data,
                                       .split = EX_SPLIT_TEST,
                                       .samples = 1,
                                       .deadline = 1};
  assert_int_not_equal(ex__govern(&job, &json, &err), EX_OK);
  assert_null(json);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_race_spends_what_evaluate_says),
      cmocka_unit_test(deadlines_decide),
      cmocka_unit_test(what_cannot_run_is_refused),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
