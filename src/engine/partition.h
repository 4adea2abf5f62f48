/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/partition: a network that is run by two machines: stages up to a point by
 * one, what follows by the other. ex_ticket (engine/pipeline.h) says how a
 * sample leaves the first and enters the second.
 */
#ifndef EX_ENGINE_PARTITION_H
#define EX_ENGINE_PARTITION_H

#include "engine/engine.h"
#include "net/cut.h"

typedef struct ex_partition ex_partition;

/* After `point`, in [0, n_points − 2]. Borrows the engine, which must have a
 * policy. EX_EUNSUPPORTED, and the error says which, where more than the cut would
 * have to travel: a rule that remembers earlier exits, an exit transform or heads
 * that read earlier ones, stages that later points do without, a rule that looks
 * at no point up to this one. */
enum ex_status ex__partition_new(const ex_engine *engine, int32_t point, ex_partition **out,
                                 struct ex_error *err);
void ex__partition_free(ex_partition *split); /* accepts NULL */
const ex_cut *ex__partition_cut(const ex_partition *split);
int32_t ex__partition_point(const ex_partition *split);
/* Whose body is the last before the cut. */
int32_t ex__partition_stage(const ex_partition *split);

#endif
