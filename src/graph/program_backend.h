/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/program_backend: the frame that program.c keeps for every compiled
 * segment, and what a backend fills in. Only program.c and the backends
 * (program_twin.c, fast_infer*.c, fast_train*.c) include this.
 */
#ifndef EX_GRAPH_PROGRAM_BACKEND_H
#define EX_GRAPH_PROGRAM_BACKEND_H

#include "base/text.h"
#include "graph/op.h"
#include "graph/program.h"

struct ex_backend_class;

struct ex_program {
  const struct ex_backend_class *backend;
  const ex_graph *graph; /* outlives the program */
  int32_t segment;
  struct ex_program_options options;
  int32_t n_nodes, *nodes; /* ids of the segment's nodes, ascending */
  int32_t n_in, *in;       /* ids of values that other segments make */
  int32_t n_out, *out;     /* ids of values that others read, or that are kept */
  int64_t macs;            /* of one call */
  int64_t saved_bytes, transient_bytes;
  void *impl; /* the backend's own */
};

struct ex_run {
  const ex_program *program;
  void *saved;     /* saved_bytes, 64-byte aligned; NULL where that is 0 */
  void *transient; /* transient_bytes */
  bool owns_saved, owns_transient;
  int64_t executed_macs, backward_macs;
  void *impl; /* the backend's own; NULL where it needs none */
};

struct ex_backend_class {
  const char *name; /* "twin", "fast inference", "fast training" */
  /* Sets impl, saved_bytes and transient_bytes. On failure leaves nothing. */
  enum ex_status (*compile)(ex_program *program, const ex_slabs *params, const ex_slabs *buffers,
                            struct ex_error *err);
  void (*free_impl)(ex_program *program);
  void (*repack)(ex_program *program, const ex_slabs *params,
                 const ex_slabs *buffers); /* or NULL */
  /* Elements of the array of a port (of this program) for its whole batch; a
   * multiple of the batch, sample after sample. */
  int64_t (*port_size)(const ex_program *program, int32_t value);
  void (*to_plain)(const ex_program *program, int32_t value, int32_t n, const ex_real *port,
                   ex_real *plain);
  void (*from_plain)(const ex_program *program, int32_t value, int32_t n, const ex_real *plain,
                     ex_real *port);
  enum ex_status (*run_new)(ex_run *run, struct ex_error *err); /* or NULL */
  void (*run_free)(ex_run *run);                                /* or NULL */
  void (*forward)(ex_run *run, const struct ex_pass *pass, const ex_real *const *in,
                  ex_real *const *out);
  void (*backward)(ex_run *run, const struct ex_pass *pass, const ex_real *const *in,
                   ex_real *const *out, const ex_real *const *dout, ex_real *const *din,
                   const bool *din_add); /* NULL in inference */
  void (*describe)(const ex_program *program, struct ex_text *text);
};

extern const struct ex_backend_class ex__backend_twin;
#ifndef EX_NO_ONEDNN
extern const struct ex_backend_class ex__backend_fast_infer; /* EX_MODE_INFER */
extern const struct ex_backend_class ex__backend_fast_train; /* EX_MODE_TRAIN, frozen too */
#endif

#endif
