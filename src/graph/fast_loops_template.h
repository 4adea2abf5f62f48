/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_loops_template: the loops of fast_loops.h for one instruction
 * set. Included by fast_loops.c once per set (LOOPS, LOOPS_NAME, LOOPS_TARGET),
 * hence no include guard. Vectors are the compilers' own extension: 16 floats
 * are one register with AVX-512 and are split by the compiler elsewhere.
 */
#define NORM(name) LOOPS(name##_by16)
#define LANES 16
#include "graph/fast_norm_template.h"
#undef NORM
#undef LANES
#define NORM(name) LOOPS(name##_by4)
#define LANES 4
#include "graph/fast_norm_template.h"
#undef NORM
#undef LANES
#define NORM(name) LOOPS(name##_by1)
#define LANES 1
#include "graph/fast_norm_template.h"
#undef NORM
#undef LANES

/* Blocks of rows: 256 at most, so that a float sum stays short, and fewer
 * where rows are wide, so that a block stays in the nearest cache. */
#define NORM_LOOP(name)                                                            \
  LOOPS_TARGET static void LOOPS(name)(const struct fast_norm *n) {                \
    int32_t by16 = n->width / 16 * 16, by4 = n->width / 4 * 4;                     \
    int64_t block = n->width <= 32 ? 256 : n->width <= 512 ? 8192 / n->width : 16; \
    for (int64_t row = 0; row < n->rows; row += block) {                           \
      int64_t end = row + block < n->rows ? row + block : n->rows;                 \
      LOOPS(name##_by16)(n, 0, by16, row, end);                                    \
      LOOPS(name##_by4)(n, by16, by4, row, end);                                   \
      LOOPS(name##_by1)(n, by4, n->width, row, end);                               \
    }                                                                              \
  }
NORM_LOOP(norm_sums)
NORM_LOOP(norm_apply)
NORM_LOOP(norm_grad_sums)
NORM_LOOP(norm_grad)
#undef NORM_LOOP

LOOPS_TARGET static void LOOPS(relu)(int64_t n, const float *x, float *y) {
  for (int64_t i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

LOOPS_TARGET static void LOOPS(relu_grad)(int64_t n, const float *y, const float *dy, float *dx,
                                          bool add) {
  if (add)
    for (int64_t i = 0; i < n; i++) dx[i] += y[i] > 0 ? dy[i] : 0;
  else
    for (int64_t i = 0; i < n; i++) dx[i] = y[i] > 0 ? dy[i] : 0;
}

LOOPS_TARGET static void LOOPS(add)(int64_t n, const float *a, const float *b, float *y,
                                    bool relu) {
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

typedef float LOOPS(vec) __attribute__((vector_size(64), aligned(4), may_alias));
#define LOAD(p) (*(const LOOPS(vec) *)(p))

/* `px` pixels by `ob` blocks of 16 output channels stay in registers; px and
 * ob are constants wherever this is inlined. */
LOOPS_TARGET static inline __attribute__((always_inline)) void LOOPS(conv_tile)(
    const struct fast_conv *c, int32_t first, int32_t block, const int px, const int ob) {
  LOOPS(vec) sum[14][2];
  UNROLL for (int p = 0; p < px; p++) UNROLL for (int b = 0; b < ob; b++) sum[p][b] =
      (LOOPS(vec)){0};
  if (c->bias != NULL)
    UNROLL for (int p = 0; p < px; p++) UNROLL for (int b = 0; b < ob; b++) sum[p][b] =
        LOAD(c->bias + 16 * (block + b));
  const float *weight = c->weight + 16 * block;
  for (int32_t s = 0; s < c->n_segments; s++) {
    const float *in = c->in + first * c->in_step + c->offset[s];
    for (int32_t k = 0; k < c->length[s]; k++, in++, weight += 16 * c->blocks) {
      LOOPS(vec) w[2];
      UNROLL for (int b = 0; b < ob; b++) w[b] = LOAD(weight + 16 * b);
      UNROLL for (int p = 0; p < px; p++) {
        float x = in[p * c->in_step];
        UNROLL for (int b = 0; b < ob; b++) sum[p][b] += x * w[b];
      }
    }
  }
  UNROLL for (int p = 0; p < px; p++) {
    float *out = c->out + (first + p) * c->out_step + 16 * block;
    UNROLL for (int b = 0; b < ob; b++, out += 16) {
      int32_t n = c->channels - 16 * (block + b);
      if (n >= 16) {
        if (c->add) sum[p][b] += LOAD(out);
        *(LOOPS(vec) *)out = sum[p][b];
      } else {
        for (int32_t i = 0; i < n; i++) out[i] = (c->add ? out[i] : 0) + sum[p][b][i];
      }
    }
  }
}

#define CONV_ROW(ob)                                                                       \
  LOOPS_TARGET static void LOOPS(conv_row##ob)(const struct fast_conv *c, int32_t block) { \
    int32_t p = 0;                                                                         \
    for (; p + 14 <= c->pixels; p += 14) LOOPS(conv_tile)(c, p, block, 14, ob);            \
    for (; p + 7 <= c->pixels; p += 7) LOOPS(conv_tile)(c, p, block, 7, ob);               \
    for (; p + 4 <= c->pixels; p += 4) LOOPS(conv_tile)(c, p, block, 4, ob);               \
    for (; p < c->pixels; p++) LOOPS(conv_tile)(c, p, block, 1, ob);                       \
  }
CONV_ROW(1)
CONV_ROW(2)
#undef CONV_ROW

LOOPS_TARGET static void LOOPS(conv)(const struct fast_conv *c) {
  int32_t block = 0;
  for (; block + 2 <= c->blocks; block += 2) LOOPS(conv_row2)(c, block);
  for (; block < c->blocks; block++) LOOPS(conv_row1)(c, block);
}

/* `taps` consecutive elements of a segment by `ob` blocks stay in registers. */
LOOPS_TARGET static inline __attribute__((always_inline)) void LOOPS(weight_tile)(
    const struct fast_conv_weight *c, int32_t k, int32_t block, const int taps, const int ob) {
  LOOPS(vec) sum[24][2];
  UNROLL for (int t = 0; t < taps; t++) UNROLL for (int b = 0; b < ob; b++) sum[t][b] =
      (LOOPS(vec)){0};
  for (int32_t r = 0; r < c->rows; r++) {
    const float *in = c->in + r * c->in_row + k, *dout = c->dout + r * c->dout_row + 16 * block;
    for (int32_t p = 0; p < c->pixels; p++, in += c->in_step, dout += c->dout_step) {
      LOOPS(vec) d[2];
      UNROLL for (int b = 0; b < ob; b++) d[b] = LOAD(dout + 16 * b);
      UNROLL for (int t = 0; t < taps; t++) {
        float x = in[t];
        UNROLL for (int b = 0; b < ob; b++) sum[t][b] += x * d[b];
      }
    }
  }
  UNROLL for (int t = 0; t < taps; t++) UNROLL for (int b = 0; b < ob; b++) {
    LOOPS(vec) *to = (LOOPS(vec) *)(c->dweight + ((k + t) * c->blocks + block + b) * 16);
    *to += sum[t][b];
  }
}

LOOPS_TARGET static void LOOPS(conv_weight)(const struct fast_conv_weight *c) {
  int32_t block = 0;
  for (; block + 2 <= c->blocks; block += 2) {
    int32_t k = 0;
    for (; k + 12 <= c->length; k += 12) LOOPS(weight_tile)(c, k, block, 12, 2);
    for (; k + 4 <= c->length; k += 4) LOOPS(weight_tile)(c, k, block, 4, 2);
    for (; k < c->length; k++) LOOPS(weight_tile)(c, k, block, 1, 2);
  }
  for (; block < c->blocks; block++) {
    int32_t k = 0;
    for (; k + 24 <= c->length; k += 24) LOOPS(weight_tile)(c, k, block, 24, 1);
    for (; k + 8 <= c->length; k += 8) LOOPS(weight_tile)(c, k, block, 8, 1);
    for (; k + 3 <= c->length; k += 3) LOOPS(weight_tile)(c, k, block, 3, 1);
    for (; k < c->length; k++) LOOPS(weight_tile)(c, k, block, 1, 1);
  }
}
#undef LOAD

static const struct fast_loops LOOPS(loops) = {
    .name = LOOPS_NAME,
    .norm_sums = LOOPS(norm_sums),
    .norm_apply = LOOPS(norm_apply),
    .norm_grad_sums = LOOPS(norm_grad_sums),
    .norm_grad = LOOPS(norm_grad),
    .relu = LOOPS(relu),
    .relu_grad = LOOPS(relu_grad),
    .add = LOOPS(add),
    .conv = LOOPS(conv),
    .conv_weight = LOOPS(conv_weight),
};
