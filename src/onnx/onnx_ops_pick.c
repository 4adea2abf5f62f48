/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_ops_pick: elements chosen by index or by place: gathering,
 * scattering, padding, triangles, one-hot.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "onnx/onnx_eval.h"

/* An index from −size to size − 1 as one from 0. */
static enum ex_status index_in(struct ex_onnx_call *call, int64_t index, int64_t size,
                               int64_t *out) {
  if (index < -size || index >= size)
    return onnx_fail(call, EX_ESHAPE, "index %" PRId64 " of %" PRId64, index, size);
  *out = index < 0 ? index + size : index;
  return EX_OK;
}

/* ---- gathering -------------------------------------------------------------------- */

static enum ex_status gather(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0], *at = call->in[1];
  int64_t dim[2 * EX_ONNX_MAX_RANK];
  int32_t axis, rank = in->rank - 1 + at->rank;
  bool numbers;
  EX_TRY(ex__onnx_want_whole(call, 1));
  EX_TRY(ex__onnx_axis(call, ex__onnx_int(call, "axis", 0), in->rank, &axis));
  for (int32_t i = 0; i < rank; i++)
    dim[i] = i < axis              ? in->dim[i]
             : i < axis + at->rank ? at->dim[i - axis]
                                   : in->dim[i - at->rank + 1];
  EX_TRY(ex__onnx_out(call, 0, in->type, rank, dim, &numbers));
  if (!numbers) return EX_OK;
  int64_t inner = ex__onnx_product(in->dim, axis + 1, in->rank), n = at->count;
  for (int64_t i = 0; i < call->out[0].count; i++) {
    int64_t outer = i / inner / n, from;
    EX_TRY(index_in(call, at->whole[i / inner % n], in->dim[axis], &from));
    ex__onnx_copy(&call->out[0], i, in, (outer * in->dim[axis] + from) * inner + i % inner);
  }
  return EX_OK;
}

static enum ex_status gather_elements(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0], *at = call->in[1];
  int64_t own[EX_ONNX_MAX_RANK], index[EX_ONNX_MAX_RANK] = {0};
  int32_t axis;
  bool numbers;
  EX_TRY(ex__onnx_want_whole(call, 1));
  EX_TRY(ex__onnx_axis(call, ex__onnx_int(call, "axis", 0), in->rank, &axis));
  bool fits = at->rank == in->rank;
  for (int32_t i = 0; fits && i < in->rank; i++) fits = i == axis || at->dim[i] <= in->dim[i];
  if (!fits) return onnx_fail(call, EX_ESHAPE, "the indices do not go with the data");
  EX_TRY(ex__onnx_out(call, 0, in->type, at->rank, at->dim, &numbers));
  ex__onnx_steps(in->dim, in->rank, own);
  for (int64_t i = 0; numbers && i < at->count; i++) {
    int64_t from;
    EX_TRY(index_in(call, at->whole[i], in->dim[axis], &from));
    int64_t place = ex__onnx_offset(index, own, in->rank) + (from - index[axis]) * own[axis];
    ex__onnx_copy(&call->out[0], i, in, place);
    (void)ex__onnx_next(index, at->dim, at->rank);
  }
  return EX_OK;
}

/* Offset that a tuple of `n` indices names behind `skip` dimensions. */
static enum ex_status tuple_offset(struct ex_onnx_call *call, const struct ex_onnx_tensor *in,
                                   const int64_t *tuple, int64_t n, int32_t skip, int64_t *out) {
  int64_t own[EX_ONNX_MAX_RANK], index;
  ex__onnx_steps(in->dim, in->rank, own);
  *out = 0;
  for (int64_t i = 0; i < n; i++) {
    EX_TRY(index_in(call, tuple[i], in->dim[skip + i], &index));
    *out += index * own[skip + i];
  }
  return EX_OK;
}

static enum ex_status gather_nd(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0], *at = call->in[1];
  int64_t skip = ex__onnx_int(call, "batch_dims", 0), dim[2 * EX_ONNX_MAX_RANK], n;
  int32_t rank = 0;
  bool numbers;
  EX_TRY(ex__onnx_want_whole(call, 1));
  bool fits = at->rank >= 1 && skip >= 0 && skip < at->rank && skip < in->rank;
  if (fits) fits = at->dim[at->rank - 1] + skip <= in->rank;
  for (int64_t i = 0; fits && i < skip; i++) fits = at->dim[i] == in->dim[i];
  if (!fits) return onnx_fail(call, EX_ESHAPE, "the indices do not go with the data");
  n = at->dim[at->rank - 1];
  for (int32_t i = 0; i < at->rank - 1; i++) dim[rank++] = at->dim[i];
  for (int64_t i = skip + n; i < in->rank; i++) dim[rank++] = in->dim[i];
  EX_TRY(ex__onnx_out(call, 0, in->type, rank, dim, &numbers));
  if (!numbers || call->out[0].count == 0) return EX_OK;
  int64_t inner = ex__onnx_product(in->dim, (int32_t)(skip + n), in->rank);
  int64_t batch = ex__onnx_product(in->dim, 0, (int32_t)skip), tuples = call->out[0].count / inner;
  for (int64_t i = 0; i < tuples; i++) {
    int64_t offset, base = i / (tuples / batch) * (in->count / batch);
    EX_TRY(tuple_offset(call, in, at->whole + i * n, n, (int32_t)skip, &offset));
    for (int64_t k = 0; k < inner; k++)
      ex__onnx_copy(&call->out[0], i * inner + k, in, base + offset + k);
  }
  return EX_OK;
}

/* ---- scattering ---------------------------------------------------------------------- */

static void put(struct ex_onnx_tensor *out, int64_t i, const struct ex_onnx_tensor *from, int64_t k,
                char how) {
  if (how == 'n') {
    ex__onnx_copy(out, i, from, k);
  } else if (out->real != NULL) {
    double x = out->real[i], y = from->real[k];
    out->real[i] = how == 'a' ? x + y : how == 'm' ? x * y : how == '<' ? fmin(x, y) : fmax(x, y);
  } else {
    uint64_t x = (uint64_t)out->whole[i], y = (uint64_t)from->whole[k];
    bool less = out->whole[i] < from->whole[k];
    out->whole[i] = (int64_t)(how == 'a'   ? x + y
                              : how == 'm' ? x * y
                              : how == '<' ? (less ? x : y)
                                           : (less ? y : x));
  }
}

static enum ex_status reduction_of(struct ex_onnx_call *call, char *how) {
  static const char *const names[] = {"none", "add", "mul", "min", "max"};
  static const char kinds[] = {'n', 'a', 'm', '<', '>'};
  char text[32];
  const char *given = ex__onnx_string(call, "reduction", "none", text);
  for (size_t i = 0; i < sizeof kinds; i++)
    if (strcmp(given, names[i]) == 0) {
      *how = kinds[i];
      return EX_OK;
    }
  return onnx_fail(call, EX_EUNSUPPORTED, "reduction \"%s\"", given);
}

/* Output 0 as a copy of input 0. */
static enum ex_status begin_scatter(struct ex_onnx_call *call, char *how, bool *numbers) {
  EX_TRY(ex__onnx_want_whole(call, 1));
  EX_TRY(reduction_of(call, how));
  if (call->in[2]->type != call->in[0]->type)
    return onnx_fail(call, EX_EFORMAT, "data and updates must be of one type");
  EX_TRY(ex__onnx_out_like(call, 0, numbers));
  for (int64_t i = 0; *numbers && i < call->in[0]->count; i++)
    ex__onnx_copy(&call->out[0], i, call->in[0], i);
  return EX_OK;
}

static enum ex_status scatter_elements(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0], *at = call->in[1], *updates = call->in[2];
  int64_t own[EX_ONNX_MAX_RANK], index[EX_ONNX_MAX_RANK] = {0};
  int32_t axis;
  char how;
  bool numbers;
  EX_TRY(ex__onnx_axis(call, ex__onnx_int(call, "axis", 0), in->rank, &axis));
  bool fits = at->rank == in->rank && updates->count == at->count;
  for (int32_t i = 0; fits && i < in->rank; i++) fits = i == axis || at->dim[i] <= in->dim[i];
  if (!fits) return onnx_fail(call, EX_ESHAPE, "the indices do not go with the data");
  EX_TRY(begin_scatter(call, &how, &numbers));
  ex__onnx_steps(in->dim, in->rank, own);
  for (int64_t i = 0; numbers && i < at->count; i++) {
    int64_t to;
    EX_TRY(index_in(call, at->whole[i], in->dim[axis], &to));
    int64_t place = ex__onnx_offset(index, own, in->rank) + (to - index[axis]) * own[axis];
    put(&call->out[0], place, updates, i, how);
    (void)ex__onnx_next(index, at->dim, at->rank);
  }
  return EX_OK;
}

static enum ex_status scatter_nd(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0], *at = call->in[1], *updates = call->in[2];
  char how;
  bool numbers;
  int64_t n = at->rank > 0 ? at->dim[at->rank - 1] : -1;
  if (n < 1 || n > in->rank) return onnx_fail(call, EX_ESHAPE, "tuples of %" PRId64, n);
  int64_t inner = ex__onnx_product(in->dim, (int32_t)n, in->rank), tuples = at->count / n;
  if (updates->count != tuples * inner)
    return onnx_fail(call, EX_ESHAPE, "the updates do not go with the indices");
  EX_TRY(begin_scatter(call, &how, &numbers));
  for (int64_t i = 0; numbers && i < tuples; i++) {
    int64_t offset;
    EX_TRY(tuple_offset(call, in, at->whole + i * n, n, 0, &offset));
    for (int64_t k = 0; k < inner; k++) put(&call->out[0], offset + k, updates, i * inner + k, how);
  }
  return EX_OK;
}

/* ---- padding --------------------------------------------------------------------------- */

static enum ex_status read_pads(struct ex_onnx_call *call, int64_t *pads) {
  const int64_t *list = NULL;
  int64_t n, rank = call->in[0]->rank;
  if (ex__onnx_has(call, 1)) {
    EX_TRY(ex__onnx_list(call, 1, &list, &n));
  } else {
    int32_t count;
    list = ex__onnx_ints(call, "pads", &count);
    if (count < 0) list = ex__onnx_ints(call, "paddings", &count);
    n = count;
  }
  if (n != 2 * rank)
    return onnx_fail(call, EX_EFORMAT, "%" PRId64 " pads; must be %d", n, 2 * (int)rank);
  for (int64_t i = 0; i < n; i++) {
    if (list[i] < -EX_ONNX_MAX_COUNT || list[i] > EX_ONNX_MAX_COUNT)
      return onnx_fail(call, EX_ESHAPE, "a pad of %" PRId64, list[i]);
    pads[i] = list[i];
  }
  return EX_OK;
}

/* Where place x of a padded axis comes from; −1: from the constant. */
static int64_t padded_from(int64_t x, int64_t size, char mode) {
  if (x >= 0 && x < size) return x;
  if (mode == 'c' || size < 1) return -1;
  if (mode == 'e') return x < 0 ? 0 : size - 1;
  if (size == 1) return 0;
  int64_t period = 2 * (size - 1), turn = x % period; /* reflect */
  if (turn < 0) turn += period;
  return turn < size ? turn : period - turn;
}

static enum ex_status pad(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  int64_t pads[2 * EX_ONNX_MAX_RANK] = {0}, dim[EX_ONNX_MAX_RANK], own[EX_ONNX_MAX_RANK];
  int64_t index[EX_ONNX_MAX_RANK] = {0};
  char text[32], mode = ex__onnx_string(call, "mode", "constant", text)[0];
  double value = ex__onnx_float(call, "value", 0);
  bool numbers, given = ex__onnx_has(call, 2);
  EX_TRY(read_pads(call, pads));
  if (given && (call->in[2]->count != 1 || call->in[2]->type != in->type))
    return onnx_fail(call, EX_ESHAPE, "the constant must be a single number of the data's type");
  for (int32_t i = 0; i < in->rank; i++) dim[i] = in->dim[i] + pads[i] + pads[in->rank + i];
  EX_TRY(ex__onnx_out(call, 0, in->type, in->rank, dim, &numbers));
  ex__onnx_steps(in->dim, in->rank, own);
  for (int64_t i = 0; numbers && i < call->out[0].count; i++) {
    int64_t from = 0;
    for (int32_t k = 0; k < in->rank && from >= 0; k++) {
      int64_t at = padded_from(index[k] - pads[k], in->dim[k], mode);
      from = at < 0 ? -1 : from + at * own[k];
    }
    if (from >= 0)
      ex__onnx_copy(&call->out[0], i, in, from);
    else if (given)
      ex__onnx_copy(&call->out[0], i, call->in[2], 0);
    else if (in->real != NULL)
      call->out[0].real[i] = value;
    else
      call->out[0].whole[i] = fabs(value) < 9e18 ? (int64_t)value : 0;
    (void)ex__onnx_next(index, dim, in->rank);
  }
  return EX_OK;
}

/* ---- by place ---------------------------------------------------------------------------- */

static enum ex_status triangle(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  bool upper = ex__onnx_int(call, "upper", 1) != 0, numbers;
  const int64_t *k = NULL;
  int64_t n = 1, diagonal = 0;
  if (in->rank < 2) return onnx_fail(call, EX_ESHAPE, "input must be of matrices");
  if (ex__onnx_has(call, 1)) {
    EX_TRY(ex__onnx_list(call, 1, &k, &n));
    if (n != 1) return onnx_fail(call, EX_ESHAPE, "k must be a single number");
    diagonal = k[0] > INT32_MAX ? INT32_MAX : k[0] < -INT32_MAX ? -INT32_MAX : k[0];
  }
  EX_TRY(ex__onnx_out_like(call, 0, &numbers));
  int64_t columns = in->dim[in->rank - 1], rows = in->dim[in->rank - 2];
  for (int64_t i = 0; numbers && i < in->count; i++) {
    int64_t row = i / columns % rows, column = i % columns;
    if (upper ? column - row >= diagonal : column - row <= diagonal)
      ex__onnx_copy(&call->out[0], i, in, i);
  }
  return EX_OK;
}

static enum ex_status one_hot(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *at = call->in[0], *values = call->in[2];
  int64_t dim[EX_ONNX_MAX_RANK + 1];
  int32_t axis;
  bool numbers;
  EX_TRY(ex__onnx_axis(call, ex__onnx_int(call, "axis", -1), at->rank + 1, &axis));
  if (call->in[1]->count != 1 || values->count != 2 || call->in[1]->unknown)
    return onnx_fail(call, EX_ESHAPE, "depth must be one constant, and values two numbers");
  EX_TRY(ex__onnx_eval_load(call->eval, call->in[1], call->err));
  double depth = ex__onnx_at(call->in[1], 0);
  if (!(depth >= 1 && depth <= EX_ONNX_MAX_COUNT))
    return onnx_fail(call, EX_ESHAPE, "depth %g", depth);
  for (int32_t i = 0; i <= at->rank; i++)
    dim[i] = i == axis ? (int64_t)depth : at->dim[i < axis ? i : i - 1];
  EX_TRY(ex__onnx_out(call, 0, values->type, at->rank + 1, dim, &numbers));
  int64_t n = (int64_t)depth, inner = ex__onnx_product(at->dim, axis, at->rank);
  for (int64_t i = 0; numbers && i < call->out[0].count; i++) {
    double index = floor(ex__onnx_at(at, i / inner / n * inner + i % inner));
    bool hot = index + (index < 0 ? depth : 0) == (double)(i / inner % n);
    ex__onnx_copy(&call->out[0], i, values, hot ? 1 : 0);
  }
  return EX_OK;
}

/* Elements, or slices along an axis, whose condition is true. */
static enum ex_status compress(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  bool flat = ex__onnx_attribute(call->node, "axis") == NULL, numbers;
  const int64_t *keep;
  int64_t n, kept = 0, dim[EX_ONNX_MAX_RANK];
  int32_t axis = 0;
  EX_TRY(ex__onnx_list(call, 1, &keep, &n));
  if (!flat) EX_TRY(ex__onnx_axis(call, ex__onnx_int(call, "axis", 0), in->rank, &axis));
  int64_t length = flat ? in->count : in->dim[axis];
  for (int64_t i = 0; i < n && i < length; i++) kept += keep[i] != 0;
  memcpy(dim, in->dim, sizeof dim);
  dim[axis] = kept;
  EX_TRY(ex__onnx_out(call, 0, in->type, flat ? 1 : in->rank, dim, &numbers));
  int64_t inner = flat ? 1 : ex__onnx_product(in->dim, axis + 1, in->rank), to = 0;
  int64_t outer = flat ? 1 : ex__onnx_product(in->dim, 0, axis);
  for (int64_t o = 0; numbers && o < outer; o++)
    for (int64_t i = 0; i < n && i < length; i++)
      for (int64_t k = 0; keep[i] != 0 && k < inner; k++)
        ex__onnx_copy(&call->out[0], to++, in, (o * length + i) * inner + k);
  return EX_OK;
}

static enum ex_status non_zero(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  if (call->unknown)
    return onnx_fail(call, EX_EUNSUPPORTED,
                     "the shape of its output depends on the numbers of the model's input");
  int64_t n = 0, index[EX_ONNX_MAX_RANK] = {0}, to = 0;
  bool numbers;
  for (int64_t i = 0; i < in->count; i++) n += ex__onnx_at(in, i) != 0;
  int64_t dim[2] = {in->rank, n};
  EX_TRY(ex__onnx_out(call, 0, ONNX(INT64), 2, dim, &numbers));
  for (int64_t i = 0; i < in->count; i++) {
    for (int32_t k = 0; ex__onnx_at(in, i) != 0 && k < in->rank; k++)
      call->out[0].whole[k * n + to] = index[k];
    to += ex__onnx_at(in, i) != 0;
    (void)ex__onnx_next(index, in->dim, in->rank);
  }
  return EX_OK;
}

extern const struct ex_onnx_op ex__onnx_ops_pick[];
const struct ex_onnx_op ex__onnx_ops_pick[] = {
    {"Gather", 2, 2, 1, gather},
    {"GatherElements", 2, 2, 1, gather_elements},
    {"GatherND", 2, 2, 1, gather_nd},
    {"Scatter", 3, 3, 1, scatter_elements},
    {"ScatterElements", 3, 3, 1, scatter_elements},
    {"ScatterND", 3, 3, 1, scatter_nd},
    {"Pad", 1, 3, 1, pad},
    {"Trilu", 1, 2, 1, triangle},
    {"OneHot", 3, 3, 1, one_hot},
    {"Compress", 2, 2, 1, compress},
    {"NonZero", 1, 1, 1, non_zero},
    {NULL, 0, 0, 0, NULL},
};
