/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/graph_json: a graph as JSON and back.
 *
 * Writing says everything about each node, defaults included, so that a file
 * keeps its meaning when a default changes. Reading puts each node through
 * the same door as code does (ex__graph_append), which is where attributes,
 * shapes, sizes and causality are checked; here are only the keys and types.
 * An operator of another version is refused, since its meaning differs.
 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "graph/graph_internal.h"

/* In the order of enum ex_init. */
static const char *const init_names[] = {"zero",    "one",       "unit",
                                         "default", "he-fan-in", "he-fan-out"};
enum { N_INITS = sizeof init_names / sizeof *init_names };

/* ---- writing ------------------------------------------------------------------ */

/* Of the node's first weight: reading with it as the scheme gives it back. */
static enum ex_init node_init(const ex_graph *graph, const struct ex_node *node) {
  for (int32_t i = 0; i < node->n_tensors; i++) {
    const struct ex_tensor_info *info = &graph->tensors[node->tensor[i]];
    if (info->role == EX_ROLE_WEIGHT) return info->init;
  }
  return EX_INIT_DEFAULT;
}

static json_t *node_to_json(const ex_graph *graph, int32_t id) {
  const struct ex_node *node = &graph->nodes[id];
  json_t *in = json_array();
  for (int32_t i = 0; i < node->n_in; i++) {
    if (json_array_append_new(in, json_integer(node->in[i])) == 0) continue;
    json_decref(in);
    return NULL;
  }
  return json_pack("{s:s, s:i, s:s, s:i, s:i, s:s, s:o, s:o, s:b}", "op", node->op->name, "version",
                   (int)node->op->version, "name", node->name, "segment", (int)node->segment,
                   "slab", (int)graph->node_slab[id], "init", init_names[node_init(graph, node)],
                   "in", in, "attr", ex__param_to_json(node->op->attrs, node->attr), "keep",
                   (int)node->kept);
}

json_t *ex__graph_to_json(const ex_graph *graph) {
  json_t *array = json_array();
  for (int32_t id = 0; array != NULL && id < graph->n_nodes; id++) {
    if (json_array_append_new(array, node_to_json(graph, id)) == 0) continue;
    json_decref(array);
    return NULL;
  }
  return array;
}

/* ---- reading ------------------------------------------------------------------ */

static enum ex_status check_keys(const json_t *json, const char *where, struct ex_error *err) {
  static const char *const known[] = {"op",   "version", "name", "segment", "slab",
                                      "init", "in",      "attr", "keep",    NULL};
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)json, key, value) {
    size_t i = 0;
    while (known[i] != NULL && strcmp(known[i], key) != 0) i++;
    if (known[i] == NULL)
      return ex__fail(err, EX_EFORMAT, "%s: the key \"%.40s\" is unknown", where, key);
  }
  return EX_OK;
}

static enum ex_status read_op(const json_t *json, const char *where, const struct ex_op **out,
                              struct ex_error *err) {
  const char *name;
  int64_t version;
  EX_TRY(ex__json_string(json, "op", where, &name, err));
  *out = ex__op_find(name);
  if (*out == NULL)
    return ex__fail(err, EX_EUNSUPPORTED, "%s: the operator \"%.40s\" is unknown", where, name);
  EX_TRY(ex__json_int(json, "version", where, 1, INT32_MAX, &version, err));
  if (version != (*out)->version)
    return ex__fail(err, EX_EUNSUPPORTED, "%s: version %d of operator %s; this program knows %d",
                    where, (int)version, name, (int)(*out)->version);
  return EX_OK;
}

static enum ex_status read_place(const json_t *json, const char *where, ex_graph *graph,
                                 struct ex_error *err) {
  int64_t segment, slab;
  const char *init;
  EX_TRY(ex__json_int(json, "segment", where, 0, EX_MAX_SEGMENTS - 1, &segment, err));
  EX_TRY(ex__json_int(json, "slab", where, 0, EX_MAX_SLABS - 1, &slab, err));
  EX_TRY(ex__json_string(json, "init", where, &init, err));
  int32_t i = 0;
  while (i < N_INITS && strcmp(init_names[i], init) != 0) i++;
  if (i == N_INITS)
    return ex__fail(err, EX_EFORMAT,
                    "%s: \"init\" = \"%.40s\"; must be zero, one, unit, default, he-fan-in or "
                    "he-fan-out",
                    where, init);
  ex__graph_segment(graph, (int32_t)segment, (int32_t)slab);
  ex__graph_init(graph, (enum ex_init)i);
  return EX_OK;
}

static enum ex_status read_inputs(const json_t *json, const char *where, int32_t in[EX_MAX_INPUTS],
                                  int32_t *n_in, struct ex_error *err) {
  const json_t *array;
  EX_TRY(ex__json_array(json, "in", where, EX_MAX_INPUTS, &array, err));
  *n_in = (int32_t)json_array_size(array);
  for (int32_t i = 0; i < *n_in; i++) {
    const json_t *id = json_array_get(array, (size_t)i);
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
      return ex__fail(err, EX_EFORMAT, "%s: \"in\" must be an array of ids of nodes", where);
    in[i] = (int32_t)json_integer_value(id);
  }
  return EX_OK;
}

static enum ex_status read_node(const json_t *json, ex_graph *graph, struct ex_error *err) {
  char where[32];
  snprintf(where, sizeof where, "graph: node %d", (int)graph->n_nodes);
  const struct ex_op *op;
  const char *name;
  const json_t *attr, *keep;
  int32_t in[EX_MAX_INPUTS], n_in, value;
  EX_TRY(read_op(json, where, &op, err));
  EX_TRY(check_keys(json, where, err));
  EX_TRY(ex__json_string(json, "name", where, &name, err));
  EX_TRY(read_place(json, where, graph, err));
  EX_TRY(read_inputs(json, where, in, &n_in, err));
  EX_TRY(ex__json_object(json, "attr", where, &attr, err));
  keep = json_object_get(json, "keep");
  if (!json_is_boolean(keep))
    return ex__fail(err, EX_EFORMAT, "%s: \"keep\" must be true or false", where);
  enum ex_status status = ex__graph_append(graph, op, name, attr, in, n_in, &value, err);
  if (status != EX_OK) return ex__wrap(err, status, "graph");
  if (json_is_true(keep)) ex__graph_keep(graph, value);
  return EX_OK;
}

enum ex_status ex__graph_from_json(const json_t *json, ex_graph **out, struct ex_error *err) {
  *out = NULL;
  size_t n = json_array_size(json); /* 0 for what is no array */
  if (n < 1 || n > EX_MAX_NODES)
    return ex__fail(err, EX_EFORMAT, "graph: must be an array of 1 to %d nodes", EX_MAX_NODES);
  ex_graph *graph;
  if (ex__graph_new(&graph) != EX_OK) return ex__fail(err, EX_ENOMEM, "graph: no memory");
  for (size_t i = 0; i < n; i++) {
    enum ex_status status = read_node(json_array_get(json, i), graph, err);
    if (status == EX_OK) continue;
    ex__graph_free(graph);
    return status;
  }
  ex__graph_segment(graph, 0, 0);
  ex__graph_init(graph, EX_INIT_DEFAULT);
  *out = graph;
  return EX_OK;
}
