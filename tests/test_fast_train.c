/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast training backend against the readable one, operator by operator:
 * outputs, gradients of inputs and of every parameter, and running statistics,
 * in both layouts, for several batch sizes and thread counts.
 */
#include "tests/train_harness.h"

static void convolutions_agree(void **state) {
  (void)state;
  static const struct {
    int32_t in, out, height, width, kernel_h, kernel_w, stride, pad_h, pad_w, dilation, bias;
  } cases[] = {
      {16, 16, 9, 11, 3, 3, 1, 1, 1, 1, 0}, {16, 32, 8, 8, 3, 3, 2, 1, 1, 1, 1},
      {8, 4, 7, 7, 3, 3, 1, 1, 1, 1, 1},    {5, 7, 9, 8, 3, 3, 2, 1, 1, 1, 0},
      {12, 20, 6, 5, 1, 1, 1, 0, 0, 1, 1},  {32, 16, 7, 7, 1, 1, 2, 0, 0, 1, 0},
      {3, 6, 12, 12, 5, 5, 1, 2, 2, 1, 1},  {6, 16, 14, 14, 5, 5, 1, 0, 0, 1, 1},
      {4, 4, 10, 10, 3, 3, 1, 2, 2, 2, 0},  {4, 4, 10, 9, 3, 3, 3, 1, 0, 1, 0},
      {16, 48, 6, 6, 2, 2, 2, 0, 0, 1, 0},  {16, 16, 6, 6, 1, 3, 1, 0, 1, 1, 0},
      {2, 3, 9, 9, 7, 7, 2, 3, 3, 1, 0},    {3, 3, 5, 5, 1, 1, 1, 1, 1, 1, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct net net = net_behind(cases[i].in, cases[i].height, cases[i].width);
    struct ex_conv2d attr = {cases[i].out,   cases[i].kernel_h, cases[i].kernel_w, cases[i].stride,
                             cases[i].pad_h, cases[i].pad_w,    cases[i].dilation, 1,
                             cases[i].bias};
    then(&net, "conv2d", &attr);
    check(net);
  }
}

static void grouped_convolutions_agree(void **state) {
  (void)state;
  struct net net = net_behind(16, 6, 6);
  struct ex_conv2d attr = {32, 3, 3, 1, 1, 1, 1, 4, 1};
  then(&net, "conv2d", &attr);
  check(net);
}

static void first_layers_agree(void **state) {
  (void)state;
  for (int32_t channels = 1; channels <= 4; channels++) {
    struct net net = net_new(channels, 10, 9);
    ex__graph_segment(net.graph, SEGMENT, 0);
    conv_of(&net, net.x, 16, 3, 1, 1);
    check(net);
  }
}

static void norms_agree(void **state) {
  (void)state;
  static const int32_t channels[] = {3, 4, 6, 8, 16, 20, 32, 48};
  for (size_t i = 0; i < sizeof channels / sizeof *channels; i++)
    for (int relu = 0; relu < 2; relu++) {
      struct net net = net_behind(channels[i], 7, 5);
      norm_of(&net, net.x);
      if (relu) then(&net, "relu", NULL);
      check(net);
    }
}

static void simple_operators_agree(void **state) {
  (void)state;
  static const char *const names[] = {"relu",    "gelu",    "sigmoid", "global_avg_pool",
                                      "reshape", "dropout", "softmax"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    for (int32_t channels = 5; channels <= 16; channels += 11) {
      struct net net = net_behind(channels, 4, 6);
      struct ex_reshape flat = {{0}};
      struct ex_dropout dropout = {0.4};
      const void *attr = NULL;
      if (i >= 6) then(&net, "global_avg_pool", NULL);
      if (i == 4) attr = &flat;
      if (i == 5) attr = &dropout;
      then(&net, names[i], attr);
      check(net);
    }
}

static void pools_agree(void **state) {
  (void)state;
  static const struct ex_pool cases[] = {
      {2, 2, 0, 0, 1}, {3, 2, 1, 0, 1}, {3, 2, 1, 0, 0}, {3, 2, 0, 1, 0}, {3, 1, 1, 0, 0}};
  static const int32_t channels[] = {3, 5, 10, 16, 20};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (size_t k = 0; k < sizeof channels / sizeof *channels; k++)
      for (int max = 0; max < 2; max++) {
        struct net net = net_behind(channels[k], 8, 7);
        if (k % 2 == 1) then(&net, "relu", NULL); /* ties */
        then(&net, max ? "max_pool" : "avg_pool", &cases[i]);
        check(net);
      }
}

static void linear_layers_agree(void **state) {
  (void)state;
  struct net net = net_behind(16, 3, 3);
  int32_t pooled = then(&net, "global_avg_pool", NULL);
  struct ex_linear attr = {10, 1}, wide = {33, 0};
  int32_t a = then(&net, "linear", &attr);
  ex__graph_keep(net.graph, a);
  add_of(&net, "linear", &wide, &pooled, 1); /* its gradient is added */
  check(net);
}

static void sums_and_products_agree(void **state) {
  (void)state;
  for (int32_t channels = 6; channels <= 16; channels += 10)
    for (int which = 0; which < 4; which++) {
      struct net net = net_behind(channels, 5, 4);
      int32_t x = net.x, y = then(&net, "sigmoid", NULL);
      add_of(&net, which == 1 ? "mul" : "add", NULL, (int32_t[]){x, which == 2 ? x : y}, 2);
      if (which == 3) then(&net, "relu", NULL);
      check(net);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(convolutions_agree),     cmocka_unit_test(grouped_convolutions_agree),
      cmocka_unit_test(first_layers_agree),     cmocka_unit_test(norms_agree),
      cmocka_unit_test(simple_operators_agree), cmocka_unit_test(pools_agree),
      cmocka_unit_test(linear_layers_agree),    cmocka_unit_test(sums_and_products_agree),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
