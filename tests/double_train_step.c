/* SPDX-License-Identifier: Apache-2.0
 *
 * Gradients of whole losses over a network of 3 exits, stage by stage through
 * the stepper, against central differences in double precision. The register
 * of methods is walked: one that is added is tested here without a new line.
 */
#include <math.h>

#include "base/memory.h"
#include "base/random.h"
#include "tests/testing.h"
#include "tests/tiny_net.h"
#include "train/train_step.h"

enum { BATCH = 4, FEATURES = TINY_CHANNELS * TINY_SIZE * TINY_SIZE };

static struct ex_error err;
static const int32_t target[BATCH] = {2, 0, -1, 1};

struct set_up {
  ex_net *net;
  ex_stepper *stepper;
  ex_slabs *grads;
  const struct ex_method *method;
  size_t state_size;
  void *state; /* as new before each loss */
  enum ex_phase phase;
  _Alignas(16) char values[EX_MAX_METHOD_VALUES];
  struct ex_cost cost;
  double point_loss[EX_MAX_POINTS];
  ex_real scratch[BATCH * (TINY_CLASSES + 2)];
};

/* How much state there is depends on the method's values. */
static void take_state(struct set_up *s) {
  struct ex_method_needs needs = {0};
  if (s->method->needs != NULL) s->method->needs(s->values, s->net, BATCH, 10, &needs);
  ex__free(s->state);
  s->state_size = needs.state;
  s->state = ex__calloc(needs.state + 1, 1);
}

static void open_method(struct set_up *s, ex_net *net, enum ex_phase phase,
                        const struct ex_method *method) {
  const struct ex_stepper_options options = {
      .batch = BATCH, .threads = 1, .backend = EX_BACKEND_TWIN, .phase = phase};
  memset(s, 0, sizeof *s);
  s->net = net;
  s->phase = phase;
  s->method = method;
  ex__param_defaults(s->method->params, s->values);
  take_state(s);
  ex__net_cost(net, &s->cost);
  assert_ok(ex__stepper_new(net, &options, &s->stepper, &err), &err);
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_PARAMS, &s->grads), EX_OK);
  struct ex_random random = ex__random_seed(5, 6);
  ex_real *x = ex__stepper_input(s->stepper);
  for (int32_t i = 0; i < BATCH * FEATURES; i++) x[i] = ex__random_normal(&random);
}

/* The small network as the method at its defaults wants it. */
static ex_net *net_for(const struct ex_method *method, bool linked) {
  _Alignas(16) char values[EX_MAX_METHOD_VALUES] = {0};
  ex__param_defaults(method->params, values);
  return tiny_net_with(0.3, linked, 3, method->equip, values);
}

static void open_phase(struct set_up *s, ex_net *net, enum ex_phase phase) {
  open_method(s, net, phase, ex__method_find("joint"));
}

static void close_phase(struct set_up *s) {
  ex__free(s->state);
  ex__slabs_free(s->grads);
  ex__stepper_free(s->stepper);
}

static void set(struct set_up *s, const char *name, const char *text) {
  assert_ok(ex__param_set(s->method->name, s->method->params, s->values, name, text, &err), &err);
  take_state(s);
}

static struct ex_pass pass_of(const struct set_up *s) {
  return (struct ex_pass){.params = s->net->params, .grads = s->grads, .seed = 77};
}

static struct ex_loss_call call_of(struct set_up *s) {
  return (struct ex_loss_call){.n = BATCH,
                               .n_points = TINY_POINTS,
                               .n_outputs = TINY_CLASSES,
                               .output = ex__stepper_output(s->stepper),
                               .gate = ex__stepper_gate(s->stepper),
                               .target = target,
                               .phase = s->phase,
                               .epoch = 1,
                               .n_epochs = 4,
                               .cost = &s->cost,
                               .scratch = s->scratch,
                               .doutput = ex__stepper_doutput(s->stepper),
                               .dgate = ex__stepper_dgate(s->stepper),
                               .point_loss = s->point_loss};
}

static double forward(struct set_up *s) {
  const struct ex_pass pass = pass_of(s);
  ex__stepper_forward(s->stepper, &pass);
  const struct ex_loss_call call = call_of(s);
  memset(s->state, 0, s->state_size);
  if (s->method->start != NULL) s->method->start(s->values, s->net, 1, s->state);
  return ex__method_loss(s->method, s->values, s->state, &call);
}

/* The gradient of the loss with the current parameters of the method. */
static void gradient(struct set_up *s, int32_t points) {
  const struct ex_pass pass = pass_of(s);
  forward(s);
  ex__slabs_zero(s->grads);
  ex__stepper_backward(s->stepper, &pass, points);
}

/* Relative error of the whole gradient, and that no tensor's part is zero
 * where it should not be. */
static void check_gradient(struct set_up *s) {
  const double step = 1e-5;
  const ex_graph *graph = s->net->graph;
  gradient(s, EX_ALL_POINTS);
  double difference = 0, size = 0;
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
    if (info->role == EX_ROLE_BUFFER) continue;
    ex_real *w = ex__slabs_tensor(s->net->params, graph, t);
    const ex_real *g = ex__slabs_tensor(s->grads, graph, t);
    double of_tensor = 0;
    for (int64_t i = 0; i < ex__shape_count(&info->shape); i++) {
      double held = w[i];
      w[i] = held + step;
      double above = forward(s);
      w[i] = held - step;
      double below = forward(s), numeric = (above - below) / (2 * step);
      w[i] = held;
      difference += (numeric - g[i]) * (numeric - g[i]);
      of_tensor += numeric * numeric;
    }
    if (of_tensor < 1e-8) fail_msg("%s: the gradient of %s is zero", s->method->name, info->name);
    size += of_tensor;
  }
  double error = sqrt(difference / size);
  if (!(error < 1e-6)) fail_msg("%s: relative error of the gradient %g", s->method->name, error);
}

/* One parameter that takes a choice set to its `choice`-th value, the others to
 * their defaults; NULL: past the last. */
static const char *choice_of(const struct ex_param *param, int32_t choice) {
  static const char *const truth[] = {"false", "true", NULL};
  if (param->type != EX_PARAM_BOOL && param->type != EX_PARAM_ENUM) return NULL;
  return (param->type == EX_PARAM_BOOL ? truth : param->choices)[choice];
}

static void gradient_with(const struct ex_method *method, const char *name, const char *text) {
  struct set_up s;
  open_method(&s, net_for(method, true), EX_PHASE_ALL, method);
  if (name != NULL) set(&s, name, text);
  bool admitted = method->check == NULL || method->check(s.values, TINY_POINTS, &err) == EX_OK;
  if (admitted) check_gradient(&s);
  close_phase(&s);
  ex_net_free(s.net);
}

static void every_method_has_the_gradient_of_its_loss(void **state) {
  (void)state;
  const struct ex_method *method;
  for (int32_t m = 0; (method = ex__method_at(m)) != NULL; m++) {
    if (method->detached) continue;
    gradient_with(method, NULL, NULL);
    for (const struct ex_param *param = method->params; param != NULL && param->name != NULL;
         param++)
      for (int32_t c = 0; choice_of(param, c) != NULL; c++)
        gradient_with(method, param->name, choice_of(param, c));
  }
}

/* The numbers that a parameter is set to where the phase must not heed it. */
static void set_to_largest(struct set_up *s, const struct ex_param *param) {
  char text[32];
  if (param->type != EX_PARAM_REAL && param->type != EX_PARAM_INT) return;
  snprintf(text, sizeof text, "%.9g", param->max);
  set(s, param->name, text);
}

/* Also with every head run and trained, as those are that the last one reads. */
static void every_method_trains_the_trunk_alike(void **state) {
  (void)state;
  const struct ex_method *method;
  for (int32_t m = 0; (method = ex__method_at(m)) != NULL; m++)
    for (int others = 0; others < 2; others++) {
      struct set_up s;
      ex_real expected[BATCH * TINY_CLASSES];
      open_method(&s, net_for(method, false), others ? EX_PHASE_ALL : EX_PHASE_TRUNK, method);
      s.phase = EX_PHASE_TRUNK;
      for (const struct ex_param *param = method->params; param != NULL && param->name != NULL;
           param++)
        set_to_largest(&s, param);
      take_state(&s);
      double loss = forward(&s);
      ex_real *const *doutput = ex__stepper_doutput(s.stepper);
      for (int32_t p = 0; p < TINY_POINTS - 1; p++)
        for (int32_t i = 0; doutput[p] != NULL && i < BATCH * TINY_CLASSES; i++)
          assert_true(doutput[p][i] == 0);
      memcpy(expected, doutput[TINY_POINTS - 1], sizeof expected);
      memset(doutput[TINY_POINTS - 1], 0, sizeof expected);
      const struct ex_loss_call call = call_of(&s);
      assert_true(loss == ex__method_cross_entropy(&call, TINY_POINTS - 1, 1, 0));
      assert_memory_equal(expected, doutput[TINY_POINTS - 1], sizeof expected);
      close_phase(&s);
      ex_net_free(s.net);
    }
}

static void joint_gradient_is_exact(void **state) {
  (void)state;
  static const char *const forms[] = {"fixed", "linear", "ramped"};
  for (int linked = 0; linked < 2; linked++)
    for (int form = 0; form < 3; form++) {
      struct set_up s;
      open_phase(&s, tiny_net(0.3, linked, 3), EX_PHASE_ALL);
      set(&s, "form", forms[form]);
      set(&s, "label-smoothing", form == 1 ? "0.1" : "0");
      if (form == 0) set(&s, "weights", "0.7,1.3,0.5");
      check_gradient(&s);
      close_phase(&s);
      ex_net_free(s.net);
    }
}

static double distance(const ex_slabs *a, const ex_slabs *b, double scale) {
  double most = 0;
  for (int32_t i = 0; i < a->n; i++)
    for (int64_t k = 0; k < a->size[i]; k++)
      most = fmax(most, fabs(a->data[i][k] - scale * b->data[i][k]));
  return most;
}

static double size_of(const ex_slabs *a) {
  double most = 0;
  for (int32_t i = 0; i < a->n; i++)
    for (int64_t k = 0; k < a->size[i]; k++) most = fmax(most, fabs(a->data[i][k]));
  return most;
}

static void last_weight_alone_is_the_trunk(void **state) {
  (void)state;
  struct set_up all, trunk;
  ex_net *net = tiny_net(0.3, false, 3);
  open_phase(&all, net, EX_PHASE_ALL);
  open_phase(&trunk, net, EX_PHASE_TRUNK);
  set(&all, "weights", "0,0,1");
  gradient(&all, EX_ALL_POINTS);
  gradient(&trunk, EX_ALL_POINTS);
  assert_true(size_of(all.grads) > 0.01);
  assert_true(distance(all.grads, trunk.grads, 1) == 0); /* to the last bit */
  close_phase(&all);
  close_phase(&trunk);
  ex_net_free(net);
}

static void gradients_add_up(void **state) {
  (void)state;
  static const double weights[TINY_POINTS] = {0.7, 1.3, 0.5};
  struct set_up s, one;
  ex_net *net = tiny_net(0, true, 3);
  open_phase(&s, net, EX_PHASE_ALL);
  open_phase(&one, net, EX_PHASE_ALL);
  set(&s, "weights", "0.7,1.3,0.5");
  gradient(&s, EX_ALL_POINTS);
  for (int32_t p = 0; p < TINY_POINTS; p++) {
    gradient(&one, 1 << p); /* weights are 1 */
    assert_true(size_of(one.grads) > 0.01);
    for (int32_t i = 0; i < one.grads->n; i++)
      for (int64_t k = 0; k < one.grads->size[i]; k++)
        s.grads->data[i][k] -= weights[p] * one.grads->data[i][k];
  }
  assert_true(size_of(s.grads) < 1e-12);
  close_phase(&s);
  close_phase(&one);
  ex_net_free(net);
}

/* Several backward passes from one forward give what separate ones give. */
static void backward_repeats(void **state) {
  (void)state;
  struct set_up s;
  ex_net *net = tiny_net(0.3, true, 3);
  open_phase(&s, net, EX_PHASE_ALL);
  ex_slabs *whole;
  assert_int_equal(ex__slabs_new(net->graph, EX_SLABS_PARAMS, &whole), EX_OK);
  gradient(&s, EX_ALL_POINTS);
  ex__slabs_copy(whole, s.grads);
  const struct ex_pass pass = pass_of(&s);
  ex__slabs_zero(s.grads);
  for (int32_t p = 0; p < TINY_POINTS; p++) ex__stepper_backward(s.stepper, &pass, 1 << p);
  assert_true(distance(whole, s.grads, 1) < 1e-12);
  assert_true(size_of(whole) > 0.01);
  ex__slabs_free(whole);
  close_phase(&s);
  ex_net_free(net);
}

/* Largest gradient among the tensors whose name begins so. */
static double largest(const struct set_up *s, const char *prefix) {
  const ex_graph *graph = s->net->graph;
  double most = -1;
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
    if (info->role == EX_ROLE_BUFFER || strncmp(info->name, prefix, strlen(prefix)) != 0) continue;
    const ex_real *g = ex__slabs_tensor(s->grads, graph, t);
    for (int64_t i = 0; i < ex__shape_count(&info->shape); i++) most = fmax(most, fabs(g[i]));
  }
  if (most < 0) fail_msg("no tensor is called %s", prefix);
  return most;
}

static void an_exit_does_not_move_what_lies_behind_it(void **state) {
  (void)state;
  struct set_up s;
  ex_net *net = tiny_net(0, false, 3);
  open_phase(&s, net, EX_PHASE_ALL);
  gradient(&s, 1 << 1); /* the second of three */
  assert_true(largest(&s, "stage0.") > 0.001);
  assert_true(largest(&s, "stage1.") > 0.001);
  assert_true(largest(&s, "head1.") > 0.001);
  assert_true(largest(&s, "head0.") == 0);
  assert_true(largest(&s, "stage2.") == 0);
  assert_true(largest(&s, "head2.") == 0);
  close_phase(&s);
  ex_net_free(net);
}

static void phases_train_what_they_say(void **state) {
  (void)state;
  ex_net *net = tiny_net(0, false, 3);
  static const enum ex_phase phases[] = {EX_PHASE_ALL, EX_PHASE_HEADS, EX_PHASE_TRUNK,
                                         EX_PHASE_NONE};
  for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++) {
    enum ex_phase phase = phases[i];
    struct set_up s;
    open_phase(&s, net, phase);
    gradient(&s, EX_ALL_POINTS);
    bool trunk = phase == EX_PHASE_ALL || phase == EX_PHASE_TRUNK;
    bool heads = phase == EX_PHASE_ALL || phase == EX_PHASE_HEADS;
    assert_int_equal(largest(&s, "stage0.") > 0, trunk);
    assert_int_equal(largest(&s, "stage2.") > 0, trunk);
    assert_int_equal(largest(&s, "head2.") > 0, trunk);
    assert_int_equal(largest(&s, "head0.") > 0, heads);
    assert_int_equal(isnan(s.point_loss[0]), phase == EX_PHASE_TRUNK);
    for (int32_t t = 0; t < ex__graph_n_tensors(net->graph); t++) {
      const char *name = ex__graph_tensor(net->graph, t)->name;
      bool of_trunk = strncmp(name, "stage", 5) == 0 || strncmp(name, "head2", 5) == 0;
      assert_int_equal(ex__stepper_trains(s.stepper, t), of_trunk ? trunk : heads);
    }
    close_phase(&s);
  }
  ex_net_free(net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_method_has_the_gradient_of_its_loss),
      cmocka_unit_test(every_method_trains_the_trunk_alike),
      cmocka_unit_test(joint_gradient_is_exact),
      cmocka_unit_test(last_weight_alone_is_the_trunk),
      cmocka_unit_test(gradients_add_up),
      cmocka_unit_test(backward_repeats),
      cmocka_unit_test(an_exit_does_not_move_what_lies_behind_it),
      cmocka_unit_test(phases_train_what_they_say),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
