/* SPDX-License-Identifier: Apache-2.0
 *
 * Meta-GF: the fused parameters in closed form, and the gradient of the meta
 * loss by the fusion's numbers against differences, in double. The method's
 * file is included, since its state is its own.
 */
#include "method/method_metagf.c"

#include "tests/made_trainer.h"

static struct made_trainer made;
static const char *const by_tensor[] = {"inner", "2", "meta", "3", NULL};
static const char *const by_channel[] = {"inner",   "2",           "meta", "3", "granularity",
                                         "channel", "temperature", "1",    NULL};
static const char *const equally[] = {"inner", "2", "meta", "3", "fusion", "uniform", NULL};

static struct state *state_of(void) { return made.state; }

/* All exits have had their turn; the numbers of the fusion are drawn anew. */
static void open_at_meta(const char *const *settings, bool draw) {
  made_open(&made, "metagf", 9, settings);
  for (int32_t i = 0; i < 2 * TINY_POINTS; i++) made_step(&made);
  struct ex_random random = ex__random_seed(11, 12);
  double *eta = list_of(state_of(), ETA);
  for (int32_t i = 0; draw && i < TINY_POINTS * state_of()->n_groups; i++)
    eta[i] = ex__random_normal(&random);
}

static double meta_loss(void) {
  const struct metagf *m = (const struct metagf *)(const void *)made.values;
  visit_groups(m, made.state, &made.trainer, fuse);
  made_read(&made.trainer, EX_SOURCE_TRAIN, 5);
  made_forward(&made.trainer, made.work[0], false);
  return loss(m, made.state, &made.call);
}

static void check_hyper_gradient(const char *const *settings) {
  const double step = 1e-4;
  open_at_meta(settings, true);
  meta_loss();
  ex__slabs_zero(made.trainer.grads);
  made_backward(&made.trainer, made.work[0], -1, made.trainer.grads);
  visit_groups((const void *)made.values, made.state, &made.trainer, differentiate);
  double *eta = list_of(state_of(), ETA), *gradient = list_of(state_of(), GRADIENT);
  double difference = 0, size = 0;
  for (int32_t i = 0; i < TINY_POINTS * state_of()->n_groups; i++) {
    double held = eta[i];
    eta[i] = held + step;
    double above = meta_loss();
    eta[i] = held - step;
    double numeric = (above - meta_loss()) / (2 * step);
    eta[i] = held;
    difference += (numeric - gradient[i]) * (numeric - gradient[i]);
    size += numeric * numeric;
  }
  assert_true(size > 1e-12);
  if (!(sqrt(difference / size) < 1e-6)) fail_msg("relative error %g", sqrt(difference / size));
  made_close(&made);
}

static void hyper_gradient_is_exact(void **state) {
  (void)state;
  check_hyper_gradient(by_tensor);
  check_hyper_gradient(by_channel);
}

/* Σ_k W_k · (θ_k − θ^) = 0, so the gradients over their slopes, times W, cancel;
 * what one exit alone uses has none. */
static void check_cancelling(const struct metagf *m, struct state *state,
                             struct ex_trainer *trainer, const struct group *group) {
  (void)trainer;
  double weight[EX_MAX_POINTS], sum = 0, size = 0;
  weights_of(m, state, group, weight);
  for (int32_t k = 0; k < state->n_points; k++) {
    double g = list_of(state, GRADIENT)[(int64_t)k * state->n_groups + group->index];
    if (weight[k] == 0 || (group->points & (group->points - 1)) == 0) {
      assert_true(g == 0);
      continue;
    }
    sum += g / slope_of(m, weight[k]) * weight[k];
    size += fabs(g);
  }
  assert_true(fabs(sum) <= 1e-9 * (1 + size));
}

static void gradients_cancel(void **state) {
  (void)state;
  open_at_meta(by_tensor, true);
  meta_loss();
  ex__slabs_zero(made.trainer.grads);
  made_backward(&made.trainer, made.work[0], -1, made.trainer.grads);
  visit_groups((const void *)made.values, made.state, &made.trainer, differentiate);
  visit_groups((const void *)made.values, made.state, &made.trainer, check_cancelling);
  made_close(&made);
}

/* Largest difference between the fused parameters and θ0 + Σ share · d. */
static double distance_from(const double share[TINY_POINTS], uint32_t points_of_group) {
  const ex_graph *graph = made.net->graph;
  double largest = 0;
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *tensor = ex__graph_tensor(graph, t);
    if (tensor->role == EX_ROLE_BUFFER) continue;
    if (reached_of(state_of())[tensor->node] != points_of_group) continue;
    const ex_real *fused = ex__slabs_tensor(made.work[0], graph, t);
    const ex_real *from = ex__slabs_tensor(made.kept[0], graph, t);
    for (int64_t i = 0; i < ex__shape_count(&tensor->shape); i++) {
      double expected = (double)from[i];
      for (int32_t k = 0; k < TINY_POINTS; k++)
        expected += share[k] * (double)(ex__slabs_tensor(made.kept[k + 1], graph, t)[i] - from[i]);
      largest = fmax(largest, fabs(expected - (double)fused[i]));
    }
  }
  return largest;
}

static void fusion_has_its_limits(void **state) {
  (void)state;
  static const double mean[TINY_POINTS] = {1 / 3.0, 1 / 3.0, 1 / 3.0}, second[TINY_POINTS] = {0, 1};
  open_at_meta(by_tensor, false); /* equal numbers: the mean of the displacements */
  meta_loss();
  assert_true(distance_from(mean, 7) < 1e-12);
  for (int32_t g = 0; g < state_of()->n_groups; g++)
    for (int32_t k = 0; k < TINY_POINTS; k++)
      list_of(state_of(), ETA)[k * state_of()->n_groups + g] = k == 1 ? 0 : -40;
  meta_loss(); /* one exit outweighs the others: its parameters */
  assert_true(distance_from(second, 7) < 1e-12);
  struct ex_random random = ex__random_seed(1, 1);
  for (int32_t i = 0; i < TINY_POINTS * state_of()->n_groups; i++)
    list_of(state_of(), ETA)[i] = ex__random_normal(&random);
  ex__slabs_copy(made.kept[1], made.kept[2]);
  ex__slabs_copy(made.kept[3], made.kept[2]);
  meta_loss(); /* equal displacements: no weights matter */
  assert_true(distance_from(second, 7) < 1e-12);
  made_close(&made);
}

/* A whole cycle: it ends at the fused parameters, the numbers of the fusion have
 * moved by the moving average's share, and the next cycle starts from there. */
static void cycles_end_at_the_fused_parameters(void **state) {
  (void)state;
  made_open(&made, "metagf", 9, by_tensor);
  int32_t n = made.trainer.n_steps;
  assert_int_equal(n, 2 * TINY_POINTS + 3);
  for (int32_t i = 0; i < n - 1; i++) made_step(&made);
  assert_int_equal(made.n_updates, 2 * TINY_POINTS);
  double before = list_of(state_of(), ETA)[0];
  made_step(&made);
  double after = list_of(state_of(), ETA)[0];
  assert_true(before != 1 && after != 1 && fabs(after - 1) < fabs(before - 1));
  for (int32_t s = 0; s < made.net->params->n; s++)
    assert_memory_equal(made.net->params->data[s], made.work[0]->data[s],
                        (size_t)made.net->params->size[s] * sizeof(ex_real));
  ex_real first = made.net->params->data[0][0];
  made_step(&made);
  assert_true(made.kept[0]->data[0][0] == first);
  assert_int_equal(made.n_updates, 2 * TINY_POINTS + 1);
  made_close(&made);
}

static void uniform_fusion_never_learns(void **state) {
  (void)state;
  made_open(&made, "metagf", 9, equally);
  for (int32_t i = 0; i < 2 * made.trainer.n_steps; i++) made_step(&made);
  for (int32_t i = 0; i < TINY_POINTS * state_of()->n_groups; i++)
    assert_true(list_of(state_of(), ETA)[i] == 1);
  made_close(&made);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hyper_gradient_is_exact),
      cmocka_unit_test(gradients_cancel),
      cmocka_unit_test(fusion_has_its_limits),
      cmocka_unit_test(cycles_end_at_the_fused_parameters),
      cmocka_unit_test(uniform_fusion_never_learns),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
