/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast training backend against the readable one on segments as networks
 * have them (residual, growing, plain), and what else it promises: a seed that
 * is missing is zero, the same run gives the same bits, what is frozen stays,
 * thread counts agree.
 */
#include "tests/train_harness.h"

static int32_t residual_block(struct net *net, int32_t x, int32_t channels, int32_t stride) {
  int32_t y =
      norm_of(net, conv_of(net, conv_norm_relu(net, x, channels, 3, stride), channels, 3, 1, 0));
  int32_t shortcut = x;
  if (stride != 1) shortcut = norm_of(net, conv_of(net, x, channels, 1, stride, 0));
  add_of(net, "add", NULL, (int32_t[]){y, shortcut}, 2);
  return then(net, "relu", NULL);
}

static struct net residual_net(int32_t channels) {
  struct net net = net_behind(channels, 8, 8);
  int32_t x = residual_block(&net, net.x, channels, 1);
  x = residual_block(&net, x, channels, 1);
  ex__graph_keep(net.graph, x); /* another segment's input, read here too */
  x = residual_block(&net, x, 2 * channels, 2);
  then(&net, "global_avg_pool", NULL);
  then(&net, "linear", &(struct ex_linear){10, 1});
  return net;
}

static void residual_segments_agree(void **state) {
  (void)state;
  check(residual_net(16));
  check(residual_net(12));
}

/* Two scales that grow by concatenation, as MSDNet's. */
static struct net growing_net(void) {
  struct net net = net_behind(8, 8, 8);
  int32_t fine = net.x, coarse = conv_norm_relu(&net, fine, 16, 3, 2);
  for (int layer = 0; layer < 3; layer++) {
    int32_t a = conv_norm_relu(&net, conv_norm_relu(&net, fine, 16, 1, 1), 4, 3, 1);
    int32_t d = conv_norm_relu(&net, conv_norm_relu(&net, fine, 8, 1, 1), 4, 3, 2);
    int32_t b = conv_norm_relu(&net, conv_norm_relu(&net, coarse, 16, 1, 1), 4, 3, 1);
    fine = add_of(&net, "concat", NULL, (int32_t[]){fine, a}, 2);
    coarse = add_of(&net, "concat", NULL, (int32_t[]){coarse, d, b}, 3);
    if (layer == 1) { /* an early head, reads a part of what grows on */
      conv_norm_relu(&net, coarse, 16, 3, 2);
      then(&net, "avg_pool", &(struct ex_pool){2, 2, 0, 0, 1});
      then(&net, "reshape", &(struct ex_reshape){{0}});
      ex__graph_keep(net.graph, then(&net, "linear", &(struct ex_linear){10, 1}));
    }
  }
  ex__graph_keep(net.graph, fine);
  net.x = coarse;
  return net;
}

static void growing_segments_agree(void **state) {
  (void)state;
  check(growing_net());
}

static void large_batches_agree(void **state) {
  (void)state;
  for (int which = 0; which < 2; which++)
    for (int32_t layout = EX_LAYOUT_NHWC; layout <= EX_LAYOUT_BLOCKED; layout++) {
      struct net net = which ? growing_net() : residual_net(16);
      ex__graph_keep(net.graph, net.x);
      check_one(&net, (struct options){.batch = 64,
                                       .threads = 2,
                                       .segment = SEGMENT,
                                       .layout = (enum ex_layout)layout,
                                       .skip = -1});
      ex__graph_free(net.graph);
    }
}

/* B-LeNet's kind: convolution, pooling, ReLU, flattened into linear layers. */
static void plain_segments_agree(void **state) {
  (void)state;
  struct net net = net_new(1, 14, 14);
  ex__graph_segment(net.graph, SEGMENT, 0);
  conv_of(&net, net.x, 6, 5, 1, 1);
  then(&net, "max_pool", &(struct ex_pool){2, 2, 0, 0, 1});
  then(&net, "relu", NULL);
  conv_of(&net, net.x, 16, 5, 1, 1);
  then(&net, "relu", NULL);
  then(&net, "max_pool", &(struct ex_pool){2, 2, 0, 0, 1});
  then(&net, "reshape", &(struct ex_reshape){{0}});
  then(&net, "linear", &(struct ex_linear){20, 1});
  then(&net, "relu", NULL);
  then(&net, "linear", &(struct ex_linear){10, 1});
  check(net);
}

/* ---- what else is promised -------------------------------------------------------------- */

static void a_missing_seed_is_zero(void **state) {
  (void)state;
  for (int which = 0; which < 2; which++) {
    struct net net = which ? growing_net() : residual_net(16);
    ex__graph_keep(net.graph, net.x);
    for (int32_t skip = 0; skip < (which ? 3 : 2); skip++)
      for (int32_t layout = EX_LAYOUT_NHWC; layout <= EX_LAYOUT_BLOCKED; layout++)
        check_one(&net, (struct options){.batch = 3,
                                         .threads = 2,
                                         .segment = SEGMENT,
                                         .layout = (enum ex_layout)layout,
                                         .skip = skip});
    ex__graph_free(net.graph);
  }
}

static void the_same_run_gives_the_same_bits(void **state) {
  (void)state;
  for (int32_t layout = EX_LAYOUT_NHWC; layout <= EX_LAYOUT_BLOCKED; layout++) {
    struct net net = residual_net(16);
    ex__graph_keep(net.graph, net.x);
    ex_slabs *params = params_new(&net);
    struct side a = {0}, b = {0};
    struct options o = {.batch = 16,
                        .threads = 2,
                        .segment = SEGMENT,
                        .skip = -1,
                        .layout = (enum ex_layout)layout};
    side_run(&a, &net, params, &o);
    side_run(&b, &net, params, &o);
    for (int32_t s = 0; s < a.grads->n; s++)
      assert_memory_equal(a.grads->data[s], b.grads->data[s],
                          (size_t)a.grads->size[s] * sizeof(ex_real));
    side_free(&a);
    side_free(&b);
    ex__slabs_free(params);
    ex__graph_free(net.graph);
  }
}

/* grads NULL and buffers NULL: nothing moves, and the input's gradient is the same. */
static void what_is_frozen_is_untouched(void **state) {
  (void)state;
  struct net net = residual_net(16);
  ex__graph_keep(net.graph, net.x);
  ex_slabs *params = params_new(&net);
  struct side a = {0};
  struct options o = {
      .batch = 4, .threads = 2, .segment = SEGMENT, .skip = -1, .layout = EX_LAYOUT_NHWC};
  side_run(&a, &net, params, &o);
  size_t bytes = (size_t)ex__program_in_size(a.program, 0) * sizeof(ex_real);
  ex_real *before = ex__alloc(bytes, 1);
  memcpy(before, a.din[0], bytes);
  memset(a.din[0], 0xff, bytes);
  struct ex_pass pass = {params, NULL, NULL, 5};
  const ex_real *in[] = {a.in[0]}, *dout[] = {a.dout[0], a.dout[1]};
  ex__run_forward(a.run, &pass, in, a.out);
  ex__run_backward(a.run, &pass, in, a.out, dout, a.din, NULL);
  assert_memory_equal(before, a.din[0], bytes);
  ex__free(before);
  side_free(&a);
  ex__slabs_free(params);
  ex__graph_free(net.graph);
}

/* Frozen in training mode: as inference, in the ports of the trained segments. */
static void frozen_segments_agree(void **state) {
  (void)state;
  struct ex_error err = {0};
  struct net net = residual_net(16);
  ex__graph_keep(net.graph, net.x);
  ex_slabs *params = params_new(&net), *buffers;
  assert_ok(ex__slabs_new(net.graph, EX_SLABS_BUFFERS, &buffers), &err);
  for (int32_t s = 0; s < buffers->n; s++) /* statistics away from 0 and 1 */
    for (int64_t i = 0; i < buffers->size[s]; i++)
      buffers->data[s][i] = (ex_real)(0.5 + 0.01 * (double)(i % 50));
  for (int32_t layout = EX_LAYOUT_NHWC; layout <= EX_LAYOUT_BLOCKED; layout++) {
    ex_real *plain[2];
    for (int twin = 0; twin < 2; twin++) {
      struct ex_program_options options = {.batch = 4,
                                           .mode = EX_MODE_TRAIN,
                                           .layout = (enum ex_layout)layout,
                                           .threads = 2,
                                           .backend = twin ? EX_BACKEND_TWIN : EX_BACKEND_FAST,
                                           .frozen = true};
      ex_program *p;
      ex_run *run;
      assert_ok(ex__program_new(net.graph, SEGMENT, params, buffers, &options, &p, &err), &err);
      assert_ok(ex__run_new(p, NULL, &run, &err), &err);
      assert_int_equal(ex__program_n_out(p), 2);
      ex_real *in = random_port(p, ex__program_in_value(p, 0), ex__program_in_size(p, 0), 4, 0);
      ex_real *out[2];
      for (int32_t i = 0; i < 2; i++)
        out[i] = ex__calloc((size_t)ex__program_out_size(p, i), sizeof(ex_real));
      struct ex_pass pass = {.params = params};
      ex__run_forward(run, &pass, (const ex_real *const[]){in}, out);
      plain[twin] = ex__alloc((size_t)ex__program_out_size(p, 0), sizeof(ex_real));
      ex__port_to_plain(p, ex__program_out_value(p, 0), 4, out[0], plain[twin]);
      if (twin) assert_close(plain[0], plain[1], ex__program_out_size(p, 0), 1e-5, "frozen output");
      ex__free(in);
      ex__free(out[0]);
      ex__free(out[1]);
      ex__run_free(run);
      ex__program_free(p);
    }
    ex__free(plain[0]);
    ex__free(plain[1]);
  }
  ex__slabs_free(params);
  ex__slabs_free(buffers);
  ex__graph_free(net.graph);
}

/* Twenty steps of plain gradient descent with one and with two threads. */
static void thread_counts_agree(void **state) {
  (void)state;
  for (int32_t layout = EX_LAYOUT_NHWC; layout <= EX_LAYOUT_BLOCKED; layout++) {
    struct net net = residual_net(16);
    ex__graph_keep(net.graph, net.x);
    ex_slabs *params[2];
    for (int32_t threads = 1; threads <= 2; threads++) {
      ex_slabs *p = params[threads - 1] = params_new(&net);
      for (int step = 0; step < 20; step++) {
        struct side side = {0};
        struct options o = {.batch = 8,
                            .threads = threads,
                            .segment = SEGMENT,
                            .skip = -1,
                            .layout = (enum ex_layout)layout};
        side_run(&side, &net, p, &o);
        for (int32_t s = 0; s < p->n; s++)
          for (int64_t i = 0; i < p->size[s]; i++)
            p->data[s][i] -= (ex_real)1e-4 * (side.grads->data[s][i] - 1);
        side_free(&side);
      }
    }
    for (int32_t s = 0; s < params[0]->n; s++)
      assert_close(params[1]->data[s], params[0]->data[s], params[0]->size[s], 1e-4, "parameters");
    ex__slabs_free(params[0]);
    ex__slabs_free(params[1]);
    ex__graph_free(net.graph);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(residual_segments_agree),
      cmocka_unit_test(growing_segments_agree),
      cmocka_unit_test(large_batches_agree),
      cmocka_unit_test(plain_segments_agree),
      cmocka_unit_test(a_missing_seed_is_zero),
      cmocka_unit_test(the_same_run_gives_the_same_bits),
      cmocka_unit_test(what_is_frozen_is_untouched),
      cmocka_unit_test(frozen_segments_agree),
      cmocka_unit_test(thread_counts_agree),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
