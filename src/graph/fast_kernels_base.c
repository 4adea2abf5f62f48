/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_kernels_base: 4 lanes by the compiler's vectors, for any processor.
 */
#include <string.h>

typedef float vector4 __attribute__((vector_size(16)));

static inline __attribute__((always_inline)) vector4 load(const float *p) {
  vector4 v;
  memcpy(&v, p, sizeof v);
  return v;
}
static inline __attribute__((always_inline)) vector4 load_some(const float *p, int n) {
  vector4 v = {0, 0, 0, 0};
  for (int i = 0; i < n; i++) v[i] = p[i];
  return v;
}
static inline __attribute__((always_inline)) void store(float *p, vector4 v) {
  memcpy(p, &v, sizeof v);
}
static inline __attribute__((always_inline)) vector4 relu_of(vector4 v) {
  for (int i = 0; i < 4; i++) v[i] = v[i] < 0 ? 0 : v[i];
  return v;
}

#define TARGET
#define LANES 4
#define VECTOR vector4
#define LOAD(p) load(p)
#define LOAD_SOME(p, n) load_some(p, n)
#define STORE(p, v) store(p, v)
#define SPREAD(x) ((vector4){(x), (x), (x), (x)})
#define FMA(a, b, c) ((a) * (b) + (c))
#define ADD(a, b) ((a) + (b))
#define RELU(a) relu_of(a)
#define KERNELS ex__kernels_base
#define NAME "base"
#define BLOCKS(X) \
  X(1, 6) X(2, 4) X(3, 3) X(4, 2) X(5, 2) X(6, 2) X(7, 1) X(8, 1) X(9, 1) X(10, 1) X(11, 1) X(12, 1)
#define NHWC_BLOCKS(X) X(1, 12) X(2, 6) X(3, 3)
#define BLOCK_FOR \
  { 12, 6, 4, 6 }
#define FINISH finish_by_lane

#include "graph/fast_kernels_template.h"
