/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/program: the frame around a compiled segment.
 *
 * Here it is found which nodes and ports a segment has, the options are
 * checked, and a backend is picked; all else is the backend's. An input of the
 * graph is no node of any program: it is an in port of each segment that reads
 * it, its own included, and an out port of none.
 */
#include "graph/program.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "graph/program_backend.h"

static bool runs_as_inference(const struct ex_program_options *options) {
  return options->mode == EX_MODE_INFER || options->frozen;
}

static const struct ex_backend_class *pick_backend(const struct ex_program_options *options) {
#ifndef EX_NO_ONEDNN
  static const struct ex_backend_class *const fast_infer = &ex__backend_fast_infer;
  static const struct ex_backend_class *const fast_train = &ex__backend_fast_train;
  if (options->backend == EX_BACKEND_FAST)
    return options->mode == EX_MODE_INFER ? fast_infer : fast_train;
#endif
  (void)options;
  return &ex__backend_twin;
}

/* ---- nodes and ports ------------------------------------------------------- */

static bool is_given(const struct ex_node *node) { return node->op->max_in == 0; }

/* What a value is to one segment. */
enum { IS_NODE = 1, IS_IN = 2, IS_OUT = 4 };

static void mark_values(const ex_graph *graph, int32_t segment, uint8_t *mark) {
  int32_t n = ex__graph_n_nodes(graph);
  for (int32_t id = 0; id < n; id++) {
    const struct ex_node *node = ex__graph_node(graph, id);
    bool own = node->segment == segment;
    if (own && !is_given(node)) mark[id] |= node->kept ? IS_NODE | IS_OUT : IS_NODE;
    for (int32_t i = 0; i < node->n_in; i++) {
      int32_t from = node->in[i];
      bool made_here = (mark[from] & IS_NODE) != 0;
      if (own && !made_here) mark[from] |= IS_IN;
      if (!own && made_here) mark[from] |= IS_OUT;
    }
  }
}

static int32_t *collect(const uint8_t *mark, int32_t n, int bit, int32_t *count) {
  int32_t *ids = ex__alloc((size_t)n, sizeof *ids);
  *count = 0;
  for (int32_t id = 0; ids != NULL && id < n; id++)
    if (mark[id] & bit) ids[(*count)++] = id;
  return ids;
}

static enum ex_status collect_values(ex_program *program, struct ex_error *err) {
  const ex_graph *graph = program->graph;
  int32_t n = ex__graph_n_nodes(graph);
  uint8_t *mark = ex__calloc((size_t)n, 1);
  if (mark != NULL) {
    mark_values(graph, program->segment, mark);
    program->nodes = collect(mark, n, IS_NODE, &program->n_nodes);
    program->in = collect(mark, n, IS_IN, &program->n_in);
    program->out = collect(mark, n, IS_OUT, &program->n_out);
  }
  ex__free(mark);
  if (program->nodes == NULL || program->in == NULL || program->out == NULL)
    return ex__fail(err, EX_ENOMEM, "program: no memory for %d values", (int)n);
  if (program->n_out == 0)
    return ex__fail(err, EX_EINVAL,
                    "segment %d: makes nothing that another segment reads or that is kept",
                    (int)program->segment);
  return EX_OK;
}

/* ---- compiling --------------------------------------------------------------- */

static enum ex_status check_options(const ex_graph *graph, int32_t segment,
                                    const struct ex_program_options *options,
                                    struct ex_error *err) {
  if (segment < 0 || segment >= ex__graph_n_segments(graph))
    return ex__fail(err, EX_EINVAL, "program: segment = %d; must be in [0, %d]", (int)segment,
                    (int)ex__graph_n_segments(graph) - 1);
  if (options->batch < 1 || options->batch > 65536)
    return ex__fail(err, EX_EINVAL, "program: batch = %d; must be in [1, 65536]",
                    (int)options->batch);
  if (options->threads < 1 || options->threads > 256)
    return ex__fail(err, EX_EINVAL, "program: threads = %d; must be in [1, 256]",
                    (int)options->threads);
  return EX_OK;
}

static enum ex_status check_nodes(ex_program *program, struct ex_error *err) {
  if (__builtin_mul_overflow(ex__graph_segment_macs(program->graph, program->segment),
                             program->options.batch, &program->macs))
    return ex__fail(err, EX_ESHAPE, "program: more than 2^63 multiply-adds per call");
  for (int32_t i = 0; i < program->n_nodes && !runs_as_inference(&program->options); i++) {
    const struct ex_node *node = ex__graph_node(program->graph, program->nodes[i]);
    if (node->op->backward == NULL)
      return ex__fail(err, EX_EUNSUPPORTED, "program: %s has no gradient, so it cannot be trained",
                      node->op->name);
  }
  return EX_OK;
}

static enum ex_status compile(ex_program *program, const ex_slabs *params, const ex_slabs *buffers,
                              struct ex_error *err) {
  EX_TRY(collect_values(program, err));
  EX_TRY(check_nodes(program, err));
  const struct ex_backend_class *backend = pick_backend(&program->options);
  program->backend = backend;
  enum ex_status status = backend->compile(program, params, buffers, err);
  if (status != EX_OK) program->backend = NULL; /* it left nothing to be freed */
  return status;
}

enum ex_status ex__program_new(const ex_graph *graph, int32_t segment, const ex_slabs *params,
                               const ex_slabs *buffers, const struct ex_program_options *options,
                               ex_program **out, struct ex_error *err) {
  *out = NULL;
  EX_TRY(check_options(graph, segment, options, err));
  ex_program *program = ex__calloc(1, sizeof *program);
  if (program == NULL) return ex__fail(err, EX_ENOMEM, "program: no memory");
  program->graph = graph;
  program->segment = segment;
  program->options = *options;
  enum ex_status status = compile(program, params, buffers, err);
  program->options.blocked = NULL; /* it was borrowed */
  program->options.n_blocked = 0;
  if (status != EX_OK) {
    ex__program_free(program);
    return status;
  }
  *out = program;
  return EX_OK;
}

void ex__program_free(ex_program *program) {
  if (program == NULL) return;
  if (program->backend != NULL) program->backend->free_impl(program);
  ex__free(program->nodes);
  ex__free(program->in);
  ex__free(program->out);
  ex__free(program);
}

void ex__program_repack(ex_program *program, const ex_slabs *params, const ex_slabs *buffers) {
  if (program->backend->repack != NULL) program->backend->repack(program, params, buffers);
}

/* ---- asking --------------------------------------------------------------------- */

int32_t ex__program_n_in(const ex_program *program) { return program->n_in; }

int32_t ex__program_n_out(const ex_program *program) { return program->n_out; }

int32_t ex__program_in_value(const ex_program *program, int32_t i) { return program->in[i]; }

int32_t ex__program_out_value(const ex_program *program, int32_t i) { return program->out[i]; }

int64_t ex__program_in_size(const ex_program *program, int32_t i) {
  return program->backend->port_size(program, program->in[i]);
}

int64_t ex__program_out_size(const ex_program *program, int32_t i) {
  return program->backend->port_size(program, program->out[i]);
}

int64_t ex__program_macs(const ex_program *program) { return program->macs; }

int64_t ex__program_saved_bytes(const ex_program *program) { return program->saved_bytes; }

int64_t ex__program_transient_bytes(const ex_program *program) { return program->transient_bytes; }

void ex__program_describe(const ex_program *program, struct ex_text *text) {
  program->backend->describe(program, text);
}

void ex__port_to_plain(const ex_program *program, int32_t value, int32_t n, const ex_real *port,
                       ex_real *plain) {
  program->backend->to_plain(program, value, n, port, plain);
}

void ex__port_from_plain(const ex_program *program, int32_t value, int32_t n, const ex_real *plain,
                         ex_real *port) {
  program->backend->from_plain(program, value, n, plain, port);
}

/* ---- running ---------------------------------------------------------------------- */

static enum ex_status take_arenas(ex_run *run, void *transient, struct ex_error *err) {
  const ex_program *program = run->program;
  if (program->saved_bytes > 0) {
    run->owns_saved = true;
    run->saved = ex__alloc((size_t)program->saved_bytes, 1);
    if (run->saved == NULL)
      return ex__fail(err, EX_ENOMEM, "run: no memory for %" PRId64 " bytes of activations",
                      program->saved_bytes);
  }
  run->transient = transient;
  if (transient == NULL && program->transient_bytes > 0) {
    run->owns_transient = true;
    run->transient = ex__alloc((size_t)program->transient_bytes, 1);
    if (run->transient == NULL)
      return ex__fail(err, EX_ENOMEM, "run: no memory for %" PRId64 " bytes of scratch",
                      program->transient_bytes);
  }
  return EX_OK;
}

static void release_run(ex_run *run) {
  if (run->owns_saved) ex__free(run->saved);
  if (run->owns_transient) ex__free(run->transient);
  ex__free(run);
}

/* Ends the making of a run: the backend's part, or none of it. */
static enum ex_status finish_run(ex_run *run, enum ex_status status, ex_run **out,
                                 struct ex_error *err) {
  if (status == EX_OK && run->program->backend->run_new != NULL)
    status = run->program->backend->run_new(run, err);
  if (status == EX_OK)
    *out = run;
  else
    release_run(run);
  return status;
}

enum ex_status ex__run_new(const ex_program *program, void *transient, ex_run **out,
                           struct ex_error *err) {
  *out = NULL;
  ex_run *run = ex__calloc(1, sizeof *run);
  if (run == NULL) return ex__fail(err, EX_ENOMEM, "run: no memory");
  run->program = program;
  return finish_run(run, take_arenas(run, transient, err), out, err);
}

enum ex_status ex__run_new_placed(const ex_program *program, ex_run **out, struct ex_error *err) {
  *out = NULL;
  ex_run *run = ex__calloc(1, sizeof *run);
  if (run == NULL) return ex__fail(err, EX_ENOMEM, "run: no memory");
  run->program = program;
  return finish_run(run, EX_OK, out, err);
}

void ex__run_place(ex_run *run, void *saved, void *transient) {
  run->saved = saved;
  run->transient = transient;
}

void ex__run_free(ex_run *run) {
  if (run == NULL) return;
  if (run->program->backend->run_free != NULL) run->program->backend->run_free(run);
  release_run(run);
}

void ex__run_forward(ex_run *run, const struct ex_pass *pass, const ex_real *const *in,
                     ex_real *const *out) {
  run->program->backend->forward(run, pass, in, out);
}

/* A frozen segment lets no gradient through: what is asked for is zero. */
static void give_zero(const ex_program *program, ex_real *const *din, const bool *din_add) {
  for (int32_t i = 0; i < program->n_in; i++)
    if (din[i] != NULL && !(din_add != NULL && din_add[i]))
      memset(din[i], 0, (size_t)ex__program_in_size(program, i) * sizeof **din);
}

void ex__run_backward(ex_run *run, const struct ex_pass *pass, const ex_real *const *in,
                      ex_real *const *out, const ex_real *const *dout, ex_real *const *din,
                      const bool *din_add) {
  if (!runs_as_inference(&run->program->options))
    run->program->backend->backward(run, pass, in, out, dout, din, din_add);
  else if (din != NULL)
    give_zero(run->program, din, din_add);
}

int64_t ex__run_executed_macs(const ex_run *run) { return run->executed_macs; }

int64_t ex__run_backward_macs(const ex_run *run) { return run->backward_macs; }
