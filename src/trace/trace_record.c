/* SPDX-License-Identifier: Apache-2.0
 *
 * trace/trace_record: running every stage of a net for every sample of a split.
 *
 * Workers take micro-batches; a head writes its outputs straight into the
 * column, where the samples of a micro-batch lie side by side. By the law of
 * net_run a sample's bits depend neither on its micro-batch nor on its worker,
 * so the trace does not depend on `threads`. Work is handed out in waves, after
 * each of which progress is reported and a stop is obeyed.
 */
#include <math.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/pool.h"
#include "net/net_run.h"
#include "trace/trace_internal.h"

enum { WAVE = 32 }; /* micro-batches per worker between two reports */

struct worker {
  ex_lane *lane;
  ex_real *memory; /* states of a micro-batch, and one input */
  ex_real *state[EX_MICRO_BATCH];
  ex_real *x;
};

struct record {
  const ex_net *net;
  const ex_data *data;
  enum ex_split split;
  ex_trace *trace;
  struct ex_trace_columns columns;
  struct worker *workers;
  int32_t n_workers;
  int64_t first_task; /* of the wave */
};

static void run_points(const struct record *record, struct worker *worker, int32_t stage,
                       int32_t first, int32_t n) {
  const ex_net *net = record->net;
  for (int32_t p = 0; p < net->n_points; p++) {
    if (net->points[p].stage != stage) continue;
    int64_t at = ex__trace_at(record->trace, p, first);
    ex__lane_head(worker->lane, p, worker->state, n,
                  record->columns.raw + at * record->trace->n_outputs);
    if (record->columns.gate == NULL) continue;
    if (net->points[p].gate >= 0)
      ex__lane_gate(worker->lane, p, worker->state, n, record->columns.gate + at);
    else
      for (int32_t i = 0; i < n; i++) record->columns.gate[at + i] = (ex_real)NAN;
  }
}

static void run_micro_batch(void *context, int64_t task, int32_t worker_index) {
  struct record *record = context;
  struct worker *worker = &record->workers[worker_index];
  int32_t first = (int32_t)((record->first_task + task) * EX_MICRO_BATCH);
  int32_t n = record->trace->n - first < EX_MICRO_BATCH ? record->trace->n - first : EX_MICRO_BATCH;
  for (int32_t i = 0; i < n; i++) {
    ex__data_read_range(record->data, record->split, first + i, 1, worker->x, NULL);
    ex__lane_input(worker->lane, worker->x, worker->state[i]);
  }
  for (int32_t stage = 0; stage < record->net->n_stages; stage++) {
    ex__lane_body(worker->lane, stage, worker->state, n);
    run_points(record, worker, stage, first, n);
  }
}

static bool go_on(const struct ex_progress *progress, int64_t done, int64_t total, int64_t begin) {
  if (progress == NULL || progress->report == NULL) return true;
  struct ex_progress_event event = {.task = "trace",
                                    .done = done,
                                    .total = total,
                                    .unit = "samples",
                                    .seconds = (double)(ex__now_ns() - begin) / 1e9,
                                    .finished = done == total};
  return progress->report(progress->context, &event);
}

static enum ex_status run_waves(struct record *record, ex_pool *pool,
                                const struct ex_progress *progress, struct ex_error *err) {
  int64_t n = record->trace->n, begin = ex__now_ns();
  int64_t n_tasks = (n + EX_MICRO_BATCH - 1) / EX_MICRO_BATCH,
          wave = (int64_t)WAVE * record->n_workers;
  for (record->first_task = 0; record->first_task < n_tasks; record->first_task += wave) {
    int64_t left = n_tasks - record->first_task, done;
    ex__pool_run(pool, run_micro_batch, record, left < wave ? left : wave);
    done = (record->first_task + wave) * EX_MICRO_BATCH;
    if (!go_on(progress, done < n ? done : n, n, begin))
      return ex__fail(err, EX_ECANCELLED, "trace: stopped after %lld of %lld samples",
                      (long long)(done < n ? done : n), (long long)n);
  }
  return EX_OK;
}

/* ---- setting up --------------------------------------------------------- */

static enum ex_status worker_new(const struct record *record, const ex_compiled *compiled,
                                 struct worker *worker, struct ex_error *err) {
  /* Whole cache lines each, so that every state is aligned. */
  size_t line = 64 / sizeof(ex_real);
  size_t state = ((size_t)ex__compiled_state_size(compiled) + line - 1) / line * line;
  size_t input = (size_t)ex__shape_count(&record->net->input);
  EX_TRY(ex__lane_new(compiled, &worker->lane, err));
  worker->memory = ex__calloc(state * EX_MICRO_BATCH + input, sizeof *worker->memory);
  if (worker->memory == NULL) return ex__fail(err, EX_ENOMEM, "trace: no memory for a worker");
  for (int32_t i = 0; i < EX_MICRO_BATCH; i++) worker->state[i] = worker->memory + i * state;
  worker->x = worker->memory + EX_MICRO_BATCH * state;
  return EX_OK;
}

static enum ex_status run(struct record *record, const ex_compiled *compiled,
                          const struct ex_progress *progress, struct ex_error *err) {
  ex_pool *pool = NULL;
  record->workers = ex__calloc((size_t)record->n_workers, sizeof *record->workers);
  if (record->workers == NULL) return ex__fail(err, EX_ENOMEM, "trace: no memory for workers");
  enum ex_status status = EX_OK;
  for (int32_t w = 0; status == EX_OK && w < record->n_workers; w++)
    status = worker_new(record, compiled, &record->workers[w], err);
  if (status == EX_OK) status = ex__pool_new(record->n_workers, &pool, err);
  if (status == EX_OK) status = run_waves(record, pool, progress, err);
  ex__pool_free(pool);
  for (int32_t w = 0; w < record->n_workers; w++) {
    ex__lane_free(record->workers[w].lane);
    ex__free(record->workers[w].memory);
  }
  ex__free(record->workers);
  return status;
}

static bool has_gates(const ex_net *net) {
  for (int32_t p = 0; p < net->n_points; p++)
    if (net->points[p].gate >= 0) return true;
  return false;
}

/* All that is known before a sample is run. */
static enum ex_status describe(struct record *record, struct ex_error *err) {
  ex_trace *trace = record->trace;
  const ex_net *net = record->net;
  trace->task = net->task;
  ex__net_cost(net, &trace->cost);
  for (int32_t p = 0; p < net->n_points; p++) {
    trace->stage[p] = net->points[p].stage;
    trace->bodies[p] = ex__net_bodies(net, p);
    trace->closure[p] = ex__net_closure(net, p);
  }
  if (ex__net_digest(net, trace->weights) != EX_OK ||
      ex__data_digest(record->data, record->split, trace->samples) != EX_OK ||
      ex__trace_own_memory(trace, has_gates(net), &record->columns) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "trace: no memory for %d samples at %d exits", (int)trace->n,
                    (int)trace->n_points);
  for (int32_t i = 0; i < trace->n; i++)
    record->columns.target[i] = ex__data_label(record->data, record->split, i);
  return ex__trace_check_targets("trace", trace->target, trace->n, trace->n_outputs, err);
}

enum ex_status ex__trace_record(const ex_compiled *compiled, const ex_data *data,
                                enum ex_split split, int32_t threads,
                                const struct ex_progress *progress, ex_trace **out,
                                struct ex_error *err) {
  const ex_net *net = ex__compiled_net(compiled);
  int64_t features = ex__data_info(data)->features;
  *out = NULL;
  if (threads < 1 || threads > 256)
    return ex__fail(err, EX_EINVAL, "threads = %d; must be an integer in [1, 256]", (int)threads);
  if (features != ex__shape_count(&net->input))
    return ex__fail(err, EX_ESHAPE, "trace: samples of %lld numbers; the net takes %lld",
                    (long long)features, (long long)ex__shape_count(&net->input));
  if (ex__data_size(data, split) < 1)
    return ex__fail(err, EX_EINVAL, "trace: the data have no %s samples", ex__split_name(split));
  struct record record = {.net = net, .data = data, .split = split, .n_workers = threads};
  EX_TRY(
      ex__trace_new(ex__data_size(data, split), net->n_points, net->n_outputs, &record.trace, err));
  enum ex_status status = describe(&record, err);
  if (status == EX_OK) status = run(&record, compiled, progress, err);
  if (status == EX_OK) status = ex__trace_derive(record.trace, &net->transform, err);
  if (status == EX_OK)
    *out = record.trace;
  else
    ex__trace_free(record.trace);
  return status;
}
