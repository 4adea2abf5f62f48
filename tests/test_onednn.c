/* SPDX-License-Identifier: Apache-2.0
 *
 * The shim against loops that anybody can check: every operation once, in the
 * layouts that oneDNN chooses, on numbers that a wrong stride would show.
 */
#include <math.h>

#include "base/memory.h"
#include "graph/onednn.h"
#include "tests/testing.h"

#ifdef EX_NO_ONEDNN
int main(void) { return 77; } /* nothing to test in a build without oneDNN */
#else

#define N(array) (int32_t)(sizeof(array) / sizeof *(array))

static struct ex_error err;

static float *numbers(int64_t n, uint64_t seed) {
  float *x = ex__alloc((size_t)n, sizeof *x);
  assert_non_null(x);
  uint64_t s = seed * 2654435761U + 1;
  for (int64_t i = 0; i < n; i++) {
    s = s * 6364136223846793005U + 1442695040888963407U;
    x[i] = (float)((double)(s >> 40) / (1 << 24) - 0.5);
  }
  return x;
}

#define assert_close(a, b, n) close_at(a, b, n, __LINE__)
static void close_at(const float *a, const float *b, int64_t n, int line) {
  for (int64_t i = 0; i < n; i++)
    if (!(fabsf(a[i] - b[i]) <= 1e-4F * (1 + fabsf(b[i]))))
      fail_msg("line %d, element %lld: %g, wanted %g", line, (long long)i, (double)a[i],
               (double)b[i]);
}

static const ex_dnn_layout *plain(ex_dnn *dnn, int32_t rank, const int64_t *dim) {
  const ex_dnn_layout *layout;
  assert_ok(ex__dnn_layout_new(dnn, rank, dim, EX_DNN_PLAIN, &layout, &err), &err);
  return layout;
}

/* One argument of an operation, given and wanted in the plain layout. */
struct bound {
  enum ex_dnn_arg arg;
  int32_t rank;
  const int64_t *dim;
  float *plain;
  bool output;
  void *own;
};

/* Runs an operation on plain arrays, with the changes of layout it needs. */
static void run(ex_dnn *dnn, const ex_dnn_op *op, struct bound *bound, int32_t n) {
  ex_dnn_call *call;
  assert_int_equal(ex__dnn_call_new(op, &call), EX_OK);
  for (int32_t i = 0; i < n; i++) {
    const ex_dnn_layout *want = ex__dnn_op_layout(op, bound[i].arg);
    assert_non_null(want);
    bound[i].own = ex__calloc(ex__dnn_layout_bytes(want), 1);
    assert_ok(ex__dnn_reorder_now(dnn, plain(dnn, bound[i].rank, bound[i].dim), bound[i].plain,
                                  want, bound[i].own, &err),
              &err);
    ex__dnn_call_set(call, bound[i].arg, bound[i].own);
  }
  void *scratch = ex__alloc(ex__dnn_op_scratch(op) + 1, 1);
  ex__dnn_call_set(call, EX_DNN_SCRATCHPAD, scratch);
  int32_t before = ex__dnn_threads(1);
  assert_true(ex__dnn_call_run(call));
  assert_int_equal(ex__dnn_threads(before), 1);
  for (int32_t i = 0; i < n; i++) {
    if (bound[i].output)
      assert_ok(ex__dnn_reorder_now(dnn, ex__dnn_op_layout(op, bound[i].arg), bound[i].own,
                                    plain(dnn, bound[i].rank, bound[i].dim), bound[i].plain, &err),
                &err);
    ex__free(bound[i].own);
  }
  ex__free(scratch);
  ex__dnn_call_free(call);
}

/* ---- convolution -------------------------------------------------------- */

enum { CONV_FORWARD, CONV_DATA, CONV_WEIGHTS };

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

static void check_conv(struct ex_dnn_conv c, bool nhwc) {
  ex_dnn *dnn;
  assert_ok(ex__dnn_new(&dnn, &err), &err);
  c.out_h = (c.in_h + 2 * c.pad_h - (c.kernel_h - 1) * c.dilation - 1) / c.stride + 1;
  c.out_w = (c.in_w + 2 * c.pad_w - (c.kernel_w - 1) * c.dilation - 1) / c.stride + 1;
  c.threads = 1;
  int64_t xd[] = {c.batch, c.in_channels, c.in_h, c.in_w};
  int64_t yd[] = {c.batch, c.out_channels, c.out_h, c.out_w};
  int64_t wd[] = {c.out_channels, c.in_channels, c.kernel_h, c.kernel_w};
  int64_t gd[] = {c.groups, c.out_channels / c.groups, c.in_channels / c.groups, c.kernel_h,
                  c.kernel_w};
  int32_t w_rank = c.groups > 1 ? 5 : 4;
  int64_t *w_dim = c.groups > 1 ? gd : wd;
  int64_t nx = xd[0] * xd[1] * xd[2] * xd[3], ny = yd[0] * yd[1] * yd[2] * yd[3];
  int64_t nw = wd[0] * wd[1] / c.groups * wd[2] * wd[3];
  if (nhwc) {
    assert_ok(ex__dnn_layout_new(dnn, 4, xd, EX_DNN_NHWC, &c.src, &err), &err);
    assert_ok(ex__dnn_layout_new(dnn, 4, yd, EX_DNN_NHWC, &c.dst, &err), &err);
  }
  for (int what = CONV_FORWARD; what <= CONV_WEIGHTS; what++) {
    static const enum ex_dnn_pass pass[] = {EX_DNN_FORWARD, EX_DNN_BACKWARD_DATA,
                                            EX_DNN_BACKWARD_WEIGHTS};
    c.pass = pass[what];
    c.bias = what != CONV_DATA;
    const ex_dnn_op *op;
    assert_ok(ex__dnn_conv(dnn, &c, &op, &err), &err);
    assert_false(ex__dnn_op_is_reference(op));
    float *x = numbers(nx, 1), *w = numbers(nw, 2), *b = numbers(c.out_channels, 3),
          *y = numbers(ny, 4);
    float *x2 = numbers(nx, 1), *w2 = numbers(nw, 2), *b2 = numbers(c.out_channels, 3),
          *y2 = numbers(ny, 4);
    if (what == CONV_DATA) memset(x2, 0, (size_t)nx * 4);
    if (what == CONV_WEIGHTS) memset(w2, 0, (size_t)nw * 4), memset(b2, 0, (size_t)yd[1] * 4);
    slow_conv(&c, what, x2, w2, b2, y2);
    bool d = what == CONV_DATA, g = what == CONV_WEIGHTS, f = what == CONV_FORWARD;
    struct bound bound[] = {
        {d ? EX_DNN_DIFF_SRC : EX_DNN_SRC, 4, xd, x, d, NULL},
        {g ? EX_DNN_DIFF_WEIGHTS : EX_DNN_WEIGHTS, w_rank, w_dim, w, g, NULL},
        {f ? EX_DNN_DST : EX_DNN_DIFF_DST, 4, yd, y, f, NULL},
        {g ? EX_DNN_DIFF_BIAS : EX_DNN_BIAS, 1, yd + 1, b, g, NULL},
    };
    run(dnn, op, bound, c.bias ? 4 : 3);
    assert_close(x, x2, nx);
    assert_close(w, w2, nw);
    assert_close(b, b2, c.out_channels);
    assert_close(y, y2, ny);
    float *all[] = {x, w, b, y, x2, w2, b2, y2};
    for (int32_t i = 0; i < N(all); i++) ex__free(all[i]);
  }
  ex__dnn_free(dnn);
}

static void convolutions(void **state) {
  (void)state;
  for (int nhwc = 0; nhwc < 2; nhwc++) {
    check_conv((struct ex_dnn_conv){.batch = 2,
                                    .in_channels = 16,
                                    .in_h = 7,
                                    .in_w = 9,
                                    .out_channels = 32,
                                    .kernel_h = 3,
                                    .kernel_w = 3,
                                    .stride = 1,
                                    .pad_h = 1,
                                    .pad_w = 1,
                                    .dilation = 1,
                                    .groups = 1},
               nhwc);
    check_conv((struct ex_dnn_conv){.batch = 2,
                                    .in_channels = 24,
                                    .in_h = 8,
                                    .in_w = 8,
                                    .out_channels = 20,
                                    .kernel_h = 3,
                                    .kernel_w = 5,
                                    .stride = 2,
                                    .pad_h = 1,
                                    .pad_w = 2,
                                    .dilation = 1,
                                    .groups = 1},
               nhwc);
    check_conv((struct ex_dnn_conv){.batch = 1,
                                    .in_channels = 32,
                                    .in_h = 9,
                                    .in_w = 9,
                                    .out_channels = 32,
                                    .kernel_h = 3,
                                    .kernel_w = 3,
                                    .stride = 1,
                                    .pad_h = 2,
                                    .pad_w = 2,
                                    .dilation = 2,
                                    .groups = 1},
               nhwc);
  }
  check_conv((struct ex_dnn_conv){.batch = 2,
                                  .in_channels = 32,
                                  .in_h = 6,
                                  .in_w = 6,
                                  .out_channels = 64,
                                  .kernel_h = 3,
                                  .kernel_w = 3,
                                  .stride = 1,
                                  .pad_h = 1,
                                  .pad_w = 1,
                                  .dilation = 1,
                                  .groups = 2},
             false);
  check_conv((struct ex_dnn_conv){.batch = 2,
                                  .in_channels = 3,
                                  .in_h = 8,
                                  .in_w = 8,
                                  .out_channels = 16,
                                  .kernel_h = 3,
                                  .kernel_w = 3,
                                  .stride = 1,
                                  .pad_h = 1,
                                  .pad_w = 1,
                                  .dilation = 1,
                                  .groups = 1},
             false);
}

/* Fused: result + what was there, then max(·, 0). */
static void fused_sum_and_relu(void **state) {
  (void)state;
  ex_dnn *dnn;
  assert_ok(ex__dnn_new(&dnn, &err), &err);
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
  ex__dnn_free(dnn);
}

/* A slice of channels as destination is a case of which oneDNN has only the
 * reference: it must be refused, not run two orders of magnitude slower. */
static void references_are_refused(void **state) {
  (void)state;
  ex_dnn *dnn;
  assert_ok(ex__dnn_new(&dnn, &err), &err);
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
  ex__dnn_free(dnn);
  ex__dnn_free(NULL);
  ex__dnn_call_free(NULL);
}

/* ---- matrices ----------------------------------------------------------- */

static void linear_and_its_gradients(void **state) {
  (void)state;
  ex_dnn *dnn;
  assert_ok(ex__dnn_new(&dnn, &err), &err);
  enum { ROWS = 3, IN = 37, OUT = 11 };
  int64_t xd[] = {ROWS, IN}, wd[] = {OUT, IN}, yd[] = {ROWS, OUT};
  for (int what = CONV_FORWARD; what <= CONV_WEIGHTS; what++) {
    static const enum ex_dnn_pass pass[] = {EX_DNN_FORWARD, EX_DNN_BACKWARD_DATA,
                                            EX_DNN_BACKWARD_WEIGHTS};
    bool d = what == CONV_DATA, g = what == CONV_WEIGHTS, f = what == CONV_FORWARD;
    float *x = numbers(ROWS * IN, 1), *w = numbers(OUT * IN, 2), *b = numbers(OUT, 3),
          *y = numbers(ROWS * OUT, 4), *x2 = numbers(ROWS * IN, 1), *w2 = numbers(OUT * IN, 2),
          *b2 = numbers(OUT, 3), *y2 = numbers(ROWS * OUT, 4);
    struct ex_dnn_conv as_conv = {.batch = ROWS,
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
    if (d) memset(x2, 0, sizeof(float) * ROWS * IN);
    if (g) memset(w2, 0, sizeof(float) * OUT * IN), memset(b2, 0, sizeof(float) * OUT);
    slow_conv(&as_conv, what, x2, w2, b2, y2);
    struct ex_dnn_linear l = {
        .pass = pass[what], .threads = 1, .rows = ROWS, .in = IN, .out = OUT, .bias = !d};
    const ex_dnn_op *op;
    assert_ok(ex__dnn_linear(dnn, &l, &op, &err), &err);
    struct bound bound[] = {{d ? EX_DNN_DIFF_SRC : EX_DNN_SRC, 2, xd, x, d, NULL},
                            {g ? EX_DNN_DIFF_WEIGHTS : EX_DNN_WEIGHTS, 2, wd, w, g, NULL},
                            {f ? EX_DNN_DST : EX_DNN_DIFF_DST, 2, yd, y, f, NULL},
                            {g ? EX_DNN_DIFF_BIAS : EX_DNN_BIAS, 1, yd + 1, b, g, NULL}};
    run(dnn, op, bound, d ? 3 : 4);
    assert_close(x, x2, ROWS * IN);
    assert_close(w, w2, OUT * IN);
    assert_close(b, b2, OUT);
    assert_close(y, y2, ROWS * OUT);
    float *all[] = {x, w, b, y, x2, w2, b2, y2};
    for (int32_t i = 0; i < N(all); i++) ex__free(all[i]);
  }
  ex__dnn_free(dnn);
}

/* Rows that lie apart, on both sides: what reads and writes slices. */
static void matmul_with_leading_dimensions(void **state) {
  (void)state;
  ex_dnn *dnn;
  assert_ok(ex__dnn_new(&dnn, &err), &err);
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
  ex__dnn_free(dnn);
}

/* ---- the rest ------------------------------------------------------------ */

static void pooling_and_its_gradient(void **state) {
  (void)state;
  ex_dnn *dnn;
  assert_ok(ex__dnn_new(&dnn, &err), &err);
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
  ex__dnn_free(dnn);
}

static void functions_and_their_gradients(void **state) {
  (void)state;
  ex_dnn *dnn;
  assert_ok(ex__dnn_new(&dnn, &err), &err);
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
  ex__dnn_free(dnn);
}

static void batch_norm_and_its_gradient(void **state) {
  (void)state;
  ex_dnn *dnn;
  assert_ok(ex__dnn_new(&dnn, &err), &err);
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
  ex__dnn_free(dnn);
}

static void binaries_and_adding_reorders(void **state) {
  (void)state;
  ex_dnn *dnn;
  assert_ok(ex__dnn_new(&dnn, &err), &err);
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
  ex__dnn_free(dnn);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(convolutions),
      cmocka_unit_test(fused_sum_and_relu),
      cmocka_unit_test(references_are_refused),
      cmocka_unit_test(linear_and_its_gradients),
      cmocka_unit_test(matmul_with_leading_dimensions),
      cmocka_unit_test(pooling_and_its_gradient),
      cmocka_unit_test(functions_and_their_gradients),
      cmocka_unit_test(batch_norm_and_its_gradient),
      cmocka_unit_test(binaries_and_adding_reorders),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
