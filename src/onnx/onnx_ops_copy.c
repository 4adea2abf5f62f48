/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_ops_copy: operators that put elements in other places. Each output
 * element is one element of an input, at a step per dimension; so all are one
 * loop over a counter with steps in the input.
 */
#include <inttypes.h>
#include <string.h>

#include "onnx/onnx_broadcast.h"

/* out[index] = in[base + Σ index · step]. */
static void copy_by_steps(struct ex_onnx_tensor *out, const struct ex_onnx_tensor *in,
                          const int64_t *step, int64_t base) {
  int64_t index[EX_ONNX_MAX_RANK] = {0};
  for (int64_t i = 0; i < out->count; i++) {
    ex__onnx_copy(out, i, in, base + ex__onnx_offset(index, step, out->rank));
    (void)ex__onnx_next(index, out->dim, out->rank);
  }
}

static enum ex_status transpose(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  int32_t n;
  const int64_t *perm = ex__onnx_ints(call, "perm", &n);
  int64_t dim[EX_ONNX_MAX_RANK], own[EX_ONNX_MAX_RANK], step[EX_ONNX_MAX_RANK];
  bool seen[EX_ONNX_MAX_RANK] = {false}, numbers;
  if (n >= 0 && n != in->rank)
    return onnx_fail(call, EX_EFORMAT, "perm has %d numbers for %d dimensions", (int)n,
                     (int)in->rank);
  ex__onnx_steps(in->dim, in->rank, own);
  for (int32_t i = 0; i < in->rank; i++) {
    int64_t from = n >= 0 ? perm[i] : in->rank - 1 - i;
    if (from < 0 || from >= in->rank || seen[from])
      return onnx_fail(call, EX_EFORMAT, "perm holds %" PRId64 "; must be a permutation", from);
    seen[from] = true;
    dim[i] = in->dim[from];
    step[i] = own[from];
  }
  EX_TRY(ex__onnx_out(call, 0, in->type, in->rank, dim, &numbers));
  if (numbers) copy_by_steps(&call->out[0], in, step, 0);
  return EX_OK;
}

static enum ex_status expand(struct ex_onnx_call *call) {
  struct ex_onnx_tensor *in = call->in[0];
  const int64_t *list;
  int64_t n, own[EX_ONNX_MAX_RANK], step[EX_ONNX_MAX_RANK] = {0}, dim[EX_ONNX_MAX_RANK];
  int32_t rank;
  bool numbers;
  EX_TRY(ex__onnx_list(call, 1, &list, &n));
  EX_TRY(ex__onnx_check_list(call, "shape", n));
  EX_TRY(ex__onnx_broadcast_dims(call, in->rank, in->dim, (int32_t)n, list, &rank, dim));
  EX_TRY(ex__onnx_out(call, 0, in->type, rank, dim, &numbers));
  ex__onnx_steps(in->dim, in->rank, own);
  for (int32_t i = 0; i < in->rank; i++)
    if (in->dim[i] != 1) step[rank - in->rank + i] = own[i];
  if (numbers) copy_by_steps(&call->out[0], in, step, 0);
  return EX_OK;
}

static enum ex_status tile(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  const int64_t *list;
  int64_t n, dim[EX_ONNX_MAX_RANK], own[EX_ONNX_MAX_RANK], index[EX_ONNX_MAX_RANK] = {0};
  bool numbers;
  EX_TRY(ex__onnx_list(call, 1, &list, &n));
  if (n != in->rank)
    return onnx_fail(call, EX_EFORMAT, "%" PRId64 " repeats for %d dimensions", n, (int)in->rank);
  for (int32_t i = 0; i < in->rank; i++) {
    if (list[i] < 0 || list[i] > EX_ONNX_MAX_COUNT)
      return onnx_fail(call, EX_ESHAPE, "%" PRId64 " repeats", list[i]);
    dim[i] = in->dim[i] * list[i];
  }
  EX_TRY(ex__onnx_out(call, 0, in->type, in->rank, dim, &numbers));
  ex__onnx_steps(in->dim, in->rank, own);
  for (int64_t i = 0; numbers && i < call->out[0].count; i++) {
    int64_t from = 0;
    for (int32_t k = 0; k < in->rank; k++) from += index[k] % in->dim[k] * own[k];
    ex__onnx_copy(&call->out[0], i, in, from);
    (void)ex__onnx_next(index, dim, in->rank);
  }
  return EX_OK;
}

/* ---- joining and parting --------------------------------------------------------- */

static enum ex_status check_parts(struct ex_onnx_call *call, int32_t axis, int64_t *length) {
  const struct ex_onnx_tensor *first = call->in[0];
  *length = 0;
  for (int32_t k = 0; k < call->n_in; k++) {
    const struct ex_onnx_tensor *in = call->in[k];
    bool fits = in != NULL && in->type == first->type && in->rank == first->rank;
    for (int32_t i = 0; fits && i < in->rank; i++) fits = i == axis || in->dim[i] == first->dim[i];
    if (!fits) return onnx_fail(call, EX_ESHAPE, "input %d does not go with the first one", (int)k);
    *length += in->dim[axis]; /* at most 256 · 2^28 */
  }
  return EX_OK;
}

static enum ex_status concat(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *first = call->in[0];
  int32_t axis;
  int64_t length, dim[EX_ONNX_MAX_RANK], done = 0;
  bool numbers;
  EX_TRY(ex__onnx_axis(call, ex__onnx_int(call, "axis", 1), first->rank, &axis));
  EX_TRY(check_parts(call, axis, &length));
  memcpy(dim, first->dim, sizeof dim);
  dim[axis] = length;
  EX_TRY(ex__onnx_out(call, 0, first->type, first->rank, dim, &numbers));
  int64_t outer = ex__onnx_product(dim, 0, axis);
  int64_t inner = ex__onnx_product(dim, axis + 1, first->rank);
  for (int32_t k = 0; numbers && k < call->n_in; k++) {
    int64_t own = call->in[k]->dim[axis] * inner;
    for (int64_t o = 0; o < outer; o++)
      for (int64_t i = 0; i < own; i++)
        ex__onnx_copy(&call->out[0], o * length * inner + done + i, call->in[k], o * own + i);
    done += own;
  }
  return EX_OK;
}

/* Lengths of the parts: an input or attribute `split`, else even ones. */
static enum ex_status part_lengths(struct ex_onnx_call *call, int64_t whole, int64_t *length) {
  const int64_t *list;
  int64_t n = -1, sum = 0;
  if (ex__onnx_has(call, 1)) {
    EX_TRY(ex__onnx_list(call, 1, &list, &n));
  } else {
    int32_t count;
    list = ex__onnx_ints(call, "split", &count);
    n = count;
  }
  if (n >= 0 && n != call->n_out)
    return onnx_fail(call, EX_EFORMAT, "%" PRId64 " lengths for %d outputs", n, (int)call->n_out);
  int64_t even = (whole + call->n_out - 1) / call->n_out;
  for (int32_t k = 0; k < call->n_out; k++) {
    int64_t left = whole - sum;
    length[k] = n >= 0 ? list[k] : even < left ? even : left;
    if (length[k] < 0 || length[k] > left)
      return onnx_fail(call, EX_ESHAPE, "part %d has length %" PRId64 " of %" PRId64, (int)k,
                       length[k], left);
    sum += length[k];
  }
  if (sum != whole)
    return onnx_fail(call, EX_ESHAPE, "the parts have %" PRId64 " of %" PRId64, sum, whole);
  return EX_OK;
}

static enum ex_status split(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  int64_t length[EX_ONNX_MAX_OUT] = {0}, dim[EX_ONNX_MAX_RANK], step[EX_ONNX_MAX_RANK], base = 0;
  int32_t axis;
  bool numbers;
  if (call->n_out == 0) return onnx_fail(call, EX_EFORMAT, "it has no outputs");
  EX_TRY(ex__onnx_axis(call, ex__onnx_int(call, "axis", 0), in->rank, &axis));
  EX_TRY(part_lengths(call, in->dim[axis], length));
  memcpy(dim, in->dim, sizeof dim);
  ex__onnx_steps(in->dim, in->rank, step);
  for (int32_t k = 0; k < call->n_out; k++) {
    dim[axis] = length[k];
    EX_TRY(ex__onnx_out(call, k, in->type, in->rank, dim, &numbers));
    if (numbers) copy_by_steps(&call->out[k], in, step, base);
    base += length[k] * step[axis];
  }
  return EX_OK;
}

/* ---- slices -------------------------------------------------------------------------- */

struct slice {
  int64_t n;
  const int64_t *starts, *ends, *axes, *steps; /* [n]; the last two may be NULL */
};

static enum ex_status slice_attributes(struct ex_onnx_call *call, struct slice *slice) {
  int32_t n, n_ends, n_axes;
  slice->starts = ex__onnx_ints(call, "starts", &n);
  slice->ends = ex__onnx_ints(call, "ends", &n_ends);
  slice->axes = ex__onnx_ints(call, "axes", &n_axes);
  slice->n = n;
  if (n >= 0 && n_ends == n && (n_axes < 0 || n_axes == n)) return EX_OK;
  return onnx_fail(call, EX_EFORMAT, "starts, ends and axes must be as many");
}

static enum ex_status slice_inputs(struct ex_onnx_call *call, struct slice *slice) {
  const int64_t **field[] = {&slice->starts, &slice->ends, &slice->axes, &slice->steps};
  if (call->n_in < 3 || call->in[1] == NULL || call->in[2] == NULL)
    return onnx_fail(call, EX_EFORMAT, "starts and ends must be given");
  for (int32_t k = 1; k < call->n_in; k++) {
    int64_t n;
    if (call->in[k] == NULL) continue;
    EX_TRY(ex__onnx_list(call, k, field[k - 1], &n));
    if (k > 1 && n != slice->n)
      return onnx_fail(call, EX_EFORMAT, "starts, ends, axes and steps must be as many");
    slice->n = n;
  }
  return EX_OK;
}

/* One axis: its first element, how many, and the step between them. */
static int64_t slice_axis(int64_t start, int64_t end, int64_t step, int64_t size, int64_t *first) {
  int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  if (start < 0) start = start < -size ? low : start + size;
  if (end < 0) end = end < -size ? low : end + size;
  start = start > high ? high : start < (step > 0 ? 0 : -1) ? low : start;
  end = end > high ? high : end < low ? low : end;
  *first = start;
  if (step > 0) return end > start ? (end - start - 1) / step + 1 : 0;
  return start > end ? (start - end - 1) / -step + 1 : 0;
}

static enum ex_status slice(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  struct slice given = {.n = 0};
  int64_t dim[EX_ONNX_MAX_RANK], step[EX_ONNX_MAX_RANK], base = 0;
  bool numbers;
  EX_TRY(call->opset < 10 ? slice_attributes(call, &given) : slice_inputs(call, &given));
  memcpy(dim, in->dim, sizeof dim);
  ex__onnx_steps(in->dim, in->rank, step);
  for (int64_t i = 0; i < given.n; i++) {
    int64_t first, by = given.steps != NULL ? given.steps[i] : 1;
    int32_t axis;
    EX_TRY(ex__onnx_axis(call, given.axes != NULL ? given.axes[i] : i, in->rank, &axis));
    if (by == 0) return onnx_fail(call, EX_EFORMAT, "a step of 0");
    by = by > INT32_MAX ? INT32_MAX : by < -INT32_MAX ? -INT32_MAX : by;
    dim[axis] = slice_axis(given.starts[i], given.ends[i], by, in->dim[axis], &first);
    base += first * step[axis];
    step[axis] *= by;
  }
  EX_TRY(ex__onnx_out(call, 0, in->type, in->rank, dim, &numbers));
  if (numbers) copy_by_steps(&call->out[0], in, step, base);
  return EX_OK;
}

/* ---- blocks ---------------------------------------------------------------------------- */

static enum ex_status want_image(struct ex_onnx_call *call, int64_t block) {
  const struct ex_onnx_tensor *in = call->in[0];
  if (in->rank == 4 && block >= 1 && block <= 1 << 12) return EX_OK;
  return onnx_fail(call, EX_ESHAPE, "blocks of %" PRId64 " of %d dimensions; must be 4", block,
                   (int)in->rank);
}

/* Copies through a shape of six dimensions into `dim`. */
static enum ex_status copy_blocks(struct ex_onnx_call *call, const int64_t six[6],
                                  const int64_t step[6], const int64_t dim[4]) {
  bool numbers;
  EX_TRY(ex__onnx_out(call, 0, call->in[0]->type, 4, dim, &numbers));
  if (!numbers) return EX_OK;
  struct ex_onnx_tensor view = call->out[0];
  view.rank = 6;
  memcpy(view.dim, six, 6 * sizeof *six);
  copy_by_steps(&view, call->in[0], step, 0);
  return EX_OK;
}

static enum ex_status depth_to_space(struct ex_onnx_call *call) {
  const int64_t *in = call->in[0]->dim;
  int64_t b = ex__onnx_int(call, "blocksize", 0);
  char text[32];
  bool crd = strcmp(ex__onnx_string(call, "mode", "DCR", text), "CRD") == 0;
  EX_TRY(want_image(call, b));
  if (in[1] % (b * b) != 0)
    return onnx_fail(call, EX_ESHAPE, "%" PRId64 " channels for blocks of %" PRId64, in[1], b);
  int64_t c = in[1] / (b * b), plane = in[2] * in[3];
  int64_t row = crd ? b * plane : b * c * plane, column = crd ? plane : c * plane;
  int64_t channel = crd ? b * b * plane : plane;
  const int64_t six[6] = {in[0], c, in[2], b, in[3], b};
  const int64_t step[6] = {in[1] * plane, channel, in[3], row, 1, column};
  const int64_t dim[4] = {in[0], c, in[2] * b, in[3] * b};
  return copy_blocks(call, six, step, dim);
}

static enum ex_status space_to_depth(struct ex_onnx_call *call) {
  const int64_t *in = call->in[0]->dim;
  int64_t b = ex__onnx_int(call, "blocksize", 0);
  EX_TRY(want_image(call, b));
  if (in[2] % b != 0 || in[3] % b != 0)
    return onnx_fail(call, EX_ESHAPE, "blocks of %" PRId64 " do not fit", b);
  const int64_t six[6] = {in[0], b, b, in[1], in[2] / b, in[3] / b};
  const int64_t step[6] = {in[1] * in[2] * in[3], in[3], 1, in[2] * in[3], b * in[3], b};
  const int64_t dim[4] = {in[0], in[1] * b * b, in[2] / b, in[3] / b};
  return copy_blocks(call, six, step, dim);
}

extern const struct ex_onnx_op ex__onnx_ops_copy[];
const struct ex_onnx_op ex__onnx_ops_copy[] = {
    {"Transpose", 1, 1, 1, transpose},
    {"Expand", 2, 2, 1, expand},
    {"Tile", 2, 2, 1, tile},
    {"Concat", 1, -1, 1, concat},
    {"Split", 1, 2, EX_ONNX_MAX_OUT, split},
    {"Slice", 1, 5, 1, slice},
    {"DepthToSpace", 1, 1, 1, depth_to_space},
    {"SpaceToDepth", 1, 1, 1, space_to_depth},
    {NULL, 0, 0, 0, NULL},
};
