/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_infer: the inference backend.
 *
 * Compiling finds the steps (fast_infer_plan.c), chooses how each runs
 * (fast_infer_step.c, _conv.c, _lanes.c, _winograd.c), gives every value a place, and packs
 * the weights with batch-norm folded in. Running walks over the steps.
 *
 * Layout is one rule for all segments that hang together, so that their programs
 * agree about their ports: planar (as the twins) where channels are few, since
 * then only pixels fill a vector; channels last where they are many. The graph's
 * input and values of rank 1 are plain in both. Whole networks that share nothing
 * but the input are laid out each for itself: with the same bits as alone.
 *
 * The law: each sample gets the same bits whatever the batch of the program
 * and the threads inside the call. Own loops keep it by their order of
 * summation. oneDNN keeps it for nearly every shape, but by no promise, and its
 * direct convolutions measured no faster, so it is used only where bits need
 * not be kept (options.fast). For the same reason nothing is timed: a choice
 * that could differ between two programs of one network would change bits.
 */
#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "graph/fast_infer.h"
#include "graph/shape.h"

/* ---- compiling --------------------------------------------------------------------- */

static void free_impl(ex_program *program) {
  struct fast *fast = program->impl;
  for (int32_t s = 0; s < fast->n_steps; s++) {
    struct fast_step *step = &fast->steps[s];
    ex__dnn_call_free(step->reorder_call);
    ex__free(step->weights);
    ex__free(step->bias);
    ex__free(step->tap);
    ex__free(step->start);
    ex__free(step->mask);
    ex__free(step->pixel);
    ex__free(step->reorder_scratch);
  }
  ex__dnn_free(fast->dnn);
  ex__free(fast->steps);
  ex__free(fast->values);
  ex__free(fast->plain);
  ex__free(fast->staging);
  ex__free(fast);
  program->impl = NULL;
}

static enum ex_status make_steps(struct fast *fast, struct ex_error *err) {
  int64_t staging = 0, scratch = 0;
  for (int32_t s = 0; s < fast->n_steps; s++) {
    struct fast_step *step = &fast->steps[s];
    if (step->kind->make != NULL) EX_TRY(step->kind->make(fast, step, err));
    if (step->n_weights > staging) staging = step->n_weights;
    if (step->scratch > scratch) scratch = step->scratch;
  }
  fast->staging = ex__calloc((size_t)staging + 1, sizeof(float));
  if (fast->staging == NULL) return ex__fail(err, EX_ENOMEM, "program: no memory for weights");
  ((ex_program *)(uintptr_t)fast->program)->transient_bytes = fast->scratch_at + scratch;
  return EX_OK;
}

static void repack(ex_program *program, const ex_slabs *params, const ex_slabs *buffers) {
  struct fast *fast = program->impl;
  fast->params = params;
  fast->buffers = buffers;
  for (int32_t s = 0; s < fast->n_steps; s++)
    if (fast->steps[s].kind->pack != NULL) fast->steps[s].kind->pack(fast, &fast->steps[s]);
  fast->params = fast->buffers = NULL;
}

static enum ex_status build(struct fast *fast, struct ex_error *err) {
  const ex_graph *graph = fast->program->graph;
  fast->plain = ex__calloc((size_t)ex__graph_n_nodes(graph) + 1, sizeof *fast->plain);
  if (fast->plain == NULL) return ex__fail(err, EX_ENOMEM, "program: no memory");
  ex__fast_find_plain(graph, fast->plain);
  EX_TRY(ex__fast_find_steps(fast, err));
  EX_TRY(ex__fast_place_values(fast, err));
  return make_steps(fast, err);
}

static enum ex_status compile(ex_program *program, const ex_slabs *params, const ex_slabs *buffers,
                              struct ex_error *err) {
  struct fast *fast = program->impl = ex__calloc(1, sizeof *fast);
  if (fast == NULL) return ex__fail(err, EX_ENOMEM, "program: no memory");
  fast->program = program;
  fast->kernels = ex__kernels();
  fast->batch = program->options.batch;
  fast->threads = program->options.threads;
  fast->nhwc = ex__fast_wants_nhwc(program->graph, program->segment, program->options.layout);
  enum ex_status status = build(fast, err);
  if (status != EX_OK) {
    free_impl(program);
    program->transient_bytes = 0;
    return status;
  }
  repack(program, params, buffers);
  return EX_OK;
}

/* ---- ports --------------------------------------------------------------------------- */

static int64_t port_size(const ex_program *program, int32_t value) {
  return program->options.batch * ex__shape_count(&ex__graph_node(program->graph, value)->shape);
}

static bool is_nhwc(const ex_program *program, int32_t value) {
  const struct fast *fast = program->impl;
  const struct ex_node *node = ex__graph_node(program->graph, value);
  return fast->nhwc && node->shape.rank == 3 && !fast->plain[value];
}

static void to_plain(const ex_program *program, int32_t value, int32_t n, const ex_real *port,
                     ex_real *plain) {
  const struct ex_shape *shape = &ex__graph_node(program->graph, value)->shape;
  int64_t count = ex__shape_count(shape);
  if (!is_nhwc(program, value)) {
    memcpy(plain, port, (size_t)(n * count) * sizeof *plain);
    return;
  }
  for (int32_t b = 0; b < n; b++)
    ex__fast_to_plain(shape, port + b * count, shape->dim[0], plain + b * count);
}

static void from_plain(const ex_program *program, int32_t value, int32_t n, const ex_real *plain,
                       ex_real *port) {
  const struct ex_shape *shape = &ex__graph_node(program->graph, value)->shape;
  int64_t count = ex__shape_count(shape);
  if (!is_nhwc(program, value)) {
    memcpy(port, plain, (size_t)(n * count) * sizeof *port);
    return;
  }
  for (int32_t b = 0; b < n; b++)
    ex__fast_from_plain(shape, plain + b * count, shape->dim[0], port + b * count);
}

/* ---- running --------------------------------------------------------------------------- */

static void run_free(ex_run *run) {
  struct fast_run *own = run->impl;
  const struct fast *fast = run->program->impl;
  if (own == NULL) return;
  for (int32_t s = 0; own->call != NULL && s < fast->n_steps; s++) ex__dnn_call_free(own->call[s]);
  ex__free(own->call);
  ex__free(own->owner);
  ex__free(own);
  run->impl = NULL;
}

static enum ex_status run_new(ex_run *run, struct ex_error *err) {
  const struct fast *fast = run->program->impl;
  struct fast_run *own = run->impl = ex__calloc(1, sizeof *own);
  bool ok = own != NULL;
  if (ok) {
    own->owner = ex__calloc((size_t)fast->n_values, sizeof *own->owner);
    own->call = ex__calloc((size_t)fast->n_steps, sizeof(ex_dnn_call *));
    ok = own->owner != NULL && own->call != NULL;
  }
  for (int32_t s = 0; ok && s < fast->n_steps; s++)
    if (fast->steps[s].op != NULL) ok = ex__dnn_call_new(fast->steps[s].op, &own->call[s]) == EX_OK;
  if (!ok) {
    run_free(run);
    return ex__fail(err, EX_ENOMEM, "run: no memory for %d steps", (int)fast->n_steps);
  }
  for (int32_t v = 0; v < fast->n_values; v++)
    own->owner[v] = (float *)(void *)((char *)run->transient + fast->values[v].at);
  own->scratch = (char *)run->transient + fast->scratch_at;
  return EX_OK;
}

static void forward(ex_run *run, const struct ex_pass *pass, const ex_real *const *in,
                    ex_real *const *out) {
  (void)pass;
  const struct fast *fast = run->program->impl;
  struct fast_run *own = run->impl;
  for (int32_t v = 0; v < fast->n_values; v++) {
    const struct fast_value *value = &fast->values[v];
    if (value->in_port >= 0) own->owner[v] = (float *)(uintptr_t)in[value->in_port];
    if (value->out_port >= 0) own->owner[v] = out[value->out_port];
  }
  int32_t before = fast->dnn != NULL ? ex__dnn_threads(fast->threads) : 0;
  for (int32_t s = 0; s < fast->n_steps; s++) {
    const struct fast_step *step = &fast->steps[s];
    step->kind->run(fast, step, own);
    run->executed_macs += step->macs;
  }
  if (fast->dnn != NULL) ex__dnn_threads(before);
}

static void describe(const ex_program *program, struct ex_text *text) {
  const struct fast *fast = program->impl;
  for (int32_t s = 0; s < fast->n_steps; s++) {
    const struct fast_step *step = &fast->steps[s];
    const char *by = step->op != NULL ? ex__dnn_op_implementation(step->op) : fast->kernels->name;
    if (step->kind == &ex__fast_twin || step->kind == &ex__fast_nothing ||
        step->kind == &ex__fast_elements)
      by = "any processor";
    bool gelu = step->curve == EX_CURVE_GELU && step->kind == &ex__fast_matmul;
    ex__text_add(text, "%-24s %-16s %s%s%s%s%s%s, %s (%s), %" PRId64 " multiply-adds\n",
                 step->node->name, step->node->op->name, step->norm != NULL ? "+ batch_norm " : "",
                 step->factor != NULL ? "+ factor " : "", step->shift != NULL ? "+ shift " : "",
                 step->residual >= 0 ? "+ add " : "", step->relu ? "+ relu" : "",
                 gelu ? "+ gelu" : "", step->kind->name, by, step->macs);
  }
}

const struct ex_backend_class ex__backend_fast_infer = {
    .name = "fast inference",
    .compile = compile,
    .free_impl = free_impl,
    .repack = repack,
    .port_size = port_size,
    .to_plain = to_plain,
    .from_plain = from_plain,
    .run_new = run_new,
    .run_free = run_free,
    .forward = forward,
    .describe = describe,
};
