/* SPDX-License-Identifier: Apache-2.0
 *
 * trace/trace: making a trace and deriving what rules read from it.
 *
 * raw, gate and target lie in one block of memory, or in a mapped file
 * (trace_file.c); what is derived has blocks of its own, so that a change of
 * the exit transform renews them and touches nothing that was recorded.
 */
#include "trace/trace.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "data/safetensors.h"
#include "trace/trace_internal.h"

enum ex_status ex__trace_check_sizes(const char *source, int64_t n, int64_t n_points,
                                     int64_t n_outputs, struct ex_error *err) {
  size_t points, numbers, bytes;
  if (n < 1 || n > INT32_MAX || n_points < 1 || n_points > EX_MAX_POINTS || n_outputs < 1 ||
      n_outputs > INT32_MAX)
    return ex__fail(err, EX_ESHAPE,
                    "%s: %lld samples at %lld exits of %lld outputs; must be at least one of each, "
                    "and at most %d exits",
                    source, (long long)n, (long long)n_points, (long long)n_outputs, EX_MAX_POINTS);
  if (!ex__mul_size((size_t)n, (size_t)n_points, &points) ||
      !ex__mul_size(points, (size_t)n_outputs, &numbers) ||
      !ex__mul_size(numbers, 2 * sizeof(double) + sizeof(struct ex_answer), &bytes) ||
      bytes > INT64_MAX)
    return ex__fail(err, EX_ESHAPE, "%s: %lld samples at %lld exits of %lld outputs do not fit",
                    source, (long long)n, (long long)n_points, (long long)n_outputs);
  return EX_OK;
}

enum ex_status ex__trace_new(int32_t n, int32_t n_points, int32_t n_outputs, ex_trace **out,
                             struct ex_error *err) {
  *out = NULL;
  EX_TRY(ex__trace_check_sizes("trace", n, n_points, n_outputs, err));
  ex_trace *trace = ex__calloc(1, sizeof *trace);
  if (trace == NULL) return ex__fail(err, EX_ENOMEM, "trace: no memory");
  trace->n = n;
  trace->n_points = n_points;
  trace->n_outputs = n_outputs;
  trace->task = ex__task_find("classification");
  for (int32_t p = 0; p < n_points; p++) {
    trace->stage[p] = p;
    trace->bodies[p] = ex__trace_row(p);
    trace->closure[p] = 1u << p;
  }
  *out = trace;
  return EX_OK;
}

enum ex_status ex__trace_own_memory(ex_trace *trace, bool gates, struct ex_trace_columns *columns) {
  size_t points = (size_t)trace->n_points * (size_t)trace->n;
  size_t raw = points * (size_t)trace->n_outputs, gate = gates ? points : 0;
  /* target behind the numbers: its alignment is the weaker. */
  char *memory = ex__alloc((raw + gate) * sizeof(ex_real) + (size_t)trace->n * sizeof(int32_t), 1);
  if (memory == NULL) return EX_ENOMEM;
  trace->memory = memory;
  columns->raw = (ex_real *)(void *)memory;
  columns->gate = gates ? columns->raw + raw : NULL;
  columns->target = (int32_t *)(void *)(columns->raw + raw + gate);
  trace->raw = columns->raw;
  trace->gate = columns->gate;
  trace->target = columns->target;
  return EX_OK;
}

/* ---- deriving ----------------------------------------------------------- */

static void drop_derived(ex_trace *trace) {
  ex__free(trace->probability);
  ex__free(trace->answer);
  ex__free(trace->quality);
  ex__free(trace->loss);
  ex__free(trace->transformed);
  trace->probability = trace->transformed = NULL;
  trace->answer = NULL;
  trace->quality = trace->loss = NULL;
  trace->output = NULL;
}

static enum ex_status make_derived(ex_trace *trace, bool transformed) {
  size_t points = (size_t)trace->n_points * (size_t)trace->n;
  size_t numbers = points * (size_t)trace->n_outputs;
  trace->probability = ex__alloc(numbers, sizeof *trace->probability);
  trace->answer = ex__alloc(points, sizeof *trace->answer);
  trace->quality = ex__alloc(points, sizeof *trace->quality);
  trace->loss = ex__alloc(points, sizeof *trace->loss);
  if (transformed) trace->transformed = ex__alloc(numbers, sizeof *trace->transformed);
  if (trace->probability == NULL || trace->answer == NULL || trace->quality == NULL ||
      trace->loss == NULL || (transformed && trace->transformed == NULL))
    return EX_ENOMEM;
  trace->output = transformed ? trace->transformed : trace->raw;
  return EX_OK;
}

static void derive_sample(ex_trace *trace, int32_t sample, ex_real *state) {
  const struct ex_transform *transform = &trace->transform;
  int32_t n_outputs = trace->n_outputs, target = trace->target[sample];
  ex__transform_start(transform, n_outputs, state);
  for (int32_t p = 0; p < trace->n_points; p++) {
    int64_t at = ex__trace_at(trace, p, sample), outputs = at * n_outputs;
    if (trace->transformed != NULL)
      ex__transform_apply(transform, p, n_outputs, trace->raw + outputs, state,
                          trace->transformed + outputs);
    const ex_real *output = trace->output + outputs;
    trace->task->answer(output, n_outputs, trace->probability + outputs, &trace->answer[at]);
    trace->quality[at] = (float)trace->task->quality(&trace->answer[at], target);
    trace->loss[at] = (float)trace->task->loss(output, n_outputs, target);
  }
}

enum ex_status ex__trace_derive(ex_trace *trace, const struct ex_transform *transform,
                                struct ex_error *err) {
  drop_derived(trace);
  if (transform != &trace->transform && ex__transform_copy(transform, &trace->transform) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "trace: no memory for an exit transform");
  int32_t size = ex__transform_state_size(transform, trace->n_outputs);
  ex_real *state = ex__calloc((size_t)size, sizeof *state);
  if (state == NULL || make_derived(trace, transform->kind != EX_TRANSFORM_IDENTITY) != EX_OK) {
    ex__free(state);
    drop_derived(trace);
    return ex__fail(err, EX_ENOMEM, "trace: no memory for the answers of %d samples at %d exits",
                    (int)trace->n, (int)trace->n_points);
  }
  for (int32_t i = 0; i < trace->n; i++) derive_sample(trace, i, state);
  ex__free(state);
  return EX_OK;
}

void ex__trace_free(ex_trace *trace) {
  if (trace == NULL) return;
  drop_derived(trace);
  ex__free(trace->memory);
  ex__safetensors_free(trace->mapped);
  ex__transform_clear(&trace->transform);
  ex__free(trace);
}

/* ---- from arrays -------------------------------------------------------- */

void ex__trace_sum_costs(ex_trace *trace) {
  struct ex_cost *cost = &trace->cost;
  int64_t looks = 0;
  uint32_t looked = 0;
  for (int32_t p = 0; p < trace->n_points; p++) {
    looked |= trace->bodies[p];
    looks += cost->head_macs[p] + cost->gate_macs[p];
    cost->macs[p] = ex__sum_over(cost->body_macs, looked) + looks;
    cost->direct_macs[p] = ex__sum_over(cost->body_macs, trace->bodies[p]) +
                           ex__sum_over(cost->head_macs, trace->closure[p]);
  }
}

enum ex_status ex__trace_check_targets(const char *source, const int32_t *target, int32_t n,
                                       int32_t n_outputs, struct ex_error *err) {
  for (int32_t i = 0; i < n; i++)
    if (target[i] < -1 || target[i] >= n_outputs)
      return ex__fail(err, EX_EINVAL, "%s: target %d of sample %d; must be -1 or a class below %d",
                      source, (int)target[i], (int)i, (int)n_outputs);
  return EX_OK;
}

static enum ex_status fill(ex_trace *trace, const ex_real *raw, const ex_real *gate,
                           const int32_t *target, struct ex_error *err) {
  struct ex_trace_columns columns;
  if (ex__trace_own_memory(trace, gate != NULL, &columns) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "trace: no memory for %d samples at %d exits", (int)trace->n,
                    (int)trace->n_points);
  size_t points = (size_t)trace->n_points * (size_t)trace->n;
  memcpy(columns.raw, raw, points * (size_t)trace->n_outputs * sizeof *raw);
  if (gate != NULL) memcpy(columns.gate, gate, points * sizeof *gate);
  for (int32_t i = 0; i < trace->n; i++) columns.target[i] = target != NULL ? target[i] : -1;
  return ex__trace_check_targets("trace", trace->target, trace->n, trace->n_outputs, err);
}

enum ex_status ex__trace_from_arrays(int32_t n, int32_t n_points, int32_t n_outputs,
                                     const ex_real *raw, const ex_real *gate, const int32_t *target,
                                     const struct ex_cost *cost, ex_trace **out,
                                     struct ex_error *err) {
  ex_trace *trace;
  *out = NULL;
  EX_TRY(ex__trace_new(n, n_points, n_outputs, &trace, err));
  trace->cost = *cost;
  ex__trace_sum_costs(trace);
  struct ex_transform identity = {.kind = EX_TRANSFORM_IDENTITY};
  enum ex_status status = fill(trace, raw, gate, target, err);
  if (status == EX_OK) status = ex__trace_derive(trace, &identity, err);
  if (status == EX_OK)
    *out = trace;
  else
    ex__trace_free(trace);
  return status;
}

/* ---- picking ------------------------------------------------------------ */

static enum ex_status pick_digest(const ex_trace *trace, const int32_t *items, int32_t n,
                                  char text[EX_DIGEST_TEXT]) {
  ex_digest *digest = ex__digest_new();
  if (digest == NULL) return EX_ENOMEM;
  ex__digest_add(digest, trace->samples, strlen(trace->samples));
  ex__digest_add(digest, items, (size_t)n * sizeof *items);
  ex__digest_finish(digest, text);
  return EX_OK;
}

static enum ex_status pick_columns(const ex_trace *trace, const int32_t *items, ex_trace *to) {
  struct ex_trace_columns columns;
  EX_TRY(ex__trace_own_memory(to, trace->gate != NULL, &columns));
  size_t n_outputs = (size_t)to->n_outputs;
  for (int32_t i = 0; i < to->n; i++) {
    columns.target[i] = trace->target[items[i]];
    for (int32_t p = 0; p < to->n_points; p++) {
      size_t from = (size_t)ex__trace_at(trace, p, items[i]), at = (size_t)ex__trace_at(to, p, i);
      memcpy(columns.raw + at * n_outputs, trace->raw + from * n_outputs,
             n_outputs * sizeof *columns.raw);
      if (trace->gate != NULL) columns.gate[at] = trace->gate[from];
    }
  }
  return pick_digest(trace, items, to->n, to->samples);
}

enum ex_status ex__trace_pick(const ex_trace *trace, const int32_t *items, int32_t n,
                              ex_trace **out, struct ex_error *err) {
  ex_trace *picked;
  *out = NULL;
  for (int32_t i = 0; i < n; i++)
    if (items[i] < 0 || items[i] >= trace->n)
      return ex__fail(err, EX_EINVAL, "trace: sample %d picked; must be in [0, %d]", (int)items[i],
                      (int)trace->n - 1);
  EX_TRY(ex__trace_new(n, trace->n_points, trace->n_outputs, &picked, err));
  picked->task = trace->task;
  picked->cost = trace->cost;
  memcpy(picked->stage, trace->stage, sizeof picked->stage);
  memcpy(picked->bodies, trace->bodies, sizeof picked->bodies);
  memcpy(picked->closure, trace->closure, sizeof picked->closure);
  memcpy(picked->weights, trace->weights, sizeof picked->weights);
  enum ex_status status = pick_columns(trace, items, picked);
  if (status != EX_OK) ex__fail(err, status, "trace: no memory to pick %d samples", (int)n);
  if (status == EX_OK) status = ex__trace_derive(picked, &trace->transform, err);
  if (status == EX_OK)
    *out = picked;
  else
    ex__trace_free(picked);
  return status;
}
