/* SPDX-License-Identifier: Apache-2.0
 *
 * What every net must keep, broken one rule at a time; costs; JSON.
 */
#include "net/builder.h"
#include "tests/nets.h"

static ex_net *gated(void) {
  struct ex_error err;
  ex_net *net;
  assert_ok(nets_gated(1, &net, &err), &err);
  return net;
}

static void a_needed_head_must_be_declared(void **state) {
  (void)state;
  struct ex_error err;
  ex_net *net;
  assert_refused(nets_gated(0, &net, &err), EX_EINVAL, &err, "the heads it declares");
  assert_null(net);
  assert_refused(nets_gated(2, &net, &err), EX_EINVAL, &err, "earlier points only");
}

/* What a small net does wrong in its second stage. */
enum mistake {
  BODY_READS_HEAD,
  HEAD_READS_GATE,
  BODY_READS_GATE,
  NO_POINT,
  HEAD_ALONE,
  TWO_INPUTS
};

static enum ex_status build_wrong(enum mistake mistake, struct ex_error *err) {
  const struct ex_shape input = {1, {6}};
  ex_builder *b;
  ex_net *net;
  EX_TRY(ex__builder_new(&input, 2, &b, err));
  ex__builder_stage(b);
  int32_t x = ex__builder_input(b);
  x = ex__builder_linear(b, "linear", x, 4);
  ex__builder_head(b);
  int32_t head = ex__builder_linear(b, "linear", x, 2);
  ex__builder_gate(b);
  int32_t gate = ex__builder_linear(b, "linear", x, 1);
  ex__builder_point(b, head, gate, 0);
  if (mistake == HEAD_ALONE) {
    ex__builder_stage(b);
    ex__builder_head(b);
    ex__builder_linear(b, "linear", x, 2);
  }
  ex__builder_stage(b);
  if (mistake == TWO_INPUTS) ex__builder_input(b);
  int32_t source = mistake == BODY_READS_HEAD ? head : mistake == BODY_READS_GATE ? gate : x;
  x = ex__builder_linear(b, "linear", source, 4);
  ex__builder_head(b);
  head = ex__builder_linear(b, "linear", mistake == HEAD_READS_GATE ? gate : x, 2);
  if (mistake != NO_POINT) ex__builder_point(b, head, -1, 1);
  enum ex_status status = ex__builder_finish(b, 1, &net, err);
  ex_net_free(net);
  return status;
}

static void causality_is_checked(void **state) {
  (void)state;
  struct ex_error err;
  const char *const part[] = {
      [BODY_READS_HEAD] = "in the body of stage 1, reads value 2, in the head of stage 0",
      [HEAD_READS_GATE] = "in the head of stage 1, reads value 3, in the gate of stage 0",
      [BODY_READS_GATE] = "in the body of stage 1, reads value 3, in the gate of stage 0",
      [NO_POINT] = "last of 2 stages has no answer point",
      [HEAD_ALONE] = "in the head of stage 1, which has no answer point",
      [TWO_INPUTS] = "an input must be in the first body",
  };
  for (int mistake = BODY_READS_HEAD; mistake <= TWO_INPUTS; mistake++)
    assert_refused(build_wrong((enum mistake)mistake, &err), EX_EINVAL, &err, part[mistake]);
}

static void refuse_change(ex_net *net, const char *part) {
  struct ex_error err = {0};
  enum ex_status status = ex__net_check(net, &err);
  if (status == EX_OK || strstr(err.text, part) == NULL)
    fail_msg("\"%s\" lacks \"%s\"", err.text, part);
  ex_net_free(net);
}

#define REFUSE(change, part)  \
  do {                        \
    ex_net *net = gated();    \
    change;                   \
    refuse_change(net, part); \
  } while (0)

static void points_are_checked(void **state) {
  (void)state;
  REFUSE(net->n_stages = 0, "0 stages");
  REFUSE(net->n_stages = 2, "segment 8");
  REFUSE(net->n_points = 0, "0 answer points");
  REFUSE(net->n_points = 1, "no answer point");
  REFUSE(net->n_outputs = 5, "must have 5");
  REFUSE(net->points[1].stage = 0, "must be in [1, 2]");
  REFUSE(net->points[1].stage = 1, "must be kept, and made in the head of stage 1");
  REFUSE(net->points[1].output = 1000, "value 1000");
  REFUSE(net->points[0].output = net->points[1].output, "made in the head of stage 2");
  REFUSE(net->points[0].gate = -2, "gate = -2");
  REFUSE(net->points[0].gate = -1, "whose point has no gate");
  REFUSE(net->points[0].gate = net->points[0].output, "made in the head of stage 0");
  REFUSE(net->points[0].needs = 1, "earlier points only");
  REFUSE(net->input.dim[0] = 3, "the net's shape");
  REFUSE(net->transform.kind = EX_TRANSFORM_TEMPERATURE, "0 temperatures");
  REFUSE(net->transform.kind = EX_TRANSFORM_ENSEMBLE, "an ensemble of 0 exits");
}

static void costs_charge_the_closure(void **state) {
  (void)state;
  ex_net *net = gated();
  struct ex_cost cost;
  ex__net_cost(net, &cost);
  const int64_t body0 = 2 * 5 * 9 * 36, body1 = 5 * 6 * 9 * 9, body2 = 6 * 7 * 9 * 9;
  const int64_t head0 = 180 * 4, gate0 = 5, head1 = 11 * 4, gate1 = 4;
  assert_int_equal(cost.body_macs[0], body0);
  assert_int_equal(cost.body_macs[2], body2);
  assert_int_equal(cost.macs[0], body0 + head0 + gate0);
  assert_int_equal(cost.direct_macs[0], body0 + head0);
  assert_int_equal(cost.macs[1], body0 + body1 + body2 + head0 + gate0 + head1 + gate1);
  assert_int_equal(cost.direct_macs[1], body0 + body1 + body2 + head0 + head1);
  assert_int_equal(cost.params[0], 5 * 19 + 181 * 4 + 6);
  assert_int_equal(cost.params[1],
                   cost.params[0] + 6 * 46 + 7 * 54 + 14 + 12 * 4 + 5); /* buffers not counted */
  ex_net_free(net);
}

static void cost_tables_of_other_nets_are_refused(void **state) {
  (void)state;
  struct ex_error err;
  ex_net *net = gated();
  struct ex_cost cost, back;
  ex__net_cost(net, &cost);
  cost.head_ns[1] = 55;
  json_t *json = ex__cost_to_json(net, &cost);
  assert_ok(ex__cost_from_json(json, net, &back, &err), &err);
  assert_memory_equal(&back, &cost, sizeof cost);
  json_t *point = json_array_get(json_object_get(json, "points"), 1);
  json_object_set_new(point, "macs", json_integer(7));
  assert_refused(ex__cost_from_json(json, net, &back, &err), EX_EFORMAT, &err, "macs = 7");
  json_array_remove(json_object_get(json, "points"), 1);
  assert_refused(ex__cost_from_json(json, net, &back, &err), EX_EFORMAT, &err, "1 points");
  json_decref(json);
  ex_net_free(net);
}

static void inspecting_tells_cuts_and_exits(void **state) {
  (void)state;
  ex_net *net = gated();
  json_t *seen = ex__net_inspect(net);
  const json_t *exit = json_array_get(json_object_get(seen, "exits"), 1);
  struct ex_cost cost;
  ex__net_cost(net, &cost);
  assert_int_equal(json_integer_value(json_object_get(exit, "macs")), cost.macs[1]);
  assert_int_equal(json_integer_value(json_object_get(exit, "params")), cost.params[1]);
  assert_int_equal(json_integer_value(json_object_get(exit, "body_macs")),
                   cost.body_macs[1] + cost.body_macs[2]);
  assert_true(json_real_value(json_object_get(exit, "share")) == 1);
  const json_t *stages = json_object_get(seen, "stages");
  const int cut_sizes[] = {1, 1, 0};
  for (size_t s = 0; s < 3; s++)
    assert_int_equal(json_array_size(json_object_get(json_array_get(stages, s), "cut")),
                     cut_sizes[s]);
  const json_t *cut = json_array_get(json_object_get(json_array_get(stages, 0), "cut"), 0);
  assert_int_equal(json_integer_value(json_object_get(cut, "bytes")),
                   5 * 36 * (int)sizeof(ex_real));
  json_decref(seen);
  ex_net_free(net);
}

static void the_first_failure_sticks(void **state) {
  (void)state;
  struct ex_error err;
  const struct ex_shape input = {3, {1, 4, 4}};
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&input, 2, &b, &err), &err);
  ex__builder_stage(b);
  int32_t x = ex__builder_input(b);
  x = ex__builder_conv(b, "large", x, 4, 9, 1, 0, true);
  assert_int_equal(x, -1);
  x = ex__builder_relu(b, ex__builder_conv(b, "next", x, 4, 3, 1, 1, true));
  assert_int_equal(ex__builder_shape(b, x)->rank, 1);
  ex__builder_fail(b, EX_EINVAL, "too late");
  ex__builder_point(b, x, -1, 0);
  assert_refused(ex__builder_finish(b, 1, &net, &err), EX_ESHAPE, &err, "stage0.large");
  assert_null(net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_needed_head_must_be_declared),
      cmocka_unit_test(causality_is_checked),
      cmocka_unit_test(points_are_checked),
      cmocka_unit_test(costs_charge_the_closure),
      cmocka_unit_test(cost_tables_of_other_nets_are_refused),
      cmocka_unit_test(inspecting_tells_cuts_and_exits),
      cmocka_unit_test(the_first_failure_sticks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
