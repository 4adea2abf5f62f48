/* SPDX-License-Identifier: Apache-2.0
 *
 * The inference backend against the twins: every operator, fused chains,
 * residual blocks, growing concatenations, groups, dilation, odd sizes, few
 * and many channels, in both layouts. And the law: a sample's bits depend
 * neither on the batch of the program nor on the threads inside a call.
 */
#include "base/text.h"
#include "graph/onednn.h"
#include "tests/fast_harness.h"

#ifdef EX_NO_ONEDNN
int main(void) { return 77; } /* this build has no fast backend */
#else

static void net_open(struct net *net, struct ex_shape shape, const struct line *lines) {
  net_begin(net, shape);
  for (int32_t i = 0; lines[i].op != NULL; i++) assert_ok(net_try(net, &lines[i], i + 1), &err);
  net_fill(net);
}

static void check(struct ex_shape shape, const struct line *lines) {
  struct net net;
  net_open(&net, shape, lines);
  check_net(&net);
  net_close(&net);
}

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

/* A chain is fused only where the step of its first node can be: a convolution
 * of many phases runs as its twin, and so does what reads the graph's input
 * together with a value of another layout. */
static void chains_behind_every_operator(void **state) {
  (void)state;
  static const char *const firsts[][2] = {
      {"conv2d", "channels=6 kernel-h=5 kernel-w=5 stride=5 pad-h=2 pad-w=2"},
      {"conv2d", "channels=6 kernel-h=6 kernel-w=7 stride=6 groups=2"},
      {"conv2d", "channels=20 kernel-h=3 kernel-w=3 stride=3"},
      {"batch_norm", ""},
      {"gelu", ""},
      {"lrn", "size=3"},
      {"adaptive_pool", "height=2 width=3"},
      {"max_pool", "kernel=3 stride=2"},
      {"slice", "begin=1 end=5"},
      {"dropout", ""}};
  for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++)
    for (int from = 0; from < 2; from++) /* the graph's input, or a value of the network */
      check(IMAGE(6, 13, 16),
            (const struct line[]){{"conv2d", "channels=6", 1, {0}, false, 0},
                                  {firsts[i][0], firsts[i][1], 1, {from}, false, 0},
                                  {"sigmoid", "", 1, {2}, false, 0},
                                  {firsts[i][0], firsts[i][1], 1, {from}, false, 0},
                                  {"batch_norm", "", 1, {4}, false, 0},
                                  {"add", "", 2, {3, 5}, false, 0},
                                  {"relu", "", 1, {6}, true, 0},
                                  {firsts[i][0], firsts[i][1], 1, {from}, false, 0},
                                  {"relu", "", 1, {8}, true, 0},
                                  {0}});
}

static void sums_with_the_input(void **state) {
  (void)state;
  check(IMAGE(4, 5, 6), (const struct line[]){{"conv2d", "channels=4", 1, {0}, false, 0},
                                              {"batch_norm", "", 1, {0}, false, 0},
                                              {"relu", "", 1, {2}, true, 0},
                                              {"add", "", 2, {0, 1}, false, 0},
                                              {"relu", "", 1, {4}, true, 0},
                                              {"mul", "", 2, {0, 1}, false, 0},
                                              {"batch_norm", "", 1, {6}, false, 0},
                                              {"relu", "", 1, {7}, true, 0},
                                              {0}});
}

/* One pixel is both planar and channels last. */
static void pools_to_one_pixel(void **state) {
  (void)state;
  static const char *const attrs[] = {"kernel=3", "kernel=3 stride=1"};
  for (int a = 0; a < 2; a++)
    for (int max = 0; max < 2; max++)
      check(IMAGE(19, 3, 3),
            (const struct line[]){{max ? "max_pool" : "avg_pool", attrs[a], 1, {0}, true, 0},
                                  {"conv2d", "channels=19", 1, {0}, false, 0},
                                  {max ? "max_pool" : "avg_pool", attrs[a], 1, {2}, false, 0},
                                  {"concat", "", 3, {1, 3, 3}, true, 0},
                                  {"max_pool", "kernel=2 stride=1 pad=1", 1, {4}, true, 0},
                                  {0}});
  check(IMAGE(19, 1, 1),
        (const struct line[]){{"max_pool", "kernel=2 stride=1 pad=1", 1, {0}, true, 0}, {0}});
}

/* ---- encoders ------------------------------------------------------------------------ */

/* What an encoder's layer is made of, 5 rows of 12, in one head and in two; a convolution in front
 * makes the network's layout channels last, and rows are plain all the same. */
static const struct line encoder[] = {
    {"conv2d", "channels=12 kernel-h=1 kernel-w=1", 1, {0}, false, 0},
    {"view", "shape=5,1,12 dims=5,12 steps=1,5", 1, {1}, false, 0},
    {"standardise", "size=12", 1, {2}, false, 0},
    {"arithmetic",
     "kind=mul parameters=12 shape=5,1,12 dims=5,12 first-steps=12,1 second-steps=0,1",
     1,
     {3},
     false,
     0},
    {"arithmetic",
     "kind=add parameters=12 shape=5,1,12 dims=5,12 first-steps=12,1 second-steps=0,1",
     1,
     {4},
     false,
     0},
    {"view", "shape=2,5,6 dims=2,5,6 steps=6,12,1", 1, {5}, false, 0},
    {"view", "shape=2,6,5 dims=2,6,5 steps=6,1,12", 1, {5}, false, 0},
    {"matmul", "count=2 rows=5 depth=6 columns=5 shape=2,5,5", 2, {6, 7}, false, 0},
    {"row_softmax", "size=5", 1, {8}, false, 0},
    {"matmul", "count=2 rows=5 depth=5 columns=6 shape=2,5,6", 2, {9, 6}, false, 0},
    {"view", "shape=5,1,12 dims=5,2,6 steps=6,30,1", 1, {10}, false, 0},
    {"matmul", "rows=5 depth=12 columns=12 shared=true shape=5,1,12", 1, {11}, false, 0},
    {"arithmetic",
     "kind=add parameters=12 shape=5,1,12 dims=5,12 first-steps=12,1 second-steps=0,1",
     1,
     {12},
     false,
     0},
    {"add", "", 2, {2, 13}, false, 0},
    {"matmul", "rows=5 depth=12 columns=70 shared=true shape=5,1,70", 1, {14}, false, 0},
    {"arithmetic",
     "kind=add parameters=70 shape=5,1,70 dims=5,70 first-steps=70,1 second-steps=0,1",
     1,
     {15},
     false,
     0},
    {"gelu", "", 1, {16}, false, 0},
    {"matmul", "rows=5 depth=70 columns=16 shared=true shape=5,1,16", 1, {17}, true, 0},
    {"relu", "", 1, {18}, false, 0},
    {"view", "shape=16,1,5 dims=16,5 steps=1,16", 1, {19}, false, 0},
    {"reduce", "kind=mean size=5 shape=16", 1, {20}, true, 0},
    {0}};

static void an_encoder(void **state) {
  (void)state;
  check(IMAGE(3, 1, 5), encoder);
}

/* A bias of the first rows alone is no part of the product, which is larger. */
static void a_part_of_the_rows(void **state) {
  (void)state;
  static const char bias[] =
      "kind=add parameters=9 shape=3,1,9 dims=3,9 first-steps=9,1 second-steps=0,1";
  check(IMAGE(5, 1, 12),
        (const struct line[]){
            {"matmul", "rows=5 depth=12 columns=9 shared=true shape=5,1,9", 1, {0}, false, 0},
            {"arithmetic", bias, 1, {1}, true, 0},
            {0}});
  check(IMAGE(5, 1, 9), (const struct line[]){{"standardise", "size=9", 1, {0}, false, 0},
                                              {"arithmetic", bias, 1, {1}, true, 0},
                                              {0}});
}

/* What follows a product or a standardised row number by number is no step of its own. */
static void steps_of_an_encoder(void **state) {
  (void)state;
  struct net net;
  net_open(&net, IMAGE(3, 1, 5), encoder);
  struct ex_program_options options = {
      .batch = 2, .mode = EX_MODE_INFER, .backend = EX_BACKEND_FAST, .threads = 1};
  ex_program *program;
  assert_ok(ex__program_new(net.graph, 0, net.params, net.buffers, &options, &program, &err), &err);
  struct ex_text text = {0};
  ex__program_describe(program, &text);
  assert_null(strstr(text.data, "arithmetic "));
  assert_null(strstr(text.data, "gelu "));
  assert_null(strstr(text.data, "twin"));
  assert_non_null(strstr(text.data, "+ shift + gelu"));
  assert_non_null(strstr(text.data, "+ factor + shift"));
  assert_non_null(strstr(text.data, "+ shift + add"));
  ex__text_clear(&text);
  ex__program_free(program);
  net_close(&net);
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
      cmocka_unit_test(operators_of_one_input),
      cmocka_unit_test(operators_of_several_inputs),
      cmocka_unit_test(convolutions),
      cmocka_unit_test(any_number_of_channels),
      cmocka_unit_test(a_residual_block),
      cmocka_unit_test(values_with_two_readers),
      cmocka_unit_test(growing_concatenations),
      cmocka_unit_test(flat_concatenations),
      cmocka_unit_test(chains_behind_every_operator),
      cmocka_unit_test(sums_with_the_input),
      cmocka_unit_test(pools_to_one_pixel),
      cmocka_unit_test(an_encoder),
      cmocka_unit_test(a_part_of_the_rows),
      cmocka_unit_test(steps_of_an_encoder),
      cmocka_unit_test(fast_programs_are_near),
      cmocka_unit_test(repacking),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
