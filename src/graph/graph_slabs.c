/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/graph_slabs: where parameters and buffers live, and how they start.
 *
 * A tensor begins at a multiple of 64 bytes; the few elements of padding
 * between tensors are zero and, since no gradient reaches them, stay zero
 * under every optimiser.
 *
 * Each tensor draws from a stream of its own, chosen by the hash (FNV-1a) of
 * its name: adding a head or a stage does not change how the others start.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "graph/graph_internal.h"

enum ex_status ex__slabs_new(const ex_graph *graph, enum ex_slab_kind kind, ex_slabs **out) {
  *out = NULL;
  ex_slabs *slabs = ex__calloc(1, sizeof *slabs);
  if (slabs == NULL) return EX_ENOMEM;
  size_t n = (size_t)graph->n_slabs;
  slabs->size = ex__calloc(n, sizeof *slabs->size);
  slabs->data = ex__calloc(n, sizeof *slabs->data);
  bool ok = slabs->size != NULL && slabs->data != NULL;
  slabs->n = ok ? graph->n_slabs : 0;
  for (int32_t i = 0; ok && i < slabs->n; i++) {
    slabs->size[i] = graph->slab_size[kind == EX_SLABS_BUFFERS][i];
    slabs->data[i] = ex__calloc((size_t)slabs->size[i], sizeof **slabs->data);
    ok = slabs->data[i] != NULL;
  }
  if (!ok) {
    ex__slabs_free(slabs);
    return EX_ENOMEM;
  }
  *out = slabs;
  return EX_OK;
}

void ex__slabs_free(ex_slabs *slabs) {
  if (slabs == NULL) return;
  for (int32_t i = 0; i < slabs->n; i++) ex__free(slabs->data[i]);
  ex__free(slabs->data);
  ex__free(slabs->size);
  ex__free(slabs);
}

void ex__slabs_zero(ex_slabs *slabs) {
  for (int32_t i = 0; i < slabs->n; i++)
    memset(slabs->data[i], 0, (size_t)slabs->size[i] * sizeof **slabs->data);
}

void ex__slabs_copy(ex_slabs *to, const ex_slabs *from) {
  for (int32_t i = 0; i < to->n; i++)
    memcpy(to->data[i], from->data[i], (size_t)to->size[i] * sizeof **to->data);
}

ex_real *ex__slabs_tensor(const ex_slabs *slabs, const ex_graph *graph, int32_t index) {
  const struct ex_tensor_info *info = &graph->tensors[index];
  return slabs->data[info->slab] + info->offset;
}

/* ---- init -------------------------------------------------------------------- */

static uint64_t hash(const char *text) {
  uint64_t h = 0xcbf29ce484222325u;
  for (; *text != '\0'; text++) h = (h ^ (unsigned char)*text) * 0x100000001b3u;
  return h;
}

/* Inputs that meet in one output: of a weight [out][in][kh][kw] or [out][in]. */
static double fan_in(const struct ex_shape *shape) {
  double fan = 1;
  for (int32_t i = 1; i < shape->rank; i++) fan *= shape->dim[i];
  return fan;
}

static double fan_out(const struct ex_shape *shape) {
  double fan = shape->dim[0];
  for (int32_t i = 2; i < shape->rank; i++) fan *= shape->dim[i];
  return fan;
}

/* The weight decides the range of its bias too, as in PyTorch. */
static const struct ex_shape *weight_shape(const ex_graph *graph,
                                           const struct ex_tensor_info *info) {
  const struct ex_node *node = &graph->nodes[info->node];
  for (int32_t i = 0; i < node->n_tensors; i++)
    if (graph->tensors[node->tensor[i]].role == EX_ROLE_WEIGHT)
      return &graph->tensors[node->tensor[i]].shape;
  return &info->shape;
}

static void fill_uniform(struct ex_random *random, double low, double high, ex_real *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = (ex_real)(low + (high - low) * ex__random_uniform(random));
}

static void fill_normal(struct ex_random *random, double variance, ex_real *x, int64_t n) {
  double deviation = sqrt(variance);
  for (int64_t i = 0; i < n; i++) x[i] = (ex_real)(deviation * ex__random_normal(random));
}

static void fill_tensor(const ex_graph *graph, const struct ex_tensor_info *info, uint64_t seed,
                        ex_real *x) {
  struct ex_random random = ex__random_seed(seed, hash(info->name));
  int64_t n = ex__shape_count(&info->shape);
  const struct ex_shape *weight = weight_shape(graph, info);
  double bound = 1 / sqrt(fan_in(weight));
  switch (info->init) {
    case EX_INIT_ZERO: memset(x, 0, (size_t)n * sizeof *x); break;
    case EX_INIT_ONE:
      for (int64_t i = 0; i < n; i++) x[i] = 1;
      break;
    case EX_INIT_UNIT: fill_uniform(&random, 0, 1, x, n); break;
    case EX_INIT_DEFAULT: fill_uniform(&random, -bound, bound, x, n); break;
    case EX_INIT_HE_FAN_IN: fill_normal(&random, 2 / fan_in(weight), x, n); break;
    case EX_INIT_HE_FAN_OUT: fill_normal(&random, 2 / fan_out(weight), x, n); break;
  }
}

void ex__slabs_init(const ex_graph *graph, ex_slabs *params, ex_slabs *buffers, uint64_t seed) {
  for (int32_t i = 0; i < graph->n_tensors; i++) {
    const struct ex_tensor_info *info = &graph->tensors[i];
    const ex_slabs *slabs = info->role == EX_ROLE_BUFFER ? buffers : params;
    if (slabs != NULL) fill_tensor(graph, info, seed, ex__slabs_tensor(slabs, graph, i));
  }
}
