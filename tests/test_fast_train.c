/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast training backend against the readable one: outputs, gradients of
 * inputs and of every parameter, and running statistics, in both layouts, for
 * several batch sizes and thread counts.
 */
#include <math.h>

#include "base/memory.h"
#include "base/text.h"
#include "graph/op.h"
#include "graph/program.h"
#include "tests/testing.h"

enum { SEGMENT = 1, MAX_PORTS = 8 };

/* A graph whose segment 1 is looked at; segment 0 holds what feeds it. */
struct net {
  ex_graph *graph;
  int32_t x; /* the value added last */
};

static int32_t add_of(struct net *net, const char *op, const void *attr, const int32_t *in,
                      int32_t n_in) {
  struct ex_error err = {0};
  assert_ok(ex__graph_add(net->graph, op, NULL, attr, in, n_in, &net->x, &err), &err);
  return net->x;
}

static int32_t then(struct net *net, const char *op, const void *attr) {
  return add_of(net, op, attr, (int32_t[]){net->x}, 1);
}

static int32_t conv_of(struct net *net, int32_t from, int32_t channels, int32_t kernel,
                       int32_t stride, int32_t bias) {
  struct ex_conv2d attr = {channels, kernel, kernel, stride, kernel / 2, kernel / 2, 1, 1, bias};
  return add_of(net, "conv2d", &attr, &from, 1);
}

static int32_t norm_of(struct net *net, int32_t from) {
  struct ex_batch_norm attr = {1e-5, 0.1};
  return add_of(net, "batch_norm", &attr, &from, 1);
}

static int32_t conv_norm_relu(struct net *net, int32_t from, int32_t channels, int32_t kernel,
                              int32_t stride) {
  norm_of(net, conv_of(net, from, channels, kernel, stride, 0));
  return then(net, "relu", NULL);
}

static struct net net_new(int32_t channels, int32_t height, int32_t width) {
  struct net net = {0};
  struct ex_error err = {0};
  struct ex_shape shape = {3, {channels, height, width}};
  assert_ok(ex__graph_new(&net.graph), &err);
  ex__graph_segment(net.graph, 0, 0);
  assert_ok(ex__graph_add_input(net.graph, &shape, &net.x, &err), &err);
  return net;
}

/* Segment 0 makes an image of `channels`, which is segment 1's in port. */
static struct net net_behind(int32_t channels, int32_t height, int32_t width) {
  struct net net = net_new(3, height, width);
  conv_of(&net, net.x, channels, 3, 1, 1);
  ex__graph_segment(net.graph, SEGMENT, 0);
  return net;
}

/* ---- one program and what it works on ------------------------------------------- */

struct side {
  ex_program *program;
  ex_run *run;
  ex_slabs *buffers, *grads;
  ex_real *in[MAX_PORTS], *out[MAX_PORTS], *dout[MAX_PORTS], *din[MAX_PORTS];
};

struct options {
  int32_t batch, threads, segment;
  enum ex_layout layout;
  enum ex_backend backend;
  int32_t skip; /* out port whose gradient is not given; −1: none */
  bool add;     /* din_add */
};

static ex_real *random_array(int64_t n, uint64_t stream) {
  ex_real *array = ex__alloc((size_t)n, sizeof *array);
  assert_non_null(array);
  struct ex_random random = ex__random_seed(7, stream);
  for (int64_t i = 0; i < n; i++) array[i] = (ex_real)ex__random_normal(&random);
  return array;
}

static ex_real *random_port(const ex_program *program, int32_t value, int64_t size, int32_t batch,
                            uint64_t stream) {
  ex_real *plain = random_array(size, stream), *port = ex__calloc((size_t)size, sizeof *port);
  assert_non_null(port);
  ex__port_from_plain(program, value, batch, plain, port);
  ex__free(plain);
  return port;
}

/* Parameters away from their starts, so that every gradient is told apart. */
static void shake(ex_slabs *slabs, const ex_graph *graph) {
  struct ex_random random = ex__random_seed(11, 0);
  for (int32_t i = 0; i < ex__graph_n_tensors(graph); i++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, i);
    if (info->role == EX_ROLE_BUFFER) continue;
    ex_real *data = ex__slabs_tensor(slabs, graph, i);
    for (int64_t k = 0; k < ex__shape_count(&info->shape); k++)
      data[k] += (ex_real)(0.1 * ex__random_normal(&random));
  }
}

static void side_run(struct side *side, const struct net *net, const ex_slabs *params,
                     const struct options *o) {
  struct ex_error err = {0};
  struct ex_program_options options = {.batch = o->batch,
                                       .mode = EX_MODE_TRAIN,
                                       .backend = o->backend,
                                       .layout = o->layout,
                                       .threads = o->threads};
  assert_ok(ex__slabs_new(net->graph, EX_SLABS_BUFFERS, &side->buffers), &err);
  assert_ok(ex__slabs_new(net->graph, EX_SLABS_PARAMS, &side->grads), &err);
  for (int32_t s = 0; s < side->grads->n; s++) /* backward adds: it begins at 1 */
    for (int64_t i = 0; i < side->grads->size[s]; i++) side->grads->data[s][i] = 1;
  assert_ok(ex__program_new(net->graph, o->segment, params, side->buffers, &options, &side->program,
                            &err),
            &err);
  assert_ok(ex__run_new(side->program, NULL, &side->run, &err), &err);
  const ex_program *p = side->program;
  bool add[MAX_PORTS];
  const ex_real *in[MAX_PORTS], *dout[MAX_PORTS];
  for (int32_t i = 0; i < ex__program_n_in(p); i++) {
    int64_t n = ex__program_in_size(p, i);
    in[i] = side->in[i] = random_port(p, ex__program_in_value(p, i), n, o->batch, (uint64_t)i);
    side->din[i] = random_port(p, ex__program_in_value(p, i), n, o->batch, 50 + (uint64_t)i);
    add[i] = o->add;
  }
  for (int32_t i = 0; i < ex__program_n_out(p); i++) {
    int64_t n = ex__program_out_size(p, i);
    side->out[i] = ex__calloc((size_t)n, sizeof(ex_real));
    side->dout[i] = random_port(p, ex__program_out_value(p, i), n, o->batch, 100 + (uint64_t)i);
    dout[i] = i == o->skip ? NULL : side->dout[i];
  }
  struct ex_pass pass = {params, side->buffers, side->grads, 5};
  ex__run_forward(side->run, &pass, in, side->out);
  ex__run_backward(side->run, &pass, in, side->out, dout, side->din, add);
}

static void side_free(struct side *side) {
  for (int32_t i = 0; i < MAX_PORTS; i++) {
    ex__free(side->in[i]);
    ex__free(side->out[i]);
    ex__free(side->dout[i]);
    ex__free(side->din[i]);
  }
  ex__run_free(side->run);
  ex__program_free(side->program);
  ex__slabs_free(side->buffers);
  ex__slabs_free(side->grads);
}

/* Relative to the largest element: sums of many terms are only that exact. */
static void assert_close(const ex_real *a, const ex_real *b, int64_t n, double tolerance,
                         const char *what) {
  double largest = 1e-6;
  for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)b[i]));
  for (int64_t i = 0; i < n; i++)
    if (!(fabs((double)a[i] - b[i]) <= tolerance * largest))
      fail_msg("%s: element %d of %d: %g and %g (largest %g)", what, (int)i, (int)n, (double)a[i],
               (double)b[i], largest);
}

static void compare_port(const struct side *fast, const struct side *twin, int32_t value,
                         int64_t size, int32_t batch, const ex_real *a, const ex_real *b,
                         const char *what) {
  ex_real *x = ex__alloc((size_t)size, sizeof *x), *y = ex__alloc((size_t)size, sizeof *y);
  ex__port_to_plain(fast->program, value, batch, a, x);
  ex__port_to_plain(twin->program, value, batch, b, y);
  assert_close(x, y, size, 1e-4, what);
  ex__free(x);
  ex__free(y);
}

static void compare(const struct side *fast, const struct side *twin, const struct net *net,
                    const struct options *o) {
  for (int32_t i = 0; i < ex__program_n_out(twin->program); i++)
    compare_port(fast, twin, ex__program_out_value(twin->program, i),
                 ex__program_out_size(twin->program, i), o->batch, fast->out[i], twin->out[i],
                 "output");
  for (int32_t i = 0; i < ex__program_n_in(twin->program); i++)
    compare_port(fast, twin, ex__program_in_value(twin->program, i),
                 ex__program_in_size(twin->program, i), o->batch, fast->din[i], twin->din[i],
                 "gradient of the input");
  for (int32_t i = 0; i < ex__graph_n_tensors(net->graph); i++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, i);
    bool buffer = info->role == EX_ROLE_BUFFER;
    assert_close(ex__slabs_tensor(buffer ? fast->buffers : fast->grads, net->graph, i),
                 ex__slabs_tensor(buffer ? twin->buffers : twin->grads, net->graph, i),
                 ex__shape_count(&info->shape), buffer ? 1e-5 : 1e-4, info->name);
  }
}

static void check_one(const struct net *net, struct options o) {
  struct side fast = {0}, twin = {0};
  struct ex_error err = {0};
  ex_slabs *params, *unused;
  assert_ok(ex__slabs_new(net->graph, EX_SLABS_PARAMS, &params), &err);
  assert_ok(ex__slabs_new(net->graph, EX_SLABS_BUFFERS, &unused), &err);
  ex__slabs_init(net->graph, params, unused, 3);
  shake(params, net->graph);
  o.backend = EX_BACKEND_FAST;
  side_run(&fast, net, params, &o);
  o.backend = EX_BACKEND_TWIN;
  side_run(&twin, net, params, &o);
  compare(&fast, &twin, net, &o);
  side_free(&fast);
  side_free(&twin);
  ex__slabs_free(params);
  ex__slabs_free(unused);
}

/* All layouts, batch sizes and thread counts; keeps the last value; frees. */
static void check(struct net net) {
  static const int32_t batches[] = {1, 5, 16};
  ex__graph_keep(net.graph, net.x);
  for (int32_t layout = EX_LAYOUT_NHWC; layout <= EX_LAYOUT_BLOCKED; layout++)
    for (int32_t threads = 1; threads <= 2; threads++)
      for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
        check_one(&net, (struct options){.batch = batches[b],
                                         .threads = threads,
                                         .segment = SEGMENT,
                                         .layout = (enum ex_layout)layout,
                                         .skip = -1,
                                         .add = b == 1});
  ex__graph_free(net.graph);
}

/* ---- operators --------------------------------------------------------------------- */

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
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int32_t channels = 6; channels <= 16; channels += 10)
      for (int max = 0; max < 2; max++) {
        struct net net = net_behind(channels, 8, 7);
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

/* ---- segments ------------------------------------------------------------------------ */

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
  struct ex_error err = {0};
  for (int32_t layout = EX_LAYOUT_NHWC; layout <= EX_LAYOUT_BLOCKED; layout++) {
    struct net net = residual_net(16);
    ex__graph_keep(net.graph, net.x);
    ex_slabs *params, *unused;
    assert_ok(ex__slabs_new(net.graph, EX_SLABS_PARAMS, &params), &err);
    assert_ok(ex__slabs_new(net.graph, EX_SLABS_BUFFERS, &unused), &err);
    ex__slabs_init(net.graph, params, unused, 3);
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
    ex__slabs_free(unused);
    ex__graph_free(net.graph);
  }
}

/* grads NULL and buffers NULL: nothing moves, and the input's gradient is the same. */
static void what_is_frozen_is_untouched(void **state) {
  (void)state;
  struct ex_error err = {0};
  struct net net = residual_net(16);
  ex__graph_keep(net.graph, net.x);
  ex_slabs *params, *unused;
  assert_ok(ex__slabs_new(net.graph, EX_SLABS_PARAMS, &params), &err);
  assert_ok(ex__slabs_new(net.graph, EX_SLABS_BUFFERS, &unused), &err);
  ex__slabs_init(net.graph, params, unused, 3);
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
  ex__slabs_free(unused);
  ex__graph_free(net.graph);
}

/* Frozen in training mode: as inference, in the ports of the trained segments. */
static void frozen_segments_agree(void **state) {
  (void)state;
  struct ex_error err = {0};
  struct net net = residual_net(16);
  ex__graph_keep(net.graph, net.x);
  ex_slabs *params, *buffers;
  assert_ok(ex__slabs_new(net.graph, EX_SLABS_PARAMS, &params), &err);
  assert_ok(ex__slabs_new(net.graph, EX_SLABS_BUFFERS, &buffers), &err);
  ex__slabs_init(net.graph, params, buffers, 3);
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
  struct ex_error err = {0};
  for (int32_t layout = EX_LAYOUT_NHWC; layout <= EX_LAYOUT_BLOCKED; layout++) {
    struct net net = residual_net(16);
    ex__graph_keep(net.graph, net.x);
    ex_slabs *params[2];
    for (int32_t threads = 1; threads <= 2; threads++) {
      ex_slabs *buffers, *p;
      assert_ok(ex__slabs_new(net.graph, EX_SLABS_PARAMS, &params[threads - 1]), &err);
      assert_ok(ex__slabs_new(net.graph, EX_SLABS_BUFFERS, &buffers), &err);
      p = params[threads - 1];
      ex__slabs_init(net.graph, p, buffers, 3);
      ex__slabs_free(buffers);
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
      cmocka_unit_test(convolutions_agree),
      cmocka_unit_test(grouped_convolutions_agree),
      cmocka_unit_test(first_layers_agree),
      cmocka_unit_test(norms_agree),
      cmocka_unit_test(simple_operators_agree),
      cmocka_unit_test(pools_agree),
      cmocka_unit_test(linear_layers_agree),
      cmocka_unit_test(sums_and_products_agree),
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
