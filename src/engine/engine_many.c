/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine_many: many samples: a queue per stage, from which workers take
 * micro-batches.
 *
 * Every sample of the call starts in the queue of the first stage that the first
 * exit to be looked at needs and, while it does not leave, moves to the queue of
 * the stage it needs next, past those it does not need; survivors of
 * different micro-batches meet there. A worker takes from the deepest queue
 * that holds a whole micro-batch (those samples are still in its cache, and
 * each that leaves frees work), else from the shallowest that is not empty if
 * nothing upstream can add to it, split evenly among workers with nothing to
 * do; else it waits, for at most one micro-batch of another worker. Towards the
 * end of a call micro-batches shrink, so that workers finish together. Which
 * samples share a micro-batch depends on timing; no result does, because bits
 * do not depend on company (net/net_run.h). Order is restored by each sample
 * having its own place.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/memory.h"
#include "engine/engine_internal.h"

enum { LOCK_TRIES = 200 };

struct queue {
  int32_t n, running; /* waiting here; taken from here and not returned yet */
  int32_t *item;      /* [max_batch] indices of samples; the last that came is taken first */
};

struct ex_engine_queues {
  pthread_mutex_t lock;
  int32_t n_stages, idle; /* idle: workers that hold no micro-batch */
  atomic_int n_here;      /* samples that have not left */
  struct queue stage[EX_MAX_STAGES];
  int32_t *items; /* [n_stages][max_batch] */
  /* Of the current call. */
  ex_engine *engine;
  const float *x;
  int32_t first; /* the stage where samples enter */
};

enum ex_status ex__engine_queues_new(int32_t n_stages, int32_t max_batch,
                                     struct ex_engine_queues **out) {
  *out = NULL;
  struct ex_engine_queues *queues = ex__calloc(1, sizeof *queues);
  int32_t *items = ex__calloc((size_t)n_stages * (size_t)max_batch, sizeof *items);
  if (queues == NULL || items == NULL) {
    ex__free(queues);
    ex__free(items);
    return EX_ENOMEM;
  }
  pthread_mutex_init(&queues->lock, NULL);
  queues->n_stages = n_stages;
  queues->items = items;
  for (int32_t s = 0; s < n_stages; s++) queues->stage[s].item = items + (int64_t)s * max_batch;
  *out = queues;
  return EX_OK;
}

void ex__engine_queues_free(struct ex_engine_queues *queues) {
  if (queues == NULL) return;
  pthread_mutex_destroy(&queues->lock);
  ex__free(queues->items);
  ex__free(queues);
}

struct micro_batch {
  int32_t stage, n;
  struct ex_engine_sample *sample[EX_MICRO_BATCH];
};

static void take_from(struct ex_engine_queues *queues, int32_t stage, int32_t n,
                      struct micro_batch *batch) {
  struct queue *queue = &queues->stage[stage];
  batch->stage = stage;
  batch->n = n;
  for (int32_t i = 0; i < n; i++)
    batch->sample[i] = &queues->engine->samples[queue->item[--queue->n]];
  queue->running += n;
  queues->idle--;
}

/* Half of a worker's even share of the samples that are here, as a size that
 * programs are compiled for: larger micro-batches than that would leave the
 * others with nothing to do while the last is running. */
static int32_t largest_fair(struct ex_engine_queues *queues) {
  int32_t n_workers = queues->engine->n_workers, n = EX_MICRO_BATCH;
  if (n_workers == 1) return n;
  while (n > 1 && 2 * n * n_workers > atomic_load(&queues->n_here)) n /= 2;
  return n;
}

static int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

/* Under the lock. batch->n is 0 where the worker has to wait. */
static void take(struct ex_engine_queues *queues, struct micro_batch *batch) {
  const int32_t *micro = queues->engine->micro;
  int32_t fair = largest_fair(queues);
  batch->n = 0;
  for (int32_t s = queues->n_stages - 1; s > 0; s--)
    if (queues->stage[s].n >= smaller(micro[s], fair)) {
      take_from(queues, s, smaller(micro[s], fair), batch);
      return;
    }
  for (int32_t s = 0; s < queues->n_stages; s++) {
    struct queue *queue = &queues->stage[s];
    if (queue->n > 0) {
      int32_t share = (queue->n + queues->idle - 1) / queues->idle;
      take_from(queues, s, smaller(share, smaller(micro[s], fair)), batch);
      return;
    }
    if (queue->running > 0) return; /* may still add to what lies deeper */
  }
}

/* Under the lock. */
static void give_back(struct ex_engine_queues *queues, const struct micro_batch *batch) {
  queues->stage[batch->stage].running -= batch->n;
  queues->idle++;
  int32_t n_left = 0;
  for (int32_t i = batch->n - 1; i >= 0; i--) {
    struct ex_engine_sample *sample = batch->sample[i];
    if (sample->exit >= 0) {
      n_left++;
      continue;
    }
    struct queue *queue = &queues->stage[ex__engine_next_stage(queues->engine, sample)];
    queue->item[queue->n++] = (int32_t)(sample - queues->engine->samples);
  }
  if (n_left > 0) atomic_fetch_sub(&queues->n_here, n_left);
}

static void run_batch(struct ex_engine_queues *queues, struct ex_engine_worker *worker,
                      const struct micro_batch *batch) {
  ex_engine *engine = queues->engine;
  const struct ex_env env = ex__engine_env(engine);
  if (batch->stage == queues->first)
    for (int32_t i = 0; i < batch->n; i++)
      ex__engine_enter(engine, worker, batch->sample[i],
                       queues->x + (batch->sample[i] - engine->samples) * engine->features);
  ex__engine_stage(engine, worker, batch->stage, batch->sample, batch->n);
  for (int32_t i = 0; i < batch->n; i++)
    if (ex__engine_arrived(batch->sample[i]))
      ex__engine_decide(engine, worker, batch->sample[i], &env);
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Spinning first: what is waited for is a part of a stage. */
static void wait_a_little(int32_t *n_waits) {
  if ((*n_waits)++ > 64) sched_yield();
  for (int i = 0; i < 32; i++) relax();
}

/* The lock is held for a fraction of a microsecond, and a thread that sleeps
 * for it comes back after tens of them, which is longer than a stage of a small
 * network: so it is tried for a while first. */
static void lock(struct ex_engine_queues *queues) {
  for (int32_t i = 0; i < LOCK_TRIES; i++) {
    if (pthread_mutex_trylock(&queues->lock) == 0) return;
    relax();
  }
  pthread_mutex_lock(&queues->lock);
}

/* One worker, until every sample has left. */
static void work(void *context, int64_t task, int32_t index) {
  (void)task;
  struct ex_engine_queues *queues = context;
  struct ex_engine_worker *worker = &queues->engine->workers[index];
  struct micro_batch batch = {.n = 0};
  int32_t n_waits = 0;
  if (worker->profiled) worker->lap = ex__now_ns();
  while (batch.n > 0 || atomic_load(&queues->n_here) > 0) {
    lock(queues);
    if (batch.n > 0) give_back(queues, &batch);
    take(queues, &batch);
    pthread_mutex_unlock(&queues->lock);
    if (batch.n == 0) {
      wait_a_little(&n_waits);
      continue;
    }
    ex__engine_lap(worker, &worker->ledger.queue_ns);
    run_batch(queues, worker, &batch);
    n_waits = 0;
  }
  ex__engine_lap(worker, &worker->ledger.queue_ns);
}

static void enqueue_all(struct ex_engine_queues *queues, ex_engine *engine, const float *x,
                        int32_t n) {
  queues->engine = engine;
  queues->x = x;
  queues->idle = engine->n_workers;
  atomic_store(&queues->n_here, n);
  queues->first = __builtin_ctz(engine->bodies[ex__engine_first_target(engine)]);
  struct queue *queue = &queues->stage[queues->first];
  for (int32_t i = 0; i < n; i++) queue->item[i] = n - 1 - i;
  queue->n = n;
}

enum ex_status ex_engine_run_many(ex_engine *engine, const float *x, int32_t n,
                                  struct ex_result *results) {
  if (engine == NULL || x == NULL || results == NULL || n < 1 || n > engine->max_batch ||
      !engine->has_policy)
    return EX_EINVAL;
  if (n == 1) return ex_engine_run(engine, x, results);
  ex__engine_open(engine, engine->workers, engine->n_workers);
  enqueue_all(engine->queues, engine, x, n);
  ex__pool_run(engine->pool, work, engine->queues, engine->n_workers);
  ex__engine_close(engine, engine->workers, engine->n_workers, n);
  enum ex_status status = EX_OK;
  for (int32_t i = 0; i < n; i++) {
    const struct ex_engine_sample *sample = &engine->samples[i];
    enum ex_status one = ex__engine_answer(engine, sample, sample->exit, &results[i]);
    if (one != EX_OK) status = one;
  }
  return status;
}
