/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/graph: building a graph, node by node.
 *
 * A node is complete and checked before the graph is touched, so a refused
 * node leaves the graph as it was. Attributes go through JSON even when they
 * come from C: then one mechanism (base/param) checks them for both, and what
 * is in a graph can always be written to a file and read again.
 *
 * Segments run as wholes, so besides each node's inputs coming from earlier
 * nodes, no two segments may wait for each other. The transitive closure of
 * that relation is kept as a bit matrix: a node is checked in constant time
 * unless it adds the first edge between two segments.
 */
#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "graph/graph_internal.h"

enum ex_status ex__graph_new(ex_graph **out) {
  *out = NULL;
  ex_graph *graph = ex__calloc(1, sizeof *graph);
  if (graph == NULL) return EX_ENOMEM;
  graph->names = json_object();
  if (graph->names == NULL) {
    ex__free(graph);
    return EX_ENOMEM;
  }
  graph->init = EX_INIT_DEFAULT;
  *out = graph;
  return EX_OK;
}

void ex__graph_free(ex_graph *graph) {
  if (graph == NULL) return;
  for (int32_t i = 0; i < graph->n_nodes; i++) ex__free(graph->nodes[i].attr);
  ex__free(graph->nodes);
  ex__free(graph->node_slab);
  ex__free(graph->tensors);
  json_decref(graph->names);
  ex__free(graph);
}

void ex__graph_segment(ex_graph *graph, int32_t segment, int32_t slab) {
  graph->segment = segment;
  graph->slab = slab;
}

void ex__graph_init(ex_graph *graph, enum ex_init init) { graph->init = init; }

void ex__graph_keep(ex_graph *graph, int32_t value) { graph->nodes[value].kept = true; }

/* ---- checking a node ----------------------------------------------------- */

/* Everything about a node that is to be added, before the graph changes. */
struct draft {
  struct ex_node node;
  const struct ex_shape *in_shape[EX_MAX_INPUTS];
  struct ex_tensor_info tensor[EX_MAX_NODE_TENSORS];
  int64_t slab_size[2]; /* of the node's slab, afterwards */
  int64_t macs;         /* of the graph, afterwards */
};

static enum ex_status check_place(const ex_graph *graph, struct ex_error *err) {
  if (graph->n_nodes >= EX_MAX_NODES)
    return ex__fail(err, EX_EINVAL, "graph: one node more than %d, the most there can be",
                    EX_MAX_NODES);
  if (graph->segment < 0 || graph->segment >= EX_MAX_SEGMENTS)
    return ex__fail(err, EX_EINVAL, "graph: segment = %d; must be in [0, %d]", (int)graph->segment,
                    EX_MAX_SEGMENTS - 1);
  if (graph->slab < 0 || graph->slab >= EX_MAX_SLABS)
    return ex__fail(err, EX_EINVAL, "graph: slab = %d; must be in [0, %d]", (int)graph->slab,
                    EX_MAX_SLABS - 1);
  return EX_OK;
}

/* Names become keys of files and parts of messages. */
static enum ex_status check_name(const ex_graph *graph, const char *name, struct ex_error *err) {
  size_t length = strlen(name);
  if (length >= EX_NAME_SIZE)
    return ex__fail(err, EX_EINVAL, "a name of %zu characters; must have at most %d", length,
                    EX_NAME_SIZE - 1);
  for (size_t i = 0; i < length; i++)
    if (name[i] <= ' ' || name[i] > '~' || name[i] == '"' || name[i] == '\\')
      return ex__fail(err, EX_EINVAL,
                      "character %zu of the name has code %d; must be printable ASCII without "
                      "space, quote and backslash",
                      i + 1, (int)(unsigned char)name[i]);
  if (length > 0 && json_object_get(graph->names, name) != NULL)
    return ex__fail(err, EX_EINVAL, "the name is given to an earlier node; must be unique");
  return EX_OK;
}

static enum ex_status check_inputs(const ex_graph *graph, const int32_t *in, int32_t n_in,
                                   struct draft *draft, struct ex_error *err) {
  const struct ex_op *op = draft->node.op;
  if (n_in < op->min_in || n_in > op->max_in || n_in > EX_MAX_INPUTS)
    return ex__fail(err, EX_EINVAL, "%d inputs; must be %d to %d", (int)n_in, (int)op->min_in,
                    (int)op->max_in);
  draft->node.n_in = n_in;
  for (int32_t i = 0; i < n_in; i++) {
    if (in[i] < 0 || in[i] >= graph->n_nodes)
      return ex__fail(err, EX_EINVAL, "input %d is value %d; must be an earlier node, in [0, %d]",
                      (int)i, (int)in[i], (int)graph->n_nodes - 1);
    draft->node.in[i] = in[i];
    draft->in_shape[i] = &graph->nodes[in[i]].shape;
  }
  return EX_OK;
}

static bool row_has(const uint64_t *row, int32_t segment) {
  return row[segment / 64] >> (segment % 64) & 1;
}

/* The value of an input of the whole graph is given before any segment runs. */
static bool crosses(const ex_graph *graph, const struct ex_node *node, int32_t i) {
  const struct ex_node *from = &graph->nodes[node->in[i]];
  return from->op->max_in > 0 && from->segment != node->segment;
}

static enum ex_status check_causality(const ex_graph *graph, const struct ex_node *node,
                                      struct ex_error *err) {
  for (int32_t i = 0; i < node->n_in; i++) {
    int32_t from = graph->nodes[node->in[i]].segment;
    if (crosses(graph, node, i) && row_has(graph->depends[from], node->segment))
      return ex__fail(err, EX_EINVAL,
                      "input %d is value %d of segment %d, which itself waits for segment %d; "
                      "segments must not wait for each other",
                      (int)i, (int)node->in[i], (int)from, (int)node->segment);
  }
  return EX_OK;
}

static void add_causality(ex_graph *graph, const struct ex_node *node) {
  uint64_t *row = graph->depends[node->segment];
  for (int32_t i = 0; i < node->n_in; i++) {
    int32_t from = graph->nodes[node->in[i]].segment;
    if (!crosses(graph, node, i) || row_has(row, from)) continue;
    row[from / 64] |= (uint64_t)1 << (from % 64);
    for (int32_t w = 0; w < EX_SEGMENT_WORDS; w++) row[w] |= graph->depends[from][w];
    for (int32_t s = 0; s < graph->n_segments; s++)
      for (int32_t w = 0; row_has(graph->depends[s], node->segment) && w < EX_SEGMENT_WORDS; w++)
        graph->depends[s][w] |= row[w];
  }
}

/* A product that cannot overflow, since it stops at EX_MAX_COUNT. */
static enum ex_status check_shape(const struct ex_shape *shape, const char *what, bool is_value,
                                  struct ex_error *err) {
  bool ok = is_value ? shape->rank == 1 || shape->rank == 3
                     : shape->rank >= 1 && shape->rank <= EX_MAX_RANK;
  if (!ok)
    return ex__fail(err, EX_ESHAPE, "%s of %d dimensions; must be %s", what, (int)shape->rank,
                    is_value ? "1 or 3" : "1 to 4");
  int64_t count = 1;
  for (int32_t i = 0; i < shape->rank; i++) {
    if (shape->dim[i] < 1)
      return ex__fail(err, EX_ESHAPE, "%s: dimension %d is %d; must be at least 1", what, (int)i,
                      (int)shape->dim[i]);
    count *= shape->dim[i];
    if (count > EX_MAX_COUNT)
      return ex__fail(err, EX_ESHAPE, "%s: more than %d elements", what, (int)EX_MAX_COUNT);
  }
  return EX_OK;
}

static enum ex_status draft_tensor(const ex_graph *graph, const struct ex_tensor_decl *decl,
                                   struct draft *draft, struct ex_tensor_info *info,
                                   struct ex_error *err) {
  EX_TRY(check_shape(&decl->shape, decl->suffix, false, err));
  int length = snprintf(info->name, sizeof info->name, "%s.%s", draft->node.name, decl->suffix);
  if (length < 0 || length >= EX_NAME_SIZE)
    return ex__fail(err, EX_EINVAL, "the name with \".%s\" has %d characters; must have at most %d",
                    decl->suffix, length, EX_NAME_SIZE - 1);
  bool is_scheme = decl->role == EX_ROLE_WEIGHT && decl->init == EX_INIT_DEFAULT;
  info->shape = decl->shape;
  info->role = decl->role;
  info->init = is_scheme ? graph->init : decl->init;
  info->node = graph->n_nodes;
  info->slab = graph->slab;
  int64_t *size = &draft->slab_size[decl->role == EX_ROLE_BUFFER];
  info->offset = *size;
  *size += (ex__shape_count(&decl->shape) + EX_SLAB_ALIGN - 1) / EX_SLAB_ALIGN * EX_SLAB_ALIGN;
  if (*size > EX_MAX_SLAB_COUNT)
    return ex__fail(err, EX_ESHAPE, "slab %d would exceed 2^40 elements", (int)graph->slab);
  return EX_OK;
}

static enum ex_status draft_tensors(const ex_graph *graph, struct draft *draft,
                                    struct ex_error *err) {
  struct ex_node *node = &draft->node;
  for (int32_t kind = 0; kind < 2; kind++)
    draft->slab_size[kind] = graph->slab_size[kind][graph->slab];
  struct ex_tensor_decl decl[EX_MAX_NODE_TENSORS];
  memset(decl, 0, sizeof decl);
  if (node->op->tensors != NULL) node->n_tensors = node->op->tensors(node, draft->in_shape, decl);
  if (node->n_tensors > 0 && node->name[0] == '\0') {
    snprintf(node->name, sizeof node->name, "node%d", (int)graph->n_nodes);
    EX_TRY(check_name(graph, node->name, err));
  }
  for (int32_t i = 0; i < node->n_tensors; i++) {
    EX_TRY(draft_tensor(graph, &decl[i], draft, &draft->tensor[i], err));
    node->tensor[i] = graph->n_tensors + i;
  }
  return EX_OK;
}

static enum ex_status draft_node(const ex_graph *graph, const char *name, const int32_t *in,
                                 int32_t n_in, struct draft *draft, struct ex_error *err) {
  struct ex_node *node = &draft->node;
  EX_TRY(check_name(graph, name, err));
  snprintf(node->name, sizeof node->name, "%s", name);
  EX_TRY(check_inputs(graph, in, n_in, draft, err));
  EX_TRY(check_causality(graph, node, err));
  EX_TRY(node->op->shape(node, draft->in_shape, &node->shape, err));
  EX_TRY(check_shape(&node->shape, "its value", true, err));
  EX_TRY(draft_tensors(graph, draft, err));
  int64_t macs = node->op->macs != NULL ? node->op->macs(node, draft->in_shape) : 0;
  if (macs < 0 || __builtin_add_overflow(graph->macs, macs, &draft->macs))
    return ex__fail(err, EX_ESHAPE, "the multiply-adds of the graph exceed 2^63");
  return EX_OK;
}

/* ---- adding it ------------------------------------------------------------ */

static bool reserve_nodes(ex_graph *graph) {
  if (graph->n_nodes < graph->node_capacity) return true;
  int32_t capacity = graph->node_capacity < 32 ? 64 : graph->node_capacity * 2;
  struct ex_node *nodes =
      ex__grow(graph->nodes, (size_t)graph->n_nodes, (size_t)capacity, sizeof *nodes);
  if (nodes == NULL) return false;
  graph->nodes = nodes;
  int32_t *slabs =
      ex__grow(graph->node_slab, (size_t)graph->n_nodes, (size_t)capacity, sizeof *slabs);
  if (slabs == NULL) return false;
  graph->node_slab = slabs;
  graph->node_capacity = capacity;
  return true;
}

static bool reserve_tensors(ex_graph *graph) {
  if (graph->n_tensors + EX_MAX_NODE_TENSORS <= graph->tensor_capacity) return true;
  int32_t capacity = graph->tensor_capacity < 32 ? 64 : graph->tensor_capacity * 2;
  struct ex_tensor_info *tensors =
      ex__grow(graph->tensors, (size_t)graph->n_tensors, (size_t)capacity, sizeof *tensors);
  if (tensors == NULL) return false;
  graph->tensors = tensors;
  graph->tensor_capacity = capacity;
  return true;
}

static enum ex_status commit(ex_graph *graph, const struct draft *draft, struct ex_error *err) {
  const struct ex_node *node = &draft->node;
  if (!reserve_nodes(graph) || !reserve_tensors(graph) ||
      (node->name[0] != '\0' && json_object_set_new(graph->names, node->name, json_true()) != 0))
    return ex__fail(err, EX_ENOMEM, "no memory for another node");
  if (graph->n_segments <= node->segment) graph->n_segments = node->segment + 1;
  if (graph->n_slabs <= graph->slab) graph->n_slabs = graph->slab + 1;
  add_causality(graph, node);
  for (int32_t i = 0; i < node->n_tensors; i++)
    graph->tensors[graph->n_tensors++] = draft->tensor[i];
  for (int32_t kind = 0; kind < 2; kind++)
    graph->slab_size[kind][graph->slab] = draft->slab_size[kind];
  graph->macs = draft->macs;
  graph->node_slab[graph->n_nodes] = graph->slab;
  graph->nodes[graph->n_nodes++] = *node;
  return EX_OK;
}

static enum ex_status make_attr(const struct ex_op *op, const json_t *json, void **out,
                                struct ex_error *err) {
  *out = ex__calloc(1, op->attr_size);
  if (*out == NULL) return ex__fail(err, EX_ENOMEM, "no memory for attributes");
  ex__param_defaults(op->attrs, *out);
  enum ex_status status =
      json != NULL ? ex__param_from_json(op->name, op->attrs, *out, json, err) : EX_OK;
  if (status == EX_OK) return EX_OK;
  ex__free(*out);
  *out = NULL;
  return status;
}

enum ex_status ex__graph_append(ex_graph *graph, const struct ex_op *op, const char *name,
                                const json_t *attr, const int32_t *in, int32_t n_in, int32_t *value,
                                struct ex_error *err) {
  EX_TRY(check_place(graph, err));
  struct draft draft = {.node = {.op = op, .segment = graph->segment}};
  enum ex_status status = make_attr(op, attr, &draft.node.attr, err);
  if (status == EX_OK) status = draft_node(graph, name, in, n_in, &draft, err);
  if (status == EX_OK) status = commit(graph, &draft, err);
  if (status != EX_OK) {
    ex__free(draft.node.attr);
    return ex__wrap(err, status, "node %d (%s \"%.40s\")", (int)graph->n_nodes, op->name, name);
  }
  *value = graph->n_nodes - 1;
  return EX_OK;
}

enum ex_status ex__graph_add(ex_graph *graph, const char *op, const char *name, const void *attr,
                             const int32_t *in, int32_t n_in, int32_t *value,
                             struct ex_error *err) {
  const struct ex_op *found = ex__op_find(op);
  if (found == NULL)
    return ex__fail(err, EX_ENOTFOUND, "graph: the operator \"%.40s\" is unknown", op);
  json_t *json = attr != NULL ? ex__param_to_json(found->attrs, attr) : NULL;
  if (attr != NULL && json == NULL)
    return ex__fail(err, EX_EINVAL, "%s: an attribute is not a finite number, or memory is short",
                    op);
  enum ex_status status =
      ex__graph_append(graph, found, name != NULL ? name : "", json, in, n_in, value, err);
  json_decref(json);
  return status;
}

enum ex_status ex__graph_add_input(ex_graph *graph, const struct ex_shape *shape, int32_t *value,
                                   struct ex_error *err) {
  struct ex_reshape attr = {.shape.n = shape->rank};
  if (shape->rank < 0 || shape->rank > EX_MAX_RANK)
    return ex__fail(err, EX_ESHAPE, "graph: an input of %d dimensions; must be 1 or 3",
                    (int)shape->rank);
  for (int32_t i = 0; i < shape->rank; i++) attr.shape.value[i] = shape->dim[i];
  return ex__graph_add(graph, "input", NULL, &attr, NULL, 0, value, err);
}

/* ---- asking ---------------------------------------------------------------- */

int32_t ex__graph_n_nodes(const ex_graph *graph) { return graph->n_nodes; }

const struct ex_node *ex__graph_node(const ex_graph *graph, int32_t id) {
  return &graph->nodes[id];
}

int32_t ex__graph_n_tensors(const ex_graph *graph) { return graph->n_tensors; }

const struct ex_tensor_info *ex__graph_tensor(const ex_graph *graph, int32_t index) {
  return &graph->tensors[index];
}

int32_t ex__graph_n_slabs(const ex_graph *graph) { return graph->n_slabs; }

int32_t ex__graph_n_segments(const ex_graph *graph) { return graph->n_segments; }

bool ex__graph_waits(const ex_graph *graph, int32_t segment, int32_t other) {
  return row_has(graph->depends[segment], other);
}

int64_t ex__graph_segment_macs(const ex_graph *graph, int32_t segment) {
  int64_t macs = 0;
  for (int32_t id = 0; id < graph->n_nodes; id++) {
    const struct ex_node *node = &graph->nodes[id];
    if (node->segment != segment || node->op->macs == NULL) continue;
    const struct ex_shape *in[EX_MAX_INPUTS] = {NULL};
    for (int32_t i = 0; i < node->n_in; i++) in[i] = &graph->nodes[node->in[i]].shape;
    macs += node->op->macs(node, in);
  }
  return macs;
}

int64_t ex__graph_segment_params(const ex_graph *graph, int32_t segment) {
  int64_t params = 0;
  for (int32_t i = 0; i < graph->n_tensors; i++) {
    const struct ex_tensor_info *info = &graph->tensors[i];
    if (graph->nodes[info->node].segment == segment && info->role != EX_ROLE_BUFFER)
      params += ex__shape_count(&info->shape);
  }
  return params;
}
