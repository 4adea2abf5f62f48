/* SPDX-License-Identifier: Apache-2.0
 *
 * trace/trace_file: a trace as a safetensors file, which others can read.
 *
 * Metadata: format, task, transform (JSON), digests of weights and samples.
 * Arrays: raw, gate and target as in memory; stage, bodies, closure, body_* by
 * stage and head_*, gate_*, params by point as I64. What is derived is not stored.
 * A file without "bodies" is of a row of stages, each of which needs all before it.
 * Reading maps the file and believes nothing: sizes, stages in ascending
 * order, closures that hold no later head, bodies that end at the point's stage,
 * costs ≥ 0 that do not overflow.
 */
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/safetensors.h"
#include "trace/trace_internal.h"

enum { TRACE_FORMAT = 1 };
static const int64_t most_cost = INT64_MAX / 256; /* sums over stages and points still fit */

/* The cost columns that are stored; the cumulative ones follow from them. */
static const struct {
  const char *name;
  size_t offset; /* in struct ex_cost, of an array of int64_t */
  bool by_stage;
} columns[] = {
    {"body_macs", offsetof(struct ex_cost, body_macs), true},
    {"body_ns", offsetof(struct ex_cost, body_ns), true},
    {"head_macs", offsetof(struct ex_cost, head_macs), false},
    {"head_ns", offsetof(struct ex_cost, head_ns), false},
    {"gate_macs", offsetof(struct ex_cost, gate_macs), false},
    {"gate_ns", offsetof(struct ex_cost, gate_ns), false},
    {"params", offsetof(struct ex_cost, params), false},
};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

/* ---- writing ------------------------------------------------------------ */

/* Stages behind the last point count for nothing. */
static int32_t n_stages(const ex_trace *trace) { return trace->stage[trace->n_points - 1] + 1; }

static enum ex_status add_metadata(const ex_trace *trace, ex_safetensors_writer *writer,
                                   struct ex_error *err) {
  char format[16], *transform;
  snprintf(format, sizeof format, "%d", TRACE_FORMAT);
  json_t *json = ex__transform_to_json(&trace->transform);
  enum ex_status status = json != NULL ? ex__json_dump(json, false, &transform) : EX_ENOMEM;
  json_decref(json);
  if (status != EX_OK) return ex__fail(err, status, "trace: no memory to write");
  const char *const entries[][2] = {{"format", format},
                                    {"task", trace->task->name},
                                    {"transform", transform},
                                    {"weights", trace->weights},
                                    {"samples", trace->samples}};
  for (size_t i = 0; status == EX_OK && i < sizeof entries / sizeof *entries; i++)
    status = ex__safetensors_add_metadata(writer, entries[i][0], entries[i][1], err);
  ex__free(transform);
  return status;
}

struct points { /* as they are stored */
  int64_t stage[EX_MAX_POINTS], bodies[EX_MAX_POINTS], closure[EX_MAX_POINTS];
};

static enum ex_status add_arrays(const ex_trace *trace, ex_safetensors_writer *writer,
                                 struct points *of, struct ex_error *err) {
  const int64_t outputs[3] = {trace->n_points, trace->n, trace->n_outputs};
  const int64_t n = trace->n, points = trace->n_points, stages = n_stages(trace);
  for (int32_t p = 0; p < trace->n_points; p++) {
    of->stage[p] = trace->stage[p];
    of->bodies[p] = trace->bodies[p];
    of->closure[p] = trace->closure[p];
  }
  EX_TRY(ex__safetensors_add(writer, "raw", EX_DTYPE_REAL, 3, outputs, trace->raw, err));
  if (trace->gate != NULL)
    EX_TRY(ex__safetensors_add(writer, "gate", EX_DTYPE_REAL, 2, outputs, trace->gate, err));
  EX_TRY(ex__safetensors_add(writer, "stage", EX_DTYPE_I64, 1, &points, of->stage, err));
  EX_TRY(ex__safetensors_add(writer, "bodies", EX_DTYPE_I64, 1, &points, of->bodies, err));
  EX_TRY(ex__safetensors_add(writer, "closure", EX_DTYPE_I64, 1, &points, of->closure, err));
  for (int i = 0; i < N_COLUMNS; i++)
    EX_TRY(ex__safetensors_add(writer, columns[i].name, EX_DTYPE_I64, 1,
                               columns[i].by_stage ? &stages : &points,
                               (const char *)&trace->cost + columns[i].offset, err));
  return ex__safetensors_add(writer, "target", EX_DTYPE_I32, 1, &n, trace->target, err);
}

enum ex_status ex__trace_write(const ex_trace *trace, const char *path, struct ex_error *err) {
  struct points points; /* borrowed until it is saved */
  ex_safetensors_writer *writer = ex__safetensors_writer_new();
  if (writer == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory to write", path);
  enum ex_status status = add_metadata(trace, writer, err);
  if (status == EX_OK) status = add_arrays(trace, writer, &points, err);
  if (status == EX_OK) status = ex__safetensors_save(writer, path, err);
  ex__safetensors_writer_free(writer);
  return status;
}

/* ---- reading ------------------------------------------------------------ */

static enum ex_status metadata(const ex_safetensors *file, const char *key, const char **out,
                               struct ex_error *err) {
  *out = ex__safetensors_metadata(file, key);
  if (*out != NULL) return EX_OK;
  return ex__fail(err, EX_EFORMAT, "%s: not a trace: has no metadata \"%s\"",
                  ex__safetensors_source(file), key);
}

static enum ex_status check_format(const ex_safetensors *file, struct ex_error *err) {
  const char *text;
  int64_t format;
  EX_TRY(metadata(file, "format", &text, err));
  if (ex__text_to_int(text, &format) && format == TRACE_FORMAT) return EX_OK;
  return ex__fail(err, EX_EUNSUPPORTED, "%s: format \"%.20s\"; this version reads %d",
                  ex__safetensors_source(file), text, TRACE_FORMAT);
}

static enum ex_status read_digest(const ex_safetensors *file, const char *key, char *out,
                                  struct ex_error *err) {
  const char *text;
  EX_TRY(metadata(file, key, &text, err));
  if (strlen(text) >= EX_DIGEST_TEXT)
    return ex__fail(err, EX_EFORMAT, "%s: \"%s\" must have at most %d characters",
                    ex__safetensors_source(file), key, EX_DIGEST_TEXT - 1);
  memcpy(out, text, strlen(text) + 1);
  return EX_OK;
}

/* An I64 array [n] whose items lie in [0, most]. */
static enum ex_status read_integers(const ex_safetensors *file, const char *name, int64_t n,
                                    int64_t most, int64_t *out, struct ex_error *err) {
  const struct ex_array *array;
  EX_TRY(ex__safetensors_get(file, name, EX_DTYPE_I64, 1, &n, &array, err));
  memcpy(out, array->data, (size_t)n * sizeof *out);
  for (int64_t i = 0; i < n; i++)
    if (out[i] < 0 || out[i] > most)
      return ex__fail(err, EX_EFORMAT,
                      "%s: %s[%" PRId64 "] = %" PRId64 "; must be in [0, %" PRId64 "]",
                      ex__safetensors_source(file), name, i, out[i], most);
  return EX_OK;
}

static enum ex_status check_point(const ex_safetensors *file, const struct points *points,
                                  int32_t p, struct ex_error *err) {
  const char *source = ex__safetensors_source(file);
  const int64_t *stage = points->stage;
  if (p > 0 && stage[p] <= stage[p - 1])
    return ex__fail(err, EX_EFORMAT, "%s: stage[%d] = %d; must be above stage[%d]", source, (int)p,
                    (int)stage[p], (int)p - 1);
  if ((points->bodies[p] >> stage[p]) != 1)
    return ex__fail(err, EX_EFORMAT, "%s: bodies[%d] must hold its own stage and no later one",
                    source, (int)p);
  if ((points->closure[p] >> p) != 1)
    return ex__fail(err, EX_EFORMAT, "%s: closure[%d] must hold its own head and no later one",
                    source, (int)p);
  return EX_OK;
}

static enum ex_status read_bodies(const ex_safetensors *file, int32_t n_points,
                                  struct points *points, struct ex_error *err) {
  if (ex__safetensors_find(file, "bodies") != NULL)
    return read_integers(file, "bodies", n_points, UINT32_MAX, points->bodies, err);
  for (int32_t p = 0; p < n_points; p++)
    points->bodies[p] = ex__trace_row((int32_t)points->stage[p]);
  return EX_OK;
}

static enum ex_status read_points(const ex_safetensors *file, ex_trace *trace,
                                  struct ex_error *err) {
  struct points points;
  EX_TRY(read_integers(file, "stage", trace->n_points, EX_MAX_STAGES - 1, points.stage, err));
  EX_TRY(read_bodies(file, trace->n_points, &points, err));
  EX_TRY(read_integers(file, "closure", trace->n_points, UINT32_MAX, points.closure, err));
  for (int32_t p = 0; p < trace->n_points; p++) {
    EX_TRY(check_point(file, &points, p, err));
    trace->stage[p] = (int32_t)points.stage[p];
    trace->bodies[p] = (uint32_t)points.bodies[p];
    trace->closure[p] = (uint32_t)points.closure[p];
  }
  for (int i = 0; i < N_COLUMNS; i++)
    EX_TRY(read_integers(file, columns[i].name,
                         columns[i].by_stage ? n_stages(trace) : trace->n_points, most_cost,
                         (int64_t *)(void *)((char *)&trace->cost + columns[i].offset), err));
  ex__trace_sum_costs(trace);
  return EX_OK;
}

static enum ex_status read_columns(const ex_safetensors *file, ex_trace *trace,
                                   struct ex_error *err) {
  const int64_t shape[3] = {trace->n_points, trace->n, trace->n_outputs}, n = trace->n;
  const struct ex_array *array;
  EX_TRY(ex__safetensors_get(file, "raw", EX_DTYPE_REAL, 3, shape, &array, err));
  trace->raw = array->data;
  if (ex__safetensors_find(file, "gate") != NULL) {
    EX_TRY(ex__safetensors_get(file, "gate", EX_DTYPE_REAL, 2, shape, &array, err));
    trace->gate = array->data;
  }
  EX_TRY(ex__safetensors_get(file, "target", EX_DTYPE_I32, 1, &n, &array, err));
  trace->target = array->data;
  return ex__trace_check_targets(ex__safetensors_source(file), trace->target, trace->n,
                                 trace->n_outputs, err);
}

static enum ex_status read_task(const ex_safetensors *file, ex_trace *trace, struct ex_error *err) {
  const char *task, *text;
  json_t *json;
  EX_TRY(metadata(file, "task", &task, err));
  trace->task = ex__task_find(task);
  if (trace->task == NULL)
    return ex__fail(err, EX_EUNSUPPORTED, "%s: task \"%.40s\" is not known",
                    ex__safetensors_source(file), task);
  EX_TRY(metadata(file, "transform", &text, err));
  EX_TRY(ex__json_parse(text, strlen(text), ex__safetensors_source(file), &json, err));
  enum ex_status status =
      ex__transform_from_json(json, trace->n_points, trace->n_outputs, &trace->transform, err);
  json_decref(json);
  return status == EX_OK ? EX_OK : ex__wrap(err, status, "%s", ex__safetensors_source(file));
}

static enum ex_status fill(ex_trace *trace, struct ex_error *err) {
  const ex_safetensors *file = trace->mapped;
  EX_TRY(read_digest(file, "weights", trace->weights, err));
  EX_TRY(read_digest(file, "samples", trace->samples, err));
  EX_TRY(read_task(file, trace, err));
  EX_TRY(read_points(file, trace, err));
  EX_TRY(read_columns(file, trace, err));
  return ex__trace_derive(trace, &trace->transform, err);
}

/* Takes the file, also where it fails. */
static enum ex_status from_file(ex_safetensors *file, ex_trace **out, struct ex_error *err) {
  const char *source = ex__safetensors_source(file);
  const int64_t any[3] = {-1, -1, -1};
  const struct ex_array *raw;
  ex_trace *trace = NULL;
  enum ex_status status = check_format(file, err);
  if (status == EX_OK) status = ex__safetensors_get(file, "raw", EX_DTYPE_REAL, 3, any, &raw, err);
  if (status == EX_OK)
    status = ex__trace_check_sizes(source, raw->dim[1], raw->dim[0], raw->dim[2], err);
  if (status == EX_OK)
    status = ex__trace_new((int32_t)raw->dim[1], (int32_t)raw->dim[0], (int32_t)raw->dim[2], &trace,
                           err);
  if (status != EX_OK) {
    ex__safetensors_free(file);
    return status;
  }
  trace->mapped = file;
  status = fill(trace, err);
  if (status == EX_OK)
    *out = trace;
  else
    ex__trace_free(trace);
  return status;
}

enum ex_status ex__trace_read(const char *path, ex_trace **out, struct ex_error *err) {
  ex_safetensors *file;
  *out = NULL;
  EX_TRY(ex__safetensors_open(path, &file, err));
  return from_file(file, out, err);
}

enum ex_status ex__trace_parse(const void *data, size_t size, const char *source, ex_trace **out,
                               struct ex_error *err) {
  ex_safetensors *file;
  *out = NULL;
  EX_TRY(ex__safetensors_parse(data, size, source, &file, err));
  return from_file(file, out, err);
}
