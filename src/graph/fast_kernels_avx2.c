/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_kernels_avx2: 8 lanes, 16 registers.
 */
#if !defined(__x86_64__)
typedef int ex_nothing_here; /* ISO C wants a declaration */
#else

#include <immintrin.h>
#include <stdbool.h>

#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define VECTOR __m256
#define LOAD(p) _mm256_loadu_ps(p)
#define LOAD_SOME(p, n) \
  _mm256_maskload_ps(   \
      p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)))
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define SPREAD(x) _mm256_set1_ps(x)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define ADD(a, b) _mm256_add_ps(a, b)
#define RELU(a) _mm256_max_ps(_mm256_setzero_ps(), a) /* the second where one is NaN */
#define KERNELS ex__kernels_avx2
#define NAME "avx2"
#define BLOCKS(X) \
  X(1, 6) X(2, 4) X(3, 3) X(4, 2) X(5, 2) X(6, 2) X(7, 1) X(8, 1) X(9, 1) X(10, 1) X(11, 1) X(12, 1)
#define NHWC_BLOCKS(X) X(1, 12) X(2, 6) X(3, 3)
#define BLOCK_FOR \
  { 12, 6, 4, 6 }
#define FINISH finish_by_lane

#include "graph/fast_kernels_template.h"

#endif
