/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_write: building ONNX files.
 *
 * Messages, names and numbers lie in blocks that go together with the writer; what
 * protobuf-c gets are pointers into them.
 */
#include "onnx/onnx_write.h"

#include <inttypes.h>
#include <onnx.pb-c.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

struct block {
  struct block *next;
  _Alignas(16) unsigned char data[];
};

struct ex_onnx_writer {
  struct block *blocks;
  int64_t n_names;
  bool failed;
};

struct ex_onnx_graph {
  ex_onnx_writer *writer;
  Onnx__GraphProto proto;
};

enum { MAX_NAME = 24 };

/* ---- memory ----------------------------------------------------------------- */

/* Zeroed; NULL: no memory, and the writer knows. */
static void *take(ex_onnx_writer *writer, size_t count, size_t size) {
  size_t bytes;
  struct block *block = NULL;
  if (ex__mul_size(count, size, &bytes) && ex__add_size(bytes, sizeof *block, &bytes))
    block = ex__calloc(1, bytes);
  if (block == NULL) {
    writer->failed = true;
    return NULL;
  }
  block->next = writer->blocks;
  writer->blocks = block;
  return block->data;
}

/* An array of n pointers with room for one more: it doubles when n is a power of 2. */
static void *with_room(ex_onnx_writer *writer, void *array, size_t n) {
  if ((n & (n - 1)) != 0) return array;
  void **larger = take(writer, n > 0 ? 2 * n : 1, sizeof *larger);
  if (larger != NULL && n > 0) memcpy(larger, array, n * sizeof *larger);
  return larger;
}

/* Messages of protobuf-c want pointers to what they will not change. */
static char *copied(ex_onnx_writer *writer, const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = take(writer, size, 1);
  if (copy != NULL) memcpy(copy, text, size);
  return copy;
}

static char *new_name(ex_onnx_writer *writer, const char *stem) {
  char name[MAX_NAME + 24];
  snprintf(name, sizeof name, "%.*s_%" PRId64, MAX_NAME, stem, writer->n_names++);
  return copied(writer, name);
}

ex_onnx_writer *ex__onnx_writer_new(void) { return ex__calloc(1, sizeof(ex_onnx_writer)); }

void ex__onnx_writer_free(ex_onnx_writer *writer) {
  if (writer == NULL) return;
  for (struct block *block = writer->blocks, *next; block != NULL; block = next) {
    next = block->next;
    ex__free(block);
  }
  ex__free(writer);
}

/* ---- graphs ----------------------------------------------------------------- */

ex_onnx_graph *ex__onnx_graph_new(ex_onnx_writer *writer, const char *name) {
  ex_onnx_graph *graph = take(writer, 1, sizeof *graph);
  if (graph == NULL) return NULL;
  graph->writer = writer;
  onnx__graph_proto__init(&graph->proto);
  graph->proto.name = copied(writer, name);
  return graph;
}

static Onnx__TensorShapeProto *shape_of(ex_onnx_writer *writer, int32_t rank, const int64_t *dim) {
  Onnx__TensorShapeProto *shape = take(writer, 1, sizeof *shape);
  if (shape == NULL) return NULL;
  onnx__tensor_shape_proto__init(shape);
  for (int32_t i = 0; i < rank; i++) {
    Onnx__TensorShapeProto__Dimension *to = take(writer, 1, sizeof *to);
    shape->dim = with_room(writer, shape->dim, shape->n_dim);
    if (writer->failed) return NULL;
    onnx__tensor_shape_proto__dimension__init(to);
    if (dim[i] == EX_ONNX_BATCH) {
      to->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
      to->dim_param = copied(writer, "batch");
    } else {
      to->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
      to->dim_value = dim[i];
    }
    shape->dim[shape->n_dim++] = to;
  }
  return shape;
}

static Onnx__ValueInfoProto *info(ex_onnx_writer *writer, const char *name,
                                  enum ex_onnx_element element, int32_t rank, const int64_t *dim) {
  Onnx__ValueInfoProto *value = take(writer, 1, sizeof *value);
  Onnx__TypeProto *type = take(writer, 1, sizeof *type);
  Onnx__TypeProto__Tensor *tensor = take(writer, 1, sizeof *tensor);
  if (writer->failed) return NULL;
  onnx__value_info_proto__init(value);
  onnx__type_proto__init(type);
  onnx__type_proto__tensor__init(tensor);
  tensor->has_elem_type = 1;
  tensor->elem_type = element;
  tensor->shape = shape_of(writer, rank, dim);
  type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  type->tensor_type = tensor;
  value->type = type;
  value->name = copied(writer, name);
  return value;
}

void ex__onnx_input(ex_onnx_graph *graph, const char *name, enum ex_onnx_element element,
                    int32_t rank, const int64_t *dim) {
  if (graph == NULL) return;
  Onnx__GraphProto *proto = &graph->proto;
  Onnx__ValueInfoProto *value = info(graph->writer, name, element, rank, dim);
  proto->input = with_room(graph->writer, proto->input, proto->n_input);
  if (!graph->writer->failed) proto->input[proto->n_input++] = value;
}

void ex__onnx_output(ex_onnx_graph *graph, const char *value, enum ex_onnx_element element,
                     int32_t rank, const int64_t *dim) {
  if (graph == NULL) return;
  Onnx__GraphProto *proto = &graph->proto;
  Onnx__ValueInfoProto *output = info(graph->writer, value, element, rank, dim);
  proto->output = with_room(graph->writer, proto->output, proto->n_output);
  if (!graph->writer->failed) proto->output[proto->n_output++] = output;
}

/* ---- nodes ------------------------------------------------------------------ */

static const char *add_output(ex_onnx_graph *graph, Onnx__NodeProto *node, char *name) {
  node->output = with_room(graph->writer, node->output, node->n_output);
  if (graph->writer->failed) return "";
  node->output[node->n_output++] = name;
  return name;
}

/* Without an output as yet; NULL: no memory. */
static Onnx__NodeProto *add_node(ex_onnx_graph *graph, const char *op, const char *const *in,
                                 int32_t n_in) {
  if (graph == NULL) return NULL;
  ex_onnx_writer *writer = graph->writer;
  Onnx__GraphProto *proto = &graph->proto;
  Onnx__NodeProto *node = take(writer, 1, sizeof *node);
  proto->node = with_room(writer, proto->node, proto->n_node);
  char **input = take(writer, (size_t)n_in, sizeof *input);
  if (writer->failed) return NULL;
  onnx__node_proto__init(node);
  node->op_type = copied(writer, op);
  node->name = new_name(writer, op);
  node->input = input;
  for (int32_t i = 0; i < n_in; i++) input[node->n_input++] = copied(writer, in[i]);
  proto->node[proto->n_node++] = node;
  return writer->failed ? NULL : node;
}

const char *ex__onnx_node_list(ex_onnx_graph *graph, const char *op, const char *const *in,
                               int32_t n_in) {
  Onnx__NodeProto *node = add_node(graph, op, in, n_in);
  return node != NULL ? add_output(graph, node, node->name) : "";
}

const char *ex__onnx_node_of(ex_onnx_graph *graph, const char *op, const char *const *in) {
  int32_t n_in = 0;
  while (in[n_in] != NULL) n_in++;
  return ex__onnx_node_list(graph, op, in, n_in);
}

const char *ex__onnx_rename(ex_onnx_graph *graph, const char *value, const char *name) {
  Onnx__NodeProto *node = add_node(graph, "Identity", &value, 1);
  if (node == NULL) return "";
  return add_output(graph, node, name != NULL ? copied(graph->writer, name) : node->name);
}

/* NULL: memory was short. */
static Onnx__NodeProto *last_node(const ex_onnx_graph *graph) {
  if (graph == NULL || graph->writer->failed || graph->proto.n_node == 0) return NULL;
  return graph->proto.node[graph->proto.n_node - 1];
}

const char *ex__onnx_next_output(ex_onnx_graph *graph) {
  Onnx__NodeProto *node = last_node(graph);
  return node != NULL ? add_output(graph, node, new_name(graph->writer, node->op_type)) : "";
}

static Onnx__AttributeProto *attribute(ex_onnx_graph *graph, const char *name,
                                       Onnx__AttributeProto__AttributeType type) {
  Onnx__NodeProto *node = last_node(graph);
  if (node == NULL) return NULL;
  Onnx__AttributeProto *added = take(graph->writer, 1, sizeof *added);
  node->attribute = with_room(graph->writer, node->attribute, node->n_attribute);
  if (graph->writer->failed) return NULL;
  onnx__attribute_proto__init(added);
  added->name = copied(graph->writer, name);
  added->has_type = 1;
  added->type = type;
  node->attribute[node->n_attribute++] = added;
  return added;
}

void ex__onnx_set_int(ex_onnx_graph *graph, const char *name, int64_t value) {
  Onnx__AttributeProto *to = attribute(graph, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
  if (to == NULL) return;
  to->has_i = 1;
  to->i = value;
}

void ex__onnx_set_ints(ex_onnx_graph *graph, const char *name, const int64_t *values, int32_t n) {
  Onnx__AttributeProto *to = attribute(graph, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
  if (to == NULL) return;
  to->ints = take(graph->writer, (size_t)n, sizeof *to->ints);
  if (to->ints == NULL) return;
  memcpy(to->ints, values, (size_t)n * sizeof *values);
  to->n_ints = (size_t)n;
}

void ex__onnx_set_real(ex_onnx_graph *graph, const char *name, double value) {
  Onnx__AttributeProto *to = attribute(graph, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
  if (to == NULL) return;
  to->has_f = 1;
  to->f = (float)value;
}

void ex__onnx_set_graph(ex_onnx_graph *graph, const char *name, ex_onnx_graph *branch) {
  Onnx__AttributeProto *to = attribute(graph, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH);
  if (to != NULL && branch != NULL) to->g = &branch->proto;
}

/* ---- constants -------------------------------------------------------------- */

static size_t count_of(int32_t rank, const int64_t *dim) {
  size_t count = 1;
  for (int32_t i = 0; i < rank; i++) count *= (size_t)dim[i];
  return count;
}

/* Without its numbers, *count of them; NULL: no memory. */
static Onnx__TensorProto *constant(ex_onnx_graph *graph, enum ex_onnx_element element, int32_t rank,
                                   const int64_t *dim, size_t *count) {
  if (graph == NULL) return NULL;
  Onnx__GraphProto *proto = &graph->proto;
  ex_onnx_writer *writer = graph->writer;
  Onnx__TensorProto *tensor = take(writer, 1, sizeof *tensor);
  int64_t *dims = take(writer, (size_t)rank, sizeof *dims);
  proto->initializer = with_room(writer, proto->initializer, proto->n_initializer);
  if (writer->failed) return NULL;
  onnx__tensor_proto__init(tensor);
  tensor->name = new_name(writer, "constant");
  tensor->has_data_type = 1;
  tensor->data_type = element;
  tensor->dims = dims;
  for (int32_t i = 0; i < rank; i++) dims[tensor->n_dims++] = dim[i];
  *count = count_of(rank, dim);
  proto->initializer[proto->n_initializer++] = tensor;
  return tensor;
}

const char *ex__onnx_blank_reals(ex_onnx_graph *graph, int32_t rank, const int64_t *dim,
                                 float **values) {
  size_t count;
  Onnx__TensorProto *tensor = constant(graph, EX_ONNX_FLOAT, rank, dim, &count);
  *values = tensor != NULL ? take(graph->writer, count, sizeof **values) : NULL;
  if (*values == NULL) return "";
  tensor->float_data = *values;
  tensor->n_float_data = count;
  return tensor->name;
}

const char *ex__onnx_blank_integers(ex_onnx_graph *graph, int32_t rank, const int64_t *dim,
                                    int64_t **values) {
  size_t count;
  Onnx__TensorProto *tensor = constant(graph, EX_ONNX_INT64, rank, dim, &count);
  *values = tensor != NULL ? take(graph->writer, count, sizeof **values) : NULL;
  if (*values == NULL) return "";
  tensor->int64_data = *values;
  tensor->n_int64_data = count;
  return tensor->name;
}

const char *ex__onnx_reals(ex_onnx_graph *graph, const ex_real *values, int32_t rank,
                           const int64_t *dim) {
  float *to;
  const char *name = ex__onnx_blank_reals(graph, rank, dim, &to);
  for (size_t i = 0, n = to != NULL ? count_of(rank, dim) : 0; i < n; i++) to[i] = (float)values[i];
  return name;
}

const char *ex__onnx_real(ex_onnx_graph *graph, double value) {
  ex_real real = (ex_real)value;
  return ex__onnx_reals(graph, &real, 0, NULL);
}

const char *ex__onnx_integers(ex_onnx_graph *graph, const int64_t *values, int32_t n) {
  const int64_t dim = n;
  int64_t *to;
  const char *name = ex__onnx_blank_integers(graph, 1, &dim, &to);
  if (to != NULL) memcpy(to, values, (size_t)n * sizeof *to);
  return name;
}

const char *ex__onnx_integer(ex_onnx_graph *graph, int64_t value) {
  int64_t *to;
  const char *name = ex__onnx_blank_integers(graph, 0, NULL, &to);
  if (to != NULL) *to = value;
  return name;
}

/* ---- the file --------------------------------------------------------------- */

enum ex_status ex__onnx_writer_pack(ex_onnx_writer *writer, ex_onnx_graph *graph, void **data,
                                    size_t *size, struct ex_error *err) {
  static char producer[] = "exeunt", domain[] = "";
  Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, *opsets = &opset;
  Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
  if (writer->failed || graph == NULL)
    return ex__fail(err, EX_ENOMEM, "onnx: no memory for the graph");
  opset.domain = domain;
  opset.has_version = 1;
  opset.version = EX_ONNX_WRITE_OPSET;
  model.n_opset_import = 1;
  model.opset_import = &opsets;
  model.has_ir_version = 1;
  model.ir_version = EX_ONNX_WRITE_IR;
  model.producer_name = producer;
  model.graph = &graph->proto;
  *size = onnx__model_proto__get_packed_size(&model);
  if (*size > INT32_MAX)
    return ex__fail(err, EX_EUNSUPPORTED, "onnx: a file of %zu bytes; must be at most %d", *size,
                    INT32_MAX);
  *data = ex__alloc(1, *size);
  if (*data == NULL) return ex__fail(err, EX_ENOMEM, "onnx: no memory for %zu bytes", *size);
  onnx__model_proto__pack(&model, *data);
  return EX_OK;
}
