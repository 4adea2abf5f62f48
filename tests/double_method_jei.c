/* SPDX-License-Identifier: Apache-2.0
 *
 * JEI-DNN: the law of leaving, the targets of the gates in their limits, the
 * gradients of heads and gates against differences with what is held constant,
 * and that either turn leaves the other's parameters alone. The method's file is
 * included, since its parts are its own.
 */
#include "method/method_jei.c"

#include "tests/made_trainer.h"

static struct made_trainer made;
static const char *const quick[] = {"turn", "1", "warmup", "0", NULL};

static const struct jei *values_of(void) { return (const void *)made.values; }

static void look(int64_t index) {
  made_read(&made.trainer, EX_SOURCE_TRAIN, index);
  made_forward(&made.trainer, made.net->params, false);
}

static void probabilities_sum_to_one(void **state) {
  (void)state;
  made_open(&made, "jei", 4, quick);
  const struct batch batch = batch_of(&made.trainer);
  struct ex_random random = ex__random_seed(1, 2);
  ex_real gates[TINY_POINTS][MADE_BATCH];
  const ex_real *gate[TINY_POINTS] = {gates[0], gates[1], NULL};
  made.call.gate = gate;
  for (int32_t round = 0; round < 200; round++) {
    double scale = round % 10;
    for (int32_t p = 0; p < TINY_POINTS - 1; p++)
      for (int32_t i = 0; i < MADE_BATCH; i++) gates[p][i] = scale * ex__random_normal(&random);
    leave_probabilities(&made.call, &batch);
    for (int32_t i = 0; i < MADE_BATCH; i++) {
      double sum = 0, plain = 0;
      for (int32_t p = 0; p < TINY_POINTS; p++) {
        double leaves = batch.leave[p * MADE_BATCH + i];
        assert_true(leaves >= 0);
        if (p < TINY_POINTS - 1) { /* with the gates before, not clipped: the same (eq. 8) */
          double g = 1 / (1 + exp(-gates[p][i]));
          assert_true(fabs(leaves - fmax(0, fmin(g, 1 - plain))) < 1e-12);
          plain += g;
        }
        sum += leaves;
      }
      assert_true(fabs(sum - 1) < 1e-12);
    }
  }
  for (int32_t i = 0; i < MADE_BATCH; i++) gates[0][i] = gates[1][i] = -800;
  leave_probabilities(&made.call, &batch);
  assert_true(batch.leave[2 * MADE_BATCH] == 1); /* closed gates: the last exit */
  for (int32_t i = 0; i < MADE_BATCH; i++) gates[0][i] = 800;
  leave_probabilities(&made.call, &batch);
  assert_true(batch.leave[0] == 1 && batch.leave[MADE_BATCH] == 0);
  made_close(&made);
}

static void price_decides_where_to_leave(void **state) {
  (void)state;
  made_open(&made, "jei", 4, quick);
  const struct batch batch = batch_of(&made.trainer);
  struct jei jei = *values_of();
  int32_t before[MADE_BATCH];
  look(3);
  jei.price = 0;
  judge_answers(&jei, &made.call, &batch);
  for (int32_t i = 0; i < MADE_BATCH; i++) {
    before[i] = best_exit(&jei, &made.call, &batch, i);
    for (int32_t p = 0; p < TINY_POINTS; p++)
      assert_true(batch.cost[before[i] * MADE_BATCH + i] <= batch.cost[p * MADE_BATCH + i]);
  }
  for (double price = 1e-3; price < 2e6; price *= 3) {
    jei.price = price;
    for (int32_t i = 0; i < MADE_BATCH; i++) {
      int32_t best = best_exit(&jei, &made.call, &batch, i);
      assert_true(best <= before[i]);
      before[i] = best;
    }
  }
  for (int32_t i = 0; i < MADE_BATCH; i++) assert_int_equal(before[i], 0);
  made_close(&made);
}

/* Largest difference between the seed at a head and the numeric derivative of
 * Σ w · CE with the weights that head_loss made. */
static void heads_learn_where_samples_leave(void **state) {
  (void)state;
  made_open(&made, "jei", 4, quick);
  const struct batch batch = batch_of(&made.trainer);
  look(2);
  head_loss(&made.call, &batch);
  for (int32_t p = 0; p < TINY_POINTS - 1; p++)
    for (int32_t i = 0; i < MADE_BATCH; i++) {
      double plain = 0, weighted = 0, probability[TINY_CLASSES];
      for (int32_t q = 0; q < TINY_POINTS - 1; q++) {
        plain += batch.cost[q * MADE_BATCH + i];
        weighted += batch.leave[q * MADE_BATCH + i] * batch.cost[q * MADE_BATCH + i];
      }
      double weight =
          plain / weighted * batch.leave[p * MADE_BATCH + i] / (MADE_BATCH * (TINY_POINTS - 1));
      ex__softmax(made.call.output[p] + i * TINY_CLASSES, 1, TINY_CLASSES, 1, probability);
      for (int32_t c = 0; c < TINY_CLASSES; c++) {
        double expected = weight * (probability[c] - (c == made.target[i]));
        assert_true(fabs(made.call.doutput[p][i * TINY_CLASSES + c] - expected) < 1e-12);
      }
    }
  made_close(&made);
}

static double loss_of_gates(void) {
  const struct batch batch = batch_of(&made.trainer);
  look(2);
  return gate_loss(values_of(), made.state, &made.call, &batch);
}

/* Of the gates' parameters; and none reaches a head or a body. */
static void gates_have_the_gradient_of_their_loss(void **state) {
  (void)state;
  const double step = 1e-6;
  made_open(&made, "jei", 4, quick);
  struct state *own = made.state;
  own->gate_weight[0] = 3;
  loss_of_gates();
  ex__slabs_zero(made.trainer.grads);
  made_backward(&made.trainer, made.net->params, -1, made.trainer.grads);
  const ex_graph *graph = made.net->graph;
  int32_t checked = 0;
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
    if (info->role == EX_ROLE_BUFFER) continue;
    ex_real *w = ex__slabs_tensor(made.net->params, graph, t);
    const ex_real *g = ex__slabs_tensor(made.trainer.grads, graph, t);
    bool gate = strncmp(info->name, "gate", 4) == 0;
    for (int64_t i = 0; i < ex__shape_count(&info->shape); i++) {
      if (!gate) {
        assert_true(g[i] == 0);
        continue;
      }
      double held = w[i];
      w[i] = held + step;
      double above = loss_of_gates();
      w[i] = held - step;
      double numeric = (above - loss_of_gates()) / (2 * step);
      w[i] = held;
      assert_true(fabs(numeric - g[i]) < 1e-8 * (1 + fabs(numeric)));
      checked++;
    }
  }
  assert_int_equal(checked, 2 * (4 + 1));
  made_close(&made);
}

/* Whether any parameter whose name begins so differs from the copy. */
static bool moved(const ex_slabs *before, const char *prefix) {
  const ex_graph *graph = made.net->graph;
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
    if (info->role == EX_ROLE_BUFFER || strncmp(info->name, prefix, strlen(prefix)) != 0) continue;
    if (memcmp(ex__slabs_tensor(before, graph, t), ex__slabs_tensor(made.net->params, graph, t),
               (size_t)ex__shape_count(&info->shape) * sizeof(ex_real)) != 0)
      return true;
  }
  return false;
}

static void turns_leave_the_others_alone(void **state) {
  (void)state;
  made_open(&made, "jei", 4, quick); /* turns of one batch, no warm-up */
  made.trainer.epoch = 1;
  ex_slabs *before;
  assert_int_equal(ex__slabs_new(made.net->graph, EX_SLABS_PARAMS, &before), EX_OK);
  ex__slabs_copy(before, made.net->params);
  made_step(&made);
  assert_true(moved(before, "gate") && !moved(before, "head") && !moved(before, "stage"));
  ex__slabs_copy(before, made.net->params);
  made_step(&made);
  assert_true(!moved(before, "gate") && moved(before, "head0") && moved(before, "head1"));
  ex__slabs_free(before);
  made_close(&made);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(probabilities_sum_to_one),
      cmocka_unit_test(price_decides_where_to_leave),
      cmocka_unit_test(heads_learn_where_samples_leave),
      cmocka_unit_test(gates_have_the_gradient_of_their_loss),
      cmocka_unit_test(turns_leave_the_others_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
