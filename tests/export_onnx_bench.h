/* SPDX-License-Identifier: Apache-2.0
 *
 * An exit rule as ONNX in the importer's evaluator beside the engine: all inputs as one
 * batch, and some of them one by one.
 */
#ifndef EX_TESTS_EXPORT_ONNX_BENCH_H
#define EX_TESTS_EXPORT_ONNX_BENCH_H

#include "tests/export_bench.h"
#include "tests/export_onnx_fixture.h"

/* Returns how many left elsewhere. */
static inline int32_t bench_compare_onnx(const struct bench *bench, const ex_policy *policy,
                                         const struct onnx_answer *answers, int32_t n) {
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

static inline int32_t bench_run_onnx(const struct bench *bench, const ex_policy *policy) {
  enum { SINGLE = 40 };
  const struct inputs *in = &bench->in;
  struct onnx_answer *answers = ex__calloc((size_t)in->n, sizeof *answers);
  assert_non_null(answers);
  ex_onnx *onnx = onnx_exported(bench->model, policy, EX_ONNX_FORM_BATCH);
  onnx_run(onnx, bench->model->net, in->values, in->n, answers);
  int32_t near = bench_compare_onnx(bench, policy, answers, in->n);
  ex__onnx_free(onnx);
  onnx = onnx_exported(bench->model, policy, EX_ONNX_FORM_SINGLE);
  for (int32_t i = 0; i < SINGLE; i++)
    onnx_run(onnx, bench->model->net, in->values + i * in->features, 1, &answers[i]);
  near += bench_compare_onnx(bench, policy, answers, SINGLE);
  ex__onnx_free(onnx);
  ex__free(answers);
  return near;
}

#endif
