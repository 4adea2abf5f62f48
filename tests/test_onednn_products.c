/* SPDX-License-Identifier: Apache-2.0
 *
 * The shim against loops that anybody can check: convolutions and products of
 * matrices, with their gradients, in the layouts that oneDNN chooses, on
 * numbers that a wrong stride would show.
 */
#ifdef EX_NO_ONEDNN
int main(void) { return 77; } /* nothing to test in a build without oneDNN */
#else
#include "tests/onednn_harness.h"

/* ---- convolution -------------------------------------------------------- */

enum { CONV_FORWARD, CONV_DATA, CONV_WEIGHTS };
static const enum ex_dnn_pass PASS[] = {EX_DNN_FORWARD, EX_DNN_BACKWARD_DATA,
                                        EX_DNN_BACKWARD_WEIGHTS};

/* The convolution's sum, with the roles of its three arrays turned by `what`. */
static void slow_conv(const struct ex_dnn_conv *c, int what, float *x, float *w, float *b,
                      float *y) {
  int64_t ig = c->in_channels / c->groups, og = c->out_channels / c->groups;
  for (int64_t n = 0; n < c->batch; n++)
    for (int64_t o = 0; o < c->out_channels; o++)
      for (int64_t p = 0; p < c->out_h * c->out_w; p++) {
        float *at = &y[(n * c->out_channels + o) * c->out_h * c->out_w + p];
        if (what == CONV_FORWARD) *at = b[o];
        if (what == CONV_WEIGHTS) b[o] += *at;
        for (int64_t i = 0; i < ig; i++)
          for (int64_t k = 0; k < c->kernel_h * c->kernel_w; k++) {
            int64_t h = p / c->out_w * c->stride - c->pad_h + k / c->kernel_w * c->dilation;
            int64_t v = p % c->out_w * c->stride - c->pad_w + k % c->kernel_w * c->dilation;
            if (h < 0 || v < 0 || h >= c->in_h || v >= c->in_w) continue;
            float *from = &x[((n * c->in_channels + o / og * ig + i) * c->in_h + h) * c->in_w + v];
            float *weight = &w[(o * ig + i) * c->kernel_h * c->kernel_w + k];
            if (what == CONV_FORWARD) *at += *from * *weight;
            if (what == CONV_DATA) *from += *at * *weight;
            if (what == CONV_WEIGHTS) *weight += *at * *from;
          }
      }
}

/* The four arrays of a product, one set for oneDNN and one for the loops. */
struct product {
  const int64_t *x, *w, *y; /* dimensions; those of the bias are y's second */
  int32_t rank, w_rank;
};

static int64_t count(const int64_t *dim, int32_t rank) {
  int64_t n = 1;
  for (int32_t i = 0; i < rank; i++) n *= dim[i];
  return n;
}

/* The operation, in the role that `what` names, against the loops over `c`. */
static void check_product(ex_dnn *dnn, const ex_dnn_op *op, int what, const struct ex_dnn_conv *c,
                          struct product p) {
  int64_t nx = count(p.x, p.rank), nw = count(p.w, p.w_rank), ny = count(p.y, p.rank), nb = p.y[1];
  float *x = numbers(nx, 1), *w = numbers(nw, 2), *b = numbers(nb, 3), *y = numbers(ny, 4);
  float *x2 = numbers(nx, 1), *w2 = numbers(nw, 2), *b2 = numbers(nb, 3), *y2 = numbers(ny, 4);
  bool d = what == CONV_DATA, g = what == CONV_WEIGHTS, f = what == CONV_FORWARD;
  if (d) memset(x2, 0, (size_t)nx * sizeof *x2);
  if (g) memset(w2, 0, (size_t)nw * sizeof *w2), memset(b2, 0, (size_t)nb * sizeof *b2);
  slow_conv(c, what, x2, w2, b2, y2);
  struct bound bound[] = {
      {d ? EX_DNN_DIFF_SRC : EX_DNN_SRC, p.rank, p.x, x, d, NULL},
      {g ? EX_DNN_DIFF_WEIGHTS : EX_DNN_WEIGHTS, p.w_rank, p.w, w, g, NULL},
      {f ? EX_DNN_DST : EX_DNN_DIFF_DST, p.rank, p.y, y, f, NULL},
      {g ? EX_DNN_DIFF_BIAS : EX_DNN_BIAS, 1, p.y + 1, b, g, NULL},
  };
  run(dnn, op, bound, d ? 3 : 4);
  assert_close(x, x2, nx);
  assert_close(w, w2, nw);
  assert_close(b, b2, nb);
  assert_close(y, y2, ny);
  float *all[] = {x, w, b, y, x2, w2, b2, y2};
  for (int32_t i = 0; i < N(all); i++) ex__free(all[i]);
}

static void check_conv(ex_dnn *dnn, struct ex_dnn_conv c, bool nhwc) {
  c.out_h = (c.in_h + 2 * c.pad_h - (c.kernel_h - 1) * c.dilation - 1) / c.stride + 1;
  c.out_w = (c.in_w + 2 * c.pad_w - (c.kernel_w - 1) * c.dilation - 1) / c.stride + 1;
  c.threads = 1;
  int64_t xd[] = {c.batch, c.in_channels, c.in_h, c.in_w};
  int64_t yd[] = {c.batch, c.out_channels, c.out_h, c.out_w};
  int64_t gd[] = {c.groups, c.out_channels / c.groups, c.in_channels / c.groups, c.kernel_h,
                  c.kernel_w};
  bool grouped = c.groups > 1;
  const struct product product = {xd, grouped ? gd : gd + 1, yd, 4, grouped ? 5 : 4};
  if (nhwc) {
    assert_ok(ex__dnn_layout_new(dnn, 4, xd, EX_DNN_NHWC, &c.src, &err), &err);
    assert_ok(ex__dnn_layout_new(dnn, 4, yd, EX_DNN_NHWC, &c.dst, &err), &err);
  }
  for (int what = CONV_FORWARD; what <= CONV_WEIGHTS; what++) {
    c.pass = PASS[what];
    c.bias = what != CONV_DATA;
    const ex_dnn_op *op;
    assert_ok(ex__dnn_conv(dnn, &c, &op, &err), &err);
    assert_false(ex__dnn_op_is_reference(op));
    check_product(dnn, op, what, &c, product);
  }
}

static void convolutions(void **state) {
  static const struct {
    int32_t batch, in, height, width, out, kernel_h, kernel_w, stride, pad_h, pad_w, dilation,
        groups;
    bool nhwc; /* in this layout too */
  } cases[] = {
      {2, 16, 7, 9, 32, 3, 3, 1, 1, 1, 1, 1, true}, {2, 24, 8, 8, 20, 3, 5, 2, 1, 2, 1, 1, true},
      {1, 32, 9, 9, 32, 3, 3, 1, 2, 2, 2, 1, true}, {2, 32, 6, 6, 64, 3, 3, 1, 1, 1, 1, 2, false},
      {2, 3, 8, 8, 16, 3, 3, 1, 1, 1, 1, 1, false},
  };
  for (int32_t i = 0; i < N(cases); i++)
    for (int nhwc = 0; nhwc <= cases[i].nhwc; nhwc++)
      check_conv(*state,
                 (struct ex_dnn_conv){.batch = cases[i].batch,
                                      .in_channels = cases[i].in,
                                      .in_h = cases[i].height,
                                      .in_w = cases[i].width,
                                      .out_channels = cases[i].out,
                                      .kernel_h = cases[i].kernel_h,
                                      .kernel_w = cases[i].kernel_w,
                                      .stride = cases[i].stride,
                                      .pad_h = cases[i].pad_h,
                                      .pad_w = cases[i].pad_w,
                                      .dilation = cases[i].dilation,
                                      .groups = cases[i].groups},
                 nhwc);
}

/* Fused: result + what was there, then max(·, 0). */
static void fused_sum_and_relu(void **state) {
  ex_dnn *dnn = *state;
  struct ex_dnn_conv c = {.pass = EX_DNN_INFER,
                          .threads = 1,
                          .batch = 2,
                          .in_channels = 16,
                          .in_h = 5,
                          .in_w = 5,
                          .out_channels = 16,
                          .out_h = 5,
                          .out_w = 5,
                          .kernel_h = 1,
                          .kernel_w = 1,
                          .stride = 1,
                          .dilation = 1,
                          .groups = 1,
                          .bias = true,
                          .post = {.sum = true, .relu = true}};
  int64_t xd[] = {2, 16, 5, 5}, wd[] = {16, 16, 1, 1};
  float *x = numbers(800, 1), *w = numbers(256, 2), *b = numbers(16, 3), *y = numbers(800, 4),
        *y2 = numbers(800, 4), *sum = numbers(800, 4);
  slow_conv(&c, CONV_FORWARD, x, w, b, y2);
  int32_t clipped = 0;
  for (int32_t i = 0; i < 800; i++) {
    y2[i] = fmaxf(y2[i] + sum[i], 0);
    clipped += y2[i] == 0;
  }
  assert_in_range(clipped, 100, 700);
  const ex_dnn_op *op;
  assert_ok(ex__dnn_conv(dnn, &c, &op, &err), &err);
  struct bound bound[] = {{EX_DNN_SRC, 4, xd, x, false, NULL},
                          {EX_DNN_WEIGHTS, 4, wd, w, false, NULL},
                          {EX_DNN_BIAS, 1, xd + 1, b, false, NULL},
                          {EX_DNN_DST, 4, xd, y, true, NULL}};
  run(dnn, op, bound, 4);
  assert_close(y, y2, 800);
  float *all[] = {x, w, b, y, y2, sum};
  for (int32_t i = 0; i < N(all); i++) ex__free(all[i]);
}

/* A slice of channels as destination is a case of which oneDNN has only the
 * reference: it must be refused, not run two orders of magnitude slower. */
static void references_are_refused(void **state) {
  ex_dnn *dnn = *state;
  struct ex_dnn_conv c = {.pass = EX_DNN_FORWARD,
                          .threads = 1,
                          .batch = 1,
                          .in_channels = 3,
                          .in_h = 8,
                          .in_w = 8,
                          .out_channels = 5,
                          .out_h = 8,
                          .out_w = 8,
                          .kernel_h = 3,
                          .kernel_w = 3,
                          .stride = 1,
                          .pad_h = 1,
                          .pad_w = 1,
                          .dilation = 1,
                          .groups = 1};
  int64_t xd[] = {1, 3, 8, 8}, yd[] = {1, 5, 8, 8}, strides[] = {8 * 8 * 40, 1, 8 * 40, 40};
  assert_ok(ex__dnn_layout_new(dnn, 4, xd, EX_DNN_NHWC, &c.src, &err), &err);
  assert_ok(ex__dnn_layout_strided(dnn, 4, yd, strides, &c.dst, &err), &err);
  const ex_dnn_op *op;
  assert_refused(ex__dnn_conv(dnn, &c, &op, &err), EX_EUNSUPPORTED, &err, "no admitted");
  assert_null(op);
  c.admit_reference = c.admit_gemm = true;
  assert_ok(ex__dnn_conv(dnn, &c, &op, &err), &err);
  assert_true(ex__dnn_op_is_reference(op) || strstr(ex__dnn_op_implementation(op), "gemm"));
  c.threads = 2;
  c.in_channels = -1;
  c.src = NULL;
  assert_int_not_equal(ex__dnn_conv(dnn, &c, &op, &err), EX_OK);
  ex__dnn_free(NULL);
  ex__dnn_call_free(NULL);
}

/* ---- matrices ----------------------------------------------------------- */

static void linear_and_its_gradients(void **state) {
  ex_dnn *dnn = *state;
  enum { ROWS = 3, IN = 37, OUT = 11 };
  const struct product product = {(int64_t[]){ROWS, IN}, (int64_t[]){OUT, IN},
                                  (int64_t[]){ROWS, OUT}, 2, 2};
  const struct ex_dnn_conv as_conv = {.batch = ROWS,
                                      .in_channels = IN,
                                      .in_h = 1,
                                      .in_w = 1,
                                      .out_channels = OUT,
                                      .out_h = 1,
                                      .out_w = 1,
                                      .kernel_h = 1,
                                      .kernel_w = 1,
                                      .stride = 1,
                                      .dilation = 1,
                                      .groups = 1};
  for (int what = CONV_FORWARD; what <= CONV_WEIGHTS; what++) {
    struct ex_dnn_linear l = {.pass = PASS[what],
                              .threads = 1,
                              .rows = ROWS,
                              .in = IN,
                              .out = OUT,
                              .bias = what != CONV_DATA};
    const ex_dnn_op *op;
    assert_ok(ex__dnn_linear(dnn, &l, &op, &err), &err);
    check_product(dnn, op, what, &as_conv, product);
  }
}

/* Rows that lie apart, on both sides: what reads and writes slices. */
static void matmul_with_leading_dimensions(void **state) {
  ex_dnn *dnn = *state;
  enum { M = 6, K = 5, L = 7, XS = 9, YS = 12 };
  for (int transposed = 0; transposed < 2; transposed++) {
    float *x = numbers(M * XS, 1), *w = numbers(K * L, 2), *b = numbers(L, 3),
          *y = numbers(M * YS, 4), *y2 = numbers(M * YS, 4);
    for (int i = 0; i < M; i++)
      for (int j = 0; j < L; j++) {
        float sum = b[j];
        for (int k = 0; k < K; k++)
          sum += x[i * XS + k] * (transposed ? w[j * K + k] : w[k * L + j]);
        y2[i * YS + j] = fmaxf(sum, 0);
      }
    struct ex_dnn_matmul m = {.threads = 1,
                              .m = M,
                              .n = L,
                              .k = K,
                              .src_stride = XS,
                              .dst_stride = YS,
                              .weights_transposed = transposed,
                              .bias = true,
                              .post = {.relu = true}};
    const ex_dnn_op *op;
    assert_ok(ex__dnn_matmul(dnn, &m, &op, &err), &err);
    ex_dnn_call *call;
    assert_int_equal(ex__dnn_call_new(op, &call), EX_OK);
    void *scratch = ex__alloc(ex__dnn_op_scratch(op) + 1, 1);
    ex__dnn_call_set(call, EX_DNN_SRC, x);
    ex__dnn_call_set(call, EX_DNN_WEIGHTS, w);
    ex__dnn_call_set(call, EX_DNN_BIAS, b);
    ex__dnn_call_set(call, EX_DNN_DST, y);
    ex__dnn_call_set(call, EX_DNN_SCRATCHPAD, scratch);
    int32_t before = ex__dnn_threads(1);
    assert_true(ex__dnn_call_run(call));
    ex__dnn_threads(before);
    assert_close(y, y2, M * YS);
    ex__dnn_call_free(call);
    float *all[] = {x, w, b, y, y2, scratch};
    for (int32_t i = 0; i < N(all); i++) ex__free(all[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      engine_test(convolutions),
      engine_test(fused_sum_and_relu),
      engine_test(references_are_refused),
      engine_test(linear_and_its_gradients),
      engine_test(matmul_with_leading_dimensions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
