/* SPDX-License-Identifier: Apache-2.0
 *
 * Made-up traces for tests: deeper exits see a class more clearly, and errors
 * of one sample hang together over the exits, as they do in real networks.
 */
#ifndef EX_TESTS_TRACE_FIXTURE_H
#define EX_TESTS_TRACE_FIXTURE_H

#include "base/memory.h"
#include "base/random.h"
#include "tests/testing.h"
#include "trace/trace.h"

/* Bodies of 100, heads of 10 multiply-adds; nanoseconds are twice that. */
static inline struct ex_cost fixture_cost(int32_t n_points) {
  struct ex_cost cost = {0};
  for (int32_t p = 0; p < n_points; p++) {
    cost.body_macs[p] = 100;
    cost.head_macs[p] = 10;
    cost.body_ns[p] = 200;
    cost.head_ns[p] = 20;
  }
  return cost;
}

static inline ex_trace *fixture_with_gates(int32_t n, int32_t n_points, int32_t n_outputs,
                                           const ex_real *raw, const ex_real *gate,
                                           const int32_t *target) {
  struct ex_cost cost = fixture_cost(n_points);
  struct ex_error err;
  ex_trace *trace;
  assert_ok(ex__trace_from_arrays(n, n_points, n_outputs, raw, gate, target, &cost, &trace, &err),
            &err);
  return trace;
}

static inline ex_trace *fixture_from(int32_t n, int32_t n_points, int32_t n_outputs,
                                     const ex_real *raw, const int32_t *target) {
  return fixture_with_gates(n, n_points, n_outputs, raw, NULL, target);
}

/* first, last: how far the true class stands out at the ends (2 to 6 is
 * realistic); gates [n_points][n] are uniform noise where asked for. */
static inline ex_trace *fixture_trace(uint64_t seed, int32_t n, int32_t n_points, int32_t n_outputs,
                                      double first, double last) {
  struct ex_random random = ex__random_seed(seed, 7);
  ex_real *raw = ex__calloc((size_t)n * (size_t)n_points * (size_t)n_outputs, sizeof *raw);
  ex_real *gate = ex__calloc((size_t)n * (size_t)n_points, sizeof *gate);
  int32_t *target = ex__calloc((size_t)n, sizeof *target);
  double *own = ex__calloc((size_t)n_outputs, sizeof *own);
  assert_true(raw != NULL && gate != NULL && target != NULL && own != NULL);
  if (own == NULL) return NULL; /* clang-tidy does not know that the line above ends the test */
  for (int32_t i = 0; i < n; i++) {
    target[i] = (int32_t)ex__random_below(&random, (uint32_t)n_outputs);
    for (int32_t c = 0; c < n_outputs; c++) own[c] = ex__random_normal(&random);
    for (int32_t p = 0; p < n_points; p++) {
      double clear = first + (last - first) * p / (n_points > 1 ? n_points - 1 : 1);
      gate[(int64_t)p * n + i] = (ex_real)ex__random_uniform(&random);
      for (int32_t c = 0; c < n_outputs; c++)
        raw[((int64_t)p * n + i) * n_outputs + c] =
            (ex_real)(1.5 * (0.8 * own[c] + 0.6 * ex__random_normal(&random) +
                             (c == target[i] ? clear : 0)));
    }
  }
  ex_trace *trace = fixture_with_gates(n, n_points, n_outputs, raw, gate, target);
  ex__free(raw);
  ex__free(gate);
  ex__free(target);
  ex__free(own);
  return trace;
}

#endif
