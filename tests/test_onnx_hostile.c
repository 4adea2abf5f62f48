/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX files that mean harm are refused before they cost anything.
 */
#include <math.h>

#include "tests/onnx_harness.h"

/* ---- hostile graphs ------------------------------------------------------------------------ */

static void names_are_made_once_and_before(void **state) {
  (void)state;
  small();
  fixture_graph.node[0]->input[0] = fixture_text("later");
  fixture_node("Relu", "y", "later");
  fixture_output("later");
  fixture_graph.output[0] = fixture_graph.output[1];
  fixture_graph.n_output = 1;
  refused(EX_EFORMAT, "it reads \"later\", which nothing before it makes");
  small();
  fixture_graph.node[0]->input[1] = fixture_text("missing");
  refused(EX_EFORMAT, "node 0 (Gemm): it reads \"missing\"");
  small();
  fixture_node("Relu", "x", "y");
  refused(EX_EFORMAT, "\"y\" is defined twice");
  small();
  fixture_floats("fc.weight", DIMS(3, 4));
  refused(EX_EFORMAT, "initializer \"fc.weight\": \"fc.weight\" is defined twice");
}

static void tensors_hold_what_they_say(void **state) {
  (void)state;
  small();
  fixture_graph.initializer[0]->n_float_data = 11;
  refused(EX_EFORMAT, "initializer \"fc.weight\": it holds 11 numbers; its shape has 12 elements");
  small();
  fixture_graph.initializer[0]->dims[0] = INT64_C(1) << 62;
  refused(EX_ESHAPE, "more than 268435456 elements");
  small();
  fixture_graph.initializer[0]->dims[0] = fixture_graph.initializer[0]->dims[1] = 1 << 27;
  refused(EX_ESHAPE, "more than 268435456 elements");
  small();
  fixture_graph.initializer[0]->dims[0] = -3;
  refused(EX_ESHAPE, "dimension 0 is -3; must be at least 0");
  small();
  fixture_graph.initializer[0]->data_type = 99;
  refused(EX_EUNSUPPORTED, "type 99");
  small();
  fixture_graph.initializer[0]->data_type = ONNX(STRING);
  refused(EX_EUNSUPPORTED, "type 8 (string)");
  small();
  fixture_graph.initializer[0]->data_type = ONNX(INT64); /* its numbers are in float_data */
  refused(EX_EFORMAT, "it holds 0 numbers; its shape has 12 elements");
  small();
  fixture_graph.initializer[0]->has_data_location = 1;
  fixture_graph.initializer[0]->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
  refused(EX_EUNSUPPORTED, "its numbers lie in another file; must be in the model's own");
  small();
  fixture_graph.initializer[0]->float_data[5] = NAN;
  refused(EX_ENOTFINITE, "node 0 (Gemm): number 5 of a constant is nan; must be finite");
  small();
  fixture_graph.initializer[0]->has_raw_data = 1;
  fixture_graph.initializer[0]->raw_data.len = 47;
  fixture_graph.initializer[0]->raw_data.data = fixture_take(47);
  refused(EX_EFORMAT, "it holds 47 bytes");
}

static void attributes_have_types(void **state) {
  (void)state;
  Onnx__NodeProto *node = small();
  node->attribute[0]->has_i = 0;
  node->attribute[0]->has_f = 1;
  node->attribute[0]->f = 1;
  refused(EX_ESHAPE, "node 0 (Gemm)"); /* it is not turned, and does not fit */
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 2, 5, 5));
  fixture_output("y");
  fixture_floats("w", DIMS(3, 2, 3, 3));
  node = fixture_node("Conv", "x w", "y");
  fixture_list(node, "pads", DIMS(-1, 0, 0, 0));
  refused(EX_ESHAPE, "pads holds -1, 0; must be in [0, 1048576]");
  node->n_attribute = 0;
  fixture_list(node, "pads", DIMS(1, 1));
  refused(EX_EFORMAT, "pads has 2 numbers; must have 4");
  node->n_attribute = 0;
  fixture_list(node, "strides", DIMS(0, 1));
  refused(EX_ESHAPE, "strides holds 0; must be in [1, 1048576]");
  node->n_attribute = 0;
  fixture_list(node, "dilations", DIMS(1 << 20, 1));
  refused(EX_ESHAPE, "a window of 2097153 does not fit in 5");
  node->n_attribute = 0;
  fixture_int(node, "group", INT64_MIN);
  refused(EX_ESHAPE, "channels in -9223372036854775808 groups");
}

/* A few bytes that ask for gigabytes, or for years. */
static void nothing_large_for_nothing(void **state) {
  (void)state;
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("y");
  fixture_ints("size", DIMS(1 << 14, 1 << 14));
  fixture_node("ConstantOfShape", "size", "a");
  for (int i = 0; i < 8; i++) {
    char in[8] = {(char)('a' + i)}, out[8] = {(char)('b' + i)};
    fixture_node("Exp", in, out);
  }
  fixture_node("Add", "x i", "y");
  struct ex_onnx_limits limits = {1 << 20, 1 << 20};
  size_t size;
  void *bytes = fixture_pack(&size);
  ex_onnx *onnx;
  ex_onnx_eval *eval;
  assert_ok(ex__onnx_parse(bytes, size, &onnx, &err), &err);
  assert_ok(ex__onnx_eval_new(onnx, &limits, &eval, &err), &err);
  assert_refused(ex__onnx_eval_node(eval, 0, &err), EX_ENOMEM, &err,
                 "node 0 (ConstantOfShape): 268435456 elements exceed what may be computed");
  ex__onnx_eval_free(eval);
  ex__onnx_free(onnx);
  fixture_begin(13);
  fixture_input("x", DIMS(-1, INT64_C(1) << 40));
  fixture_output("y");
  fixture_node("Relu", "x", "y");
  refused(EX_ESHAPE, "more than 268435456 elements");
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("y");
  fixture_ints("many", DIMS(1, INT64_MAX / 2));
  fixture_node("Tile", "x many", "y");
  refused(EX_ESHAPE, "repeats");
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("y");
  fixture_ints("wide", DIMS(1 << 20, -1, 1 << 20));
  fixture_node("Reshape", "x wide", "y");
  refused(EX_ESHAPE, "node 0 (Reshape)");
}

/* ---- hostile bytes ---------------------------------------------------------------------------- */

static void bytes_refused(const void *bytes, size_t size, const char *part) {
  ex_onnx *onnx;
  assert_refused(ex__onnx_parse(bytes, size, &onnx, &err), EX_EFORMAT, &err, part);
  assert_null(onnx);
}

/* Wraps the first *size of `bytes` into field `field` of another message. */
static void wrap(uint8_t *bytes, size_t *size, unsigned field) {
  uint8_t head[8];
  size_t n = 0, left = *size;
  head[n++] = (uint8_t)(field << 3 | 2);
  for (; left > 127; left >>= 7) head[n++] = (uint8_t)(left & 127) | 128;
  head[n++] = (uint8_t)left;
  memmove(bytes + n, bytes, *size);
  memcpy(bytes, head, n);
  *size += n;
}

static void nested_graphs(void **state) {
  (void)state;
  static uint8_t bytes[1 << 16];
  size_t size = 0;
  for (int i = 0; i < 1000; i++) { /* a graph in an attribute in a node in a graph … */
    wrap(bytes, &size, 1);
    wrap(bytes, &size, 6);
    wrap(bytes, &size, 5);
  }
  wrap(bytes, &size, 1);
  wrap(bytes, &size, 7);
  bytes_refused(bytes, size, "messages nest deeper than 100");
}

static void many_empty_messages(void **state) {
  (void)state;
  enum { N = 1 << 21 };
  uint8_t *bytes = malloc(N + 16);
  size_t size = N;
  assert_non_null(bytes);
  for (size_t i = 0; i < N; i += 2) bytes[i] = 1 << 3 | 2, bytes[i + 1] = 0; /* a node of nothing */
  wrap(bytes, &size, 7);
  bytes_refused(bytes, size, "its messages lack a field, or need more than");
  free(bytes);
}

static void broken_bytes(void **state) {
  (void)state;
  size_t size;
  bytes_refused("", 0, "has no graph");
  bytes_refused("hello, world", 12, "not an ONNX file: byte");
  bytes_refused("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10, "is no field that fits");
  bytes_refused("\x3a\x05\x0a", 3, "is no field that fits");
  small();
  uint8_t *bytes = fixture_pack(&size);
  for (size_t n = 1; n < size; n++) { /* a file that ends early never does harm */
    ex_onnx *onnx;
    if (ex__onnx_parse(bytes, n, &onnx, &err) != EX_OK) continue;
    if (ex__onnx_import(onnx, &checked, &net, &report, &err) == EX_OK) ex_net_free(net);
    ex__onnx_free(onnx);
  }
  assert_refused(ex__onnx_read("/nonexistent/model.onnx", &(ex_onnx *){NULL}, &err), EX_ENOTFOUND,
                 &err, "/nonexistent/model.onnx");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_are_made_once_and_before),
      cmocka_unit_test(tensors_hold_what_they_say),
      cmocka_unit_test(attributes_have_types),
      cmocka_unit_test(nothing_large_for_nothing),
      cmocka_unit_test(nested_graphs),
      cmocka_unit_test(many_empty_messages),
      cmocka_unit_test(broken_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
