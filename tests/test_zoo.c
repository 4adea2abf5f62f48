/* SPDX-License-Identifier: Apache-2.0
 *
 * What every registered architecture must keep, and the golden figures of the
 * papers' networks: channels, multiply-adds and parameters.
 */
#include "base/json.h"
#include "graph/op.h"
#include "tests/testing.h"
#include "zoo/zoo.h"

static const struct ex_shape gray = {3, {1, 28, 28}}, colour = {3, {3, 32, 32}};

static ex_net *build(const char *recipe, const struct ex_shape *input, int32_t n_outputs) {
  struct ex_error err;
  json_t *json;
  ex_net *net;
  assert_ok(ex__json_parse(recipe, strlen(recipe), "test", &json, &err), &err);
  assert_ok(ex__zoo_build(json, input, n_outputs, 1, &net, &err), &err);
  json_decref(json);
  return net;
}

static void refuse(const char *recipe, const char *part) {
  struct ex_error err;
  json_t *json;
  ex_net *net;
  assert_ok(ex__json_parse(recipe, strlen(recipe), "test", &json, &err), &err);
  assert_refused(ex__zoo_build(json, &gray, 10, 1, &net, &err), EX_EINVAL, &err, part);
  assert_null(net);
  json_decref(json);
}

/* ---- every architecture --------------------------------------------------- */

static void tables_are_in_order(void **state) {
  (void)state;
  for (int32_t i = 0; ex__zoo_at(i) != NULL; i++) {
    const struct ex_architecture *architecture = ex__zoo_at(i);
    struct ex_error err;
    assert_ok(ex__param_check_table(architecture->name, architecture->params, &err), &err);
    assert_true(architecture->params_size <= EX_MAX_ARCHITECTURE_PARAMS);
    assert_true(strlen(architecture->summary) > 10);
    assert_ptr_equal(ex__zoo_find(architecture->name), architecture);
    for (const struct ex_param *p = architecture->params; p->name != NULL; p++)
      assert_true(p->offset < architecture->params_size);
  }
  assert_null(ex__zoo_find("transformer"));
  assert_null(ex__zoo_at(-1));
}

static void check_costs(const ex_net *net) {
  struct ex_cost cost;
  ex__net_cost(net, &cost);
  int64_t bodies = 0;
  for (int32_t p = 0, s = 0; p < net->n_points; p++) {
    for (; s <= net->points[p].stage; s++) bodies += cost.body_macs[s];
    assert_true(cost.head_macs[p] > 0);
    assert_int_equal(cost.direct_macs[p], bodies + cost.head_macs[p]);
    assert_true(p == 0 || cost.macs[p] > cost.macs[p - 1]);
    assert_true(p == 0 || cost.params[p] > cost.params[p - 1]);
    assert_int_equal(cost.macs[p], p == 0 ? cost.direct_macs[p]
                                          : cost.macs[p - 1] + cost.head_macs[p] + bodies -
                                                (cost.direct_macs[p - 1] - cost.head_macs[p - 1]));
  }
}

/* Through its JSON the same net comes back, byte for byte of JSON. */
static void check_round_trip(const ex_net *net) {
  struct ex_error err;
  json_t *json = ex__net_to_json(net);
  ex_net *back;
  assert_ok(ex__net_from_json(json, &back, &err), &err);
  json_t *again = ex__net_to_json(back);
  assert_true(json_equal(json, again));
  struct ex_cost cost;
  ex__net_cost(net, &cost);
  if (cost.params[net->n_points - 1] < 1000000) { /* the large ones would only take time */
    char digest[2][65];
    ex__net_init(back, 1);
    assert_int_equal(ex__net_digest(net, digest[0]), EX_OK);
    assert_int_equal(ex__net_digest(back, digest[1]), EX_OK);
    assert_string_equal(digest[0], digest[1]);
  }
  json_decref(json);
  json_decref(again);
  ex_net_free(back);
}

static void each_builds_and_keeps_the_rules(void **state) {
  (void)state;
  const int32_t classes[] = {10, 100};
  for (int32_t i = 0; ex__zoo_at(i) != NULL; i++)
    for (int shape = 0; shape < 2; shape++) {
      char recipe[80];
      snprintf(recipe, sizeof recipe, "{\"architecture\": \"%s\"}", ex__zoo_at(i)->name);
      ex_net *net = build(recipe, shape == 0 ? &gray : &colour, classes[shape]);
      struct ex_error err;
      assert_ok(ex__net_check(net, &err), &err);
      check_costs(net);
      if (shape == 0) check_round_trip(net);
      json_t *seen = ex__net_inspect(net);
      assert_int_equal(json_array_size(json_object_get(seen, "exits")), net->n_points);
      assert_int_equal(json_array_size(json_object_get(seen, "stages")), net->n_stages);
      json_decref(seen);
      ex_net_free(net);
    }
}

static void seeds_decide_the_weights(void **state) {
  (void)state;
  char digest[3][65];
  for (int i = 0; i < 3; i++) {
    ex_net *net = build("{\"architecture\": \"branchynet_lenet\"}", &gray, 10);
    ex__net_init(net, i == 2 ? 2 : 1);
    assert_int_equal(ex__net_digest(net, digest[i]), EX_OK);
    ex_net_free(net);
  }
  assert_string_equal(digest[0], digest[1]);
  assert_string_not_equal(digest[0], digest[2]);
}

static void mistakes_are_refused(void **state) {
  (void)state;
  refuse("{\"architecture\": \"vgg99\"}", "msdnet");
  refuse("{\"architecture\": \"msdnet\", \"depth\": 3}", "depth");
  refuse("{\"architecture\": \"msdnet\", \"growth\": 3, \"factors\": [1, 1, 1]}", "must be even");
  refuse("{\"architecture\": \"msdnet\", \"factors\": [1, 2]}", "bottleneck-factors");
  refuse("{\"architecture\": \"msdnet\", \"exits\": 1, \"base\": 2}", "2 layers");
  refuse("{\"architecture\": \"sdn_vgg\", \"shares\": [0.5, 0.501]}", "farther apart");
  refuse("{\"architecture\": \"branchynet_alexnet\", \"lrn-size\": 4}", "odd");
}

/* ---- golden figures ------------------------------------------------------- */

struct golden {
  const char *recipe;
  const struct ex_shape *input;
  int32_t n_outputs, n_exits;
  int64_t channels[8]; /* that the first convolution of each head reads; 0: not checked */
  int64_t macs[8];     /* cumulative */
  int64_t params[8];
};

static int32_t head_channels(const ex_net *net, int32_t point) {
  for (int32_t id = 0;; id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    if (node->segment == ex__net_segment(net->points[point].stage, EX_PART_HEAD))
      return ex__graph_node(net->graph, node->in[0])->shape.dim[0];
  }
}

static void check_golden(const struct golden *golden) {
  ex_net *net = build(golden->recipe, golden->input, golden->n_outputs);
  struct ex_cost cost;
  ex__net_cost(net, &cost);
  assert_int_equal(net->n_points, golden->n_exits);
  for (int32_t p = 0; p < net->n_points; p++) {
    if (golden->channels[p] > 0) assert_int_equal(head_channels(net, p), golden->channels[p]);
    if (golden->macs[p] > 0) assert_int_equal(cost.macs[p], golden->macs[p]);
    if (golden->params[p] > 0) assert_int_equal(cost.params[p], golden->params[p]);
  }
  ex_net_free(net);
}

static void msdnet_is_the_papers(void **state) {
  (void)state;
  const struct golden cifar_budgeted = {
      "{\"architecture\": \"msdnet\", \"exits\": 5, \"base\": 1, \"step\": 1, \"mode\": "
      "\"lin_grow\"}",
      &colour,
      100,
      5,
      {88, 136, 104, 200, 208},
      {6792704, 14209024, 27278848, 41373696, 58087936},
      {299704, 649740, 1018308, 1492424, 2078924}};
  check_golden(&cifar_budgeted);
  const struct golden cifar_anytime = {
      "{\"architecture\": \"msdnet\"}",    &colour, 100, 7, {160, 208, 140, 188, 236, 152, 200},
      {14967296, 0, 0, 0, 0, 0, 75487744}, {0}};
  check_golden(&cifar_anytime);
  const struct golden small = {
      "{\"architecture\": \"msdnet\", \"exits\": 4, \"base\": 2, \"step\": 1, \"channels\": 8, "
      "\"growth\": 4, \"head-channels\": 32}",
      &gray,
      10,
      4,
      {64, 40, 56, 36},
      {2012992, 3103168, 3981696, 4656736},
      {0}};
  check_golden(&small);
}

/* Fine maps that an early exit does not need wait; in the end all were needed. */
static void lazy_msdnet_costs_less(void **state) {
  (void)state;
  ex_net *net[2] = {build("{\"architecture\": \"msdnet\"}", &colour, 10),
                    build("{\"architecture\": \"msdnet\", \"lazy\": true}", &colour, 10)};
  struct ex_cost cost[2];
  for (int i = 0; i < 2; i++) ex__net_cost(net[i], &cost[i]);
  for (int32_t p = 0; p < 7; p++) {
    assert_true(p == 6 ? cost[1].macs[p] == cost[0].macs[p] : cost[1].macs[p] <= cost[0].macs[p]);
    assert_int_equal(cost[1].head_macs[p], cost[0].head_macs[p]);
    assert_int_equal(head_channels(net[1], p), head_channels(net[0], p));
  }
  assert_true(cost[1].macs[0] < 0.9 * (double)cost[0].macs[0]);
  for (int i = 0; i < 2; i++) ex_net_free(net[i]);
}

static void msdnet_has_its_other_forms(void **state) {
  (void)state;
  ex_net *net = build("{\"architecture\": \"msdnet\", \"prune\": \"min\"}", &colour, 10);
  /* 16 layers of 6, halved after 5 (46 → 23) and 10 (53 → 26). */
  const int32_t channels[] = {40 * 4, 29 * 4, 41 * 4, 26 * 4, 38 * 4, 50 * 4, 62 * 4};
  for (int32_t p = 0; p < 7; p++) assert_int_equal(head_channels(net, p), channels[p]);
  ex_net_free(net);
  const struct ex_shape large = {3, {3, 224, 224}};
  net =
      build("{\"architecture\": \"msdnet\", \"exits\": 5, \"base\": 4, \"step\": 4, \"channels\": "
            "32, \"growth\": 16, \"factors\": [1, 2, 4, 4], \"bottleneck-factors\": [1, 2, 4, 4], "
            "\"stem\": \"imagenet\", \"head\": \"imagenet\"}",
            &large, 1000);
  /* 20 layers of 16, halved after 6 (128 → 64), 11 (144 → 72) and 16 (152 → 76). */
  const int32_t wide[] = {96 * 4, 96 * 4, 88 * 4, 76 * 4, 140 * 4};
  for (int32_t p = 0; p < 5; p++) assert_int_equal(head_channels(net, p), wide[p]);
  ex_net_free(net);
}

static void branchynet_is_the_papers(void **state) {
  (void)state;
  const struct golden lenet = {
      "{\"architecture\": \"branchynet_lenet\"}", &gray, 10, 2, {0}, {218650, 1122740}, {0}};
  check_golden(&lenet);
  /* The authors' linear layers, 640 → 10 and 720 → 84. */
  const struct golden authors_lenet = {
      "{\"architecture\": \"branchynet_lenet\", \"ceil-mode\": true}",
      &gray,
      10,
      2,
      {0},
      {112500 + 101250 + 6400,
       112500 + 101250 + 6400 + 1250 * 17 * 17 + 5000 * 11 * 11 + 720 * 84 + 840},
      {0}};
  check_golden(&authors_lenet);
  /* 512 and 128 features before the branches' linear layers, 1024 before the trunk's. */
  int64_t conv2 = 32 * 75 * 1024 + 64 * 800 * 256, branch1 = 32 * 576 * 64 + 32 * 288 * 64 + 5120;
  int64_t conv3 = 96 * 576 * 64, branch2 = 32 * 864 * 16 + 1280;
  int64_t rest = (96 + 64) * 864 * 64 + 1024 * 256 + 256 * 128 + 1280;
  const struct golden alexnet = {"{\"architecture\": \"branchynet_alexnet\"}",
                                 &colour,
                                 10,
                                 3,
                                 {0},
                                 {conv2 + branch1, conv2 + branch1 + conv3 + branch2,
                                  conv2 + branch1 + conv3 + branch2 + rest},
                                 {0}};
  check_golden(&alexnet);
  ex_net *net = build("{\"architecture\": \"branchynet_resnet\"}", &colour, 10);
  assert_int_equal(net->n_points, 3);
  /* The authors' linear layers: 28,800, 14,400 and 576 features. */
  const int32_t features[] = {28800, 14400, 576};
  for (int32_t p = 0; p < 3; p++) {
    const struct ex_node *linear = ex__graph_node(net->graph, net->points[p].output);
    assert_int_equal(ex__shape_count(&ex__graph_node(net->graph, linear->in[0])->shape),
                     features[p]);
  }
  ex_net_free(net);
}

/* The name of the body's last node before each head tells the layer. */
static void check_placement(const char *recipe, const char *prefix, int32_t n,
                            const int32_t *layers) {
  ex_net *net = build(recipe, &colour, 10);
  assert_int_equal(net->n_points, n + 1);
  for (int32_t p = 0; p < n; p++) {
    int32_t last = 0;
    for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) {
      const struct ex_node *node = ex__graph_node(net->graph, id);
      char body[32];
      snprintf(body, sizeof body, "stage%d.%s", (int)net->points[p].stage, prefix);
      if (strncmp(node->name, body, strlen(body)) == 0) last = atoi(node->name + strlen(body));
    }
    assert_int_equal(last, layers[p]);
  }
  ex_net_free(net);
}

static void sdn_places_its_classifiers_as_the_authors_did(void **state) {
  (void)state;
  check_placement("{\"architecture\": \"sdn_vgg\"}", "layer", 6,
                  (const int32_t[]){2, 4, 6, 7, 9, 10});
  check_placement("{\"architecture\": \"sdn_resnet\"}", "block", 6,
                  (const int32_t[]){4, 8, 12, 16, 20, 24});
}

/* Pooling by floor(32 / 4) = 8: max, average and their blend, on 16 channels. */
static void sdn_mixes_its_pooling(void **state) {
  (void)state;
  ex_net *net = build("{\"architecture\": \"sdn_resnet\"}", &colour, 10);
  const struct ex_node *linear = ex__graph_node(net->graph, net->points[0].output);
  const struct ex_node *flat = ex__graph_node(net->graph, linear->in[0]);
  const struct ex_node *blend = ex__graph_node(net->graph, flat->in[0]);
  assert_string_equal(blend->op->name, "blend");
  assert_int_equal(blend->shape.dim[0], 16);
  assert_int_equal(blend->shape.dim[1], 4);
  const char *const ops[] = {"max_pool", "avg_pool"};
  for (int i = 0; i < 2; i++) {
    const struct ex_node *pool = ex__graph_node(net->graph, blend->in[i]);
    assert_string_equal(pool->op->name, ops[i]);
    assert_int_equal(((const struct ex_pool *)pool->attr)->kernel, 8);
  }
  const struct ex_tensor_info *share = ex__graph_tensor(net->graph, blend->tensor[0]);
  assert_int_equal(share->init, EX_INIT_UNIT);
  ex_net_free(net);
}

static void the_demo_and_the_bench(void **state) {
  (void)state;
  ex_net *net = build("{\"architecture\": \"resnet_exits\"}", &gray, 10);
  struct ex_cost cost;
  ex__net_cost(net, &cost);
  assert_int_equal(net->n_points, 4);
  assert_true(cost.macs[3] > 12900000 && cost.macs[3] < 13050000);
  ex_net_free(net);
  const struct golden resnet18 = {"{\"architecture\": \"resnet18\", \"exits\": [4]}",
                                  &colour,
                                  10,
                                  1,
                                  {512},
                                  {555422720},
                                  {11173962}};
  check_golden(&resnet18);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tables_are_in_order),
      cmocka_unit_test(each_builds_and_keeps_the_rules),
      cmocka_unit_test(seeds_decide_the_weights),
      cmocka_unit_test(mistakes_are_refused),
      cmocka_unit_test(msdnet_is_the_papers),
      cmocka_unit_test(lazy_msdnet_costs_less),
      cmocka_unit_test(msdnet_has_its_other_forms),
      cmocka_unit_test(branchynet_is_the_papers),
      cmocka_unit_test(sdn_places_its_classifiers_as_the_authors_did),
      cmocka_unit_test(sdn_mixes_its_pooling),
      cmocka_unit_test(the_demo_and_the_bench),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
