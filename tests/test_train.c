/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop on made data: it learns, the same seed gives the same bits, frozen
 * means frozen, the best epoch is kept, divergence is told, a stop is obeyed.
 */
#include <math.h>

#include "tests/train_fixture.h"

static void start(struct made_job *made) {
  made_job(made, tiny_net(0.2, true, 3), data, ex__method_find("joint"));
}

static json_t *train(struct made_job *made) {
  json_t *history;
  assert_ok(ex__train(&made->job, &history, &err), &err);
  return history;
}

static double number(const json_t *entry, const char *key) {
  return json_number_value(json_object_get(entry, key));
}

static double last_accuracy(const json_t *entry) {
  return json_number_value(
      json_array_get(json_object_get(entry, "select_accuracy"), TINY_POINTS - 1));
}

static void it_learns(void **state) {
  (void)state;
  struct made_job made;
  start(&made);
  made.options.epochs = 20;
  json_t *history = train(&made), *epochs = json_object_get(history, "epochs");
  assert_int_equal(json_array_size(epochs), 20);
  double first = number(json_array_get(epochs, 0), "loss");
  double last = number(json_array_get(epochs, 19), "loss");
  assert_true(last < 0.2 * first);
  assert_int_equal((int)number(history, "steps"), 180);
  double best = 0;
  for (size_t e = 0; e < 20; e++) best = fmax(best, last_accuracy(json_array_get(epochs, e)));
  assert_true(best > 0.9); /* guessing gives 0.33 */
  size_t chosen = (size_t)number(history, "best_epoch") - 1;
  assert_true(last_accuracy(json_array_get(epochs, chosen)) == best);
  for (size_t e = 0; e < chosen; e++) assert_true(last_accuracy(json_array_get(epochs, e)) < best);
  json_decref(history);
  ex_net_free(made.job.net);
}

/* The weights kept are those of the best epoch: a run that ends there has them. */
static void best_epoch_is_kept(void **state) {
  (void)state;
  struct made_job all, some;
  start(&all);
  all.options.schedule = EX_SCHEDULE_CONSTANT; /* or the rate would depend on the length */
  all.options.learning_rate = 0.3;
  all.options.epochs = 10;
  json_t *history = train(&all);
  int32_t best = (int32_t)number(history, "best_epoch");
  json_decref(history);
  assert_in_range(best, 1, 9); /* the test would say nothing if it were the last */
  start(&some);
  some.options.schedule = EX_SCHEDULE_CONSTANT;
  some.options.learning_rate = 0.3;
  some.options.epochs = best;
  some.options.select_every = 0;
  json_decref(train(&some));
  assert_true(same_net(all.job.net, some.job.net));
  ex_net_free(all.job.net);
  ex_net_free(some.job.net);
}

/* A frozen last exit is the same in every epoch: the exits that are trained choose. */
static void frozen_trunk_is_judged_by_its_exits(void **state) {
  (void)state;
  struct made_job made;
  start(&made);
  made.options.regime = EX_REGIME_FROZEN_TRUNK;
  made.options.trunk_epochs = 2;
  made.options.epochs = 8;
  json_t *history = train(&made), *epochs = json_object_get(history, "epochs");
  double best = 0;
  size_t chosen = (size_t)number(history, "best_epoch") - 1, first_best = 0;
  for (size_t e = 2; e < 8; e++) {
    const json_t *accuracy = json_object_get(json_array_get(epochs, e), "select_accuracy");
    double sum = 0;
    for (size_t p = 0; p < TINY_POINTS - 1; p++)
      sum += json_number_value(json_array_get(accuracy, p));
    if (sum > best + 1e-9) {
      best = sum;
      first_best = e;
    }
  }
  assert_true(first_best > 2); /* or the test would say nothing */
  assert_int_equal(chosen, first_best);
  json_decref(history);
  ex_net_free(made.job.net);
}

static void seed_decides_the_bits(void **state) {
  (void)state;
  struct made_job a, b, c, threads;
  start(&a);
  start(&b);
  start(&c);
  start(&threads);
  c.job.seed++;
  threads.job.threads = 2; /* the twin computes with one: our own loops are meant */
  json_decref(train(&a));
  json_decref(train(&b));
  json_decref(train(&c));
  json_decref(train(&threads));
  assert_true(same_net(a.job.net, b.job.net));
  assert_false(same_net(a.job.net, c.job.net));
  assert_true(same_net(a.job.net, threads.job.net));
  ex_net_free(a.job.net);
  ex_net_free(b.job.net);
  ex_net_free(c.job.net);
  ex_net_free(threads.job.net);
}

/* Whether any number of the slabs of tensors that begin so has moved. */
static bool moved(const ex_net *net, const ex_net *before, const char *prefix) {
  bool any = false, found = false;
  for (int32_t t = 0; t < ex__graph_n_tensors(net->graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, t);
    if (strncmp(info->name, prefix, strlen(prefix)) != 0) continue;
    bool buffer = info->role == EX_ROLE_BUFFER;
    const ex_real *a = ex__slabs_tensor(buffer ? net->buffers : net->params, net->graph, t);
    const ex_real *b = ex__slabs_tensor(buffer ? before->buffers : before->params, net->graph, t);
    found = true;
    any |= memcmp(a, b, (size_t)ex__shape_count(&info->shape) * sizeof *a) != 0;
  }
  assert_true(found);
  return any;
}

static void frozen_means_frozen(void **state) {
  (void)state;
  for (int adamw = 0; adamw < 2; adamw++) {
    ex_net *before = tiny_net(0.2, true, 3);
    struct made_job made;
    start(&made);
    made.options.regime = EX_REGIME_FROZEN_TRUNK;
    made.options.optimiser = adamw ? EX_ADAMW : EX_SGD;
    made.options.weight_decay = 0.1;
    made.options.decay_all = 1;
    json_decref(train(&made));
    assert_false(moved(made.job.net, before, "stage")); /* statistics too */
    assert_false(moved(made.job.net, before, "head2."));
    assert_true(moved(made.job.net, before, "head0.fc.weight"));
    assert_true(moved(made.job.net, before, "head1.fc.bias"));
    ex_net_free(made.job.net);
    ex_net_free(before);
  }
}

static void trunk_comes_first(void **state) {
  (void)state;
  ex_net *before = tiny_net(0.2, true, 3);
  struct made_job made;
  start(&made);
  made.options.regime = EX_REGIME_TRUNK_THEN_JOINT;
  json_t *history = train(&made), *epochs = json_object_get(history, "epochs");
  static const char *const phases[] = {"trunk", "joint", "joint"};
  for (size_t e = 0; e < 3; e++)
    assert_string_equal(json_string_value(json_object_get(json_array_get(epochs, e), "phase")),
                        phases[e]);
  const json_t *losses = json_object_get(json_array_get(epochs, 0), "point_loss");
  assert_true(json_is_null(json_array_get(losses, 0)));
  assert_true(json_is_number(json_array_get(losses, 2)));
  assert_true(number(history, "best_epoch") >= 2);
  assert_true(moved(made.job.net, before, "head0."));
  json_decref(history);
  ex_net_free(made.job.net);

  start(&made); /* the trunk's phase alone leaves the other heads as they were */
  made.options.regime = EX_REGIME_FROZEN_TRUNK;
  made.options.trunk_epochs = 2;
  json_decref(train(&made));
  assert_true(moved(made.job.net, before, "stage0.bn.running_mean"));
  assert_true(moved(made.job.net, before, "head0."));
  ex_net_free(made.job.net);
  ex_net_free(before);
}

static void norms_and_biases_do_not_decay(void **state) {
  (void)state;
  for (int all = 0; all < 2; all++) {
    struct made_job a, b;
    start(&a);
    start(&b);
    a.options.epochs = b.options.epochs = 1;
    a.options.batch = b.options.batch = 90; /* one step: the gradients are the same */
    a.options.decay_all = b.options.decay_all = all;
    a.options.weight_decay = 0;
    b.options.weight_decay = 0.5;
    json_decref(train(&a));
    json_decref(train(&b));
    assert_true(moved(a.job.net, b.job.net, "stage0.conv.weight"));
    assert_true(moved(a.job.net, b.job.net, "head1.fc.weight"));
    assert_int_equal(moved(a.job.net, b.job.net, "stage0.bn.weight"), all);
    assert_int_equal(moved(a.job.net, b.job.net, "head1.fc.bias"), all);
    ex_net_free(a.job.net);
    ex_net_free(b.job.net);
  }
}

static void divergence_is_told(void **state) {
  (void)state;
  struct made_job made;
  json_t *history;
  start(&made);
  made.options.schedule = EX_SCHEDULE_CONSTANT;
  made.options.learning_rate = 100;
  made.options.epochs = 20;
  assert_refused(ex__train(&made.job, &history, &err), EX_EDIVERGED, &err,
                 "at learning rate 100; try a learning rate of 2e+01, gradient clipping");
  assert_non_null(strstr(err.text, "epoch "));
  assert_null(history);
  ex_net_free(made.job.net);
  start(&made);
  made.job.net->params->data[0][0] = NAN;
  assert_refused(ex__train(&made.job, &history, &err), EX_EDIVERGED, &err,
                 "epoch 1, step 1 of 9: loss = ");
  ex_net_free(made.job.net);
}

struct watch {
  int32_t steps, epochs, stop_at;
  int64_t last_done;
  char note[128];
};

static bool watch(void *context, const struct ex_progress_event *event) {
  struct watch *watch = context;
  assert_string_equal(event->unit, "images");
  assert_int_equal(event->total, 90);
  if (event->finished) {
    watch->epochs++;
    snprintf(watch->note, sizeof watch->note, "%s: %s", event->task, event->note);
  } else {
    watch->steps++;
    watch->last_done = event->done;
  }
  return watch->steps != watch->stop_at;
}

static void progress_is_reported(void **state) {
  (void)state;
  struct made_job made;
  struct watch seen = {.stop_at = -1};
  start(&made);
  made.job.progress = (struct ex_progress){watch, &seen};
  json_decref(train(&made));
  assert_int_equal(seen.steps, 27);
  assert_int_equal(seen.epochs, 3);
  assert_int_equal(seen.last_done, 90);
  assert_memory_equal(seen.note, "epoch 3/3: loss ", 16);
  assert_non_null(strstr(seen.note, ", select "));
  ex_net_free(made.job.net);
  seen = (struct watch){.stop_at = 13};
  json_t *history;
  start(&made);
  made.job.progress = (struct ex_progress){watch, &seen};
  assert_refused(ex__train(&made.job, &history, &err), EX_ECANCELLED, &err,
                 "epoch 2, before step 5 of 9");
  assert_int_equal(seen.steps, 13);
  ex_net_free(made.job.net);
}

static void class_weights_count(void **state) {
  (void)state;
  struct made_job a, b;
  start(&a);
  start(&b);
  b.options.class_weights = 1; /* classes are balanced: all weights are 1 */
  json_decref(train(&a));
  json_decref(train(&b));
  assert_true(same_net(a.job.net, b.job.net));
  ex_net_free(a.job.net);
  ex_net_free(b.job.net);
}

static void clipping_bounds_the_step(void **state) {
  (void)state;
  ex_net *before = tiny_net(0.2, true, 3);
  double moved_by[2];
  for (int clipped = 0; clipped < 2; clipped++) {
    struct made_job made;
    start(&made);
    made.options.epochs = 1;
    made.options.batch = 90;
    made.options.weight_decay = made.options.momentum = 0;
    made.options.schedule = EX_SCHEDULE_CONSTANT;
    made.options.learning_rate = 1;
    made.options.clip = clipped ? 0.01 : 0;
    json_decref(train(&made));
    double sum = 0;
    for (int32_t s = 0; s < before->params->n; s++)
      for (int64_t i = 0; i < before->params->size[s]; i++)
        sum += pow(made.job.net->params->data[s][i] - before->params->data[s][i], 2);
    moved_by[clipped] = sqrt(sum);
    ex_net_free(made.job.net);
  }
  assert_true(moved_by[0] > 0.1);
  assert_true(fabs(moved_by[1] - 0.01) < 1e-5);
  ex_net_free(before);
}

static void wrong_jobs_are_refused(void **state) {
  (void)state;
  struct made_job made;
  json_t *history;
  start(&made);
  made.options.select_point = 3;
  assert_refused(ex__train(&made.job, &history, &err), EX_EINVAL, &err, "select-point = 3");
  made.options.select_point = -1;
  made.options.regime = EX_REGIME_TRUNK_THEN_JOINT;
  made.options.trunk_epochs = 3;
  assert_refused(ex__train(&made.job, &history, &err), EX_EINVAL, &err, "trunk-epochs = 3");
  made.options.regime = EX_REGIME_JOINT;
  made.job.threads = 0;
  assert_refused(ex__train(&made.job, &history, &err), EX_EINVAL, &err, "threads = 0");
  made.job.threads = 1;
  made.job.net->input.dim[2] = 5;
  assert_refused(ex__train(&made.job, &history, &err), EX_ESHAPE, &err, "72 numbers");
  ex_net_free(made.job.net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_learns),
      cmocka_unit_test(best_epoch_is_kept),
      cmocka_unit_test(frozen_trunk_is_judged_by_its_exits),
      cmocka_unit_test(seed_decides_the_bits),
      cmocka_unit_test(frozen_means_frozen),
      cmocka_unit_test(trunk_comes_first),
      cmocka_unit_test(norms_and_biases_do_not_decay),
      cmocka_unit_test(divergence_is_told),
      cmocka_unit_test(progress_is_reported),
      cmocka_unit_test(class_weights_count),
      cmocka_unit_test(clipping_bounds_the_step),
      cmocka_unit_test(wrong_jobs_are_refused),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
