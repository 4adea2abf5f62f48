/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_infer_matmul: products of matrices, by the kernels of channels-last
 * convolutions: a row of the first matrix is a pixel, a column of the second
 * an output channel. So each number is one sum from the bias on in the order
 * of depth, and bits depend on nothing else.
 *
 * A second matrix that is parameters is packed once; one that is a value is
 * packed for each product, unless its rows are as wide as a block is. What
 * follows number by number is computed with it: a bias, an addition, relu, or
 * gelu.
 */
#include <string.h>

#include "base/memory.h"
#include "graph/fast_infer.h"
#include "graph/shape.h"

static const struct ex_matmul *attr_of(const struct fast_step *step) { return step->node->attr; }

static bool is_op(const struct ex_node *node, const char *name) {
  return strcmp(node->op->name, name) == 0;
}

static bool matmul_absorbs(const struct fast *fast, struct fast_step *step,
                           const struct ex_node *next, int32_t id) {
  if (step->relu || step->curve != EX_CURVE_NONE || !ex__fast_is_plain(fast, id)) return false;
  if (step->shift == NULL && step->residual < 0 &&
      ex__fast_is_by_column(next, EX_ARITHMETIC_ADD, &step->node->shape, attr_of(step)->columns)) {
    step->shift = next;
    return true;
  }
  if (is_op(next, "relu")) return step->relu = true;
  if (is_op(next, "gelu")) {
    step->curve = EX_CURVE_GELU;
    return true;
  }
  if (!is_op(next, "add") || next->n_in != 2 || step->residual >= 0) return false;
  int32_t other = ex__fast_value(fast, next->in[0] == step->end ? next->in[1] : next->in[0]);
  if (ex__fast_is_nhwc(&fast->values[other]) || next->in[0] == next->in[1]) return false;
  step->residual = other;
  return true;
}

/* ---- making ------------------------------------------------------------------------- */

static int64_t packed_size(const struct fast *fast, const struct fast_step *step) {
  return (int64_t)attr_of(step)->depth * step->n_vectors * fast->kernels->lanes;
}

/* Whether a second matrix lies as the kernels want it. */
static bool lies_packed(const struct fast *fast, const struct fast_step *step) {
  int32_t lanes = fast->kernels->lanes, columns = attr_of(step)->columns;
  return columns % lanes == 0 && columns / lanes == step->block;
}

static enum ex_status make_matmul(struct fast *fast, struct fast_step *step, struct ex_error *err) {
  const struct ex_matmul *attr = attr_of(step);
  int32_t lanes = fast->kernels->lanes, widest = 1;
  while (widest < EX_NHWC_VECTORS && fast->kernels->max_pixels[widest] > 0) widest++;
  step->n_vectors = (attr->columns + lanes - 1) / lanes;
  int32_t n_blocks = (step->n_vectors + widest - 1) / widest;
  step->block = (step->n_vectors + n_blocks - 1) / n_blocks;
  step->pixel = ex__calloc(EX_NHWC_PIXELS + 1, sizeof *step->pixel);
  if (step->pixel == NULL) return ex__fail(err, EX_ENOMEM, "matmul: no memory for its plan");
  for (int32_t p = 0; p < EX_NHWC_PIXELS; p++) step->pixel[p] = (int64_t)p * attr->depth;
  int64_t second = attr->shared ? 1 : attr->count;
  if (step->n_in > 1) {
    second = 0;
    if (!lies_packed(fast, step))
      step->scratch = packed_size(fast, step) * fast->threads * (int64_t)sizeof(float);
  }
  return ex__fast_make_weights(step, second * packed_size(fast, step),
                               (int64_t)step->n_vectors * lanes, err);
}

/* [depth][columns] as [block of vectors][depth][its columns]; the rest of the last vector is 0. */
static void pack_second(const struct fast *fast, const struct fast_step *step, const float *from,
                        float *to) {
  int64_t columns = attr_of(step)->columns, depth = attr_of(step)->depth;
  int64_t lanes = fast->kernels->lanes, all = step->n_vectors * lanes, wide = step->block * lanes;
  for (int64_t first = 0; first < all; first += wide) {
    int64_t width = all - first < wide ? all - first : wide;
    int64_t n = columns - first < width ? columns - first : width;
    for (int64_t d = 0; d < depth; d++, to += width) {
      memcpy(to, from + d * columns + first, (size_t)n * sizeof *to);
      memset(to + n, 0, (size_t)(width - n) * sizeof *to);
    }
  }
}

static void pack_matmul(const struct fast *fast, struct fast_step *step) {
  const struct ex_matmul *attr = attr_of(step);
  if (step->shift != NULL)
    memcpy(step->bias, ex__fast_tensor(fast, step->shift, 0),
           (size_t)attr->columns * sizeof(float));
  int64_t size = packed_size(fast, step);
  for (int64_t i = 0; i * size < step->n_weights; i++)
    pack_second(fast, step, ex__fast_tensor(fast, step->node, 0) + i * attr->depth * attr->columns,
                step->weights + i * size);
}

/* ---- running --------------------------------------------------------------------------- */

/* Rows that are multiplied by one packed matrix. */
struct rows {
  const float *first, *second, *residual; /* residual: NULL where there is none */
  float *out;
  int64_t n;
};

static void multiply(const struct fast *fast, const struct fast_step *step,
                     const struct rows *rows) {
  const struct ex_matmul *attr = attr_of(step);
  static const int64_t tap[1] = {0};
  int32_t lanes = fast->kernels->lanes;
  struct ex_nhwc_call call = {.pixel = step->pixel,
                              .tap = tap,
                              .n_channels = attr->depth,
                              .n_taps = 1,
                              .out_step = attr->columns,
                              .residual_step = attr->columns,
                              .relu = step->relu};
  for (int32_t vector = 0; vector < step->n_vectors; vector += step->block) {
    int32_t left = step->n_vectors - vector, vectors = left < step->block ? left : step->block;
    int32_t widest = fast->kernels->max_pixels[vectors - 1];
    int64_t column = (int64_t)vector * lanes;
    call.weights = rows->second + column * attr->depth;
    call.bias = step->bias + column;
    call.last = vectors == left ? attr->columns - (step->n_vectors - 1) * lanes : lanes;
    int64_t parts = (rows->n + widest - 1) / widest, part = (rows->n + parts - 1) / parts;
    for (int64_t r = 0; r < rows->n; r += part) {
      int64_t n = rows->n - r < part ? rows->n - r : part;
      call.src = rows->first + r * attr->depth;
      call.out = rows->out + r * attr->columns + column;
      if (rows->residual != NULL) call.residual = rows->residual + r * attr->columns + column;
      fast->kernels->nhwc[vectors - 1][n - 1](&call);
    }
  }
  if (step->curve != EX_CURVE_NONE)
    fast->kernels->curve(step->curve, rows->out, rows->out, rows->n * attr->columns);
}

/* Product i of the batch; `room` takes a second matrix that must be packed. */
static struct rows product(const struct fast *fast, const struct fast_step *step,
                           const struct fast_run *run, int64_t i, float *room) {
  const struct ex_matmul *attr = attr_of(step);
  int64_t sample = i / attr->count, own = i % attr->count, second = attr->shared ? 0 : own;
  int64_t size = (int64_t)attr->rows * attr->columns;
  struct rows rows = {.first = ex__fast_at(run, &step->in_place[0], sample) +
                               own * attr->rows * attr->depth,
                      .second = step->weights + second * packed_size(fast, step),
                      .out = ex__fast_at(run, &step->out_place, sample) + own * size,
                      .n = attr->rows};
  if (step->residual >= 0)
    rows.residual = ex__fast_at(run, &step->residual_place, sample) + own * size;
  if (step->n_in == 1) return rows;
  rows.second = ex__fast_at(run, &step->in_place[1], sample) + second * attr->depth * attr->columns;
  if (lies_packed(fast, step)) return rows;
  pack_second(fast, step, rows.second, room);
  rows.second = room;
  return rows;
}

/* Part `part` of the rows of each product. */
static void run_part(const struct fast *fast, const struct fast_step *step,
                     const struct fast_run *run, int32_t part) {
  const struct ex_matmul *attr = attr_of(step);
  float *room = (float *)(void *)run->scratch + part * packed_size(fast, step);
  int64_t size = (attr->rows + fast->threads - 1) / fast->threads, at = part * size;
  if (at >= attr->rows) return;
  for (int64_t i = 0; i < (int64_t)fast->batch * attr->count; i++) {
    struct rows rows = product(fast, step, run, i, room);
    rows.n = attr->rows - at < size ? attr->rows - at : size;
    rows.first += at * attr->depth;
    rows.out += at * attr->columns;
    if (rows.residual != NULL) rows.residual += at * attr->columns;
    multiply(fast, step, &rows);
  }
}

static void run_matmul(const struct fast *fast, const struct fast_step *step,
                       const struct fast_run *run) {
  if (fast->threads == 1) {
    run_part(fast, step, run, 0);
    return;
  }
#pragma omp parallel for num_threads(fast->threads) schedule(static)
  for (int32_t part = 0; part < fast->threads; part++) run_part(fast, step, run, part);
}

const struct fast_kind ex__fast_matmul = {.name = "product",
                                          .make = make_matmul,
                                          .run = run_matmul,
                                          .pack = pack_matmul,
                                          .writes_parts = true,
                                          .absorbs = matmul_absorbs};
