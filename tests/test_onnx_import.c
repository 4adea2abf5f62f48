/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX files written down in C: what comes through, what is told when it does
 * not, and that hostile ones are refused before they cost anything.
 */
#include <math.h>

#include "tests/onnx_fixture.h"

static const struct ex_onnx_options checked = {.samples = 2, .seed = 1};
static struct ex_onnx_report report;
static struct ex_error err;
static ex_net *net;

static void refused(enum ex_status code, const char *part) {
  assert_refused(fixture_import(&checked, &net, &report, &err), code, &err, part);
  assert_null(net);
}

static void accepted(void) {
  assert_ok(fixture_import(&checked, &net, &report, &err), &err);
  assert_int_equal(report.samples, 2);
  assert_true(report.largest > 0);
}

/* x [batch][4] → Gemm → y [batch][3]. */
static Onnx__NodeProto *small(void) {
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("y");
  fixture_floats("fc.weight", DIMS(3, 4));
  fixture_floats("fc.bias", DIMS(3));
  Onnx__NodeProto *node = fixture_node("Gemm", "x fc.weight fc.bias", "y");
  fixture_int(node, "transB", 1);
  return node;
}

/* ---- what comes through -------------------------------------------------------------- */

static void weights_and_names_come_through(void **state) {
  (void)state;
  small();
  accepted();
  assert_int_equal(net->n_points, 1);
  assert_int_equal(net->n_stages, 1);
  assert_int_equal(net->n_outputs, 3);
  assert_int_equal(ex__graph_n_tensors(net->graph), 2);
  assert_string_equal(ex__graph_tensor(net->graph, 0)->name, "head0.fc.weight");
  assert_string_equal(ex__graph_tensor(net->graph, 1)->name, "head0.fc.bias");
  const ex_real *weight = ex__slabs_tensor(net->params, net->graph, 0);
  for (int i = 0; i < 12; i++) assert_true(weight[i] == (ex_real)((5 * i % 7) - 3) / 8);
  ex_net_free(net);
}

static void a_last_softmax_is_left_out(void **state) {
  (void)state;
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("p");
  fixture_floats("w", DIMS(4, 3));
  fixture_node("MatMul", "x w", "y");
  fixture_node("Softmax", "y", "p");
  accepted();
  assert_true(report.softmax);
  assert_string_equal(report.output, "p");
  ex_net_free(net);
}

static void constants_are_folded(void **state) {
  (void)state;
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("y");
  fixture_floats("w", DIMS(3, 4));
  fixture_ints("unused", DIMS(1, 2));
  fixture_list(fixture_node("Transpose", "w", "wt"), "perm", DIMS(1, 0));
  fixture_node("Neg", "wt", "negative");
  fixture_node("Identity", "unused", "nobody");
  fixture_node("MatMul", "x negative", "y");
  accepted();
  assert_int_equal(report.n_nodes, 1);
  assert_int_equal(report.n_folded, 3);
  const ex_real *weight = ex__slabs_tensor(net->params, net->graph, 0);
  assert_true(weight[1] == (ex_real)-0.25);
  ex_net_free(net);
}

/* The head is the last layer and what follows it; a weight that is used twice is two. */
static void the_head_is_the_last_layer(void **state) {
  (void)state;
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("y");
  fixture_floats("w", DIMS(4, 4));
  fixture_floats("b", DIMS(4));
  fixture_node("MatMul", "x w", "a");
  fixture_node("Relu", "a", "r");
  fixture_node("MatMul", "r w", "c");
  fixture_node("Add", "c b", "y");
  accepted();
  int32_t in_head = 0;
  for (int32_t i = 0; i < ex__graph_n_nodes(net->graph); i++)
    in_head += ex__graph_node(net->graph, i)->segment == ex__net_segment(0, EX_PART_HEAD);
  assert_int_equal(in_head, 2);
  assert_int_equal(ex__graph_n_tensors(net->graph), 3);
  ex_net_free(net);
}

/* Shape, Gather, Concat, Reshape: what PyTorch makes of x.view(x.size(0), -1). */
static void shapes_may_be_computed(void **state) {
  (void)state;
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 2, 3));
  fixture_output("y");
  fixture_ints("zero", DIMS(0));
  fixture_ints("rest", DIMS(-1));
  fixture_floats("w", DIMS(6, 2));
  fixture_node("Shape", "x", "s");
  fixture_node("Gather", "s zero", "batch");
  fixture_int(fixture_node("Concat", "batch rest", "to"), "axis", 0);
  fixture_node("Reshape", "x to", "flat");
  fixture_node("MatMul", "flat w", "y");
  accepted();
  ex_net_free(net);
}

/* A file for batches of one says so in its reshapes. */
static void a_fixed_batch_is_freed(void **state) {
  (void)state;
  fixture_begin(13);
  fixture_input("x", DIMS(1, 2, 3));
  fixture_output("y");
  fixture_ints("to", DIMS(1, 6));
  fixture_floats("w", DIMS(6, 2));
  fixture_node("Reshape", "x to", "flat");
  fixture_node("MatMul", "flat w", "y");
  accepted();
  ex_net_free(net);
}

static void free_sizes_are_told(void **state) {
  (void)state;
  const struct ex_onnx_options told = {.samples = 1, .shape = {2, {2, 5}}};
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 2, -1));
  fixture_output("y");
  fixture_node("Relu", "x", "y");
  refused(EX_ESHAPE, "dimension 2 of input \"x\" is free; must be told, by --shape");
  assert_ok(fixture_import(&told, &net, &report, &err), &err);
  assert_int_equal(net->n_outputs, 10);
  ex_net_free(net);
}

/* Outputs are exits, shallow first however they are listed; one alone may be taken. */
static void outputs_become_exits(void **state) {
  (void)state;
  const struct ex_onnx_options first = {.samples = 1, .output = "early"};
  const struct ex_onnx_options none = {.samples = 1, .output = "q"};
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("late");
  fixture_output("early");
  fixture_floats("w", DIMS(4, 4));
  fixture_floats("head", DIMS(4, 3));
  fixture_node("MatMul", "x w", "a");
  fixture_node("Relu", "a", "r");
  fixture_node("MatMul", "r w", "b");
  fixture_node("MatMul", "b head", "late");
  fixture_node("MatMul", "r head", "p");
  fixture_node("Softmax", "p", "early");
  accepted();
  assert_int_equal(report.n_exits, 2);
  assert_int_equal(net->n_points, 2);
  assert_string_equal(report.output, "early, late");
  assert_true(report.softmax);
  struct ex_cost cost;
  ex__net_cost(net, &cost);
  assert_int_equal(cost.body_macs[0], 16);
  assert_int_equal(cost.head_macs[0], 12);
  assert_int_equal(cost.body_macs[1], 16);
  assert_int_equal(cost.head_macs[1], 12);
  ex_net_free(net);
  assert_refused(fixture_import(&none, &net, &report, &err), EX_ENOTFOUND, &err,
                 "output \"q\" is unknown; must be one of late, early");
  assert_ok(fixture_import(&first, &net, &report, &err), &err);
  assert_int_equal(net->n_points, 1);
  ex_net_free(net);
}

/* An exit that is a value on the way, and one that has no layer of its own. */
static void exits_without_layers(void **state) {
  (void)state;
  small();
  fixture_output("r");
  fixture_node("Relu", "y", "r");
  accepted();
  assert_int_equal(net->n_points, 2);
  ex_net_free(net);
  small();
  fixture_output("a");
  fixture_node("Relu", "x", "a");
  refused(EX_ESHAPE, "\"a\" has 4 numbers and another output 3: exits must have as many");
}

/* ---- what does not, by name ------------------------------------------------------------- */

static void operators_are_named(void **state) {
  (void)state;
  small();
  fixture_graph.node[0]->op_type = fixture_text("Frobnicate");
  refused(EX_EUNSUPPORTED, "node 0 (Frobnicate): the operator is not supported");
  fixture_graph.node[0]->name = fixture_text("/fc/It");
  refused(EX_EUNSUPPORTED, "node \"/fc/It\" (Frobnicate): the operator");
  fixture_graph.node[0]->domain = fixture_text("com.example");
  refused(EX_EUNSUPPORTED, "of domain com.example is not supported");
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("y");
  fixture_node("CumSum", "x one", "y");
  fixture_ints("one", DIMS(1));
  refused(EX_EUNSUPPORTED, "node 0 (CumSum): it depends on the model's input, and a network");
}

/* Names of nothing stand for what is left out. */
static void what_is_left_out(void **state) {
  (void)state;
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("y");
  fixture_node("Reshape", "x later", "y")->input[1] = fixture_text("");
  refused(EX_EFORMAT, "node 0 (Reshape): it is not told a shape");
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 1, 4, 4));
  fixture_output("y");
  Onnx__NodeProto *node = fixture_node("LayerNormalization", "x scale", "none y");
  fixture_floats("scale", DIMS(4));
  node->output[0] = fixture_text("");
  refused(EX_EUNSUPPORTED, "node 0 (LayerNormalization): its first output is left out");
}

static void opsets(void **state) {
  (void)state;
  small();
  fixture_opset.version = 18;
  refused(EX_EUNSUPPORTED, "opset 18; must be 1 to 17");
  fixture_opset.version = -1;
  refused(EX_EUNSUPPORTED, "opset -1");
}

static void the_batch_stays_apart(void **state) {
  (void)state;
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("y");
  Onnx__NodeProto *node = fixture_node("ReduceMean", "x", "y");
  fixture_list(node, "axes", DIMS(0));
  refused(EX_EUNSUPPORTED, "node 0 (ReduceMean): for a batch of 2 its output is [1, 4]");
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("y");
  fixture_list(fixture_node("Transpose", "x", "y"), "perm", DIMS(1, 0));
  refused(EX_EUNSUPPORTED, "the batch is not the first dimension of \"y\"");
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("y");
  fixture_floats("c", DIMS(2, 4));
  fixture_node("Add", "x c", "y");
  refused(EX_ESHAPE, "node 0 (Add): dimensions 3 and 2 do not go together");
}

static void inputs_and_outputs(void **state) {
  (void)state;
  small();
  fixture_input("z", DIMS(-1, 4));
  refused(EX_EUNSUPPORTED, "2 inputs; must be 1");
  small();
  fixture_graph.n_input = 0;
  refused(EX_EUNSUPPORTED, "0 inputs; must be 1");
  small();
  fixture_graph.output[0]->name = fixture_text("elsewhere");
  refused(EX_EFORMAT, "output \"elsewhere\" is made by no node");
  small();
  fixture_graph.input[0]->type->tensor_type->elem_type = ONNX(INT64);
  refused(EX_EUNSUPPORTED, "input \"x\" is int64; must be floating numbers");
  small();
  fixture_graph.input[0]->type = NULL;
  refused(EX_EUNSUPPORTED, "input \"x\" must be a tensor of a batch and 1 to 7 dimensions");
}

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
      cmocka_unit_test(weights_and_names_come_through),
      cmocka_unit_test(a_last_softmax_is_left_out),
      cmocka_unit_test(constants_are_folded),
      cmocka_unit_test(the_head_is_the_last_layer),
      cmocka_unit_test(shapes_may_be_computed),
      cmocka_unit_test(a_fixed_batch_is_freed),
      cmocka_unit_test(free_sizes_are_told),
      cmocka_unit_test(outputs_become_exits),
      cmocka_unit_test(exits_without_layers),
      cmocka_unit_test(operators_are_named),
      cmocka_unit_test(what_is_left_out),
      cmocka_unit_test(opsets),
      cmocka_unit_test(the_batch_stays_apart),
      cmocka_unit_test(inputs_and_outputs),
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
