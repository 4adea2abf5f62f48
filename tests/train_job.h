/* SPDX-License-Identifier: Apache-2.0
 *
 * Made data for tests of training: TINY_CLASSES classes of 2 × 6 × 6 floats,
 * each with a pattern of its own under noise, and a job over it.
 */
#ifndef EX_TESTS_TRAIN_JOB_H
#define EX_TESTS_TRAIN_JOB_H

#include "base/json.h"
#include "base/random.h"
#include "data/npy.h"
#include "tests/tiny_net.h"
#include "train/train.h"

enum { MADE_SAMPLES = 120, MADE_FEATURES = TINY_CHANNELS * TINY_SIZE * TINY_SIZE };

/* 90 samples train, 30 select; written to `folder` and opened from there. */
static inline ex_data *made_data(const char *folder) {
  struct ex_error err = {0};
  static float x[MADE_SAMPLES][MADE_FEATURES];
  int32_t y[MADE_SAMPLES];
  struct ex_random random = ex__random_seed(1, 2);
  float pattern[TINY_CLASSES][MADE_FEATURES];
  for (int32_t c = 0; c < TINY_CLASSES; c++)
    for (int32_t j = 0; j < MADE_FEATURES; j++) pattern[c][j] = (float)ex__random_normal(&random);
  for (int32_t i = 0; i < MADE_SAMPLES; i++) {
    y[i] = i % TINY_CLASSES;
    for (int32_t j = 0; j < MADE_FEATURES; j++)
      x[i][j] = pattern[y[i]][j] + 0.7f * (float)ex__random_normal(&random);
  }
  char path[96];
  snprintf(path, sizeof path, "%s/x.npy", folder);
  int64_t dim[] = {MADE_SAMPLES, TINY_CHANNELS, TINY_SIZE, TINY_SIZE};
  assert_ok(ex__npy_write(path, EX_DTYPE_F32, 4, dim, x, &err), &err);
  snprintf(path, sizeof path, "%s/y.npy", folder);
  assert_ok(ex__npy_write(path, EX_DTYPE_I32, 1, dim, y, &err), &err);
  static const char recipe[] =
      "{\"format\": \"npy\", \"train\": {\"inputs\": \"x.npy\", \"labels\": \"y.npy\"},"
      " \"split\": {\"select\": 30, \"certify\": 0, \"test\": 0}, \"augment\": {\"crop\": 1}}";
  json_t *json;
  ex_data *data;
  assert_ok(ex__json_parse(recipe, strlen(recipe), "recipe", &json, &err), &err);
  assert_ok(ex__data_open(json, folder, &data, &err), &err);
  json_decref(json);
  return data;
}

struct made_job {
  struct ex_train_job job;
  struct ex_train_options options;
  _Alignas(16) char values[EX_MAX_METHOD_VALUES];
};

/* Method `name` with its defaults; 3 epochs of 9 steps. */
static inline void made_job(struct made_job *made, ex_net *net, const ex_data *data,
                            const struct ex_method *method) {
  memset(made, 0, sizeof *made);
  ex__param_defaults(ex__train_params, &made->options);
  ex__param_defaults(method->params, made->values);
  made->options.epochs = 3;
  made->options.batch = 10;
  made->options.learning_rate = 0.05;
  made->job = (struct ex_train_job){.net = net,
                                    .data = data,
                                    .method = method,
                                    .method_values = made->values,
                                    .options = &made->options,
                                    .seed = 9,
                                    .threads = 1,
                                    .backend = EX_BACKEND_TWIN};
}

static inline bool same_slabs(const ex_slabs *a, const ex_slabs *b) {
  if (a->n != b->n) return false;
  for (int32_t i = 0; i < a->n; i++)
    if (a->size[i] != b->size[i] ||
        memcmp(a->data[i], b->data[i], (size_t)a->size[i] * sizeof(ex_real)) != 0)
      return false;
  return true;
}

static inline bool same_net(const ex_net *a, const ex_net *b) {
  json_t *ours = ex__transform_to_json(&a->transform),
         *theirs = ex__transform_to_json(&b->transform);
  bool same = json_equal(ours, theirs) && same_slabs(a->params, b->params) &&
              same_slabs(a->buffers, b->buffers);
  json_decref(ours);
  json_decref(theirs);
  return same;
}

#endif
