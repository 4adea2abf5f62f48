/* SPDX-License-Identifier: Apache-2.0
 *
 * Max pooling of every instruction set that this processor has, against plain
 * loops, bit by bit: all counts of channels around the registers' widths,
 * ties, NaN, windows that overlap, gradients that add up.
 */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "graph/fast_loops.h"
#include "tests/testing.h"

#ifdef EX_NO_ONEDNN
int main(void) { return 77; } /* this build has no fast backend */
#else

enum { ROWS = 3, COLUMNS = 9, MAX_CHANNELS = 37, MARGIN = 2, N_WINDOWS = 4 };
enum { LD = MAX_CHANNELS + MARGIN, IMAGE = ROWS * COLUMNS * LD, OUTPUTS = N_WINDOWS * LD };

struct arrays {
  float in[IMAGE], out[OUTPUTS], dout[OUTPUTS], din[IMAGE];
  uint8_t won[N_WINDOWS * MAX_CHANNELS];
};

static void fill(struct arrays *a) {
  struct ex_random random = ex__random_seed(1, 0);
  for (int i = 0; i < IMAGE; i++) {
    a->in[i] = floorf((float)(4 * ex__random_uniform(&random))); /* ties are common */
    if (ex__random_uniform(&random) < 0.02) a->in[i] = NAN;
    a->din[i] = (float)ex__random_uniform(&random);
  }
  for (int i = 0; i < OUTPUTS; i++) a->dout[i] = (float)ex__random_uniform(&random) - 0.5f;
  memset(a->out, 0, sizeof a->out);
  memset(a->won, 0, sizeof a->won);
}

static void plain_forward(const struct fast_pool *p, const float *in, float *out, uint8_t *won) {
  for (int32_t w = 0; w < p->n; w++)
    for (int32_t c = 0; c < p->channels; c++) {
      int32_t best = 0;
      const float *first = in + w * p->in_step + c;
      for (int32_t t = 1; t < p->height * p->width; t++) {
        float value = first[t / p->width * p->in_row + t % p->width * p->in_ld];
        float held = first[best / p->width * p->in_row + best % p->width * p->in_ld];
        if (value > held || isnan(value)) best = t;
      }
      out[w * p->out_ld + c] = first[best / p->width * p->in_row + best % p->width * p->in_ld];
      won[w * p->channels + c] = (uint8_t)best;
    }
}

static void plain_backward(const struct fast_pool *p, const float *dout, const uint8_t *won,
                           float *din) {
  for (int32_t w = 0; w < p->n; w++)
    for (int32_t c = 0; c < p->channels; c++)
      for (int32_t t = 0; t < p->height * p->width; t++) {
        float *to = din + w * p->in_step + t / p->width * p->in_row + t % p->width * p->in_ld + c;
        float part = won[w * p->channels + c] == t ? dout[w * p->out_ld + c] : 0;
        *to = p->write ? part : *to + part;
      }
}

static void check(const struct fast_loops *loops, struct fast_pool pool) {
  struct arrays fast, plain;
  fill(&fast);
  fill(&plain);
  pool.won = fast.won;
  pool.in = fast.in;
  pool.out = fast.out;
  loops->max_pool(&pool);
  plain_forward(&pool, plain.in, plain.out, plain.won);
  assert_memory_equal(fast.out, plain.out, sizeof fast.out);
  assert_memory_equal(fast.won, plain.won, sizeof fast.won);
  pool.in = fast.din;
  pool.out = fast.dout;
  loops->max_pool_grad(&pool);
  plain_backward(&pool, plain.dout, plain.won, plain.din);
  assert_memory_equal(fast.din, plain.din, sizeof fast.din);
}

static void check_set(const struct fast_loops *loops) {
  for (int32_t channels = FAST_POOL_CHANNELS; channels <= MAX_CHANNELS; channels++)
    for (int32_t kernel = 2; kernel <= 3; kernel++)
      for (int32_t stride = 1; stride <= 2; stride++)
        for (int32_t write = 0; write <= (stride >= kernel); write++)
          check(loops, (struct fast_pool){.in_ld = LD,
                                          .in_row = COLUMNS * LD,
                                          .in_step = stride * LD,
                                          .out_ld = LD,
                                          .n = N_WINDOWS,
                                          .height = kernel,
                                          .width = kernel,
                                          .channels = channels,
                                          .write = write == 1});
}

static void every_set_agrees(void **state) {
  (void)state;
  check_set(&ex__loops_base);
#if EX_FAST_LOOPS_SETS
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) check_set(&ex__loops_avx2);
#endif
  check_set(ex__fast_loops());
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_set_agrees)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
