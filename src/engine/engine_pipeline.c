/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine_pipeline: the queues of a pipeline and its workers.
 *
 * Which queue a free worker takes from:
 *   1. the one whose first sample is due: it must be run now to keep its
 *      deadline, or has waited there for `patience_ns` (so that the few that go
 *      deep do not wait until eight of them have come together), of several the
 *      one with the nearest deadline;
 *   2. else the deepest that holds a whole micro-batch: those samples are
 *      still in a cache, and each that leaves makes room;
 *   3. else the shallowest that holds any, since that feeds the deeper ones.
 * Nobody waits while there is something to run. Within a queue the sample that
 * is due first goes first; who has no deadline is due `assumed_ns` after it came,
 * so that deadlines go before it, and it is not kept waiting for ever. A sample whose next exit would not be reached in
 * time is answered with the best that it has.
 *
 * One lock; it is held for queue work alone, never while a stage runs or an
 * answer is given.
 */
#include "engine/pipeline.h"

#include <pthread.h>
#include <signal.h>

#include "base/memory.h"
#include "engine/pipeline_internal.h"

enum { MAX_WORKERS = 256 };
static const int64_t patience_ns = 5000000, assumed_ns = 100000000;

/* A binary heap of slots, the one that is due first on top. */
struct queue {
  int32_t n;
  struct ex_slot **slot; /* [capacity] */
};

struct worker {
  ex_pipeline *pipeline;
  pthread_t thread;
  ex_lane *lane;
  struct ex_mover mover;
  ex_real *buffer; /* of the mover's tools */
};

struct ex_pipeline {
  ex_engine *engine;
  ex_partition *partition;
  pthread_mutex_t lock;
  pthread_cond_t came, emptied;
  bool stop;
  int32_t capacity, n_free, n_queued, n_workers, n_started;
  struct ex_slot *slots;  /* [capacity] */
  struct ex_slot **free;  /* [capacity], of which n_free are free */
  struct ex_slot **items; /* [n_stages][capacity] */
  struct queue stage[EX_MAX_STAGES];
  struct worker *workers; /* [n_workers] */
  struct ex_pipeline_stats stats;
};

/* ---- queues, under the lock ------------------------------------------------ */

static void push(struct queue *queue, struct ex_slot *slot) {
  int32_t at = queue->n++;
  while (at > 0 && queue->slot[(at - 1) / 2]->due > slot->due) {
    queue->slot[at] = queue->slot[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  queue->slot[at] = slot;
}

static struct ex_slot *pop(struct queue *queue) {
  struct ex_slot *top = queue->slot[0], *last = queue->slot[--queue->n];
  int32_t at = 0;
  for (int32_t child; (child = 2 * at + 1) < queue->n; at = child) {
    if (child + 1 < queue->n && queue->slot[child + 1]->due < queue->slot[child]->due) child++;
    if (queue->slot[child]->due >= last->due) break;
    queue->slot[at] = queue->slot[child];
  }
  queue->slot[at] = last;
  return top;
}

/* Into the queue of the stage that it needs next. */
static void enqueue(ex_pipeline *pipeline, struct ex_slot *slot, int64_t now) {
  const struct ex_ticket *ticket = slot->ticket;
  slot->since = now;
  slot->due = slot->came + assumed_ns;
  if (ticket->deadline_ns != INT64_MAX)
    slot->due = ticket->deadline_ns - ex__slot_time(pipeline->engine, slot);
  push(&pipeline->stage[ex__engine_next_stage(pipeline->engine, slot->sample)], slot);
  pipeline->n_queued++;
}

/* −1: nothing to run. */
static int32_t choose_stage(const ex_pipeline *pipeline, int64_t now) {
  const ex_engine *engine = pipeline->engine;
  int32_t due = -1, whole = -1, any = -1;
  for (int32_t s = engine->net->n_stages - 1; s >= 0; s--) {
    const struct queue *queue = &pipeline->stage[s];
    if (queue->n == 0) continue;
    any = s;
    if (whole < 0 && queue->n >= engine->micro[s]) whole = s;
    if ((queue->slot[0]->due <= now || queue->slot[0]->since + patience_ns <= now) &&
        (due < 0 || queue->slot[0]->due < pipeline->stage[due].slot[0]->due))
      due = s;
  }
  return due >= 0 ? due : whole >= 0 ? whole : any;
}

struct micro_batch {
  int32_t stage, n;
  struct ex_slot *slot[EX_MICRO_BATCH];
};

/* Those that are due first. A deadline limits how many run beside it: together
 * they take as long as one after the other, at the worst. */
static void take(ex_pipeline *pipeline, struct micro_batch *batch, int64_t now) {
  const ex_engine *engine = pipeline->engine;
  int32_t stage = choose_stage(pipeline, now);
  batch->stage = stage;
  batch->n = 0;
  if (stage < 0) return;
  struct queue *queue = &pipeline->stage[stage];
  int64_t each = engine->cost.body_ns[stage] + 1, least = INT64_MAX;
  while (queue->n > 0 && batch->n < engine->micro[stage]) {
    int64_t deadline = queue->slot[0]->ticket->deadline_ns;
    if (deadline < least) least = deadline;
    if (batch->n > 0 && least != INT64_MAX && (batch->n + 1) * each > least - now) break;
    batch->slot[batch->n++] = pop(queue);
  }
  pipeline->n_queued -= batch->n;
  pipeline->stats.batches[stage]++;
  pipeline->stats.samples[stage] += batch->n;
}

static void release(ex_pipeline *pipeline, struct ex_slot *slot) {
  pipeline->free[pipeline->n_free++] = slot;
  if (pipeline->n_free == pipeline->capacity) pthread_cond_broadcast(&pipeline->emptied);
}

/* ---- workers ------------------------------------------------------------------ */

/* Samples that are answered are moved to `gone`; the rest stays in the batch. */
static void run_batch(ex_pipeline *pipeline, struct worker *worker, struct micro_batch *batch,
                      struct micro_batch *gone) {
  const ex_engine *engine = pipeline->engine;
  struct ex_engine_sample *sample[EX_MICRO_BATCH];
  int32_t n = 0;
  gone->n = 0;
  for (int32_t i = 0; i < batch->n; i++) {
    struct ex_slot *slot = batch->slot[i];
    if (ex__slot_hurry(&worker->mover, slot)) {
      gone->slot[gone->n++] = slot;
      continue;
    }
    if (!slot->entered) ex__slot_enter(&worker->mover, slot);
    sample[n] = slot->sample;
    batch->slot[n++] = slot;
  }
  if (n > 0) ex__engine_stage(engine, &worker->mover.tools, batch->stage, sample, n);
  batch->n = 0;
  for (int32_t i = 0; i < n; i++) {
    struct ex_slot *slot = batch->slot[i];
    if (ex__slot_move(&worker->mover, slot))
      gone->slot[gone->n++] = slot;
    else
      batch->slot[batch->n++] = slot;
  }
}

static void *work(void *context) {
  struct worker *worker = context;
  ex_pipeline *pipeline = worker->pipeline;
  struct micro_batch batch = {.n = 0}, gone = {.n = 0};
  int64_t executed = 0;
  for (;;) {
    int64_t now = ex__now_ns();
    pthread_mutex_lock(&pipeline->lock);
    pipeline->stats.executed += executed;
    for (int32_t i = 0; i < gone.n; i++) release(pipeline, gone.slot[i]);
    for (int32_t i = 0; i < batch.n; i++) enqueue(pipeline, batch.slot[i], now);
    for (take(pipeline, &batch, now); batch.n == 0 && !pipeline->stop;
         take(pipeline, &batch, ex__now_ns()))
      pthread_cond_wait(&pipeline->came, &pipeline->lock);
    if (pipeline->n_queued > 0) pthread_cond_signal(&pipeline->came); /* another may help */
    pthread_mutex_unlock(&pipeline->lock);
    if (batch.n == 0) return NULL;
    executed = ex__lane_executed_macs(worker->lane);
    run_batch(pipeline, worker, &batch, &gone);
    executed = ex__lane_executed_macs(worker->lane) - executed;
  }
}

/* ---- from outside ----------------------------------------------------------- */

bool ex__pipeline_submit(ex_pipeline *pipeline, const struct ex_ticket *const *tickets, int32_t n) {
  int64_t now = ex__now_ns();
  pthread_mutex_lock(&pipeline->lock);
  bool fits = n <= pipeline->n_free;
  for (int32_t i = 0; fits && i < n; i++) {
    struct ex_slot *slot = pipeline->free[--pipeline->n_free];
    *slot = (struct ex_slot){.came = now,
                             .ticket = tickets[i],
                             .sample = slot->sample,
                             .first = -1,
                             .wanted = -1,
                             .stop_at = -1};
    ex__slot_place(pipeline->engine, slot);
    enqueue(pipeline, slot, now);
  }
  if (fits && n > 1)
    pthread_cond_broadcast(&pipeline->came);
  else if (fits)
    pthread_cond_signal(&pipeline->came);
  pthread_mutex_unlock(&pipeline->lock);
  return fits;
}

const ex_partition *ex__pipeline_partition(const ex_pipeline *pipeline) {
  return pipeline->partition;
}

void ex__pipeline_stats(ex_pipeline *pipeline, struct ex_pipeline_stats *stats) {
  pthread_mutex_lock(&pipeline->lock);
  *stats = pipeline->stats;
  stats->capacity = pipeline->capacity;
  stats->waiting = pipeline->capacity - pipeline->n_free;
  pthread_mutex_unlock(&pipeline->lock);
}

/* ---- making and freeing ------------------------------------------------------ */

static enum ex_status equip(ex_pipeline *pipeline, struct worker *worker, struct ex_error *err) {
  const ex_engine *engine = pipeline->engine;
  size_t features = (size_t)engine->features, n_outputs = (size_t)engine->net->n_outputs;
  size_t input = (features + 15) / 16 * 16; /* whole cache lines */
  worker->pipeline = pipeline;
  worker->mover.engine = engine;
  worker->mover.partition = pipeline->partition;
  EX_TRY(ex__lane_new(engine->compiled, &worker->lane, err));
  worker->buffer = ex__calloc(input + EX_MICRO_BATCH * n_outputs, sizeof *worker->buffer);
  worker->mover.logits = ex__calloc(n_outputs, sizeof *worker->mover.logits);
  if (worker->buffer == NULL || worker->mover.logits == NULL)
    return ex__fail(err, EX_ENOMEM, "pipeline: no memory for a worker");
  worker->mover.tools.input = worker->buffer;
  worker->mover.tools.raw = worker->buffer + input;
  for (int32_t s = 0; s < EX_MAX_SEGMENTS; s++) worker->mover.tools.lane[s] = worker->lane;
  return EX_OK;
}

/* Signals belong to the program's own threads. */
static enum ex_status start(ex_pipeline *pipeline, struct ex_error *err) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  enum ex_status status = EX_OK;
  for (int32_t i = 0; status == EX_OK && i < pipeline->n_workers; i++) {
    if (pthread_create(&pipeline->workers[i].thread, NULL, work, &pipeline->workers[i]) == 0)
      pipeline->n_started++;
    else
      status = ex__fail(err, EX_ENOMEM, "pipeline: cannot start thread %d", (int)i);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return status;
}

static enum ex_status build(ex_pipeline *pipeline, struct ex_error *err) {
  ex_engine *engine = pipeline->engine;
  size_t n_stages = (size_t)engine->net->n_stages, capacity = (size_t)pipeline->capacity;
  pipeline->slots = ex__calloc(capacity, sizeof *pipeline->slots);
  pipeline->free = ex__calloc(capacity, sizeof(struct ex_slot *));
  pipeline->items = ex__calloc(n_stages * capacity, sizeof(struct ex_slot *));
  pipeline->workers = ex__calloc((size_t)pipeline->n_workers, sizeof *pipeline->workers);
  if (pipeline->slots == NULL || pipeline->free == NULL || pipeline->items == NULL ||
      pipeline->workers == NULL)
    return ex__fail(err, EX_ENOMEM, "pipeline: no memory for %d samples", (int)pipeline->capacity);
  EX_TRY(ex__partition_new(engine, &pipeline->partition, err));
  for (size_t s = 0; s < n_stages; s++) pipeline->stage[s].slot = pipeline->items + s * capacity;
  for (int32_t i = 0; i < pipeline->capacity; i++) {
    pipeline->slots[i].sample = &engine->samples[i];
    pipeline->free[pipeline->n_free++] = &pipeline->slots[pipeline->capacity - 1 - i];
  }
  for (int32_t i = 0; i < pipeline->n_workers; i++)
    EX_TRY(equip(pipeline, &pipeline->workers[i], err));
  return start(pipeline, err);
}

enum ex_status ex__pipeline_new(ex_engine *engine, int32_t n_workers, ex_pipeline **out,
                                struct ex_error *err) {
  *out = NULL;
  if (n_workers < 1 || n_workers > MAX_WORKERS)
    return ex__fail(err, EX_EINVAL, "pipeline: workers = %d; must be in [1, %d]", (int)n_workers,
                    MAX_WORKERS);
  if (!engine->has_policy)
    return ex__fail(err, EX_EINVAL, "pipeline: the engine has no policy; it must");
  ex_pipeline *pipeline = ex__calloc(1, sizeof *pipeline);
  if (pipeline == NULL) return ex__fail(err, EX_ENOMEM, "pipeline: no memory");
  pipeline->engine = engine;
  pipeline->n_workers = n_workers;
  pipeline->capacity = engine->max_batch;
  pthread_mutex_init(&pipeline->lock, NULL);
  pthread_cond_init(&pipeline->came, NULL);
  pthread_cond_init(&pipeline->emptied, NULL);
  enum ex_status status = build(pipeline, err);
  if (status == EX_OK)
    *out = pipeline;
  else
    ex__pipeline_free(pipeline);
  return status;
}

static void stop(ex_pipeline *pipeline) {
  pthread_mutex_lock(&pipeline->lock);
  while (pipeline->n_free < pipeline->capacity && pipeline->n_started > 0)
    pthread_cond_wait(&pipeline->emptied, &pipeline->lock);
  pipeline->stop = true;
  pthread_cond_broadcast(&pipeline->came);
  pthread_mutex_unlock(&pipeline->lock);
  for (int32_t i = 0; i < pipeline->n_started; i++) pthread_join(pipeline->workers[i].thread, NULL);
}

void ex__pipeline_free(ex_pipeline *pipeline) {
  if (pipeline == NULL) return;
  stop(pipeline);
  for (int32_t i = 0; pipeline->workers != NULL && i < pipeline->n_workers; i++) {
    ex__lane_free(pipeline->workers[i].lane);
    ex__free(pipeline->workers[i].buffer);
    ex__free(pipeline->workers[i].mover.logits);
  }
  pthread_cond_destroy(&pipeline->emptied);
  pthread_cond_destroy(&pipeline->came);
  pthread_mutex_destroy(&pipeline->lock);
  ex__partition_free(pipeline->partition);
  ex__free(pipeline->workers);
  ex__free(pipeline->items);
  ex__free(pipeline->free);
  ex__free(pipeline->slots);
  ex__free(pipeline);
}
