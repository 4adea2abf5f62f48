/* SPDX-License-Identifier: Apache-2.0
 *
 * Small graphs run by the fast training backend and by the readable one, on the
 * same numbers, and what both give compared: outputs, gradients of inputs and
 * of every parameter, running statistics. For test_fast_train (operators) and
 * test_fast_train_segments.
 */
#ifndef EX_TESTS_TRAIN_HARNESS_H
#define EX_TESTS_TRAIN_HARNESS_H

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

static inline int32_t add_of(struct net *net, const char *op, const void *attr, const int32_t *in,
                             int32_t n_in) {
  struct ex_error err = {0};
  assert_ok(ex__graph_add(net->graph, op, NULL, attr, in, n_in, &net->x, &err), &err);
  return net->x;
}

static inline int32_t then(struct net *net, const char *op, const void *attr) {
  return add_of(net, op, attr, (int32_t[]){net->x}, 1);
}

static inline int32_t conv_of(struct net *net, int32_t from, int32_t channels, int32_t kernel,
                              int32_t stride, int32_t bias) {
  struct ex_conv2d attr = {channels, kernel, kernel, stride, kernel / 2, kernel / 2, 1, 1, bias};
  return add_of(net, "conv2d", &attr, &from, 1);
}

static inline int32_t norm_of(struct net *net, int32_t from) {
  struct ex_batch_norm attr = {1e-5, 0.1};
  return add_of(net, "batch_norm", &attr, &from, 1);
}

static inline int32_t conv_norm_relu(struct net *net, int32_t from, int32_t channels,
                                     int32_t kernel, int32_t stride) {
  norm_of(net, conv_of(net, from, channels, kernel, stride, 0));
  return then(net, "relu", NULL);
}

static inline struct net net_new(int32_t channels, int32_t height, int32_t width) {
  struct net net = {0};
  struct ex_error err = {0};
  struct ex_shape shape = {3, {channels, height, width}};
  assert_ok(ex__graph_new(&net.graph), &err);
  ex__graph_segment(net.graph, 0, 0);
  assert_ok(ex__graph_add_input(net.graph, &shape, &net.x, &err), &err);
  return net;
}

/* Segment 0 makes an image of `channels`, which is segment 1's in port. */
static inline struct net net_behind(int32_t channels, int32_t height, int32_t width) {
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
  int32_t skip;                     /* out port whose gradient is not given; −1: none */
  bool add;                         /* din_add */
  const struct ex_blocked *blocked; /* of an in port; NULL: none */
};

static inline ex_real *random_array(int64_t n, uint64_t stream) {
  ex_real *array = ex__alloc((size_t)n, sizeof *array);
  assert_non_null(array);
  struct ex_random random = ex__random_seed(7, stream);
  for (int64_t i = 0; i < n; i++) array[i] = (ex_real)ex__random_normal(&random);
  return array;
}

static inline ex_real *random_port(const ex_program *program, int32_t value, int64_t size,
                                   int32_t batch, uint64_t stream) {
  ex_real *plain = random_array(size, stream), *port = ex__calloc((size_t)size, sizeof *port);
  assert_non_null(port);
  ex__port_from_plain(program, value, batch, plain, port);
  ex__free(plain);
  return port;
}

/* As training starts. */
static inline ex_slabs *params_new(const struct net *net) {
  struct ex_error err = {0};
  ex_slabs *params, *buffers;
  assert_ok(ex__slabs_new(net->graph, EX_SLABS_PARAMS, &params), &err);
  assert_ok(ex__slabs_new(net->graph, EX_SLABS_BUFFERS, &buffers), &err);
  ex__slabs_init(net->graph, params, buffers, 3);
  ex__slabs_free(buffers);
  return params;
}

/* Parameters away from their starts, so that every gradient is told apart. */
static inline void shake(ex_slabs *slabs, const ex_graph *graph) {
  struct ex_random random = ex__random_seed(11, 0);
  for (int32_t i = 0; i < ex__graph_n_tensors(graph); i++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, i);
    if (info->role == EX_ROLE_BUFFER) continue;
    ex_real *data = ex__slabs_tensor(slabs, graph, i);
    for (int64_t k = 0; k < ex__shape_count(&info->shape); k++)
      data[k] += (ex_real)(0.1 * ex__random_normal(&random));
  }
}

static inline void side_run(struct side *side, const struct net *net, const ex_slabs *params,
                            const struct options *o) {
  struct ex_error err = {0};
  struct ex_program_options options = {.batch = o->batch,
                                       .mode = EX_MODE_TRAIN,
                                       .backend = o->backend,
                                       .layout = o->layout,
                                       .threads = o->threads,
                                       .blocked = o->blocked,
                                       .n_blocked = o->blocked != NULL};
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

static inline void side_free(struct side *side) {
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
static inline void assert_close(const ex_real *a, const ex_real *b, int64_t n, double tolerance,
                                const char *what) {
  double largest = 1e-6;
  for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)b[i]));
  for (int64_t i = 0; i < n; i++)
    if (!(fabs((double)a[i] - b[i]) <= tolerance * largest))
      fail_msg("%s: element %d of %d: %g and %g (largest %g)", what, (int)i, (int)n, (double)a[i],
               (double)b[i], largest);
}

static inline void compare_port(const struct side *fast, const struct side *twin, int32_t value,
                                int64_t size, int32_t batch, const ex_real *a, const ex_real *b,
                                const char *what) {
  ex_real *x = ex__alloc((size_t)size, sizeof *x), *y = ex__alloc((size_t)size, sizeof *y);
  ex__port_to_plain(fast->program, value, batch, a, x);
  ex__port_to_plain(twin->program, value, batch, b, y);
  assert_close(x, y, size, 1e-4, what);
  ex__free(x);
  ex__free(y);
}

static inline void compare(const struct side *fast, const struct side *twin, const struct net *net,
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

static inline void check_one(const struct net *net, struct options o) {
  struct side fast = {0}, twin = {0};
  ex_slabs *params = params_new(net);
  shake(params, net->graph);
  o.backend = EX_BACKEND_FAST;
  side_run(&fast, net, params, &o);
  o.backend = EX_BACKEND_TWIN;
  side_run(&twin, net, params, &o);
  compare(&fast, &twin, net, &o);
  side_free(&fast);
  side_free(&twin);
  ex__slabs_free(params);
}

/* All layouts, batch sizes and thread counts; keeps the last value; frees. */
static inline void check(struct net net) {
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

#endif
