/* SPDX-License-Identifier: Apache-2.0
 *
 * The inference backend against the twins: every operator, fused chains,
 * residual blocks, growing concatenations, groups, dilation, odd sizes, few
 * and many channels, in both layouts. And the law: a sample's bits depend
 * neither on the batch of the program nor on the threads inside a call.
 */
#include <math.h>

#include "base/memory.h"
#include "base/text.h"
#include "graph/onednn.h"
#include "graph/program.h"
#include "tests/op_harness.h"
#include "tests/testing.h"

#ifdef EX_NO_ONEDNN
int main(void) { return 77; } /* this build has no fast backend */
#else

static struct ex_error err;

/* A node of a network under test; inputs count from 0, the graph's input. */
struct line {
  const char *op, *attrs;
  int n_in, in[4];
  bool keep;
  int segment;
};

enum { MAX_LINES = 40, SAMPLES = 24 };

struct net {
  ex_graph *graph;
  int32_t value[MAX_LINES + 1];
  ex_slabs *params, *buffers;
  ex_real *in; /* [SAMPLES] samples of the graph's input */
};

static void net_add(struct net *net, const struct line *line, int32_t index) {
  const struct ex_op *op = ex__op_find(line->op);
  void *attr = calloc(1, op->attr_size + 1);
  char name[16];
  snprintf(name, sizeof name, "n%d", (int)index);
  assert_ok(op_attributes(op, line->attrs, attr, &err), &err);
  int32_t in[4];
  for (int k = 0; k < line->n_in; k++) in[k] = net->value[line->in[k]];
  ex__graph_segment(net->graph, line->segment, 0);
  assert_ok(
      ex__graph_add(net->graph, line->op, name, attr, in, line->n_in, &net->value[index], &err),
      &err);
  if (line->keep) ex__graph_keep(net->graph, net->value[index]);
  free(attr);
}

static void net_open(struct net *net, struct ex_shape shape, const struct line *lines) {
  assert_int_equal(ex__graph_new(&net->graph), EX_OK);
  assert_ok(ex__graph_add_input(net->graph, &shape, &net->value[0], &err), &err);
  for (int32_t i = 0; lines[i].op != NULL; i++) net_add(net, &lines[i], i + 1);
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_PARAMS, &net->params), EX_OK);
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_BUFFERS, &net->buffers), EX_OK);
  ex__slabs_init(net->graph, net->params, net->buffers, 3);
  struct ex_random random = ex__random_seed(17, 0);
  for (int32_t t = 0; t < ex__graph_n_tensors(net->graph); t++) { /* none as it is by default */
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, t);
    bool moves = info->role == EX_ROLE_BUFFER;
    if (!moves && info->role != EX_ROLE_NORM) continue;
    ex_real *x = ex__slabs_tensor(moves ? net->buffers : net->params, net->graph, t);
    for (int64_t i = 0; i < ex__shape_count(&info->shape); i++)
      x[i] += (ex_real)(0.5 * ex__random_uniform(&random));
  }
  int64_t n = SAMPLES * ex__shape_count(&shape);
  net->in = op_array(n);
  op_fill(net->in, n, 9);
}

static void net_close(struct net *net) {
  ex__graph_free(net->graph);
  ex__slabs_free(net->params);
  ex__slabs_free(net->buffers);
  free(net->in);
}

static int64_t count_of(const struct net *net, int32_t id) {
  return ex__shape_count(&ex__graph_node(net->graph, id)->shape);
}

/* Runs one segment over all samples. `in[i]`, `out[i]`: plain arrays of all
 * samples, by id of the value. Checks the counter of multiply-adds. */
static void run_segment(const struct net *net, const struct ex_program_options *options,
                        int32_t segment, ex_real *const *plain_in, ex_real **plain_out) {
  ex_program *program;
  ex_run *run;
  assert_ok(
      ex__program_new(net->graph, segment, net->params, net->buffers, options, &program, &err),
      &err);
  assert_ok(ex__run_new(program, NULL, &run, &err), &err);
  const ex_real *in[8];
  ex_real *out[8], *own[16];
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
static void run_net(const struct net *net, const struct ex_program_options *options,
                    ex_real *value[MAX_LINES + 1]) {
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++)
    value[id] = op_array(SAMPLES * count_of(net, id));
  memcpy(value[net->value[0]], net->in,
         (size_t)(SAMPLES * count_of(net, net->value[0])) * sizeof(ex_real));
  for (int32_t s = 0; s < ex__graph_n_segments(net->graph); s++)
    run_segment(net, options, s, value, value);
}

static void free_values(const struct net *net, ex_real **value) {
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) free(value[id]);
}

static void assert_near(const struct net *net, int32_t id, const ex_real *a, const ex_real *b) {
  double largest = 1e-3, spread = 0;
  int64_t n = SAMPLES * count_of(net, id);
  for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)b[i]));
  for (int64_t i = 0; i < n; i++) {
    spread += fabs((double)b[i] - (double)b[0]);
    if (!(fabs((double)a[i] - (double)b[i]) <= 1e-4 * largest))
      fail_msg("value %d, element %d: %g, the twin has %g", (int)id, (int)i, (double)a[i],
               (double)b[i]);
  }
  if (id > 0 && ex__graph_node(net->graph, id)->kept)
    assert_true(spread > 0); /* a network of constants would show nothing */
}

static void check_layout(const struct net *net, enum ex_layout layout, ex_real **twin) {
  static const struct { int32_t batch, threads; } runs[] = {{1, 1}, {1, 2}, {2, 1}, {3, 1}, {8, 1}};
  ex_real *first[MAX_LINES + 1], *other[MAX_LINES + 1];
  for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
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
        fail_msg("value %d: batch %d, threads %d change bits", (int)id, (int)runs[r].batch,
                 (int)runs[r].threads);
    }
    if (r > 0) free_values(net, other);
  }
  free_values(net, first);
}

/* Values inside segments stay zero in all runs: only ports can be compared. */
static void check(struct ex_shape shape, const struct line *lines) {
  struct net net;
  ex_real *twin[MAX_LINES + 1];
  net_open(&net, shape, lines);
  struct ex_program_options options = {
      .batch = SAMPLES, .mode = EX_MODE_INFER, .backend = EX_BACKEND_TWIN, .threads = 1};
  run_net(&net, &options, twin);
  check_layout(&net, EX_LAYOUT_AUTO, twin);
  check_layout(&net, EX_LAYOUT_NHWC, twin);
  free_values(&net, twin);
  net_close(&net);
}

#define IMAGE(c, h, w) ((struct ex_shape){3, {c, h, w}})
#define FEATURES(n) ((struct ex_shape){1, {n}})

/* ---- single operators ------------------------------------------------------------- */

static void check_one(struct ex_shape shape, const char *op, const char *attrs) {
  check(shape, (const struct line[]){{op, attrs, 1, {0}, true, 0}, {0}});
  if (shape.rank != 3) return;
  /* and behind a convolution, where its input is in the layout of the network */
  char first[32];
  snprintf(first, sizeof first, "channels=%d", (int)shape.dim[0]);
  check(shape, (const struct line[]){
                   {"conv2d", first, 1, {0}, false, 0}, {op, attrs, 1, {1}, true, 0}, {0}});
}

static void operators_of_one_input(void **state) {
  (void)state;
  static const char *const ops[][2] = {
      {"batch_norm", ""},
      {"relu", ""},
      {"gelu", ""},
      {"sigmoid", ""},
      {"global_avg_pool", ""},
      {"max_pool", "kernel=2"},
      {"max_pool", "kernel=3 stride=2 pad=1"},
      {"avg_pool", "kernel=2"},
      {"avg_pool", "kernel=3 stride=2 pad=1 ceil-mode=true"},
      {"avg_pool", "kernel=3 stride=1 pad=1 count-include-pad=false"},
      {"adaptive_pool", "height=2 width=3"},
      {"slice", "begin=1 end=5"},
      {"reshape", ""},
      {"dropout", "rate=0.3"}};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
    check_one(IMAGE(6, 9, 7), ops[i][0], ops[i][1]);
  static const char *const flat[][2] = {
      {"batch_norm", ""},       {"relu", ""},
      {"softmax", ""},          {"log_softmax", ""},
      {"linear", "features=5"}, {"linear", "features=37 bias=false"},
      {"slice", "begin=3"},     {"gelu", ""},
      {"dropout", ""}};
  for (size_t i = 0; i < sizeof flat / sizeof *flat; i++)
    check_one(FEATURES(23), flat[i][0], flat[i][1]);
}

static void operators_of_several_inputs(void **state) {
  (void)state;
  static const char *const ops[] = {"add", "mul", "concat"};
  for (size_t i = 0; i < 3; i++)
    for (int n = 2; n <= 3; n++)
      check(IMAGE(4, 5, 6), (const struct line[]){{"sigmoid", "", 1, {0}, false, 0},
                                                  {"relu", "", 1, {0}, false, 0},
                                                  {ops[i], "", n, {1, 2, 0}, true, 0},
                                                  {0}});
}

static void convolutions(void **state) {
  (void)state;
  static const struct {
    struct ex_shape in;
    const char *attrs;
  } cases[] = {
      {{3, {1, 28, 28}}, "channels=5 kernel-h=5 kernel-w=5 pad-h=3 pad-w=3"},
      {{3, {3, 12, 10}}, "channels=7 kernel-h=3 kernel-w=3 stride=2 pad-h=1 pad-w=1"},
      {{3, {40, 7, 7}}, "channels=4 bias=false"},
      {{3, {16, 8, 8}}, "channels=32 kernel-h=3 kernel-w=3 pad-h=1 pad-w=1"},
      {{3, {12, 9, 11}}, "channels=18 kernel-h=3 kernel-w=5 pad-h=2 pad-w=1 dilation=2"},
      {{3, {12, 9, 11}}, "channels=16 groups=4 kernel-h=3 kernel-w=3"},
      {{3, {16, 6, 6}}, "channels=16 groups=16 kernel-h=3 kernel-w=3 pad-h=1 pad-w=1"},
      {{3, {9, 13, 13}}, "channels=11 stride=2"},
      {{3, {3, 23, 19}}, "channels=20 kernel-h=7 kernel-w=7 stride=4 pad-h=2 pad-w=3"},
      {{3, {2, 17, 17}}, "channels=3 kernel-h=9 kernel-w=9 stride=8 pad-h=1 pad-w=1"},
      {{3, {33, 4, 4}}, "channels=40 kernel-h=3 kernel-w=3 pad-h=1 pad-w=1"},
      {{3, {5, 1, 1}}, "channels=30"},
      {{3, {5, 2, 3}}, "channels=9 kernel-h=2 kernel-w=3 pad-h=3 pad-w=4"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_one(cases[i].in, "conv2d", cases[i].attrs);
}

static void any_number_of_channels(void **state) {
  (void)state;
  for (int channels = 1; channels <= 40; channels += channels < 18 ? 1 : 6) {
    char attrs[96];
    snprintf(attrs, sizeof attrs, "channels=%d kernel-h=3 kernel-w=3 pad-h=1 pad-w=1", channels);
    check(IMAGE(3, 7, 10), (const struct line[]){{"conv2d", attrs, 1, {0}, false, 0},
                                                 {"conv2d", "channels=5", 1, {1}, true, 0},
                                                 {0}});
  }
}

/* ---- segments ------------------------------------------------------------------------ */

#define CONV3(c) "channels=" #c " kernel-h=3 kernel-w=3 pad-h=1 pad-w=1 bias=false"

static void a_residual_block(void **state) {
  (void)state;
  for (int stride = 1; stride <= 2; stride++) {
    bool down = stride == 2;
    check(IMAGE(3, 8, 8),
          (const struct line[]){
              {"conv2d", CONV3(16), 1, {0}, false, 0},
              {"batch_norm", "", 1, {1}, false, 0},
              {"relu", "", 1, {2}, false, 0},
              {"conv2d", down ? CONV3(32) " stride=2" : CONV3(32), 1, {3}, false, 0},
              {"batch_norm", "", 1, {4}, false, 0},
              {"relu", "", 1, {5}, false, 0},
              {"conv2d", CONV3(32), 1, {6}, false, 0},
              {"batch_norm", "", 1, {7}, false, 0},
              {"conv2d", down ? "channels=32 stride=2" : "channels=32", 1, {3}, false, 0},
              {"batch_norm", "", 1, {9}, false, 0},
              {"add", "", 2, {8, 10}, false, 0},
              {"relu", "", 1, {11}, false, 0},
              /* a second block, whose shortcut is the value itself */
              {"conv2d", CONV3(32), 1, {12}, false, 0},
              {"batch_norm", "", 1, {13}, false, 0},
              {"add", "", 2, {12, 14}, false, 0},
              {"relu", "", 1, {15}, true, 0},
              {"global_avg_pool", "", 1, {16}, false, 1},
              {"linear", "features=10", 1, {17}, false, 1},
              {"batch_norm", "", 1, {18}, false, 1},
              {"relu", "", 1, {19}, true, 1},
              {0}});
  }
}

/* Fusion must stop where somebody else reads the value. */
static void values_with_two_readers(void **state) {
  (void)state;
  check(IMAGE(3, 6, 6), (const struct line[]){{"conv2d", CONV3(8), 1, {0}, true, 0},
                                              {"batch_norm", "", 1, {1}, false, 0},
                                              {"relu", "", 1, {2}, false, 0},
                                              {"add", "", 2, {2, 3}, false, 0},
                                              {"conv2d", CONV3(8), 1, {4}, false, 0},
                                              {"relu", "", 1, {5}, false, 0},
                                              {"relu", "", 1, {6}, false, 0},
                                              {"add", "", 2, {7, 7}, false, 0},
                                              {"mul", "", 2, {8, 1}, true, 0},
                                              {"batch_norm", "", 1, {9}, false, 1},
                                              {"relu", "", 1, {10}, true, 1},
                                              {0}});
}

/* As MSDNet: each layer's concatenation is an input of the next, in-port
 * values take part, strided and dense branches meet, and one value is in two. */
static void growing_concatenations(void **state) {
  (void)state;
  check(IMAGE(2, 14, 14),
        (const struct line[]){{"conv2d", CONV3(8), 1, {0}, true, 0},
                              {"conv2d", CONV3(4), 1, {1}, false, 1},
                              {"relu", "", 1, {2}, false, 1},
                              {"concat", "", 2, {1, 3}, false, 1},
                              {"conv2d", "channels=4 bias=false", 1, {4}, false, 1},
                              {"batch_norm", "", 1, {5}, false, 1},
                              {"relu", "", 1, {6}, false, 1},
                              {"conv2d", CONV3(6), 1, {7}, false, 1},
                              {"concat", "", 2, {4, 8}, true, 1},
                              {"conv2d", CONV3(5) " stride=2", 1, {9}, false, 1},
                              {"max_pool", "kernel=2", 1, {9}, false, 1},
                              {"concat", "", 3, {10, 11, 10}, false, 1},
                              {"concat", "", 2, {12, 10}, false, 1},
                              {"conv2d", "channels=20", 1, {13}, true, 1},
                              {"slice", "begin=2 end=9", 1, {14}, false, 2},
                              {"concat", "", 2, {15, 14}, false, 2},
                              {"reshape", "", 1, {16}, false, 2},
                              {"linear", "features=7", 1, {17}, true, 2},
                              {0}});
}

/* The rank of values changes in the middle of a concatenation. */
static void flat_concatenations(void **state) {
  (void)state;
  check(IMAGE(5, 4, 4), (const struct line[]){{"conv2d", CONV3(16), 1, {0}, false, 0},
                                              {"global_avg_pool", "", 1, {1}, false, 0},
                                              {"reshape", "", 1, {1}, false, 0},
                                              {"concat", "", 2, {2, 3}, false, 0},
                                              {"dropout", "", 1, {4}, false, 0},
                                              {"linear", "features=48", 1, {5}, false, 0},
                                              {"reshape", "shape=3,4,4", 1, {6}, false, 0},
                                              {"conv2d", CONV3(2), 1, {7}, true, 0},
                                              {0}});
}

/* Algorithms that need not keep bits are near all the same, and are described. */
static void fast_programs_are_near(void **state) {
  (void)state;
  static const struct line lines[] = {
      {"conv2d", CONV3(64), 1, {0}, false, 0}, {"conv2d", CONV3(64), 1, {1}, false, 0},
      {"batch_norm", "", 1, {2}, false, 0},    {"add", "", 2, {3, 1}, false, 0},
      {"relu", "", 1, {4}, false, 0},          {"conv2d", CONV3(96), 1, {5}, false, 0},
      {"concat", "", 2, {6, 5}, true, 0},      {0}};
  struct net net;
  ex_real *twin[MAX_LINES + 1], *value[MAX_LINES + 1];
  net_open(&net, IMAGE(3, 19, 20), lines);
  struct ex_program_options options = {
      .batch = SAMPLES, .mode = EX_MODE_INFER, .backend = EX_BACKEND_TWIN, .threads = 1};
  run_net(&net, &options, twin);
  options = (struct ex_program_options){.batch = SAMPLES,
                                        .mode = EX_MODE_INFER,
                                        .backend = EX_BACKEND_FAST,
                                        .layout = EX_LAYOUT_NHWC,
                                        .threads = 1,
                                        .fast = true};
  run_net(&net, &options, value);
  ex_program *program;
  struct ex_text text = {0};
  assert_ok(ex__program_new(net.graph, 0, net.params, net.buffers, &options, &program, &err), &err);
  ex__program_describe(program, &text);
  bool has_it = strncmp(ex__dnn_isa(), "avx512", 6) == 0;
  assert_int_equal(strstr(text.data, "winograd") != NULL, has_it);
  ex__text_clear(&text);
  ex__program_free(program);
  for (int32_t id = 0; id < ex__graph_n_nodes(net.graph); id++)
    assert_near(&net, id, value[id], twin[id]);
  free_values(&net, twin);
  free_values(&net, value);
  net_close(&net);
}

/* New weights count after repacking, and not before. */
static void repacking(void **state) {
  (void)state;
  for (int layout = EX_LAYOUT_AUTO; layout <= EX_LAYOUT_NHWC; layout++) {
    struct net net;
    net_open(&net, IMAGE(3, 6, 6),
             (const struct line[]){{"conv2d", CONV3(16), 1, {0}, true, 0}, {0}});
    struct ex_program_options options = {
        .batch = 1, .backend = EX_BACKEND_FAST, .threads = 1, .layout = (enum ex_layout)layout};
    ex_program *program;
    ex_run *run;
    assert_ok(ex__program_new(net.graph, 0, net.params, net.buffers, &options, &program, &err),
              &err);
    assert_ok(ex__run_new(program, NULL, &run, &err), &err);
    int64_t n = 16 * 36;
    ex_real *before = ex__alloc((size_t)n, sizeof *before), *after = ex__alloc((size_t)n, 4);
    ex__run_forward(run, NULL, (const ex_real *const[]){net.in}, (ex_real *const[]){before});
    for (int64_t i = 0; i < net.params->size[0]; i++) net.params->data[0][i] *= 2;
    ex__run_forward(run, NULL, (const ex_real *const[]){net.in}, (ex_real *const[]){after});
    assert_memory_equal(before, after, (size_t)n * sizeof *before);
    ex__program_repack(program, net.params, net.buffers);
    ex__run_forward(run, NULL, (const ex_real *const[]){net.in}, (ex_real *const[]){after});
    for (int64_t i = 0; i < n; i++) assert_true(after[i] == 2 * before[i]);
    struct ex_text text = {0};
    ex__program_describe(program, &text);
    assert_non_null(strstr(text.data, "conv2d"));
    ex__text_clear(&text);
    ex__free(before);
    ex__free(after);
    ex__run_free(run);
    ex__program_free(program);
    net_close(&net);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(operators_of_one_input), cmocka_unit_test(operators_of_several_inputs),
      cmocka_unit_test(convolutions),           cmocka_unit_test(any_number_of_channels),
      cmocka_unit_test(a_residual_block),       cmocka_unit_test(values_with_two_readers),
      cmocka_unit_test(growing_concatenations), cmocka_unit_test(flat_concatenations),
      cmocka_unit_test(fast_programs_are_near), cmocka_unit_test(repacking),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
