/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_pool_template: max pooling of fast_loops.h with registers of
 * WIDTH channels. Included by fast_loops_template.h once per width, hence no
 * include guard, with POOL(name) naming its functions apart.
 *
 * There are no loops for a rest of channels: the last register begins where
 * it ends with the last channel, and does some channels twice. Forward, and
 * backward where every element of the gradient is written once, twice gives
 * the same; where gradients add up, those channels are left out.
 */
typedef float POOL(floats) __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef int32_t POOL(ints) __attribute__((vector_size(4 * WIDTH)));
typedef uint8_t POOL(bytes) __attribute__((vector_size(WIDTH), aligned(1), may_alias));

LOOPS_TARGET static inline __attribute__((always_inline)) void POOL(max_window)(
    const struct fast_pool *p, const float *in, float *out, uint8_t *won) {
  POOL(ints) best = (POOL(ints)) * (const POOL(floats) *)in, taps = {0};
  int32_t tap = 0;
  for (int32_t y = 0; y < p->height; y++, in += p->in_row)
    for (int32_t x = 0; x < p->width; x++, tap++) {
      POOL(floats) value = *(const POOL(floats) *)(in + x * p->in_ld);
      POOL(ints) better = (value > (POOL(floats))best) | (value != value);
      best = ((POOL(ints))value & better) | (best & ~better);
      taps = (better & tap) | (taps & ~better);
    }
  *(POOL(floats) *)out = (POOL(floats))best;
  *(POOL(bytes) *)won = __builtin_convertvector(taps, POOL(bytes));
}

/* Channels before `first` are left out. */
LOOPS_TARGET static inline __attribute__((always_inline)) void POOL(max_grad_window)(
    const struct fast_pool *p, const float *dout, const uint8_t *won, float *din, int32_t first) {
  POOL(ints) lane = {0}, taps = __builtin_convertvector(*(const POOL(bytes) *)won, POOL(ints));
  for (int32_t i = 0; i < WIDTH; i++) lane[i] = i;
  POOL(ints) gradient = (POOL(ints)) * (const POOL(floats) *)dout & (lane >= first);
  int32_t tap = 0;
  for (int32_t y = 0; y < p->height; y++, din += p->in_row)
    for (int32_t x = 0; x < p->width; x++, tap++) {
      POOL(floats) *to = (POOL(floats) *)(din + x * p->in_ld);
      POOL(floats) part = (POOL(floats))(gradient & (taps == tap));
      if (!p->write) part = (POOL(floats))(part + *to);
      *to = part;
    }
}

LOOPS_TARGET static void POOL(max_windows)(const struct fast_pool *p) {
  for (int32_t w = 0; w < p->n; w++)
    for (int32_t c = 0; c < p->channels; c += WIDTH) {
      int32_t at = c + WIDTH <= p->channels ? c : p->channels - WIDTH;
      POOL(max_window)
      (p, p->in + w * p->in_step + at, p->out + w * p->out_ld + at, p->won + w * p->channels + at);
    }
}

LOOPS_TARGET static void POOL(max_grad_windows)(const struct fast_pool *p) {
  for (int32_t w = 0; w < p->n; w++)
    for (int32_t c = 0; c < p->channels; c += WIDTH) {
      int32_t at = c + WIDTH <= p->channels ? c : p->channels - WIDTH;
      POOL(max_grad_window)
      (p, p->out + w * p->out_ld + at, p->won + w * p->channels + at, p->in + w * p->in_step + at,
       p->write ? 0 : c - at);
    }
}
