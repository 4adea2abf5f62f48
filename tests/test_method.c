/* SPDX-License-Identifier: Apache-2.0
 *
 * What every training method must keep, over the register: a method that is
 * added is tested here without a new line.
 */
#include <math.h>

#include "tests/train_fixture.h"
#include "train/train_step.h"

static void tables_keep_their_rules(void **state) {
  (void)state;
  int32_t n = 0;
  for (const struct ex_method *m; (m = ex__method_at(n)) != NULL; n++) {
    assert_ok(ex__param_check_table(m->name, m->params, &err), &err);
    assert_ptr_equal(ex__method_find(m->name), m);
    assert_true(m->size <= EX_MAX_METHOD_VALUES);
    assert_true(m->summary != NULL && strlen(m->summary) > 40);
    assert_non_null(m->loss);
    _Alignas(16) char values[EX_MAX_METHOD_VALUES];
    const struct ex_method *found;
    json_t *json = json_pack("{s:s}", "name", m->name);
    assert_ok(ex__method_from_json(json, TINY_POINTS, &found, values, &err), &err);
    assert_ptr_equal(found, m);
    json_object_set_new(json, "no-such-thing", json_true());
    assert_refused(ex__method_from_json(json, TINY_POINTS, &found, values, &err), EX_EINVAL, &err,
                   "no-such-thing");
    json_decref(json);
  }
  assert_true(n >= 1);
  assert_null(ex__method_at(-1));
}

static void unknown_methods_are_refused(void **state) {
  (void)state;
  _Alignas(16) char values[EX_MAX_METHOD_VALUES];
  const struct ex_method *method;
  json_t *json = json_pack("{s:s}", "name", "jiont");
  assert_refused(ex__method_from_json(json, 3, &method, values, &err), EX_ENOTFOUND, &err,
                 "must be one of joint");
  json_decref(json);
  assert_ok(ex__method_from_json(NULL, 3, &method, values, &err), &err);
  assert_string_equal(method->name, "joint");
}

/* The small network as method `m` at its defaults wants it. */
static ex_net *net_for(const struct ex_method *m, double dropout) {
  _Alignas(16) char values[EX_MAX_METHOD_VALUES] = {0};
  ex__param_defaults(m->params, values);
  return tiny_net_with(dropout, true, 3, m->equip, values);
}

static void train(struct made_job *made) {
  json_t *history;
  assert_ok(ex__train(&made->job, &history, &err), &err);
  json_decref(history);
}

static void same_seed_same_bits(void **state) {
  (void)state;
  const struct ex_method *m;
  for (int32_t i = 0; (m = ex__method_at(i)) != NULL; i++) {
    struct made_job a, b, c;
    made_job(&a, net_for(m, 0.2), data, m);
    made_job(&b, net_for(m, 0.2), data, m);
    made_job(&c, net_for(m, 0.2), data, m);
    c.job.seed++;
    train(&a);
    train(&b);
    train(&c);
    assert_true(same_net(a.job.net, b.job.net));
    assert_false(same_net(a.job.net, c.job.net));
    ex_net_free(a.job.net);
    ex_net_free(b.job.net);
    ex_net_free(c.job.net);
  }
}

static bool stop_at_13(void *context, const struct ex_progress_event *event) {
  return event->finished || ++*(int32_t *)context != 13;
}

/* With the backend that is used, and with the one that is easily read. */
static void stopped_in_an_epoch_and_resumed(void **state) {
  (void)state;
  static const enum ex_backend backends[] = {EX_BACKEND_TWIN, EX_BACKEND_FAST};
  const struct ex_method *m;
  for (int32_t i = 0; (m = ex__method_at(i / 2)) != NULL; i++) {
    struct made_job whole, part;
    int32_t steps = 0;
    json_t *none;
    made_job(&whole, net_for(m, 0.2), data, m);
    made_job(&part, net_for(m, 0.2), data, m);
    whole.job.backend = part.job.backend = backends[i % 2];
    train(&whole);
    part.job.checkpoint = path;
    part.job.resume = true;
    part.job.progress = (struct ex_progress){stop_at_13, &steps};
    unlink(path);
    assert_int_equal(ex__train(&part.job, &none, &err), EX_ECANCELLED);
    part.job.progress = (struct ex_progress){NULL, NULL};
    ex__net_init(part.job.net, 99);
    train(&part);
    assert_true(same_net(whole.job.net, part.job.net));
    ex_net_free(whole.job.net);
    ex_net_free(part.job.net);
  }
}

/* Over 20 steps: thread counts within 1e-4 of each other, and so is the twin
 * (dropout apart, which either draws in its own order). */
static void threads_and_backends_agree(void **state) {
  (void)state;
  const struct ex_method *m;
  for (int32_t i = 0; (m = ex__method_at(i)) != NULL; i++) {
    struct made_job made[3];
    for (int32_t k = 0; k < 3; k++) {
      made_job(&made[k], net_for(m, 0), data, m);
      made[k].options.epochs = 2;
      made[k].options.select_every = 0;
      made[k].job.threads = k == 1 ? 2 : 1;
      made[k].job.backend = k == 2 ? EX_BACKEND_TWIN : EX_BACKEND_FAST;
      train(&made[k]);
    }
    const ex_slabs *first = made[0].job.net->params;
    double size = 0, difference[3] = {0};
    for (int32_t s = 0; s < first->n; s++)
      for (int64_t e = 0; e < first->size[s]; e++) {
        double w = first->data[s][e];
        size += w * w;
        for (int32_t k = 1; k < 3; k++)
          difference[k] += pow(made[k].job.net->params->data[s][e] - w, 2);
      }
    for (int32_t k = 1; k < 3; k++)
      if (!(sqrt(difference[k] / size) < 1e-4))
        fail_msg("%s: variant %d differs by %g", m->name, (int)k, sqrt(difference[k] / size));
    for (int32_t k = 0; k < 3; k++) ex_net_free(made[k].job.net);
  }
}

/* One training step without momentum or decay moves every tensor that is
 * trained, and none that is frozen, in every phase. */
static void what_is_trained_moves(void **state) {
  (void)state;
  const struct ex_method *m;
  for (int32_t i = 0; (m = ex__method_at(i)) != NULL; i++)
    for (int32_t k = 0; k < 4; k++) {
      int32_t regime = k / 2 == 0 ? EX_REGIME_JOINT : EX_REGIME_FROZEN_TRUNK;
      struct made_job made;
      ex_net *before = net_for(m, 0.2);
      made_job(&made, net_for(m, 0.2), data, m);
      made.options.epochs = 2;
      made.options.batch = 45;
      made.options.momentum = made.options.weight_decay = 0;
      made.options.regime = regime;
      made.job.backend = k % 2 == 0 ? EX_BACKEND_TWIN : EX_BACKEND_FAST;
      made.options.select_every = 0;
      train(&made);
      const ex_graph *graph = before->graph;
      for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
        const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
        bool buffer = info->role == EX_ROLE_BUFFER;
        const ex_net *after = made.job.net;
        const ex_real *a = ex__slabs_tensor(buffer ? before->buffers : before->params, graph, t);
        const ex_real *b = ex__slabs_tensor(buffer ? after->buffers : after->params, graph, t);
        bool trunk = strncmp(info->name, "stage", 5) == 0 || strncmp(info->name, "head2.", 6) == 0;
        bool moves = regime == EX_REGIME_JOINT || !trunk;
        bool moved = memcmp(a, b, (size_t)ex__shape_count(&info->shape) * sizeof *a) != 0;
        if (moved != moves)
          fail_msg("%s: %s %s in regime %d", m->name, info->name, moved ? "moved" : "stayed",
                   (int)regime);
      }
      ex_net_free(before);
      ex_net_free(made.job.net);
    }
}

/* ---- the parts that methods share ---------------------------------------- */

enum { N = 3, CLASSES = 3 };

static double joint_loss(const char *name, const char *text, int32_t epoch, double *each) {
  static const ex_real logits[N * CLASSES] = {1, 0, -1, 0.5, 2, 0, 0, 0, 3};
  static const int32_t target[N] = {0, 1, -1};
  const ex_real *output[3] = {logits, logits, logits};
  ex_real gradient[3][N * CLASSES] = {{0}}, scratch[N * (CLASSES + 2)];
  ex_real *doutput[3] = {gradient[0], gradient[1], gradient[2]};
  const struct ex_cost cost = {.direct_macs = {20, 60, 100}};
  const struct ex_method *m = ex__method_find("joint");
  _Alignas(16) char values[EX_MAX_METHOD_VALUES];
  double point_loss[3];
  ex__param_defaults(m->params, values);
  if (name != NULL) assert_ok(ex__param_set("joint", m->params, values, name, text, &err), &err);
  const struct ex_loss_call call = {.n = N,
                                    .n_points = 3,
                                    .n_outputs = CLASSES,
                                    .output = output,
                                    .target = target,
                                    .epoch = epoch,
                                    .n_epochs = 10,
                                    .cost = &cost,
                                    .scratch = scratch,
                                    .doutput = doutput,
                                    .point_loss = point_loss};
  double loss = m->loss(values, NULL, &call);
  for (int32_t p = 0; p < 3; p++)
    each[p] = (double)gradient[p][0]; /* of the same logits: proportional to the weight */
  return loss / point_loss[0];
}

static void joint_weights_are_the_papers(void **state) {
  (void)state;
  double one[3], each[3];
  assert_true(fabs(joint_loss(NULL, NULL, 0, one) - 3) < 1e-6);
  assert_true(fabs(joint_loss("form", "linear", 0, each) - 1) < 1e-6);
  for (int32_t p = 0; p < 3; p++) assert_true(fabs(each[p] / one[p] - (p + 1) / 6.0) < 1e-6);
  /* SDN: min(C, 0.01 + e C / E), e from 1, C = 0.2 and 0.6. */
  assert_true(fabs(joint_loss("form", "ramped", 0, each) - (0.03 + 0.07 + 1)) < 1e-6);
  assert_true(fabs(joint_loss("form", "ramped", 4, each) - (0.11 + 0.31 + 1)) < 1e-6);
  assert_true(fabs(joint_loss("form", "ramped", 9, each) - (0.2 + 0.6 + 1)) < 1e-6);
}

static void wrong_weights_are_refused(void **state) {
  (void)state;
  const struct ex_method *m;
  _Alignas(16) char values[EX_MAX_METHOD_VALUES];
  json_t *json = json_pack("{s:[f,f]}", "weights", 1.0, 2.0);
  assert_refused(ex__method_from_json(json, 3, &m, values, &err), EX_EINVAL, &err, "2 weights");
  assert_ok(ex__method_from_json(json, 2, &m, values, &err), &err);
  json_object_set_new(json, "form", json_string("linear"));
  assert_refused(ex__method_from_json(json, 2, &m, values, &err), EX_EINVAL, &err, "linear");
  json_decref(json);
  json = json_pack("{s:[f,f]}", "weights", 0.0, 0.0);
  assert_refused(ex__method_from_json(json, 2, &m, values, &err), EX_EINVAL, &err, "all weights");
  json_decref(json);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tables_keep_their_rules),
      cmocka_unit_test(unknown_methods_are_refused),
      cmocka_unit_test(same_seed_same_bits),
      cmocka_unit_test(stopped_in_an_epoch_and_resumed),
      cmocka_unit_test(threads_and_backends_agree),
      cmocka_unit_test(what_is_trained_moves),
      cmocka_unit_test(joint_weights_are_the_papers),
      cmocka_unit_test(wrong_weights_are_refused),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
