/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/pipeline: samples that come at any time, from any thread, share the
 * stages of one engine.
 *
 * ex_engine_run_many is given its samples together and returns when all have
 * left; a server is not. Here workers take micro-batches from a queue per
 * stage for as long as the pipeline lives, and samples of strangers that need
 * the same stage now run it together. Bits do not depend on company
 * (net/net_run.h), so an answer is the one that ex_engine_run gives.
 *
 * There is room for as many samples as the engine was made for (max_batch);
 * what does not fit is refused at once, never kept waiting.
 */
#ifndef EX_ENGINE_PIPELINE_H
#define EX_ENGINE_PIPELINE_H

#include "engine/engine.h"
#include "engine/partition.h"

typedef struct ex_pipeline ex_pipeline;

/* What was answered for one sample. */
struct ex_pipeline_answer {
  /* EX_OK; EX_ENOTFINITE: label is −1; EX_EDEADLINE: not even one exit could be
   * reached in time, and the result holds nothing. */
  enum ex_status status;
  bool final;              /* false: a better one follows */
  bool hurried;            /* the deadline ended it, not the policy */
  bool crosses;            /* the ticket's crossing is filled, the rest is another machine's; the
                              result is the best so far */
  int32_t wanted;          /* exit at which the policy would leave; −1: it was not asked so far */
  int32_t first;           /* the exit that was looked at first; −1: none */
  double first_confidence; /* there; NaN: none */
  const float *logits;     /* [n_outputs], valid during the call; as result.logits */
  struct ex_result result;
};
/* Called by a worker, without locks; must neither block for long nor call the
 * pipeline's free. */
typedef void ex_pipeline_answered(void *context, const struct ex_pipeline_answer *answer);

/* What one sample asks for. It must live until its final answer was given. */
struct ex_ticket {
  const float *x;         /* [features], as the engine takes inputs */
  int32_t max_exit;       /* the last exit that may be run; −1: the network's last */
  int32_t later;          /* answers this many exits later than the policy says, ≥ 0 */
  bool both;              /* the policy's answer first, then that of max_exit */
  int64_t deadline_ns;    /* by ex__now_ns; INT64_MAX: none */
  const int32_t *classes; /* [n_classes] of interest, see struct ex_request; NULL: the policy's */
  int32_t n_classes;
  /* Of a network that two machines run; NULL: the whole is run here. With x a sample
   * that has no answer behind the point crossing->point, which must be allowed, ends
   * there and fills the crossing (`numbers` [ex__partition_most]). Without x (NULL) it
   * goes on from the crossing, which must have been checked. `both` must be false. */
  struct ex_crossing *crossing;
  ex_pipeline_answered *answered;
  void *context;
};

struct ex_pipeline_stats {
  int32_t waiting, capacity;      /* samples inside now, and at most */
  int64_t executed;               /* multiply-adds, by the programs' own counters */
  int64_t batches[EX_MAX_STAGES]; /* micro-batches run by each stage, and their samples */
  int64_t samples[EX_MAX_STAGES];
};

/* Borrows the engine, which nobody else may run meanwhile; it must have a
 * policy. n_workers in [1, 256], a thread each, with one-thread programs
 * whatever the engine's own threads. */
enum ex_status ex__pipeline_new(ex_engine *engine, int32_t n_workers, ex_pipeline **out,
                                struct ex_error *err);
/* Waits until every sample has been answered, then stops the workers. Nothing
 * may be submitted meanwhile. Accepts NULL. */
void ex__pipeline_free(ex_pipeline *pipeline);

/* How the engine's network may be split; the pipeline's own. */
const ex_partition *ex__pipeline_partition(const ex_pipeline *pipeline);

/* All n samples or none: false where there is no room for them now. Their
 * answers may come before the call returns. */
bool ex__pipeline_submit(ex_pipeline *pipeline, const struct ex_ticket *const *tickets, int32_t n);
void ex__pipeline_stats(ex_pipeline *pipeline, struct ex_pipeline_stats *stats);

#endif
