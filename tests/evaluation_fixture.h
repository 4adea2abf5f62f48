/* SPDX-License-Identifier: Apache-2.0
 *
 * A model of three exits with random weights, made data on disk, and an
 * evaluation of it under thresholds that let samples leave everywhere.
 */
#ifndef EX_TESTS_EVALUATION_FIXTURE_H
#define EX_TESTS_EVALUATION_FIXTURE_H

#include "base/json.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/npy.h"
#include "net/builder.h"
#include "report/evaluation.h"
#include "tests/testing.h"

enum { N_FILE = 400, SIDE = 8, FEATURES = SIDE * SIDE, N_CLASSES = 3, N_POINTS = 3 };

struct fixture {
  char folder[64];
  ex_data *data;
  ex_model *model;
  ex_policy policy;
  ex_evaluation *evaluation;
};

static inline void fixture_stage(ex_builder *b, int32_t *x, int32_t channels) {
  ex__builder_stage(b);
  *x = ex__builder_relu(b, ex__builder_conv(b, "conv", *x, channels, 3, 1, 1, true));
  ex__builder_head(b);
  int32_t output = ex__builder_linear(b, "fc", ex__builder_flatten(b, *x), N_CLASSES);
  ex__builder_point(b, output, -1, 0);
}

/* rank 3: images through convolutions; rank 1: features through linear layers. */
static inline ex_net *fixture_net(int32_t rank) {
  struct ex_error err;
  const struct ex_shape image = {3, {1, SIDE, SIDE}}, features = {1, {FEATURES}};
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(rank == 3 ? &image : &features, N_CLASSES, &b, &err), &err);
  int32_t x = ex__builder_input(b);
  for (int32_t p = 0; p < N_POINTS; p++) {
    if (rank == 3) {
      fixture_stage(b, &x, 3 + p);
      continue;
    }
    ex__builder_stage(b);
    x = ex__builder_relu(b, ex__builder_linear(b, "body", x, 12));
    ex__builder_head(b);
    ex__builder_point(b, ex__builder_linear(b, "fc", x, N_CLASSES), -1, 0);
  }
  assert_ok(ex__builder_finish(b, 3, &net, &err), &err);
  return net;
}

/* Pictures whose bright spot tells the class, more or less. `classes`: JSON
 * array of names. */
static inline void fixture_data(struct fixture *f, int32_t rank, const char *classes) {
  static uint8_t x[N_FILE][FEATURES];
  static int32_t y[N_FILE];
  struct ex_random random = ex__random_seed(5, 0);
  struct ex_error err;
  for (int32_t i = 0; i < N_FILE; i++) {
    y[i] = i % N_CLASSES;
    for (int32_t j = 0; j < FEATURES; j++)
      x[i][j] = (uint8_t)(ex__random_below(&random, 120) + (j % N_CLASSES == y[i] ? 100 : 0));
  }
  char path[96], text[600];
  const int64_t dim[] = {N_FILE, rank == 3 ? SIDE : FEATURES, SIDE};
  snprintf(path, sizeof path, "%s/x.npy", f->folder);
  assert_ok(ex__npy_write(path, EX_DTYPE_U8, rank == 3 ? 3 : 2, dim, x, &err), &err);
  snprintf(path, sizeof path, "%s/y.npy", f->folder);
  assert_ok(ex__npy_write(path, EX_DTYPE_I32, 1, dim, y, &err), &err);
  snprintf(text, sizeof text,
           "{\"format\": \"npy\", \"train\": {\"inputs\": \"x.npy\", \"labels\": \"y.npy\"}, "
           "\"split\": {\"select\": 100, \"certify\": 50, \"test\": 150}, \"classes\": %s}",
           classes);
  json_t *json;
  assert_ok(ex__json_parse(text, strlen(text), "recipe", &json, &err), &err);
  assert_ok(ex__data_open(json, f->folder, &f->data, &err), &err);
  json_decref(json);
}

static inline void fixture_open(struct fixture *f, int32_t rank, const char *classes) {
  struct ex_error err;
  memset(f, 0, sizeof *f);
  testing_folder(f->folder);
  fixture_data(f, rank, classes);
  const struct ex_data_info *info = ex__data_info(f->data);
  assert_ok(ex__model_new(fixture_net(rank), info->preprocess, info->class_names, &f->model, &err),
            &err);
  assert_ok(ex__policy_init(&f->policy, "max-probability", N_POINTS, N_CLASSES, &err), &err);
}

static inline enum ex_status fixture_evaluate(struct fixture *f, int32_t timed,
                                              struct ex_error *err) {
  const struct ex_evaluation_job job = {.model = f->model,
                                        .policy = &f->policy,
                                        .data = f->data,
                                        .split = EX_SPLIT_TEST,
                                        .threads = 2,
                                        .timed_samples = timed};
  ex__evaluation_free(f->evaluation);
  f->evaluation = NULL;
  return ex__evaluate(&job, &f->evaluation, err);
}

static inline int fixture_ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Thresholds at the median confidence of each exit, so that all are used. */
static inline void fixture_thresholds(struct fixture *f) {
  struct ex_error err;
  char text[96];
  double median[N_POINTS - 1], scores[N_FILE];
  assert_ok(fixture_evaluate(f, 0, &err), &err);
  const ex_trace *trace = f->evaluation->trace;
  for (int32_t p = 0; p < N_POINTS - 1; p++) {
    for (int32_t i = 0; i < trace->n; i++)
      scores[i] = trace->answer[ex__trace_at(trace, p, i)].max_probability;
    qsort(scores, (size_t)trace->n, sizeof *scores, fixture_ascending);
    median[p] = scores[trace->n / 2];
  }
  snprintf(text, sizeof text, "%.17g,%.17g", median[0], median[1]);
  assert_ok(ex__policy_set(&f->policy, "thresholds", text, &err), &err);
}

static inline void fixture_close(struct fixture *f) {
  ex__evaluation_free(f->evaluation);
  ex_model_free(f->model);
  ex__data_free(f->data);
  testing_remove(f->folder);
}

#endif
