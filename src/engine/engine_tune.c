/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine_tune: what is chosen by timing when an engine is made.
 *
 * 1. How many samples a micro-batch of each stage holds: linear layers gain
 *    several times from 8, large maps lose by leaving the cache.
 * 2. Whether a lone sample runs a segment with all threads inside one program
 *    or with one; a wide program is admitted only if a whole random sample
 *    gives the same bits.
 * 3. The times of the cost table, by which a deadline is kept.
 *
 * Each pass begins at the input, because running a body twice on one state is
 * not allowed (its input may lie where its output does). The figures are
 * medians over rounds in which the candidates take turns, so that a slow
 * spell of the machine hits all of them. Every pass has other inputs, as in
 * life: a branch that depends on data is foreseen when the same come again.
 * No choice changes a result.
 */
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/text.h"
#include "engine/engine_internal.h"

enum { MAX_ROUNDS = 15, MIN_ROUNDS = 3, N_CANDIDATES = EX_MICRO_SIZES + 1, N_INPUTS = 64 };

static const int64_t tuning_ns = 100000000; /* after this no further round begins */
/* A micro-batch of this many bytes of state is assumed to stay in a cache. */
static const int64_t cache_bytes = 1 << 20;

struct candidate {
  ex_lane *lane;
  int32_t n;                               /* samples per pass */
  int64_t ns[MAX_ROUNDS][EX_MAX_SEGMENTS]; /* of the whole pass */
  int64_t median[EX_MAX_SEGMENTS];
};

struct tuning {
  struct candidate candidate[N_CANDIDATES]; /* sizes 1, 2, 4, 8 on one thread; the last is wide */
  int32_t n_sizes, n_rounds;
  bool wide;
  ex_real *x; /* [N_INPUTS][features] */
  int32_t next_input;
  ex_real *output; /* [EX_MICRO_BATCH][n_outputs] */
  ex_real *kept;   /* [n_points][n_outputs], of the pass with one sample */
};

/* Nanoseconds of each segment into ns; the heads' outputs of the first sample
 * into outputs [n_points][n_outputs] where that is not NULL. */
static void run_pass(const ex_engine *engine, struct tuning *tuning, ex_lane *lane, int32_t n,
                     int64_t *ns, ex_real *outputs) {
  const ex_net *net = engine->net;
  ex_real *state[EX_MICRO_BATCH], gate[EX_MICRO_BATCH];
  for (int32_t i = 0; i < n; i++) {
    state[i] = engine->samples[i].state;
    ex__lane_input(lane, tuning->x + tuning->next_input * engine->features, state[i]);
    tuning->next_input = (tuning->next_input + 1) % N_INPUTS;
  }
  for (int32_t s = 0; s < net->n_stages; s++) {
    int64_t start = ex__now_ns();
    ex__lane_body(lane, s, state, n);
    int64_t body = ex__now_ns();
    ns[ex__net_segment(s, EX_PART_BODY)] = body - start;
    int32_t p = engine->point_of[s];
    if (p < 0) continue;
    ex__lane_head(lane, p, state, n, tuning->output);
    int64_t head = ex__now_ns();
    ns[ex__net_segment(s, EX_PART_HEAD)] = head - body;
    if (net->points[p].gate >= 0) {
      ex__lane_gate(lane, p, state, n, gate);
      ns[ex__net_segment(s, EX_PART_GATE)] = ex__now_ns() - head;
    }
    if (outputs != NULL)
      memcpy(outputs + (int64_t)p * net->n_outputs, tuning->output,
             (size_t)net->n_outputs * sizeof *outputs);
  }
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

static void find_medians(struct candidate *candidate, int32_t n_rounds) {
  int64_t column[MAX_ROUNDS];
  for (int32_t segment = 0; segment < EX_MAX_SEGMENTS; segment++) {
    for (int32_t round = 0; round < n_rounds; round++)
      column[round] = candidate->ns[round][segment];
    candidate->median[segment] = median(column, n_rounds);
  }
}

static void time_candidates(const ex_engine *engine, struct tuning *tuning) {
  int64_t start = ex__now_ns(), unused[EX_MAX_SEGMENTS];
  struct candidate *const end = tuning->candidate + N_CANDIDATES;
  for (struct candidate *c = tuning->candidate; c < end; c++) /* caches and kernels warm up */
    if (c->n > 0) run_pass(engine, tuning, c->lane, c->n, unused, NULL);
  int32_t round = 0;
  for (; round < MAX_ROUNDS; round++) {
    if (round >= MIN_ROUNDS && ex__now_ns() - start > tuning_ns) break;
    for (struct candidate *c = tuning->candidate; c < end; c++)
      if (c->n > 0) run_pass(engine, tuning, c->lane, c->n, c->ns[round], NULL);
  }
  for (struct candidate *c = tuning->candidate; c < end; c++)
    if (c->n > 0) find_medians(c, round);
}

/* ---- choosing ------------------------------------------------------------- */

static int64_t stage_ns(const struct candidate *candidate, int32_t stage) {
  int64_t ns = 0;
  for (int32_t part = 0; part < EX_N_PARTS; part++)
    ns += candidate->median[ex__net_segment(stage, (enum ex_part)part)];
  return ns;
}

/* A larger micro-batch must be worth 3 %: small ones share work more evenly. */
static void choose_micro_batches(ex_engine *engine, const struct tuning *tuning) {
  for (int32_t s = 0; s < engine->net->n_stages; s++) {
    const struct candidate *best = &tuning->candidate[0];
    for (int32_t i = 1; i < tuning->n_sizes; i++) {
      const struct candidate *next = &tuning->candidate[i];
      double each = (double)stage_ns(next, s) / next->n;
      if (each < 0.97 * (double)stage_ns(best, s) / best->n) best = next;
    }
    engine->micro[s] = best->n;
  }
}

static void choose_micro_batches_by_rule(ex_engine *engine) {
  int64_t bytes = ex__compiled_state_size(engine->compiled) * (int64_t)sizeof(ex_real);
  int32_t n = 1;
  while (2 * n <= EX_MICRO_BATCH && 2 * n <= engine->max_batch && 2 * n * bytes <= cache_bytes)
    n *= 2;
  for (int32_t s = 0; s < engine->net->n_stages; s++) engine->micro[s] = n;
}

/* The lone sample takes the wide lane where that saves a tenth; true where it does anywhere. */
static bool choose_lone_lanes(ex_engine *engine, const struct tuning *tuning) {
  const struct candidate *narrow = &tuning->candidate[0];
  const struct candidate *wide = &tuning->candidate[N_CANDIDATES - 1];
  bool any = false;
  for (int32_t segment = 0; segment < EX_N_PARTS * engine->net->n_stages; segment++) {
    if (wide->median[segment] * 10 >= narrow->median[segment] * 9) continue;
    engine->lone.lane[segment] = engine->wide_lane;
    any = true;
  }
  return any;
}

static bool same_bits(const ex_engine *engine, struct tuning *tuning) {
  int64_t unused[EX_MAX_SEGMENTS];
  size_t count = (size_t)engine->net->n_points * (size_t)engine->net->n_outputs;
  tuning->next_input = 0;
  run_pass(engine, tuning, engine->lanes[0], 1, unused, tuning->kept);
  tuning->next_input = 0;
  run_pass(engine, tuning, engine->wide_lane, 1, unused, tuning->kept + count);
  return memcmp(tuning->kept, tuning->kept + count, count * sizeof *tuning->kept) == 0;
}

static void drop_wide(ex_engine *engine) {
  ex__lane_free(engine->wide_lane);
  ex__compiled_free(engine->wide);
  engine->wide_lane = NULL;
  engine->wide = NULL;
}

static void note_times(ex_engine *engine, const struct tuning *tuning) {
  for (int32_t s = 0; s < engine->net->n_stages; s++) {
    int64_t ns[EX_N_PARTS];
    for (int32_t part = 0; part < EX_N_PARTS; part++) {
      int32_t segment = ex__net_segment(s, (enum ex_part)part);
      bool wide = engine->lone.lane[segment] != engine->lanes[0];
      ns[part] = tuning->candidate[wide ? N_CANDIDATES - 1 : 0].median[segment];
    }
    engine->cost.body_ns[s] = ns[EX_PART_BODY];
    int32_t p = engine->point_of[s];
    if (p < 0) continue;
    engine->cost.head_ns[p] = ns[EX_PART_HEAD];
    engine->cost.gate_ns[p] = ns[EX_PART_GATE];
  }
}

static void set_candidates(const ex_engine *engine, struct tuning *tuning, bool untimed) {
  tuning->candidate[0] = (struct candidate){.lane = engine->lanes[0], .n = 1};
  tuning->n_sizes = 1;
  if (untimed) return;
  for (int32_t n = 2; n <= EX_MICRO_BATCH && n <= engine->max_batch; n *= 2)
    tuning->candidate[tuning->n_sizes++] = (struct candidate){.lane = engine->lanes[0], .n = n};
  if (tuning->wide)
    tuning->candidate[N_CANDIDATES - 1] = (struct candidate){.lane = engine->wide_lane, .n = 1};
}

static void tune(ex_engine *engine, struct tuning *tuning, bool untimed) {
  struct ex_random random = ex__random_seed(1, 0);
  for (int64_t i = 0; i < N_INPUTS * engine->features; i++)
    tuning->x[i] = (ex_real)(2 * ex__random_uniform(&random) - 1);
  bool fits = engine->wide != NULL &&
              ex__compiled_state_size(engine->wide) == ex__compiled_state_size(engine->compiled);
  tuning->wide = fits && same_bits(engine, tuning);
  set_candidates(engine, tuning, untimed);
  time_candidates(engine, tuning);
  if (untimed)
    choose_micro_batches_by_rule(engine);
  else
    choose_micro_batches(engine, tuning);
  bool wide = tuning->wide && choose_lone_lanes(engine, tuning);
  note_times(engine, tuning);
  if (!wide) drop_wide(engine);
}

enum ex_status ex__engine_tune(ex_engine *engine, bool untimed, struct ex_error *err) {
  const ex_net *net = engine->net;
  size_t n_outputs = (size_t)net->n_outputs;
  struct tuning *tuning = ex__calloc(1, sizeof *tuning);
  ex_real *x = ex__calloc(N_INPUTS * (size_t)engine->features, sizeof *x);
  ex_real *output = ex__calloc(EX_MICRO_BATCH * n_outputs, sizeof *output);
  ex_real *kept = ex__calloc(2 * (size_t)net->n_points * n_outputs, sizeof *kept);
  bool ok = tuning != NULL && x != NULL && output != NULL && kept != NULL;
  if (ok) {
    tuning->x = x;
    tuning->output = output;
    tuning->kept = kept;
    tune(engine, tuning, untimed);
  }
  ex__free(kept);
  ex__free(output);
  ex__free(x);
  ex__free(tuning);
  return ok ? EX_OK : ex__fail(err, EX_ENOMEM, "engine: no memory for timing");
}

void ex__engine_describe(const ex_engine *engine, struct ex_text *text) {
  for (int32_t s = 0; s < engine->net->n_stages; s++) {
    bool wide = engine->lone.lane[ex__net_segment(s, EX_PART_BODY)] != engine->lanes[0];
    ex__text_add(text, "stage %d: %.1f us alone on %d thread%s, micro-batches of %d\n", (int)s,
                 (double)engine->cost.body_ns[s] / 1e3, wide ? (int)engine->n_workers : 1,
                 wide && engine->n_workers > 1 ? "s" : "", (int)engine->micro[s]);
  }
}
