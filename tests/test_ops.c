/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators one by one: values against PyTorch 1.13 (the numbers are its
 * output on the same patterned inputs), shapes, multiply-adds, refusals, and
 * what must hold of every operator in the registry.
 */
#include <math.h>

#include "graph/loss.h"
#include "tests/op_goldens.h"

enum { N_GOLDENS = sizeof goldens / sizeof *goldens };

static void fill_by_pattern(struct op_case *c) {
  for (int32_t k = 0; k < c->node.n_in; k++)
    for (int64_t i = 0; i < op_in_count(c, k); i++)
      c->in[k][i] = (ex_real)((7 * i + 3 * k) % 11 - 5) / 4;
  for (int32_t t = 0; t < c->node.n_tensors; t++)
    for (int64_t i = 0; i < ex__shape_count(&c->decl[t].shape); i++) {
      ex_real value = (ex_real)((5 * i + t) % 7 - 3) / 8;
      bool variance = strcmp(c->decl[t].suffix, "running_var") == 0;
      c->call.tensor[t][i] = variance ? (ex_real)fabs(value) + (ex_real)0.5 : value;
    }
}

static void values_are_pytorch_s(void **state) {
  (void)state;
  for (int g = 0; g < N_GOLDENS; g++) {
    const struct golden *golden = &goldens[g];
    struct op_case c;
    op_open(&c, &golden->spec);
    fill_by_pattern(&c);
    if (!ex__shape_equal(&c.node.shape, &golden->shape))
      fail_msg("%s(%s): shape", golden->spec.op, golden->spec.attrs);
    c.node.op->forward(&c.call);
    for (int64_t i = 0; i < op_out_count(&c); i++)
      if (!(fabs((double)c.call.out[i] - golden->value[i]) <= 1e-6))
        fail_msg("%s(%s): out[%lld] = %.9g; must be %.9g", golden->spec.op, golden->spec.attrs,
                 (long long)i, (double)c.call.out[i], golden->value[i]);
    op_close(&c);
  }
}

static bool has_golden(const char *name) {
  for (int g = 0; g < N_GOLDENS; g++)
    if (strcmp(goldens[g].spec.op, name) == 0) return true;
  return strcmp(name, "input") == 0;
}

static void registry_keeps_its_rules(void **state) {
  (void)state;
  struct ex_error err;
  const struct ex_op *op;
  int32_t n = 0;
  for (; (op = ex__op_at(n)) != NULL; n++) {
    assert_ptr_equal(ex__op_find(op->name), op);
    assert_ok(ex__param_check_table(op->name, op->attrs, &err), &err);
    assert_true(op->version >= 1);
    assert_true(op->min_in <= op->max_in && op->min_in >= 0 && op->max_in <= EX_MAX_INPUTS);
    assert_true((op->attrs != NULL) == (op->attr_size > 0));
    assert_non_null(op->shape);
    assert_non_null(op->forward);
    /* Backward could not read an input that forward has written over. */
    assert_false((op->flags & EX_OP_IN_PLACE) && (op->flags & EX_OP_NEEDS_INPUT));
    if (!has_golden(op->name)) fail_msg("%s has no golden value", op->name);
  }
  assert_true(n >= 21);
  assert_null(ex__op_at(-1));
  assert_null(ex__op_find("conv3d"));
}

static void a_batch_has_the_bits_of_its_samples(void **state) {
  (void)state;
  for (int g = 0; g < N_GOLDENS; g++) {
    if (goldens[g].spec.training) continue;
    struct op_spec spec = goldens[g].spec;
    struct op_case one, many;
    spec.batch = 1;
    op_open(&one, &spec);
    spec.batch = 5;
    op_open(&many, &spec);
    many.node.op->forward(&many.call);
    int64_t n_out = op_out_count(&one);
    for (int64_t b = 0; b < spec.batch; b++) {
      for (int32_t k = 0; k < spec.n_in; k++)
        memcpy(one.in[k], many.in[k] + b * op_in_count(&one, k),
               (size_t)op_in_count(&one, k) * sizeof(ex_real));
      one.node.op->forward(&one.call);
      assert_memory_equal(one.call.out, many.call.out + b * n_out, (size_t)n_out * sizeof(ex_real));
    }
    op_close(&one);
    op_close(&many);
  }
}

static void in_place_gives_the_same(void **state) {
  (void)state;
  for (int g = 0; g < N_GOLDENS; g++) {
    struct op_case c;
    op_open(&c, &goldens[g].spec);
    if (c.node.op->flags & EX_OP_IN_PLACE) {
      c.node.op->forward(&c.call);
      ex_real *out = c.call.out;
      c.call.out = c.in[0];
      c.node.op->forward(&c.call);
      assert_memory_equal(c.call.out, out, (size_t)op_out_count(&c) * sizeof(ex_real));
      c.call.out = out;
    }
    op_close(&c);
  }
}

static void running_statistics_move_in_training_only(void **state) {
  (void)state;
  struct op_spec spec = {"batch_norm", "", 2, 1, {{3, {2, 1, 3}}}, true};
  static const double mean[] = {-0.13333333, -0.3375}, var[] = {0.52604167, 0.7625};
  struct op_case c;
  op_open(&c, &spec);
  fill_by_pattern(&c);
  c.node.op->forward(&c.call);
  for (int i = 0; i < 2; i++) {
    assert_true(fabs(c.call.tensor[2][i] - mean[i]) < 1e-6);
    assert_true(fabs(c.call.tensor[3][i] - var[i]) < 1e-6);
  }
  ex_real before[2] = {c.call.tensor[2][0], c.call.tensor[3][0]};
  c.call.training = false;
  c.node.op->forward(&c.call);
  assert_true(before[0] == c.call.tensor[2][0] && before[1] == c.call.tensor[3][0]);
  /* Statistics that may not move are passed as NULL. */
  c.call.training = true;
  ex_real *held[2] = {c.call.tensor[2], c.call.tensor[3]};
  c.call.tensor[2] = c.call.tensor[3] = NULL;
  c.node.op->forward(&c.call);
  c.call.tensor[2] = held[0];
  c.call.tensor[3] = held[1];
  assert_true(before[0] == held[0][0] && before[1] == held[1][0]);
  op_close(&c);
}

static void dropout_draws_by_seed(void **state) {
  (void)state;
  struct op_spec spec = {"dropout", "rate=0.25", 4, 1, {{3, {10, 10, 10}}}, true};
  struct op_case c;
  op_open(&c, &spec);
  int64_t n = op_out_count(&c), n_dropped = 0, n_other = 0;
  ex_real *first = op_array(n);
  for (int64_t i = 0; i < n; i++) c.in[0][i] = 3;
  c.node.op->forward(&c.call);
  memcpy(first, c.call.out, (size_t)n * sizeof *first);
  for (int64_t i = 0; i < n; i++) {
    assert_true(first[i] == 0 || fabs(first[i] - 4.0) < 1e-6);
    n_dropped += first[i] == 0;
  }
  assert_in_range(n_dropped, 890, 1110); /* 1000 ± 4 standard deviations */
  c.node.op->forward(&c.call);
  assert_memory_equal(first, c.call.out, (size_t)n * sizeof *first);
  c.call.seed++;
  c.node.op->forward(&c.call);
  for (int64_t i = 0; i < n; i++) n_other += first[i] != c.call.out[i];
  assert_in_range(n_other, 1300, 1700); /* 2 · 0.25 · 0.75 · 4000 = 1500 */
  free(first);
  op_close(&c);
}

/* Extremes that must neither overflow nor lose a NaN. */
static void extremes(void **state) {
  (void)state;
  static const struct {
    const char *op;
    float in[3], out[3];
  } rows[] = {
      {"sigmoid", {-1000, 0, 1000}, {0, 0.5f, 1}},
      {"softmax", {1000, -1000, 1000}, {0.5f, 0, 0.5f}},
      {"log_softmax", {-1000, 1000, -1000}, {-2000, 0, -2000}},
      {"gelu", {-100, 0, 100}, {0, 0, 100}},
      {"relu", {-1, NAN, 2}, {0, NAN, 2}},
  };
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
    struct op_spec spec = {rows[r].op, "", 1, 1, {{1, {3}}}, false};
    struct op_case c;
    op_open(&c, &spec);
    for (int i = 0; i < 3; i++) c.in[0][i] = rows[r].in[i];
    c.node.op->forward(&c.call);
    for (int i = 0; i < 3; i++)
      assert_true(c.call.out[i] == rows[r].out[i] ||
                  (isnan(rows[r].out[i]) && isnan(c.call.out[i])));
    op_close(&c);
  }
  struct op_spec spec = {"max_pool", "", 1, 1, {{3, {1, 2, 2}}}, false};
  struct op_case c;
  op_open(&c, &spec);
  c.in[0][2] = NAN;
  c.node.op->forward(&c.call);
  assert_true(isnan(c.call.out[0]));
  op_close(&c);
}

/* A window of a whole plane: a float sum of 65,536 values would lose digits.
 * And a NaN anywhere in a window is the maximum of it. */
static void adaptive_windows(void **state) {
  (void)state;
  struct op_spec spec = {"adaptive_pool", "", 1, 1, {{3, {1, 256, 256}}}, false};
  struct op_case c;
  op_open(&c, &spec);
  for (int i = 0; i < 256 * 256; i++) c.in[0][i] = (ex_real)0.1f;
  c.node.op->forward(&c.call);
  assert_true(c.call.out[0] == (ex_real)0.1f);
  op_close(&c);
  spec = (struct op_spec){"adaptive_pool", "height=2 max=true", 1, 1, {{3, {1, 4, 1}}}, false};
  op_open(&c, &spec);
  const float in[] = {1, NAN, 3, 2};
  for (int i = 0; i < 4; i++) c.in[0][i] = in[i];
  c.node.op->forward(&c.call);
  assert_true(isnan(c.call.out[0]) && c.call.out[1] == 3);
  op_close(&c);
}

static void softmax_is_the_one_softmax(void **state) {
  (void)state;
  struct op_spec spec = {"softmax", "", 4, 1, {{3, {10, 1, 1}}}, false};
  struct op_case c;
  op_open(&c, &spec);
  ex_real *expected = op_array(40);
  ex__softmax(c.in[0], 4, 10, 1, expected);
  c.node.op->forward(&c.call);
  assert_memory_equal(c.call.out, expected, 40 * sizeof *expected);
  free(expected);
  op_close(&c);
}

static void multiply_adds(void **state) {
  (void)state;
  static const struct {
    struct op_spec spec;
    int64_t macs;
  } rows[] = {
      {{"conv2d",
        "channels=16 kernel-h=3 kernel-w=3 pad-h=1 pad-w=1",
        1,
        1,
        {{3, {3, 32, 32}}},
        false},
       16 * 27 * 1024},
      {{"conv2d",
        "channels=32 kernel-h=3 kernel-w=1 stride=2 groups=4",
        1,
        1,
        {{3, {16, 9, 9}}},
        false},
       32 * 12 * 4 * 5},
      {{"conv2d", "channels=8 kernel-h=3 kernel-w=3 groups=8", 1, 1, {{3, {8, 5, 5}}}, false},
       8 * 9 * 9},
      {{"linear", "features=10", 1, 1, {{1, {64}}}, false}, 640},
  };
  struct ex_error err;
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
    struct op_case c;
    assert_ok(op_node(&c, &rows[r].spec, &err), &err);
    assert_int_equal(c.node.op->macs(&c.node, c.call.in_shape), rows[r].macs);
    op_close(&c);
  }
}

static void tensors_bear_pytorch_s_names(void **state) {
  (void)state;
  struct op_spec spec = {
      "conv2d", "channels=6 kernel-h=3 kernel-w=2 groups=2", 1, 1, {{3, {4, 5, 5}}}, false};
  struct op_case c;
  op_open(&c, &spec);
  assert_int_equal(c.node.n_tensors, 2);
  assert_string_equal(c.decl[0].suffix, "weight");
  assert_true(ex__shape_equal(&c.decl[0].shape, &(struct ex_shape){4, {6, 2, 3, 2}}));
  assert_true(c.decl[0].role == EX_ROLE_WEIGHT && c.decl[1].role == EX_ROLE_BIAS);
  op_close(&c);
  static const char *const names[] = {"weight", "bias", "running_mean", "running_var"};
  spec = (struct op_spec){"batch_norm", "", 1, 1, {{1, {3}}}, false};
  op_open(&c, &spec);
  assert_int_equal(c.node.n_tensors, 4);
  for (int t = 0; t < 4; t++) {
    assert_string_equal(c.decl[t].suffix, names[t]);
    assert_int_equal(c.decl[t].role, t < 2 ? EX_ROLE_NORM : EX_ROLE_BUFFER);
    assert_int_equal(c.decl[t].init, t == 0 || t == 3 ? EX_INIT_ONE : EX_INIT_ZERO);
  }
  op_close(&c);
}

static const struct {
  struct op_spec spec;
  const char *part;
} refusals[] = {
    {{"conv2d", "channels=6 groups=3", 1, 1, {{3, {4, 5, 5}}}, false},
     "conv2d: groups = 3; must divide 4 input and 6 output channels"},
    {{"conv2d", "kernel-h=3 kernel-w=3 dilation=2 pad-w=1", 1, 1, {{3, {4, 4, 4}}}, false},
     "kernel 3×3 with dilation 2 on input [4][4][4] padded by 0, 1; must fit"},
    {{"conv2d", "", 1, 1, {{1, {4}}}, false},
     "conv2d: input is [4]; must be [channels][height][width]"},
    {{"conv2d",
      "channels=1048576 kernel-h=1024 kernel-w=1024 pad-h=1024 pad-w=1024",
      1,
      1,
      {{3, {4, 5, 5}}},
      false},
     "weight of 1048576 × 4194304; must have at most 2147483647 elements"},
    {{"conv2d", "channels=1048576 pad-h=1024 pad-w=1024", 1, 1, {{3, {1, 5, 5}}}, false},
     "conv2d: output of [1048576][2053][2053]; must have at most 2147483647 elements"},
    {{"linear", "features=10", 1, 1, {{3, {4, 5, 5}}}, false},
     "linear: input is [4][5][5]; must be [features]"},
    {{"linear", "features=16777216", 1, 1, {{1, {1000}}}, false}, "weight of 16777216 × 1000"},
    {{"max_pool", "kernel=3 pad=2", 1, 1, {{3, {4, 5, 5}}}, false},
     "max_pool: pad = 2; must be at most half of the kernel, 3"},
    {{"avg_pool", "kernel=4", 1, 1, {{3, {4, 3, 5}}}, false},
     "avg_pool: kernel 4 on input [4][3][5] padded by 0; must fit"},
    {{"adaptive_pool", "", 1, 1, {{1, {4}}}, false}, "adaptive_pool: input is [4]"},
    {{"global_avg_pool", "", 1, 1, {{1, {4}}}, false}, "global_avg_pool: input is [4]"},
    {{"add", "", 1, 2, {{1, {4}}, {1, {5}}}, false},
     "add: input 1 is [5]; must be [4] as the first is"},
    {{"mul", "", 1, 3, {{1, {4}}, {1, {4}}, {3, {4, 1, 1}}}, false}, "mul: input 2 is [4][1][1]"},
    {{"blend", "", 1, 2, {{1, {4}}, {1, {5}}}, false}, "blend: input 1 is [5]"},
    {{"concat", "", 1, 2, {{3, {4, 2, 2}}, {3, {1, 2, 3}}}, false},
     "concat: input 1 is [1][2][3]; must be as [4][2][2] behind the channels"},
    {{"concat", "", 1, 2, {{3, {4, 2, 2}}, {1, {4}}}, false}, "concat: input 1 is [4]"},
    {{"slice", "begin=2 end=2", 1, 1, {{1, {4}}}, false},
     "slice: [2, 2); must not be empty, and lie in [0, 4)"},
    {{"slice", "end=5", 1, 1, {{1, {4}}}, false}, "slice: [0, 5)"},
    {{"slice", "begin=4", 1, 1, {{1, {4}}}, false}, "slice: [4, 4)"},
    {{"reshape", "shape=3,1,3", 1, 1, {{1, {8}}}, false},
     "reshape: [8] to [3][1][3]; must keep the number of elements"},
    {{"reshape", "shape=2,4", 1, 1, {{1, {8}}}, false}, "shape has 2 numbers; must have 1 or 3"},
    {{"reshape", "shape=7.5", 1, 1, {{1, {8}}}, false}, "shape holds 7.5; must be whole"},
    {{"input", "shape=65536,65536,1", 1, 0, {{0, {0}}}, false},
     "input: output of [65536][65536][1]; must have at most 2147483647 elements"},
    {{"input", "shape=", 1, 0, {{0, {0}}}, false}, "input: shape has 0 numbers"},
    {{"lrn", "size=4", 1, 1, {{1, {4}}}, false}, "lrn: size = 4; must be odd"},
    {{"dropout", "rate=1", 1, 1, {{1, {4}}}, false}, "dropout: rate = 1; must be"},
    {{"batch_norm", "momentum=2", 1, 1, {{1, {4}}}, false}, "batch_norm: momentum = 2; must be"},
};

static void refusals_name_value_and_rule(void **state) {
  (void)state;
  for (size_t r = 0; r < sizeof refusals / sizeof *refusals; r++) {
    struct op_case c;
    struct ex_error err = {0};
    if (op_node(&c, &refusals[r].spec, &err) == EX_OK)
      fail_msg("%s(%s) was not refused", refusals[r].spec.op, refusals[r].spec.attrs);
    if (strstr(err.text, refusals[r].part) == NULL)
      fail_msg("error text \"%s\" lacks \"%s\"", err.text, refusals[r].part);
    op_close(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_are_pytorch_s),
      cmocka_unit_test(registry_keeps_its_rules),
      cmocka_unit_test(a_batch_has_the_bits_of_its_samples),
      cmocka_unit_test(in_place_gives_the_same),
      cmocka_unit_test(running_statistics_move_in_training_only),
      cmocka_unit_test(dropout_draws_by_seed),
      cmocka_unit_test(extremes),
      cmocka_unit_test(adaptive_windows),
      cmocka_unit_test(softmax_is_the_one_softmax),
      cmocka_unit_test(multiply_adds),
      cmocka_unit_test(tensors_bear_pytorch_s_names),
      cmocka_unit_test(refusals_name_value_and_rule),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
