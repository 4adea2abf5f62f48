/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/bench_worker: what the C workers of the bench share: their arguments,
 * files of numbers, and the conversation with the driver (bench/run).
 *
 * A worker runs one system on one case. It prepares, makes one pass over all
 * samples, writes what it answered to --outputs, and says
 *   {"ready": …}
 * on standard output. Then it answers line by line until its input ends:
 *   time N   an untimed pass, then N timed ones: {"ns": nanoseconds per call, …}
 *   memory   {"peak": most bytes ever resident}
 * A call is one batch; a pass is as many calls as the samples make.
 */
#ifndef EX_BENCH_WORKER_H
#define EX_BENCH_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct bench_job {
  const char *task;       /* infer, exits or train */
  const char *model;      /* what the system reads: .safetensors or .onnx */
  const char *inputs;     /* float32 [samples][features] */
  const char *labels;     /* int32 [samples] */
  const char *outputs;    /* to be written, float32: infer and exits [samples][1 + n_outputs], the
                             exit before its logits; train [steps]: losses of the first steps */
  const char *thresholds; /* exits: probability to leave at, per exit but the last: "0.5,0.7" */
  const char *library;    /* of ONNX Runtime */
  int32_t samples, channels, height, width, classes, batch, threads;
  int32_t features; /* channels × height × width */
  bool fast;        /* Exeunt: admit algorithms that do not keep the bits */
};

/* Exits with a message on standard error where an argument is unknown, missing or wrong. */
void bench_parse(int argc, char **argv, struct bench_job *job);
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *bench_allocate(size_t count, size_t size); /* zeroed, 64-byte aligned; never NULL */
/* Numbers of 4 bytes; exactly `count` must be there. */
void *bench_read(const char *path, int64_t count);
void bench_write(const char *path, const float *values, int64_t count);

struct bench_system {
  void *state;
  const char *description; /* JSON members for "ready" */
  int32_t calls;           /* per pass */
  void (*pass)(void *state);
  /* JSON members after "ns", each `, "name": value`, from `n` further passes. May be NULL. */
  void (*more)(void *state, long n, FILE *out);
  bool long_pass; /* so long that none is made untimed first */
};
void bench_serve(const struct bench_system *system);

#endif
