/* SPDX-License-Identifier: Apache-2.0
 *
 * HDKD in double precision: what it learns its weights by, against what the loss
 * of held-out samples does after a whole step with other weights; reductions to
 * distillation and to joint.
 */
#include "method/hdkd.h"
#include "tests/lookahead.h"

enum { TERMS = TINY_POINTS + TINY_POINTS * (TINY_POINTS - 1) / 2 };

/* The loss of the held-out batch after a step with the weights of `kept`, by the
 * trainer's functions alone; `expected` is held. */
static double loss_ahead(struct lookahead *l, const struct ex_hdkd_state *kept, double alpha,
                         const double *expected) {
  struct ex_trainer *trainer = &l->training.trainer;
  struct ex_hdkd_state copy = *kept;
  ex_net *net = l->made.job.net;
  trainer->read(trainer, EX_SOURCE_TRAIN, trainer->at);
  trainer->forward(trainer, net->params, false);
  l->made.job.method->loss(l->made.values, &copy, trainer->call);
  ex__slabs_zero(trainer->grads);
  trainer->backward(trainer, net->params, EX_ALL_POINTS, trainer->grads);
  trainer->look_ahead(trainer, trainer->grads, trainer->work[0]);
  trainer->read(trainer, EX_SOURCE_META, trainer->at);
  trainer->forward(trainer, trainer->work[0], false);
  double sum = 0;
  for (int32_t k = 0; k < TINY_POINTS; k++) {
    double ce = ex__method_cross_entropy(trainer->call, k, 1, 0);
    sum += (alpha * ce + (1 - alpha) * log1p(exp(ce / expected[k] - 1))) / TINY_POINTS;
  }
  return sum;
}

static void check_learning(int32_t optimiser, bool nesterov, const char *keep_sum,
                           const char *alpha) {
  struct lookahead l;
  lookahead_make(&l, data, "hdkd");
  lookahead_set(&l, "keep-sum", keep_sum);
  lookahead_set(&l, "alpha", alpha);
  lookahead_set(&l, "others", "0.2");
  lookahead_set(&l, "rate", "0.01");
  l.made.options.optimiser = optimiser;
  l.made.options.nesterov = nesterov;
  l.made.options.learning_rate = optimiser == EX_ADAMW ? 0.003 : 0.05;
  lookahead_open(&l);
  struct ex_hdkd_state *now = l.training.method_state;
  lookahead_step(&l, 0);
  lookahead_step(&l, 1);
  const struct ex_hdkd_state before = *now;
  lookahead_step(&l, 2);
  lookahead_back(&l);
  double expected[TINY_POINTS], size = 0;
  assert_int_equal(now->adam.step, 3);
  for (int32_t k = 0; k < TINY_POINTS; k++)
    expected[k] = now->expected[k] / (1 - pow(0.9, (double)now->adam.step));
  for (int32_t m = 0; m < TERMS; m++) {
    const double step = 1e-4;
    double learned = (now->mean[m] - 0.9 * before.mean[m]) / 0.1; /* Adam's first moment */
    struct ex_hdkd_state moved = before;
    moved.a[m] = before.a[m] + step;
    double above = loss_ahead(&l, &moved, atof(alpha), expected);
    moved.a[m] = before.a[m] - step;
    double numeric = (above - loss_ahead(&l, &moved, atof(alpha), expected)) / (2 * step);
    size = fmax(size, fabs(numeric));
    if (!(fabs(learned - numeric) < 1e-6 * fabs(numeric) + 1e-9))
      fail_msg("term %d: learned by %.10g, difference %.10g", (int)m, learned, numeric);
  }
  assert_true(size > 1e-5);
  lookahead_close(&l);
}

static void weights_follow_the_held_out_loss(void **state) {
  (void)state;
  check_learning(EX_SGD, true, "true", "0.5");
  check_learning(EX_SGD, false, "false", "0.5");
  check_learning(EX_SGD, true, "false", "1");
  check_learning(EX_ADAMW, false, "true", "0");
}

static double softplus(double x) { return log1p(exp(x)); }

static void the_sum_of_weights_stays(void **state) {
  (void)state;
  struct lookahead l;
  lookahead_make(&l, data, "hdkd");
  lookahead_set(&l, "rate", "0.05");
  lookahead_open(&l);
  const struct ex_hdkd_state *now = l.training.method_state;
  const double first[TERMS] = {1, 1, 1, 0.1, 1, 1};
  double moved = 0;
  for (int32_t m = 0; m < TERMS; m++) assert_true(fabs(softplus(now->a[m]) - first[m]) < 1e-12);
  for (int32_t s = 0; s < 8; s++) lookahead_step(&l, s);
  for (int32_t m = 0; m < TERMS; m++) moved = fmax(moved, fabs(softplus(now->a[m]) - first[m]));
  assert_true(moved > 0.02);
  /* What the loss weighs: the gradient at a logit is linear in the weights. */
  struct ex_trainer *trainer = &l.training.trainer;
  double terms[TERMS], sum = 0, total = 0;
  trainer->read(trainer, EX_SOURCE_TRAIN, 0);
  trainer->forward(trainer, l.made.job.net->params, false);
  ex__teaching_terms(trainer->call, trainer->call->output, now->temperature, terms);
  for (int32_t m = 0; m < TERMS; m++) total += softplus(now->a[m]);
  for (int32_t m = 0; m < TERMS; m++) sum += 5.1 * softplus(now->a[m]) / total * terms[m];
  struct ex_hdkd_state copy = *now;
  assert_true(fabs(l.made.job.method->loss(l.made.values, &copy, trainer->call) - sum) < 1e-10);
  lookahead_close(&l);
}

/* A weight of 0 is never learned, nor is one of an exit that is not trained. */
static void terms_that_are_off_stay_off(void **state) {
  (void)state;
  struct lookahead l;
  lookahead_make(&l, data, "hdkd");
  lookahead_set(&l, "others", "0");
  lookahead_set(&l, "rate", "0.05");
  l.made.options.regime = EX_REGIME_FROZEN_TRUNK;
  lookahead_open(&l);
  const struct ex_hdkd_state *now = l.training.method_state;
  const struct ex_hdkd_state before = *now;
  for (int32_t s = 0; s < 4; s++) lookahead_step(&l, s);
  const bool learns[TERMS] = {true, true, false, false, true, true};
  for (int32_t m = 0; m < TERMS; m++) {
    if ((now->a[m] != before.a[m]) != learns[m]) fail_msg("term %d", (int)m);
    assert_false(isnan(now->a[m]));
  }
  assert_true(now->a[3] == -INFINITY);
  lookahead_close(&l);
}

/* ---- reductions ---------------------------------------------------------------- */

static ex_net *trained(const char *method, const char *const *set, double meta_share) {
  struct made_job made;
  json_t *history;
  made_job(&made, tiny_net(0.2, true, 3), data, ex__method_find(method));
  for (; *set != NULL; set += 2)
    assert_ok(ex__param_set(method, made.job.method->params, made.values, set[0], set[1], &err),
              &err);
  made.options.meta_share = meta_share;
  assert_ok(ex__train(&made.job, &history, &err), &err);
  json_decref(history);
  return made.job.net;
}

static double distance(const ex_net *a, const ex_net *b) {
  double most = 0;
  for (int32_t s = 0; s < a->params->n; s++)
    for (int64_t i = 0; i < a->params->size[s]; i++)
      most = fmax(most, fabs(a->params->data[s][i] - b->params->data[s][i]));
  return most;
}

static void compare(const char *const *set, const char *other, const char *const *other_set,
                    bool same) {
  ex_net *a = trained("hdkd", set, 0), *b = trained(other, other_set, 0.1);
  double apart = distance(a, b);
  if ((apart < 1e-9) != same) fail_msg("hdkd and %s are %g apart", other, apart);
  ex_net_free(a);
  ex_net_free(b);
}

static void fixed_weights_are_distillation(void **state) {
  (void)state;
  static const char *const fixed[] = {"rate", "0",      "others", "1", "temperature",
                                      "1",    "anneal", "true",   NULL};
  static const char *const learned[] = {"others", "1", "temperature", "1", "anneal", "true", NULL};
  static const char *const dense[] = {"teachers", "later", NULL}, *const last[] = {NULL};
  compare(fixed, "distillation", dense, true);
  compare(learned, "distillation", dense, false);
  static const char *const only_last[] = {"rate", "0",      "others", "0", "temperature",
                                          "1",    "anneal", "true",   NULL};
  compare(only_last, "distillation", last, true);
}

static void without_teachers_it_is_joint(void **state) {
  (void)state;
  static const char *const labels[] = {"rate", "0", "last", "0", "others", "0", NULL};
  static const char *const plain[] = {NULL};
  compare(labels, "joint", plain, true);
}

static void wrong_values_are_refused(void **state) {
  (void)state;
  struct lookahead l;
  lookahead_make(&l, data, "hdkd");
  lookahead_set(&l, "label", "0");
  assert_refused(l.made.job.method->check(l.made.values, 3, &err), EX_EINVAL, &err, "label = 0");
  ex_net_free(l.made.job.net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(weights_follow_the_held_out_loss),
      cmocka_unit_test(the_sum_of_weights_stays),
      cmocka_unit_test(terms_that_are_off_stay_off),
      cmocka_unit_test(fixed_weights_are_distillation),
      cmocka_unit_test(without_teachers_it_is_joint),
      cmocka_unit_test(wrong_values_are_refused),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
