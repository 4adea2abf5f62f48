/* SPDX-License-Identifier: Apache-2.0
 *
 * What heads read of an encoder: means of each feature over tokens, where the
 * features are the last dimension; and that images stay images.
 */
#include <math.h>

#include "attach/taps.h"
#include "tests/nets.h"
#include "tests/onnx_harness.h"

enum { TOKENS = 6, WIDTH = 5, SIDE = 4 };

/* x [batch][6][4], through a layer to [6][5], its mean over tokens to [3]. */
static void encoder(void) {
  fixture_begin(13);
  fixture_input("x", DIMS(-1, TOKENS, 4));
  fixture_output("y");
  fixture_floats("w", DIMS(4, WIDTH));
  fixture_floats("v", DIMS(WIDTH, WIDTH));
  fixture_floats("u", DIMS(WIDTH, 3));
  fixture_node("MatMul", "x w", "a");
  fixture_node("Relu", "a", "r");
  fixture_node("MatMul", "r v", "b");
  Onnx__NodeProto *mean = fixture_node("ReduceMean", "b", "m");
  fixture_list(mean, "axes", DIMS(1));
  fixture_int(mean, "keepdims", 0);
  fixture_node("MatMul", "m u", "y");
  accepted();
}

/* The value behind the first operator of a name, as a cut. */
static struct ex_tap tap_behind(const char *op) {
  int32_t id = 0;
  while (strcmp(ex__graph_node(net->graph, id)->op->name, op) != 0) id++;
  return ex__tap_sized(net, &(struct ex_cut){id, 1000000}, 1);
}

static void features_of_tokens_are_averaged(void **state) {
  (void)state;
  encoder();
  struct ex_tap tap = tap_behind("relu");
  assert_true(tap.rows);
  assert_int_equal(tap.side, SIDE);
  assert_int_equal(tap.features, SIDE * WIDTH);
  ex_net *made;
  assert_ok(ex__taps_features(net, &tap, 1, &made, &err), &err);
  ex_real x[TOKENS * 4];
  nets_random(x, TOKENS * 4, 2);
  ex_real **value = nets_evaluate(made, x);
  const ex_real *tokens = value[tap.value], *read = value[made->points[0].output];
  for (int f = 0; f < WIDTH; f++)
    for (int i = 0; i < SIDE; i++) {
      int from = i * TOKENS / SIDE, to = ((i + 1) * TOKENS + SIDE - 1) / SIDE;
      double mean = 0;
      for (int t = from; t < to; t++) mean += (double)tokens[t * WIDTH + f] / (to - from);
      assert_true(fabs((double)read[f * SIDE + i] - mean) < 1e-6);
    }
  nets_evaluate_free(made, value);
  ex_net_free(made);
  ex_net_free(net);
}

/* Few means where features are many, and then still one of each. */
static void many_features_are_read_once(void **state) {
  (void)state;
  fixture_begin(13);
  fixture_input("x", DIMS(-1, TOKENS, 4));
  fixture_output("y");
  fixture_floats("w", DIMS(4, 200));
  fixture_floats("u", DIMS(TOKENS * 200, 3));
  fixture_node("MatMul", "x w", "a");
  fixture_node("Relu", "a", "r");
  fixture_node("Flatten", "r", "f");
  fixture_node("MatMul", "f u", "y");
  accepted();
  struct ex_tap tap = tap_behind("relu");
  assert_true(tap.rows);
  assert_int_equal(tap.side, 1);
  assert_int_equal(tap.features, 200);
  ex_net *made;
  assert_ok(ex__taps_features(net, &tap, 1, &made, &err), &err);
  ex_net_free(made);
  ex_net_free(net);
}

/* x [batch][4][6], a signal of 4 channels, normalised by a norm over what `norm` names. */
static bool reads_rows(const char *norm, int64_t n_scale) {
  fixture_begin(17);
  fixture_input("x", DIMS(-1, 4, TOKENS));
  fixture_output("y");
  fixture_floats("scale", DIMS(n_scale));
  fixture_floats("shift", DIMS(n_scale));
  fixture_floats("u", DIMS(4 * TOKENS, 3));
  fixture_node("Sigmoid", "x", "s");
  fixture_node(norm, "s scale shift", "n");
  fixture_node("Flatten", "n", "f");
  fixture_node("MatMul", "f u", "y");
  accepted();
  bool rows = tap_behind("sigmoid").rows;
  ex_net_free(net);
  return rows;
}

static void the_norm_that_reads_a_value_tells(void **state) {
  (void)state;
  assert_true(reads_rows("LayerNormalization", TOKENS));
  assert_false(reads_rows("InstanceNormalization", 4));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(features_of_tokens_are_averaged),
      cmocka_unit_test(many_features_are_read_once),
      cmocka_unit_test(the_norm_that_reads_a_value_tells),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
