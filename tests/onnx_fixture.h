/* SPDX-License-Identifier: Apache-2.0
 *
 * Small ONNX models written down in C, as the bytes of a file. Everything lies
 * in one pool, which fixture_begin empties.
 */
#ifndef EX_TESTS_ONNX_FIXTURE_H
#define EX_TESTS_ONNX_FIXTURE_H

#include "onnx/onnx_eval.h"
#include "onnx/onnx_import.h"
#include "tests/testing.h"

enum { FIXTURE_POOL = 1 << 22, FIXTURE_MOST = 64 };

static _Alignas(16) unsigned char fixture_pool[FIXTURE_POOL];
static size_t fixture_used;
static Onnx__ModelProto fixture_model;
static Onnx__GraphProto fixture_graph;
static Onnx__OperatorSetIdProto fixture_opset, *fixture_opsets[1];

static inline void *fixture_take(size_t size) {
  size_t at = fixture_used;
  fixture_used += (size + 15) & ~(size_t)15;
  assert_true(fixture_used <= FIXTURE_POOL);
  return memset(fixture_pool + at, 0, size);
}

static inline char *fixture_text(const char *text) {
  return strcpy(fixture_take(strlen(text) + 1), text);
}

/* An empty graph of this opset. */
static inline void fixture_begin(int64_t opset) {
  fixture_used = 0;
  onnx__model_proto__init(&fixture_model);
  onnx__graph_proto__init(&fixture_graph);
  onnx__operator_set_id_proto__init(&fixture_opset);
  fixture_opset.has_version = 1;
  fixture_opset.version = opset;
  fixture_opsets[0] = &fixture_opset;
  fixture_model.n_opset_import = 1;
  fixture_model.opset_import = fixture_opsets;
  fixture_model.graph = &fixture_graph;
  fixture_graph.node = fixture_take(FIXTURE_MOST * sizeof(void *));
  fixture_graph.input = fixture_take(FIXTURE_MOST * sizeof(void *));
  fixture_graph.output = fixture_take(FIXTURE_MOST * sizeof(void *));
  fixture_graph.initializer = fixture_take(FIXTURE_MOST * sizeof(void *));
}

/* A float tensor of this name; dims −1 are free. */
static inline Onnx__ValueInfoProto *fixture_value(const char *name, int32_t rank,
                                                  const int64_t *dim) {
  Onnx__ValueInfoProto *value = fixture_take(sizeof *value);
  Onnx__TypeProto *type = fixture_take(sizeof *type);
  Onnx__TypeProto__Tensor *tensor = fixture_take(sizeof *tensor);
  Onnx__TensorShapeProto *shape = fixture_take(sizeof *shape);
  onnx__value_info_proto__init(value);
  onnx__type_proto__init(type);
  onnx__type_proto__tensor__init(tensor);
  onnx__tensor_shape_proto__init(shape);
  value->name = fixture_text(name);
  value->type = type;
  type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  type->tensor_type = tensor;
  tensor->has_elem_type = 1;
  tensor->elem_type = ONNX(FLOAT);
  tensor->shape = shape;
  shape->n_dim = (size_t)rank;
  shape->dim = fixture_take((size_t)rank * sizeof(void *));
  for (int32_t i = 0; i < rank; i++) {
    Onnx__TensorShapeProto__Dimension *one = fixture_take(sizeof *one);
    onnx__tensor_shape_proto__dimension__init(one);
    if (dim[i] >= 0) {
      one->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
      one->dim_value = dim[i];
    }
    shape->dim[i] = one;
  }
  return value;
}

#define DIMS(...) (const int64_t[]){__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / 8

static inline void fixture_input(const char *name, const int64_t *dim, size_t rank) {
  fixture_graph.input[fixture_graph.n_input++] = fixture_value(name, (int32_t)rank, dim);
}

static inline void fixture_output(const char *name) {
  fixture_graph.output[fixture_graph.n_output++] = fixture_value(name, 0, NULL);
}

/* Constants, whose numbers are (5i mod 7 − 3)/8 for floats, or given as integers. */
static inline Onnx__TensorProto *fixture_tensor(const char *name, int32_t type, const int64_t *dim,
                                                size_t rank) {
  Onnx__TensorProto *tensor = fixture_take(sizeof *tensor);
  onnx__tensor_proto__init(tensor);
  tensor->name = fixture_text(name);
  tensor->has_data_type = 1;
  tensor->data_type = type;
  tensor->n_dims = rank;
  tensor->dims = fixture_take(rank * sizeof *dim);
  if (rank > 0) memcpy(tensor->dims, dim, rank * sizeof *dim);
  fixture_graph.initializer[fixture_graph.n_initializer++] = tensor;
  return tensor;
}

static inline Onnx__TensorProto *fixture_floats(const char *name, const int64_t *dim, size_t rank) {
  Onnx__TensorProto *tensor = fixture_tensor(name, ONNX(FLOAT), dim, rank);
  size_t n = 1;
  for (size_t i = 0; i < rank; i++) n *= (size_t)dim[i];
  tensor->n_float_data = n;
  tensor->float_data = fixture_take(n * sizeof(float));
  for (size_t i = 0; i < n; i++) tensor->float_data[i] = (float)((double)(5 * i % 7) - 3) / 8;
  return tensor;
}

static inline Onnx__TensorProto *fixture_ints(const char *name, const int64_t *list, size_t n) {
  int64_t dim = (int64_t)n;
  Onnx__TensorProto *tensor = fixture_tensor(name, ONNX(INT64), &dim, 1);
  tensor->n_int64_data = n;
  tensor->int64_data = fixture_take(n * sizeof *list);
  if (n > 0) memcpy(tensor->int64_data, list, n * sizeof *list);
  return tensor;
}

/* Names with blanks between. */
static inline char **fixture_names(const char *text, size_t *n) {
  char **names = fixture_take(FIXTURE_MOST * sizeof(char *));
  char *rest = fixture_text(text);
  for (char *name; (name = strtok_r(rest, " ", &rest)) != NULL;) names[(*n)++] = name;
  return names;
}

static inline Onnx__NodeProto *fixture_node(const char *op, const char *inputs,
                                            const char *outputs) {
  Onnx__NodeProto *node = fixture_take(sizeof *node);
  onnx__node_proto__init(node);
  node->op_type = fixture_text(op);
  node->input = fixture_names(inputs, &node->n_input);
  node->output = fixture_names(outputs, &node->n_output);
  node->attribute = fixture_take(8 * sizeof(void *));
  fixture_graph.node[fixture_graph.n_node++] = node;
  return node;
}

static inline Onnx__AttributeProto *fixture_attribute(Onnx__NodeProto *node, const char *name) {
  Onnx__AttributeProto *attribute = fixture_take(sizeof *attribute);
  onnx__attribute_proto__init(attribute);
  attribute->name = fixture_text(name);
  node->attribute[node->n_attribute++] = attribute;
  return attribute;
}

static inline void fixture_int(Onnx__NodeProto *node, const char *name, int64_t value) {
  Onnx__AttributeProto *attribute = fixture_attribute(node, name);
  attribute->has_i = 1;
  attribute->i = value;
}

static inline void fixture_list(Onnx__NodeProto *node, const char *name, const int64_t *list,
                                size_t n) {
  Onnx__AttributeProto *attribute = fixture_attribute(node, name);
  attribute->n_ints = n;
  attribute->ints = fixture_take(n * sizeof *list);
  memcpy(attribute->ints, list, n * sizeof *list);
}

/* The file; *size bytes of the pool. */
static inline void *fixture_pack(size_t *size) {
  *size = onnx__model_proto__get_packed_size(&fixture_model);
  uint8_t *bytes = fixture_take(*size + 1);
  assert_int_equal(onnx__model_proto__pack(&fixture_model, bytes), *size);
  return bytes;
}

/* Reads and imports what was written down; *net NULL on failure. */
static inline enum ex_status fixture_import(const struct ex_onnx_options *options, ex_net **net,
                                            struct ex_onnx_report *report, struct ex_error *err) {
  size_t size;
  void *bytes = fixture_pack(&size);
  ex_onnx *onnx;
  *net = NULL;
  EX_TRY(ex__onnx_parse(bytes, size, &onnx, err));
  enum ex_status status = ex__onnx_import(onnx, options, net, report, err);
  ex__onnx_free(onnx);
  return status;
}

#endif
