/* SPDX-License-Identifier: Apache-2.0
 *
 * Zero Time Waste: what it is without its parts, where gradients of the cascade
 * go, and what the network that comes out needs.
 */
#include <math.h>

#include "net/builder.h"
#include "tests/train_fixture.h"

/* `settings`: name and value in turn, then NULL. */
static ex_net *trained_in(enum ex_regime regime, const char *method, json_t **history,
                          const char *const *settings) {
  const struct ex_method *m = ex__method_find(method);
  struct made_job made;
  made_job(&made, NULL, data, m);
  made.options.regime = (int32_t)regime;
  if (history == NULL)
    made.options.select_every = 0; /* the last epoch, which may not be the best */
  for (; *settings != NULL; settings += 2)
    assert_ok(ex__param_set(method, m->params, made.values, settings[0], settings[1], &err), &err);
  made.job.net = tiny_net_with(0.2, false, 3, m->equip, made.values);
  json_t *unused;
  assert_ok(ex__train(&made.job, history != NULL ? history : &unused, &err), &err);
  if (history == NULL) json_decref(unused);
  return made.job.net;
}

#define TRAINED(regime, method, ...) \
  trained_in(regime, method, NULL, (const char *const[]){__VA_ARGS__})

static void compare(ex_net *a, ex_net *b, bool same) {
  assert_int_equal(same_net(a, b), same);
  ex_net_free(a);
  ex_net_free(b);
}

static void without_its_parts_it_is_joint_training(void **state) {
  (void)state;
  for (int32_t regime = EX_REGIME_JOINT; regime <= EX_REGIME_TRUNK_THEN_JOINT; regime++) {
    compare(TRAINED(regime, "ztw", "cascade", "none", "ensemble", "none", NULL),
            TRAINED(regime, "joint", NULL), true);
    compare(TRAINED(regime, "ztw", "ensemble", "none", NULL), TRAINED(regime, "joint", NULL),
            false);
  }
}

static bool same_tensor(const ex_net *a, const ex_net *b, const char *name) {
  for (int32_t t = 0; t < ex__graph_n_tensors(a->graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(a->graph, t);
    if (strcmp(info->name, name) == 0)
      return memcmp(ex__slabs_tensor(a->params, a->graph, t),
                    ex__slabs_tensor(b->params, b->graph, t),
                    (size_t)ex__shape_count(&info->shape) * sizeof(ex_real)) == 0;
  }
  fail_msg("there is no tensor \"%s\"", name);
  return false;
}

/* On a frozen trunk the first head hears of the second only through the cascade. */
static void gradients_go_through_where_they_may(void **state) {
  (void)state;
  ex_net *alone =
      TRAINED(EX_REGIME_FROZEN_TRUNK, "ztw", "cascade", "none", "ensemble", "none", NULL);
  ex_net *held =
      TRAINED(EX_REGIME_FROZEN_TRUNK, "ztw", "cascade", "detached", "ensemble", "none", NULL);
  ex_net *through = TRAINED(EX_REGIME_FROZEN_TRUNK, "ztw", "cascade", "through", NULL);
  assert_int_equal(alone->points[1].needs, 0);
  assert_int_equal(held->points[1].needs, 1);
  assert_int_equal(held->points[2].needs, 0); /* the trunk's own head reads none */
  assert_int_equal(ex__net_reads(held, 1), 3);
  for (int32_t t = 0; t < ex__graph_n_tensors(alone->graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(alone->graph, t);
    if (info->role == EX_ROLE_BUFFER || strncmp(info->name, "head0.", 6) != 0) continue;
    assert_memory_equal(ex__slabs_tensor(alone->params, alone->graph, t),
                        ex__slabs_tensor(held->params, held->graph, t),
                        (size_t)ex__shape_count(&info->shape) * sizeof(ex_real));
  }
  assert_false(same_tensor(held, through, "head0.fc.weight"));
  assert_false(same_tensor(held, through, "head1.cascade.weight"));
  ex_net_free(alone);
  ex_net_free(held);
  ex_net_free(through);
}

/* The ensemble comes after all that is trained and judged. */
static void the_ensemble_changes_no_epoch(void **state) {
  (void)state;
  static const char *const none[] = {"ensemble", "none", NULL};
  static const char *const each[][5] = {
      {NULL}, {"ensemble", "arithmetic", NULL}, {"samples", "17", "last", "true", NULL}};
  for (int32_t regime = EX_REGIME_JOINT; regime <= EX_REGIME_FROZEN_TRUNK; regime++) {
    json_t *history[2];
    ex_net *plain = trained_in((enum ex_regime)regime, "ztw", &history[0], none);
    assert_int_equal(plain->transform.kind, EX_TRANSFORM_IDENTITY);
    for (int32_t k = 0; k < 3; k++) {
      ex_net *net = trained_in((enum ex_regime)regime, "ztw", &history[1], each[k]);
      assert_true(same_slabs(net->params, plain->params));
      assert_true(same_slabs(net->buffers, plain->buffers));
      json_t *epochs[2] = {json_object_get(history[0], "epochs"),
                           json_object_get(history[1], "epochs")};
      for (size_t e = 0; e < json_array_size(epochs[0]); e++)
        assert_true(json_equal(json_object_get(json_array_get(epochs[0], e), "select_accuracy"),
                               json_object_get(json_array_get(epochs[1], e), "select_accuracy")));
      assert_true(json_equal(json_object_get(history[0], "best_epoch"),
                             json_object_get(history[1], "best_epoch")));
      json_decref(history[1]);
      ex_net_free(net);
    }
    json_decref(history[0]);
    ex_net_free(plain);
  }
}

/* An answer of the second exit is one of both heads, the last exit's its own. */
static void answers_need_what_is_combined(void **state) {
  (void)state;
  ex_net *net = TRAINED(EX_REGIME_FROZEN_TRUNK, "ztw", "cascade", "none", NULL);
  ex_net *last = TRAINED(EX_REGIME_FROZEN_TRUNK, "ztw", "cascade", "none", "last", "true", NULL);
  ex_net *meta = TRAINED(EX_REGIME_FROZEN_TRUNK, "ztw", "cascade", "none", "source", "meta", NULL);
  const struct ex_ensemble *ensemble = net->transform.ensemble;
  assert_int_equal(net->transform.kind, EX_TRANSFORM_ENSEMBLE);
  assert_non_null(ensemble->row[0]);
  assert_non_null(ensemble->row[1]);
  assert_null(ensemble->row[2]);
  for (int32_t j = 0; j < 2; j++) assert_true(ensemble->row[1][j] > 0);
  assert_int_equal(ex__net_closure(net, 0), 1);
  assert_int_equal(ex__net_closure(net, 1), 3);
  assert_int_equal(ex__net_closure(net, 2), 4);
  assert_int_equal(ex__net_reads(net, 1), 2);
  assert_int_equal(ex__net_closure(last, 2), 7);
  assert_true(same_slabs(net->params, last->params));
  assert_memory_equal(last->transform.ensemble->row[1], ensemble->row[1],
                      (2 + TINY_CLASSES) * sizeof(double));
  assert_memory_not_equal(meta->transform.ensemble->row[1], ensemble->row[1],
                          (2 + TINY_CLASSES) * sizeof(double));
  ex_net_free(net);
  ex_net_free(last);
  ex_net_free(meta);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_its_parts_it_is_joint_training),
      cmocka_unit_test(gradients_go_through_where_they_may),
      cmocka_unit_test(the_ensemble_changes_no_epoch),
      cmocka_unit_test(answers_need_what_is_combined),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
