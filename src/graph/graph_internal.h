/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/graph_internal: what graph.c, graph_slabs.c and graph_json.c share.
 *
 * The limits bound what a file can ask for: a graph within them needs little
 * memory by itself, and products of its dimensions fit 64 bits. Whoever makes
 * slabs for a graph from a file must first see that the file holds as much.
 */
#ifndef EX_GRAPH_GRAPH_INTERNAL_H
#define EX_GRAPH_GRAPH_INTERNAL_H

#include "graph/graph.h"
#include "graph/op.h"

enum {
  EX_MAX_NODES = 65536,
  EX_MAX_SEGMENTS = 1024,
  EX_MAX_SLABS = 1024,
  EX_SEGMENT_WORDS = EX_MAX_SEGMENTS / 64,
  EX_SLAB_ALIGN = 16 /* elements: every tensor begins at a multiple of 64 bytes */
};
#define EX_MAX_COUNT INT32_MAX               /* elements of one tensor or value of a sample */
#define EX_MAX_SLAB_COUNT ((int64_t)1 << 40) /* elements of one slab */

struct ex_graph {
  struct ex_node *nodes;
  int32_t *node_slab; /* [n_nodes], where a node's tensors are or would be */
  int32_t n_nodes, node_capacity;
  struct ex_tensor_info *tensors;
  int32_t n_tensors, tensor_capacity;
  json_t *names; /* a set of the nodes' names */
  int32_t segment, slab;
  enum ex_init init;
  int32_t n_segments, n_slabs;
  int64_t slab_size[2][EX_MAX_SLABS]; /* elements, of parameters and of buffers */
  int64_t macs;                       /* of all nodes, per sample */
  /* Bit t of row s: segment s cannot run before segment t has (transitive). */
  uint64_t depends[EX_MAX_SEGMENTS][EX_SEGMENT_WORDS];
};

/* ex__graph_add with the attributes as a JSON object. */
enum ex_status ex__graph_append(ex_graph *graph, const struct ex_op *op, const char *name,
                                const json_t *attr, const int32_t *in, int32_t n_in, int32_t *value,
                                struct ex_error *err);

#endif
