/* SPDX-License-Identifier: Apache-2.0
 *
 * Building graphs: what is refused and in which words, where parameters lie,
 * how they start, and the way to JSON and back.
 */
#include <math.h>

#include "base/json.h"
#include "base/memory.h"
#include "graph/graph.h"
#include "graph/op.h"
#include "tests/testing.h"

static struct ex_error err;

static int32_t add(ex_graph *graph, const char *op, const char *name, const void *attr,
                   const int32_t *in, int32_t n_in) {
  int32_t value;
  assert_ok(ex__graph_add(graph, op, name, attr, in, n_in, &value, &err), &err);
  return value;
}

static int32_t add_input(ex_graph *graph, int32_t channels, int32_t side) {
  int32_t value;
  struct ex_shape shape = {3, {channels, side, side}};
  assert_ok(ex__graph_add_input(graph, &shape, &value, &err), &err);
  return value;
}

static const struct ex_conv2d conv_attr = {.channels = 4,
                                           .kernel_h = 3,
                                           .kernel_w = 3,
                                           .stride = 1,
                                           .pad_h = 1,
                                           .pad_w = 1,
                                           .dilation = 1,
                                           .groups = 1,
                                           .bias = 1};
static const struct ex_linear linear_attr = {.features = 10, .bias = 1};
static const struct ex_pool pool_attr = {.kernel = 2, .stride = 2};

/* Body and head of two stages: segments 0 to 3, slabs 0 and 1. */
static ex_graph *make(void) {
  ex_graph *graph;
  assert_int_equal(ex__graph_new(&graph), EX_OK);
  int32_t x = add_input(graph, 3, 8);
  ex__graph_init(graph, EX_INIT_HE_FAN_OUT);
  int32_t c = add(graph, "conv2d", "stage1.conv", &conv_attr, &x, 1);
  ex__graph_init(graph, EX_INIT_DEFAULT);
  int32_t n = add(graph, "batch_norm", "stage1.bn", NULL, &c, 1);
  int32_t r = add(graph, "relu", NULL, NULL, &n, 1);
  ex__graph_segment(graph, 1, 0);
  int32_t g = add(graph, "global_avg_pool", NULL, NULL, &r, 1);
  int32_t f = add(graph, "reshape", NULL, NULL, &g, 1);
  ex__graph_keep(graph, add(graph, "linear", "head1.fc", &linear_attr, &f, 1));
  ex__graph_segment(graph, 2, 1);
  int32_t p = add(graph, "max_pool", NULL, &pool_attr, &r, 1);
  int32_t d = add(graph, "conv2d", "stage2.conv", &conv_attr, &p, 1);
  ex__graph_segment(graph, 3, 1);
  f = add(graph, "reshape", NULL, NULL, &d, 1);
  ex__graph_keep(graph, add(graph, "linear", "head2.fc", &linear_attr, &f, 1));
  return graph;
}

static void shapes_and_counts(void **state) {
  (void)state;
  ex_graph *graph = make();
  const struct ex_node *conv = ex__graph_node(graph, 1), *last = ex__graph_node(graph, 10);
  assert_true(conv->shape.rank == 3 && conv->shape.dim[0] == 4 && conv->shape.dim[2] == 8);
  assert_true(last->shape.rank == 1 && last->shape.dim[0] == 10 && last->kept && !conv->kept);
  assert_int_equal(ex__graph_n_nodes(graph), 11);
  assert_int_equal(ex__graph_n_segments(graph), 4);
  assert_int_equal(ex__graph_n_slabs(graph), 2);
  assert_int_equal(ex__graph_segment_macs(graph, 0), 4 * 8 * 8 * 3 * 9);
  assert_int_equal(ex__graph_segment_macs(graph, 2), 4 * 4 * 4 * 4 * 9);
  assert_int_equal(ex__graph_segment_macs(graph, 3), 64 * 10);
  assert_int_equal(ex__graph_segment_params(graph, 0), 4 * 27 + 4 + 4 + 4);
  assert_int_equal(ex__graph_segment_params(graph, 1), 4 * 10 + 10);
  ex__graph_free(graph);
}

/* Every tensor in its slab, aligned, none over another; padding is zero. */
static void slabs_hold_every_tensor(void **state) {
  (void)state;
  ex_graph *graph = make();
  ex_slabs *params, *buffers, *copy;
  assert_int_equal(ex__slabs_new(graph, EX_SLABS_PARAMS, &params), EX_OK);
  assert_int_equal(ex__slabs_new(graph, EX_SLABS_BUFFERS, &buffers), EX_OK);
  assert_int_equal(ex__slabs_new(graph, EX_SLABS_PARAMS, &copy), EX_OK);
  assert_true(params->n == 2 && buffers->n == 2 && buffers->size[1] == 0);
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
    ex_slabs *slabs = info->role == EX_ROLE_BUFFER ? buffers : params;
    ex_real *x = ex__slabs_tensor(slabs, graph, t);
    int64_t n = ex__shape_count(&info->shape);
    assert_true((uintptr_t)x % 64 == 0);
    assert_true(info->offset + n <= slabs->size[info->slab]);
    for (int64_t i = 0; i < n; i++) {
      assert_true(x[i] == 0);
      x[i] = 1;
    }
  }
  ex__slabs_copy(copy, params);
  ex__slabs_zero(params);
  double sum = 0, kept = 0;
  for (int32_t s = 0; s < 2; s++)
    for (int64_t i = 0; i < params->size[s]; i++) {
      sum += params->data[s][i];
      kept += copy->data[s][i];
    }
  int64_t expected = 0;
  for (int32_t s = 0; s < 4; s++) expected += ex__graph_segment_params(graph, s);
  assert_true(sum == 0 && kept == (double)expected);
  ex__slabs_free(params);
  ex__slabs_free(buffers);
  ex__slabs_free(copy);
  ex__graph_free(graph);
}

static const ex_real *named(const ex_graph *graph, const ex_slabs *slabs, const char *name,
                            int64_t *n) {
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
    if (strcmp(info->name, name) != 0) continue;
    *n = ex__shape_count(&info->shape);
    return ex__slabs_tensor(slabs, graph, t);
  }
  *n = 0;
  fail_msg("no tensor %s", name);
  return NULL;
}

static void init_by_scheme_and_name(void **state) {
  (void)state;
  ex_graph *graph = make(), *small;
  ex_slabs *params, *buffers, *other;
  ex__slabs_new(graph, EX_SLABS_PARAMS, &params);
  ex__slabs_new(graph, EX_SLABS_BUFFERS, &buffers);
  ex__slabs_init(graph, params, buffers, 7);
  int64_t n;
  double squares = 0, bound = 1 / sqrt(36.0), most = 0;
  const ex_real *x = named(graph, params, "stage1.conv.weight", &n); /* variance 2/(9·4) */
  for (int64_t i = 0; i < n; i++) squares += x[i] * x[i] / (double)n;
  assert_true(squares > 0.7 * 2 / 36 && squares < 1.4 * 2 / 36);
  x = named(graph, params, "stage2.conv.weight", &n); /* uniform in ±1/sqrt(36) */
  for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(x[i]));
  assert_true(most <= bound && most > 0.9 * bound);
  x = named(graph, params, "head1.fc.bias", &n); /* by the fan-in of its weight, 4 */
  for (most = 0; n > 0; n--) most = fmax(most, fabs(x[n - 1]));
  assert_true(most <= 0.5 && most > 0.2);
  assert_true(named(graph, params, "stage1.bn.weight", &n)[3] == 1);
  assert_true(named(graph, buffers, "stage1.bn.running_var", &n)[3] == 1);

  /* The same name in another graph starts alike; another seed does not. */
  ex__graph_new(&small);
  int32_t in = add_input(small, 4, 4);
  add(small, "conv2d", "stage2.conv", &conv_attr, &in, 1);
  ex__slabs_new(small, EX_SLABS_PARAMS, &other);
  ex__slabs_init(small, other, NULL, 7);
  const ex_real *y = named(small, other, "stage2.conv.weight", &n);
  x = named(graph, params, "stage2.conv.weight", &n);
  assert_memory_equal(x, y, (size_t)n * sizeof *x);
  ex__slabs_init(small, other, NULL, 8);
  assert_memory_not_equal(x, y, (size_t)n * sizeof *x);
  ex__slabs_free(params);
  ex__slabs_free(buffers);
  ex__slabs_free(other);
  ex__graph_free(small);
  ex__graph_free(graph);
}

static void refusals_leave_the_graph_as_it_was(void **state) {
  (void)state;
  ex_graph *graph = make();
  int32_t v = 77, in[EX_MAX_INPUTS + 1] = {1, 3}, n = ex__graph_n_nodes(graph);
  int32_t tensors = ex__graph_n_tensors(graph);
  struct ex_conv2d bad = conv_attr;
  bad.stride = 0;
  char long_name[EX_NAME_SIZE + 1];
  memset(long_name, 'a', EX_NAME_SIZE);
  long_name[EX_NAME_SIZE] = '\0';
#define REFUSED(code, text, op, name, attr, inputs, n_in) \
  assert_refused(ex__graph_add(graph, op, name, attr, inputs, n_in, &v, &err), code, &err, text)
  REFUSED(EX_ENOTFOUND, "\"warp\" is unknown", "warp", NULL, NULL, in, 1);
  REFUSED(EX_EINVAL, "node 11 (relu \"\"): 2 inputs; must be 1 to 1", "relu", NULL, NULL, in, 2);
  REFUSED(EX_EINVAL, "must be an earlier node", "relu", NULL, NULL, &n, 1);
  in[0] = -1;
  REFUSED(EX_EINVAL, "input 0 is value -1", "relu", NULL, NULL, in, 1);
  in[0] = 1;
  REFUSED(EX_EINVAL, "stride = 0", "conv2d", "c", &bad, in, 1);
  REFUSED(EX_EINVAL, "must be unique", "conv2d", "stage1.conv", &conv_attr, in, 1);
  REFUSED(EX_EINVAL, "printable ASCII", "relu", "a b", NULL, in, 1);
  REFUSED(EX_EINVAL, "96 characters", "relu", long_name, NULL, in, 1);
  long_name[EX_NAME_SIZE - 1] = '\0';
  REFUSED(EX_EINVAL, "\".weight\"", "conv2d", long_name, &conv_attr, in, 1);
  in[0] = 10; /* a rank-1 value */
  REFUSED(EX_ESHAPE, "(conv2d \"c\")", "conv2d", "c", &conv_attr, in, 1);
  struct ex_shape flat = {2, {3, 4}};
  assert_refused(ex__graph_add_input(graph, &flat, &v, &err), EX_ESHAPE, &err, "1 or 3");
  struct ex_shape huge = {3, {65536, 65536, 65536}};
  assert_refused(ex__graph_add_input(graph, &huge, &v, &err), EX_ESHAPE, &err, "elements");
  struct ex_shape empty = {3, {3, 0, 4}};
  assert_int_not_equal(ex__graph_add_input(graph, &empty, &v, &err), EX_OK);
  ex__graph_segment(graph, 1024, 0);
  REFUSED(EX_EINVAL, "segment = 1024; must be in [0, 1023]", "relu", NULL, NULL, &v, 1);
  ex__graph_segment(graph, 0, -1);
  REFUSED(EX_EINVAL, "slab = -1", "relu", NULL, NULL, &v, 1);
  assert_int_equal(ex__graph_n_nodes(graph), n);
  assert_int_equal(ex__graph_n_tensors(graph), tensors);
  assert_int_equal(v, 77);
  ex__graph_free(graph);
}

/* Segment 0 may not wait for what waits for it, however long the way. */
static void segments_do_not_wait_for_each_other(void **state) {
  (void)state;
  ex_graph *graph;
  ex__graph_new(&graph);
  int32_t v, x = add_input(graph, 1, 2), at = add(graph, "relu", NULL, NULL, &x, 1), first = at;
  for (int32_t s = 1; s < 100; s++) {
    ex__graph_segment(graph, s, 0);
    at = add(graph, "relu", NULL, NULL, &at, 1);
  }
  ex__graph_segment(graph, 0, 0);
  assert_refused(ex__graph_add(graph, "relu", NULL, NULL, &at, 1, &v, &err), EX_EINVAL, &err,
                 "value 100 of segment 99, which itself waits for segment 0");
  ex__graph_segment(graph, 100, 0);
  int32_t both[2] = {first, at};
  add(graph, "add", NULL, NULL, both, 2);
  ex__graph_segment(graph, 99, 0); /* an input of the graph is there before all segments */
  both[0] = x;
  add(graph, "add", NULL, NULL, both, 2);
  /* An edge that is drawn late closes a ring of segments that were there before. */
  ex__graph_segment(graph, 200, 0);
  int32_t a = add(graph, "relu", NULL, NULL, &x, 1);
  ex__graph_segment(graph, 201, 0);
  int32_t b = add(graph, "relu", NULL, NULL, &a, 1);
  ex__graph_segment(graph, 202, 0);
  int32_t c = add(graph, "relu", NULL, NULL, &b, 1);
  ex__graph_segment(graph, 200, 0);
  add(graph, "relu", NULL, NULL, &first, 1);
  assert_refused(ex__graph_add(graph, "relu", NULL, NULL, &c, 1, &v, &err), EX_EINVAL, &err,
                 "segment 202");
  ex__graph_segment(graph, 0, 0);
  assert_refused(ex__graph_add(graph, "relu", NULL, NULL, &c, 1, &v, &err), EX_EINVAL, &err,
                 "segment 202, which itself waits for segment 0");
  ex__graph_free(graph);
}

static char *dump(const ex_graph *graph) {
  char *text;
  json_t *json = ex__graph_to_json(graph);
  assert_non_null(json);
  assert_int_equal(ex__json_dump(json, false, &text), EX_OK);
  json_decref(json);
  return text;
}

static enum ex_status read_text(const char *text, ex_graph **out) {
  json_t *json;
  assert_ok(ex__json_parse(text, strlen(text), "test", &json, &err), &err);
  enum ex_status status = ex__graph_from_json(json, out, &err);
  json_decref(json);
  return status;
}

static void json_round_trip(void **state) {
  (void)state;
  ex_graph *graph = make(), *back;
  char *text = dump(graph);
  assert_ok(read_text(text, &back), &err);
  char *again = dump(back);
  assert_string_equal(text, again);
  assert_int_equal(ex__graph_n_tensors(back), ex__graph_n_tensors(graph));
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *a = ex__graph_tensor(graph, t), *b = ex__graph_tensor(back, t);
    assert_string_equal(a->name, b->name);
    assert_true(ex__shape_equal(&a->shape, &b->shape) && a->role == b->role && a->init == b->init);
    assert_true(a->node == b->node && a->slab == b->slab && a->offset == b->offset);
  }
  ex__free(text);
  ex__free(again);
  ex__graph_free(back);
  ex__graph_free(graph);
}

#define INPUT                                                                                    \
  "{\"op\":\"input\",\"version\":1,\"name\":\"\",\"segment\":0,\"slab\":0,\"init\":\"default\"," \
  "\"in\":[],\"attr\":{\"shape\":[3,8,8]},\"keep\":false}"
#define RELU(rest) \
  "[" INPUT ",{\"op\":\"relu\",\"version\":1,\"name\":\"r\",\"init\":\"default\"" rest "}]"
#define PLACE ",\"segment\":0,\"slab\":0,\"keep\":true"

static void hostile_json(void **state) {
  (void)state;
  static const char *const bad[][2] = {
      {"{}", "array of 1 to 65536"},
      {"[]", "array of 1 to 65536"},
      {"[1]", "must be an object"},
      {"[{\"op\":\"warp\",\"version\":1}]", "graph: node 0: the operator \"warp\" is unknown"},
      {"[{\"op\":\"relu\",\"version\":99}]", "version 99 of operator relu"},
      {"[{\"op\":\"relu\",\"version\":1,\"code\":\"x\"}]", "\"code\" is unknown"},
      {RELU(PLACE ",\"in\":[1],\"attr\":{}"), "must be an earlier node"},
      {RELU(PLACE ",\"in\":[-1],\"attr\":{}"), "ids of nodes"},
      {RELU(PLACE ",\"in\":[4294967296],\"attr\":{}"), "ids of nodes"},
      {RELU(PLACE ",\"in\":[0.0],\"attr\":{}"), "ids of nodes"},
      {RELU(PLACE ",\"in\":[0,0,0,0,0,0,0,0,0],\"attr\":{}"), "at most 8"},
      {RELU(PLACE ",\"in\":[0],\"attr\":{\"slope\":1}"), "slope"},
      {RELU(PLACE ",\"in\":[0],\"attr\":[]"), "must be an object"},
      {RELU(PLACE ",\"in\":[0]"), "\"attr\" is missing"},
      {RELU(",\"segment\":1024,\"slab\":0,\"keep\":true,\"in\":[0],\"attr\":{}"), "[0, 1023]"},
      {RELU(",\"segment\":0,\"slab\":-1,\"keep\":true,\"in\":[0],\"attr\":{}"), "\"slab\" = -1"},
      {RELU(",\"segment\":0,\"slab\":0,\"keep\":1,\"in\":[0],\"attr\":{}"), "\"keep\""},
      {"[" INPUT "," INPUT "]", NULL}, /* two inputs without a name are fine */
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    ex_graph *graph;
    enum ex_status status = read_text(bad[i][0], &graph);
    if (bad[i][1] == NULL) {
      assert_ok(status, &err);
      ex__graph_free(graph);
      continue;
    }
    assert_int_not_equal(status, EX_OK);
    assert_null(graph);
    if (strstr(err.text, bad[i][1]) == NULL) fail_msg("\"%s\" lacks \"%s\"", err.text, bad[i][1]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(shapes_and_counts),
      cmocka_unit_test(slabs_hold_every_tensor),
      cmocka_unit_test(init_by_scheme_and_name),
      cmocka_unit_test(refusals_leave_the_graph_as_it_was),
      cmocka_unit_test(segments_do_not_wait_for_each_other),
      cmocka_unit_test(json_round_trip),
      cmocka_unit_test(hostile_json),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
