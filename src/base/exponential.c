/* SPDX-License-Identifier: Apache-2.0
 *
 * base/exponential: exp(x) = 2^k · exp(r), with k the nearest integer to
 * x / ln 2 and |r| ≤ ln 2 / 2, where the Taylor polynomial of degree 13 is
 * exact to 4e-18. Adding 1.5 · 2^52 rounds to an integer and leaves k in the
 * low bits, from where it is shifted into the exponent. ln 2 in two parts
 * keeps r exact (Cody and Waite).
 *
 * Vectors are the compilers' own extension, as in graph/multiply.c; compiled
 * twice, and without fused multiply-adds, so that AVX2 gives the bits of SSE2.
 */
#include "base/exponential.h"

#include <string.h>

#define EX_INLINE static inline __attribute__((always_inline))

typedef double reals __attribute__((vector_size(32)));
typedef int64_t integers __attribute__((vector_size(32)));
enum { LANES = 4, DEGREE = 13 };

static const double one_by_factorial[DEGREE + 1] = {
    1,
    1,
    1.0 / 2,
    1.0 / 6,
    1.0 / 24,
    1.0 / 120,
    1.0 / 720,
    1.0 / 5040,
    1.0 / 40320,
    1.0 / 362880,
    1.0 / 3628800,
    1.0 / 39916800,
    1.0 / 479001600,
    1.0 / 6227020800,
};

/* In place. */
EX_INLINE void exponentials_of_lanes(reals *lanes) {
  const double log2_e = 0x1.71547652b82fep0, rounder = 0x1.8p52;
  const double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
  reals x = *lanes, p = {0};
  reals shifted = x * log2_e + rounder, k = shifted - rounder;
  reals r = (x - k * ln2_high) - k * ln2_low;
  for (int i = DEGREE; i >= 0; i--) p = p * r + one_by_factorial[i];
  integers exponent = ((integers)shifted + 1023) << 52;
  integers result = (integers)(p * (reals)exponent) & (integers)(x >= -708.0);
  *lanes = (reals)result;
}

EX_INLINE void exponentials(const ex_real *z, int32_t n, double most, double *out) {
  int32_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    reals x = {z[i], z[i + 1], z[i + 2], z[i + 3]};
    x -= most;
    exponentials_of_lanes(&x);
    memcpy(out + i, &x, sizeof x);
  }
  if (i == n) return;
  reals x = {z[i], i + 1 < n ? z[i + 1] : most, i + 2 < n ? z[i + 2] : most, most};
  x -= most;
  exponentials_of_lanes(&x);
  for (int32_t j = 0; i + j < n; j++) out[i + j] = x[j];
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void exponentials_avx2(const ex_real *z, int32_t n,
                                                              double most, double *out) {
  exponentials(z, n, most, out);
}

void ex__exponentials(const ex_real *z, int32_t n, double most, double *out) {
  if (__builtin_cpu_supports("avx2"))
    exponentials_avx2(z, n, most, out);
  else
    exponentials(z, n, most, out);
}
#else
void ex__exponentials(const ex_real *z, int32_t n, double most, double *out) {
  exponentials(z, n, most, out);
}
#endif
