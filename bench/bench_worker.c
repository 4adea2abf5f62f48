/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/bench_worker: see its header.
 */
#include "bench_worker.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void bench_die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("bench: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

void *bench_allocate(size_t count, size_t size) {
  size_t bytes = (count * size + 63) / 64 * 64;
  void *memory = aligned_alloc(64, bytes);
  if (memory == NULL) bench_die("no memory for %zu bytes", bytes);
  memset(memory, 0, bytes);
  return memory;
}

void *bench_read(const char *path, int64_t count) {
  if (path == NULL) bench_die("a file of numbers is missing among the arguments");
  FILE *file = fopen(path, "rb");
  if (file == NULL) bench_die("%s: cannot be opened", path);
  float *values = bench_allocate((size_t)count, sizeof *values);
  size_t got = fread(values, sizeof *values, (size_t)count, file);
  if (got != (size_t)count || fgetc(file) != EOF)
    bench_die("%s: must hold %lld numbers", path, (long long)count);
  fclose(file);
  return values;
}

void bench_write(const char *path, const float *values, int64_t count) {
  FILE *file = path != NULL ? fopen(path, "wb") : NULL;
  if (file == NULL || fwrite(values, sizeof *values, (size_t)count, file) != (size_t)count ||
      fclose(file) != 0)
    bench_die("%s: cannot be written", path != NULL ? path : "--outputs");
}

/* ---- arguments -------------------------------------------------------------- */

static const char **text_of(struct bench_job *job, const char *name) {
  if (strcmp(name, "--task") == 0) return &job->task;
  if (strcmp(name, "--model") == 0) return &job->model;
  if (strcmp(name, "--inputs") == 0) return &job->inputs;
  if (strcmp(name, "--labels") == 0) return &job->labels;
  if (strcmp(name, "--outputs") == 0) return &job->outputs;
  if (strcmp(name, "--thresholds") == 0) return &job->thresholds;
  if (strcmp(name, "--library") == 0) return &job->library;
  return NULL;
}

static int32_t *number_of(struct bench_job *job, const char *name) {
  if (strcmp(name, "--samples") == 0) return &job->samples;
  if (strcmp(name, "--channels") == 0) return &job->channels;
  if (strcmp(name, "--height") == 0) return &job->height;
  if (strcmp(name, "--width") == 0) return &job->width;
  if (strcmp(name, "--classes") == 0) return &job->classes;
  if (strcmp(name, "--batch") == 0) return &job->batch;
  if (strcmp(name, "--threads") == 0) return &job->threads;
  return NULL;
}

void bench_parse(int argc, char **argv, struct bench_job *job) {
  *job = (struct bench_job){0};
  for (int i = 1; i < argc; i++) {
    const char **text = text_of(job, argv[i]);
    int32_t *number = number_of(job, argv[i]);
    if (strcmp(argv[i], "--fast") == 0) {
      job->fast = true;
    } else if (i + 1 < argc && text != NULL) {
      *text = argv[++i];
    } else if (i + 1 < argc && number != NULL) {
      *number = (int32_t)strtol(argv[++i], NULL, 10);
      if (*number < 1) bench_die("%s %s: must be at least 1", argv[i - 1], argv[i]);
    } else {
      bench_die("%s: unknown, or without its value", argv[i]);
    }
  }
  job->features = job->channels * job->height * job->width;
  bool complete = job->task != NULL && job->model != NULL && job->inputs != NULL &&
                  job->outputs != NULL && job->samples > 0 && job->features > 0 &&
                  job->classes > 0 && job->batch > 0 && job->threads > 0;
  if (!complete) bench_die("an argument is missing; bench/run says them all");
  if (job->samples % job->batch != 0)
    bench_die("%d samples; must be a multiple of the batch, %d", (int)job->samples,
              (int)job->batch);
}

/* ---- conversation ----------------------------------------------------------- */

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Not getrusage: its figure survives exec, so it would be the driver's. */
static long long peak_bytes(void) {
  char line[256];
  long long kilobytes = -1;
  FILE *file = fopen("/proc/self/status", "r");
  while (file != NULL && kilobytes < 0 && fgets(line, sizeof line, file) != NULL)
    if (strncmp(line, "VmHWM:", 6) == 0) kilobytes = strtoll(line + 6, NULL, 10);
  if (file != NULL) fclose(file);
  return kilobytes * 1024;
}

static void time_passes(const struct bench_system *system, long n) {
  if (n < 1) bench_die("time %ld: must be at least 1", n);
  if (!system->long_pass) system->pass(system->state);
  int64_t start = now_ns();
  for (long i = 0; i < n; i++) system->pass(system->state);
  int64_t end = now_ns();
  printf("{\"ns\": %.1f", (double)(end - start) / ((double)n * system->calls));
  if (system->more != NULL) system->more(system->state, n, stdout);
  printf("}\n");
}

void bench_serve(const struct bench_system *system) {
  char line[64];
  printf("{\"ready\": {%s}}\n", system->description);
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (strncmp(line, "time ", 5) == 0)
      time_passes(system, strtol(line + 5, NULL, 10));
    else if (strcmp(line, "memory\n") == 0)
      printf("{\"peak\": %lld}\n", peak_bytes());
    else
      bench_die("unknown request: %s", line);
    fflush(stdout);
  }
}
