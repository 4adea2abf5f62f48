/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/graph: a typed static DAG of operators, and where its parameters live.
 *
 * A node has one output; the node's index is the id of that value, and inputs
 * have smaller ids, so node order is a topological order. Shapes leave out the
 * batch dimension, which stays free until a program is compiled.
 *
 * Every node belongs to a segment: the part of the network that runs as one
 * (a stage's body, its head, its gate). The graph knows segments by number
 * only; net/ gives them meaning. A value that another segment reads, or that
 * was marked as kept, is a port of the segment that makes it.
 *
 * Parameters live in slabs, one array per stage; gradients and optimiser state
 * are slabs of the same layout, so an optimiser is a loop over slabs. What
 * moves without being trained (batch-norm statistics) lives in slabs of
 * buffers. Layouts inside a slab are PyTorch's (weights OIHW, linear [out][in]).
 */
#ifndef EX_GRAPH_GRAPH_H
#define EX_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/param.h"
#include "base/random.h"
#include "base/real.h"
#include "base/status.h"

enum { EX_MAX_RANK = 4, EX_MAX_INPUTS = 8, EX_MAX_NODE_TENSORS = 5, EX_NAME_SIZE = 96 };

struct ex_shape {
  int32_t rank;             /* 1 [features] or 3 [channels][height][width]; parameters up to 4 */
  int32_t dim[EX_MAX_RANK]; /* each ≥ 1 */
};

int64_t ex__shape_count(const struct ex_shape *shape);
bool ex__shape_equal(const struct ex_shape *a, const struct ex_shape *b);

enum ex_tensor_role {
  EX_ROLE_WEIGHT, /* decayed */
  EX_ROLE_BIAS,   /* not decayed by default */
  EX_ROLE_NORM,   /* scale or shift of a norm; not decayed by default */
  EX_ROLE_BUFFER  /* moves, is not trained */
};

enum ex_init {
  EX_INIT_ZERO,
  EX_INIT_ONE,
  EX_INIT_UNIT,      /* uniform in [0, 1) */
  EX_INIT_DEFAULT,   /* uniform in ±1/sqrt(fan_in): PyTorch's conv and linear default */
  EX_INIT_HE_FAN_IN, /* normal, variance 2/fan_in */
  EX_INIT_HE_FAN_OUT /* normal, variance 2/(k·k·n_out): MSDNet, ResNet */
};

/* A tensor of parameters or a buffer that an operator declares. */
struct ex_tensor_decl {
  const char *suffix; /* "weight", "bias", "running_mean": PyTorch's names */
  struct ex_shape shape;
  enum ex_tensor_role role;
  enum ex_init init; /* EX_INIT_DEFAULT for a weight: the graph's current scheme is used */
};

/* Where it lives in a graph. */
struct ex_tensor_info {
  char name[EX_NAME_SIZE]; /* "stage1.conv1.weight" */
  struct ex_shape shape;
  enum ex_tensor_role role;
  enum ex_init init;
  int32_t node;   /* its owner */
  int32_t slab;   /* of parameters, or of buffers where role is EX_ROLE_BUFFER */
  int64_t offset; /* in elements */
};

struct ex_op;

struct ex_node {
  const struct ex_op *op;
  char name[EX_NAME_SIZE]; /* unique in the graph; "" for nodes nobody needs to name */
  int32_t segment;
  int32_t n_in;
  int32_t in[EX_MAX_INPUTS]; /* ids of values */
  struct ex_shape shape;     /* of its value, per sample */
  void *attr;                /* op->attr_size bytes, owned by the graph */
  int32_t n_tensors;
  int32_t tensor[EX_MAX_NODE_TENSORS]; /* indices into the graph's tensor table */
  bool kept;                           /* a port even if no other segment reads it */
};

typedef struct ex_graph ex_graph;

enum ex_status ex__graph_new(ex_graph **out);
void ex__graph_free(ex_graph *graph); /* accepts NULL */

/* Nodes added from here on belong to `segment`; their parameters to `slab`. */
void ex__graph_segment(ex_graph *graph, int32_t segment, int32_t slab);
/* How weights of nodes added from here on start (default EX_INIT_DEFAULT). */
void ex__graph_init(ex_graph *graph, enum ex_init init);

/* Adds a node. `attr` is the operator's struct (NULL: defaults); `name` may be
 * NULL. *value is its id, left alone on failure; it may be where in[] lies. Shapes, bounds and causality (an input must come from
 * an earlier node) are checked here, and named in the error. */
enum ex_status ex__graph_add(ex_graph *graph, const char *op, const char *name, const void *attr,
                             const int32_t *in, int32_t n_in, int32_t *value, struct ex_error *err);
/* The input of the whole graph: op "input", given in [channels][height][width]. */
enum ex_status ex__graph_add_input(ex_graph *graph, const struct ex_shape *shape, int32_t *value,
                                   struct ex_error *err);
void ex__graph_keep(ex_graph *graph, int32_t value);

int32_t ex__graph_n_nodes(const ex_graph *graph);
const struct ex_node *ex__graph_node(const ex_graph *graph, int32_t id);
int32_t ex__graph_n_tensors(const ex_graph *graph);
const struct ex_tensor_info *ex__graph_tensor(const ex_graph *graph, int32_t index);
int32_t ex__graph_n_slabs(const ex_graph *graph);
int32_t ex__graph_n_segments(const ex_graph *graph); /* highest segment + 1 */
/* Whether `segment` cannot run before `other` has, be it that others lie between. */
bool ex__graph_waits(const ex_graph *graph, int32_t segment, int32_t other);
int64_t ex__graph_segment_macs(const ex_graph *graph, int32_t segment); /* per sample */
int64_t ex__graph_segment_params(const ex_graph *graph,
                                 int32_t segment); /* elements, buffers not counted */

/* The graph as JSON and back: [{op, version, name, segment, slab, in, attr, keep}…].
 * Reading trusts nothing: unknown operators, bad ids, shapes and sizes that do
 * not fit are errors; at most 65,536 nodes. */
json_t *ex__graph_to_json(const ex_graph *graph);
enum ex_status ex__graph_from_json(const json_t *json, ex_graph **out, struct ex_error *err);

/* ---- slabs ------------------------------------------------------------- */

enum ex_slab_kind { EX_SLABS_PARAMS, EX_SLABS_BUFFERS };

typedef struct ex_slabs {
  int32_t n;
  int64_t *size;  /* [n] elements */
  ex_real **data; /* [n][size], 64-byte aligned, zeroed when made */
} ex_slabs;

/* For a graph from a file: first see that the file holds as many elements
 * (ex__graph_tensor), since its shapes may ask for any amount of memory. */
enum ex_status ex__slabs_new(const ex_graph *graph, enum ex_slab_kind kind, ex_slabs **out);
void ex__slabs_free(ex_slabs *slabs); /* accepts NULL */
void ex__slabs_zero(ex_slabs *slabs);
void ex__slabs_copy(ex_slabs *to, const ex_slabs *from); /* snapshot and restore */
/* Where tensor `index` of the graph lives in slabs of its kind. */
ex_real *ex__slabs_tensor(const ex_slabs *slabs, const ex_graph *graph, int32_t index);
/* Fills parameters and buffers by each tensor's init, from forked streams, so
 * that one tensor's values do not depend on which others exist. */
void ex__slabs_init(const ex_graph *graph, ex_slabs *params, ex_slabs *buffers, uint64_t seed);

#endif
