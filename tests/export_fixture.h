/* SPDX-License-Identifier: Apache-2.0
 *
 * Random networks, exported as C, compiled by the machine's compiler without a
 * warning, loaded, and run beside the engine.
 */
#ifndef EX_TESTS_EXPORT_FIXTURE_H
#define EX_TESTS_EXPORT_FIXTURE_H

#include <dlfcn.h>
#include <math.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "engine/engine.h"
#include "export/export.h"
#include "tests/testing.h"
#include "zoo/zoo.h"

/* As the generated header declares them. */
struct exported_result {
  int label, exit;
  float confidence;
  const float *logits;
};
struct exported_net {
  float *work;
  int exit;
  uint32_t bodies, heads;
};

struct exported {
  char folder[64];
  void *library;
  int (*run)(const void *input, float *work, struct exported_result *result);
  void (*begin)(struct exported_net *net, float *work, const void *input);
  int (*advance)(struct exported_net *net, int exit, struct exported_result *result);
};

/* ---- models ------------------------------------------------------------------ */

/* Numbers as after training, so that a norm that is folded wrongly shows. */
static inline void export_randomise(ex_net *net, uint64_t seed) {
  struct ex_random random = ex__random_seed(seed, 1);
  for (int32_t t = 0; t < ex__graph_n_tensors(net->graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, t);
    bool buffer = info->role == EX_ROLE_BUFFER;
    if (!buffer && info->role != EX_ROLE_NORM) continue;
    ex_real *data = ex__slabs_tensor(buffer ? net->buffers : net->params, net->graph, t);
    bool positive = strstr(info->name, "bias") == NULL && strstr(info->name, "mean") == NULL;
    for (int64_t i = 0; i < ex__shape_count(&info->shape); i++)
      data[i] = (ex_real)(positive ? 0.5 + ex__random_uniform(&random)
                                   : 0.3 * ex__random_normal(&random));
  }
}

static inline ex_model *export_model_of(ex_net *net) {
  struct ex_error err = {0};
  ex_model *model;
  const struct ex_preprocess preprocess = {true, 1, {0.45}, {0.27}};
  export_randomise(net, 5);
  assert_ok(ex__model_new(net, &preprocess, NULL, &model, &err), &err);
  return model;
}

static inline ex_model *export_model(const char *recipe, const struct ex_shape *input) {
  struct ex_error err = {0};
  json_t *json;
  ex_net *net;
  assert_ok(ex__json_parse(recipe, strlen(recipe), "test", &json, &err), &err);
  assert_ok(ex__zoo_build(json, input, 10, 3, &net, &err), &err);
  json_decref(json);
  return export_model_of(net);
}

/* ---- inputs ------------------------------------------------------------------ */

struct inputs {
  int32_t n;
  int64_t features;
  uint8_t *bytes; /* [n][features] */
  float *values;  /* the same */
};

/* Bytes that differ in level and contrast, so that some inputs are surer than others. */
static inline struct inputs export_inputs(const ex_model *model, int32_t n) {
  struct inputs in = {n, ex__shape_count(&model->net->input), NULL, NULL};
  struct ex_random random = ex__random_seed(9, 0);
  in.bytes = ex__calloc((size_t)(n * in.features), 1);
  in.values = ex__calloc((size_t)(n * in.features), sizeof *in.values);
  assert_true(in.bytes != NULL && in.values != NULL);
  for (int32_t i = 0; i < n; i++) {
    double level = 60 + 130 * ex__random_uniform(&random);
    double spread = 5 + 60 * ex__random_uniform(&random);
    for (int64_t f = 0; f < in.features; f++) {
      double value = level + spread * ex__random_normal(&random);
      in.bytes[i * in.features + f] = (uint8_t)fmin(fmax(value, 0), 255);
      in.values[i * in.features + f] = in.bytes[i * in.features + f];
    }
  }
  return in;
}

static inline void export_inputs_free(struct inputs *in) {
  ex__free(in->bytes);
  ex__free(in->values);
}

static inline ex_engine *export_engine(const ex_model *model, const ex_policy *policy) {
  struct ex_error err = {0};
  ex_engine *engine;
  const struct ex_engine_options options = {
      .size = sizeof options, .threads = 1, .max_batch = 1, .untimed = true, .uncalibrated = true};
  assert_ok(ex__engine_new(model, policy, &options, &engine, &err), &err);
  return engine;
}

/* ---- policies ---------------------------------------------------------------- */

enum { EXPORT_MOST_INPUTS = 2048 };

struct readings {
  int32_t n[EX_MAX_POINTS];
  double value[EX_MAX_POINTS][EXPORT_MOST_INPUTS];
  double nearest; /* distance of a score from its threshold, over the last input */
};

static inline void export_watch(void *context, const struct ex_engine_step *step) {
  struct readings *readings = context;
  int32_t p = step->seen->point;
  if (!step->has_reading) return;
  double distance = fabs(step->reading.value - step->reading.threshold);
  if (distance < readings->nearest) readings->nearest = distance;
  if (readings->n[p] < EXPORT_MOST_INPUTS)
    readings->value[p][readings->n[p]++] = step->reading.value;
}

static inline int export_compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static inline ex_policy export_policy(const ex_model *model, const char *name) {
  struct ex_error err = {0};
  ex_policy policy;
  assert_ok(ex__policy_init(&policy, name, model->net->n_points, model->net->n_outputs, &err),
            &err);
  return policy;
}

/* A rule with a score, with thresholds that half of the inputs reach at each exit. */
static inline ex_policy export_fitted(const ex_model *model, const char *name,
                                      const struct inputs *in) {
  static struct readings readings;
  ex_policy policy = export_policy(model, name);
  struct ex_list *list = ex__policy_thresholds(&policy);
  struct ex_result result = {0};
  memset(&readings, 0, sizeof readings);
  /* That nobody reaches, though no exit is switched off. */
  *list = (struct ex_list){1, {policy.class->threshold_off > 0 ? 1 : 1e-12}};
  ex_engine *engine = export_engine(model, &policy);
  for (int32_t i = 0; i < in->n; i++)
    assert_int_equal(
        ex__engine_watch(engine, in->values + i * in->features, export_watch, &readings, &result),
        EX_OK);
  ex_engine_free(engine);
  list->n = model->net->n_points - 1;
  for (int32_t p = 0; p < list->n; p++) {
    qsort(readings.value[p], (size_t)readings.n[p], sizeof(double), export_compare);
    int32_t middle = readings.n[p] / 2; /* between two of them, so that nobody is on it */
    list->value[p] =
        (readings.value[p][middle] + readings.value[p][middle > 0 ? middle - 1 : 0]) / 2;
  }
  return policy;
}

/* ---- exporting --------------------------------------------------------------- */

static inline void export_write_file(const char *folder, const char *name,
                                     const struct ex_text *text) {
  struct ex_error err = {0};
  char path[128];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  assert_ok(ex__file_write_whole(path, text->data, text->size, &err), &err);
}

/* Under a sanitizer what was written is looked at by it, too. */
#ifdef __SANITIZE_ADDRESS__
#define EXPORT_SANITIZE "-g -fsanitize=address,undefined -fno-sanitize-recover=all"
#else
#define EXPORT_SANITIZE ""
#endif

/* Skips the test where the machine has no compiler. */
static inline struct exported export_compile(const struct ex_export_c *job) {
  struct ex_error err = {0};
  struct ex_text source = {0}, header = {0}, again = {0}, other = {0};
  struct exported exported = {0};
  char command[512], path[96];
  if (system("cc --version >/dev/null 2>&1") != 0) exit(77);
  assert_ok(ex__export_c(job, &source, &header, &err), &err);
  assert_ok(ex__export_c(job, &again, &other, &err), &err);
  assert_string_equal(source.data, again.data); /* the same model gives the same text */
  assert_string_equal(header.data, other.data);
  testing_folder(exported.folder);
  export_write_file(exported.folder, "net.c", &source);
  export_write_file(exported.folder, "net.h", &header);
  snprintf(command, sizeof command,
           "cc -std=c99 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror "
           "-ffp-contract=off -shared -fPIC " EXPORT_SANITIZE " -o %s/net.so %s/net.c",
           exported.folder, exported.folder);
  assert_int_equal(system(command), 0);
  snprintf(path, sizeof path, "%s/net.so", exported.folder);
  exported.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (exported.library == NULL) fail_msg("%s", dlerror());
  *(void **)&exported.run = dlsym(exported.library, "net_run");
  *(void **)&exported.begin = dlsym(exported.library, "net_begin");
  *(void **)&exported.advance = dlsym(exported.library, "net_advance");
  assert_true(exported.run != NULL && exported.begin != NULL && exported.advance != NULL);
  ex__text_clear(&source);
  ex__text_clear(&header);
  ex__text_clear(&again);
  ex__text_clear(&other);
  return exported;
}

static inline void export_close(struct exported *exported) {
  dlclose(exported->library);
  testing_remove(exported->folder);
}

/* A number that the header defines. */
static inline int64_t export_macro(const struct exported *exported, const char *name) {
  struct ex_error err = {0};
  char path[96], line[96];
  void *text;
  size_t size;
  snprintf(path, sizeof path, "%s/net.h", exported->folder);
  snprintf(line, sizeof line, "#define %s ", name);
  assert_ok(ex__file_read(path, 1 << 20, &text, &size, &err), &err);
  const char *at = strstr(text, line);
  if (at == NULL) fail_msg("the header lacks %s", name);
  int64_t value = atoll(at + strlen(line));
  ex__free(text);
  return value;
}

/* Work memory of exactly `bytes`, so that a sanitizer sees what lies behind it. */
static inline float *export_work(int64_t bytes) {
  float *work = malloc((size_t)bytes);
  assert_non_null(work);
  memset(work, 0x7f, (size_t)bytes); /* large numbers: what is read must have been written */
  return work;
}

#endif
