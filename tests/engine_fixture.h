/* SPDX-License-Identifier: Apache-2.0
 *
 * A small random network with gates and an exit that needs an earlier head, a
 * trace of random inputs through it, and rules set so that samples leave at
 * every exit.
 */
#ifndef EX_TESTS_ENGINE_FIXTURE_H
#define EX_TESTS_ENGINE_FIXTURE_H

#include <math.h>

#include "base/memory.h"
#include "engine/engine.h"
#include "net/builder.h"
#include "tests/testing.h"

enum { N_SAMPLES = 64, N_CLASSES = 10, N_POINTS = 4, SIDE = 12, FEATURES = SIDE * SIDE };

struct fixture {
  ex_model own, *model;         /* made by hand: no file, no labels */
  float x[N_SAMPLES][FEATURES]; /* raw */
  ex_trace *trace;
};

static inline int32_t fixture_body(ex_builder *b, int32_t x, int32_t channels, int32_t stride) {
  x = ex__builder_conv(b, "conv", x, channels, 3, stride, 1, false);
  return ex__builder_relu(b, ex__builder_batch_norm(b, "norm", x));
}

static inline int32_t fixture_head(ex_builder *b, int32_t x) {
  ex__builder_head(b);
  x = ex__builder_linear(b, "hidden", ex__builder_flatten(b, x), 24);
  return ex__builder_linear(b, "fc", ex__builder_relu(b, x), N_CLASSES);
}

static inline int32_t fixture_gate(ex_builder *b, int32_t x) {
  ex__builder_gate(b);
  x = ex__builder_linear(b, "fc", ex__builder_global_pool(b, x), 1);
  return ex__builder_op(b, "sigmoid", NULL, NULL, &x, 1);
}

/* Five stages, of which the second has no exit; the third exit adds the
 * outputs of the first to its own, the last has no gate. */
static inline ex_net *fixture_net(void) {
  struct ex_error err;
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&(struct ex_shape){3, {1, SIDE, SIDE}}, N_CLASSES, &b, &err), &err);
  ex__builder_init(b, EX_INIT_HE_FAN_IN);
  ex__builder_stage(b);
  int32_t x = fixture_body(b, ex__builder_input(b), 8, 1);
  int32_t first = fixture_head(b, x);
  ex__builder_point(b, first, fixture_gate(b, x), 0);
  ex__builder_stage(b);
  x = fixture_body(b, x, 12, 2);
  ex__builder_stage(b);
  x = fixture_body(b, x, 12, 1);
  int32_t second = fixture_head(b, x);
  ex__builder_point(b, second, fixture_gate(b, x), 0);
  ex__builder_stage(b);
  x = ex__builder_add(b, fixture_body(b, x, 12, 1), x);
  int32_t third = ex__builder_add(b, fixture_head(b, x), first);
  ex__builder_point(b, third, fixture_gate(b, x), 1);
  ex__builder_stage(b);
  x = fixture_body(b, x, 16, 2);
  ex__builder_point(b, fixture_head(b, x), -1, 0);
  assert_ok(ex__builder_finish(b, 7, &net, &err), &err);
  return net;
}

static inline void fixture_inputs(struct fixture *f) {
  struct ex_random random = ex__random_seed(11, 0);
  for (int32_t i = 0; i < N_SAMPLES; i++)
    for (int32_t j = 0; j < FEATURES; j++)
      f->x[i][j] = (float)(128 + 40 * ex__random_normal(&random));
}

/* Every head of every sample, by the programs that engines use. */
static inline void fixture_trace(struct fixture *f) {
  struct ex_error err;
  const ex_net *net = f->model->net;
  static ex_real raw[N_POINTS][N_SAMPLES][N_CLASSES], gate[N_POINTS][N_SAMPLES];
  const struct ex_compile_options options = {.threads = 1, .max_batch = 1};
  ex_compiled *compiled;
  ex_lane *lane;
  assert_ok(ex__compiled_new(net, &options, &compiled, &err), &err);
  assert_ok(ex__lane_new(compiled, &lane, &err), &err);
  ex_real *state = ex__calloc((size_t)ex__compiled_state_size(compiled), sizeof *state);
  ex_real ready[FEATURES];
  assert_non_null(state);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    ex__preprocess_apply(&f->model->preprocess, f->x[i], FEATURES, ready);
    ex__lane_input(lane, ready, state);
    for (int32_t s = 0, p = 0; s < net->n_stages; s++) {
      ex__lane_body(lane, s, &state, 1);
      if (net->points[p].stage != s) continue;
      ex__lane_head(lane, p, &state, 1, raw[p][i]);
      gate[p][i] = (ex_real)NAN;
      if (net->points[p].gate >= 0) ex__lane_gate(lane, p, &state, 1, &gate[p][i]);
      p++;
    }
  }
  struct ex_cost cost;
  int32_t target[N_SAMPLES]; /* what the last exit says, for most, so that rules can learn */
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    target[i] = i % N_CLASSES;
    for (int32_t c = 0; i % 4 != 0 && c < N_CLASSES; c++)
      if (raw[N_POINTS - 1][i][c] > raw[N_POINTS - 1][i][target[i]]) target[i] = c;
  }
  ex__net_cost(net, &cost);
  assert_ok(ex__trace_from_arrays(N_SAMPLES, N_POINTS, N_CLASSES, raw[0][0], gate[0], target, &cost,
                                  &f->trace, &err),
            &err);
  f->trace->cost = cost;
  for (int32_t p = 0; p < N_POINTS; p++) {
    f->trace->stage[p] = net->points[p].stage;
    f->trace->bodies[p] = ex__net_bodies(net, p);
    f->trace->closure[p] = ex__net_closure(net, p);
  }
  assert_ok(ex__trace_derive(f->trace, &net->transform, &err), &err);
  ex__free(state);
  ex__lane_free(lane);
  ex__compiled_free(compiled);
}

/* Of another network of N_POINTS exits, which is taken. */
static inline struct fixture *fixture_new_of(ex_net *net, struct ex_preprocess preprocess) {
  struct fixture *f = ex__calloc(1, sizeof *f);
  assert_non_null(f);
  f->own.net = net;
  f->own.preprocess = preprocess;
  f->model = &f->own;
  fixture_inputs(f);
  fixture_trace(f);
  return f;
}

static inline struct fixture *fixture_new_with(const struct ex_transform *transform) {
  ex_net *net = fixture_net();
  assert_int_equal(ex__transform_copy(transform, &net->transform), EX_OK);
  return fixture_new_of(net, (struct ex_preprocess){true, 1, {0.5}, {0.16}});
}

static inline struct fixture *fixture_new(void) {
  return fixture_new_with(&(struct ex_transform){.kind = EX_TRANSFORM_IDENTITY});
}

static inline void fixture_free(struct fixture *f) {
  ex__trace_free(f->trace);
  ex_net_free(f->own.net);
  ex__free(f);
}

static inline int fixture_compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The score at this exit that half of the samples reach. */
static inline double fixture_median_score(const struct fixture *f, const ex_policy *policy,
                                          int32_t point) {
  double score[N_SAMPLES];
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    int64_t at = ex__trace_at(f->trace, point, i);
    const struct ex_observation seen = {point,
                                        N_POINTS,
                                        N_CLASSES,
                                        f->trace->output + at * N_CLASSES,
                                        f->trace->probability + at * N_CLASSES,
                                        f->trace->answer[at],
                                        (double)f->trace->gate[at]};
    score[i] = policy->class->score(policy->values, &seen);
  }
  qsort(score, N_SAMPLES, sizeof *score, fixture_compare);
  return score[N_SAMPLES / 2];
}

enum { N_VARIANTS = 4 };

/* Variant `index` of a rule, fitted where it learns: thresholds that half of the
 * samples reach, then candidates from the most careful to the boldest; false past
 * the last. */
static inline bool fixture_policy(const struct fixture *f, const struct ex_policy_class *class,
                                  int32_t index, ex_policy *policy) {
  struct ex_error err;
  const struct ex_policy_fit all = {f->trace, 0, 1, false};
  assert_ok(ex__policy_init(policy, class->name, N_POINTS, N_CLASSES, &err), &err);
  if (class->fit != NULL) assert_ok(class->fit(policy->values, &all, &err), &err);
  if (class->score != NULL && index-- == 0) {
    struct ex_list *list = (struct ex_list *)(void *)(policy->values + class->threshold_offset);
    list->n = N_POINTS - 1;
    for (int32_t p = 0; p < N_POINTS - 1; p++)
      list->value[p] = class->leave_at(fixture_median_score(f, policy, p));
    return true;
  }
  if (class->candidate == NULL) return index == 0;
  int32_t n = 0;
  ex_policy probe = *policy;
  while (class->candidate(probe.values, N_POINTS, n)) n++;
  if (index >= N_VARIANTS || index >= n) return false;
  index = n <= N_VARIANTS ? index : index * (n - 1) / (N_VARIANTS - 1);
  class->candidate(policy->values, N_POINTS, index);
  if (class->fit == NULL || !class->fit_each) return true;
  enum ex_status status = class->fit(policy->values, &all, &err);
  if (status == EX_EINFEASIBLE && index > 0) return false; /* too bold for this network */
  assert_ok(status, &err);
  return true;
}

static inline ex_engine *fixture_engine(const struct fixture *f, const ex_policy *policy,
                                        int32_t threads, bool untimed) {
  struct ex_error err;
  ex_engine *engine;
  const struct ex_engine_options options = {.size = sizeof options,
                                            .threads = threads,
                                            .max_batch = N_SAMPLES,
                                            .untimed = untimed,
                                            .uncalibrated = true};
  assert_ok(ex__engine_new(f->model, policy, &options, &engine, &err), &err);
  return engine;
}

struct answers {
  struct ex_result result[N_SAMPLES];
  float logits[N_SAMPLES][N_CLASSES];
};

/* In batches of `batch`; the last may be smaller. */
static inline void fixture_run(const struct fixture *f, ex_engine *engine, int32_t batch,
                               struct answers *out) {
  memset(out, 0, sizeof *out);
  for (int32_t i = 0; i < N_SAMPLES; i++) out->result[i].logits = out->logits[i];
  for (int32_t i = 0; i < N_SAMPLES; i += batch) {
    int32_t n = batch < N_SAMPLES - i ? batch : N_SAMPLES - i;
    assert_int_equal(n > 1 ? ex_engine_run_many(engine, f->x[i], n, &out->result[i])
                           : ex_engine_run(engine, f->x[i], &out->result[i]),
                     EX_OK);
  }
}

static inline void assert_same_answers(const struct answers *a, const struct answers *b) {
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    assert_int_equal(a->result[i].label, b->result[i].label);
    assert_int_equal(a->result[i].exit, b->result[i].exit);
    assert_int_equal(a->result[i].stage, b->result[i].stage);
    assert_int_equal(a->result[i].macs, b->result[i].macs);
    assert_memory_equal(&a->result[i].confidence, &b->result[i].confidence, sizeof(double));
  }
  assert_memory_equal(a->logits, b->logits, sizeof a->logits);
}

/* The rule of most tests: half of those that come leave at each exit. */
static inline ex_policy fixture_max_probability(const struct fixture *f) {
  ex_policy policy;
  assert_true(fixture_policy(f, ex__policy_find("max-probability"), 0, &policy));
  return policy;
}

#endif
