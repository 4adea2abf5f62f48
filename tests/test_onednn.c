/* SPDX-License-Identifier: Apache-2.0
 *
 * The shim against loops that anybody can check: every operation that is not a
 * product (test_onednn_products), with its gradient, in the layouts that
 * oneDNN chooses, on numbers that a wrong stride would show.
 */
#ifdef EX_NO_ONEDNN
int main(void) { return 77; } /* nothing to test in a build without oneDNN */
#else
#include "tests/onednn_harness.h"

static void pooling_and_its_gradient(void **state) {
  ex_dnn *dnn = *state;
  int64_t xd[] = {1, 16, 4, 4}, yd[] = {1, 16, 2, 2};
  for (int max = 0; max < 2; max++) {
    float *x = numbers(256, 1), *y = numbers(64, 2), *y2 = numbers(64, 2), *dy = numbers(64, 3),
          *dx = numbers(256, 4), *dx2 = ex__calloc(256, sizeof(float));
    for (int i = 0; i < 64; i++) {
      float best = -9, sum = 0;
      int where = 0;
      for (int k = 0; k < 4; k++) {
        int at = i / 4 * 16 + (i % 4 / 2 * 2 + k / 2) * 4 + i % 2 * 2 + k % 2;
        if (x[at] > best) best = x[at], where = at;
        sum += x[at];
        if (!max) dx2[at] += dy[i] / 4;
      }
      if (max) dx2[where] += dy[i];
      y2[i] = max ? best : sum / 4;
    }
    struct ex_dnn_pool p = {.pass = EX_DNN_FORWARD,
                            .threads = 1,
                            .batch = 1,
                            .channels = 16,
                            .in_h = 4,
                            .in_w = 4,
                            .out_h = 2,
                            .out_w = 2,
                            .kernel_h = 2,
                            .kernel_w = 2,
                            .stride_h = 2,
                            .stride_w = 2,
                            .max = max};
    assert_ok(ex__dnn_layout_new(dnn, 4, xd, EX_DNN_NHWC, &p.src, &err), &err);
    const ex_dnn_op *op, *back;
    assert_ok(ex__dnn_pool(dnn, &p, &op, &err), &err);
    p.pass = EX_DNN_BACKWARD;
    p.forward = op;
    assert_ok(ex__dnn_pool(dnn, &p, &back, &err), &err);
    ex_dnn_call *call, *back_call;
    assert_int_equal(ex__dnn_call_new(op, &call), EX_OK);
    assert_int_equal(ex__dnn_call_new(back, &back_call), EX_OK);
    assert_int_equal(ex__dnn_op_workspace(op) > 0, max);
    void *workspace = ex__calloc(ex__dnn_op_workspace(op) + 1, 1);
    const ex_dnn_layout *nhwc = p.src, *small = ex__dnn_op_layout(op, EX_DNN_DST);
    float *a = ex__alloc(256, 4), *b = ex__alloc(64, 4), *c = ex__alloc(256, 4);
    assert_ok(ex__dnn_reorder_now(dnn, plain(dnn, 4, xd), x, nhwc, a, &err), &err);
    ex__dnn_call_set(call, EX_DNN_SRC, a);
    ex__dnn_call_set(call, EX_DNN_DST, b);
    ex__dnn_call_set(call, EX_DNN_WORKSPACE, workspace);
    assert_true(ex__dnn_call_run(call));
    assert_ok(ex__dnn_reorder_now(dnn, small, b, plain(dnn, 4, yd), y, &err), &err);
    assert_close(y, y2, 64);
    assert_ok(ex__dnn_reorder_now(dnn, plain(dnn, 4, yd), dy,
                                  ex__dnn_op_layout(back, EX_DNN_DIFF_DST), b, &err),
              &err);
    ex__dnn_call_set(back_call, EX_DNN_DIFF_DST, b);
    ex__dnn_call_set(back_call, EX_DNN_DIFF_SRC, c);
    ex__dnn_call_set(back_call, EX_DNN_WORKSPACE, workspace);
    assert_true(ex__dnn_call_run(back_call));
    assert_ok(ex__dnn_reorder_now(dnn, nhwc, c, plain(dnn, 4, xd), dx, &err), &err);
    assert_close(dx, dx2, 256);
    ex__dnn_call_free(call);
    ex__dnn_call_free(back_call);
    float *all[] = {x, y, y2, dy, dx, dx2, a, b, c, workspace};
    for (int32_t i = 0; i < N(all); i++) ex__free(all[i]);
  }
}

static void functions_and_their_gradients(void **state) {
  ex_dnn *dnn = *state;
  int64_t xd[] = {4, 25};
  for (int f = EX_DNN_RELU; f <= EX_DNN_SIGMOID; f++) {
    float *x = numbers(100, 1), *y = numbers(100, 2), *dy = numbers(100, 3), *dx = numbers(100, 4),
          *y2 = numbers(100, 2), *dx2 = numbers(100, 4);
    for (int i = 0; i < 100; i++) {
      double v = x[i], cdf = 0.5 * (1 + erf(v / sqrt(2))), s = 1 / (1 + exp(-v));
      double slope = cdf + v * exp(-v * v / 2) / sqrt(2 * 3.14159265358979);
      y2[i] = (float)(f == EX_DNN_RELU ? (v > 0 ? v : 0) : f == EX_DNN_GELU ? v * cdf : s);
      dx2[i] = dy[i] * (float)(f == EX_DNN_RELU ? v > 0 : f == EX_DNN_GELU ? slope : s * (1 - s));
    }
    struct ex_dnn_eltwise e = {.pass = EX_DNN_FORWARD,
                               .function = (enum ex_dnn_function)f,
                               .threads = 1,
                               .data = plain(dnn, 2, xd)};
    const ex_dnn_op *op;
    assert_ok(ex__dnn_eltwise(dnn, &e, &op, &err), &err);
    struct bound bound[] = {{EX_DNN_SRC, 2, xd, x, false, NULL},
                            {EX_DNN_DST, 2, xd, y, true, NULL}};
    run(dnn, op, bound, 2);
    assert_close(y, y2, 100);
    e.pass = EX_DNN_BACKWARD;
    assert_ok(ex__dnn_eltwise(dnn, &e, &op, &err), &err);
    bool gelu = f == EX_DNN_GELU;
    struct bound back[] = {{gelu ? EX_DNN_SRC : EX_DNN_DST, 2, xd, gelu ? x : y, false, NULL},
                           {EX_DNN_DIFF_DST, 2, xd, dy, false, NULL},
                           {EX_DNN_DIFF_SRC, 2, xd, dx, true, NULL}};
    run(dnn, op, back, 3);
    assert_close(dx, dx2, 100);
    float *all[] = {x, y, dy, dx, y2, dx2};
    for (int32_t i = 0; i < N(all); i++) ex__free(all[i]);
  }
}

static void batch_norm_and_its_gradient(void **state) {
  ex_dnn *dnn = *state;
  enum { C = 16, P = 12, SIZE = 2 * C * P };
  int64_t xd[] = {2, C, 3, 4}, cd[] = {C};
  float *x = numbers(SIZE, 1), *y = numbers(SIZE, 2), *dy = numbers(SIZE, 3),
        *dx = numbers(SIZE, 4), *y2 = numbers(SIZE, 2), *dx2 = numbers(SIZE, 4);
  float *scale = numbers(C, 5), *shift = numbers(C, 6), *mean = numbers(C, 7),
        *variance = numbers(C, 8), *dscale = numbers(C, 9), *dshift = numbers(C, 10);
  float dscale2[C] = {0}, dshift2[C] = {0}, mean2[C] = {0}, variance2[C] = {0};
  for (int c = 0; c < C; c++) {
#define AT(i) ((i) / P * C * P + c * P + (i) % P)
    for (int i = 0; i < 2 * P; i++) mean2[c] += x[AT(i)] / (2 * P);
    for (int i = 0; i < 2 * P; i++) variance2[c] += powf(x[AT(i)] - mean2[c], 2) / (2 * P);
    float r = 1 / sqrtf(variance2[c] + 1e-5F);
    for (int i = 0; i < 2 * P; i++) {
      float hat = (x[AT(i)] - mean2[c]) * r;
      y2[AT(i)] = hat * scale[c] + shift[c];
      dscale2[c] += dy[AT(i)] * hat;
      dshift2[c] += dy[AT(i)];
    }
    for (int i = 0; i < 2 * P; i++) {
      float hat = (x[AT(i)] - mean2[c]) * r;
      dx2[AT(i)] = scale[c] * r * (dy[AT(i)] - dshift2[c] / (2 * P) - hat * dscale2[c] / (2 * P));
    }
  }
  struct ex_dnn_norm n = {
      .pass = EX_DNN_FORWARD, .threads = 1, .eps = 1e-5F, .data = plain(dnn, 4, xd)};
  const ex_dnn_op *op, *back;
  assert_ok(ex__dnn_norm(dnn, &n, &op, &err), &err);
  struct bound bound[] = {
      {EX_DNN_SRC, 4, xd, x, false, NULL},       {EX_DNN_DST, 4, xd, y, true, NULL},
      {EX_DNN_MEAN, 1, cd, mean, true, NULL},    {EX_DNN_VARIANCE, 1, cd, variance, true, NULL},
      {EX_DNN_SCALE, 1, cd, scale, false, NULL}, {EX_DNN_SHIFT, 1, cd, shift, false, NULL}};
  run(dnn, op, bound, N(bound));
  assert_close(y, y2, SIZE);
  assert_close(mean, mean2, C);
  assert_close(variance, variance2, C);
  n.pass = EX_DNN_BACKWARD;
  n.forward = op;
  assert_ok(ex__dnn_norm(dnn, &n, &back, &err), &err);
  struct bound backward[] = {{EX_DNN_SRC, 4, xd, x, false, NULL},
                             {EX_DNN_MEAN, 1, cd, mean, false, NULL},
                             {EX_DNN_VARIANCE, 1, cd, variance, false, NULL},
                             {EX_DNN_SCALE, 1, cd, scale, false, NULL},
                             {EX_DNN_SHIFT, 1, cd, shift, false, NULL},
                             {EX_DNN_DIFF_DST, 4, xd, dy, false, NULL},
                             {EX_DNN_DIFF_SRC, 4, xd, dx, true, NULL},
                             {EX_DNN_DIFF_SCALE, 1, cd, dscale, true, NULL},
                             {EX_DNN_DIFF_SHIFT, 1, cd, dshift, true, NULL}};
  run(dnn, back, backward, N(backward));
  assert_close(dx, dx2, SIZE);
  assert_close(dscale, dscale2, C);
  assert_close(dshift, dshift2, C);
  n.pass = EX_DNN_INFER;
  n.forward = NULL;
  assert_ok(ex__dnn_norm(dnn, &n, &op, &err), &err);
  bound[2].output = bound[3].output = false;
  run(dnn, op, bound, N(bound));
  assert_close(y, y2, SIZE);
  float *all[] = {x, y, dy, dx, y2, dx2, scale, shift, mean, variance, dscale, dshift};
  for (int32_t i = 0; i < N(all); i++) ex__free(all[i]);
}

static void binaries_and_adding_reorders(void **state) {
  ex_dnn *dnn = *state;
  int64_t d[] = {2, 5, 2, 3};
  float *x = numbers(60, 1), *z = numbers(60, 2), *y = numbers(60, 3), *y2 = numbers(60, 3);
  for (int multiply = 0; multiply < 2; multiply++) {
    struct ex_dnn_binary b = {
        .threads = 1, .multiply = multiply, .relu = true, .data = plain(dnn, 4, d)};
    const ex_dnn_op *op;
    assert_ok(ex__dnn_binary(dnn, &b, &op, &err), &err);
    for (int i = 0; i < 60; i++) y2[i] = fmaxf(multiply ? x[i] * z[i] : x[i] + z[i], 0);
    struct bound bound[] = {{EX_DNN_SRC, 4, d, x, false, NULL},
                            {EX_DNN_SRC1, 4, d, z, false, NULL},
                            {EX_DNN_DST, 4, d, y, true, NULL}};
    run(dnn, op, bound, 3);
    assert_close(y, y2, 60);
  }
  const ex_dnn_layout *nhwc;
  assert_ok(ex__dnn_layout_new(dnn, 4, d, EX_DNN_NHWC, &nhwc, &err), &err);
  assert_string_equal(ex__dnn_layout_name(nhwc), "nhwc");
  assert_string_equal(ex__dnn_layout_name(plain(dnn, 4, d)), "plain");
  assert_false(ex__dnn_layout_equal(nhwc, plain(dnn, 4, d)));
  assert_int_equal(ex__dnn_layout_bytes(nhwc), 240);
  const ex_dnn_op *op;
  assert_ok(ex__dnn_reorder(dnn, plain(dnn, 4, d), nhwc, true, 1, &op, &err), &err);
  for (int i = 0; i < 60; i++) y2[i] = y[i] + x[i];
  struct bound bound[] = {{EX_DNN_SRC, 4, d, x, false, NULL}, {EX_DNN_DST, 4, d, y, true, NULL}};
  run(dnn, op, bound, 2);
  assert_close(y, y2, 60);
  float *all[] = {x, z, y, y2};
  for (int32_t i = 0; i < N(all); i++) ex__free(all[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      engine_test(pooling_and_its_gradient),
      engine_test(functions_and_their_gradients),
      engine_test(batch_norm_and_its_gradient),
      engine_test(binaries_and_adding_reorders),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
