/* SPDX-License-Identifier: Apache-2.0
 *
 * Small networks run by the twins and by the inference backend, in both
 * layouts and at several batches and numbers of threads. For test_fast_infer
 * (chosen networks) and test_fast_infer_random. FAST_SAMPLES and
 * FAST_N_RUNS, where defined before, say how many samples and programs.
 */
#ifndef EX_TESTS_FAST_HARNESS_H
#define EX_TESTS_FAST_HARNESS_H

#include <math.h>

#include "base/memory.h"
#include "graph/program.h"
#include "tests/op_harness.h"
#include "tests/testing.h"

#ifndef FAST_SAMPLES
#define FAST_SAMPLES 24
#define FAST_N_RUNS 5
#endif

static struct ex_error err;

/* A node of a network under test; inputs count from 0, the graph's input. */
struct line {
  const char *op, *attrs;
  int n_in, in[4];
  bool keep;
  int segment;
};

enum { MAX_LINES = 40, SAMPLES = FAST_SAMPLES };

struct net {
  ex_graph *graph;
  int32_t value[MAX_LINES + 1];
  ex_slabs *params, *buffers;
  ex_real *in;          /* [SAMPLES] samples of the graph's input */
  int name;             /* of a random network, for messages; −1: none */
  bool may_be_constant; /* a value of it may be the same everywhere, as behind a relu */
  double unit;          /* values smaller than this throughout are held to it; 0: to 1e-3 */
};

static inline enum ex_status net_try(struct net *net, const struct line *line, int32_t index) {
  const struct ex_op *op = ex__op_find(line->op);
  void *attr = calloc(1, op->attr_size + 1);
  assert_non_null(attr);
  char name[16];
  snprintf(name, sizeof name, "n%d", (int)index);
  int32_t in[4];
  for (int k = 0; k < line->n_in; k++) in[k] = net->value[line->in[k]];
  ex__graph_segment(net->graph, line->segment, 0);
  enum ex_status status = op_attributes(op, line->attrs, attr, &err);
  if (status == EX_OK)
    status =
        ex__graph_add(net->graph, line->op, name, attr, in, line->n_in, &net->value[index], &err);
  if (status == EX_OK && line->keep) ex__graph_keep(net->graph, net->value[index]);
  free(attr);
  return status;
}

static inline void net_begin(struct net *net, struct ex_shape shape) {
  *net = (struct net){.name = -1};
  assert_int_equal(ex__graph_new(&net->graph), EX_OK);
  assert_ok(ex__graph_add_input(net->graph, &shape, &net->value[0], &err), &err);
}

/* Weights, statistics and inputs, none of them as they are by default. */
static inline void net_fill(struct net *net) {
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_PARAMS, &net->params), EX_OK);
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_BUFFERS, &net->buffers), EX_OK);
  ex__slabs_init(net->graph, net->params, net->buffers, 3);
  struct ex_random random = ex__random_seed(17, 0);
  for (int32_t t = 0; t < ex__graph_n_tensors(net->graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, t);
    bool moves = info->role == EX_ROLE_BUFFER;
    if (!moves && info->role != EX_ROLE_NORM) continue;
    ex_real *x = ex__slabs_tensor(moves ? net->buffers : net->params, net->graph, t);
    for (int64_t i = 0; i < ex__shape_count(&info->shape); i++)
      x[i] += (ex_real)(0.5 * ex__random_uniform(&random));
  }
  int64_t n = SAMPLES * ex__shape_count(&ex__graph_node(net->graph, net->value[0])->shape);
  net->in = op_array(n);
  op_fill(net->in, n, 9);
}

static inline void net_close(struct net *net) {
  ex__graph_free(net->graph);
  ex__slabs_free(net->params);
  ex__slabs_free(net->buffers);
  free(net->in);
}

static inline int64_t count_of(const struct net *net, int32_t id) {
  return ex__shape_count(&ex__graph_node(net->graph, id)->shape);
}

/* Runs one segment over all samples. `in[i]`, `out[i]`: plain arrays of all
 * samples, by id of the value. Checks the counter of multiply-adds. */
static inline void run_segment(const struct net *net, const struct ex_program_options *options,
                               int32_t segment, ex_real *const *plain_in, ex_real **plain_out) {
  ex_program *program;
  ex_run *run;
  assert_ok(
      ex__program_new(net->graph, segment, net->params, net->buffers, options, &program, &err),
      &err);
  assert_ok(ex__run_new(program, NULL, &run, &err), &err);
  const ex_real *in[MAX_LINES];
  ex_real *out[MAX_LINES], *own[2 * MAX_LINES];
  int32_t n_own = 0, batch = options->batch;
  for (int32_t i = 0; i < ex__program_n_in(program); i++)
    in[i] = own[n_own++] = ex__calloc((size_t)ex__program_in_size(program, i), sizeof(ex_real));
  for (int32_t i = 0; i < ex__program_n_out(program); i++)
    out[i] = own[n_own++] = ex__calloc((size_t)ex__program_out_size(program, i), sizeof(ex_real));
  for (int32_t first = 0; first < SAMPLES; first += batch) {
    for (int32_t i = 0; i < ex__program_n_in(program); i++) {
      int32_t id = ex__program_in_value(program, i);
      ex__port_from_plain(program, id, batch, plain_in[id] + first * count_of(net, id),
                          (ex_real *)(uintptr_t)in[i]);
    }
    ex__run_forward(run, NULL, in, out);
    for (int32_t i = 0; i < ex__program_n_out(program); i++) {
      int32_t id = ex__program_out_value(program, i);
      ex__port_to_plain(program, id, batch, out[i], plain_out[id] + first * count_of(net, id));
    }
  }
  assert_int_equal(ex__run_executed_macs(run), SAMPLES / batch * ex__program_macs(program));
  assert_int_equal(ex__program_macs(program), batch * ex__graph_segment_macs(net->graph, segment));
  for (int32_t i = 0; i < n_own; i++) ex__free(own[i]);
  ex__run_free(run);
  ex__program_free(program);
}

/* All segments in order; what they make, plain, by id; the rest stays NULL. */
static inline void run_net(const struct net *net, const struct ex_program_options *options,
                           ex_real *value[MAX_LINES + 1]) {
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++)
    value[id] = op_array(SAMPLES * count_of(net, id));
  memcpy(value[net->value[0]], net->in,
         (size_t)(SAMPLES * count_of(net, net->value[0])) * sizeof(ex_real));
  for (int32_t s = 0; s < ex__graph_n_segments(net->graph); s++)
    run_segment(net, options, s, value, value);
}

static inline void free_values(const struct net *net, ex_real **value) {
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) free(value[id]);
}

static inline void assert_near(const struct net *net, int32_t id, const ex_real *a,
                               const ex_real *b) {
  double largest = net->unit > 0 ? net->unit : 1e-3, spread = 0;
  int64_t n = SAMPLES * count_of(net, id);
  for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)b[i]));
  for (int64_t i = 0; i < n; i++) {
    spread += fabs((double)b[i] - (double)b[0]);
    if (!(fabs((double)a[i] - (double)b[i]) <= 1e-4 * largest))
      fail_msg("network %d, value %d, element %d: %g, the twin has %g", net->name, (int)id, (int)i,
               (double)a[i], (double)b[i]);
  }
  if (id > 0 && ex__graph_node(net->graph, id)->kept && !net->may_be_constant)
    assert_true(spread > 0); /* a network of constants would show nothing */
}

static inline void check_layout(const struct net *net, enum ex_layout layout, ex_real **twin) {
  static const struct {
    int32_t batch, threads;
  } runs[5] = {{1, 1}, {1, 2}, {2, 1}, {3, 1}, {8, 1}};
  ex_real *first[MAX_LINES + 1], *other[MAX_LINES + 1];
  for (size_t r = 0; r < FAST_N_RUNS; r++) {
    struct ex_program_options options = {.batch = runs[r].batch,
                                         .mode = EX_MODE_INFER,
                                         .backend = EX_BACKEND_FAST,
                                         .layout = layout,
                                         .threads = runs[r].threads};
    ex_real **value = r == 0 ? first : other;
    run_net(net, &options, value);
    for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) {
      size_t bytes = (size_t)(SAMPLES * count_of(net, id)) * sizeof(ex_real);
      if (r == 0)
        assert_near(net, id, value[id], twin[id]);
      else if (memcmp(value[id], first[id], bytes) != 0)
        fail_msg("network %d, value %d: batch %d, threads %d change bits", net->name, (int)id,
                 (int)runs[r].batch, (int)runs[r].threads);
    }
    if (r > 0) free_values(net, other);
  }
  free_values(net, first);
}

/* Values inside segments stay zero in all runs: only ports can be compared. */
static inline void check_net(const struct net *net) {
  ex_real *twin[MAX_LINES + 1];
  struct ex_program_options options = {
      .batch = SAMPLES, .mode = EX_MODE_INFER, .backend = EX_BACKEND_TWIN, .threads = 1};
  run_net(net, &options, twin);
  check_layout(net, EX_LAYOUT_AUTO, twin);
  check_layout(net, EX_LAYOUT_NHWC, twin);
  free_values(net, twin);
}

#define IMAGE(c, h, w) ((struct ex_shape){3, {c, h, w}})
#define FEATURES(n) ((struct ex_shape){1, {n}})

#endif
