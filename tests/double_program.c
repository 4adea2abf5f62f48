/* SPDX-License-Identifier: Apache-2.0
 *
 * The gradient of a whole network, run segment by segment, against central
 * differences in double: of every parameter and of every input.
 */
#include <math.h>

#include "graph/loss.h"
#include "tests/small_network.h"

static const int32_t labels[SMALL_BATCH] = {1, 4, 0};
static const ex_real exit_weight[2][SMALL_BATCH] = {{0.3, 0.7, 0.2}, {1.0, 0.4, 0.9}};

/* Σ over both exits of the weighted cross-entropy. Statistics stay where they are. */
static double loss(struct small *net, bool with_gradient) {
  struct ex_pass pass = {.params = net->params, .grads = net->grads, .seed = 3};
  small_forward(net, &pass);
  double sum = 0;
  for (int e = 0; e < 2; e++) {
    ex_real *dlogits = with_gradient ? net->gradient[net->logits[e]] : NULL;
    sum += ex__loss_cross_entropy(net->value[net->logits[e]], SMALL_BATCH, SMALL_CLASSES, labels,
                                  exit_weight[e], NULL, dlogits);
  }
  if (with_gradient) small_backward(net, &pass, (const bool[2]){true, true});
  return sum;
}

/* Against differences in x[0..n); returns the sum of the sizes of its gradient. */
static double check(struct small *net, const char *name, ex_real *x, const ex_real *dx, int64_t n) {
  const double h = 1e-6;
  double size = 0;
  for (int64_t i = 0; i < n; i++) {
    ex_real at = x[i];
    x[i] = at + h;
    double above = loss(net, false);
    x[i] = at - h;
    double below = loss(net, false);
    x[i] = at;
    double numeric = (above - below) / (2 * h);
    if (fabs(numeric - dx[i]) > 1e-7 * (1 + fabs(numeric)))
      fail_msg("%s[%d]: %.10g by differences, %.10g by backward", name, (int)i, numeric, dx[i]);
    size += fabs(dx[i]);
  }
  return size;
}

static void every_parameter_and_input(void **state) {
  (void)state;
  struct small net;
  small_new(&net, EX_MODE_TRAIN, false);
  loss(&net, true);
  for (int32_t t = 0; t < ex__graph_n_tensors(net.graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net.graph, t);
    if (info->role == EX_ROLE_BUFFER) continue;
    const ex_real *dx = ex__slabs_tensor(net.grads, net.graph, t);
    double size = check(&net, info->name, ex__slabs_tensor(net.params, net.graph, t), dx,
                        ex__shape_count(&info->shape));
    /* A bias before a batch-norm is taken out again: the one gradient that is zero. */
    bool is_taken_out = strcmp(info->name, "stage1.conv.bias") == 0;
    if (is_taken_out ? size > 1e-9 : size < 1e-3) fail_msg("%s: |gradient| %g", info->name, size);
  }
  double size = check(&net, "input", net.value[net.input], net.gradient[net.input],
                      small_count(&net, net.input));
  assert_true(size > 1e-2);
  small_free(&net);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_parameter_and_input)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
