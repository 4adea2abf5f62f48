/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_kernels_avx512: 16 lanes, 32 registers.
 *
 * Lanes that count are pressed together in a register and stored under a mask;
 * the compressing store to memory is microcode on some processors.
 */
#if !defined(__x86_64__)
typedef int ex_nothing_here; /* ISO C wants a declaration */
#else

#include <immintrin.h>
#include <stdbool.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")))
#define LANES 16
#define VECTOR __m512
#define LOAD(p) _mm512_loadu_ps(p)
#define LOAD_SOME(p, n) _mm512_maskz_loadu_ps((__mmask16)((1U << (n)) - 1), p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define SPREAD(x) _mm512_set1_ps(x)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define ADD(a, b) _mm512_add_ps(a, b)
#define RELU(a) _mm512_max_ps(_mm512_setzero_ps(), a) /* the second where one is NaN */
#define KERNELS ex__kernels_avx512
#define NAME "avx512"
/* Blocks of outputs × vectors whose sums, sources and a weight fit in the registers. */
#define NARROW_BLOCKS(X) X(1, 12) X(2, 10) X(3, 7) X(4, 6) X(5, 5) X(6, 4) X(7, 3) X(8, 3)
#define MIDDLE_BLOCKS(X) X(9, 2) X(10, 2) X(11, 2) X(12, 2) X(13, 1) X(14, 1) X(15, 1) X(16, 1)
#define WIDE_BLOCKS(X) X(17, 1) X(18, 1) X(19, 1) X(20, 1) X(21, 1) X(22, 1) X(23, 1) X(24, 1)
#define BLOCKS(X) NARROW_BLOCKS(X) MIDDLE_BLOCKS(X) WIDE_BLOCKS(X)
#define NHWC_BLOCKS(X) X(1, 24) X(2, 12) X(3, 9) X(4, 6)
#define BLOCK_FOR \
  { 24, 12, 8, 6 }

static inline __attribute__((always_inline)) TARGET void finish(const float *lane, unsigned mask,
                                                                float *out, const float *residual,
                                                                bool relu) {
  __mmask16 count = (__mmask16)((1U << __builtin_popcount(mask)) - 1);
  __m512 sum = _mm512_maskz_compress_ps((__mmask16)mask, _mm512_loadu_ps(lane));
  if (residual != NULL) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(count, residual));
  if (relu) sum = RELU(sum);
  _mm512_mask_storeu_ps(out, count, sum);
}
#define FINISH finish

#include "graph/fast_kernels_template.h"

#endif
