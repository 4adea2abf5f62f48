/* SPDX-License-Identifier: Apache-2.0
 *
 * Every operator that goes out as ONNX, alone in a small network, in both forms.
 */
#include "export/export_onnx_walk.h"
#include "net/builder.h"
#include "tests/export_onnx_fixture.h"

enum { INPUTS = 12 };

static const struct ex_shape gray = {3, {1, 28, 28}}, odd = {3, {2, 9, 7}};

static ex_builder *begin(const struct ex_shape *shape) {
  struct ex_error err = {0};
  ex_builder *b;
  assert_ok(ex__builder_new(shape, 10, &b, &err), &err);
  ex__builder_stage(b);
  return b;
}

static void exit_here(ex_builder *b, int32_t x) {
  ex__builder_head(b);
  ex__builder_point(b, ex__builder_linear(b, "fc", ex__builder_flatten(b, x), 10), -1, 0);
}

/* The row of operators under test lies in the body of the first of two stages. */
static void check_row(ex_builder *b, int32_t x, const char *what) {
  struct ex_error err = {0};
  ex_net *net;
  exit_here(b, x);
  ex__builder_stage(b);
  exit_here(b, ex__builder_relu(b, ex__builder_linear(b, "next", ex__builder_flatten(b, x), 16)));
  assert_ok(ex__builder_finish(b, 4, &net, &err), &err);
  /* Softer answers, so that no two of the scores are 1 but for rounding. */
  const struct ex_list temperatures = {2, {8, 9}};
  ex__transform_set_temperatures(&net->transform, &temperatures);
  ex_model *model = export_model_of(net);
  struct inputs in = export_inputs(model, INPUTS);
  ex_policy policy = export_fitted(model, "max-probability", &in);
  int32_t early = onnx_check(model, &policy, &in, what);
  assert_true(early > 0 && early < INPUTS);
  export_inputs_free(&in);
  ex_model_free(model);
}

static int32_t map_of(ex_builder *b, const char *name, int32_t x, int32_t channels) {
  return ex__builder_conv(b, name, x, channels, 3, 1, 1, true);
}

/* ---- operators of one input --------------------------------------------------- */

struct single {
  const char *op;
  const void *attr;
};

static void check_single(const char *op, const void *attr, bool positive, const char *what) {
  ex_builder *b = begin(&odd);
  int32_t x = map_of(b, "conv", ex__builder_input(b), 4); /* [4][9][7] */
  if (positive) x = ex__builder_op(b, "sigmoid", NULL, NULL, &x, 1);
  check_row(b, ex__builder_op(b, op, "tested", attr, &x, 1), what);
}

static void operators(void **state) {
  (void)state;
  const struct single singles[] = {
      {"conv2d", &(struct ex_conv2d){8, 3, 2, 2, 2, 1, 1, 1, 1}},
      {"conv2d", &(struct ex_conv2d){6, 3, 3, 1, 2, 2, 2, 2, 0}},
      {"batch_norm", &(struct ex_batch_norm){1e-3, 0.1}},
      {"max_pool", &(struct ex_pool){3, 2, 1, 1, 0}},
      {"avg_pool", &(struct ex_pool){3, 2, 1, 1, 0}},
      {"avg_pool", &(struct ex_pool){3, 2, 1, 0, 1}},
      {"global_avg_pool", NULL},
      {"adaptive_pool", &(struct ex_adaptive_pool){3, 7, 0}}, /* windows of equal size */
      {"adaptive_pool", &(struct ex_adaptive_pool){9, 1, 1}},
      {"adaptive_pool", &(struct ex_adaptive_pool){4, 3, 0}}, /* that overlap */
      {"adaptive_pool", &(struct ex_adaptive_pool){4, 3, 1}},
      {"adaptive_pool", &(struct ex_adaptive_pool){3, 11, 1}}, /* more than there are columns */
      {"relu", NULL},
      {"gelu", NULL},
      {"sigmoid", NULL},
      {"softmax", NULL},
      {"log_softmax", NULL},
      {"slice", &(struct ex_slice){1, 3}},
      {"reshape", &(struct ex_reshape){{3, {2, 18, 7}}}},
      {"dropout", &(struct ex_dropout){0.5}},
      {"lrn", &(struct ex_lrn){3, 1e-2, 0.75, 2}},
  };
  for (size_t i = 0; i < sizeof singles / sizeof *singles; i++) {
    char what[64];
    snprintf(what, sizeof what, "%s, number %zu", singles[i].op, i);
    check_single(singles[i].op, singles[i].attr, false, what);
  }
}

static void operators_of_features(void **state) {
  (void)state;
  static const char *const ops[] = {"softmax", "log_softmax", "gelu", "confidence"};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
    ex_builder *b = begin(&odd);
    int32_t x = ex__builder_flatten(b, ex__builder_input(b));
    x = ex__builder_op(b, "linear", "free", &(struct ex_linear){9, 0}, &x, 1);
    check_row(b, ex__builder_op(b, ops[i], NULL, NULL, &x, 1), ops[i]);
  }
}

static void operators_of_several(void **state) {
  (void)state;
  static const char *const ops[] = {"add", "mul", "blend", "concat"};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
    ex_builder *b = begin(&odd);
    int32_t x = ex__builder_input(b);
    int32_t in[] = {map_of(b, "first", x, 3), map_of(b, "second", x, 3), map_of(b, "third", x, 3)};
    int32_t n = strcmp(ops[i], "blend") == 0 ? 2 : 3;
    check_row(b, ex__builder_op(b, ops[i], NULL, NULL, in, n), ops[i]);
  }
}

static void inputs_are_normalised_inside(void **state) {
  (void)state;
  for (int32_t channels = 1; channels <= 2; channels++) {
    const struct ex_normalise attr = {1, {channels, {0.4, 0.5}}, {channels, {0.3, 0.2}}};
    ex_builder *b = begin(&odd);
    int32_t x = ex__builder_input(b);
    x = ex__builder_op(b, "normalise", NULL, &attr, &x, 1);
    check_row(b, ex__builder_conv(b, "conv", x, 4, 3, 1, 1, true), "normalise");
  }
}

/* ---- what imported networks are made of ------------------------------------------ */

static void functions(void **state) {
  (void)state;
  for (int32_t kind = 0; kind <= EX_FUNCTION_THRESHOLDED_RELU; kind++) {
    struct ex_function attr = {kind, 0.7, 0.4};
    char what[32];
    bool positive = kind == EX_FUNCTION_LOG || kind == EX_FUNCTION_SQRT ||
                    kind == EX_FUNCTION_POWER || kind == EX_FUNCTION_RECIPROCAL;
    if (kind == EX_FUNCTION_CLIP) attr.a = -0.3;
    if (kind == EX_FUNCTION_THRESHOLDED_RELU) attr.a = 0.1;
    snprintf(what, sizeof what, "function %d", (int)kind);
    check_single("function", &attr, positive, what);
  }
}

static void views(void **state) {
  (void)state;
  static const struct ex_view views[] = {
      {{3, {7, 9, 4}}, {3, {7, 9, 4}}, {3, {1, 7, 63}}, 0},       /* turned */
      {{1, {252}}, {4, {2, 9, 2, 7}}, {4, {126, 7, 63, 1}}, 0},   /* shuffled */
      {{3, {4, 9, 7}}, {3, {4, 9, 7}}, {3, {63, 7, 1}}, 0},       /* as it lies */
      {{3, {8, 9, 7}}, {4, {4, 2, 9, 7}}, {4, {63, 0, 7, 1}}, 0}, /* repeated */
      {{1, {504}}, {4, {7, 2, 9, 4}}, {4, {1, 0, 7, 63}}, 0},     /* turned and repeated */
      {{3, {2, 4, 3}}, {3, {2, 4, 3}}, {3, {63, 14, 2}}, 71},     /* cut out */
      {{3, {4, 9, 7}}, {3, {4, 9, 7}}, {3, {63, 7, -1}}, 6},      /* mirrored */
      {{3, {4, 1, 7}}, {4, {4, 1, 7, 1}}, {4, {63, 5, 1, 9}}, 7}, /* a row, steps of nothing */
  };
  for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
    char what[32];
    snprintf(what, sizeof what, "view %zu", i);
    check_single("view", &views[i], false, what);
  }
}

static void arithmetic_with_parameters(void **state) {
  (void)state;
  static const struct ex_list dims = {3, {4, 9, 7}}, steps = {3, {63, 7, 1}};
  static const struct {
    int32_t parameters;
    struct ex_list steps;
  } operands[] = {{1, {3, {0, 0, 0}}},
                  {4, {3, {1, 0, 0}}},
                  {63, {3, {0, 7, 1}}},
                  {28, {3, {7, 0, 1}}},
                  {28, {3, {1, 0, 4}}} /* lying the other way round */};
  for (int32_t kind = 0; kind <= EX_ARITHMETIC_PRELU; kind++)
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++) {
      char what[48];
      const struct ex_arithmetic attr = {kind,
                                         operands[i].parameters,
                                         kind == EX_ARITHMETIC_SUB || kind == EX_ARITHMETIC_DIV,
                                         dims,
                                         dims,
                                         steps,
                                         operands[i].steps};
      snprintf(what, sizeof what, "arithmetic %d, operand %zu", (int)kind, i);
      check_single("arithmetic", &attr, attr.swap != 0, what);
    }
}

/* A number per channel, made by the network itself, and the whole map: squeeze and excite. */
static void arithmetic_of_two(void **state) {
  (void)state;
  const struct ex_arithmetic attr = {
      EX_ARITHMETIC_MUL, 1, 0, {3, {4, 9, 7}}, {3, {4, 9, 7}}, {3, {63, 7, 1}}, {3, {1, 0, 0}}};
  ex_builder *b = begin(&odd);
  int32_t in[] = {map_of(b, "conv", ex__builder_input(b), 4), 0};
  in[1] = ex__builder_linear(b, "squeezed", ex__builder_global_pool(b, in[0]), 4);
  check_row(b, ex__builder_op(b, "arithmetic", NULL, &attr, in, 2), "arithmetic of two");
}

static void groups(void **state) {
  (void)state;
  static const struct ex_pad pad = {
      {3, {5, 12, 7}}, {3, {4, 9, 7}}, {3, {0, 1, 0}}, {3, {1, 2, 0}}, -0.5};
  check_single("pad", &pad, false, "pad");
  for (int32_t kind = EX_REDUCE_SUM; kind <= EX_REDUCE_MIN; kind++)
    check_single("reduce", &(struct ex_reduce){kind, 7, {3, {4, 9, 1}}}, false, "reduce");
  check_single("standardise", &(struct ex_standardise){63, 1e-5}, false, "standardise");
  check_single("row_softmax", &(struct ex_row_softmax){7}, false, "row_softmax");
  for (int32_t max = 0; max <= 1; max++) {
    struct ex_window_pool pool = {3, 2, 2, 1, 1, 1, 1, 2, 0, 1, max, 0};
    check_single("window_pool", &pool, false, "window_pool");
    if (max)
      pool.dilation_h = 2;
    else
      pool.count_include_pad = 1;
    check_single("window_pool", &pool, false, "window_pool, otherwise");
  }
}

static void products(void **state) {
  (void)state;
  check_single("matmul", &(struct ex_matmul){4, 9, 7, 5, 0, {3, {4, 9, 5}}}, false, "matmul");
  check_single("matmul", &(struct ex_matmul){4, 9, 7, 5, 1, {1, {180}}}, false, "matmul, shared");
  for (int32_t shared = 0; shared <= 1; shared++) {
    const struct ex_matmul attr = {4, 9, 7, 9, shared, {3, {4, 9, 9}}};
    ex_builder *b = begin(&odd);
    int32_t x = ex__builder_input(b);
    int32_t in[] = {map_of(b, "first", x, 4), map_of(b, "second", x, shared ? 1 : 4)};
    check_row(b, ex__builder_op(b, "matmul", NULL, &attr, in, 2), "matmul of two");
  }
}

/* Who adds an operator is told here that it cannot go out as yet. */
static void none_is_missing(void **state) {
  (void)state;
  const struct ex_op *op;
  for (int32_t i = 0; (op = ex__op_at(i)) != NULL; i++)
    if (strcmp(op->name, "input") != 0 && strcmp(op->name, "normalise") != 0 &&
        ex__onnx_lowering_of(op->name) == NULL)
      fail_msg("operator %s cannot be written as ONNX", op->name);
}

static void what_cannot_be_written_is_refused(void **state) {
  (void)state;
  struct ex_error err = {0};
  const struct single singles[] = {
      {"window_pool", &(struct ex_window_pool){2, 2, 1, 1, 2, 1, 0, 0, 0, 0, 0, 0}},
      {"avg_pool", &(struct ex_pool){3, 2, 1, 1, 1}}};
  static const char *const reasons[] = {"a mean over dilated windows cannot be written as ONNX",
                                        "ceil-mode together with count-include-pad"};
  for (size_t i = 0; i < sizeof singles / sizeof *singles; i++) {
    void *data;
    size_t size;
    ex_net *net;
    ex_builder *b = begin(&odd);
    int32_t x = map_of(b, "conv", ex__builder_input(b), 4);
    exit_here(b, ex__builder_op(b, singles[i].op, NULL, singles[i].attr, &x, 1));
    assert_ok(ex__builder_finish(b, 4, &net, &err), &err);
    ex_model *model = export_model_of(net);
    ex_policy policy = export_policy(model, "fixed");
    const struct ex_export_onnx job = {model, &policy, EX_ONNX_FORM_SINGLE};
    assert_refused(ex__export_onnx(&job, &data, &size, &err), EX_EUNSUPPORTED, &err, reasons[i]);
    ex_model_free(model);
  }
}

/* ---- many exits ------------------------------------------------------------------- */

/* Each exit nests three messages, and readers of protobuf stop at 100: so many just fit. */
static void as_many_exits_as_there_can_be(void **state) {
  (void)state;
  struct ex_error err = {0};
  ex_net *net;
  ex_builder *b = begin(&odd);
  int32_t x = map_of(b, "conv", ex__builder_input(b), 2);
  for (int32_t p = 0; p < EX_MAX_POINTS; p++) {
    if (p > 0) {
      ex__builder_stage(b);
      x = ex__builder_conv(b, "conv", x, 2, 3, 1, 1, true);
    }
    exit_here(b, x);
  }
  assert_ok(ex__builder_finish(b, 4, &net, &err), &err);
  ex_model *model = export_model_of(net);
  struct inputs in = export_inputs(model, INPUTS);
  ex_policy policy = export_policy(model, "max-probability");
  assert_ok(ex__policy_set(&policy, "thresholds", "0.999", &err), &err);
  (void)onnx_check(model, &policy, &in, "32 exits");
  export_inputs_free(&in);
  ex_model_free(model);
}

/* ---- networks of the zoo ------------------------------------------------------------ */

static void rules_with_a_threshold(void **state) {
  (void)state;
  static const char *const rules[] = {"max-probability", "margin", "entropy"};
  ex_model *model = export_model("{\"architecture\": \"branchynet_lenet\"}", &gray);
  struct inputs in = export_inputs(model, 40);
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    ex_policy policy = export_fitted(model, rules[i], &in);
    int32_t early = onnx_check(model, &policy, &in, rules[i]);
    assert_true(early > 10 && early < 40);
  }
  export_inputs_free(&in);
  ex_model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(operators),
      cmocka_unit_test(operators_of_features),
      cmocka_unit_test(operators_of_several),
      cmocka_unit_test(inputs_are_normalised_inside),
      cmocka_unit_test(functions),
      cmocka_unit_test(views),
      cmocka_unit_test(arithmetic_with_parameters),
      cmocka_unit_test(arithmetic_of_two),
      cmocka_unit_test(groups),
      cmocka_unit_test(products),
      cmocka_unit_test(none_is_missing),
      cmocka_unit_test(what_cannot_be_written_is_refused),
      cmocka_unit_test(as_many_exits_as_there_can_be),
      cmocka_unit_test(rules_with_a_threshold),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
