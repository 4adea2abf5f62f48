/* SPDX-License-Identifier: Apache-2.0
 *
 * Flows: scaled, stopped and partial gradients between the parts of a network,
 * which together are the gradient of no single loss.
 *
 * The oracle is a loss with frozen copies, whose gradient it is: the network is
 * run once more, segment by segment, and a reader that a flow names is given
 * copy + scale × (value − copy) in the channels of the flow and the copy alone
 * in the others, where `copy` is the value at the weights in question. At those
 * weights that is the value itself; around them it moves as the flow says.
 */
#include <math.h>

#include "base/memory.h"
#include "base/random.h"
#include "tests/testing.h"
#include "tests/tiny_net.h"
#include "train/train_step.h"

enum { BATCH = 4, FEATURES = TINY_CHANNELS * TINY_SIZE * TINY_SIZE, MOST_PORTS = 8 };
enum { MOST_VALUES = 64, MOST_SEGMENTS = 9 };

static struct ex_error err;
static const int32_t target[BATCH] = {2, 0, 1, 1};
static const struct ex_pass forward_seed = {.seed = 77};

/* The network run from its segments, with the flows inside. */
struct oracle {
  const ex_net *net;
  const struct ex_flows *flows;
  ex_program *program[MOST_SEGMENTS];
  ex_run *run[MOST_SEGMENTS];
  ex_real *value[MOST_VALUES], *copy[MOST_VALUES]; /* NULL: inside a segment */
  ex_real *mixed[MOST_SEGMENTS][MOST_PORTS];
  int64_t size[MOST_VALUES];
};

static void add_port(struct oracle *o, int32_t id, int64_t size) {
  if (o->value[id] != NULL) return;
  o->size[id] = size;
  o->value[id] = ex__calloc((size_t)size, sizeof(ex_real));
  o->copy[id] = ex__calloc((size_t)size, sizeof(ex_real));
}

static void oracle_open(struct oracle *o, const ex_net *net, const struct ex_flows *flows) {
  memset(o, 0, sizeof *o);
  o->net = net;
  o->flows = flows;
  assert_true(ex__graph_n_nodes(net->graph) <= MOST_VALUES);
  const struct ex_program_options options = {
      .batch = BATCH, .threads = 1, .mode = EX_MODE_TRAIN, .backend = EX_BACKEND_TWIN};
  for (int32_t s = 0; s < net->n_stages * EX_N_PARTS; s++) {
    if (s % EX_N_PARTS == EX_PART_GATE) continue;
    assert_ok(
        ex__program_new(net->graph, s, net->params, net->buffers, &options, &o->program[s], &err),
        &err);
    assert_ok(ex__run_new(o->program[s], NULL, &o->run[s], &err), &err);
    for (int32_t i = 0; i < ex__program_n_in(o->program[s]); i++) {
      int64_t size = ex__program_in_size(o->program[s], i);
      add_port(o, ex__program_in_value(o->program[s], i), size);
      o->mixed[s][i] = ex__calloc((size_t)size, sizeof(ex_real));
    }
    for (int32_t i = 0; i < ex__program_n_out(o->program[s]); i++)
      add_port(o, ex__program_out_value(o->program[s], i), ex__program_out_size(o->program[s], i));
  }
}

static void oracle_close(struct oracle *o) {
  for (int32_t s = 0; s < MOST_SEGMENTS; s++) {
    ex__run_free(o->run[s]);
    ex__program_free(o->program[s]);
    for (int32_t i = 0; i < MOST_PORTS; i++) ex__free(o->mixed[s][i]);
  }
  for (int32_t v = 0; v < MOST_VALUES; v++) {
    ex__free(o->value[v]);
    ex__free(o->copy[v]);
  }
}

/* What a segment is given where it reads value `id`. */
static const ex_real *given(struct oracle *o, int32_t s, int32_t i, int32_t id) {
  for (int32_t f = 0; f < o->flows->n; f++) {
    const struct ex_flow *flow = &o->flows->flow[f];
    if (flow->segment != s || flow->value != id) continue;
    const struct ex_shape *shape = &ex__graph_node(o->net->graph, id)->shape;
    int64_t count = o->size[id] / BATCH, plane = count / shape->dim[0];
    for (int64_t k = 0; k < o->size[id]; k++) {
      int64_t channel = k % count / plane;
      bool inside = channel >= flow->from && (flow->to == 0 || channel < flow->to);
      ex_real scale = inside ? flow->scale : 0;
      o->mixed[s][i][k] = o->copy[id][k] + scale * (o->value[id][k] - o->copy[id][k]);
    }
    return o->mixed[s][i];
  }
  return o->value[id];
}

/* Outputs of the heads at the net's weights, in o->value. */
static void oracle_forward(struct oracle *o) {
  for (int32_t s = 0; s < MOST_SEGMENTS; s++) {
    if (o->program[s] == NULL) continue;
    const ex_real *in[MOST_PORTS];
    ex_real *out[MOST_PORTS];
    for (int32_t i = 0; i < ex__program_n_in(o->program[s]); i++)
      in[i] = given(o, s, i, ex__program_in_value(o->program[s], i));
    for (int32_t i = 0; i < ex__program_n_out(o->program[s]); i++)
      out[i] = o->value[ex__program_out_value(o->program[s], i)];
    const struct ex_pass pass = {.params = o->net->params, .seed = forward_seed.seed};
    ex__run_forward(o->run[s], &pass, in, out);
  }
}

/* Frozen copies are taken without any flow. */
static void oracle_freeze(struct oracle *o) {
  static const struct ex_flows none;
  const struct ex_flows *held = o->flows;
  o->flows = &none;
  oracle_forward(o);
  o->flows = held;
  for (int32_t v = 0; v < MOST_VALUES; v++)
    if (o->value[v] != NULL) memcpy(o->copy[v], o->value[v], (size_t)o->size[v] * sizeof(ex_real));
}

/* A method's loss of these outputs; adds gradients where doutput is given. */
static double loss_of(const struct ex_method *method, const void *values, const ex_net *net,
                      const ex_real *const *output, ex_real *const *doutput) {
  static ex_real spare[TINY_POINTS][BATCH * TINY_CLASSES], scratch[BATCH * (TINY_CLASSES + 2)];
  static double point_loss[EX_MAX_POINTS];
  ex_real *thrown[TINY_POINTS] = {spare[0], spare[1], spare[2]};
  struct ex_cost cost;
  ex__net_cost(net, &cost);
  const struct ex_loss_call call = {.n = BATCH,
                                    .n_points = TINY_POINTS,
                                    .n_outputs = TINY_CLASSES,
                                    .output = output,
                                    .target = target,
                                    .phase = EX_PHASE_ALL,
                                    .n_epochs = 1,
                                    .cost = &cost,
                                    .scratch = scratch,
                                    .doutput = doutput != NULL ? doutput : thrown,
                                    .point_loss = point_loss};
  return ex__method_loss(method, values, NULL, &call);
}

/* ---- a network under flows ----------------------------------------------- */

struct set_up {
  ex_net *net;
  struct ex_flows flows;
  const struct ex_method *method;
  _Alignas(16) char values[EX_MAX_METHOD_VALUES];
  ex_stepper *stepper;
  ex_slabs *grads;
};

static void open_net(struct set_up *s, const struct ex_method *method) {
  memset(s, 0, sizeof *s);
  s->method = method;
  ex__param_defaults(method->params, s->values);
  s->net = tiny_net_with(0.3, true, 3, method->equip, s->values);
}

static void open_stepper(struct set_up *s) {
  const struct ex_stepper_options options = {.batch = BATCH,
                                             .threads = 1,
                                             .backend = EX_BACKEND_TWIN,
                                             .phase = EX_PHASE_ALL,
                                             .flows = &s->flows};
  assert_ok(ex__stepper_new(s->net, &options, &s->stepper, &err), &err);
  assert_int_equal(ex__slabs_new(s->net->graph, EX_SLABS_PARAMS, &s->grads), EX_OK);
  struct ex_random random = ex__random_seed(5, 6);
  ex_real *x = ex__stepper_input(s->stepper);
  for (int32_t i = 0; i < BATCH * FEATURES; i++) x[i] = ex__random_normal(&random);
}

static void close_all(struct set_up *s) {
  ex__stepper_free(s->stepper);
  ex__slabs_free(s->grads);
  ex_net_free(s->net);
}

static void gradient(struct set_up *s, int32_t points) {
  const struct ex_pass pass = {.params = s->net->params, .grads = s->grads, .seed = 77};
  ex__stepper_forward(s->stepper, &pass);
  loss_of(s->method, s->values, s->net, ex__stepper_output(s->stepper),
          ex__stepper_doutput(s->stepper));
  ex__slabs_zero(s->grads);
  ex__stepper_backward(s->stepper, &pass, points);
}

static double oracle_loss(struct oracle *o, const struct set_up *s) {
  const ex_real *output[TINY_POINTS];
  oracle_forward(o);
  for (int32_t p = 0; p < TINY_POINTS; p++) output[p] = o->value[s->net->points[p].output];
  return loss_of(s->method, s->values, s->net, output, NULL);
}

static double central_difference(struct oracle *o, const struct set_up *s, ex_real *w) {
  const double step = 1e-5;
  double held = *w;
  *w = held + step;
  double above = oracle_loss(o, s);
  *w = held - step;
  double below = oracle_loss(o, s);
  *w = held;
  return (above - below) / (2 * step);
}

static void check_gradient(struct set_up *s, const char *what) {
  struct oracle o;
  const ex_graph *graph = s->net->graph;
  open_stepper(s);
  oracle_open(&o, s->net, &s->flows);
  int32_t input = 0; /* the graph's first node */
  memcpy(o.value[input], ex__stepper_input(s->stepper), BATCH * FEATURES * sizeof(ex_real));
  oracle_freeze(&o);
  gradient(s, EX_ALL_POINTS);
  double difference = 0, size = 0;
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
    if (info->role == EX_ROLE_BUFFER) continue;
    ex_real *w = ex__slabs_tensor(s->net->params, graph, t);
    const ex_real *g = ex__slabs_tensor(s->grads, graph, t);
    for (int64_t i = 0; i < ex__shape_count(&info->shape); i++) {
      double numeric = central_difference(&o, s, &w[i]);
      difference += (numeric - g[i]) * (numeric - g[i]);
      size += numeric * numeric;
    }
  }
  assert_true(size > 0.01);
  double error = sqrt(difference / size);
  if (!(error < 1e-6)) fail_msg("%s: relative error of the gradient %g", what, error);
  oracle_close(&o);
}

/* ---- tests --------------------------------------------------------------- */

static int32_t body(int32_t stage) { return ex__net_segment(stage, EX_PART_BODY); }
static int32_t head(int32_t stage) { return ex__net_segment(stage, EX_PART_HEAD); }

static void flows_are_the_gradient_of_frozen_copies(void **state) {
  (void)state;
  for (int32_t k = 0; k < 7; k++) {
    struct set_up s;
    open_net(&s, ex__method_find("joint"));
    int32_t first = ex__method_feature(s.net, 0), second = ex__method_feature(s.net, 1);
    int32_t answer = s.net->points[0].output;
    const struct ex_flow list[7][3] = {
        {{0}},                                                       /* none: the plain gradient */
        {{first, head(0), 0.3, 0, 0}},                               /* scaled */
        {{first, body(1), 0, 0, 0}, {second, head(1), 0, 0, 0}},     /* stopped */
        {{first, head(0), 1, 2, 4}, {first, body(2), 1, 0, 2}},      /* channels */
        {{first, body(1), -0.5, 1, 3}, {second, body(2), 2, 3, 99}}, /* both; past the end */
        {{answer, head(1), 0.25, 0, 0}},                             /* from head to head */
        {{answer, head(1), 1, 1, 2}, {second, head(1), 0.5, 0, 1}, {first, head(0), 0, 0, 0}},
    };
    for (int32_t f = 0; f < 3; f++)
      if (list[k][f].segment > 0) ex__method_flow(&s.flows, list[k][f]);
    char what[16];
    snprintf(what, sizeof what, "case %d", (int)k);
    check_gradient(&s, what);
    close_all(&s);
  }
}

static void check_method(const struct ex_method *method, const char *param, const char *text) {
  struct set_up s;
  open_net(&s, method);
  if (param != NULL)
    assert_ok(ex__param_set(method->name, method->params, s.values, param, text, &err), &err);
  method->flow(s.values, s.net, &s.flows);
  check_gradient(&s, method->name);
  close_all(&s);
}

/* With its defaults, and with every choice and both ends of every range. */
static void every_method_with_flows_says_what_it_does(void **state) {
  (void)state;
  const struct ex_method *method;
  for (int32_t m = 0; (method = ex__method_at(m)) != NULL; m++) {
    if (method->flow == NULL || method->detached) continue;
    check_method(method, NULL, NULL);
    for (const struct ex_param *p = method->params; p != NULL && p->name != NULL; p++) {
      for (int32_t c = 0; p->type == EX_PARAM_ENUM && p->choices[c] != NULL; c++)
        check_method(method, p->name, p->choices[c]);
      char text[32];
      for (int32_t end = 0; p->type == EX_PARAM_REAL && end < 2; end++) {
        snprintf(text, sizeof text, "%.17g", end ? p->max : p->min);
        check_method(method, p->name, text);
      }
    }
  }
}

static double most(const ex_slabs *slabs) {
  double size = 0;
  for (int32_t i = 0; i < slabs->n; i++)
    for (int64_t k = 0; k < slabs->size[i]; k++) size = fmax(size, fabs(slabs->data[i][k]));
  return size;
}

/* Backward is linear in its seeds under flows too. */
static void exits_add_up_under_flows(void **state) {
  (void)state;
  struct set_up s;
  ex_slabs *sum;
  open_net(&s, ex__method_find("joint"));
  ex__method_flow(&s.flows, (struct ex_flow){ex__method_feature(s.net, 0), head(0), 0.3, 1, 3});
  ex__method_flow(&s.flows, (struct ex_flow){ex__method_feature(s.net, 0), body(1), 1, 0, 2});
  open_stepper(&s);
  assert_int_equal(ex__slabs_new(s.net->graph, EX_SLABS_PARAMS, &sum), EX_OK);
  for (int32_t p = 0; p < TINY_POINTS; p++) {
    gradient(&s, 1 << p);
    assert_true(most(s.grads) > 0.01);
    for (int32_t i = 0; i < sum->n; i++)
      for (int64_t k = 0; k < sum->size[i]; k++) sum->data[i][k] += s.grads->data[i][k];
  }
  gradient(&s, EX_ALL_POINTS);
  for (int32_t i = 0; i < sum->n; i++)
    for (int64_t k = 0; k < sum->size[i]; k++) sum->data[i][k] -= s.grads->data[i][k];
  assert_true(most(sum) < 1e-12);
  ex__slabs_free(sum);
  close_all(&s);
}

/* A flow that changes nothing leaves every bit alone. */
static void a_whole_flow_is_none(void **state) {
  (void)state;
  struct set_up plain, flowing;
  open_net(&plain, ex__method_find("joint"));
  open_net(&flowing, plain.method);
  int32_t first = ex__method_feature(flowing.net, 0);
  ex__method_flow(&flowing.flows, (struct ex_flow){first, head(0), 1, 0, 0});
  ex__method_flow(&flowing.flows, (struct ex_flow){first, body(1), 1, 0, 4});
  open_stepper(&plain);
  open_stepper(&flowing);
  gradient(&plain, EX_ALL_POINTS);
  gradient(&flowing, EX_ALL_POINTS);
  for (int32_t i = 0; i < plain.grads->n; i++)
    assert_memory_equal(plain.grads->data[i], flowing.grads->data[i],
                        (size_t)plain.grads->size[i] * sizeof(ex_real));
  close_all(&plain);
  close_all(&flowing);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(flows_are_the_gradient_of_frozen_copies),
      cmocka_unit_test(every_method_with_flows_says_what_it_does),
      cmocka_unit_test(exits_add_up_under_flows),
      cmocka_unit_test(a_whole_flow_is_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
