/* SPDX-License-Identifier: Apache-2.0
 *
 * Merged and own steps of a method, in double precision, against the plain step
 * that they must become: methods made here, run through whole trainings.
 */
#include <math.h>

#include "method/trainer.h"
#include "tests/train_job.h"

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

static void train(struct made_job *made) {
  json_t *history;
  assert_ok(ex__train(&made->job, &history, &err), &err);
  json_decref(history);
}

static ex_net *trained(const struct ex_method *method) {
  struct made_job made;
  made_job(&made, tiny_net(0.2, true, 3), data, method);
  train(&made);
  return made.job.net;
}

static double difference(const ex_net *a, const ex_net *b) {
  double most = 0;
  for (int32_t i = 0; i < a->params->n; i++)
    for (int64_t k = 0; k < a->params->size[i]; k++)
      most = fmax(most, fabs(a->params->data[i][k] - b->params->data[i][k]));
  return most;
}

/* ---- merging --------------------------------------------------------------- */

static void merge_sum(const void *values, void *state, const struct ex_merge_call *call) {
  (void)values, (void)state;
  assert_int_equal(call->n, TINY_POINTS);
  for (int32_t i = 0; i < call->n; i++) {
    assert_true(call->product[i * call->n + i] > 0);
    for (int32_t j = 0; j < i; j++) {
      double ij = call->product[i * call->n + j], ii = call->product[i * call->n + i];
      assert_true(ij == call->product[j * call->n + i]);
      assert_true(ij * ij <= ii * call->product[j * call->n + j] * (1 + 1e-12));
    }
    call->weight[i] = 1;
  }
}

static void weights_of_one_are_the_joint_step(void **state) {
  (void)state;
  struct ex_method method = *ex__method_find("joint");
  ex_net *joint = trained(&method);
  method.merge = merge_sum;
  ex_net *merged = trained(&method);
  double apart = difference(joint, merged);
  if (!(apart < 1e-12)) fail_msg("27 steps end %g apart", apart);
  ex_net_free(joint);
  ex_net_free(merged);
}

static void merge_none(const void *values, void *state, const struct ex_merge_call *call) {
  (void)values, (void)state;
  for (int32_t i = 0; i < call->n; i++) call->weight[i] = 0;
}

/* What one exit reaches alone keeps its own gradient: with weights of nothing
 * bodies that several reach stand still, and heads and the last body move.
 * (Head 1 reads head 0, so head 0 is shared.) */
static void what_one_exit_reaches_alone_is_not_merged(void **state) {
  (void)state;
  struct ex_method method = *ex__method_find("joint");
  method.merge = merge_none;
  struct made_job made;
  made_job(&made, tiny_net(0.2, true, 3), data, &method);
  made.options.momentum = made.options.weight_decay = 0;
  train(&made);
  ex_net *before = tiny_net(0.2, true, 3), *after = made.job.net;
  const ex_graph *graph = before->graph;
  static const char *const still[] = {"stage0.", "stage1.", "head0."};
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
    if (info->role == EX_ROLE_BUFFER) continue;
    bool moves = true;
    for (int32_t i = 0; i < 3; i++) moves &= strncmp(info->name, still[i], strlen(still[i])) != 0;
    const ex_real *a = ex__slabs_tensor(before->params, graph, t);
    const ex_real *b = ex__slabs_tensor(after->params, graph, t);
    bool moved = memcmp(a, b, (size_t)ex__shape_count(&info->shape) * sizeof *a) != 0;
    if (moved != moves) fail_msg("%s %s", info->name, moved ? "moved" : "stayed");
  }
  ex_net_free(before);
  ex_net_free(after);
}

/* ---- own steps ------------------------------------------------------------- */

static struct ex_update update_what;

static void own_step(const void *values, void *state, struct ex_trainer *trainer) {
  trainer->read(trainer, EX_SOURCE_TRAIN, trainer->at);
  trainer->forward(trainer, trainer->net->params, true);
  trainer->note(trainer, ex__method_loss(ex__method_find("joint"), values, state, trainer->call));
  ex__slabs_zero(trainer->grads);
  trainer->backward(trainer, trainer->net->params, -1, trainer->grads);
  trainer->update(trainer, trainer->grads, update_what);
}

static void an_own_step_can_be_the_plain_one(void **state) {
  (void)state;
  struct ex_method method = *ex__method_find("joint");
  ex_net *joint = trained(&method);
  method.step = own_step;
  update_what = ex_update_everything;
  ex_net *own = trained(&method);
  assert_true(same_net(joint, own));
  ex_net_free(joint);
  ex_net_free(own);
}

/* Moments and decay are on: what is not named is not even decayed. */
static void an_update_of_parts_leaves_the_rest(void **state) {
  (void)state;
  static const struct {
    struct ex_update what;
    const char *moves[3];
  } cases[] = {{{false, UINT32_C(1) << 1, 0}, {"head1.", "-", "-"}},
               {{true, 0, 0}, {"stage0.", "stage1.", "stage2."}},
               {{false, 5, UINT32_MAX}, {"head0.", "head2.", "-"}}};
  struct ex_method method = *ex__method_find("joint");
  method.step = own_step;
  ex_net *before = tiny_net(0.2, true, 3);
  const ex_graph *graph = before->graph;
  for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
    update_what = cases[c].what;
    ex_net *after = trained(&method);
    for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
      const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
      if (info->role == EX_ROLE_BUFFER) continue;
      bool moves = false;
      for (int32_t i = 0; i < 3; i++)
        moves |= strncmp(info->name, cases[c].moves[i], strlen(cases[c].moves[i])) == 0;
      const ex_real *a = ex__slabs_tensor(before->params, graph, t);
      const ex_real *b = ex__slabs_tensor(after->params, graph, t);
      bool moved = memcmp(a, b, (size_t)ex__shape_count(&info->shape) * sizeof *a) != 0;
      if (moved != moves) fail_msg("case %zu: %s %s", c, info->name, moved ? "moved" : "stayed");
    }
    ex_net_free(after);
  }
  ex_net_free(before);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(weights_of_one_are_the_joint_step),
      cmocka_unit_test(what_one_exit_reaches_alone_is_not_merged),
      cmocka_unit_test(an_own_step_can_be_the_plain_one),
      cmocka_unit_test(an_update_of_parts_leaves_the_rest),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
