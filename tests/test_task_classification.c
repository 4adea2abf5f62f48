/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "task/task.h"
#include "tests/testing.h"

static struct ex_answer answer(const ex_real *output, int32_t n) {
  ex_real probability[16];
  struct ex_answer out;
  ex__task_find("classification")->answer(output, n, probability, &out);
  double sum = 0;
  for (int32_t i = 0; i < n; i++) sum += probability[i];
  if (out.label >= 0) {
    assert_true(fabs(sum - 1) < 1e-6);
    assert_true(fabs(probability[out.label] - out.max_probability) < 1e-7);
  }
  return out;
}

static void registered_by_name(void **state) {
  (void)state;
  assert_string_equal(ex__task_find("classification")->name, "classification");
  assert_null(ex__task_find("regression"));
}

static void golden_features(void **state) {
  (void)state;
  struct ex_answer out = answer((ex_real[]){2, 0, 0}, 3);
  assert_int_equal(out.label, 0);
  assert_true(fabs(out.entropy - 0.6655726819) < 1e-10);
  double e = exp(2.0);
  assert_true(fabs(out.max_probability - e / (e + 2)) < 1e-12);
  assert_true(fabs(out.margin - (e - 1) / (e + 2)) < 1e-12);
}

static void uniform_is_ln_n_and_a_tie_takes_the_lowest(void **state) {
  (void)state;
  struct ex_answer out = answer((ex_real[]){7, 7, 7, 7, 7}, 5);
  assert_int_equal(out.label, 0);
  assert_true(fabs(out.entropy - log(5)) < 1e-12);
  assert_true(out.entropy <= log(5));
  assert_true(out.margin == 0);
  out = answer((ex_real[]){-1, 3, 3, 0}, 4);
  assert_int_equal(out.label, 1);
  assert_true(out.margin == 0);
}

static void saturated_outputs_have_no_entropy(void **state) {
  (void)state;
  struct ex_answer out = answer((ex_real[]){-1e30f, 1e30f, 0}, 3);
  assert_int_equal(out.label, 1);
  assert_true(out.entropy == 0 && out.max_probability == 1 && out.margin == 1);
  assert_true(ex__task_find("classification")->loss((ex_real[]){1000, -1000}, 2, 1) == 2000);
  assert_int_equal(answer((ex_real[]){-5}, 1).label, 0);
}

static void not_finite_has_no_answer(void **state) {
  (void)state;
  const ex_real bad[] = {(ex_real)NAN, (ex_real)INFINITY, (ex_real)-INFINITY};
  for (size_t i = 0; i < 3; i++) {
    const ex_real output[] = {1, bad[i], 0};
    ex_real probability[3] = {0};
    struct ex_answer out;
    const struct ex_task *task = ex__task_find("classification");
    task->answer(output, 3, probability, &out);
    assert_int_equal(out.label, -1);
    assert_true(isnan(out.entropy) && isnan(out.max_probability) && isnan(out.margin));
    assert_true(isnan(probability[0]));
    assert_true(isnan(task->loss(output, 3, 0)));
    assert_true(task->quality(&out, 0) == 0);
  }
}

static void quality_and_loss(void **state) {
  (void)state;
  const struct ex_task *task = ex__task_find("classification");
  const ex_real output[] = {0, 1, 0};
  struct ex_answer out = answer(output, 3);
  assert_true(task->quality(&out, 1) == 1 && task->quality(&out, 2) == 0);
  assert_true(isnan(task->quality(&out, -1)));
  assert_true(fabs(task->loss(output, 3, 1) + log(out.max_probability)) < 1e-12);
  assert_true(isnan(task->loss(output, 3, -1)) && isnan(task->loss(output, 3, 3)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(registered_by_name),
      cmocka_unit_test(golden_features),
      cmocka_unit_test(uniform_is_ln_n_and_a_tie_takes_the_lowest),
      cmocka_unit_test(saturated_outputs_have_no_entropy),
      cmocka_unit_test(not_finite_has_no_answer),
      cmocka_unit_test(quality_and_loss),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
