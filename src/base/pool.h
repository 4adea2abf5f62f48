/* SPDX-License-Identifier: Apache-2.0
 *
 * base/pool: a persistent pool of worker threads.
 *
 * The calling thread is worker 0, so a pool of one has no threads. Work that
 * is handed out is `n_tasks` calls of `run(context, task, worker)`, in any
 * order; the call returns when all have returned. One caller at a time.
 * Workers spin for a short while before they sleep, because a small network
 * is finished before a sleeping thread would wake.
 */
#ifndef EX_BASE_POOL_H
#define EX_BASE_POOL_H

#include <stdint.h>

#include "base/status.h"

typedef struct ex_pool ex_pool;
typedef void ex_pool_task(void *context, int64_t task, int32_t worker);

enum ex_status ex__pool_new(int32_t n_workers, ex_pool **out, struct ex_error *err); /* 1…256 */
int32_t ex__pool_size(const ex_pool *pool);
void ex__pool_run(ex_pool *pool, ex_pool_task *run, void *context, int64_t n_tasks);
void ex__pool_free(ex_pool *pool); /* accepts NULL */

#endif
