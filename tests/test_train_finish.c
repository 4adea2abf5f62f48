/* SPDX-License-Identifier: Apache-2.0
 *
 * What a method is given when training is over, with methods made here: which
 * samples, which outputs, at which weights, and that a run which is stopped
 * there does it again.
 */
#include <math.h>

#include "tests/train_fixture.h"
#include "train/train_step.h"

/* Of the last call of `finish`; a method has no such memory, a test may. */
static struct {
  int32_t calls, n, n_points, n_outputs;
  ex_real output[100][TINY_POINTS][TINY_CLASSES];
  int32_t target[100];
  bool weighted, fail;
} seen;

struct plain {
  int32_t samples, source;
};

static double loss(const void *values, void *state, const struct ex_loss_call *call) {
  (void)values, (void)state;
  double sum = 0;
  for (int32_t p = 0; p < call->n_points; p++) sum += ex__method_cross_entropy(call, p, 1, 0);
  return sum;
}

static void needs(const void *values, const ex_net *net, int32_t batch, int32_t n_steps,
                  struct ex_method_needs *out) {
  const struct plain *plain = values;
  (void)net, (void)batch, (void)n_steps;
  out->finish = plain->samples;
  out->finish_source = (enum ex_source)plain->source;
  out->meta = plain->source == EX_SOURCE_META;
}

/* Temperatures that depend on all that it is given. */
static enum ex_status finish(const void *values, const void *state,
                             const struct ex_finish_call *call, struct ex_error *err) {
  (void)values, (void)state;
  seen.calls++;
  seen.n = call->n;
  seen.n_points = call->n_points;
  seen.n_outputs = call->n_outputs;
  seen.weighted = call->weight != NULL;
  size_t size = (size_t)(call->n_points * call->n_outputs) * sizeof *call->output;
  for (int32_t i = 0; i < call->n && i < 100; i++) {
    memcpy(seen.output[i], call->output + (size_t)i * (size / sizeof *call->output), size);
    seen.target[i] = call->target[i];
  }
  if (seen.fail) return ex__fail(err, EX_ENOMEM, "finish: told to fail");
  struct ex_transform out = {.kind = EX_TRANSFORM_TEMPERATURE,
                             .temperature = {call->n_points, {0}}};
  for (int32_t p = 0; p < call->n_points; p++) {
    double sum = 1;
    for (int32_t i = 0; i < call->n; i++)
      sum += fabs((double)call->output[(i * call->n_points + p) * call->n_outputs]);
    out.temperature.value[p] = sum;
  }
  *call->transform = out;
  return EX_OK;
}

static const struct ex_method plain_method = {
    .name = "joint", .size = sizeof(struct plain), .needs = needs, .loss = loss, .finish = finish};

static void start(struct made_job *made, int32_t samples, enum ex_source source) {
  made_job(made, tiny_net(0.2, true, 3), data, ex__method_find("joint"));
  const struct plain plain = {samples, (int32_t)source};
  memcpy(made->values, &plain, sizeof plain);
  made->job.method = &plain_method;
  memset(&seen, 0, sizeof seen);
}

static void train(struct made_job *made) {
  json_t *history;
  assert_ok(ex__train(&made->job, &history, &err), &err);
  json_decref(history);
}

/* At most what is asked for, each once, and none that is held out. */
static void samples_are_those_of_one_epoch(void **state) {
  (void)state;
  static const int32_t asked[] = {1, 15, 90, 1000};
  for (int32_t i = 0; i < 4; i++) {
    struct made_job made;
    start(&made, asked[i], EX_SOURCE_TRAIN);
    made.options.epochs = 1;
    train(&made);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.n, asked[i] < 90 ? asked[i] : 90);
    assert_int_equal(seen.n_points, TINY_POINTS);
    assert_int_equal(seen.n_outputs, TINY_CLASSES);
    int32_t of_class[TINY_CLASSES] = {0};
    for (int32_t k = 0; k < seen.n; k++) of_class[seen.target[k]]++;
    for (int32_t c = 0; c < TINY_CLASSES && seen.n == 90; c++)
      assert_int_equal(of_class[c], 30); /* the split keeps proportions */
    ex_net_free(made.job.net);
  }
  struct made_job made;
  start(&made, 1000, EX_SOURCE_META);
  made.options.epochs = 1;
  made.options.meta_share = 0.2;
  made.options.class_weights = 1;
  train(&made);
  assert_int_equal(seen.n, 18); /* one batch of ten and eight of the next */
  assert_true(seen.weighted);
  ex_net_free(made.job.net);
}

/* Which training sample, not augmented, has these outputs at the net's weights; −1: none. */
static int32_t find(const ex_net *net, ex_real output[TINY_POINTS][TINY_CLASSES]) {
  const struct ex_stepper_options options = {
      .batch = 10, .threads = 1, .backend = EX_BACKEND_TWIN, .phase = EX_PHASE_NONE};
  const struct ex_pass pass = {.params = net->params};
  int32_t y[10], found = -1;
  ex_stepper *stepper;
  assert_ok(ex__stepper_new(net, &options, &stepper, &err), &err);
  for (int32_t from = 0; from < 90; from += 10) {
    ex__data_read_range(data, EX_SPLIT_TRAIN, from, 10, ex__stepper_input(stepper), y);
    ex__stepper_forward(stepper, &pass);
    for (int32_t i = 0; i < 10; i++) {
      bool same = true;
      for (int32_t p = 0; p < TINY_POINTS; p++)
        same &= memcmp(ex__stepper_output(stepper)[p] + (size_t)i * TINY_CLASSES, output[p],
                       sizeof output[p]) == 0;
      if (same) found = from + i;
    }
  }
  ex__stepper_free(stepper);
  return found;
}

/* Held-out samples are not augmented, so they are found again among the training
 * samples, each once: with the weights that the net has in the end, of the best
 * epoch, and not with those of the last. */
static void outputs_are_of_the_chosen_weights(void **state) {
  (void)state;
  struct made_job made, last;
  json_t *history;
  start(&last, 9, EX_SOURCE_META);
  last.options.epochs = 12;
  last.options.learning_rate = 0.5;
  last.options.select_every = 0;
  train(&last);
  start(&made, 9, EX_SOURCE_META);
  made.options = last.options;
  made.options.select_every = 1;
  assert_ok(ex__train(&made.job, &history, &err), &err);
  assert_true(json_integer_value(json_object_get(history, "best_epoch")) < 12);
  json_decref(history);
  assert_int_equal(seen.n, 9);
  int32_t at[9];
  for (int32_t i = 0; i < 9; i++) {
    at[i] = find(made.job.net, seen.output[i]);
    assert_true(at[i] >= 0);
    assert_int_equal(ex__data_label(data, EX_SPLIT_TRAIN, at[i]), seen.target[i]);
    assert_int_equal(find(last.job.net, seen.output[i]), -1);
    for (int32_t k = 0; k < i; k++) assert_true(at[k] != at[i]);
  }
  ex_net_free(made.job.net);
  ex_net_free(last.job.net);
}

/* What ends the run while it finishes: here for want of memory. With and without a
 * best epoch, in memory that training lends. */
static void a_run_that_stops_there_does_it_again(void **state) {
  (void)state;
  static const enum ex_backend backends[] = {EX_BACKEND_TWIN, EX_BACKEND_FAST};
  for (int32_t k = 0; k < 4; k++) {
    struct made_job whole, part;
    json_t *none;
    start(&whole, 50, EX_SOURCE_TRAIN);
    whole.job.backend = backends[k % 2];
    whole.options.select_every = k / 2;
    train(&whole);
    assert_int_equal(whole.job.net->transform.kind, EX_TRANSFORM_TEMPERATURE);
    start(&part, 50, EX_SOURCE_TRAIN);
    part.options = whole.options;
    part.job.backend = whole.job.backend;
    part.job.checkpoint = path;
    part.job.resume = true;
    unlink(path);
    seen.fail = true;
    assert_int_equal(ex__train(&part.job, &none, &err), EX_ENOMEM);
    assert_int_equal(part.job.net->transform.kind, EX_TRANSFORM_IDENTITY);
    ex__net_init(part.job.net, 99);
    seen.fail = false;
    train(&part);
    assert_int_equal(seen.calls, 2);
    assert_true(same_net(whole.job.net, part.job.net));
    ex_net_free(whole.job.net);
    ex_net_free(part.job.net);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(samples_are_those_of_one_epoch),
      cmocka_unit_test(outputs_are_of_the_chosen_weights),
      cmocka_unit_test(a_run_that_stops_there_does_it_again),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
