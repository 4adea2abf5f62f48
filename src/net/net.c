/* SPDX-License-Identifier: Apache-2.0
 *
 * net/net: making, freeing, initial weights and digest of a net.
 *
 * The digest is over what the weights are, not over where they lie: tensors
 * sorted by name, each with its type, shape and bytes. A file of another
 * order, or with another cost table, has the same digest.
 */
#include "net/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/memory.h"
#include "data/array.h"

void ex_net_free(ex_net *net) {
  if (net == NULL) return;
  ex__slabs_free(net->params);
  ex__slabs_free(net->buffers);
  ex__graph_free(net->graph);
  ex__transform_clear(&net->transform);
  ex__free(net);
}

enum ex_status ex__net_allocate(ex_net *net, struct ex_error *err) {
  if (ex__slabs_new(net->graph, EX_SLABS_PARAMS, &net->params) == EX_OK &&
      ex__slabs_new(net->graph, EX_SLABS_BUFFERS, &net->buffers) == EX_OK)
    return EX_OK;
  ex__slabs_free(net->params);
  net->params = NULL;
  return ex__fail(err, EX_ENOMEM, "net: no memory for its weights");
}

void ex__net_init(ex_net *net, uint64_t seed) {
  ex__slabs_init(net->graph, net->params, net->buffers, seed);
}

int32_t ex__net_point_of(const ex_net *net, int32_t stage) {
  for (int32_t p = 0; p < net->n_points; p++)
    if (net->points[p].stage == stage) return p;
  return -1;
}

void ex__net_reached(const ex_net *net, uint32_t *reached) {
  int32_t n = ex__graph_n_nodes(net->graph);
  memset(reached, 0, (size_t)n * sizeof *reached);
  for (int32_t p = 0; p < net->n_points; p++) {
    reached[net->points[p].output] |= UINT32_C(1) << p;
    if (net->points[p].gate >= 0) reached[net->points[p].gate] |= UINT32_C(1) << p;
  }
  for (int32_t id = n - 1; id >= 0; id--) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    for (int32_t i = 0; i < node->n_in; i++) reached[node->in[i]] |= reached[id];
  }
}

static uint32_t close_over(const ex_net *net, int32_t point, bool answers) {
  uint32_t closure = UINT32_C(1) << point;
  for (int32_t p = point; p >= 0; p--)
    if (closure >> p & 1)
      closure |= net->points[p].needs | (answers ? ex__transform_needs(&net->transform, p) : 0);
  return closure;
}

uint32_t ex__net_closure(const ex_net *net, int32_t point) { return close_over(net, point, true); }

uint32_t ex__net_reads(const ex_net *net, int32_t point) { return close_over(net, point, false); }

static uint32_t bodies_before(const ex_net *net, int32_t segment) {
  uint32_t bodies = 0;
  for (int32_t stage = 0; stage < net->n_stages; stage++)
    if (ex__graph_waits(net->graph, segment, ex__net_segment(stage, EX_PART_BODY)))
      bodies |= UINT32_C(1) << stage;
  return bodies;
}

uint32_t ex__net_bodies(const ex_net *net, int32_t point) {
  int32_t stage = net->points[point].stage;
  uint32_t heads = ex__net_closure(net, point);
  uint32_t bodies = UINT32_C(1) << stage;
  bodies |= bodies_before(net, ex__net_segment(stage, EX_PART_BODY));
  bodies |= bodies_before(net, ex__net_segment(stage, EX_PART_GATE));
  for (int32_t p = 0; p <= point; p++)
    if (heads >> p & 1)
      bodies |= bodies_before(net, ex__net_segment(net->points[p].stage, EX_PART_HEAD));
  return bodies;
}

/* ---- digest --------------------------------------------------------------- */

static int compare_names(const void *left, const void *right) {
  const struct ex_tensor_info *const *a = left, *const *b = right;
  return strcmp((*a)->name, (*b)->name);
}

static void digest_tensor(const ex_net *net, const struct ex_tensor_info *info, ex_digest *digest) {
  char line[EX_NAME_SIZE + 80];
  int at = snprintf(line, sizeof line, "%s %s", info->name, ex__dtype_name(EX_DTYPE_REAL));
  for (int32_t i = 0; i < info->shape.rank; i++)
    at += snprintf(line + at, sizeof line - (size_t)at, " %d", (int)info->shape.dim[i]);
  ex__digest_add(digest, line, (size_t)at + 1);
  const ex_slabs *slabs = info->role == EX_ROLE_BUFFER ? net->buffers : net->params;
  ex__digest_add(digest, slabs->data[info->slab] + info->offset,
                 (size_t)ex__shape_count(&info->shape) * sizeof(ex_real));
}

enum ex_status ex__net_digest(const ex_net *net, char *text) {
  int32_t n = ex__graph_n_tensors(net->graph);
  const struct ex_tensor_info **sorted = ex__calloc((size_t)n, sizeof *sorted);
  ex_digest *digest = ex__digest_new();
  enum ex_status status = sorted != NULL && digest != NULL ? EX_OK : EX_ENOMEM;
  if (status == EX_OK) {
    for (int32_t i = 0; i < n; i++) sorted[i] = ex__graph_tensor(net->graph, i);
    if (n > 0) qsort(sorted, (size_t)n, sizeof *sorted, compare_names);
    for (int32_t i = 0; i < n; i++) digest_tensor(net, sorted[i], digest);
  }
  char unused[EX_DIGEST_TEXT];
  if (digest != NULL) ex__digest_finish(digest, status == EX_OK ? text : unused);
  ex__free(sorted);
  return status;
}
