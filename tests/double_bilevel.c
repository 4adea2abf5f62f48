/* SPDX-License-Identifier: Apache-2.0
 *
 * The look ahead in double precision: the derivative of an optimiser's step
 * against differences of the step, the difference along a direction against
 * gradients, the gradient by the weights of losses against what the outer loss
 * does when a weight is moved.
 */
#include "method/adam.h"
#include "method/bilevel.h"
#include "tests/lookahead.h"

enum { BATCH = 10 };

/* Optimisers: sgd, sgd with Nesterov, adamw. After two steps moments are not 0. */
static void open_with(struct lookahead *l, int32_t kind) {
  lookahead_make(l, data, "hdkd");
  l->made.options.optimiser = kind == 2 ? EX_ADAMW : EX_SGD;
  l->made.options.nesterov = kind == 1;
  l->made.options.learning_rate = kind == 2 ? 0.003 : 0.05;
  l->made.options.weight_decay = 0.01;
  lookahead_open(l);
  lookahead_step(l, 0);
  lookahead_step(l, 1);
  lookahead_back(l);
}

static double dot(const ex_slabs *a, const ex_slabs *b) {
  double sum = 0;
  for (int32_t s = 0; s < a->n; s++)
    for (int64_t i = 0; i < a->size[s]; i++) sum += a->data[s][i] * b->data[s][i];
  return sum;
}

static ex_slabs *slabs_like(const struct lookahead *l) {
  ex_slabs *slabs;
  assert_int_equal(ex__slabs_new(l->made.job.net->graph, EX_SLABS_PARAMS, &slabs), EX_OK);
  return slabs;
}

static void sensitivity_is_the_derivative_of_the_step(void **state) {
  (void)state;
  const double step = 1e-6;
  for (int32_t kind = 0; kind < 3; kind++) {
    struct lookahead l;
    open_with(&l, kind);
    struct ex_trainer *trainer = &l.training.trainer;
    ex_slabs *grads = slabs_like(&l), *by = slabs_like(&l), *out = slabs_like(&l);
    ex_slabs *above = slabs_like(&l), *below = slabs_like(&l), *moved = slabs_like(&l);
    struct ex_random random = ex__random_seed(4, (uint64_t)kind);
    for (int32_t s = 0; s < grads->n; s++)
      for (int64_t i = 0; i < grads->size[s]; i++) {
        grads->data[s][i] = 0.1 * ex__random_normal(&random);
        by->data[s][i] = ex__random_normal(&random);
      }
    trainer->sensitivity(trainer, grads, by, out);
    for (int sign = -1; sign <= 1; sign += 2) {
      for (int32_t s = 0; s < grads->n; s++)
        for (int64_t i = 0; i < grads->size[s]; i++)
          moved->data[s][i] = grads->data[s][i] + sign * step * by->data[s][i];
      trainer->look_ahead(trainer, moved, sign > 0 ? above : below);
    }
    double size = 0, error = 0;
    for (int32_t s = 0; s < grads->n; s++)
      for (int64_t i = 0; i < grads->size[s]; i++) {
        double numeric = (above->data[s][i] - below->data[s][i]) / (2 * step);
        size += numeric * numeric;
        error += pow(numeric - out->data[s][i], 2);
      }
    assert_true(size > 1e-8);
    if (!(sqrt(error / size) < 1e-6)) fail_msg("optimiser %d: %g", (int)kind, sqrt(error / size));
    ex__slabs_free(grads);
    ex__slabs_free(by);
    ex__slabs_free(out);
    ex__slabs_free(above);
    ex__slabs_free(below);
    ex__slabs_free(moved);
    lookahead_close(&l);
  }
}

/* ---- weights of the exits' cross-entropies --------------------------------- */

static double weight[TINY_POINTS];

static void inner(void *context, const struct ex_loss_call *call) {
  (void)context;
  for (int32_t p = 0; p < TINY_POINTS; p++) ex__method_cross_entropy(call, p, weight[p], 0);
}

static void outer(void *context, const struct ex_loss_call *call) {
  double sum = 0;
  for (int32_t p = 0; p < TINY_POINTS; p++) sum += ex__method_cross_entropy(call, p, 1, 0);
  if (context != NULL) *(double *)context = sum;
}

static void measure(void *context, const struct ex_loss_call *call, double *losses) {
  (void)context;
  for (int32_t p = 0; p < TINY_POINTS; p++) losses[p] = ex__method_cross_entropy(call, p, 1, 0);
}

static void look(struct ex_trainer *trainer, double *gradient, double *outer_loss) {
  double spare[TINY_POINTS];
  const struct ex_hyper hyper = {.inner_batch = 3,
                                 .outer_source = EX_SOURCE_TRAIN,
                                 .outer_batch = 5,
                                 .n = TINY_POINTS,
                                 .inner = inner,
                                 .outer = outer,
                                 .measure = measure,
                                 .context = outer_loss,
                                 .spare = spare,
                                 .gradient = gradient};
  trainer->read(trainer, EX_SOURCE_TRAIN, 3);
  trainer->forward(trainer, trainer->net->params, false);
  ex__hypergradient(trainer, &hyper);
}

static void gradient_by_weights_is_exact(void **state) {
  (void)state;
  const double step = 1e-4;
  for (int32_t kind = 0; kind < 3; kind++) {
    struct lookahead l;
    open_with(&l, kind);
    struct ex_trainer *trainer = &l.training.trainer;
    double gradient[TINY_POINTS], unused[TINY_POINTS], above, below;
    for (int32_t p = 0; p < TINY_POINTS; p++) weight[p] = 0.6 + 0.3 * p;
    double shown = l.training.facts.point_loss[0];
    look(trainer, gradient, NULL);
    assert_true(l.training.facts.point_loss[0] == shown);
    for (int32_t p = 0; p < TINY_POINTS; p++) {
      double held = weight[p];
      weight[p] = held + step;
      look(trainer, unused, &above);
      weight[p] = held - step;
      look(trainer, unused, &below);
      weight[p] = held;
      double numeric = (above - below) / (2 * step);
      assert_true(fabs(numeric) > 1e-6);
      if (!(fabs(gradient[p] - numeric) < 1e-6 * fabs(numeric) + 1e-10))
        fail_msg("optimiser %d, weight %d: %.10g, by difference %.10g", (int)kind, (int)p,
                 gradient[p], numeric);
    }
    lookahead_close(&l);
  }
}

/* The difference along u is <u, gradient>, u being what the look leaves first. */
static void slopes_are_products_with_gradients(void **state) {
  (void)state;
  struct lookahead l;
  open_with(&l, 1);
  struct ex_trainer *trainer = &l.training.trainer;
  double gradient[TINY_POINTS];
  for (int32_t p = 0; p < TINY_POINTS; p++) weight[p] = 1;
  look(trainer, gradient, NULL);
  ex_slabs *grads = slabs_like(&l);
  trainer->read(trainer, EX_SOURCE_TRAIN, 3);
  trainer->forward(trainer, l.made.job.net->params, false);
  for (int32_t p = 0; p < TINY_POINTS; p++) {
    ex__method_clear_seeds(trainer->call);
    ex__method_cross_entropy(trainer->call, p, 1, 0);
    ex__slabs_zero(grads);
    trainer->backward(trainer, l.made.job.net->params, EX_ALL_POINTS, grads);
    double product = dot(trainer->work[0], grads);
    assert_true(fabs(product) > 1e-6);
    assert_true(fabs(product - gradient[p]) < 1e-6 * fabs(product));
  }
  ex__slabs_free(grads);
  lookahead_close(&l);
}

static void nothing_moves_in_a_look(void **state) {
  (void)state;
  struct lookahead l;
  open_with(&l, 1);
  ex_slabs *buffers;
  const ex_net *net = l.made.job.net;
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_BUFFERS, &buffers), EX_OK);
  ex__slabs_copy(buffers, net->buffers);
  double gradient[TINY_POINTS];
  look(&l.training.trainer, gradient, NULL);
  assert_true(same_slabs(net->params, l.params));
  assert_true(same_slabs(net->buffers, buffers));
  assert_true(same_slabs(l.training.moments[0], l.moments[0]));
  ex__slabs_free(buffers);
  lookahead_close(&l);
}

static void go_back(struct ex_trainer *trainer, ex_slabs *grads) {
  outer(NULL, trainer->call);
  ex__slabs_zero(grads);
  trainer->backward(trainer, trainer->net->params, EX_ALL_POINTS, grads);
}

/* A step goes on from the forward that the look began with: its outputs, classes
 * and gradients are what they would have been. */
static void the_forward_outlives_a_look(void **state) {
  (void)state;
  struct lookahead l;
  open_with(&l, 1);
  struct ex_trainer *trainer = &l.training.trainer;
  const struct ex_loss_call *call = trainer->call;
  ex_slabs *before = slabs_like(&l), *after = slabs_like(&l);
  ex_real output[BATCH * TINY_CLASSES];
  int32_t target[BATCH];
  double gradient[TINY_POINTS];
  trainer->read(trainer, EX_SOURCE_TRAIN, 3);
  trainer->forward(trainer, trainer->net->params, false);
  memcpy(output, call->output[TINY_POINTS - 1], sizeof output);
  memcpy(target, call->target, sizeof target);
  go_back(trainer, before);
  look(trainer, gradient, NULL);
  assert_memory_equal(call->output[TINY_POINTS - 1], output, sizeof output);
  assert_memory_equal(call->target, target, sizeof target);
  go_back(trainer, after);
  assert_true(dot(after, after) > 0);
  assert_true(same_slabs(before, after));
  /* Aside lies the same batch, at other parameters. */
  trainer->aside(trainer, true);
  assert_memory_equal(call->target, target, sizeof target);
  assert_memory_not_equal(call->output[TINY_POINTS - 1], output, sizeof output);
  trainer->aside(trainer, false);
  ex__slabs_free(before);
  ex__slabs_free(after);
  lookahead_close(&l);
}

/* At a learning rate of 0 nothing depends on the weights. */
static void no_step_no_gradient(void **state) {
  (void)state;
  struct lookahead l;
  lookahead_make(&l, data, "hdkd");
  l.made.options.learning_rate = 0;
  lookahead_open(&l);
  lookahead_step(&l, 0);
  double gradient[TINY_POINTS];
  look(&l.training.trainer, gradient, NULL);
  for (int32_t p = 0; p < TINY_POINTS; p++) assert_true(gradient[p] == 0);
  lookahead_close(&l);
}

/* ---- Adam ------------------------------------------------------------------ */

/* Two steps computed by PyTorch's formula by hand; the first is rate × sign. */
/* Two steps by the paper's formula; the first is rate × sign. */
static void adam_is_that_of_the_paper(void **state) {
  (void)state;
  struct ex_adam adam = {0};
  double x[3] = {1, -2, -INFINITY}, mean[3] = {0}, square[3] = {0};
  const double first[3] = {0.5, -4, 0}, second[3] = {-0.25, 1, 0};
  ex__adam_step(&adam, 3, 0.1, first, mean, square, x);
  assert_true(fabs(x[0] - 0.9) < 1e-7 && fabs(x[1] + 1.9) < 1e-7);
  ex__adam_step(&adam, 3, 0.1, second, mean, square, x);
  for (int32_t i = 0; i < 2; i++) {
    double m = (0.9 * 0.1 * first[i] + 0.1 * second[i]) / (1 - 0.81);
    double v =
        (0.999 * 0.001 * first[i] * first[i] + 0.001 * second[i] * second[i]) / (1 - 0.999 * 0.999);
    double before = i == 0 ? 0.9 : -1.9;
    assert_true(fabs(x[i] - (before - 0.1 * m / (sqrt(v) + 1e-8))) < 1e-7);
  }
  assert_true(x[2] == -INFINITY);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sensitivity_is_the_derivative_of_the_step),
      cmocka_unit_test(gradient_by_weights_is_exact),
      cmocka_unit_test(slopes_are_products_with_gradients),
      cmocka_unit_test(nothing_moves_in_a_look),
      cmocka_unit_test(the_forward_outlives_a_look),
      cmocka_unit_test(no_step_no_gradient),
      cmocka_unit_test(adam_is_that_of_the_paper),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
