/* SPDX-License-Identifier: Apache-2.0
 *
 * Every exit rule as ONNX in the importer's evaluator beside the engine: for a batch on
 * many samples, for single inputs on some of them.
 */
#include "tests/export_onnx_fixture.h"
#include "tests/export_rules.h"

enum { N_SINGLE = 40 };

static struct onnx_answer answers[N_SAMPLES];

/* Returns how many left elsewhere. */
static int32_t compare(const struct bench *bench, const ex_policy *policy, int32_t n) {
  ex_engine *engine = export_engine(bench->model, policy);
  int32_t near = 0;
  float logits[64];
  for (int32_t i = 0; i < n; i++) {
    struct ex_result expected = {.logits = logits};
    assert_int_equal(ex_engine_run(engine, bench->in.values + i * bench->in.features, &expected),
                     EX_OK);
    if (answers[i].exit == expected.exit) {
      onnx_assert_answer(&answers[i], &expected, bench->model->net->n_outputs, policy->class->name);
      continue;
    }
    near++;
    if (!bench_is_near(policy, bench->trace, i))
      fail_msg("%s: input %d left at exit %d; the engine says %d", policy->class->name, (int)i,
               (int)answers[i].exit, (int)expected.exit);
  }
  ex_engine_free(engine);
  return near;
}

static int32_t run_onnx(const struct bench *bench, const ex_policy *policy) {
  const struct inputs *in = &bench->in;
  ex_onnx *onnx = onnx_exported(bench->model, policy, EX_ONNX_FORM_BATCH);
  onnx_run(onnx, bench->model->net, in->values, in->n, answers);
  int32_t near = compare(bench, policy, in->n);
  ex__onnx_free(onnx);
  onnx = onnx_exported(bench->model, policy, EX_ONNX_FORM_SINGLE);
  for (int32_t i = 0; i < N_SINGLE; i++)
    onnx_run(onnx, bench->model->net, in->values + i * in->features, 1, &answers[i]);
  near += compare(bench, policy, N_SINGLE);
  ex__onnx_free(onnx);
  return near;
}

static void told_exits(void **state) {
  (void)state;
  rules_on_told_exits(run_onnx);
}

static void few_and_many(void **state) {
  (void)state;
  rules_on_few_and_many(run_onnx);
}

static void exits_that_fail(void **state) {
  (void)state;
  rules_on_exits_that_fail(run_onnx);
}

static void random_exits(void **state) {
  (void)state;
  rules_on_random_exits(run_onnx);
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
