/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_infer_strided: views and arithmetic, whose operators say which
 * elements they read by steps through a plain sample. Here steps are turned
 * into those in memory, in either layout, and dimensions that follow one
 * another are joined, so that most of it becomes runs of neighbours.
 */
#include <string.h>

#include "base/memory.h"
#include "graph/fast_infer.h"
#include "graph/shape.h"

/* ---- steps in memory ------------------------------------------------------------- */

/* Of one operand, whose plain steps are in `steps`. Channels last, an element is
 * (channel, pixel): a dimension must go along one of both. */
static bool find_steps(const struct fast_value *value, int64_t pixel_step, int64_t offset,
                       const struct ex_strided *steps, int64_t *to, int64_t *to_offset) {
  int64_t plane = ex__shape_plane(&value->shape);
  bool nhwc = ex__fast_is_nhwc(value);
  int64_t low = offset % plane, high = low;
  for (int32_t i = 0; i < steps->n; i++) {
    int64_t step = steps->dim[i] > 1 ? steps->step[i] : 0;
    to[i] = step;
    if (!nhwc) continue;
    if (step % plane == 0) {
      to[i] = step / plane;
      continue;
    }
    to[i] = step * pixel_step;
    *(step > 0 ? &high : &low) += step * (steps->dim[i] - 1);
  }
  *to_offset = nhwc ? offset % plane * pixel_step + offset / plane : offset;
  return !nhwc || (low >= 0 && high < plane);
}

static struct ex_strided out_steps(const struct ex_list *dims) {
  struct ex_strided steps = ex__strided_of(dims, NULL);
  int64_t step = 1;
  for (int32_t i = steps.n - 1; i >= 0; i--) {
    steps.step[i] = step;
    step *= steps.dim[i];
  }
  return steps;
}

static bool find_all(const struct fast *fast, const struct fast_step *step,
                     struct fast_strides *s) {
  const struct ex_node *node = step->node;
  bool is_view = strcmp(node->op->name, "view") == 0;
  const struct ex_view *view = node->attr;
  const struct ex_arithmetic *arithmetic = node->attr;
  const struct ex_list *dims = is_view ? &view->dims : &arithmetic->dims;
  struct ex_strided steps = out_steps(dims);
  *s = (struct fast_strides){.n = dims->n};
  memcpy(s->dim, steps.dim, sizeof s->dim);
  if (!find_steps(&fast->values[step->out], step->out_place.pixel_step, 0, &steps, s->step[0],
                  &s->offset[0]))
    return false;
  steps = ex__strided_of(dims, is_view ? &view->steps : &arithmetic->first_steps);
  if (!find_steps(&fast->values[step->in[0]], step->in_place[0].pixel_step,
                  is_view ? view->offset : 0, &steps, s->step[1], &s->offset[1]))
    return false;
  if (is_view) return true;
  steps = ex__strided_of(dims, &arithmetic->second_steps);
  if (step->n_in > 1)
    return find_steps(&fast->values[step->in[1]], step->in_place[1].pixel_step, 0, &steps,
                      s->step[2], &s->offset[2]);
  memcpy(s->step[2], steps.step, sizeof s->step[2]);
  return true;
}

bool ex__fast_strides_can(const struct fast *fast, const struct fast_step *step) {
  struct fast_strides strides;
  return find_all(fast, step, &strides);
}

/* Drops dimensions of one and joins those that follow one another; at least two are left. */
static void join_dims(struct fast_strides *s) {
  struct fast_strides out = {.n = 0};
  memcpy(out.offset, s->offset, sizeof out.offset);
  for (int32_t i = 0; i < s->n; i++) {
    if (s->dim[i] == 1) continue;
    bool joins = out.n > 0;
    for (int32_t k = 0; joins && k < EX_FAST_OPERANDS; k++)
      joins = out.step[k][out.n - 1] == s->dim[i] * s->step[k][i];
    int32_t to = joins ? out.n - 1 : out.n++;
    out.dim[to] = joins ? out.dim[to] * s->dim[i] : s->dim[i];
    for (int32_t k = 0; k < EX_FAST_OPERANDS; k++) out.step[k][to] = s->step[k][i];
  }
  while (out.n < 2) { /* a dimension of one in front */
    for (int32_t k = 0; k < EX_FAST_OPERANDS; k++) {
      out.step[k][1] = out.n > 0 ? out.step[k][0] : 0;
      out.step[k][0] = 0;
    }
    out.dim[1] = out.n > 0 ? out.dim[0] : 1;
    out.dim[0] = 1;
    out.n = out.n > 0 ? 2 : 1;
  }
  *s = out;
}

static enum ex_status make_strided(struct fast *fast, struct fast_step *step,
                                   struct ex_error *err) {
  int64_t parameters = 0;
  (void)find_all(fast, step, &step->strides); /* as it could when the kind was chosen */
  join_dims(&step->strides);
  if (step->node->n_tensors > 0)
    parameters = ((const struct ex_arithmetic *)step->node->attr)->parameters;
  return ex__fast_make_weights(step, parameters, 0, err);
}

static void pack_strided(const struct fast *fast, struct fast_step *step) {
  if (step->n_weights > 0)
    memcpy(step->weights, ex__fast_tensor(fast, step->node, 0),
           (size_t)step->n_weights * sizeof(float));
}

int64_t ex__fast_run_of(const struct ex_node *node) {
  const struct ex_view *view = node->attr;
  struct ex_strided steps = ex__strided_of(&view->dims, &view->steps);
  int64_t next = 1;
  for (int32_t i = steps.n - 1; i >= 0; i--) {
    if (steps.dim[i] == 1) continue;
    if (steps.step[i] != next) return -1;
    next *= steps.dim[i];
  }
  return view->offset;
}

/* ---- running ---------------------------------------------------------------------------- */

/* Counts through all dimensions but the last two. */
static bool next_block(const struct fast_strides *s, int64_t *index, int64_t *at) {
  for (int32_t i = s->n - 3; i >= 0; i--) {
    for (int32_t k = 0; k < EX_FAST_OPERANDS; k++) at[k] += s->step[k][i];
    if (++index[i] < s->dim[i]) return true;
    for (int32_t k = 0; k < EX_FAST_OPERANDS; k++) at[k] -= s->dim[i] * s->step[k][i];
    index[i] = 0;
  }
  return false;
}

static void copy_row(const float *in, int64_t in_step, float *out, int64_t out_step, int64_t n) {
  if (in_step == 1 && out_step == 1 && n >= 64)
    memcpy(out, in, (size_t)n * sizeof *out);
  else if (in_step == 1 && out_step == 1)
    for (int64_t i = 0; i < n; i++) out[i] = in[i];
  else if (in_step == 0 && out_step == 1)
    for (int64_t i = 0; i < n; i++) out[i] = in[0];
  else
    for (int64_t i = 0; i < n; i++) out[i * out_step] = in[i * in_step];
}

static void run_view(const struct fast *fast, const struct fast_step *step,
                     const struct fast_run *run) {
  const struct fast_strides *s = &step->strides;
  int32_t rows = s->n - 2, columns = s->n - 1;
  for (int32_t b = 0; b < fast->batch; b++) {
    float *out = ex__fast_at(run, &step->out_place, b);
    const float *in = ex__fast_at(run, &step->in_place[0], b);
    int64_t index[EX_MAX_DIMS] = {0}, at[EX_FAST_OPERANDS];
    memcpy(at, s->offset, sizeof at);
    do
      for (int64_t r = 0; r < s->dim[rows]; r++)
        copy_row(in + at[1] + r * s->step[1][rows], s->step[1][columns],
                 out + at[0] + r * s->step[0][rows], s->step[0][columns], s->dim[columns]);
    while (next_block(s, index, at));
  }
}

const struct fast_kind ex__fast_view = {
    .name = "copy", .make = make_strided, .run = run_view, .writes_parts = true};

/* The kernels write neighbours: where an output's lie apart, number by number. */
static void run_row(ex_binary_kernel *kernel, const struct fast_strides *s, bool swap,
                    const float *first, const float *second, float *out) {
  int32_t d = s->n - 1;
  int64_t steps[2] = {s->step[1][d], s->step[2][d]}, out_step = s->step[0][d], n = s->dim[d];
  if (out_step == 1 || n == 1) {
    if (swap)
      kernel(n, second, steps[1], first, steps[0], out);
    else
      kernel(n, first, steps[0], second, steps[1], out);
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    const float *a = first + i * steps[0], *b = second + i * steps[1];
    kernel(1, swap ? b : a, 0, swap ? a : b, 0, out + i * out_step);
  }
}

static void run_arithmetic(const struct fast *fast, const struct fast_step *step,
                           const struct fast_run *run) {
  const struct ex_arithmetic *attr = step->node->attr;
  const struct fast_strides *s = &step->strides;
  int32_t rows = s->n - 2;
  for (int32_t b = 0; b < fast->batch; b++) {
    float *out = ex__fast_at(run, &step->out_place, b);
    const float *first = ex__fast_at(run, &step->in_place[0], b);
    const float *second = step->n_in > 1 ? ex__fast_at(run, &step->in_place[1], b) : step->weights;
    int64_t index[EX_MAX_DIMS] = {0}, at[EX_FAST_OPERANDS];
    memcpy(at, s->offset, sizeof at);
    do
      for (int64_t r = 0; r < s->dim[rows]; r++)
        run_row(fast->kernels->binary[attr->kind], s, attr->swap,
                first + at[1] + r * s->step[1][rows], second + at[2] + r * s->step[2][rows],
                out + at[0] + r * s->step[0][rows]);
    while (next_block(s, index, at));
  }
}

const struct fast_kind ex__fast_arithmetic = {.name = "rows",
                                              .make = make_strided,
                                              .run = run_arithmetic,
                                              .pack = pack_strided,
                                              .writes_parts = true};
