/* SPDX-License-Identifier: Apache-2.0
 *
 * Exit transforms as ONNX, with exits that are looked at and exits that are skipped, and
 * outputs that are not finite: the file's answers are the engine's, wherever that has one.
 */
#include "tests/export_onnx_fixture.h"
#include "tests/export_rules.h"

enum { N_INPUTS = 300, N_POINTS = 5, N_CLASSES = 6 };

static struct onnx_answer answers[N_INPUTS];

/* Of every fifth input one exit, not the last, has an output that is no number. */
static struct inputs blemished(const ex_model *model) {
  struct inputs in = told_inputs(model, 3);
  in.n = N_INPUTS;
  for (int32_t i = 0; i < in.n; i += 5) {
    const float wrong[] = {NAN, INFINITY, -INFINITY};
    float *exit = in.values + i * in.features + (int64_t)(i / 5 % (N_POINTS - 1)) * N_CLASSES;
    exit[i / 25 % N_CLASSES] = wrong[i / 5 % 3];
  }
  return in;
}

/* Returns how many left early. */
static int32_t compare(const ex_model *model, const ex_policy *policy, const struct inputs *in,
                       const char *what) {
  ex_engine *engine = export_engine(model, policy);
  int32_t early = 0, near = 0, without = 0;
  for (int32_t i = 0; i < in->n; i++) {
    struct readings readings = {.nearest = INFINITY};
    float logits[64];
    struct ex_result expected = {.logits = logits};
    enum ex_status status =
        ex__engine_watch(engine, in->values + i * in->features, export_watch, &readings, &expected);
    without += status == EX_ENOTFINITE;
    if (status == EX_ENOTFINITE) continue; /* its last answer is none */
    assert_int_equal(status, EX_OK);
    early += expected.exit < N_POINTS - 1;
    if (answers[i].exit != expected.exit && readings.nearest < onnx_near) {
      near++;
      continue;
    }
    if (answers[i].exit != expected.exit)
      fail_msg("%s: input %d left at exit %d; the engine says %d", what, (int)i,
               (int)answers[i].exit, (int)expected.exit);
    onnx_assert_answer(&answers[i], &expected, N_CLASSES, what);
  }
  assert_true(near <= 1);
  assert_true(without <= in->n / 5);
  ex_engine_free(engine);
  return early;
}

static void check(const ex_model *model, const ex_policy *policy, const char *what) {
  struct inputs in = blemished(model);
  ex_onnx *onnx = onnx_exported(model, policy, EX_ONNX_FORM_BATCH);
  onnx_run(onnx, model->net, in.values, in.n, answers);
  int32_t early = compare(model, policy, &in, what);
  if (early < in.n / 5 || early > in.n * 49 / 50)
    fail_msg("%s: %d of %d leave early", what, (int)early, (int)in.n);
  ex__onnx_free(onnx);
  onnx = onnx_exported(model, policy, EX_ONNX_FORM_SINGLE);
  for (int32_t i = 0; i < in.n; i++)
    onnx_run(onnx, model->net, in.values + i * in.features, 1, &answers[i]);
  (void)compare(model, policy, &in, what);
  ex__onnx_free(onnx);
  export_inputs_free(&in);
}

/* Rules that look at each exit, that skip some, that remember, and that look back. */
static void with_rules(const ex_model *model, const char *thresholds, const char *what) {
  static const char *const skips[] = {"0.6", "0.6,2,2,0.5", "2,0.6,2,0.7"};
  struct ex_error err = {0};
  char name[96];
  for (int32_t fallback = 0; fallback <= 1; fallback++)
    for (size_t i = 0; i < sizeof skips / sizeof *skips; i++) {
      ex_policy policy = export_policy(model, "max-probability");
      assert_ok(ex__policy_set(&policy, "thresholds", i == 0 ? thresholds : skips[i], &err), &err);
      assert_ok(ex__policy_set(&policy, "fallback", fallback ? "true" : "false", &err), &err);
      snprintf(name, sizeof name, "%s, thresholds %zu, fallback %d", what, i, (int)fallback);
      check(model, &policy, name);
    }
  ex_policy policy = export_policy(model, "patience");
  assert_ok(ex__policy_set(&policy, "patience", "2", &err), &err);
  check(model, &policy, what);
}

static void heads_alone(void **state) {
  (void)state;
  ex_model *model = told_model(N_POINTS, N_CLASSES);
  with_rules(model, "0.6", "identity");
  const struct ex_list temperatures = {N_POINTS, {0.5, 2, 1.5, 1, 0.7}};
  ex__transform_set_temperatures(&model->net->transform, &temperatures);
  with_rules(model, "0.6", "temperature");
  ex_model_free(model);
}

static void sums_and_products(void **state) {
  (void)state;
  ex_model *model = told_model(N_POINTS, N_CLASSES);
  struct ex_transform *transform = &model->net->transform;
  *transform = (struct ex_transform){.kind = EX_TRANSFORM_ADDITIVE, .factor = 0.75};
  with_rules(model, "0.8", "additive");
  ex__transform_set_product(transform, N_POINTS);
  with_rules(model, "0.5", "product");
  const struct ex_list temperatures = {N_POINTS, {0.5, 0.6, 0.7, 0.8, 0.9}};
  ex__transform_set_temperatures(transform, &temperatures);
  with_rules(model, "0.5", "product with temperatures");
  ex_model_free(model);
}

/* The first exit answers by itself, the second leaves out the first, the fourth the second. */
static void ensembles(void **state) {
  (void)state;
  static const char *const names[] = {"geometric", "arithmetic"};
  for (int32_t mean = 0; mean < 2; mean++) {
    ex_model *model = told_model(N_POINTS, N_CLASSES);
    struct ex_transform *transform = &model->net->transform;
    transform->kind = EX_TRANSFORM_ENSEMBLE;
    transform->ensemble = ex__ensemble_new((enum ex_mean)mean, N_POINTS, N_CLASSES);
    assert_non_null(transform->ensemble);
    for (int32_t p = 1; p < N_POINTS; p++) {
      double *row = ex__ensemble_row(transform->ensemble, p);
      assert_non_null(row);
      for (int32_t i = 0; i < p + 1 + N_CLASSES; i++)
        row[i] = i < p && i == p / 2 && p % 2 == 1 ? 0 : i <= p ? 0.6 + 0.1 * i : 0.01 * (i - p);
    }
    with_rules(model, "0.6", names[mean]);
    ex_model_free(model);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(heads_alone),
      cmocka_unit_test(sums_and_products),
      cmocka_unit_test(ensembles),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
