/* SPDX-License-Identifier: Apache-2.0
 *
 * train/optim: spans, chunks and threads. The loops themselves are bound by
 * memory, so plain C at the baseline's vector width is as fast as any.
 *
 * Threads are OpenMP's and not a pool of our own: the backend has just used
 * them, they still spin, and a third runnable thread on two processors costs
 * more than these loops take. Without OpenMP one thread does it all.
 */
#include "train/optim.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

enum { CHUNK = 16384, LANES = 8 };

/* Elements from which waking threads pays: below, a loop takes some 100 µs. */
enum { WORTH_THREADS = 1 << 18 };

struct chunk {
  int32_t slab;
  bool decay;
  enum ex_part part;
  uint32_t point; /* its bit; 0 where the stage has none */
  int64_t offset, count;
};

struct ex_optim {
  const struct ex_optim_class *class;
  const struct ex_train_options *options;
  int32_t threads; /* that share a loop */
  int64_t n_chunks;
  struct chunk *chunks; /* [n_chunks] */
  double *squares;      /* [n_chunks] */
};

const struct ex_optim_class *ex__optim_class(enum ex_optimiser optimiser) {
  return optimiser == EX_ADAMW ? &ex__optim_adamw : &ex__optim_sgd;
}

static bool is_span(const struct ex_tensor_info *tensor, bool trained) {
  return trained && tensor->role != EX_ROLE_BUFFER;
}

static int64_t count_chunks(const ex_graph *graph, const bool *trained) {
  int64_t n = 0;
  for (int32_t i = 0; i < ex__graph_n_tensors(graph); i++) {
    const struct ex_tensor_info *tensor = ex__graph_tensor(graph, i);
    if (is_span(tensor, trained[i])) n += (ex__shape_count(&tensor->shape) + CHUNK - 1) / CHUNK;
  }
  return n;
}

static void cut_chunks(ex_optim *optim, const ex_net *net, const bool *trained) {
  const ex_graph *graph = net->graph;
  struct chunk *chunk = optim->chunks;
  int64_t elements = 0;
  for (int32_t i = 0; i < ex__graph_n_tensors(graph); i++) {
    const struct ex_tensor_info *tensor = ex__graph_tensor(graph, i);
    if (!is_span(tensor, trained[i])) continue;
    bool decay = tensor->role == EX_ROLE_WEIGHT || optim->options->decay_all;
    int64_t count = ex__shape_count(&tensor->shape);
    int32_t segment = ex__graph_node(graph, tensor->node)->segment;
    int32_t point = ex__net_point_of(net, segment / EX_N_PARTS);
    elements += count;
    for (int64_t at = 0; at < count; at += CHUNK)
      *chunk++ = (struct chunk){.slab = tensor->slab,
                                .decay = decay,
                                .part = (enum ex_part)(segment % EX_N_PARTS),
                                .point = point >= 0 ? UINT32_C(1) << point : 0,
                                .offset = tensor->offset + at,
                                .count = count - at < CHUNK ? count - at : CHUNK};
  }
  if (elements < WORTH_THREADS) optim->threads = 1;
}

enum ex_status ex__optim_new(const ex_net *net, const bool *trained,
                             const struct ex_train_options *options, int32_t threads,
                             ex_optim **out, struct ex_error *err) {
  *out = NULL;
  int64_t n_chunks = count_chunks(net->graph, trained);
  ex_optim *optim = ex__calloc(1, sizeof *optim);
  if (optim == NULL) return ex__fail(err, EX_ENOMEM, "training: no memory for an optimiser");
  *optim = (ex_optim){.class = ex__optim_class((enum ex_optimiser)options->optimiser),
                      .options = options,
                      .threads = threads,
                      .n_chunks = n_chunks,
                      .chunks = ex__calloc((size_t)n_chunks, sizeof *optim->chunks),
                      .squares = ex__calloc((size_t)n_chunks, sizeof *optim->squares)};
  if (optim->chunks == NULL || optim->squares == NULL) {
    ex__optim_free(optim);
    return ex__fail(err, EX_ENOMEM, "training: no memory for an optimiser");
  }
  cut_chunks(optim, net, trained);
  *out = optim;
  return EX_OK;
}

void ex__optim_free(ex_optim *optim) {
  if (optim == NULL) return;
  ex__free(optim->chunks);
  ex__free(optim->squares);
  ex__free(optim);
}

/* Several sums side by side, so that additions need not wait for each other. */
static double sum_squares(const ex_real *g, int64_t n) {
  double lane[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int32_t k = 0; k < LANES; k++) lane[k] += (double)g[i + k] * (double)g[i + k];
  for (; i < n; i++) lane[0] += (double)g[i] * (double)g[i];
  double sum = 0;
  for (int32_t k = 0; k < LANES; k++) sum += lane[k];
  return sum;
}

static bool is_named(const struct chunk *chunk, struct ex_update what) {
  switch (chunk->part) {
    case EX_PART_HEAD: return (what.heads & chunk->point) != 0;
    case EX_PART_GATE: return (what.gates & chunk->point) != 0;
    default: return what.bodies;
  }
}

double ex__optim_norm(const ex_optim *optim, const ex_slabs *grads, struct ex_update what) {
#ifdef _OPENMP
#pragma omp parallel for num_threads(optim->threads) if (optim->threads > 1) schedule(static)
#endif
  for (int64_t c = 0; c < optim->n_chunks; c++) {
    const struct chunk *chunk = &optim->chunks[c];
    optim->squares[c] = is_named(chunk, what)
                            ? sum_squares(grads->data[chunk->slab] + chunk->offset, chunk->count)
                            : 0;
  }
  double sum = 0;
  for (int64_t c = 0; c < optim->n_chunks; c++) sum += optim->squares[c];
  return sqrt(sum);
}

void ex__optim_step(const ex_optim *optim, struct ex_pace pace, int64_t step, double scale,
                    struct ex_update what, ex_slabs *params, const ex_slabs *grads,
                    ex_slabs *const *moments) {
  const struct ex_optim_step this_step = {
      .options = optim->options, .pace = pace, .step = step, .scale = scale};
#ifdef _OPENMP
#pragma omp parallel for num_threads(optim->threads) if (optim->threads > 1) schedule(static)
#endif
  for (int64_t c = 0; c < optim->n_chunks; c++) {
    const struct chunk *chunk = &optim->chunks[c];
    ex_real *moment[EX_MAX_MOMENTS] = {NULL};
    if (!is_named(chunk, what)) continue;
    for (int32_t i = 0; i < optim->class->n_moments; i++)
      moment[i] = moments[i]->data[chunk->slab] + chunk->offset;
    optim->class->update(&this_step, chunk->decay ? optim->options->weight_decay : 0, chunk->count,
                         params->data[chunk->slab] + chunk->offset,
                         grads->data[chunk->slab] + chunk->offset, moment);
  }
}

void ex__optim_sensitivity(const ex_optim *optim, struct ex_pace pace, int64_t step,
                           const ex_slabs *grads, ex_slabs *const *moments, const ex_slabs *by,
                           ex_slabs *out) {
  const struct ex_optim_step this_step = {
      .options = optim->options, .pace = pace, .step = step, .scale = 1};
  ex__slabs_zero(out);
  for (int64_t c = 0; c < optim->n_chunks; c++) {
    const struct chunk *chunk = &optim->chunks[c];
    const ex_real *moment[EX_MAX_MOMENTS] = {NULL};
    for (int32_t i = 0; i < optim->class->n_moments; i++)
      moment[i] = moments[i]->data[chunk->slab] + chunk->offset;
    optim->class->sensitivity(&this_step, chunk->count, grads->data[chunk->slab] + chunk->offset,
                              moment, by->data[chunk->slab] + chunk->offset,
                              out->data[chunk->slab] + chunk->offset);
  }
}
