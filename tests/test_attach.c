/* SPDX-License-Identifier: Apache-2.0
 *
 * Exits for a network that has none: cuts are what they say, full depth keeps its
 * bits, heads keep their weights, and what does not go is refused.
 */
#include "attach/attach.h"
#include "attach/placement.h"
#include "attach/taps.h"
#include "engine/engine.h"
#include "tests/nets.h"
#include "tests/tiny_net.h"

enum { N_TRAIN = 96, N_SELECT = 400, FEATURES = 8 * 8, N_CLASSES = 4 };

static const struct ex_shape picture = {3, {1, 8, 8}};

static ex_net *residual(void) {
  ex_net *net =
      nets_build("{\"architecture\": \"resnet_exits\", \"stem\": 4, \"widths\": [4, 6, 8], "
                 "\"strides\": [1, 2, 2]}",
                 &picture, N_CLASSES);
  nets_shake(net);
  return net;
}

/* ---- cuts -------------------------------------------------------------------- */

/* Whether the answer can be reached from the input without going through `value`. */
static bool goes_round(const ex_net *net, int32_t value) {
  int32_t n = ex__graph_n_nodes(net->graph);
  bool *seen = ex__calloc((size_t)n, sizeof *seen), round;
  for (int32_t id = 0; id < n; id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    seen[id] = node->op->max_in == 0;
    for (int32_t i = 0; i < node->n_in; i++) seen[id] |= seen[node->in[i]];
    if (id == value) seen[id] = false;
  }
  round = seen[net->points[0].output];
  ex__free(seen);
  return round;
}

static void a_cut_is_the_only_way_on(void **state) {
  (void)state;
  struct ex_error err;
  ex_net *given = residual(), *net;
  struct ex_cut cuts[EX_MAX_TAPS];
  assert_ok(ex__taps_trunk(given, &net, &err), &err);
  int32_t n = ex__cuts_find(net, 0, cuts, EX_MAX_TAPS);
  assert_true(n >= 3); /* behind the stem and behind each block but the last at least */
  for (int32_t i = 0; i < n; i++) {
    assert_false(goes_round(net, cuts[i].value));
    assert_true(i == 0 || cuts[i].macs > cuts[i - 1].macs);
    const char *op = ex__graph_node(net->graph, cuts[i].value)->op->name;
    assert_true(strcmp(op, "conv2d") != 0 && strcmp(op, "batch_norm") != 0); /* fused on */
  }
  ex_net_free(net);
  ex_net_free(given);
}

static void cuts_lie_apart_and_are_thinned(void **state) {
  (void)state;
  struct ex_error err;
  ex_net *given = residual(), *net;
  struct ex_cut all[EX_MAX_TAPS], some[EX_MAX_TAPS];
  struct ex_cost cost;
  assert_ok(ex__taps_trunk(given, &net, &err), &err);
  ex__net_cost(net, &cost);
  int32_t n = ex__cuts_find(net, 0, all, EX_MAX_TAPS);
  int32_t far = ex__cuts_find(net, 0.2, some, EX_MAX_TAPS);
  assert_true(far < n);
  for (int32_t i = 0; i < far; i++) {
    int64_t before = i > 0 ? some[i - 1].macs : 0;
    assert_true((double)(some[i].macs - before) >= 0.2 * (double)cost.macs[0]);
    assert_true((double)(cost.macs[0] - some[i].macs) >= 0.2 * (double)cost.macs[0]);
  }
  assert_int_equal(ex__cuts_find(net, 0, some, 2), 2);
  assert_true(some[0].macs < some[1].macs);
  ex_net_free(net);
  ex_net_free(given);
}

/* The last answer alone, by twins, against the network that it was taken from. */
static void the_trunk_is_what_the_last_answer_needs(void **state) {
  (void)state;
  struct ex_error err;
  ex_net *given = tiny_net(0, true, 3), *net;
  ex_real x[TINY_CHANNELS * TINY_SIZE * TINY_SIZE];
  nets_random(x, sizeof x / sizeof *x, 5);
  assert_ok(ex__taps_trunk(given, &net, &err), &err);
  assert_true(ex__graph_n_nodes(net->graph) < ex__graph_n_nodes(given->graph));
  ex_real **before = nets_evaluate(given, x), **after = nets_evaluate(net, x);
  assert_memory_equal(before[given->points[TINY_POINTS - 1].output], after[net->points[0].output],
                      TINY_CLASSES * sizeof(ex_real));
  nets_evaluate_free(given, before);
  nets_evaluate_free(net, after);
  ex_net_free(net);
  ex_net_free(given);
}

/* ---- heads -------------------------------------------------------------------- */

static void heads_are_as_large_as_they_may_be(void **state) {
  (void)state;
  struct ex_error err;
  ex_net *given = residual(), *net;
  struct ex_cut cuts[EX_MAX_TAPS];
  assert_ok(ex__taps_trunk(given, &net, &err), &err);
  int32_t n = ex__cuts_find(net, 0, cuts, EX_MAX_TAPS);
  for (int32_t i = 0; i < n; i++) {
    struct ex_tap small = ex__tap_sized(net, &cuts[i], 0), large = ex__tap_sized(net, &cuts[i], 1);
    assert_int_equal(small.hidden, 0);
    assert_true(large.hidden >= small.hidden);
    assert_true(ex__tap_macs(&large, N_CLASSES) <= cuts[i].macs);
    assert_int_equal(small.features, small.side * small.side *
                                         ex__graph_node(net->graph, cuts[i].value)->shape.dim[0]);
  }
  ex_net_free(net);
  ex_net_free(given);
}

/* ---- the whole ------------------------------------------------------------------ */

static struct ex_samples samples(int32_t n, uint64_t seed) {
  struct ex_samples out = {.n = n,
                           .rank = 3,
                           .dim = {1, 8, 8},
                           .dtype = EX_DTYPE_REAL,
                           .x = ex__alloc((size_t)n * FEATURES, sizeof(ex_real)),
                           .y = ex__alloc((size_t)n, sizeof(int32_t)),
                           .n_classes = N_CLASSES};
  struct ex_random random = ex__random_seed(seed, 1);
  nets_random(out.x, (int64_t)n * FEATURES, seed);
  for (int32_t i = 0; i < n; i++) out.y[i] = (int32_t)(N_CLASSES * ex__random_uniform(&random));
  return out;
}

struct given {
  ex_model *model;
  ex_data *data;
  struct ex_attach_options options;
  ex_model *made; /* what attach() made of it */
  json_t *report;
};

static struct given given_new(void) {
  static const char *const names[] = {"a", "b", "c", "d"};
  struct given given = {0};
  struct ex_error err;
  struct ex_samples train = samples(N_TRAIN, 2), select = samples(N_SELECT, 3);
  const struct ex_preprocess none = {.n_channels = 1, .deviation = {1}};
  assert_ok(ex__model_new(residual(), &none, names, &given.model, &err), &err);
  assert_ok(ex__data_of(&train, &select, names, N_CLASSES, &given.data, &err), &err);
  ex__param_defaults(ex__attach_params, &given.options);
  given.options.epochs = 2;
  given.options.apart = 0;
  given.options.gain = 0;
  given.options.drop = 100;
  return given;
}

/* With what came of it. */
static void given_free(struct given *given) {
  json_decref(given->report);
  ex_model_free(given->made);
  ex__data_free(given->data);
  ex_model_free(given->model);
}

static enum ex_status attach(struct given *given, struct ex_error *err) {
  const struct ex_attach_job job = {.model = given->model,
                                    .data = given->data,
                                    .options = &given->options,
                                    .seed = 1,
                                    .threads = 1};
  return ex__attach(&job, &given->made, &given->report, err);
}

static void full_depth_keeps_its_bits(void **state) {
  (void)state;
  struct ex_error err;
  struct given given = given_new();
  assert_ok(attach(&given, &err), &err);
  assert_true(json_is_true(json_object_get(given.report, "same_bits")));
  assert_true(json_is_true(json_object_get(given.report, "labelled")));
  int32_t exits = (int32_t)json_integer_value(json_object_get(given.report, "exits"));
  assert_true(exits >= 1 && exits <= given.options.exits);
  assert_int_equal(given.made->net->n_points, exits + 1);
  size_t i, kept = 0;
  json_t *candidate;
  json_array_foreach(json_object_get(given.report, "candidates"), i, candidate) kept +=
      json_is_true(json_object_get(candidate, "kept"));
  assert_int_equal(kept, exits);
  given_free(&given);
}

/* Without labels the network's answers are the truth, so its own are all right. */
static void labels_are_not_needed(void **state) {
  (void)state;
  struct ex_error err;
  struct given given = given_new();
  given.options.unlabelled = 1;
  given.options.exits = 1;
  assert_ok(attach(&given, &err), &err);
  assert_false(json_is_true(json_object_get(given.report, "labelled")));
  const json_t *full = json_object_get(given.report, "full");
  assert_true(json_number_value(json_object_get(full, "accuracy")) == 1);
  assert_int_equal(given.made->net->n_points, 2);
  given_free(&given);
}

static void what_does_not_pay_is_dropped(void **state) {
  (void)state;
  struct ex_error err = {0};
  struct given given = given_new();
  given.options.gain = 1; /* nothing can save all of the time */
  assert_int_equal(attach(&given, &err), EX_EINFEASIBLE);
  assert_null(given.made);
  assert_non_null(given.report); /* why */
  assert_non_null(strstr(err.text, "none saves"));
  given_free(&given);
}

static void what_does_not_go_is_refused(void **state) {
  (void)state;
  struct ex_error err = {0};
  struct given given = given_new();
  given.options.apart = 0.5; /* no cut is half of full depth away from both ends */
  assert_int_equal(attach(&given, &err), EX_EUNSUPPORTED);
  assert_non_null(strstr(err.text, "no place for an exit"));
  ex__transform_set_product(&given.model->net->transform, given.model->net->n_points);
  assert_int_equal(attach(&given, &err), EX_EUNSUPPORTED);
  assert_non_null(strstr(err.text, "answer together"));
  given_free(&given);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_cut_is_the_only_way_on),
      cmocka_unit_test(cuts_lie_apart_and_are_thinned),
      cmocka_unit_test(the_trunk_is_what_the_last_answer_needs),
      cmocka_unit_test(heads_are_as_large_as_they_may_be),
      cmocka_unit_test(full_depth_keeps_its_bits),
      cmocka_unit_test(labels_are_not_needed),
      cmocka_unit_test(what_does_not_pay_is_dropped),
      cmocka_unit_test(what_does_not_go_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
