/* SPDX-License-Identifier: Apache-2.0
 *
 * export/layer_pool: pooling of every kind, as tables of windows: fixed windows
 * with padding and rounding up, the whole map, and adaptive windows.
 */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "export/export_int8.h"
#include "graph/window.h"

enum { MOST = 65535, FIELDS = 3 }; /* of a side; of struct window: begin, end, length */

static bool is(const struct ex_layer_step *step, const char *op) {
  return strcmp(step->layer->op, op) == 0;
}

static bool is_max(const struct ex_node *node) {
  return ((const struct ex_adaptive_pool *)node->attr)->max != 0;
}

static bool is_mean(const struct ex_node *node) { return !is_max(node); }

static enum ex_status check(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                            struct ex_error *err) {
  const struct ex_shape *in = &ex__layer_in(plan, step, 0)->shape;
  if (in->dim[1] <= MOST && in->dim[2] <= MOST) return EX_OK;
  return ex__fail(err, EX_EUNSUPPORTED, "%s of %d × %d pixels; must be at most %d a side",
                  step->layer->op, (int)in->dim[1], (int)in->dim[2], MOST);
}

/* Window i of n along `size`. */
static void window(const struct ex_layer_step *step, int64_t size, int64_t i, int64_t n,
                   int64_t to[FIELDS]) {
  if (is(step, "global_avg_pool") || is(step, "adaptive_pool")) {
    to[0] = i * size / n;
    to[1] = ((i + 1) * size + n - 1) / n;
    to[2] = to[1] - to[0];
    return;
  }
  const struct ex_pool *attr = step->node->attr;
  int32_t begin, end, length = ex__window_span(attr, size, i, &begin, &end);
  to[0] = begin;
  to[1] = end;
  to[2] = is(step, "avg_pool") && attr->count_include_pad ? length : end - begin;
}

static void write_windows(struct ex_writer *writer, const struct ex_layer_step *step,
                          const char *suffix, int64_t size, int64_t n) {
  int64_t *all = ex__alloc((size_t)n, FIELDS * sizeof *all);
  if (all == NULL) {
    writer->text->failed = true;
    return;
  }
  for (int64_t i = 0; i < n; i++) window(step, size, i, n, all + i * FIELDS);
  ex__write_integers(writer, step, "struct window", suffix, all, n, FIELDS);
  ex__free(all);
}

/* Of the map that comes out, which a global pooling gives without its last dimensions. */
static int64_t side(const struct ex_shape *out, int32_t d) {
  return out->rank == 3 ? out->dim[d] : 1;
}

/* The tables of windows, and the fields of struct pool that both forms have. */
static void write_pool(struct ex_writer *writer, const struct ex_layer_step *step,
                       const char *fields) {
  const struct ex_shape *in = &ex__layer_in(writer->plan, step, 0)->shape;
  const struct ex_shape *out = &ex__layer_out(writer->plan, step)->shape;
  int64_t height = side(out, 1), width = side(out, 2);
  write_windows(writer, step, "rows", in->dim[1], height);
  write_windows(writer, step, "columns", in->dim[2], width);
  ex__write_layer(writer, step, "pool",
                  ".width = %d, .channels = %d, .out_height = %d, .out_width = %d,\n"
                  "    %s,\n    .rows = %s_rows, .columns = %s_columns",
                  (int)in->dim[2], (int)in->dim[0], (int)height, (int)width, fields, step->name,
                  step->name);
}

static void constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  write_pool(writer, step, step->relu ? ".relu = 1" : ".relu = 0");
}

static void int8_constants(struct ex_writer *writer, const struct ex_layer_step *step) {
  const struct ex_quantum *in = &ex__layer_in(writer->plan, step, 0)->quantum;
  const struct ex_quantum *out = &ex__layer_out(writer->plan, step)->quantum;
  struct ex_multiplier m = ex__multiplier_of(in->scale / out->scale);
  char fields[128];
  snprintf(fields, sizeof fields,
           ".in_zero = %d, .out_zero = %d, .low = %d, .multiplier = %d, .shift = %d", (int)in->zero,
           (int)out->zero, (int)ex__int8_low(writer->plan, step), (int)m.multiplier, (int)m.shift);
  write_pool(writer, step, fields);
}

static void max_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__write_call(writer, step, "max_pool");
}

static void mean_call(struct ex_writer *writer, const struct ex_layer_step *step) {
  ex__write_call(writer, step, "avg_pool");
}

#define MAX_FORM                                                 \
  .form = {[EX_FLOAT] = {"float_max_pool", constants, max_call}, \
           [EX_INT8] = {"int8_max_pool", int8_constants, max_call}}
#define MEAN_FORM                                                 \
  .form = {[EX_FLOAT] = {"float_avg_pool", constants, mean_call}, \
           [EX_INT8] = {"int8_avg_pool", int8_constants, mean_call}}

extern const struct ex_layer ex__layer_max_pool, ex__layer_avg_pool, ex__layer_global_avg_pool,
    ex__layer_adaptive_max_pool, ex__layer_adaptive_avg_pool;
const struct ex_layer ex__layer_max_pool = {
    .op = "max_pool",
    .flags = EX_LAYER_TAKES_RELU | EX_LAYER_KEEPS_QUANTUM,
    .check = check,
    MAX_FORM,
};
const struct ex_layer ex__layer_avg_pool = {.op = "avg_pool", .check = check, MEAN_FORM};
const struct ex_layer ex__layer_global_avg_pool = {
    .op = "global_avg_pool", .check = check, MEAN_FORM};
const struct ex_layer ex__layer_adaptive_max_pool = {
    .op = "adaptive_pool",
    .flags = EX_LAYER_KEEPS_QUANTUM,
    .suits = is_max,
    .check = check,
    MAX_FORM,
};
const struct ex_layer ex__layer_adaptive_avg_pool = {
    .op = "adaptive_pool", .suits = is_mean, .check = check, MEAN_FORM};
