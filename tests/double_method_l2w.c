/* SPDX-License-Identifier: Apache-2.0
 *
 * Learning to Weight Samples in double precision: what the weight-prediction
 * network learns by, against the budgeted loss of the second batch after a whole
 * step with other numbers in the network; means and bounds of the weights;
 * reduction to joint.
 */
#include "method/l2w.h"
#include "tests/lookahead.h"

enum { BATCH = 10, HIDDEN = 6, MAX_NUMBERS = HIDDEN * (2 * TINY_POINTS + 1) + TINY_POINTS * 7 };

/* ---- the second batch, as the paper says it ---------------------------------- */

static double greatest_probability(const ex_real *z) {
  double total = 0, most = 0;
  for (int32_t c = 0; c < TINY_CLASSES; c++) total += exp(z[c]);
  for (int32_t c = 0; c < TINY_CLASSES; c++) most = fmax(most, exp(z[c]) / total);
  return most;
}

/* owner [BATCH]: the exit that keeps each sample. */
static void share(const struct ex_loss_call *call, double p, int32_t *owner) {
  double sum = 0;
  for (int32_t i = 0; i < BATCH; i++) owner[i] = TINY_POINTS - 1;
  bool used[BATCH] = {false};
  for (int32_t k = 1; k <= TINY_POINTS; k++) sum += pow(p, k);
  for (int32_t k = 0; k < TINY_POINTS - 1; k++)
    for (int32_t taken = 0; taken < (int32_t)floor(BATCH * pow(p, k + 1) / sum); taken++) {
      int32_t best = -1;
      double most = -1;
      for (int32_t i = 0; i < BATCH; i++) {
        double sure = greatest_probability(call->output[k] + i * TINY_CLASSES);
        if (used[i] || sure <= most) continue;
        most = sure;
        best = i;
      }
      used[best] = true;
      owner[best] = k;
    }
}

static double budgeted_loss(const struct ex_loss_call *call, const int32_t *owner) {
  double sum[TINY_POINTS] = {0}, total = 0;
  int32_t n[TINY_POINTS] = {0};
  for (int32_t i = 0; i < BATCH; i++) {
    const ex_real *z = call->output[owner[i]] + i * TINY_CLASSES;
    double all = 0;
    for (int32_t c = 0; c < TINY_CLASSES; c++) all += exp(z[c]);
    sum[owner[i]] += log(all) - z[call->target[i]];
    n[owner[i]]++;
  }
  for (int32_t k = 0; k < TINY_POINTS; k++) total += n[k] > 0 ? sum[k] / n[k] : 0;
  return total;
}

/* Goes one step ahead with the network of `state` and puts the second batch's
 * outputs into the call. */
static const struct ex_loss_call *go_ahead(struct lookahead *l, void *state) {
  struct ex_trainer *trainer = &l->training.trainer;
  ex_net *net = l->made.job.net;
  trainer->read(trainer, EX_SOURCE_TRAIN, trainer->at);
  trainer->forward(trainer, net->params, false);
  l->made.job.method->loss(l->made.values, state, trainer->call);
  ex__slabs_zero(trainer->grads);
  trainer->backward(trainer, net->params, EX_ALL_POINTS, trainer->grads);
  trainer->look_ahead(trainer, trainer->grads, trainer->work[0]);
  trainer->read(trainer, EX_SOURCE_TRAIN, trainer->at % 2 == 0 ? trainer->at + 1 : trainer->at - 1);
  trainer->forward(trainer, trainer->work[0], false);
  return trainer->call;
}

struct kept {
  struct ex_adam adam;
  double number[3 * MAX_NUMBERS];
};

static void check_learning(const char *centre, const char *input, const char *p,
                           int32_t optimiser) {
  struct lookahead l;
  lookahead_make(&l, data, "l2w");
  lookahead_set(&l, "centre", centre);
  lookahead_set(&l, "input", input);
  lookahead_set(&l, "p", p);
  lookahead_set(&l, "hidden", "6");
  lookahead_set(&l, "decay", "0");
  lookahead_set(&l, "rate", "0.01");
  l.made.options.optimiser = optimiser;
  l.made.options.learning_rate = optimiser == EX_ADAMW ? 0.003 : 0.1;
  l.made.options.weight_decay = 0.01;
  lookahead_open(&l);
  struct ex_l2w_state *now = l.training.method_state;
  const struct ex_l2w_shape shape = {strcmp(input, "both") == 0 ? 2 * TINY_POINTS : TINY_POINTS,
                                     HIDDEN, TINY_POINTS};
  int64_t count = ex__l2w_count(&shape);
  size_t bytes = sizeof *now + 3 * (size_t)count * sizeof(double);
  assert_true(bytes == l.training.needs.state && bytes <= sizeof(struct kept));
  for (int32_t s = 0; s < 3; s++) lookahead_step(&l, s);
  struct kept before, moved;
  memcpy(&before, now, bytes);
  lookahead_step(&l, 3);
  lookahead_back(&l);
  int32_t owner[BATCH];
  memcpy(&moved, &before, bytes);
  share(go_ahead(&l, &moved), atof(p), owner);
  double size = 0, apart = 0;
  for (int64_t i = 0; i < count; i++) {
    const double step = 1e-4;
    double learned = (now->number[count + i] - 0.9 * before.number[count + i]) / 0.1;
    moved.number[i] = before.number[i] + step;
    double above = budgeted_loss(go_ahead(&l, &moved), owner);
    moved.number[i] = before.number[i] - step;
    double numeric = (above - budgeted_loss(go_ahead(&l, &moved), owner)) / (2 * step);
    moved.number[i] = before.number[i];
    size += numeric * numeric;
    apart += pow(learned - numeric, 2);
  }
  assert_true(size > 1e-10);
  if (!(sqrt(apart / size) < 1e-6))
    fail_msg("centre %s, input %s, p %s: relative error %g (of %g)", centre, input, p,
             sqrt(apart / size), sqrt(size));
  lookahead_close(&l);
}

static void the_network_follows_the_budgeted_loss(void **state) {
  (void)state;
  check_learning("exits", "losses", "0.75", EX_SGD);
  check_learning("batch", "losses", "1", EX_SGD);
  check_learning("all", "both", "1.5", EX_SGD);
  check_learning("exits", "confidences", "0.75", EX_ADAMW);
  check_learning("all", "losses", "0.05", EX_SGD); /* the second exit keeps nobody */
}

/* ---- weights -------------------------------------------------------------------- */

/* w [BATCH][TINY_POINTS], by how the seeds differ from those of joint. */
static void weights_of(struct lookahead *l, double (*w)[TINY_POINTS]) {
  struct ex_trainer *trainer = &l->training.trainer;
  const struct ex_loss_call *call = trainer->call;
  ex_real plain[TINY_POINTS][BATCH * TINY_CLASSES];
  trainer->read(trainer, EX_SOURCE_TRAIN, 2);
  trainer->forward(trainer, l->made.job.net->params, false);
  for (int32_t k = 0; k < TINY_POINTS; k++) {
    ex__method_cross_entropy(call, k, 1, 0);
    memcpy(plain[k], call->doutput[k], sizeof plain[k]);
  }
  ex__method_clear_seeds(call);
  l->made.job.method->loss(l->made.values, l->training.method_state, call);
  for (int32_t i = 0; i < BATCH; i++)
    for (int32_t k = 0; k < TINY_POINTS; k++)
      w[i][k] = call->doutput[k][i * TINY_CLASSES] / plain[k][i * TINY_CLASSES];
}

static void weights_have_a_mean_of_one(void **state) {
  (void)state;
  static const char *const centres[] = {"exits", "batch", "all"};
  for (int32_t c = 0; c < 3; c++) {
    struct lookahead l;
    double w[BATCH][TINY_POINTS], of_all = 0, spread = 0;
    lookahead_make(&l, data, "l2w");
    lookahead_set(&l, "centre", centres[c]);
    lookahead_set(&l, "rate", "0.01");
    lookahead_open(&l);
    for (int32_t s = 0; s < 6; s++) lookahead_step(&l, s);
    weights_of(&l, w);
    double of_point[TINY_POINTS] = {0};
    for (int32_t i = 0; i < BATCH; i++) {
      double of_sample = 0;
      for (int32_t k = 0; k < TINY_POINTS; k++) {
        assert_true(w[i][k] >= 1 - 2 * 0.8 && w[i][k] <= 1 + 2 * 0.8);
        of_sample += w[i][k] / TINY_POINTS;
        of_point[k] += w[i][k] / BATCH;
        of_all += w[i][k] / TINY_POINTS / BATCH;
        spread = fmax(spread, fabs(w[i][k] - 1));
      }
      if (c == 0) assert_true(fabs(of_sample - 1) < 1e-12);
    }
    assert_true(fabs(of_all - 1) < 1e-12);
    for (int32_t k = 0; c == 1 && k < TINY_POINTS; k++) assert_true(fabs(of_point[k] - 1) < 1e-12);
    assert_true(spread > 0.01);
    lookahead_close(&l);
  }
}

static void unlabelled_samples_are_passed_over(void **state) {
  (void)state;
  struct lookahead l;
  lookahead_make(&l, data, "l2w");
  lookahead_set(&l, "centre", "batch");
  lookahead_open(&l);
  lookahead_step(&l, 0);
  struct ex_trainer *trainer = &l.training.trainer;
  trainer->read(trainer, EX_SOURCE_TRAIN, 2);
  trainer->forward(trainer, l.made.job.net->params, false);
  l.training.place->y[3] = -1;
  const struct ex_method *method = l.made.job.method;
  double loss = method->loss(l.made.values, l.training.method_state, trainer->call);
  assert_true(isfinite(loss) && loss > 0);
  for (int32_t c = 0; c < TINY_CLASSES; c++) {
    assert_true(trainer->call->doutput[0][3 * TINY_CLASSES + c] == 0);
    assert_true(trainer->call->doutput[0][4 * TINY_CLASSES + c] != 0);
  }
  for (int32_t i = 0; i < BATCH; i++) l.training.place->y[i] = -1;
  assert_true(method->loss(l.made.values, l.training.method_state, trainer->call) == 0);
  assert_true(isnan(trainer->call->point_loss[0]));
  lookahead_close(&l);
}

/* ---- reduction ------------------------------------------------------------------ */

static ex_net *trained(const char *method, const char *strength, int32_t regime) {
  struct made_job made;
  json_t *history;
  made_job(&made, tiny_net(0.2, true, 3), data, ex__method_find(method));
  if (strength != NULL)
    assert_ok(
        ex__param_set(method, made.job.method->params, made.values, "strength", strength, &err),
        &err);
  made.options.regime = regime;
  assert_ok(ex__train(&made.job, &history, &err), &err);
  json_decref(history);
  return made.job.net;
}

static void constant_weights_are_joint_to_the_bit(void **state) {
  (void)state;
  static const int32_t regimes[] = {EX_REGIME_JOINT, EX_REGIME_FROZEN_TRUNK};
  for (int32_t r = 0; r < 2; r++) {
    ex_net *joint = trained("joint", NULL, regimes[r]), *off = trained("l2w", "0", regimes[r]);
    ex_net *on = trained("l2w", "0.8", regimes[r]);
    assert_true(same_net(joint, off));
    assert_false(same_net(joint, on));
    ex_net_free(joint);
    ex_net_free(off);
    ex_net_free(on);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_network_follows_the_budgeted_loss),
      cmocka_unit_test(weights_have_a_mean_of_one),
      cmocka_unit_test(unlabelled_samples_are_passed_over),
      cmocka_unit_test(constant_weights_are_joint_to_the_bit),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
