/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_loops_template: the loops of fast_loops.h for one instruction
 * set. Included once by each of fast_loops_{base,avx2,avx512}.c, hence no
 * include guard, after
 *
 *   LOOPS, LOOPS_NAME, LOOPS_TARGET  the table's symbol, its name, its attribute
 *   LANES                            floats in a register: 4, 8 or 16
 *   CONV_PAIR(X), CONV_ONE(X)        pixels of a tile with two blocks and with one
 *   WEIGHT_THREE(X), …               taps of a tile of the weight's gradient, by blocks
 *   CONV_DOTS, if any                its conv_dots
 *
 * Tiles are falling sizes, the last one 1, whose sums fit in the registers;
 * a set without _PAIR or _THREE has too few of them for so many blocks of 16.
 * Vectors are the compilers' own extension.
 */
#include <stddef.h>

#include "graph/fast_loops.h"

#define NORM(name) name##_wide
#define WIDTH LANES
#include "graph/fast_norm_template.h"
#undef NORM
#undef WIDTH
#if LANES > 4
#define NORM(name) name##_by4
#define WIDTH 4
#include "graph/fast_norm_template.h"
#undef NORM
#undef WIDTH
#endif
#define NORM(name) name##_by1
#define WIDTH 1
#include "graph/fast_norm_template.h"
#undef NORM
#undef WIDTH

#if LANES > 4
#define NORM_BY4(name, ...) name##_by4(__VA_ARGS__)
#else
#define NORM_BY4(name, ...) name##_wide(__VA_ARGS__)
#endif

/* Blocks of rows: 256 at most, so that a float sum stays short, and fewer
 * where rows are wide, so that a block stays in the nearest cache. */
#define NORM_LOOP(name)                                                            \
  LOOPS_TARGET static void name(const struct fast_norm *n) {                       \
    int32_t wide = n->width / LANES * LANES, by4 = n->width / 4 * 4;               \
    int64_t block = n->width <= 32 ? 256 : n->width <= 512 ? 8192 / n->width : 16; \
    for (int64_t row = 0; row < n->rows; row += block) {                           \
      int64_t end = row + block < n->rows ? row + block : n->rows;                 \
      name##_wide(n, 0, wide, row, end);                                           \
      NORM_BY4(name, n, wide, by4, row, end);                                      \
      name##_by1(n, by4, n->width, row, end);                                      \
    }                                                                              \
  }
NORM_LOOP(norm_sums)
NORM_LOOP(norm_apply)
NORM_LOOP(norm_grad_sums)
NORM_LOOP(norm_grad)
#undef NORM_LOOP

/* ---- pooling: the widest register that the channels fill ---------------- */

#define POOL(name) name##_by4
#define WIDTH 4
#include "graph/fast_pool_template.h"
#undef POOL
#undef WIDTH
#if LANES >= 8
#define POOL(name) name##_by8
#define WIDTH 8
#include "graph/fast_pool_template.h"
#undef POOL
#undef WIDTH
#endif
#if LANES >= 16
#define POOL(name) name##_by16
#define WIDTH 16
#include "graph/fast_pool_template.h"
#undef POOL
#undef WIDTH
#endif

LOOPS_TARGET static void max_pool(const struct fast_pool *pool) {
#if LANES >= 16
  if (pool->channels >= 16) {
    max_windows_by16(pool);
    return;
  }
#endif
#if LANES >= 8
  if (pool->channels >= 8) {
    max_windows_by8(pool);
    return;
  }
#endif
  max_windows_by4(pool);
}

LOOPS_TARGET static void max_pool_grad(const struct fast_pool *pool) {
#if LANES >= 16
  if (pool->channels >= 16) {
    max_grad_windows_by16(pool);
    return;
  }
#endif
#if LANES >= 8
  if (pool->channels >= 8) {
    max_grad_windows_by8(pool);
    return;
  }
#endif
  max_grad_windows_by4(pool);
}

/* ---- element by element ------------------------------------------------- */

LOOPS_TARGET static void relu(int64_t n, const float *x, float *y) {
  for (int64_t i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

LOOPS_TARGET static void relu_grad(int64_t n, const float *y, const float *dy, float *dx,
                                   bool add) {
  if (add)
    for (int64_t i = 0; i < n; i++) dx[i] += y[i] > 0 ? dy[i] : 0;
  else
    for (int64_t i = 0; i < n; i++) dx[i] = y[i] > 0 ? dy[i] : 0;
}

LOOPS_TARGET static void add(int64_t n, const float *a, const float *b, float *y, bool relu) {
  if (!relu) {
    for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    float z = a[i] + b[i];
    y[i] = z < 0 ? 0 : z;
  }
}

/* ---- convolutions ------------------------------------------------------- */

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define LOAD(p) (*(const vec *)(p))
#define PARTS (16 / LANES) /* registers of a block of 16 channels */

/* `px` pixels by `n` registers of output channels stay in registers; px and n
 * are constants wherever this is inlined. */
LOOPS_TARGET static inline __attribute__((always_inline)) void conv_tile(
    const struct fast_conv *c, int32_t first, int32_t block, const int px, const int n) {
  vec sum[28][8];
  UNROLL for (int p = 0; p < px; p++) UNROLL for (int v = 0; v < n; v++) sum[p][v] = (vec){0};
  if (c->bias != NULL)
    UNROLL for (int p = 0; p < px; p++) UNROLL for (int v = 0; v < n; v++) sum[p][v] =
        LOAD(c->bias + 16 * block + LANES * v);
  const float *weight = c->weight + 16 * block;
  for (int32_t s = 0; s < c->n_segments; s++) {
    const float *in = c->in + first * c->in_step + c->offset[s];
    for (int32_t k = 0; k < c->length[s]; k++, in++, weight += 16 * c->blocks) {
      vec w[8];
      UNROLL for (int v = 0; v < n; v++) w[v] = LOAD(weight + LANES * v);
      UNROLL for (int p = 0; p < px; p++) {
        float x = in[p * c->in_step];
        UNROLL for (int v = 0; v < n; v++) sum[p][v] += x * w[v];
      }
    }
  }
  UNROLL for (int p = 0; p < px; p++) {
    float *out = c->out + (first + p) * c->out_step + 16 * block;
    int32_t left = c->channels - 16 * block;
    UNROLL for (int v = 0; v < n; v++, out += LANES, left -= LANES) {
      if (left >= LANES) {
        if (c->add) sum[p][v] += LOAD(out);
        *(vec *)out = sum[p][v];
      } else {
        for (int32_t i = 0; i < left; i++) out[i] = (c->add ? out[i] : 0) + sum[p][v][i];
      }
    }
  }
}

#define CONV_STEP(px, n) \
  for (; p + px <= c->pixels; p += px) conv_tile(c, p, block, px, n);
#ifdef CONV_PAIR
#define X(px) CONV_STEP(px, 2 * PARTS)
LOOPS_TARGET static void conv_pair(const struct fast_conv *c, int32_t block) {
  int32_t p = 0;
  CONV_PAIR(X)
}
#undef X
#endif
#define X(px) CONV_STEP(px, PARTS)
LOOPS_TARGET static void conv_one(const struct fast_conv *c, int32_t block) {
  int32_t p = 0;
  CONV_ONE(X)
}
#undef X

LOOPS_TARGET static void conv(const struct fast_conv *c) {
  int32_t block = 0;
#ifdef CONV_PAIR
  for (; block + 2 <= c->blocks; block += 2) conv_pair(c, block);
#endif
  for (; block < c->blocks; block++) conv_one(c, block);
}

/* `taps` consecutive elements of a segment by `n` registers stay in registers. */
LOOPS_TARGET static inline __attribute__((always_inline)) void weight_tile(
    const struct fast_conv_weight *c, int32_t k, int32_t block, const int taps, const int n) {
  vec sum[24][8];
  UNROLL for (int t = 0; t < taps; t++) UNROLL for (int v = 0; v < n; v++) sum[t][v] = (vec){0};
  for (int32_t r = 0; r < c->rows; r++) {
    const float *in = c->in + r * c->in_row + k, *dout = c->dout + r * c->dout_row + 16 * block;
    for (int32_t p = 0; p < c->pixels; p++, in += c->in_step, dout += c->dout_step) {
      vec d[8];
      UNROLL for (int v = 0; v < n; v++) d[v] = LOAD(dout + LANES * v);
      UNROLL for (int t = 0; t < taps; t++) {
        float x = in[t];
        UNROLL for (int v = 0; v < n; v++) sum[t][v] += x * d[v];
      }
    }
  }
  UNROLL for (int t = 0; t < taps; t++) UNROLL for (int v = 0; v < n; v++) *
      (vec *)(c->dweight + ((k + t) * c->blocks + block) * 16 + LANES * v) += sum[t][v];
}

#define WEIGHT_STEP(taps, n) \
  for (; k + taps <= c->length; k += taps) weight_tile(c, k, block, taps, n);
#ifdef WEIGHT_THREE
#define X(taps) WEIGHT_STEP(taps, 3 * PARTS)
LOOPS_TARGET static void weight_three(const struct fast_conv_weight *c, int32_t block) {
  int32_t k = 0;
  WEIGHT_THREE(X)
}
#undef X
#endif
#ifdef WEIGHT_PAIR
#define X(taps) WEIGHT_STEP(taps, 2 * PARTS)
LOOPS_TARGET static void weight_pair(const struct fast_conv_weight *c, int32_t block) {
  int32_t k = 0;
  WEIGHT_PAIR(X)
}
#undef X
#endif
#define X(taps) WEIGHT_STEP(taps, PARTS)
LOOPS_TARGET static void weight_one(const struct fast_conv_weight *c, int32_t block) {
  int32_t k = 0;
  WEIGHT_ONE(X)
}
#undef X

LOOPS_TARGET static void conv_weight(const struct fast_conv_weight *c) {
  int32_t block = 0;
#ifdef WEIGHT_THREE /* not where a pair and a pair are left */
  for (; c->blocks - block >= 3 && c->blocks - block != 4; block += 3) weight_three(c, block);
#endif
#ifdef WEIGHT_PAIR
  for (; block + 2 <= c->blocks; block += 2) weight_pair(c, block);
#endif
  for (; block < c->blocks; block++) weight_one(c, block);
}

const struct fast_loops LOOPS = {
    .name = LOOPS_NAME,
    .norm_sums = norm_sums,
    .norm_apply = norm_apply,
    .norm_grad_sums = norm_grad_sums,
    .norm_grad = norm_grad,
    .relu = relu,
    .relu_grad = relu_grad,
    .add = add,
    .conv = conv,
#ifdef CONV_DOTS
    .conv_dots = CONV_DOTS,
#endif
    .conv_weight = conv_weight,
    .max_pool = max_pool,
    .max_pool_grad = max_pool_grad,
};
