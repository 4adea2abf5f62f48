/* SPDX-License-Identifier: Apache-2.0
 *
 * base/pool: worker threads that wait by spinning first and sleeping then.
 *
 * A batch of tasks is announced by raising `generation`; tasks are claimed
 * one by one from `next`, so that a slow task holds up only its worker. The
 * last worker to finish lowers `pending` to 0, for which the caller waits.
 * Both waits are: spin for SPIN_NS, then sleep on a condition. Who is about
 * to sleep counts itself *before* it looks at the condition a last time, and
 * who wakes looks at the count *after* it changed the condition (both
 * sequentially consistent), so no wake-up is lost and none is paid for when
 * everybody still spins. With more workers than processors nobody spins.
 *
 * Workers block all signals: these belong to the program's own threads.
 */
#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

enum { MAX_WORKERS = 256, SPIN_NS = 50000 };

struct worker {
  ex_pool *pool;
  pthread_t thread;
  int32_t index;
};

struct ex_pool {
  int32_t n_workers, n_started; /* started: threads to join */
  int64_t spin_ns;
  struct worker *workers; /* [n_workers]; entry 0 is the caller and unused */
  pthread_mutex_t lock;
  pthread_cond_t announced, finished;
  atomic_uint generation;
  atomic_int sleepers, caller_sleeps, pending;
  atomic_llong next;
  /* Written before `generation` is raised, read after it was seen. */
  bool stop;
  ex_pool_task *run;
  void *context;
  int64_t n_tasks;
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void work(ex_pool *pool, int32_t worker) {
  for (;;) {
    int64_t task = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
    if (task >= pool->n_tasks) return;
    pool->run(pool->context, task, worker);
  }
}

/* Whether `*counter` left `value` while we spun. */
static bool spin_until_changed(const ex_pool *pool, atomic_uint *counter, unsigned value) {
  if (pool->spin_ns == 0) return atomic_load(counter) != value;
  int64_t end = ex__now_ns() + pool->spin_ns;
  do {
    for (int i = 0; i < 32; i++) {
      if (atomic_load_explicit(counter, memory_order_acquire) != value) return true;
      relax();
    }
  } while (ex__now_ns() < end);
  return false;
}

static void await_generation(ex_pool *pool, unsigned seen) {
  if (spin_until_changed(pool, &pool->generation, seen)) return;
  pthread_mutex_lock(&pool->lock);
  atomic_fetch_add(&pool->sleepers, 1);
  while (atomic_load(&pool->generation) == seen) pthread_cond_wait(&pool->announced, &pool->lock);
  atomic_fetch_sub(&pool->sleepers, 1);
  pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *argument) {
  struct worker *self = argument;
  ex_pool *pool = self->pool;
  for (unsigned seen = 0;; seen++) {
    await_generation(pool, seen);
    if (pool->stop) return NULL;
    work(pool, self->index);
    if (atomic_fetch_sub(&pool->pending, 1) == 1 && atomic_load(&pool->caller_sleeps)) {
      pthread_mutex_lock(&pool->lock);
      pthread_cond_signal(&pool->finished);
      pthread_mutex_unlock(&pool->lock);
    }
  }
}

static void announce(ex_pool *pool) {
  atomic_fetch_add(&pool->generation, 1);
  if (atomic_load(&pool->sleepers) == 0) return;
  pthread_mutex_lock(&pool->lock);
  pthread_cond_broadcast(&pool->announced);
  pthread_mutex_unlock(&pool->lock);
}

static void await_workers(ex_pool *pool) {
  int64_t end = ex__now_ns() + pool->spin_ns;
  do {
    for (int i = 0; i < 32; i++) {
      if (atomic_load(&pool->pending) == 0) return;
      relax();
    }
  } while (ex__now_ns() < end);
  pthread_mutex_lock(&pool->lock);
  atomic_store(&pool->caller_sleeps, 1);
  while (atomic_load(&pool->pending) != 0) pthread_cond_wait(&pool->finished, &pool->lock);
  atomic_store(&pool->caller_sleeps, 0);
  pthread_mutex_unlock(&pool->lock);
}

void ex__pool_run(ex_pool *pool, ex_pool_task *run, void *context, int64_t n_tasks) {
  if (pool->n_workers == 1 || n_tasks <= 1) {
    for (int64_t task = 0; task < n_tasks; task++) run(context, task, 0);
    return;
  }
  pool->run = run;
  pool->context = context;
  pool->n_tasks = n_tasks;
  atomic_store(&pool->next, 0);
  atomic_store(&pool->pending, pool->n_workers - 1);
  announce(pool);
  work(pool, 0);
  await_workers(pool);
}

static int start_worker(ex_pool *pool, int32_t index) {
  struct worker *worker = &pool->workers[index];
  worker->pool = pool;
  worker->index = index;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int code = pthread_create(&worker->thread, NULL, worker_main, worker);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return code;
}

enum ex_status ex__pool_new(int32_t n_workers, ex_pool **out, struct ex_error *err) {
  *out = NULL;
  if (n_workers < 1 || n_workers > MAX_WORKERS)
    return ex__fail(err, EX_EINVAL, "pool: %d workers; must be in [1, %d]", (int)n_workers,
                    MAX_WORKERS);
  ex_pool *pool = ex__calloc(1, sizeof *pool);
  struct worker *workers = ex__calloc((size_t)n_workers, sizeof *workers);
  if (pool == NULL || workers == NULL) {
    ex__free(pool);
    ex__free(workers);
    return ex__fail(err, EX_ENOMEM, "pool: no memory for %d workers", (int)n_workers);
  }
  pool->workers = workers;
  pool->n_workers = n_workers;
  pool->spin_ns = sysconf(_SC_NPROCESSORS_ONLN) >= n_workers ? SPIN_NS : 0;
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->announced, NULL);
  pthread_cond_init(&pool->finished, NULL);
  for (int32_t i = 1; i < n_workers; i++, pool->n_started++) {
    int code = start_worker(pool, i);
    if (code == 0) continue;
    ex__pool_free(pool);
    return ex__fail(err, EX_ENOMEM, "pool: cannot start worker %d of %d: %s", (int)i,
                    (int)n_workers, strerror(code));
  }
  *out = pool;
  return EX_OK;
}

int32_t ex__pool_size(const ex_pool *pool) { return pool->n_workers; }

void ex__pool_free(ex_pool *pool) {
  if (pool == NULL) return;
  pool->stop = true;
  announce(pool);
  for (int32_t i = 1; i <= pool->n_started; i++) pthread_join(pool->workers[i].thread, NULL);
  pthread_cond_destroy(&pool->finished);
  pthread_cond_destroy(&pool->announced);
  pthread_mutex_destroy(&pool->lock);
  ex__free(pool->workers);
  ex__free(pool);
}
