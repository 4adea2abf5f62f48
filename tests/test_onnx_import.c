/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX files written down in C: what comes through, and what is told when it does
 * not.
 */
#include <math.h>

#include "tests/onnx_harness.h"

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
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
