/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_import: from a graph of ONNX to a net, in four steps: what the
 * output needs; shapes for two batch sizes; operators; weights.
 */
#include "onnx/onnx_import.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "onnx/onnx_compare.h"
#include "onnx/onnx_exits.h"
#include "onnx/onnx_idiom.h"
#include "onnx/onnx_map.h"

struct import {
  const ex_onnx *onnx;
  const Onnx__GraphProto *graph;
  struct ex_onnx_limits limits;
  ex_onnx_eval *eval[2]; /* for EX_ONNX_BATCH and EX_ONNX_OTHER_BATCH */
  struct ex_onnx_exits exits;
  struct ex_onnx_idiom *idiom; /* [n_node] */
  const Onnx__ValueInfoProto *input;
  int64_t declared_batch;      /* 0: free */
  struct ex_onnx_tensor shape; /* of the input, for a batch of 1 */
  struct ex_onnx_map map;
  struct ex_onnx_report *report;
  struct ex_error *err;
};

static const int64_t batches[] = {EX_ONNX_BATCH, EX_ONNX_OTHER_BATCH};

/* ---- input and output -------------------------------------------------------------- */

static bool is_constant(const struct import *import, const char *name) {
  for (size_t i = 0; i < import->graph->n_initializer; i++) {
    const char *other = import->graph->initializer[i]->name;
    if (other != NULL && name != NULL && strcmp(other, name) == 0) return true;
  }
  return false;
}

static enum ex_status find_input(struct import *import) {
  char text[64];
  int32_t found = 0;
  for (size_t i = 0; i < import->graph->n_input; i++) {
    const Onnx__ValueInfoProto *input = import->graph->input[i];
    if (input->name == NULL || is_constant(import, input->name)) continue;
    import->input = input;
    found++;
  }
  if (found != 1) return ex__fail(import->err, EX_EUNSUPPORTED, "%d inputs; must be 1", (int)found);
  ex__onnx_text(import->input->name, text);
  memcpy(import->report->input, text, sizeof text);
  return EX_OK;
}

static enum ex_status no_output(const struct import *import, const char *wanted) {
  char names[160] = "", text[64];
  for (size_t i = 0; i < import->graph->n_output; i++) {
    size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, "%s%.40s", used > 0 ? ", " : "",
             ex__onnx_text(import->graph->output[i]->name, text));
  }
  return ex__fail(import->err, EX_ENOTFOUND, "output \"%.40s\" is unknown; must be one of %s",
                  wanted, names);
}

/* All of them, or the one that is wanted. */
static enum ex_status find_outputs(struct import *import, const char *wanted) {
  struct ex_onnx_exits *exits = &import->exits;
  for (size_t i = 0; i < import->graph->n_output; i++) {
    const char *name = import->graph->output[i]->name;
    if (name == NULL || (wanted != NULL && strcmp(name, wanted) != 0)) continue;
    if (exits->n == EX_MAX_POINTS)
      return ex__fail(import->err, EX_EUNSUPPORTED, "more than %d outputs; --exit takes one",
                      EX_MAX_POINTS);
    exits->name[exits->n] = exits->output[exits->n] = name;
    exits->n++;
  }
  if (exits->n > 0) return EX_OK;
  if (wanted != NULL) return no_output(import, wanted);
  return ex__fail(import->err, EX_EFORMAT, "it has no output");
}

/* The shape that is declared, with what the caller says of its free dimensions. */
static enum ex_status input_shape(struct import *import, const struct ex_shape *given) {
  const Onnx__TypeProto *type = import->input->type;
  const Onnx__TypeProto__Tensor *tensor =
      type != NULL && type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ? type->tensor_type
                                                                              : NULL;
  int64_t dim[EX_ONNX_MAX_RANK];
  if (tensor == NULL || tensor->shape == NULL || tensor->shape->n_dim < 2 ||
      tensor->shape->n_dim > EX_ONNX_MAX_RANK)
    return ex__fail(import->err, EX_EUNSUPPORTED,
                    "input \"%s\" must be a tensor of a batch and 1 to %d dimensions",
                    import->report->input, EX_ONNX_MAX_RANK - 1);
  if (!ex__onnx_is_real(tensor->elem_type))
    return ex__fail(import->err, EX_EUNSUPPORTED, "input \"%s\" is %s; must be floating numbers",
                    import->report->input, ex__onnx_type_name(tensor->elem_type));
  int32_t rank = (int32_t)tensor->shape->n_dim;
  if (given->rank > 0 && given->rank != rank - 1)
    return ex__fail(import->err, EX_ESHAPE, "a shape of %d numbers; the input has %d and a batch",
                    (int)given->rank, (int)rank - 1);
  for (int32_t i = 0; i < rank; i++) {
    const Onnx__TensorShapeProto__Dimension *own = tensor->shape->dim[i];
    bool fixed = own->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
                 own->dim_value > 0;
    dim[i] = fixed ? own->dim_value : 0;
    if (i > 0 && given->rank > 0) dim[i] = given->dim[i - 1];
    if (i > 0 && dim[i] < 1)
      return ex__fail(import->err, EX_ESHAPE,
                      "dimension %d of input \"%s\" is free; must be told, by --shape", (int)i,
                      import->report->input);
  }
  import->declared_batch = dim[0];
  dim[0] = 1;
  return ex__onnx_tensor_shape(&import->shape, tensor->elem_type, rank, dim, import->err);
}

/* ---- what the output needs ----------------------------------------------------------- */

/* A graph within a node may read any name: then everything is kept. */
static bool has_graphs(const Onnx__NodeProto *node) {
  for (size_t i = 0; i < node->n_attribute; i++)
    if (node->attribute[i]->g != NULL || node->attribute[i]->n_graphs > 0) return true;
  return false;
}

static enum ex_status find_needed(struct import *import) {
  const Onnx__GraphProto *graph = import->graph;
  struct ex_onnx_exits *exits = &import->exits;
  char text[64];
  exits->needed = ex__calloc(graph->n_node + 1, sizeof *exits->needed);
  json_t *wanted = json_object();
  bool ok = exits->needed != NULL && wanted != NULL, all = false;
  for (size_t i = 0; i < graph->n_node; i++) all = all || has_graphs(graph->node[i]);
  for (int32_t k = 0; ok && k < exits->n; k++)
    ok = json_object_set_new_nocheck(wanted, exits->output[k], json_true()) == 0;
  for (size_t i = graph->n_node; ok && i-- > 0;) {
    const Onnx__NodeProto *node = graph->node[i];
    bool needed = all;
    for (size_t k = 0; k < node->n_output; k++)
      needed = needed || json_object_get(wanted, node->output[k]) != NULL;
    exits->needed[i] = needed;
    for (size_t k = 0; ok && needed && k < node->n_input; k++)
      ok = json_object_set_new_nocheck(wanted, node->input[k], json_true()) == 0;
  }
  json_decref(wanted);
  if (!ok) return ex__fail(import->err, EX_ENOMEM, "no memory");
  for (int32_t k = 0; k < exits->n; k++)
    if (ex__onnx_maker(graph, exits->output[k], graph->n_node) == graph->n_node)
      return ex__fail(import->err, EX_EFORMAT, "output \"%s\" is made by no node",
                      ex__onnx_text(exits->output[k], text));
  return EX_OK;
}

/* ---- shapes for two batches ------------------------------------------------------------- */

static enum ex_status begin_eval(struct import *import, int32_t which) {
  struct ex_onnx_tensor input = import->shape;
  EX_TRY(ex__onnx_eval_new(import->onnx, &import->limits, &import->eval[which], import->err));
  ex__onnx_eval_batch(import->eval[which], import->declared_batch, batches[which]);
  input.dim[0] = batches[which];
  input.count *= batches[which];
  input.unknown = true;
  return ex__onnx_eval_input(import->eval[which], import->input->name, &input, import->err);
}

/* That what depends on the input grows with the batch, in one dimension. */
static enum ex_status check_batch(const struct import *import, const char *name) {
  struct ex_onnx_tensor *a = ex__onnx_eval_find(import->eval[0], name);
  const struct ex_onnx_tensor *b = ex__onnx_eval_find(import->eval[1], name);
  char text[128];
  if (a == NULL || b == NULL || !a->unknown) return EX_OK;
  int32_t grown = 0;
  bool ok = a->rank == b->rank;
  for (int32_t i = 0; ok && i < a->rank; i++) {
    if (a->dim[i] == b->dim[i]) continue;
    ok = a->dim[i] % batches[0] == 0 && a->dim[i] / batches[0] * batches[1] == b->dim[i];
    a->axis = i;
    grown++;
  }
  if (ok && grown == 1) return EX_OK;
  return ex__fail(import->err, EX_EUNSUPPORTED,
                  "for a batch of %d its output is %s: one dimension must be the batch, and free "
                  "(PyTorch: dynamic_axes)",
                  EX_ONNX_BATCH, ex__onnx_shape_text(a, text));
}

static enum ex_status find_shapes(struct import *import) {
  for (int32_t which = 0; which < 2; which++) EX_TRY(begin_eval(import, which));
  for (size_t i = 0; i < import->graph->n_node; i++) {
    const Onnx__NodeProto *node = import->graph->node[i];
    if (!import->exits.needed[i]) continue;
    for (int32_t which = 0; which < 2; which++)
      EX_TRY(ex__onnx_eval_node(import->eval[which], i, import->err));
    for (size_t k = 0; k < node->n_output; k++) {
      enum ex_status status = check_batch(import, node->output[k]);
      if (status != EX_OK) return ex__onnx_name_node(node, i, status, import->err);
    }
  }
  return EX_OK;
}

/* ---- exits ------------------------------------------------------------------------------ */

/* What the report calls them: "y", or "y, r" in the order of exits. */
static void note_outputs(const struct import *import) {
  char *to = import->report->output, text[64];
  size_t size = sizeof import->report->output, used = 0;
  for (int32_t k = 0; k < import->exits.n && used < size; k++)
    used += (size_t)snprintf(to + used, size - used, "%s%s", k > 0 ? ", " : "",
                             ex__onnx_text(import->exits.name[k], text));
}

static enum ex_status find_exits(struct import *import) {
  struct ex_onnx_exits *exits = &import->exits;
  char text[64];
  exits->graph = import->graph;
  exits->eval = import->eval[0];
  for (int32_t k = 0; k < exits->n; k++)
    if (!ex__onnx_depends(exits, exits->output[k]))
      return ex__fail(import->err, EX_EUNSUPPORTED, "output \"%s\" does not depend on the input",
                      ex__onnx_text(exits->output[k], text));
  for (int32_t k = 0; k < exits->n; k++) import->report->softmax |= ex__onnx_drop_softmax(exits, k);
  EX_TRY(ex__onnx_place(exits, import->err));
  note_outputs(import);
  return EX_OK;
}

/* ---- operators ---------------------------------------------------------------------------- */

static const struct ex_onnx_mapping *find_mapping(const char *op) {
  const struct ex_onnx_mapping *const tables[] = {ex__onnx_map_layers, ex__onnx_map_elements,
                                                  ex__onnx_map_places};
  for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
    for (const struct ex_onnx_mapping *mapping = tables[t]; mapping->op != NULL; mapping++)
      if (strcmp(mapping->op, op) == 0) return mapping;
  return NULL;
}

static enum ex_status map_node(struct import *import, size_t i) {
  struct ex_onnx_map *map = &import->map;
  const Onnx__NodeProto *node = import->graph->node[i];
  const struct ex_onnx_mapping *mapping = find_mapping(node->op_type);
  struct ex_onnx_call *call = ex__calloc(1, sizeof *call);
  if (call == NULL) return ex__fail(import->err, EX_ENOMEM, "no memory");
  ex__builder_enter(map->builder, import->exits.stage[i], import->exits.part[i]);
  map->call = call;
  map->index = i;
  enum ex_status status = ex__onnx_eval_call(map->eval, i, call, import->err);
  bool is_idiom = import->idiom[i].kind != EX_ONNX_IDIOM_NONE;
  if (status == EX_OK && node->output[0][0] == '\0')
    status = ex__fail(import->err, EX_EUNSUPPORTED, "its first output is left out");
  if (status == EX_OK && is_idiom)
    status = ex__onnx_map_idiom(map, &import->idiom[i]);
  else if (status == EX_OK)
    status = mapping != NULL ? mapping->map(map)
                             : ex__fail(import->err, EX_EUNSUPPORTED,
                                        "it depends on the model's input, and a network of ours "
                                        "has no such operator");
  if (status == EX_OK) status = call->status;
  ex__onnx_eval_unload(call);
  map->call = NULL;
  ex__free(call);
  return status == EX_OK ? EX_OK : ex__onnx_name_node(node, i, status, import->err);
}

static enum ex_status map_nodes(struct import *import) {
  import->idiom = ex__calloc(import->graph->n_node + 1, sizeof *import->idiom);
  if (import->idiom == NULL) return ex__fail(import->err, EX_ENOMEM, "no memory");
  EX_TRY(ex__onnx_find_idioms(&import->exits, import->eval[0], import->idiom, import->err));
  for (size_t i = 0; i < import->graph->n_node; i++) {
    if (!ex__onnx_depends_node(&import->exits, i)) {
      import->report->n_folded++;
      continue;
    }
    if (import->idiom[i].kind != EX_ONNX_IDIOM_INSIDE) EX_TRY(map_node(import, i));
    import->report->n_nodes++;
  }
  return EX_OK;
}

/* An exit: raw outputs in one dimension, made in the head of its stage. */
static enum ex_status add_point(struct import *import, int32_t exit) {
  const char *name = import->exits.output[exit];
  const struct ex_onnx_tensor *out = ex__onnx_eval_find(import->eval[0], name);
  ex_builder *builder = import->map.builder;
  int32_t value = out->tag - 1;
  char text[64];
  if (ex__onnx_product(out->dim, 0, out->axis) != 1)
    return ex__fail(import->err, EX_EUNSUPPORTED, "the batch is not the first dimension of \"%s\"",
                    ex__onnx_text(name, text));
  ex__builder_enter(builder, exit, EX_PART_HEAD);
  if (!ex__builder_in(builder, value, exit, EX_PART_HEAD) ||
      ex__builder_shape(builder, value)->rank != 1) {
    int64_t count = out->count / EX_ONNX_BATCH;
    struct ex_reshape flat = {{1, {(double)count}}};
    value = ex__builder_op(builder, "reshape", NULL, &flat, &value, 1);
  }
  ex__builder_point(builder, value, -1, 0);
  return ex__builder_status(builder, import->err);
}

/* How many outputs each exit has: as many as the others. */
static enum ex_status count_outputs(const struct import *import, int32_t *n) {
  char text[64];
  for (int32_t k = 0; k < import->exits.n; k++) {
    const char *name = import->exits.output[k];
    int64_t count = ex__onnx_eval_find(import->eval[0], name)->count / EX_ONNX_BATCH;
    if (count < 1 || count > INT32_MAX)
      return ex__fail(import->err, EX_ESHAPE, "%" PRId64 " outputs; must be 1 to %d", count,
                      INT32_MAX);
    if (k > 0 && count != *n)
      return ex__fail(
          import->err, EX_ESHAPE,
          "\"%s\" has %d numbers and another output %d: exits must have as many; --exit "
          "takes one",
          ex__onnx_text(import->exits.name[k], text), (int)count, (int)*n);
    *n = (int32_t)count;
  }
  return EX_OK;
}

static enum ex_status begin_net(struct import *import) {
  struct ex_onnx_map *map = &import->map;
  struct ex_onnx_sample sample = {.rank = import->shape.rank};
  struct ex_onnx_call nothing = {.err = import->err};
  struct ex_list list;
  int32_t count = 0;
  memcpy(sample.dim, import->shape.dim, sizeof sample.dim);
  map->call = &nothing;
  enum ex_status status = ex__onnx_map_place(map, &sample, &list);
  map->call = NULL;
  EX_TRY(status);
  EX_TRY(count_outputs(import, &count));
  struct ex_shape input = {.rank = list.n};
  for (int32_t i = 0; i < list.n; i++) input.dim[i] = (int32_t)list.value[i];
  map->eval = import->eval[0];
  map->names = json_object();
  if (map->names == NULL) return ex__fail(import->err, EX_ENOMEM, "no memory");
  EX_TRY(ex__builder_new(&input, count, &map->builder, import->err));
  for (int32_t k = 0; k < import->exits.n; k++) ex__builder_stage(map->builder);
  ex__builder_enter(map->builder, 0, EX_PART_BODY);
  ex__onnx_eval_find(import->eval[0], import->input->name)->tag =
      ex__builder_input(map->builder) + 1;
  return ex__builder_status(map->builder, import->err);
}

/* ---- weights --------------------------------------------------------------------------------- */

static enum ex_status fill(const struct import *import, ex_net *net) {
  for (int32_t i = 0; i < import->map.n_weights; i++) {
    const struct ex_onnx_weights *weights = &import->map.weights[i];
    int32_t index = ex__graph_node(net->graph, weights->value)->tensor[weights->slot];
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, index);
    if (ex__shape_count(&info->shape) != weights->count)
      return ex__fail(import->err, EX_ESHAPE, "\"%s\": %" PRId64 " numbers; must be %lld",
                      info->name, weights->count, (long long)ex__shape_count(&info->shape));
    ex_slabs *slabs = info->role == EX_ROLE_BUFFER ? net->buffers : net->params;
    memcpy(ex__slabs_tensor(slabs, net->graph, index), weights->number,
           (size_t)weights->count * sizeof *weights->number);
  }
  return EX_OK;
}

/* What was needed to make the net, and is not to compare it. */
static void free_numbers(struct import *import) {
  for (int32_t i = 0; i < import->map.n_weights; i++) ex__free(import->map.weights[i].number);
  ex__free(import->map.weights);
  import->map.weights = NULL;
  import->map.n_weights = 0;
  for (int32_t which = 0; which < 2; which++) {
    ex__onnx_eval_free(import->eval[which]);
    import->eval[which] = NULL;
  }
}

static void close_import(struct import *import) {
  ex_net *net;
  if (import->map.builder != NULL) { /* a failure came first: finishing releases it */
    (void)ex__builder_finish(import->map.builder, 0, &net, NULL);
    ex_net_free(net);
  }
  free_numbers(import);
  json_decref(import->map.names);
  ex__free(import->idiom);
  ex__onnx_exits_clear(&import->exits);
}

/* protobuf reads any bytes as a name; all that follows compares them as text. */
static enum ex_status check_nodes(const struct import *import) {
  for (size_t i = 0; i < import->graph->n_node; i++)
    if (import->graph->node[i]->op_type == NULL)
      return ex__fail(import->err, EX_EFORMAT, "node %zu has no operator", i);
  return EX_OK;
}

static enum ex_status run(struct import *import, const struct ex_onnx_options *options,
                          ex_net **net) {
  EX_TRY(check_nodes(import));
  EX_TRY(find_input(import));
  EX_TRY(find_outputs(import, options->output));
  EX_TRY(input_shape(import, &options->shape));
  EX_TRY(find_needed(import));
  EX_TRY(find_shapes(import));
  EX_TRY(find_exits(import));
  EX_TRY(begin_net(import));
  EX_TRY(map_nodes(import));
  for (int32_t k = 0; k < import->exits.n; k++) EX_TRY(add_point(import, k));
  import->report->n_exits = import->exits.n;
  ex_builder *builder = import->map.builder;
  import->map.builder = NULL;
  EX_TRY(ex__builder_finish(builder, 0, net, import->err));
  EX_TRY(fill(import, *net));
  free_numbers(import);
  const struct ex_onnx_comparison comparison = {.onnx = import->onnx,
                                                .net = *net,
                                                .needed = import->exits.needed,
                                                .input = import->input->name,
                                                .output = import->exits.output,
                                                .shape = &import->shape,
                                                .declared_batch = import->declared_batch,
                                                .samples = options->samples,
                                                .seed = options->seed};
  return ex__onnx_compare(&comparison, import->report, import->err);
}

enum ex_status ex__onnx_import(const ex_onnx *onnx, const struct ex_onnx_options *options,
                               ex_net **out, struct ex_onnx_report *report, struct ex_error *err) {
  *report = (struct ex_onnx_report){.opset = onnx->opset};
  struct import import = {.onnx = onnx,
                          .graph = onnx->proto->graph,
                          .limits = EX_ONNX_LIMITS,
                          .report = report,
                          .err = err};
  if (options->elements > 0) import.limits.elements = options->elements;
  if (options->work > 0) import.limits.work = options->work;
  *out = NULL;
  enum ex_status status = run(&import, options, out);
  close_import(&import);
  if (status == EX_OK) return EX_OK;
  ex_net_free(*out);
  *out = NULL;
  return status;
}
