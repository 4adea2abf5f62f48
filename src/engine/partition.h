/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/partition: a network that two machines run: stages up to a point by the
 * one, what follows by the other. ex_ticket (engine/pipeline.h) says how a sample
 * leaves the first and enters the second.
 *
 * What crosses is enough to go on as if nothing had been cut: the values of the cut,
 * the running state of the exit transform, and what the heads before it said. From
 * that the second machine shows the rule again what it was shown before, so whatever
 * a rule remembers need not be known here, nor believed from outside.
 */
#ifndef EX_ENGINE_PARTITION_H
#define EX_ENGINE_PARTITION_H

#include "engine/engine.h"

typedef struct ex_partition ex_partition;

/* What one sample carries over. */
struct ex_crossing {
  int32_t point;    /* the cut lies behind its stage */
  int32_t target;   /* the point to be looked at next, > point */
  bool stops;       /* and whose answer is given: the policy has left before */
  uint32_t ran;     /* bit p ≤ point: what the head of p said crosses */
  uint32_t looked;  /* of these: the rule decided there */
  ex_real *numbers; /* [memory + values]: [n_outputs] for each point that ran, a gate for each
                       that was looked at where the rule reads gates, the transform's running
                       state; then the values of the cut */
};

/* Borrows the engine, which must have a policy. */
enum ex_status ex__partition_new(const ex_engine *engine, ex_partition **out, struct ex_error *err);
void ex__partition_free(ex_partition *partition); /* accepts NULL */

/* May a sample cross behind `point`? EX_EINVAL: it must be in [0, n_points − 2];
 * EX_EUNSUPPORTED: a later point does without a stage before it, which would then be
 * run for nothing. */
enum ex_status ex__partition_allows(const ex_partition *partition, int32_t point,
                                    struct ex_error *err);
/* May samples be split there for a saving: the rule can leave at or before `point`. */
enum ex_status ex__partition_pays(const ex_partition *partition, int32_t point,
                                  struct ex_error *err);
/* Are point, target, ran and looked of a crossing from outside such that this
 * engine could have written them? Its numbers are not looked at. */
enum ex_status ex__partition_check(const ex_partition *partition,
                                   const struct ex_crossing *crossing, struct ex_error *err);

/* Numbers before those of the cut, and of the cut behind a point that is allowed. */
int64_t ex__partition_memory(const ex_partition *partition, uint32_t ran, uint32_t looked);
int64_t ex__partition_values(const ex_partition *partition, int32_t point);
/* The tensors of that cut, i in [0, ex__partition_tensors); their elements follow one another. */
int32_t ex__partition_tensors(const ex_partition *partition, int32_t point);
const struct ex_shape *ex__partition_tensor(const ex_partition *partition, int32_t point,
                                            int32_t i);
/* Most numbers that can cross behind a point that is allowed. */
int64_t ex__partition_most(const ex_partition *partition, int32_t point);
/* Multiply-adds of the bodies that have run when a sample crosses there. */
int64_t ex__partition_macs(const ex_partition *partition, int32_t point);

#endif
