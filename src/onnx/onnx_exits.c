/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_exits: who needs what, and so what belongs where.
 */
#include "onnx/onnx_exits.h"

#include <jansson.h>
#include <string.h>

#include "base/memory.h"

/* ---- asking ------------------------------------------------------------------------ */

size_t ex__onnx_maker(const Onnx__GraphProto *graph, const char *name, size_t before) {
  for (size_t i = before; i-- > 0;)
    for (size_t k = 0; k < graph->node[i]->n_output; k++)
      if (strcmp(graph->node[i]->output[k], name) == 0) return i;
  return graph->n_node;
}

bool ex__onnx_depends(const struct ex_onnx_exits *exits, const char *name) {
  const struct ex_onnx_tensor *tensor = ex__onnx_eval_find(exits->eval, name);
  return tensor != NULL && tensor->unknown;
}

bool ex__onnx_depends_node(const struct ex_onnx_exits *exits, size_t i) {
  const Onnx__NodeProto *node = exits->graph->node[i];
  for (size_t k = 0; k < node->n_output; k++)
    if (exits->needed[i] && ex__onnx_depends(exits, node->output[k])) return true;
  return false;
}

/* The only input of a node that depends on the model's; NULL: none, or several. */
static const char *only_input(const struct ex_onnx_exits *exits, size_t i) {
  const Onnx__NodeProto *node = exits->graph->node[i];
  const char *found = NULL;
  for (size_t k = 0; k < node->n_input; k++) {
    if (node->input[k][0] == '\0' || !ex__onnx_depends(exits, node->input[k])) continue;
    if (found != NULL) return NULL;
    found = node->input[k];
  }
  return found;
}

static int32_t count_readers(const struct ex_onnx_exits *exits, const char *name) {
  int32_t n = 0;
  for (size_t i = 0; i < exits->graph->n_node; i++)
    for (size_t k = 0; exits->needed[i] && k < exits->graph->node[i]->n_input; k++)
      n += strcmp(exits->graph->node[i]->input[k], name) == 0;
  return n;
}

/* ---- the last layer ---------------------------------------------------------------- */

bool ex__onnx_drop_softmax(struct ex_onnx_exits *exits, int32_t exit) {
  const char *name = exits->output[exit];
  size_t n = exits->graph->n_node, last = ex__onnx_maker(exits->graph, name, n);
  const Onnx__NodeProto *node = exits->graph->node[last];
  const struct ex_onnx_tensor *out = ex__onnx_eval_find(exits->eval, name);
  const char *input = only_input(exits, last);
  const Onnx__AttributeProto *axis = ex__onnx_attribute(node, "axis");
  bool over_all =
      out->rank == 2 && out->axis == 0 && (axis == NULL || axis->i == 1 || axis->i == -1);
  if (strcmp(node->op_type, "Softmax") != 0 || !over_all || input == NULL ||
      count_readers(exits, name) > 0 || ex__onnx_maker(exits->graph, input, last) == n)
    return false;
  exits->output[exit] = input;
  exits->needed[last] = false;
  return true;
}

static bool is_layer(const Onnx__NodeProto *node) {
  return strcmp(node->op_type, "Gemm") == 0 || strcmp(node->op_type, "MatMul") == 0 ||
         strcmp(node->op_type, "Conv") == 0;
}

/* Back from the last exit along a chain that nobody else reads, to its last layer;
 * without one, its last node. Nodes from there on are its head. */
static size_t find_head(const struct ex_onnx_exits *exits) {
  const char *name = exits->output[exits->n - 1];
  size_t n = exits->graph->n_node, last = ex__onnx_maker(exits->graph, name, n);
  for (size_t at = last; at < n; at = ex__onnx_maker(exits->graph, name, at)) {
    if (is_layer(exits->graph->node[at])) return at;
    name = only_input(exits, at);
    if (name == NULL || count_readers(exits, name) != 1) break;
  }
  return last;
}

/* ---- who needs what ------------------------------------------------------------------- */

static json_int_t mask_of(const json_t *wanted, const char *name) {
  return json_integer_value(json_object_get(wanted, name));
}

/* Of every node, as bits: the exits that need it. */
static enum ex_status find_masks(const struct ex_onnx_exits *exits, uint32_t *mask,
                                 struct ex_error *err) {
  json_t *wanted = json_object();
  bool ok = wanted != NULL;
  for (int32_t k = 0; ok && k < exits->n; k++) {
    json_int_t bits = mask_of(wanted, exits->output[k]) | (json_int_t)1 << k;
    ok = json_object_set_new_nocheck(wanted, exits->output[k], json_integer(bits)) == 0;
  }
  for (size_t i = exits->graph->n_node; ok && i-- > 0;) {
    const Onnx__NodeProto *node = exits->graph->node[i];
    json_int_t bits = 0;
    for (size_t k = 0; k < node->n_output; k++) bits |= mask_of(wanted, node->output[k]);
    mask[i] = exits->needed[i] ? (uint32_t)bits : 0;
    for (size_t k = 0; ok && mask[i] != 0 && k < node->n_input; k++) {
      json_int_t both = bits | mask_of(wanted, node->input[k]);
      ok = json_object_set_new_nocheck(wanted, node->input[k], json_integer(both)) == 0;
    }
  }
  json_decref(wanted);
  return ok ? EX_OK : ex__fail(err, EX_ENOMEM, "no memory");
}

static int32_t count_needed(const struct ex_onnx_exits *exits, const uint32_t *mask, int32_t exit) {
  int32_t n = 0;
  for (size_t i = 0; i < exits->graph->n_node; i++)
    n += (mask[i] >> exit & 1) != 0 && ex__onnx_depends_node(exits, i);
  return n;
}

/* Shallow exits first; those that need as much keep their order. */
static void sort(struct ex_onnx_exits *exits, const uint32_t *mask) {
  int32_t needs[EX_MAX_POINTS];
  for (int32_t k = 0; k < exits->n; k++) {
    const char *output = exits->output[k], *name = exits->name[k];
    int32_t own = count_needed(exits, mask, k), at = k;
    for (; at > 0 && needs[at - 1] > own; at--) {
      needs[at] = needs[at - 1];
      exits->output[at] = exits->output[at - 1];
      exits->name[at] = exits->name[at - 1];
    }
    needs[at] = own;
    exits->output[at] = output;
    exits->name[at] = name;
  }
}

enum ex_status ex__onnx_place(struct ex_onnx_exits *exits, struct ex_error *err) {
  size_t n = exits->graph->n_node;
  uint32_t *mask = ex__calloc(n + 1, sizeof *mask);
  exits->stage = ex__calloc(n + 1, sizeof *exits->stage);
  exits->part = ex__calloc(n + 1, sizeof *exits->part);
  enum ex_status status = mask != NULL && exits->stage != NULL && exits->part != NULL
                              ? find_masks(exits, mask, err)
                              : ex__fail(err, EX_ENOMEM, "no memory");
  if (status == EX_OK) {
    sort(exits, mask);
    status = find_masks(exits, mask, err);
  }
  size_t head = status == EX_OK ? find_head(exits) : n;
  for (size_t i = 0; status == EX_OK && i < n; i++) {
    if (mask[i] == 0) continue;
    exits->stage[i] = __builtin_ctz(mask[i]);
    bool alone = (mask[i] & (mask[i] - 1)) == 0, last = exits->stage[i] == exits->n - 1;
    exits->part[i] = alone && (!last || i >= head) ? EX_PART_HEAD : EX_PART_BODY;
  }
  ex__free(mask);
  return status;
}

void ex__onnx_exits_clear(struct ex_onnx_exits *exits) {
  ex__free(exits->needed);
  ex__free(exits->stage);
  ex__free(exits->part);
}
