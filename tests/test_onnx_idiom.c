/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups of nodes that become one operator, and what must not: where another
 * number, another axis or another reader makes it something else.
 */
#include "graph/op.h"
#include "tests/onnx_harness.h"

static int count(const char *op) {
  int n = 0;
  for (int32_t i = 0; i < ex__graph_n_nodes(net->graph); i++)
    n += strcmp(ex__graph_node(net->graph, i)->op->name, op) == 0;
  return n;
}

static void number(const char *name, float value) {
  fixture_floats(name, DIMS(1))->float_data[0] = value;
}

/* x [batch][5][4] → norm or gelu, in nodes that PyTorch writes. The last node of a file is the
 * head by itself, so another one stands behind. */
static void begin(void) {
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 5, 4));
  fixture_output("y");
}

static void gelu(float root, float one, float half, const char *output) {
  begin();
  number("root", root);
  number("one", one);
  number("half", half);
  fixture_node("Div", "x root", "d");
  fixture_node("Erf", "d", "e");
  fixture_node("Add", "e one", "a");
  fixture_node("Mul", "x a", "m");
  fixture_node("Mul", "m half", output);
}

static void norm(int64_t axis, float power, const char *output) {
  begin();
  number("two", power);
  number("eps", 0.01F);
  fixture_list(fixture_node("ReduceMean", "x", "m"), "axes", DIMS(axis));
  fixture_node("Sub", "x m", "d");
  fixture_node("Pow", "d two", "p");
  fixture_list(fixture_node("ReduceMean", "p", "v"), "axes", DIMS(axis));
  fixture_node("Add", "v eps", "a");
  fixture_node("Sqrt", "a", "s");
  fixture_node("Div", "d s", output);
}

/* Compared with the file by `accepted`, and that it is one operator, or not. */
static void became(const char *op, int wanted) {
  accepted();
  assert_int_equal(count(op), wanted);
  assert_int_equal(count("function") == 0, wanted == 1);
  ex_net_free(net);
}

static void a_gelu_is_one_operator(void **state) {
  (void)state;
  gelu(1.41421356F, 1, 0.5F, "n");
  fixture_node("Relu", "n", "y");
  accepted();
  assert_int_equal(report.n_nodes, 6);
  assert_int_equal(ex__graph_n_nodes(net->graph), 4); /* input, gelu, relu, the exit's reshape */
  ex_net_free(net);
}

static void other_numbers_are_no_gelu(void **state) {
  (void)state;
  gelu(1.4F, 1, 0.5F, "n");
  fixture_node("Relu", "n", "y");
  became("gelu", 0);
  gelu(1.41421356F, 1.5F, 0.5F, "n");
  fixture_node("Relu", "n", "y");
  became("gelu", 0);
  gelu(1.41421356F, 1, 0.6F, "n");
  fixture_node("Relu", "n", "y");
  became("gelu", 0);
}

/* What stands inside is read elsewhere: by a node, or as an exit. */
static void what_others_read_is_kept(void **state) {
  (void)state;
  gelu(1.41421356F, 1, 0.5F, "g");
  fixture_node("Add", "g e", "y");
  became("gelu", 0);
  gelu(1.41421356F, 1, 0.5F, "n");
  fixture_node("Relu", "n", "y");
  fixture_output("m");
  accepted();
  assert_int_equal(count("gelu"), 0);
  ex_net_free(net);
  norm(-1, 2, "n");
  fixture_node("Add", "n d", "y");
  became("standardise", 0);
}

static void a_layer_norm_is_one_operator(void **state) {
  (void)state;
  norm(-1, 2, "n");
  fixture_node("Relu", "n", "y");
  accepted();
  assert_int_equal(report.n_nodes, 8);
  assert_int_equal(count("standardise"), 1);
  assert_int_equal(ex__graph_n_nodes(net->graph), 4);
  ex_net_free(net);
  norm(2, 2, "n");
  fixture_node("Relu", "n", "y");
  became("standardise", 1);
}

static void other_norms_are_kept(void **state) {
  (void)state;
  norm(1, 2, "n");
  fixture_node("Relu", "n", "y");
  became("standardise", 0);
  norm(-1, 4, "n");
  fixture_node("Relu", "n", "y");
  became("standardise", 0);
  norm(-1, 2, "n");
  fixture_node("Relu", "n", "y");
  fixture_graph.node[6]->input[0] = fixture_text("x"); /* the division is of something else */
  became("standardise", 0);
}

static void softmax_of_the_last_dimension(void **state) {
  (void)state;
  begin();
  fixture_node("Softmax", "x", "s");
  fixture_node("Abs", "s", "y");
  accepted();
  assert_int_equal(count("row_softmax"), 1);
  assert_int_equal(count("view"), 0);
  ex_net_free(net);
  begin();
  fixture_int(fixture_node("Softmax", "x", "s"), "axis", 1);
  fixture_node("Abs", "s", "y");
  accepted();
  assert_int_equal(count("row_softmax"), 0);
  ex_net_free(net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_gelu_is_one_operator),   cmocka_unit_test(other_numbers_are_no_gelu),
      cmocka_unit_test(what_others_read_is_kept), cmocka_unit_test(a_layer_norm_is_one_operator),
      cmocka_unit_test(other_norms_are_kept),     cmocka_unit_test(softmax_of_the_last_dimension),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
