/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/engine_internal: what the files of this room share.
 *
 * A *sample* is one input on its way: the state that crosses cuts, the answers
 * so far, and where it goes next. A *worker* is one thread's tools. Both are
 * made with the engine; running moves samples through ex__engine_stage and
 * ex__engine_decide, one at a time (engine_one.c) or through queues
 * (engine_many.c).
 */
#ifndef EX_ENGINE_ENGINE_INTERNAL_H
#define EX_ENGINE_ENGINE_INTERNAL_H

#include "base/clock.h"
#include "base/pool.h"
#include "engine/engine.h"
#include "engine/partition.h"

enum { EX_MAX_SEGMENTS = EX_MAX_STAGES * EX_N_PARTS };

struct ex_engine_sample {
  ex_real *state;       /* [state_size], of net/net_run */
  ex_real *transform;   /* [transform_size], running state of the exit transform */
  void *scratch;        /* of the policy */
  ex_real *output;      /* [n_points][n_outputs], transformed */
  ex_real *probability; /* [n_outputs], of `point` */
  double gate;          /* of `point`; NaN: none */
  uint32_t ran;         /* bit p: the head of point p has run */
  uint32_t looked;      /* bit p: the policy has decided at point p */
  uint32_t bodies;      /* bit s: the body of stage s has run */
  int32_t target;       /* the point to be looked at next */
  int32_t point;        /* looked at last; −1: none yet */
  bool asked;           /* the policy has decided at `point` */
  int32_t exit;         /* the policy left with this point's answer; −1: it has not */
  int64_t macs;
  struct ex_answer answer[EX_MAX_POINTS]; /* where `ran` */
  ex_real gates[EX_MAX_POINTS];           /* where `looked` and there is one; else NaN */
};

struct ex_engine_worker {
  ex_lane *lane[EX_MAX_SEGMENTS]; /* by segment: all the same but for the lone worker */
  ex_real *input;                 /* [features], pre-processed */
  ex_real *raw;                   /* [EX_MICRO_BATCH][n_outputs] */
  ex_real *state[EX_MICRO_BATCH]; /* of the samples of a micro-batch */
  ex_real gate[EX_MICRO_BATCH];
  struct ex_ledger ledger; /* of this worker in the current call */
  int64_t lap;             /* when the last part ended */
  bool profiled;
};

struct ex_engine_queues; /* engine_many.c */

struct ex_engine {
  const ex_model *model;
  const ex_net *net;
  ex_policy policy;
  bool has_policy, ready_input;
  bool gates;            /* the policy reads them: else they do not run */
  bool asks_for_classes; /* a request named `classes` [n_classes] */
  int32_t n_classes, classes[EX_MAX_LIST];
  int32_t n_workers, max_batch;
  int64_t features;                 /* of one input */
  ex_plan *plan;                    /* NULL where nothing is timed */
  ex_compiled *compiled, *wide;     /* wide: all threads in one program; NULL: never faster */
  ex_lane **lanes, *wide_lane;      /* lanes [n_workers] of `compiled` */
  struct ex_engine_worker *workers; /* [n_workers] */
  struct ex_engine_worker lone;     /* shares buffers with worker 0 */
  struct ex_engine_sample *samples; /* [max_batch + 1]; the last is the anytime sample */
  struct ex_engine_queues *queues;
  ex_pool *pool;
  struct ex_cost cost;
  int32_t point_of[EX_MAX_STAGES]; /* −1: no answer point */
  uint32_t bodies[EX_MAX_POINTS];  /* that must have run before a point can be looked at */
  uint32_t closure[EX_MAX_POINTS]; /* heads that a point's answer needs, its own too */
  int32_t micro[EX_MAX_STAGES];    /* samples per micro-batch: 1, 2, 4 or 8 */
  void *slab;                      /* states, outputs, probabilities, buffers */
  void *scratch;                   /* of the policy, per sample */
  struct ex_ledger ledger;
  int64_t executed_before;
  int64_t began; /* when the call did; 0 unless profiled */
  bool profiled, begun;
};

/* ---- engine_sample.c ----------------------------------------------------- */

/* Puts a sample at the entrance. x [features]. */
void ex__engine_enter(const ex_engine *engine, struct ex_engine_worker *worker,
                      struct ex_engine_sample *sample, const float *x);
/* Runs the body of `stage` for n samples ≤ EX_MICRO_BATCH whose next stage it
 * is, and for those that thereby arrive at their target the heads that its
 * answer needs, and its gate. */
void ex__engine_stage(const ex_engine *engine, struct ex_engine_worker *worker, int32_t stage,
                      struct ex_engine_sample *const *samples, int32_t n);
/* Runs these heads of points whose bodies have run, in ascending order. */
void ex__engine_heads(const ex_engine *engine, struct ex_engine_worker *worker, uint32_t heads,
                      struct ex_engine_sample *sample);
/* What surrounds a request without a deadline: the classes that it asked for. */
struct ex_env ex__engine_env(const ex_engine *engine);
/* What the policy is shown at the point that was looked at last. */
struct ex_observation ex__engine_observe(const ex_engine *engine,
                                         const struct ex_engine_sample *sample);
/* Asks the policy at the point that was looked at last: the sample leaves
 * (`exit` is set), or aims at another point. */
struct ex_decision ex__engine_decide(const ex_engine *engine, struct ex_engine_worker *worker,
                                     struct ex_engine_sample *sample, const struct ex_env *env);
/* Fills the result with the answer of a point that ran; EX_ENOTFINITE where it has none. */
enum ex_status ex__engine_answer(const ex_engine *engine, const struct ex_engine_sample *sample,
                                 int32_t point, struct ex_result *result);

/* Nanoseconds, by the measured times, until the sample's next point was looked at. */
int64_t ex__engine_time_to_target(const ex_engine *engine, const struct ex_engine_sample *sample);
/* The point whose answer is best so far: the policy's, else the deepest that is a
 * number; −1: none. */
int32_t ex__engine_best(const struct ex_engine_sample *sample);

static inline bool ex__engine_arrived(const struct ex_engine_sample *sample) {
  return sample->point == sample->target;
}

/* Of stages and of points, as bits: what must still run to look at `target`. */
static inline uint32_t ex__engine_bodies_to(const ex_engine *engine,
                                            const struct ex_engine_sample *sample, int32_t target) {
  return engine->bodies[target] & ~sample->bodies;
}
static inline uint32_t ex__engine_heads_to(const ex_engine *engine,
                                           const struct ex_engine_sample *sample, int32_t target) {
  return engine->closure[target] & ~sample->ran;
}

/* Whose body runs next, of a sample that has not arrived. The target's own stage
 * is always among them: points are looked at in ascending order. */
static inline int32_t ex__engine_next_stage(const ex_engine *engine,
                                            const struct ex_engine_sample *sample) {
  return __builtin_ctz(ex__engine_bodies_to(engine, sample, sample->target));
}

/* The point that every sample of a request aims at first. */
static inline int32_t ex__engine_first_target(const ex_engine *engine) {
  if (!engine->has_policy) return 0;
  return ex__policy_next(&engine->policy, -1, engine->net->n_points - 1);
}

/* ---- engine_partition.c --------------------------------------------------- */

/* Fills `out`, but for `stops`, from a sample whose bodies up to the stage of `point`
 * have run, and none later; the point must be allowed. */
void ex__engine_carry(const ex_engine *engine, struct ex_engine_worker *worker,
                      struct ex_engine_sample *sample, const ex_partition *partition, int32_t point,
                      struct ex_crossing *out);
/* The sample goes on where the crossing, which was checked, left; its multiply-adds
 * are those from there. */
void ex__engine_resume(const ex_engine *engine, struct ex_engine_sample *sample,
                       const ex_partition *partition, const struct ex_crossing *crossing,
                       const struct ex_env *env);
/* Only what says where it is on its way, before it is resumed. */
void ex__engine_place(const ex_engine *engine, struct ex_engine_sample *sample,
                      const struct ex_crossing *crossing);

/* ---- engine.c ------------------------------------------------------------- */

int64_t ex__engine_executed(const ex_engine *engine); /* by all counters, since it was made */
/* Brackets of a call: the ledger is emptied, and gathered from the workers used. */
void ex__engine_open(ex_engine *engine, struct ex_engine_worker *workers, int32_t n_workers);
void ex__engine_close(ex_engine *engine, struct ex_engine_worker *workers, int32_t n_workers,
                      int32_t n_samples);

/* Charges the time since the last lap to a part. */
static inline void ex__engine_lap(struct ex_engine_worker *worker, int64_t *part_ns) {
  if (!worker->profiled) return;
  int64_t now = ex__now_ns();
  *part_ns += now - worker->lap;
  worker->lap = now;
}

/* ---- engine_tune.c -------------------------------------------------------- */

/* Chooses micro-batches and the lone sample's lanes, and measures the cost
 * table's times; by rule, but for the times, where `untimed`. */
enum ex_status ex__engine_tune(ex_engine *engine, bool untimed, struct ex_error *err);

/* ---- engine_many.c -------------------------------------------------------- */

enum ex_status ex__engine_queues_new(int32_t n_stages, int32_t max_batch,
                                     struct ex_engine_queues **out);
void ex__engine_queues_free(struct ex_engine_queues *queues); /* accepts NULL */

#endif
