/* SPDX-License-Identifier: Apache-2.0
 *
 * Every operator's backward against central differences in double, for the
 * inputs and for every parameter (of function, log, sqrt and reciprocal are left out, which have
 * no value or no bound where normal numbers fall). Each operator of the registry must have a
 * case here. Gradients that are zero throughout fail; backward must add to
 * what is there, and must leave alone what nobody wants.
 */
#include <math.h>

#include "tests/op_harness.h"

static const struct op_spec specs[] = {
    {"conv2d", "channels=4 kernel-h=3 kernel-w=3 pad-h=1 pad-w=1", 2, 1, {{3, {3, 5, 6}}}, true},
    {"conv2d", "channels=9 kernel-h=3 kernel-w=2 stride=2 pad-h=1", 2, 1, {{3, {2, 7, 9}}}, true},
    {"conv2d",
     "channels=6 kernel-h=3 kernel-w=3 groups=2 dilation=2 pad-h=2 pad-w=1 bias=false",
     2,
     1,
     {{3, {4, 6, 7}}},
     true},
    {"conv2d",
     "channels=5 kernel-h=3 kernel-w=3 groups=5 pad-h=1 pad-w=1",
     1,
     1,
     {{3, {5, 8, 8}}},
     true},
    {"conv2d", "channels=5 kernel-h=1 kernel-w=1 bias=false", 3, 1, {{3, {150, 3, 3}}}, true},
    {"conv2d",
     "channels=2 kernel-h=5 kernel-w=5 pad-h=3 pad-w=3 stride=3",
     1,
     1,
     {{3, {1, 7, 7}}},
     true},
    {"conv2d", "channels=3 kernel-h=3 kernel-w=3 pad-h=1 pad-w=1", 1, 1, {{3, {16, 4, 3}}}, true},
    {"linear", "features=7", 3, 1, {{1, {11}}}, true},
    {"linear", "features=9 bias=false", 5, 1, {{1, {16}}}, true},
    {"batch_norm", "", 3, 1, {{3, {4, 3, 5}}}, true},
    {"batch_norm", "eps=0.1", 3, 1, {{3, {4, 3, 5}}}, false},
    {"batch_norm", "", 6, 1, {{1, {5}}}, true},
    {"batch_norm", "", 6, 1, {{1, {5}}}, false},
    {"max_pool", "", 2, 1, {{3, {3, 6, 7}}}, true},
    {"max_pool", "kernel=3 stride=2 pad=1", 2, 1, {{3, {2, 7, 8}}}, true},
    {"max_pool", "kernel=3 stride=2 ceil-mode=true", 2, 1, {{3, {2, 6, 8}}}, true},
    {"avg_pool", "", 2, 1, {{3, {3, 6, 7}}}, true},
    {"avg_pool", "kernel=3 stride=2 pad=1", 2, 1, {{3, {2, 7, 8}}}, true},
    {"avg_pool", "kernel=3 stride=2 pad=1 count-include-pad=false", 2, 1, {{3, {2, 7, 8}}}, true},
    {"avg_pool", "kernel=3 stride=2 pad=1 ceil-mode=true", 2, 1, {{3, {2, 6, 8}}}, true},
    {"global_avg_pool", "", 3, 1, {{3, {5, 3, 4}}}, true},
    {"adaptive_pool", "height=3 width=2", 2, 1, {{3, {2, 7, 5}}}, true},
    {"adaptive_pool", "height=3 width=2 max=true", 2, 1, {{3, {2, 7, 5}}}, true},
    {"adaptive_pool", "height=5 width=4", 1, 1, {{3, {2, 3, 3}}}, true},
    {"relu", "", 2, 1, {{3, {3, 4, 5}}}, true},
    {"normalise", "mean=0.5,-0.25 deviation=0.02,0.5 bytes=true", 2, 1, {{3, {2, 3, 4}}}, true},
    {"gelu", "", 2, 1, {{1, {33}}}, true},
    {"sigmoid", "", 2, 1, {{1, {33}}}, true},
    {"softmax", "", 3, 1, {{1, {10}}}, true},
    {"softmax", "", 2, 1, {{3, {4, 3, 2}}}, true},
    {"log_softmax", "", 3, 1, {{1, {10}}}, true},
    {"confidence", "", 3, 1, {{1, {10}}}, true},
    {"log_softmax", "", 2, 1, {{3, {4, 3, 2}}}, true},
    {"add", "", 2, 2, {{1, {9}}, {1, {9}}}, true},
    {"add", "", 2, 3, {{3, {2, 3, 3}}, {3, {2, 3, 3}}, {3, {2, 3, 3}}}, true},
    {"mul", "", 2, 2, {{1, {9}}, {1, {9}}}, true},
    {"mul", "", 2, 3, {{3, {2, 3, 3}}, {3, {2, 3, 3}}, {3, {2, 3, 3}}}, true},
    {"blend", "", 2, 2, {{3, {2, 3, 3}}, {3, {2, 3, 3}}}, true},
    {"concat", "", 2, 3, {{3, {2, 3, 4}}, {3, {1, 3, 4}}, {3, {5, 3, 4}}}, true},
    {"concat", "", 3, 2, {{1, {4}}, {1, {3}}}, true},
    {"slice", "begin=1 end=3", 2, 1, {{3, {4, 3, 2}}}, true},
    {"slice", "begin=2", 2, 1, {{1, {5}}}, true},
    {"reshape", "shape=24", 2, 1, {{3, {2, 3, 4}}}, true},
    {"dropout", "rate=0.3", 3, 1, {{3, {2, 4, 4}}}, true},
    {"dropout", "rate=0.3", 3, 1, {{1, {9}}}, false},
    {"lrn", "size=3 alpha=0.9 k=2", 2, 1, {{3, {5, 2, 3}}}, true},
    {"lrn", "size=5 alpha=2 beta=0.5", 2, 1, {{1, {4}}}, true},
    {"function", "kind=abs", 2, 1, {{1, {33}}}, true},
    {"function", "kind=affine a=2 b=-1", 2, 1, {{1, {33}}}, true},
    {"function", "kind=celu a=0.7", 2, 1, {{1, {33}}}, true},
    {"function", "kind=clip a=-0.6 b=0.4", 2, 1, {{1, {33}}}, true},
    {"function", "kind=cos", 2, 1, {{1, {33}}}, true},
    {"function", "kind=elu a=0.5", 2, 1, {{1, {33}}}, true},
    {"function", "kind=erf", 2, 1, {{1, {33}}}, true},
    {"function", "kind=exp", 2, 1, {{1, {33}}}, true},
    {"function", "kind=hard-sigmoid a=0.2 b=0.5", 2, 1, {{1, {33}}}, true},
    {"function", "kind=hard-swish", 2, 1, {{1, {33}}}, true},
    {"function", "kind=leaky-relu a=0.1", 2, 1, {{1, {33}}}, true},
    {"function", "kind=power a=2", 2, 1, {{1, {33}}}, true},
    {"function", "kind=selu a=1.6732632 b=1.0507", 2, 1, {{1, {33}}}, true},
    {"function", "kind=sin", 2, 1, {{1, {33}}}, true},
    {"function", "kind=softplus", 2, 1, {{1, {33}}}, true},
    {"function", "kind=softsign", 2, 1, {{1, {33}}}, true},
    {"function", "kind=tanh", 2, 1, {{1, {33}}}, true},
    {"function", "kind=thresholded-relu a=0.5", 2, 1, {{1, {33}}}, true},
    {"arithmetic",
     "kind=add shape=6 dims=2,3 first-steps=3,1 second-steps=0,1",
     2,
     2,
     {{1, {6}}, {1, {3}}},
     true},
    {"arithmetic",
     "kind=sub shape=6 dims=2,3 first-steps=3,1 second-steps=0,1",
     2,
     2,
     {{1, {6}}, {1, {3}}},
     true},
    {"arithmetic",
     "kind=mul shape=6 dims=2,3 first-steps=3,1 second-steps=0,1",
     2,
     2,
     {{1, {6}}, {1, {3}}},
     true},
    {"arithmetic",
     "kind=max shape=6 dims=2,3 first-steps=3,1 second-steps=0,1",
     2,
     2,
     {{1, {6}}, {1, {3}}},
     true},
    {"arithmetic",
     "kind=min shape=6 dims=2,3 first-steps=3,1 second-steps=0,1",
     2,
     2,
     {{1, {6}}, {1, {3}}},
     true},
    {"arithmetic",
     "kind=prelu shape=6 dims=2,3 first-steps=3,1 second-steps=0,1",
     2,
     2,
     {{1, {6}}, {1, {3}}},
     true},
    {"arithmetic",
     "kind=mul parameters=2 shape=2,1,3 dims=2,3 first-steps=3,1 second-steps=1,0",
     2,
     1,
     {{3, {2, 1, 3}}},
     true},
    {"arithmetic",
     "kind=prelu parameters=2 shape=6 dims=2,3 first-steps=3,1 second-steps=1,0",
     2,
     1,
     {{1, {6}}},
     true},
    {"arithmetic",
     "kind=sub swap=true parameters=2 shape=6 dims=2,3 first-steps=3,1 second-steps=1,0",
     2,
     1,
     {{1, {6}}},
     true},
    {"view", "shape=4,2,2 dims=4,2,2 steps=1,12,4 offset=4", 2, 1, {{3, {2, 3, 4}}}, true},
    {"view", "shape=6 dims=2,3 steps=0,-1 offset=2", 2, 1, {{1, {3}}}, true},
    {"pad",
     "shape=1,4,5 dims=1,2,3 before=0,1,0 after=0,1,2 value=0.5",
     2,
     1,
     {{3, {1, 2, 3}}},
     true},
    {"reduce", "kind=sum size=4 shape=3", 2, 1, {{3, {3, 1, 4}}}, true},
    {"reduce", "kind=mean size=4 shape=3", 2, 1, {{3, {3, 1, 4}}}, true},
    {"reduce", "kind=max size=4 shape=3", 2, 1, {{3, {3, 1, 4}}}, true},
    {"reduce", "kind=min size=4 shape=3", 2, 1, {{3, {3, 1, 4}}}, true},
    {"matmul",
     "count=2 rows=3 depth=5 columns=4 shape=2,3,4",
     2,
     2,
     {{3, {2, 3, 5}}, {3, {2, 5, 4}}},
     true},
    {"matmul",
     "count=2 rows=3 depth=5 columns=4 shared=true shape=2,3,4",
     2,
     2,
     {{3, {2, 3, 5}}, {1, {20}}},
     true},
    {"matmul", "rows=2 depth=3 columns=2 shared=true shape=2,1,2", 2, 1, {{3, {2, 1, 3}}}, true},
    {"row_softmax", "size=4", 2, 1, {{3, {3, 1, 4}}}, true},
    {"standardise", "size=5", 2, 1, {{3, {2, 1, 5}}}, true},
    {"window_pool",
     "kernel-h=2 kernel-w=3 stride-w=2 left=1 right=1 max=true",
     2,
     1,
     {{3, {2, 4, 6}}},
     true},
    {"window_pool",
     "kernel-h=2 kernel-w=3 dilation-w=2 top=1 bottom=1",
     2,
     1,
     {{3, {2, 4, 6}}},
     true},
    {"window_pool",
     "kernel-h=2 kernel-w=3 stride-h=2 top=1 count-include-pad=true",
     2,
     1,
     {{3, {2, 4, 6}}},
     true},
};
enum { N_SPECS = sizeof specs / sizeof *specs };

static const char *label(const struct op_spec *spec) {
  static char text[160];
  snprintf(text, sizeof text, "%s(%s)%s", spec->op, spec->attrs,
           spec->training ? "" : " inference");
  return text;
}

/* Σ dout · out: a scalar whose gradient is what backward is asked for. */
static double objective(const struct op_case *c) {
  double sum = 0;
  c->node.op->forward(&c->call);
  for (int64_t i = 0; i < op_out_count(c); i++) sum += c->dout[i] * c->call.out[i];
  return sum;
}

static void check(const struct op_spec *spec, const struct op_case *c, const char *what, ex_real *x,
                  const ex_real *dx, int64_t n) {
  const double step = 1e-5;
  double largest = 0;
  for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(dx[i]));
  if (!(largest > 1e-3)) fail_msg("%s: the gradient of %s is zero", label(spec), what);
  for (int64_t i = 0; i < n; i++) {
    ex_real held = x[i];
    x[i] = held + step;
    double above = objective(c);
    x[i] = held - step;
    double below = objective(c);
    x[i] = held;
    double expected = (above - below) / (2 * step);
    if (!(fabs(dx[i] - expected) <= 1e-6 * fmax(1, largest)))
      fail_msg("%s: d%s[%lld] = %.9g; differences give %.9g", label(spec), what, (long long)i,
               (double)dx[i], expected);
  }
}

static void want_gradients(struct op_case *c) {
  for (int32_t i = 0; i < c->node.n_in; i++) c->call.din[i] = op_array(op_in_count(c, i));
  for (int32_t t = 0; t < c->node.n_tensors; t++)
    if (c->decl[t].role != EX_ROLE_BUFFER)
      c->call.dtensor[t] = op_array(ex__shape_count(&c->decl[t].shape));
}

/* Arrays that the flags say backward does not read are spoilt before it. */
static void spoil(const struct op_case *c) {
  unsigned flags = c->node.op->flags;
  if (!(flags & EX_OP_NEEDS_OUTPUT))
    for (int64_t i = 0; i < op_out_count(c); i++) c->call.out[i] = NAN;
  if (!(flags & EX_OP_NEEDS_INPUT))
    for (int32_t k = 0; k < c->node.n_in; k++)
      for (int64_t i = 0; i < op_in_count(c, k); i++) c->in[k][i] = NAN;
}

static void gradients_are_right(void **state) {
  (void)state;
  for (int s = 0; s < N_SPECS; s++) {
    struct op_case c;
    op_open(&c, &specs[s]);
    want_gradients(&c);
    objective(&c);
    spoil(&c);
    c.node.op->backward(&c.call);
    for (int32_t i = 0; i < c.node.n_in; i++) op_fill(c.in[i], op_in_count(&c, i), (uint64_t)i);
    for (int32_t i = 0; i < c.node.n_in; i++)
      check(&specs[s], &c, "input", c.in[i], c.call.din[i], op_in_count(&c, i));
    for (int32_t t = 0; t < c.node.n_tensors; t++)
      if (c.call.dtensor[t] != NULL)
        check(&specs[s], &c, c.decl[t].suffix, c.call.tensor[t], c.call.dtensor[t],
              ex__shape_count(&c.decl[t].shape));
    op_close(&c);
  }
}

/* A second backward doubles every gradient, up to rounding. */
static void expect_doubled(const struct op_spec *spec, const ex_real *once, const ex_real *twice,
                           int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!(fabs(twice[i] - 2 * once[i]) <= 1e-12 * (1 + fabs(once[i]))))
      fail_msg("%s: backward twice gives %.9g; once %.9g", label(spec), twice[i], once[i]);
}

static ex_real *copy_of(const ex_real *from, int64_t n) {
  ex_real *copy = op_array(n);
  memcpy(copy, from, (size_t)n * sizeof *copy);
  return copy;
}

static void backward_adds(void **state) {
  (void)state;
  for (int s = 0; s < N_SPECS; s++) {
    struct op_case c;
    op_open(&c, &specs[s]);
    want_gradients(&c);
    objective(&c);
    c.node.op->backward(&c.call);
    ex_real *din[EX_MAX_INPUTS], *dtensor[EX_MAX_NODE_TENSORS] = {0};
    for (int32_t i = 0; i < c.node.n_in; i++) din[i] = copy_of(c.call.din[i], op_in_count(&c, i));
    for (int32_t t = 0; t < c.node.n_tensors; t++)
      if (c.call.dtensor[t] != NULL)
        dtensor[t] = copy_of(c.call.dtensor[t], ex__shape_count(&c.decl[t].shape));
    c.node.op->backward(&c.call);
    for (int32_t i = 0; i < c.node.n_in; i++) {
      expect_doubled(&specs[s], din[i], c.call.din[i], op_in_count(&c, i));
      free(din[i]);
    }
    for (int32_t t = 0; t < c.node.n_tensors; t++) {
      if (dtensor[t] != NULL)
        expect_doubled(&specs[s], dtensor[t], c.call.dtensor[t], ex__shape_count(&c.decl[t].shape));
      free(dtensor[t]);
    }
    op_close(&c);
  }
}

/* What flows back from one channel of the output ends in that channel of the
 * inputs, where the operator says so. */
static void channels_are_kept_apart(void **state) {
  (void)state;
  int n_apart = 0;
  for (int s = 0; s < N_SPECS; s++) {
    struct op_case c;
    op_open(&c, &specs[s]);
    want_gradients(&c);
    objective(&c);
    int64_t channels = c.in_shape[0].dim[0], batch = specs[s].batch;
    int64_t plane = op_out_count(&c) / batch / channels;
    bool apart = (c.node.op->flags & EX_OP_PER_CHANNEL) != 0;
    for (int64_t i = 0; apart && i < op_out_count(&c); i++)
      if (i / plane % channels != 0) c.dout[i] = 0;
    if (apart) c.node.op->backward(&c.call);
    for (int32_t k = 0; apart && k < c.node.n_in; k++)
      for (int64_t i = 0; i < op_in_count(&c, k); i++) {
        int64_t channel = i / (op_in_count(&c, k) / batch / channels) % channels;
        if (channel != 0 && c.call.din[k][i] != 0)
          fail_msg("%s: channel 0 reaches channel %d", label(&specs[s]), (int)channel);
      }
    n_apart += apart;
    op_close(&c);
  }
  assert_true(n_apart > 8 && n_apart < N_SPECS);
}

/* One wanted array at a time: the others are NULL, and what is wanted must come out the same. */
static void unwanted_gradients_are_left_out(void **state) {
  (void)state;
  for (int s = 0; s < N_SPECS; s++) {
    struct op_case c;
    op_open(&c, &specs[s]);
    objective(&c);
    c.node.op->backward(&c.call); /* nothing is wanted: must not crash */
    want_gradients(&c);
    c.node.op->backward(&c.call);
    ex_real **slots[EX_MAX_INPUTS + EX_MAX_NODE_TENSORS],
        *full[EX_MAX_INPUTS + EX_MAX_NODE_TENSORS];
    int64_t count[EX_MAX_INPUTS + EX_MAX_NODE_TENSORS];
    int n = 0;
    for (int32_t i = 0; i < c.node.n_in; i++, n++)
      slots[n] = &c.call.din[i], count[n] = op_in_count(&c, i);
    for (int32_t t = 0; t < c.node.n_tensors; t++)
      if (c.call.dtensor[t] != NULL)
        slots[n] = &c.call.dtensor[t], count[n++] = ex__shape_count(&c.decl[t].shape);
    for (int i = 0; i < n; i++) full[i] = *slots[i], *slots[i] = NULL;
    for (int i = 0; i < n; i++) {
      *slots[i] = op_array(count[i]);
      c.node.op->backward(&c.call);
      assert_memory_equal(*slots[i], full[i], (size_t)count[i] * sizeof(ex_real));
      free(*slots[i]);
      *slots[i] = NULL;
    }
    for (int i = 0; i < n; i++) free(full[i]);
    op_close(&c);
  }
}

static void every_operator_has_a_case(void **state) {
  (void)state;
  const struct ex_op *op;
  for (int32_t i = 0; (op = ex__op_at(i)) != NULL; i++) {
    bool found = op->backward == NULL || op->max_in == 0;
    for (int s = 0; s < N_SPECS; s++) found |= strcmp(specs[s].op, op->name) == 0;
    if (!found) fail_msg("%s has no gradient case", op->name);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_are_right),
      cmocka_unit_test(backward_adds),
      cmocka_unit_test(channels_are_kept_apart),
      cmocka_unit_test(unwanted_gradients_are_left_out),
      cmocka_unit_test(every_operator_has_a_case),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
