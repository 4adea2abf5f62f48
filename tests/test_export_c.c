/* SPDX-License-Identifier: Apache-2.0
 *
 * What `export --to c` writes, compiled without a warning and run beside the
 * engine: the same logits within 1e-4, and the same exit unless a score lies within
 * 1e-5 of its threshold.
 */
#include "tests/export_fixture.h"
#include "tests/odd_network.h"

#define LENET "{\"architecture\": \"branchynet_lenet\", \"ceil-mode\": true}"
#define RESIDUAL                                      \
  "{\"architecture\": \"resnet_exits\", \"stem\": 8," \
  " \"widths\": [8, 8, 12, 16]}"
#define MSDNET                                                             \
  "{\"architecture\": \"msdnet\", \"exits\": 3, \"base\": 2, \"step\": 1," \
  " \"channels\": 4, \"growth\": 2, \"head-channels\": 8}"
#define SDN                                           \
  "{\"architecture\": \"sdn_vgg\", \"hidden\": [16]," \
  " \"channels\": [6, 6, 6, 6, 8, 8, 8, 10, 10, 10]," \
  " \"pool-after\": [4, 7, 10], \"shares\": [0.3, 0.6]}"

#define ALEXNET                                                               \
  "{\"architecture\": \"branchynet_alexnet\", \"channels\": [8, 8, 8, 8, 8]," \
  " \"hidden\": [16, 16]}"

static const struct ex_shape gray = {3, {1, 28, 28}}, colour = {3, {3, 32, 32}};

static void assert_close(const float *got, const float *expected, int32_t n) {
  float most = 0;
  for (int32_t i = 0; i < n; i++) most = fmaxf(most, fabsf(expected[i]));
  for (int32_t i = 0; i < n; i++)
    if (!(fabsf(got[i] - expected[i]) <= 1e-4f * most))
      fail_msg("logit %d is %.9g; the engine says %.9g", (int)i, (double)got[i],
               (double)expected[i]);
}

/* Returns how many left before the last exit. */
static int32_t check_policy(const ex_model *model, const ex_policy *policy,
                            const struct exported *exported, const struct inputs *in) {
  static struct readings readings;
  int32_t n = model->net->n_outputs, early = 0, near = 0;
  float logits[64], *work = export_work(export_macro(exported, "NET_WORK"));
  ex_engine *engine = export_engine(model, policy);
  for (int32_t i = 0; i < in->n; i++) {
    struct ex_result expected = {.logits = logits};
    struct exported_result got = {0};
    readings.nearest = INFINITY;
    assert_int_equal(
        ex__engine_watch(engine, in->values + i * in->features, export_watch, &readings, &expected),
        EX_OK);
    assert_int_equal(exported->run(in->bytes + i * in->features, work, &got), 0);
    early += expected.exit < model->net->n_points - 1;
    if (got.exit != expected.exit) {
      if (!(readings.nearest < 1e-5))
        fail_msg("input %d left at exit %d; the engine says %d", (int)i, got.exit,
                 (int)expected.exit);
      near++;
      continue;
    }
    assert_close(got.logits, logits, n);
    assert_int_equal(got.label, expected.label);
    assert_true(fabs((double)got.confidence - expected.confidence) < 1e-4);
  }
  assert_true(near <= 2);
  ex_engine_free(engine);
  free(work);
  return early;
}

/* Every exit in turn, with no more memory than the header asks for it. */
static void check_anytime(const ex_model *model, const struct exported *exported,
                          const struct inputs *in, int32_t n_inputs) {
  int32_t last = model->net->n_points - 1;
  ex_engine *engine = export_engine(model, NULL);
  float logits[64];
  for (int32_t exit = 0; exit <= last; exit++) {
    char name[32];
    snprintf(name, sizeof name, "NET_WORK_EXIT_%d", (int)exit);
    float *work = export_work(export_macro(exported, name));
    for (int32_t i = 0; i < n_inputs; i++) {
      struct ex_result expected = {.logits = logits};
      struct exported_result got;
      struct exported_net net;
      ex_engine_begin(engine, in->values + i * in->features);
      exported->begin(&net, work, in->bytes + i * in->features);
      assert_int_equal(exported->advance(&net, last + 1, &got), 2);
      /* Straight there, or past every exit on the way. */
      for (int32_t e = i % 2 == 0 ? exit : 0; e <= exit; e++) {
        assert_int_equal(ex_engine_advance(engine, e, &expected), EX_OK);
        assert_int_equal(exported->advance(&net, e, &got), 0);
        assert_close(got.logits, logits, model->net->n_outputs);
        assert_int_equal(got.exit, e);
        assert_int_equal(got.label, expected.label);
      }
      if (exit > 0) assert_int_equal(exported->advance(&net, exit - 1, &got), 2);
    }
    free(work);
  }
  ex_engine_free(engine);
}

static void check_net(ex_model *model, const char *rule, int32_t n) {
  struct inputs in = export_inputs(model, n);
  ex_policy policy = export_fitted(model, rule, &in);
  const struct ex_export_c job = {.model = model, .policy = &policy, .name = "net"};
  struct exported exported = export_compile(&job);
  int32_t early = check_policy(model, &policy, &exported, &in);
  assert_true(model->net->n_points == 1 || (early > n / 4 && early < n));
  check_anytime(model, &exported, &in, n < 6 ? n : 6);
  export_close(&exported);
  export_inputs_free(&in);
  ex_model_free(model);
}

/* ---- the networks of the zoo -------------------------------------------------- */

static void lenet(void **state) {
  (void)state;
  check_net(export_model(LENET, &gray), "max-probability", 300);
}

static void residual(void **state) {
  (void)state;
  check_net(export_model(RESIDUAL, &gray), "entropy", 100);
}

static void msdnet(void **state) {
  (void)state;
  check_net(export_model(MSDNET, &colour), "margin", 100);
}

static void sdn(void **state) {
  (void)state;
  check_net(export_model(SDN, &gray), "max-probability", 100);
}

static void alexnet(void **state) {
  (void)state;
  check_net(export_model(ALEXNET, &colour), "entropy", 60);
}

/* ---- what the zoo lacks ------------------------------------------------------ */

static void odd_layers(void **state) {
  (void)state;
  check_net(odd_model(true, true), "max-probability", 200);
}

/* Every function that can be written, one after the other; each output is a head's. */
static ex_model *functions_model(void) {
  static const struct ex_function kinds[] = {
      {EX_FUNCTION_AFFINE, 1.5, -0.25},     {EX_FUNCTION_CLIP, -1, 3.4028234663852886e38},
      {EX_FUNCTION_LEAKY_RELU, 0.1, 0},     {EX_FUNCTION_ELU, 0.7, 0},
      {EX_FUNCTION_HARD_SWISH, 0, 0},       {EX_FUNCTION_TANH, 0, 0},
      {EX_FUNCTION_HARD_SIGMOID, 0.4, 0.3},
  };
  struct ex_error err = {0};
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&(struct ex_shape){3, {2, 9, 9}}, 10, &b, &err), &err);
  int32_t x = ex__builder_input(b);
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    ex__builder_stage(b);
    if (k % 2 == 0) x = ex__builder_conv(b, "c", x, 6, 3, 1, 1, true);
    x = op(b, "function", &kinds[k], x);
    ex__builder_head(b);
    ex__builder_point(b, ex__builder_linear(b, "fc", ex__builder_flatten(b, x), 10), -1, 0);
  }
  assert_ok(ex__builder_finish(b, 4, &net, &err), &err);
  return export_model_of(net);
}

static void functions(void **state) {
  (void)state;
  check_net(functions_model(), "max-probability", 100);
}

/* Additions that a convolution takes in and that it may not, over its input and not. */
static ex_model *sums_model(void) {
  struct ex_error err = {0};
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&(struct ex_shape){3, {3, 9, 9}}, 10, &b, &err), &err);
  ex__builder_stage(b);
  int32_t x = ex__builder_conv(b, "a", ex__builder_input(b), 3, 3, 1, 1, true);
  x = ex__builder_relu(b, ex__builder_add(b, ex__builder_conv(b, "b", x, 3, 3, 1, 1, true), x));
  int32_t kept = x; /* a residual that is read again later */
  x = ex__builder_add(b, ex__builder_conv(b, "c", x, 3, 1, 1, 0, true), kept);
  int32_t y = ex__builder_add(b, x, x);
  int32_t left = ex__builder_conv(b, "d", y, 4, 3, 2, 1, false);
  int32_t right = ex__builder_conv(b, "e", kept, 4, 3, 2, 1, false);
  x = ex__builder_batch_norm(b, "after", ex__builder_add(b, left, right));
  ex__builder_head(b);
  ex__builder_point(b, ex__builder_linear(b, "fc", ex__builder_flatten(b, x), 10), -1, 0);
  ex__builder_stage(b);
  x = ex__builder_add(b, ex__builder_conv(b, "f", x, 4, 3, 1, 1, true),
                      ex__builder_conv(b, "g", kept, 4, 3, 2, 1, true));
  ex__builder_head(b);
  ex__builder_point(b, ex__builder_linear(b, "fc", ex__builder_global_pool(b, x), 10), -1, 0);
  assert_ok(ex__builder_finish(b, 4, &net, &err), &err);
  return export_model_of(net);
}

static void sums(void **state) {
  (void)state;
  check_net(sums_model(), "margin", 100);
}

/* A residual block needs its input and one more map: the sum takes the input's place. */
static void memory_is_used_again(void **state) {
  (void)state;
  ex_model *model = export_model(RESIDUAL, &gray);
  ex_policy policy = export_policy(model, "fixed");
  const struct ex_export_c job = {.model = model, .policy = &policy, .name = "net"};
  struct exported exported = export_compile(&job);
  assert_int_equal(export_macro(&exported, "NET_WORK"), 2 * 8 * 28 * 28 * 4);
  export_close(&exported);
  ex_model_free(model);
}

/* ---- int8 -------------------------------------------------------------------- */

static void read_input(void *context, int32_t index, ex_real *x) {
  const struct inputs *in = context;
  for (int64_t f = 0; f < in->features; f++) x[f] = in->values[index * in->features + f];
}

/* Of all exits: the error of the logits over their spread, both as root mean squares. */
static double int8_error(const ex_model *model, const struct exported *exported,
                         const struct inputs *in) {
  int32_t n = model->net->n_outputs;
  double error = 0, spread = 0;
  float logits[64], *work = export_work(export_macro(exported, "NET_WORK"));
  ex_engine *engine = export_engine(model, NULL);
  for (int32_t i = 0; i < in->n; i++) {
    struct exported_net net;
    ex_engine_begin(engine, in->values + i * in->features);
    exported->begin(&net, work, in->bytes + i * in->features);
    for (int32_t exit = 0; exit < model->net->n_points; exit++) {
      struct ex_result expected = {.logits = logits};
      struct exported_result got;
      double mean = 0;
      assert_int_equal(ex_engine_advance(engine, exit, &expected), EX_OK);
      assert_int_equal(exported->advance(&net, exit, &got), 0);
      for (int32_t c = 0; c < n; c++) mean += (double)logits[c] / n;
      for (int32_t c = 0; c < n; c++) {
        error += pow((double)(got.logits[c] - logits[c]), 2);
        spread += pow((double)logits[c] - mean, 2);
      }
    }
  }
  ex_engine_free(engine);
  free(work);
  return sqrt(error / spread);
}

/* A quarter of the memory, up to the logits, and errors of a few percent, which is what
 * 8 bits give: steps of 1/255 of a range, a few layers deep. */
static void check_int8(ex_model *model, double most_error) {
  struct inputs in = export_inputs(model, 64);
  ex_policy policy = export_fitted(model, "max-probability", &in);
  struct ex_export_c job = {.model = model, .policy = &policy, .name = "net"};
  struct exported exported = export_compile(&job);
  int64_t float_work = export_macro(&exported, "NET_WORK");
  export_close(&exported);
  job.int8 = true;
  job.read = read_input;
  job.context = &in;
  job.samples = in.n;
  exported = export_compile(&job);
  assert_true(export_macro(&exported, "NET_WORK") < float_work / 4 + 256);
  double error = int8_error(model, &exported, &in);
  if (!(error < most_error)) fail_msg("error %g of the spread; at most %g", error, most_error);
  export_close(&exported);
  export_inputs_free(&in);
  ex_model_free(model);
}

static void int8_networks(void **state) {
  (void)state;
  check_int8(export_model(LENET, &gray), 0.05);
  check_int8(export_model(RESIDUAL, &gray), 0.05);
  check_int8(export_model(MSDNET, &colour), 0.05);
  check_int8(export_model(SDN, &gray), 0.05);
  check_int8(odd_model(false, false), 0.05);
  check_int8(odd_model(true, false), 0.05);
  check_int8(export_model(ALEXNET, &colour), 0.05);
  check_int8(functions_model(), 0.05);
  check_int8(sums_model(), 0.05);
}

static void int8_is_refused_where_it_cannot_be(void **state) {
  (void)state;
  struct ex_error err = {0};
  struct ex_text source = {0}, header = {0};
  ex_model *model = odd_model(true, true);
  struct inputs in = export_inputs(model, 1);
  ex_policy policy = export_policy(model, "fixed");
  struct ex_export_c job = {.model = model, .policy = &policy, .name = "net", .int8 = true};
  assert_refused(ex__export_c(&job, &source, &header, &err), EX_EUNSUPPORTED, &err,
                 "exit 0: its head ends otherwise than in a linear layer that nobody");
  ex_model_free(model);
  model = odd_model(false, false);
  job.model = model;
  assert_refused(ex__export_c(&job, &source, &header, &err), EX_EINVAL, &err, "int8: 0 samples");
  ex_model_free(model);
  export_inputs_free(&in);
}

/* ---- rules and transforms ---------------------------------------------------- */

/* policy NULL: max-probability with thresholds that half reach. */
static void with_policy(ex_model *model, const ex_policy *policy, int32_t early_least) {
  struct inputs in = export_inputs(model, 100);
  ex_policy fitted;
  if (policy == NULL) {
    fitted = export_fitted(model, "max-probability", &in);
    policy = &fitted;
  }
  const struct ex_export_c job = {.model = model, .policy = policy, .name = "net"};
  struct exported exported = export_compile(&job);
  assert_true(check_policy(model, policy, &exported, &in) >= early_least);
  check_anytime(model, &exported, &in, 4);
  export_close(&exported);
  export_inputs_free(&in);
}

/* Rule pcee, as if it had learned that half of the inputs are right at each exit; a
 * little aside from their median, which is the very score of one of them. */
static void with_bands(ex_model *model) {
  struct ex_error err = {0};
  struct inputs in = export_inputs(model, 100);
  ex_policy policy = export_fitted(model, "max-probability", &in);
  const struct ex_list *half = ex__policy_thresholds_of(&policy);
  json_t *learned =
      json_pack("{s:s, s:{s:f, s:i, s:[[f, f, f], [f, f, f]], s:[[f, f, f], [f, f, f]]}}", "name",
                "pcee", "values", "accuracy", 0.7, "bins", 3, "edge", 0.0, half->value[0] + 1e-3,
                1.0, 0.0, half->value[1] + 1e-3, 1.0, "right", 0.1, 0.9, 0.5, 0.1, 0.7, 0.2);
  assert_non_null(learned);
  assert_ok(ex__policy_from_json(learned, 3, 10, &policy, &err), &err);
  json_decref(learned);
  export_inputs_free(&in);
  with_policy(model, &policy, 40);
}

static void rules_without_thresholds(void **state) {
  (void)state;
  struct ex_error err = {0};
  ex_model *model = odd_model(true, true);
  ex_policy policy = export_policy(model, "patience");
  assert_ok(ex__policy_set(&policy, "patience", "1", &err), &err);
  with_policy(model, &policy, 10);
  policy = export_policy(model, "fixed");
  assert_ok(ex__policy_set(&policy, "exit", "1", &err), &err);
  with_policy(model, &policy, 100);
  policy = export_policy(model, "pcee");
  with_policy(model, &policy, 0); /* that learned nothing */
  with_bands(model);
  /* The first exit is switched off: only the second may leave early. */
  policy = export_policy(model, "max-probability");
  assert_ok(ex__policy_set(&policy, "thresholds", "2,0.1", &err), &err);
  with_policy(model, &policy, 100);
  ex_model_free(model);
}

static void transforms(void **state) {
  (void)state;
  ex_model *model = odd_model(true, true);
  struct ex_transform *transform = &model->net->transform;
  const struct ex_list temperatures = {3, {0.5, 2, 1.5}};
  ex__transform_set_temperatures(transform, &temperatures);
  with_policy(model, NULL, 50);
  *transform = (struct ex_transform){.kind = EX_TRANSFORM_ADDITIVE, .factor = 0.75};
  with_policy(model, NULL, 50);
  ex__transform_set_product(transform, 3);
  with_policy(model, NULL, 40);
  for (int mean = 0; mean < 2; mean++) {
    ex__transform_clear(transform);
    transform->kind = EX_TRANSFORM_ENSEMBLE;
    transform->ensemble = ex__ensemble_new((enum ex_mean)mean, 3, 10);
    assert_non_null(transform->ensemble);
    for (int32_t p = 1; p < 3; p++) { /* the first exit answers by itself */
      double *row = ex__ensemble_row(transform->ensemble, p);
      for (int32_t i = 0; i < p + 1 + 10; i++) row[i] = p == 2 && i == 1 ? 0 : 0.2 + 0.03 * i;
    }
    if (mean == 1) ex__transform_set_temperatures(transform, &temperatures);
    with_policy(model, NULL, 50);
  }
  ex_model_free(model);
}

/* ---- refusals ---------------------------------------------------------------- */

static void refuses(const ex_model *model, const ex_policy *policy, const char *name,
                    enum ex_status status, const char *part) {
  struct ex_error err = {0};
  struct ex_text source = {0}, header = {0};
  const struct ex_export_c job = {.model = model, .policy = policy, .name = name};
  assert_refused(ex__export_c(&job, &source, &header, &err), status, &err, part);
  ex__text_clear(&source);
  ex__text_clear(&header);
}

static void what_cannot_be_written_is_named(void **state) {
  (void)state;
  ex_model *model = odd_model(true, true);
  ex_policy policy = export_policy(model, "oracle");
  refuses(model, &policy, "net", EX_EUNSUPPORTED,
          "exit rule oracle cannot be written as C; must be one of max-probability, margin");
  policy = export_policy(model, "jei");
  refuses(model, &policy, "net", EX_EINVAL, "jei: exit 0 has no gate");
  policy = export_policy(model, "max-probability");
  refuses(model, &policy, "Net", EX_EINVAL, "name \"Net\"; must be [a-z]");
  refuses(model, &policy, "9net", EX_EINVAL, "name \"9net\"");
  ex_real *weight = ex__slabs_tensor(model->net->params, model->net->graph, 0);
  weight[1] = (ex_real)INFINITY;
  refuses(model, &policy, "net", EX_ENOTFINITE, "uneven.weight\" holds inf; must be finite");
  ex_model_free(model);

  struct ex_error err = {0};
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&(struct ex_shape){1, {12}}, 10, &b, &err), &err);
  ex__builder_stage(b);
  int32_t x = op(b, "gelu", NULL, ex__builder_input(b));
  ex__builder_head(b);
  ex__builder_point(b, ex__builder_linear(b, "fc", x, 10), -1, 0);
  assert_ok(ex__builder_finish(b, 4, &net, &err), &err);
  model = export_model_of(net);
  policy = export_policy(model, "fixed");
  refuses(model, &policy, "net", EX_EUNSUPPORTED, "node 1, operator gelu");
  ex_model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lenet),
      cmocka_unit_test(residual),
      cmocka_unit_test(msdnet),
      cmocka_unit_test(sdn),
      cmocka_unit_test(alexnet),
      cmocka_unit_test(odd_layers),
      cmocka_unit_test(transforms),
      cmocka_unit_test(rules_without_thresholds),
      cmocka_unit_test(functions),
      cmocka_unit_test(sums),
      cmocka_unit_test(memory_is_used_again),
      cmocka_unit_test(int8_networks),
      cmocka_unit_test(int8_is_refused_where_it_cannot_be),
      cmocka_unit_test(what_cannot_be_written_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
