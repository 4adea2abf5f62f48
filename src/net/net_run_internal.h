/* SPDX-License-Identifier: Apache-2.0
 *
 * net/net_run_internal: what net_compiled, net_state, net_lane and net_measure
 * share.
 */
#ifndef EX_NET_NET_RUN_INTERNAL_H
#define EX_NET_NET_RUN_INTERNAL_H

#include "net/net_run.h"

enum { EX_MAX_SEGMENTS_OF_NET = EX_MAX_STAGES * EX_N_PARTS };

/* A port of a segment, as every program of it sees it. */
struct port {
  int32_t value;
  int64_t size;   /* elements per sample, in the port's layout */
  int64_t state;  /* where it lies in a state, in elements; −1: in none */
  int64_t gather; /* where it lies in a lane's gather buffer, in elements, for micro-batches */
};

struct segment {
  ex_program *program[EX_MICRO_SIZES]; /* for 1, 2, 4, 8; NULL past max_batch */
  int32_t n_in, n_out;
  struct port *in, *out; /* [n_in], [n_out] */
};

struct ex_compiled {
  const ex_net *net;
  int32_t n_sizes; /* compiled sizes: 1 << 0 … n_sizes − 1 */
  int32_t n_segments;
  struct segment segments[EX_MAX_SEGMENTS_OF_NET]; /* all NULL where the net has no such part */
  int32_t input;                                   /* the value */
  int64_t input_state;                             /* where it lies in a state */
  int64_t state_size;                              /* elements per sample */
  int64_t gather_size;                             /* elements of a lane's gather buffer */
  int64_t transient_bytes;                         /* the most that any program wants */
};

struct ex_lane {
  const ex_compiled *compiled;
  ex_run *run[EX_MAX_SEGMENTS_OF_NET][EX_MICRO_SIZES];
  void *transient;
  ex_real *gather;     /* [gather_size] */
  const ex_real **in;  /* [most ports] arguments of one call */
  ex_real **out;       /* [most ports] */
  ex_real *own_state;  /* [state_size] for measuring */
  ex_real *own_output; /* [n_outputs] */
};

/* Gives every port its place in the state. */
enum ex_status ex__state_plan(ex_compiled *compiled, struct ex_error *err);

static inline int64_t ex__aligned(int64_t elements) {
  int64_t line = 64 / (int64_t)sizeof(ex_real);
  return (elements + line - 1) / line * line;
}

#endif
