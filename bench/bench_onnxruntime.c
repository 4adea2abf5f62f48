/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/bench_onnxruntime: ONNX Runtime's worker. The library comes from its
 * npm package, which has no header; so it is opened at run time and called
 * through its table of functions, whose places never change (the struct OrtApi
 * is append-only; its version 12 has all of these).
 *
 * Tensors lie in our own memory and are made before the clock starts, as its
 * documentation advises; the session spins between calls, as it does by
 * default, and may use every graph optimisation.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "bench_worker.h"

enum { API_VERSION = 12, LOG_ERRORS = 3, ALL_OPTIMISATIONS = 99 };
enum { ARENA_ALLOCATOR = 0, MEMORY_DEFAULT = 0, TYPE_FLOAT = 1, TYPE_INT64 = 7 };

/* What we call of struct OrtApi; the gaps are what we do not. Every function
 * but the first returns a status, NULL where all is well. */
typedef void (*unused)(void);
struct ort_api {
  unused gap0[2];
  const char *(*get_error_message)(const void *status);
  void *(*create_env)(int level, const char *name, void **env);
  unused gap4[3];
  void *(*create_session)(const void *env, const char *path, const void *options, void **session);
  unused gap8[1];
  void *(*run)(void *session, const void *options, const char *const *in_names, void *const *inputs,
               size_t n_in, const char *const *out_names, size_t n_out, void **outputs);
  void *(*create_session_options)(void **options);
  unused gap11[12];
  void *(*set_optimisation)(void *options, int level);
  void *(*set_intra_op_threads)(void *options, int threads);
  void *(*set_inter_op_threads)(void *options, int threads);
  unused gap26[23];
  void *(*create_tensor)(const void *memory, void *data, size_t bytes, const int64_t *shape,
                         size_t rank, int type, void **tensor);
  unused gap50[19];
  void *(*create_cpu_memory_info)(int allocator, int type, void **memory);
};
_Static_assert(offsetof(struct ort_api, create_cpu_memory_info) == 69 * sizeof(unused),
               "the gaps add up");

struct ort_base {
  const struct ort_api *(*get_api)(uint32_t version);
  const char *(*version)(void);
};

struct ort {
  const struct bench_job *job;
  const struct ort_api *api;
  void *session, *memory;
  int32_t calls;
  void **inputs;  /* [calls] tensors */
  void **outputs; /* [calls][2]: logits [batch][classes], and for exits the exits [batch] */
  float *logits;  /* [samples][classes] */
  int64_t *exits; /* [samples] */
};

static void check(const struct ort *ort, void *status, const char *what) {
  if (status != NULL) bench_die("ONNX Runtime, %s: %s", what, ort->api->get_error_message(status));
}

/* Returns the library's version. */
static const char *open_library(struct ort *ort) {
  void *library = dlopen(ort->job->library, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) bench_die("%s", dlerror());
  const struct ort_base *(*get_base)(void);
  *(void **)&get_base = dlsym(library, "OrtGetApiBase");
  if (get_base == NULL) bench_die("%s: has no OrtGetApiBase", ort->job->library);
  ort->api = get_base()->get_api(API_VERSION);
  if (ort->api == NULL) bench_die("ONNX Runtime has no API version %d", API_VERSION);
  return get_base()->version();
}

static void open_session(struct ort *ort) {
  const struct ort_api *api = ort->api;
  void *env, *options;
  check(ort, api->create_env(LOG_ERRORS, "bench", &env), "env");
  check(ort, api->create_session_options(&options), "options");
  check(ort, api->set_intra_op_threads(options, ort->job->threads), "threads");
  check(ort, api->set_inter_op_threads(options, 1), "threads");
  check(ort, api->set_optimisation(options, ALL_OPTIMISATIONS), "optimisation");
  check(ort, api->create_session(env, ort->job->model, options, &ort->session), "session");
  check(ort, api->create_cpu_memory_info(ARENA_ALLOCATOR, MEMORY_DEFAULT, &ort->memory), "memory");
}

static void *tensor(const struct ort *ort, void *data, size_t size, int type, const int64_t *shape,
                    size_t rank) {
  void *out;
  for (size_t i = 0; i < rank; i++) size *= (size_t)shape[i];
  check(ort, ort->api->create_tensor(ort->memory, data, size, shape, rank, type, &out), "tensor");
  return out;
}

static void make_tensors(struct ort *ort, float *x) {
  const struct bench_job *job = ort->job;
  const int64_t in[] = {job->batch, job->channels, job->height, job->width};
  const int64_t out[] = {job->batch, job->classes};
  size_t batch = (size_t)job->batch, features = (size_t)job->features;
  size_t classes = (size_t)job->classes;
  ort->inputs = bench_allocate((size_t)ort->calls, sizeof *ort->inputs);
  ort->outputs = bench_allocate((size_t)ort->calls, 2 * sizeof *ort->outputs);
  ort->logits = bench_allocate((size_t)job->samples * classes, sizeof *ort->logits);
  ort->exits = bench_allocate((size_t)job->samples, sizeof *ort->exits);
  for (size_t i = 0; i < (size_t)ort->calls; i++) {
    size_t first = i * batch;
    ort->inputs[i] = tensor(ort, x + first * features, sizeof *x, TYPE_FLOAT, in, 4);
    ort->outputs[2 * i] = tensor(ort, ort->logits + first * classes, sizeof *x, TYPE_FLOAT, out, 2);
    ort->outputs[2 * i + 1] =
        tensor(ort, ort->exits + first, sizeof *ort->exits, TYPE_INT64, out, 1);
  }
}

static void pass(void *state) {
  struct ort *ort = state;
  static const char *const in[] = {"x"}, *const out[] = {"logits", "exit"};
  size_t n_out = strcmp(ort->job->task, "exits") == 0 ? 2 : 1;
  for (int32_t i = 0; i < ort->calls; i++)
    check(ort,
          ort->api->run(ort->session, NULL, in, &ort->inputs[i], 1, out, n_out,
                        &ort->outputs[(size_t)2 * (size_t)i]),
          "run");
}

static void write_answers(const struct ort *ort) {
  const struct bench_job *job = ort->job;
  int64_t row = 1 + job->classes;
  float *answers = bench_allocate((size_t)(job->samples * row), sizeof *answers);
  for (int64_t i = 0; i < job->samples; i++) {
    answers[i * row] = (float)ort->exits[i];
    memcpy(answers + i * row + 1, ort->logits + i * job->classes,
           (size_t)job->classes * sizeof *answers);
  }
  bench_write(job->outputs, answers, job->samples * row);
}

int main(int argc, char **argv) {
  struct bench_job job;
  bench_parse(argc, argv, &job);
  if (job.library == NULL) bench_die("--library is missing");
  struct ort ort = {.job = &job, .calls = job.samples / job.batch};
  char description[64];
  snprintf(description, sizeof description, "\"version\": \"%.40s\"", open_library(&ort));
  open_session(&ort);
  make_tensors(&ort, bench_read(job.inputs, (int64_t)job.samples * job.features));
  pass(&ort);
  write_answers(&ort);
  bench_serve(&(struct bench_system){
      .state = &ort, .description = description, .calls = ort.calls, .pass = pass});
  return 0;
}
