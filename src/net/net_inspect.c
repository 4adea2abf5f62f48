/* SPDX-License-Identifier: Apache-2.0
 *
 * net/net_inspect: a net described: what each exit costs, what each stage is
 * made of, and what crosses from one stage to the next.
 */
#include "base/memory.h"
#include "graph/op.h"
#include "net/net.h"

static const char *const part_names[] = {"body", "head", "gate"};

static json_t *shape_to_json(const struct ex_shape *shape) {
  json_t *array = json_array();
  bool ok = array != NULL;
  for (int32_t i = 0; ok && i < shape->rank; i++)
    ok = json_array_append_new(array, json_integer(shape->dim[i])) == 0;
  if (ok) return array;
  json_decref(array);
  return NULL;
}

static json_int_t bytes_of(int64_t elements) { return elements * (int64_t)sizeof(ex_real); }

/* `looked`: bodies of the exits before; body_macs are those that come on top. */
static json_t *exit_to_json(const ex_net *net, const struct ex_cost *cost, int32_t p,
                            uint32_t looked) {
  int32_t stage = net->points[p].stage;
  int64_t body = ex__sum_over(cost->body_macs, ex__net_bodies(net, p) & ~looked);
  double full = (double)cost->macs[net->n_points - 1];
  return json_pack("{s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "exit", (int)p, "stage",
                   (int)stage, "macs", (json_int_t)cost->macs[p], "params",
                   (json_int_t)cost->params[p], "bytes", bytes_of(cost->params[p]), "direct_macs",
                   (json_int_t)cost->direct_macs[p], "body_macs", (json_int_t)body, "head_macs",
                   (json_int_t)cost->head_macs[p], "gate_macs", (json_int_t)cost->gate_macs[p],
                   "share", full > 0 ? (double)cost->macs[p] / full : 1.0);
}

static json_t *node_to_json(const ex_net *net, int32_t id) {
  const struct ex_node *node = ex__graph_node(net->graph, id);
  const struct ex_shape *in_shape[EX_MAX_INPUTS] = {NULL};
  json_t *in = json_array();
  bool ok = in != NULL;
  for (int32_t i = 0; ok && i < node->n_in; i++) {
    in_shape[i] = &ex__graph_node(net->graph, node->in[i])->shape;
    ok = json_array_append_new(in, json_integer(node->in[i])) == 0;
  }
  if (!ok) {
    json_decref(in);
    return NULL;
  }
  int64_t macs = node->op->macs != NULL ? node->op->macs(node, in_shape) : 0, params = 0;
  for (int32_t i = 0; i < node->n_tensors; i++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, node->tensor[i]);
    if (info->role != EX_ROLE_BUFFER) params += ex__shape_count(&info->shape);
  }
  return json_pack(
      "{s:i, s:s, s:s, s:s, s:o, s:o, s:I, s:I}", "value", (int)id, "op", node->op->name, "name",
      node->name, "part", part_names[node->segment % EX_N_PARTS], "in", in, "shape",
      shape_to_json(&node->shape), "macs", (json_int_t)macs, "params", (json_int_t)params);
}

/* last [n_nodes]: the last stage whose body reads each value; −1: none. */
static void find_last_readers(const ex_net *net, int32_t *last) {
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    int32_t stage = node->segment / EX_N_PARTS;
    last[id] = -1;
    if (node->segment % EX_N_PARTS != EX_PART_BODY) continue;
    for (int32_t i = 0; i < node->n_in; i++)
      if (last[node->in[i]] < stage) last[node->in[i]] = stage;
  }
}

/* The values made up to `stage` that a later body reads. */
static json_t *cut_to_json(const ex_net *net, const int32_t *last, int32_t stage) {
  json_t *cut = json_array();
  bool ok = cut != NULL;
  for (int32_t id = 0; ok && id < ex__graph_n_nodes(net->graph); id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    if (node->segment / EX_N_PARTS > stage || last[id] <= stage) continue;
    json_t *value =
        json_pack("{s:i, s:o, s:I}", "value", (int)id, "shape", shape_to_json(&node->shape),
                  "bytes", bytes_of(ex__shape_count(&node->shape)));
    ok = json_array_append_new(cut, value) == 0;
  }
  if (ok) return cut;
  json_decref(cut);
  return NULL;
}

static json_t *stage_to_json(const ex_net *net, const struct ex_cost *cost, const int32_t *last,
                             int32_t stage) {
  json_t *nodes = json_array();
  bool ok = nodes != NULL;
  for (int32_t id = 0; ok && id < ex__graph_n_nodes(net->graph); id++)
    if (ex__graph_node(net->graph, id)->segment / EX_N_PARTS == stage)
      ok = json_array_append_new(nodes, node_to_json(net, id)) == 0;
  if (!ok) {
    json_decref(nodes);
    return NULL;
  }
  int64_t params = ex__graph_segment_params(net->graph, ex__net_segment(stage, EX_PART_BODY));
  return json_pack("{s:i, s:I, s:I, s:o, s:o}", "stage", (int)stage, "macs",
                   (json_int_t)cost->body_macs[stage], "params", (json_int_t)params, "cut",
                   cut_to_json(net, last, stage), "nodes", nodes);
}

json_t *ex__net_inspect(const ex_net *net) {
  struct ex_cost cost;
  ex__net_cost(net, &cost);
  int32_t *last = ex__calloc((size_t)ex__graph_n_nodes(net->graph), sizeof *last);
  json_t *exits = json_array(), *stages = json_array();
  bool ok = exits != NULL && stages != NULL && last != NULL;
  if (ok) find_last_readers(net, last);
  uint32_t looked = 0;
  for (int32_t p = 0; ok && p < net->n_points; p++) {
    ok = json_array_append_new(exits, exit_to_json(net, &cost, p, looked)) == 0;
    looked |= ex__net_bodies(net, p);
  }
  for (int32_t s = 0; ok && s < net->n_stages; s++)
    ok = json_array_append_new(stages, stage_to_json(net, &cost, last, s)) == 0;
  ex__free(last);
  if (ok)
    return json_pack("{s:s, s:o, s:i, s:o, s:o, s:o}", "task", net->task->name, "input",
                     shape_to_json(&net->input), "outputs", (int)net->n_outputs, "transform",
                     ex__transform_to_json(&net->transform), "exits", exits, "stages", stages);
  json_decref(exits);
  json_decref(stages);
  return NULL;
}
