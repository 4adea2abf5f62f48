/* SPDX-License-Identifier: Apache-2.0
 *
 * net/net_run: running stages of a network for inference, for the engine and
 * the trace recorder alike.
 *
 * `ex_compiled` holds the programs of all segments for the micro-batch sizes
 * 1, 2, 4 and 8; it is immutable and shared by threads. `ex_lane` is one
 * thread's own: runs, transient memory, gather buffers. What one sample carries
 * from stage to stage is its *state*: one array that holds every value that
 * crosses a cut, placed by live interval, in the ports' layout, so that a
 * lone sample runs in place, and a micro-batch gathers by copying.
 *
 * The law: the bits of a sample depend neither on who shares its micro-batch,
 * nor on its size, nor on threads.
 */
#ifndef EX_NET_NET_RUN_H
#define EX_NET_NET_RUN_H

#include "graph/program.h"
#include "net/net.h"

enum { EX_MICRO_BATCH = 8, EX_MICRO_SIZES = 4 }; /* largest; how many sizes (1, 2, 4, 8) */
enum { EX_MAX_ROUNDS = 64 };                     /* of one measurement */

struct ex_compile_options {
  enum ex_backend backend;
  int32_t threads;      /* inside one program; 1 where lanes run side by side */
  int32_t max_batch;    /* largest micro-batch to compile: 1, 2, 4 or 8 */
  bool fast;            /* admit algorithms that do not keep the bits */
  struct ex_plan *plan; /* timed choices; NULL: by rule, nothing is timed */
};

typedef struct ex_compiled ex_compiled;
typedef struct ex_lane ex_lane;

enum ex_status ex__compiled_new(const ex_net *net, const struct ex_compile_options *options,
                                ex_compiled **out, struct ex_error *err); /* borrows the net */
void ex__compiled_free(ex_compiled *compiled);                            /* accepts NULL */
/* Packs the net's current weights again; no lane may be running. */
void ex__compiled_repack(ex_compiled *compiled);
const ex_net *ex__compiled_net(const ex_compiled *compiled);
int64_t ex__compiled_state_size(const ex_compiled *compiled); /* elements per sample */
int64_t ex__compiled_bytes(const ex_compiled *compiled);      /* packed weights, about */
struct ex_text;
void ex__compiled_describe(const ex_compiled *compiled, struct ex_text *text);

enum ex_status ex__lane_new(const ex_compiled *compiled, ex_lane **out, struct ex_error *err);
void ex__lane_free(ex_lane *lane); /* accepts NULL */

/* None of these can fail or allocate. `state` [n]: the samples' states, each
 * ex__compiled_state_size elements, 64-byte aligned; any n ≥ 1, which the lane
 * splits into compiled sizes. A state must have run the bodies that this one, or
 * this point, needs (ex__net_bodies), in ascending order on the way to each point;
 * a head or gate runs after the body of its stage and before the next body,
 * except that a head which later points need may run until the last of them. */
void ex__lane_input(const ex_lane *lane, const ex_real *x, ex_real *state); /* x [input], plain */
void ex__lane_body(ex_lane *lane, int32_t stage, ex_real *const *state, int32_t n);
/* output [n][n_outputs]: raw, plain. */
void ex__lane_head(ex_lane *lane, int32_t point, ex_real *const *state, int32_t n, ex_real *output);
void ex__lane_gate(ex_lane *lane, int32_t point, ex_real *const *state, int32_t n,
                   ex_real *score); /* score [n]; only where the point has a gate */
int64_t ex__lane_executed_macs(const ex_lane *lane); /* so far, by the steps that ran */

/* Fills the ns columns of `cost`: medians over `rounds` of one sample at a
 * time with the lane's threads, 1 to EX_MAX_ROUNDS; every round runs the whole
 * net, so that caches are as they are in use. */
void ex__lane_measure(ex_lane *lane, const ex_real *x, int32_t rounds, struct ex_cost *cost);

#endif
