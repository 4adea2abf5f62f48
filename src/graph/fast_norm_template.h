/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_norm_template: batch-norm loops over channels [from, to), whose
 * count is a multiple of WIDTH. Included by fast_loops_template.h with WIDTH
 * of a register, of 4 and of 1, hence no include guard.
 *
 * Channels run in the outer loop and rows in the inner one, so that sums stay
 * in registers; a block of rows is short enough to stay in the nearest cache
 * between one group of channels and the next.
 */
#if WIDTH == 1
typedef float NORM(vec);
#define LOAD(p) (*(p))
#define STORE(p, v) (*(p) = (v))
#define SPLAT0 0.0f
#define PASS(v, z) ((z) > 0 ? (v) : 0.0f) /* v where z > 0: a gradient through a ReLU */
#define CUT(z) ((z) < 0 ? 0.0f : (z))     /* keeps NaN, as it must be seen */
#define LANE(v, i) (v)
#else
typedef float NORM(vec) __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef int32_t NORM(mask) __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
#define LOAD(p) (*(const NORM(vec) *)(p))
#define STORE(p, v) (*(NORM(vec) *)(p) = (v))
#define SPLAT0 ((NORM(vec)){0})
#define PASS(v, z) ((NORM(vec))((NORM(mask))(v) & (NORM(mask))((z) > 0)))
#define CUT(z) ((NORM(vec))((NORM(mask))(z) & ~(NORM(mask))((z) < 0)))
#define LANE(v, i) ((v)[i])
#endif

LOOPS_TARGET static void NORM(norm_sums)(const struct fast_norm *n, int32_t from, int32_t to,
                                         int64_t row, int64_t end) {
  for (int32_t j = from; j < to; j += WIDTH) {
    const float *x = n->x.data + row * n->x.ld + j;
    NORM(vec) pivot = LOAD(n->mean + j), s0 = SPLAT0, s1 = SPLAT0, p0 = SPLAT0, p1 = SPLAT0;
    int64_t r = row;
    for (; r + 2 <= end; r += 2, x += 2 * n->x.ld) {
      NORM(vec) d0 = LOAD(x) - pivot, d1 = LOAD(x + n->x.ld) - pivot;
      s0 += d0;
      p0 += d0 * d0;
      s1 += d1;
      p1 += d1 * d1;
    }
    if (r < end) {
      NORM(vec) d0 = LOAD(x) - pivot;
      s0 += d0;
      p0 += d0 * d0;
    }
    s0 += s1;
    p0 += p1;
    for (int32_t i = 0; i < WIDTH; i++) {
      n->sum[j + i] += LANE(s0, i);
      n->sum_of_products[j + i] += LANE(p0, i);
    }
  }
}

LOOPS_TARGET static void NORM(norm_apply)(const struct fast_norm *n, int32_t from, int32_t to,
                                          int64_t row, int64_t end) {
  for (int32_t j = from; j < to; j += WIDTH) {
    const float *x = n->x.data + row * n->x.ld + j;
    const float *other = n->other.data != NULL ? n->other.data + row * n->other.ld + j : NULL;
    float *y = n->y.data + row * n->y.ld + j;
    NORM(vec) scale = LOAD(n->scale + j), shift = LOAD(n->shift + j);
    if (other != NULL && n->relu) {
      for (int64_t r = row; r < end; r++, x += n->x.ld, y += n->y.ld, other += n->other.ld) {
        NORM(vec) z = LOAD(x) * scale + shift + LOAD(other);
        STORE(y, CUT(z));
      }
    } else if (other != NULL) {
      for (int64_t r = row; r < end; r++, x += n->x.ld, y += n->y.ld, other += n->other.ld)
        STORE(y, LOAD(x) * scale + shift + LOAD(other));
    } else if (n->relu) {
      for (int64_t r = row; r < end; r++, x += n->x.ld, y += n->y.ld) {
        NORM(vec) z = LOAD(x) * scale + shift;
        STORE(y, CUT(z));
      }
    } else {
      for (int64_t r = row; r < end; r++, x += n->x.ld, y += n->y.ld)
        STORE(y, LOAD(x) * scale + shift);
    }
  }
}

LOOPS_TARGET static void NORM(norm_grad_sums)(const struct fast_norm *n, int32_t from, int32_t to,
                                              int64_t row, int64_t end) {
  for (int32_t j = from; j < to; j += WIDTH) {
    const float *x = n->x.data + row * n->x.ld + j, *dy = n->dy.data + row * n->dy.ld + j;
    NORM(vec) mean = LOAD(n->mean + j), s = SPLAT0, p = SPLAT0;
    if (!n->relu) {
      for (int64_t r = row; r < end; r++, x += n->x.ld, dy += n->dy.ld) {
        NORM(vec) g = LOAD(dy);
        s += g;
        p += g * (LOAD(x) - mean);
      }
    } else if (n->y.data != NULL) {
      const float *y = n->y.data + row * n->y.ld + j;
      for (int64_t r = row; r < end; r++, x += n->x.ld, dy += n->dy.ld, y += n->y.ld) {
        NORM(vec) g = PASS(LOAD(dy), LOAD(y));
        s += g;
        p += g * (LOAD(x) - mean);
      }
    } else {
      NORM(vec) scale = LOAD(n->scale + j), shift = LOAD(n->shift + j);
      for (int64_t r = row; r < end; r++, x += n->x.ld, dy += n->dy.ld) {
        NORM(vec) v = LOAD(x), z = v * scale + shift;
        NORM(vec) g = PASS(LOAD(dy), z);
        s += g;
        p += g * (v - mean);
      }
    }
    for (int32_t i = 0; i < WIDTH; i++) {
      n->sum[j + i] += LANE(s, i);
      n->sum_of_products[j + i] += LANE(p, i);
    }
  }
}

/* One row at a time with every option: the options do not change inside the
 * loops, so the compiler takes their tests out. */
LOOPS_TARGET static void NORM(norm_grad)(const struct fast_norm *n, int32_t from, int32_t to,
                                         int64_t row, int64_t end) {
  const bool from_y = n->relu && n->y.data != NULL, from_x = n->relu && n->y.data == NULL;
  for (int32_t j = from; j < to; j += WIDTH) {
    NORM(vec) a = LOAD(n->a + j), b = LOAD(n->b + j), c = LOAD(n->c + j);
    NORM(vec) scale = LOAD(n->scale + j), shift = LOAD(n->shift + j);
    for (int64_t r = row; r < end; r++) {
      NORM(vec) g = LOAD(n->dy.data + r * n->dy.ld + j), v = LOAD(n->x.data + r * n->x.ld + j);
      if (from_y) {
        NORM(vec) y = LOAD(n->y.data + r * n->y.ld + j);
        g = PASS(g, y);
      }
      if (from_x) {
        NORM(vec) z = v * scale + shift;
        g = PASS(g, z);
      }
      if (n->dother.data != NULL) {
        float *d = n->dother.data + r * n->dother.ld + j;
        NORM(vec) old = SPLAT0;
        if (n->add_dother) old = LOAD(d);
        STORE(d, old + g);
      }
      if (n->dx.data != NULL) {
        float *d = n->dx.data + r * n->dx.ld + j;
        NORM(vec) dx = a * g + b * v + c;
        if (n->add_dx) dx += LOAD(d);
        STORE(d, dx);
      }
    }
  }
}

#undef LOAD
#undef STORE
#undef SPLAT0
#undef PASS
#undef CUT
#undef LANE
