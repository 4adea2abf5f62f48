/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine_measure: the times of a cost table, by running the engine.
 *
 * A pass brings one sample from the entrance to the last exit, exit by exit,
 * and the ledger tells what each step took. So the figures hold what a caller
 * waits for, on the lanes and threads that a lone sample gets: pre-processing
 * is charged to the bodies of the first exit; transform, softmax and confidence to the head
 * whose output they read. Only the rule's own comparison is left out. Samples
 * change from pass to pass, since the same one again is faster than in life;
 * medians, since the machine has other work too.
 */
#include "base/memory.h"
#include "engine/engine_internal.h"

enum { N_WARM = 8, MIN_PASSES = 9, MAX_PASSES = 255, MAX_SAMPLES = 64 };
static const int64_t measuring_ns = 2000000000; /* after this no further pass begins */

struct times {
  int64_t body[EX_MAX_POINTS][MAX_PASSES], head[EX_MAX_POINTS][MAX_PASSES];
  int64_t gate[EX_MAX_POINTS][MAX_PASSES];
};

static enum ex_status run_pass(ex_engine *engine, const float *x, int32_t pass,
                               struct times *times) {
  EX_TRY(ex_engine_begin(engine, x));
  int64_t input_ns = ex__engine_ledger(engine)->input_ns;
  for (int32_t p = 0; p < engine->net->n_points; p++) {
    struct ex_result result = {.logits = NULL};
    enum ex_status status = ex_engine_advance(engine, p, &result);
    if (status != EX_OK && status != EX_ENOTFINITE) return status;
    const struct ex_ledger *ledger = ex__engine_ledger(engine);
    times->body[p][pass] = ledger->body_ns + (p == 0 ? input_ns : 0);
    times->head[p][pass] = ledger->head_ns + ledger->decide_ns;
    times->gate[p][pass] = ledger->gate_ns;
  }
  return EX_OK;
}

static int64_t median(int64_t *values, int32_t n) {
  for (int32_t i = 1; i < n; i++)
    for (int32_t j = i; j > 0 && values[j - 1] > values[j]; j--) {
      int64_t swap = values[j];
      values[j] = values[j - 1];
      values[j - 1] = swap;
    }
  return values[n / 2];
}

/* Bodies of stages without an exit run in one step with the next that has one:
 * the step's time is shared out as the engine's own timing of each stage. */
static void share_out(const ex_engine *engine, uint32_t bodies, int64_t ns, struct ex_cost *cost) {
  int64_t sum = ex__sum_over(engine->cost.body_ns, bodies) + __builtin_popcount(bodies);
  for (int32_t s = 0; s < engine->net->n_stages; s++) {
    if ((bodies >> s & 1) == 0) continue;
    double share = (double)(engine->cost.body_ns[s] + 1) / (double)sum;
    cost->body_ns[s] = 1 + (int64_t)(share * (double)ns); /* 0 would say: not measured */
  }
}

static void note_medians(const ex_engine *engine, struct times *times, int32_t n,
                         struct ex_cost *cost) {
  uint32_t before = 0;
  for (int32_t p = 0; p < engine->net->n_points; p++) {
    share_out(engine, engine->bodies[p] & ~before, median(times->body[p], n), cost);
    cost->head_ns[p] = median(times->head[p], n);
    cost->gate_ns[p] = median(times->gate[p], n);
    before |= engine->bodies[p];
  }
}

enum ex_status ex__engine_measure(ex_engine *engine, const float *x, int32_t n,
                                  struct ex_cost *cost, struct ex_error *err) {
  struct times *times = ex__calloc(1, sizeof *times);
  if (times == NULL) return ex__fail(err, EX_ENOMEM, "engine: no memory for measuring");
  bool profiled = engine->profiled;
  ex__engine_profile(engine, true);
  enum ex_status status = EX_OK;
  int32_t next = 0, passes = 0;
  for (int32_t i = 0; status == EX_OK && i < N_WARM; i++, next = (next + 1) % n)
    status = run_pass(engine, x + next * engine->features, 0, times);
  for (int64_t start = ex__now_ns(); status == EX_OK && passes < MAX_PASSES; passes++) {
    if (passes >= MIN_PASSES && ex__now_ns() - start > measuring_ns) break;
    status = run_pass(engine, x + next * engine->features, passes, times);
    next = (next + 1) % n;
  }
  ex__engine_profile(engine, profiled);
  if (status == EX_OK)
    note_medians(engine, times, passes, cost);
  else
    ex__fail(err, status, "engine: measuring: %s", ex_status_text(status));
  ex__free(times);
  return status;
}

enum ex_status ex__engine_measure_split(ex_engine *engine, const ex_data *data, enum ex_split split,
                                        struct ex_cost *cost, struct ex_error *err) {
  int32_t size = ex__data_size(data, split), n = size < MAX_SAMPLES ? size : MAX_SAMPLES;
  size_t features = (size_t)ex__data_info(data)->features;
  float *x = ex__calloc((size_t)n * features, sizeof *x);
  ex_real *stored = ex__calloc(features, sizeof *stored);
  enum ex_status status = EX_OK;
  if (x == NULL || stored == NULL)
    status = ex__fail(err, EX_ENOMEM, "engine: no memory for %d inputs", (int)n);
  for (int32_t i = 0; status == EX_OK && i < n; i++) {
    ex__data_raw(data, split, (int32_t)((int64_t)i * size / n), stored);
    for (size_t j = 0; j < features; j++) x[(size_t)i * features + j] = (float)stored[j];
  }
  ex__net_cost(engine->net, cost);
  if (status == EX_OK) status = ex__engine_measure(engine, x, n, cost, err);
  ex__free(x);
  ex__free(stored);
  return status;
}
