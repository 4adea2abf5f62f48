/* SPDX-License-Identifier: Apache-2.0
 *
 * BoostNet's loss, whose gradient is that of no single loss: against its closed
 * form, against differences with the ensemble frozen, and its reductions to the
 * methods that it extends, bit for bit.
 */
#include <math.h>

#include "base/random.h"
#include "net/builder.h"
#include "tests/train_job.h"

enum { N = 5, CLASSES = 3, POINTS = 3 };

static char folder[64];
static struct ex_error err;
static ex_data *data;

static int set_up(void **state) {
  (void)state;
  testing_folder(folder);
  data = made_data(folder);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  ex__data_free(data);
  testing_remove(folder);
  return 0;
}

/* ---- the loss -------------------------------------------------------------- */

static const int32_t target[N] = {0, 2, 1, 1, 0};

static double loss(ex_real raw[POINTS][N * CLASSES], double t,
                   ex_real gradient[POINTS][N * CLASSES], double *point_loss) {
  const struct ex_method *method = ex__method_find("boost");
  const struct ex_transform transform = {.kind = EX_TRANSFORM_ADDITIVE, .factor = t};
  ex_real scratch[N * (CLASSES + 2)], own[2 * N * CLASSES];
  const ex_real *output[POINTS] = {raw[0], raw[1], raw[2]};
  ex_real *doutput[POINTS] = {gradient[0], gradient[1], gradient[2]};
  memset(gradient, 0, sizeof(ex_real[POINTS][N * CLASSES]));
  const struct ex_loss_call call = {.n = N,
                                    .n_points = POINTS,
                                    .n_outputs = CLASSES,
                                    .output = output,
                                    .target = target,
                                    .scratch = scratch,
                                    .own = own,
                                    .transform = &transform,
                                    .doutput = doutput,
                                    .point_loss = point_loss};
  return method->loss(NULL, NULL, &call);
}

static void fill(ex_real raw[POINTS][N * CLASSES]) {
  struct ex_random random = ex__random_seed(3, 4);
  for (int32_t p = 0; p < POINTS; p++)
    for (int32_t i = 0; i < N * CLASSES; i++) raw[p][i] = 2 * ex__random_normal(&random);
}

/* dL/df_n = (softmax(F_n) − y) / N, with F made here. */
static void the_gradient_is_the_papers(void **state) {
  (void)state;
  ex_real raw[POINTS][N * CLASSES], gradient[POINTS][N * CLASSES], sum[N * CLASSES] = {0};
  double point_loss[POINTS], t = 0.5, total = 0;
  fill(raw);
  double value = loss(raw, t, gradient, point_loss);
  for (int32_t p = 0; p < POINTS; p++) {
    for (int32_t i = 0; i < N; i++) {
      ex_real *row = sum + i * CLASSES, all = 0;
      for (int32_t c = 0; c < CLASSES; c++) row[c] = raw[p][i * CLASSES + c] + t * row[c];
      for (int32_t c = 0; c < CLASSES; c++) all += exp(row[c]);
      for (int32_t c = 0; c < CLASSES; c++) {
        double expected = (exp(row[c]) / all - (c == target[i])) / N;
        assert_true(fabs(gradient[p][i * CLASSES + c] - expected) < 1e-14);
      }
      total -= log(exp(row[target[i]]) / all) / N;
    }
  }
  assert_true(fabs(total - value) < 1e-13);
  assert_true(fabs(point_loss[0] + point_loss[1] + point_loss[2] - value) < 1e-13);
}

/* Each exit's own loss alone, with the raw outputs before it held. */
static void differences_with_the_ensemble_frozen(void **state) {
  (void)state;
  const double step = 1e-5;
  ex_real raw[POINTS][N * CLASSES], gradient[POINTS][N * CLASSES], none[POINTS][N * CLASSES];
  double above[POINTS], below[POINTS];
  fill(raw);
  loss(raw, 0.7, gradient, above);
  for (int32_t p = 0; p < POINTS; p++)
    for (int32_t i = 0; i < N * CLASSES; i++) {
      double held = raw[p][i];
      raw[p][i] = held + step;
      loss(raw, 0.7, none, above);
      raw[p][i] = held - step;
      loss(raw, 0.7, none, below);
      raw[p][i] = held;
      double numeric = (above[p] - below[p]) / (2 * step);
      assert_true(fabs(numeric - gradient[p][i]) < 1e-9);
      for (int32_t earlier = 0; earlier < p; earlier++)
        assert_true(above[earlier] == below[earlier]); /* no exit sees a later one */
    }
}

/* What earlier exits have right with a margin gives a late head little. */
static void solved_samples_give_late_heads_little(void **state) {
  (void)state;
  ex_real raw[POINTS][N * CLASSES] = {{0}}, gradient[POINTS][N * CLASSES];
  double point_loss[POINTS], right = 0, wrong = 0;
  for (int32_t i = 0; i < N; i++)
    raw[0][i * CLASSES + (i == 0 ? (target[0] + 1) % CLASSES : target[i])] = 8;
  loss(raw, 0.5, gradient, point_loss);
  for (int32_t c = 0; c < CLASSES; c++) {
    wrong += fabs(gradient[1][c]);
    right += fabs(gradient[1][CLASSES + c]);
  }
  assert_true(wrong > 20 * right && right > 0);
}

/* ---- reductions ------------------------------------------------------------ */

static ex_net *one_exit(const struct ex_method *method, const void *values) {
  const struct ex_shape input = {3, {TINY_CHANNELS, TINY_SIZE, TINY_SIZE}};
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&input, TINY_CLASSES, &b, &err), &err);
  ex__builder_stage(b);
  tiny_head(b, tiny_block(b, ex__builder_input(b), 4, 1), -1);
  if (method->equip != NULL) method->equip(values, b);
  assert_ok(ex__builder_finish(b, 3, &net, &err), &err);
  return net;
}

static ex_net *trained(const char *name, const char *t, const char *rescale, bool one) {
  const struct ex_method *method = ex__method_find(name);
  struct made_job made;
  made_job(&made, NULL, data, method);
  if (t != NULL) assert_ok(ex__param_set(name, method->params, made.values, "t", t, &err), &err);
  if (rescale != NULL)
    assert_ok(ex__param_set(name, method->params, made.values, "rescale", rescale, &err), &err);
  made.job.net =
      one ? one_exit(method, made.values) : tiny_net_with(0.2, true, 3, method->equip, made.values);
  json_t *history;
  assert_ok(ex__train(&made.job, &history, &err), &err);
  json_decref(history);
  return made.job.net;
}

/* Weights; the exit transform is boost's own, be it one that changes nothing. */
static void compare(ex_net *a, ex_net *b, bool same) {
  assert_int_equal(same_slabs(a->params, b->params) && same_slabs(a->buffers, b->buffers), same);
  ex_net_free(a);
  ex_net_free(b);
}

static void reduces_to_what_it_extends(void **state) {
  (void)state;
  compare(trained("boost", "0", "false", false), trained("joint", NULL, NULL, false), true);
  compare(trained("boost", "0", NULL, false), trained("equilibrium", NULL, NULL, false), true);
  compare(trained("boost", NULL, NULL, true), trained("joint", NULL, NULL, true), true);
  compare(trained("boost", NULL, "false", false), trained("joint", NULL, NULL, false), false);
}

/* The network that comes out answers with sums, and pays for what it adds. */
static void answers_need_the_heads_before(void **state) {
  (void)state;
  ex_net *net = trained("boost", NULL, NULL, false);
  assert_int_equal(net->transform.kind, EX_TRANSFORM_ADDITIVE);
  for (int32_t p = 0; p < TINY_POINTS; p++)
    assert_int_equal(ex__net_closure(net, p), (1 << (p + 1)) - 1);
  assert_int_equal(ex__net_reads(net, 2), 4); /* the trunk is the last head alone */
  struct ex_cost cost;
  ex__net_cost(net, &cost);
  assert_int_equal(cost.direct_macs[2], cost.macs[2]);
  ex_net_free(net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_gradient_is_the_papers),
      cmocka_unit_test(differences_with_the_ensemble_frozen),
      cmocka_unit_test(solved_samples_give_late_heads_little),
      cmocka_unit_test(reduces_to_what_it_extends),
      cmocka_unit_test(answers_need_the_heads_before),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
