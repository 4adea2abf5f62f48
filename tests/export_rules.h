/* SPDX-License-Identifier: Apache-2.0
 *
 * Every exit rule, exported and run beside the engine: on networks whose exits say what
 * their input tells them to, so that the rule alone is at stake, with few classes and many;
 * and on one of convolutions with random weights.
 */
#ifndef EX_TESTS_EXPORT_RULES_H
#define EX_TESTS_EXPORT_RULES_H

#include "tests/export_bench.h"
#include "tests/trace_fixture.h"

enum { N_SAMPLES = 1200 };

/* ---- exits that are told ------------------------------------------------------ */

static inline int32_t part_of(ex_builder *b, int32_t x, int32_t begin, int32_t end) {
  return ex__builder_op(b, "slice", NULL, &(struct ex_slice){begin, end}, &x, 1);
}

/* Input: the outputs of one exit after the other, then a score for each gate. */
static inline ex_model *told_model(int32_t n_points, int32_t n_outputs) {
  struct ex_error err = {0};
  const struct ex_preprocess as_it_is = {false, 1, {0}, {1}};
  int32_t scores = n_points * n_outputs, all = scores + n_points;
  ex_builder *b;
  ex_net *net;
  ex_model *model;
  assert_ok(ex__builder_new(&(struct ex_shape){1, {all}}, n_outputs, &b, &err), &err);
  int32_t x = ex__builder_input(b);
  for (int32_t p = 0; p < n_points; p++) {
    ex__builder_stage(b);
    x = part_of(b, x, 0, all);
    ex__builder_head(b);
    int32_t output = part_of(b, x, p * n_outputs, (p + 1) * n_outputs);
    ex__builder_gate(b);
    ex__builder_point(b, output, part_of(b, x, scores + p, scores + p + 1), 0);
  }
  assert_ok(ex__builder_finish(b, 4, &net, &err), &err);
  assert_ok(ex__model_new(net, &as_it_is, NULL, &model, &err), &err);
  return model;
}

/* What they are told: errors of one sample hang together, deeper exits see more. */
static inline struct inputs told_inputs(const ex_model *model, double clear) {
  int32_t n_points = model->net->n_points, n_outputs = model->net->n_outputs;
  struct inputs in = {N_SAMPLES, ex__shape_count(&model->net->input), NULL, NULL};
  ex_trace *trace = fixture_trace(11, in.n, n_points, n_outputs, clear / 3, clear);
  struct ex_random random = ex__random_seed(5, 5);
  in.values = ex__calloc((size_t)(in.n * in.features), sizeof *in.values);
  assert_non_null(in.values);
  for (int32_t i = 0; i < in.n; i++) {
    float *x = in.values + i * in.features;
    for (int32_t p = 0; p < n_points; p++, x += n_outputs)
      memcpy(x, trace->raw + ex__trace_at(trace, p, i) * n_outputs, (size_t)n_outputs * sizeof *x);
    for (int32_t p = 0; p < n_points; p++)
      *x++ = (float)(1.5 * ex__random_normal(&random) + p - 2.0);
  }
  ex__trace_free(trace);
  return in;
}

static inline struct bench told(bench_run *run, int32_t n_points, int32_t n_outputs, double clear) {
  ex_model *model = told_model(n_points, n_outputs);
  return bench_of(model, told_inputs(model, clear), run);
}

static inline void rules_on_told_exits(bench_run *run) {
  struct bench bench = told(run, 5, 10, 4);
  bench_every_rule(&bench, 4);
  bench_free(&bench);
}

/* Numbers of classes and of exits at which kernels do otherwise. */
static inline void rules_on_few_and_many(bench_run *run) {
  struct bench bench = told(run, 3, 2, 3);
  bench_check_rule(&bench, "lte", "top=2 ", 2);
  bench_check_rule(&bench, "adaptive", "top=16 ", 2);
  bench_check_rule(&bench, "eenet", "", 2);
  bench_check_rule(&bench, "predictive", "", 2);
  bench_check_rule(&bench, "margin", "", 3);
  bench_free(&bench);
  bench = told(run, 9, 40, 5);
  bench_check_rule(&bench, "lte", "top=16 ", 5);
  bench_check_rule(&bench, "eenet", "", 5); /* reads the largest probabilities alone */
  bench_check_rule(&bench, "predictive", "", 2);
  bench_check_rule(&bench, "predictive", "engine=learned measure=confidence ", 4);
  bench_check_rule(&bench, "classy", "classes=3,20,39 ", 2);
  bench_free(&bench);
  bench = told(run, 4, 1, 1); /* nothing to decide between: nobody is ever in doubt */
  bench_check_rule(&bench, "margin", "", 1);
  bench_check_rule(&bench, "eenet", "", 1);
  bench_check_rule(&bench, "predictive", "engine=learned ", 1);
  bench_check_rule(&bench, "jei", "", 2);
  bench_free(&bench);
  bench = told(run, 1, 10, 1); /* no exit but the last */
  bench_check_rule(&bench, "jei", "", 1);
  bench_check_rule(&bench, "max-probability", "fallback=true ", 1);
  bench_check_rule(&bench, "lte", "", 1);
  bench_free(&bench);
}

/* An exit whose outputs are no numbers goes on, and rules that remember or jump do not
 * count it. */
static inline void rules_on_exits_that_fail(bench_run *run) {
  ex_model *model = told_model(5, 10);
  struct inputs in = told_inputs(model, 4);
  struct ex_random random = ex__random_seed(8, 8);
  for (int32_t i = 0; i < in.n; i++)
    for (int32_t p = 0; p < 4; p++) {
      float *x = in.values + i * in.features;
      if (ex__random_uniform(&random) < 0.2)
        x[p * 10 + (int32_t)ex__random_below(&random, 10)] = p % 2 == 0 ? NAN : INFINITY;
      if (ex__random_uniform(&random) < 0.2) x[50 + p] = p % 2 == 0 ? INFINITY : -INFINITY;
    }
  struct bench bench = bench_of(model, in, run);
  bench_check_rule(&bench, "max-probability", "fallback=true ", 4);
  bench_check_rule(&bench, "patience", "", 4);
  bench_check_rule(&bench, "jei", "", 4);
  bench_check_rule(&bench, "lte", "", 4);
  bench_check_rule(&bench, "predictive", "", 3);
  bench_check_rule(&bench, "adaptive", "successors=any ", 3);
  bench_free(&bench);
}

/* ---- exits that are not ------------------------------------------------------- */

/* Heads that are sure of some inputs and not of others, and gates that tell them apart
 * alike. */
static inline void sharpen(ex_net *net) {
  for (int32_t t = 0; t < ex__graph_n_tensors(net->graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, t);
    ex_real *data = ex__slabs_tensor(net->params, net->graph, t);
    int64_t n = ex__shape_count(&info->shape);
    bool weight = strstr(info->name, "weight") != NULL;
    if (strncmp(info->name, "head", 4) == 0)
      for (int64_t i = 0; i < n; i++) data[i] *= 8;
    if (strncmp(info->name, "gate", 4) == 0)
      for (int64_t i = 0; i < n; i++) data[i] = (ex_real)(!weight ? -3 : i == 0 ? 3 : 0);
  }
}

/* Four exits, and gates as the method jei adds them. */
static inline ex_model *random_model(void) {
  struct ex_error err = {0};
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&(struct ex_shape){3, {1, 10, 10}}, 10, &b, &err), &err);
  int32_t x = ex__builder_input(b);
  for (int32_t p = 0; p < 4; p++) {
    char name[] = {'c', (char)('0' + p), '\0'};
    ex__builder_stage(b);
    x = ex__builder_relu(b, ex__builder_conv(b, name, x, 8, 3, p == 1 ? 2 : 1, 1, true));
    ex__builder_head(b);
    int32_t output = ex__builder_linear(b, "fc", ex__builder_flatten(b, x), 10);
    ex__builder_gate(b);
    int32_t figures = ex__builder_op(b, "confidence", "figures", NULL, &output, 1);
    ex__builder_point(b, output, ex__builder_linear(b, "fc", figures, 1), 0);
  }
  assert_ok(ex__builder_finish(b, 4, &net, &err), &err);
  sharpen(net);
  return export_model_of(net);
}

static inline void rules_on_random_exits(bench_run *run) {
  ex_model *model = random_model();
  struct bench bench = bench_of(model, export_inputs(model, N_SAMPLES), run);
  bench_every_rule(&bench, 3);
  bench_free(&bench);
}

#endif
