/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_loops_avx512: 16 lanes, 32 registers.
 */
#include "graph/fast_loops.h"

#if !EX_FAST_LOOPS_SETS
typedef int ex_nothing_here; /* ISO C wants a declaration */
#else

#include <immintrin.h>

#define LOOPS ex__loops_avx512
#define LOOPS_NAME "avx512"
#define LOOPS_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define LANES 16
#define CONV_PAIR(X) X(14) X(7) X(4) X(3) X(2) X(1)
#define CONV_ONE(X) X(14) X(7) X(4) X(3) X(2) X(1)
#define WEIGHT_THREE(X) X(8) X(4) X(2) X(1)
#define WEIGHT_PAIR(X) X(12) X(8) X(4) X(2) X(1)
#define WEIGHT_ONE(X) X(24) X(12) X(8) X(4) X(2) X(1)
#define CONV_DOTS conv_dots

/* Lane 4·p + o of the result: the sum of the lanes of sum[p][o]. */
LOOPS_TARGET static inline __m512 sum_lanes(__m512 sum[4][4]) {
  __m512 quarter[4]; /* lane 4·q + o: output o over a quarter of its lanes */
  UNROLL for (int p = 0; p < 4; p++) {
    __m512 a = _mm512_add_ps(_mm512_unpacklo_ps(sum[p][0], sum[p][1]),
                             _mm512_unpackhi_ps(sum[p][0], sum[p][1]));
    __m512 b = _mm512_add_ps(_mm512_unpacklo_ps(sum[p][2], sum[p][3]),
                             _mm512_unpackhi_ps(sum[p][2], sum[p][3]));
    __m512d c = _mm512_castps_pd(a), d = _mm512_castps_pd(b);
    quarter[p] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(c, d)),
                               _mm512_castpd_ps(_mm512_unpackhi_pd(c, d)));
  }
  __m512 low = _mm512_add_ps(_mm512_shuffle_f32x4(quarter[0], quarter[1], 0x44),
                             _mm512_shuffle_f32x4(quarter[0], quarter[1], 0xEE));
  __m512 high = _mm512_add_ps(_mm512_shuffle_f32x4(quarter[2], quarter[3], 0x44),
                              _mm512_shuffle_f32x4(quarter[2], quarter[3], 0xEE));
  return _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88),
                       _mm512_shuffle_f32x4(low, high, 0xDD));
}

/* Four pixels by four channels; of the last pixels the loop repeats one. */
LOOPS_TARGET static inline __attribute__((always_inline)) void dots_tile(const struct fast_conv *c,
                                                                         const float *weight,
                                                                         int32_t first,
                                                                         int32_t channel) {
  __m512 sum[4][4];
  const float *in[4];
  int32_t pixels = c->pixels - first < 4 ? c->pixels - first : 4;
  UNROLL for (int p = 0; p < 4; p++) {
    in[p] = c->in + (first + (p < pixels ? p : pixels - 1)) * c->in_step;
    UNROLL for (int o = 0; o < 4; o++) sum[p][o] = _mm512_setzero_ps();
  }
  for (int32_t s = 0; s < c->n_segments; s++)
    for (int32_t k = c->offset[s]; k < c->offset[s] + c->length[s]; k += 16, weight += 64)
      UNROLL for (int o = 0; o < 4; o++) {
        __m512 w = _mm512_loadu_ps(weight + 16 * o);
        UNROLL for (int p = 0; p < 4; p++) sum[p][o] =
            _mm512_fmadd_ps(_mm512_loadu_ps(in[p] + k), w, sum[p][o]);
      }
  __m512 all = sum_lanes(sum);
  __m128 quarters[4] = {_mm512_castps512_ps128(all), _mm512_extractf32x4_ps(all, 1),
                        _mm512_extractf32x4_ps(all, 2), _mm512_extractf32x4_ps(all, 3)};
  int32_t left = c->channels - channel;
  __mmask8 mask = left >= 4 ? 15 : (__mmask8)((1 << left) - 1);
  __m128 start = c->bias != NULL ? _mm_loadu_ps(c->bias + channel) : _mm_setzero_ps();
  for (int32_t p = 0; p < pixels; p++) {
    float *out = c->out + (first + p) * c->out_step + channel;
    __m128 y = _mm_add_ps(start, quarters[p]);
    if (c->add) y = _mm_add_ps(y, _mm_maskz_loadu_ps(mask, out));
    _mm_mask_storeu_ps(out, mask, y);
  }
}

LOOPS_TARGET static void conv_dots(const struct fast_conv *c) {
  int32_t chunks = 0;
  for (int32_t s = 0; s < c->n_segments; s++) chunks += (c->length[s] + 15) / 16;
  for (int32_t channel = 0; channel < c->channels; channel += 4)
    for (int32_t p = 0; p < c->pixels; p += 4)
      dots_tile(c, c->weight + (int64_t)channel * chunks * 16, p, channel);
}

#include "graph/fast_loops_template.h"

#endif
