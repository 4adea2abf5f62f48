/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/program: one segment of a graph, compiled for a batch size and a mode.
 *
 * A program is immutable and may be shared by threads. Everything that can
 * fail fails when it is compiled; running has no error. What changes while it
 * runs lives in an `ex_run`, which belongs to one thread at a time: saved
 * activations (alive from forward to backward) in the run itself, and scratch
 * that is alive only inside one call in a transient arena that several runs
 * of one thread may share.
 *
 * Ports. `in` are the values of other segments that this one reads, `out` the
 * values it makes for others or that are kept; both in ascending order of id.
 * The graph's input is an in port of each segment that reads it, also of the
 * one it was added in, and never an out port.
 * A port's array holds `ex__program_*_size` elements in the port's own layout:
 * plain for the graph's input and for rank-1 values; for rank 3 the backend
 * decides by (mode, layout option, shape) alone, so that all programs of one
 * network that were compiled with the same options agree. Use
 * ex__port_to_plain / _from_plain where [batch][c][h][w] is needed.
 *
 * Inference folds batch-norm and activations into convolutions and packs
 * weights when compiled: compile again (or ex__program_repack) after weights
 * change. Training reads the weights at every call.
 */
#ifndef EX_GRAPH_PROGRAM_H
#define EX_GRAPH_PROGRAM_H

#include "graph/graph.h"

enum ex_mode { EX_MODE_INFER, EX_MODE_TRAIN };
enum ex_backend {
  EX_BACKEND_FAST,
  EX_BACKEND_TWIN
}; /* FAST means TWIN in a build without oneDNN */
enum ex_layout {
  EX_LAYOUT_AUTO,   /* timed, or by rule where nothing may be timed */
  EX_LAYOUT_NHWC,   /* channels last, own loops for norms, concat, add: narrow networks */
  EX_LAYOUT_BLOCKED /* oneDNN's blocked layouts with Winograd: wide networks, training */
};

/* Timed choices of algorithm and layout, keyed by layer, shape, CPU and
 * oneDNN version. Stored with models and checkpoints and used again, so that a
 * resumed or replayed run never re-times. Not safe for concurrent compiling. */
typedef struct ex_plan ex_plan;
enum ex_status ex__plan_new(ex_plan **out);
void ex__plan_free(ex_plan *plan); /* accepts NULL */
json_t *ex__plan_to_json(const ex_plan *plan);
enum ex_status ex__plan_from_json(const json_t *json, ex_plan **out, struct ex_error *err);

/* Channels (of rank 1: features) of an in port whose gradient nobody wants. */
struct ex_blocked {
  int32_t value, from, to; /* 0 ≤ from < to */
};

struct ex_program_options {
  int32_t batch; /* samples per call, ≥ 1 */
  enum ex_mode mode;
  enum ex_backend backend;
  enum ex_layout layout;
  int32_t threads;        /* inside one call; bits of inference do not depend on it */
  bool fast;              /* admit inference algorithms that do not keep the bits (Winograd) */
  ex_plan *plan;          /* NULL: fixed choices, nothing is timed */
  bool frozen;            /* training mode: run as inference would, no gradients, statistics stay */
  bool no_input_gradient; /* training mode: nobody wants din (first stage, frozen body below) */
  const struct ex_blocked *blocked; /* [n_blocked] training mode; borrowed while it is compiled */
  int32_t n_blocked;
};

/* What EX_LAYOUT_AUTO becomes for training all segments of `graph` with this
 * batch and this many threads. With a plan it is timed once and stored there;
 * without one it is decided by rule (NHWC where most work is narrow). */
enum ex_layout ex__layout_choose(const ex_graph *graph, int32_t batch, int32_t threads,
                                 ex_plan *plan);

typedef struct ex_program ex_program;
typedef struct ex_run ex_run;

enum ex_status ex__program_new(const ex_graph *graph, int32_t segment, const ex_slabs *params,
                               const ex_slabs *buffers, const struct ex_program_options *options,
                               ex_program **out, struct ex_error *err);
void ex__program_free(ex_program *program); /* accepts NULL */
/* Packs the current weights again (inference); not while it runs. */
void ex__program_repack(ex_program *program, const ex_slabs *params, const ex_slabs *buffers);

int32_t ex__program_n_in(const ex_program *program);
int32_t ex__program_n_out(const ex_program *program);
int32_t ex__program_in_value(const ex_program *program, int32_t i); /* id in the graph */
int32_t ex__program_out_value(const ex_program *program, int32_t i);
int64_t ex__program_in_size(const ex_program *program,
                            int32_t i); /* elements for the whole batch */
int64_t ex__program_out_size(const ex_program *program, int32_t i); /* a multiple of batch */
int64_t ex__program_macs(const ex_program *program);        /* per call, whole batch, as planned */
int64_t ex__program_saved_bytes(const ex_program *program); /* of one run */
int64_t ex__program_transient_bytes(const ex_program *program); /* to be given to ex__run_new */
/* One line per step (operator, implementation, layout, algorithm), for `inspect`. */
struct ex_text;
void ex__program_describe(const ex_program *program, struct ex_text *text);

/* Layout changes of one sample or a whole batch: `n` samples of value `value`. */
void ex__port_to_plain(const ex_program *program, int32_t value, int32_t n, const ex_real *port,
                       ex_real *plain);
void ex__port_from_plain(const ex_program *program, int32_t value, int32_t n, const ex_real *plain,
                         ex_real *port);

/* `transient`: ≥ ex__program_transient_bytes, 64-byte aligned, may be shared by
 * runs that never run at the same time; NULL lets the run own one. */
enum ex_status ex__run_new(const ex_program *program, void *transient, ex_run **out,
                           struct ex_error *err);
/* A run without memory of its own. Before each call, ex__run_place says where
 * its saved activations lie (ex__program_saved_bytes; between a forward and its
 * backward they stay where they are, and intact) and its scratch. */
enum ex_status ex__run_new_placed(const ex_program *program, ex_run **out, struct ex_error *err);
void ex__run_place(ex_run *run, void *saved, void *transient); /* 64-byte aligned */
void ex__run_free(ex_run *run);                                /* accepts NULL */

struct ex_pass {
  const ex_slabs
      *params; /* training mode only; the slabs that it was compiled with have the same layout */
  ex_slabs *buffers; /* training mode: batch-norm statistics move here; NULL: they stay */
  ex_slabs *grads;   /* backward ADDS here */
  uint64_t seed;     /* of this step, for dropout */
};

/* in[i], out[i]: arrays of the ports, 64-byte aligned, not overlapping. `pass`
 * may be NULL in inference. Adds what it really executed to the run's counter. */
void ex__run_forward(ex_run *run, const struct ex_pass *pass, const ex_real *const *in,
                     ex_real *const *out);
/* After a forward of the same run with the same in and out arrays still intact.
 * dout[i]: gradient of out port i, NULL = zero (its work is skipped).
 * din[i]: where the gradient of in port i goes, NULL = not wanted;
 * din_add[i]: add to what is there instead of writing over it. Channels that were
 * blocked when it was compiled get a part of their gradient, or zero: whatever
 * takes least work. */
void ex__run_backward(ex_run *run, const struct ex_pass *pass, const ex_real *const *in,
                      ex_real *const *out, const ex_real *const *dout, ex_real *const *din,
                      const bool *din_add);
/* Multiply-adds that this run's forward calls executed so far, by its steps. */
int64_t ex__run_executed_macs(const ex_run *run);
/* The same of backward calls: of the products that give gradients of weights
 * and of inputs. */
int64_t ex__run_backward_macs(const ex_run *run);

#endif
