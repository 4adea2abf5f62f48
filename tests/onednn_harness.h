/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the shim share: numbers, an engine for each test, and an
 * operation run on plain arrays. For test_onednn and test_onednn_products.
 */
#ifndef EX_TESTS_ONEDNN_HARNESS_H
#define EX_TESTS_ONEDNN_HARNESS_H

#include <math.h>

#include "base/memory.h"
#include "graph/onednn.h"
#include "tests/testing.h"

#define N(array) (int32_t)(sizeof(array) / sizeof *(array))

static struct ex_error err;

static inline float *numbers(int64_t n, uint64_t seed) {
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
static inline void close_at(const float *a, const float *b, int64_t n, int line) {
  for (int64_t i = 0; i < n; i++)
    if (!(fabsf(a[i] - b[i]) <= 1e-4F * (1 + fabsf(b[i]))))
      fail_msg("line %d, element %lld: %g, wanted %g", line, (long long)i, (double)a[i],
               (double)b[i]);
}

static inline const ex_dnn_layout *plain(ex_dnn *dnn, int32_t rank, const int64_t *dim) {
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
static inline void run(ex_dnn *dnn, const ex_dnn_op *op, struct bound *bound, int32_t n) {
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

/* Set-up and tear-down of a test: its state is the engine. */
static inline int open_engine(void **state) {
  ex_dnn *dnn;
  assert_ok(ex__dnn_new(&dnn, &err), &err);
  *state = dnn;
  return 0;
}

static inline int close_engine(void **state) {
  ex__dnn_free(*state);
  return 0;
}

#define engine_test(function) cmocka_unit_test_setup_teardown(function, open_engine, close_engine)

#endif
