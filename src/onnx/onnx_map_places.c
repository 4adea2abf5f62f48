/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_map_places: operators that put elements in other places, as views;
 * and those that work along an axis, which a view first makes the last or first.
 */
#include <string.h>

#include "onnx/onnx_map.h"

/* A view under construction: dims and steps of one sample. */
struct view {
  int32_t rank;
  int64_t dim[EX_ONNX_MAX_RANK], step[EX_ONNX_MAX_RANK], offset;
};

static struct view view_of(const struct ex_onnx_sample *sample) {
  struct view view = {.rank = sample->rank};
  memcpy(view.dim, sample->dim, sizeof view.dim);
  ex__onnx_steps(sample->dim, sample->rank, view.step);
  return view;
}

/* Adds the view of *x, lying as `sample` does. */
static enum ex_status add_view(struct ex_onnx_map *map, const struct view *view,
                               const struct ex_onnx_sample *sample, int32_t *x) {
  struct ex_view attr = {
      .dims.n = view->rank, .steps.n = view->rank, .offset = (int32_t)view->offset};
  for (int32_t i = 0; i < view->rank; i++) {
    attr.dims.value[i] = (double)view->dim[i];
    attr.steps.value[i] = (double)view->step[i];
  }
  EX_TRY(ex__onnx_map_place(map, sample, &attr.shape));
  return ex__onnx_map_add(map, "view", &attr, -1, x, 1, x);
}

static enum ex_status put_view(struct ex_onnx_map *map, const struct view *view, int32_t k) {
  int32_t x = ex__onnx_map_in(map, 0);
  struct ex_onnx_sample out = ex__onnx_map_shape(map, k);
  EX_TRY(add_view(map, view, &out, &x));
  return ex__onnx_map_out(map, k, x);
}

/* *x, which lies as `sample`, with its dimensions in another order. */
static enum ex_status permute(struct ex_onnx_map *map, const struct ex_onnx_sample *sample,
                              const int32_t *order, int32_t *x, struct ex_onnx_sample *out) {
  struct view from = view_of(sample), view = {.rank = sample->rank};
  *out = (struct ex_onnx_sample){.rank = sample->rank};
  for (int32_t i = 0; i < sample->rank; i++)
    if (order[i] == sample->axis) out->axis = i;
  bool moves = false;
  for (int32_t i = 0, last = -1; i < sample->rank; i++) {
    view.dim[i] = out->dim[i] = from.dim[order[i]];
    view.step[i] = from.step[order[i]];
    if (view.dim[i] == 1) continue;
    moves = moves || order[i] < last;
    last = order[i];
  }
  return moves ? add_view(map, &view, out, x) : EX_OK;
}

static enum ex_status transpose(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0), out;
  int32_t n, order[EX_ONNX_MAX_RANK], x = ex__onnx_map_in(map, 0);
  const int64_t *perm = ex__onnx_ints(map->call, "perm", &n);
  for (int32_t i = 0; i < in.rank; i++) order[i] = n >= 0 ? (int32_t)perm[i] : in.rank - 1 - i;
  EX_TRY(permute(map, &in, order, &x, &out));
  return ex__onnx_map_out(map, 0, x);
}

static enum ex_status expand(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0), out = ex__onnx_map_shape(map, 0);
  struct view view = view_of(&in);
  int32_t more = out.rank - in.rank;
  view.rank = out.rank;
  for (int32_t i = out.rank - 1; i >= 0; i--) {
    bool own = i >= more && in.dim[i - more] != 1;
    view.step[i] = own ? view.step[i - more] : 0;
    view.dim[i] = out.dim[i];
  }
  return put_view(map, &view, 0);
}

/* Dimensions of a slice, told again from its inputs or attributes. */
static enum ex_status list_of(struct ex_onnx_map *map, int32_t k, const char *name,
                              const int64_t **list, int64_t *n) {
  int32_t count;
  *n = -1;
  if (map->call->opset >= 10) {
    if (!ex__onnx_has(map->call, k)) return EX_OK;
    return ex__onnx_list(map->call, k, list, n);
  }
  *list = ex__onnx_ints(map->call, name, &count);
  *n = count;
  return EX_OK;
}

static enum ex_status slice(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0), out = ex__onnx_map_shape(map, 0);
  const int64_t *starts = NULL, *axes = NULL, *steps = NULL;
  int64_t n, n_axes, n_steps;
  struct view view = view_of(&in);
  EX_TRY(list_of(map, 1, "starts", &starts, &n));
  EX_TRY(list_of(map, 3, "axes", &axes, &n_axes));
  EX_TRY(list_of(map, 4, "steps", &steps, &n_steps));
  for (int64_t i = 0; i < n; i++) {
    int32_t axis;
    EX_TRY(ex__onnx_axis(map->call, n_axes >= 0 ? axes[i] : i, in.rank, &axis));
    int64_t size = in.dim[axis], by = n_steps >= 0 ? steps[i] : 1, start = starts[i];
    if (axis == in.axis) return map_fail(map, "it cuts the batch");
    if (start < 0) start = start < -size ? 0 : start + size;
    if (start > size - 1) start = size - 1;
    view.offset += start * view.step[axis];
    view.step[axis] = out.dim[axis] > 1 ? view.step[axis] * by : 0;
    view.dim[axis] = out.dim[axis];
  }
  return put_view(map, &view, 0);
}

static enum ex_status split(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0);
  struct view view = view_of(&in);
  int32_t axis;
  EX_TRY(ex__onnx_axis(map->call, ex__onnx_int(map->call, "axis", 0), in.rank, &axis));
  if (axis == in.axis) return map_fail(map, "it splits the batch");
  for (int32_t k = 0; k < map->call->n_out; k++) {
    if (map->call->node->output[k][0] == '\0')
      return map_fail(map, "output %d is left out", (int)k);
    view.dim[axis] = ex__onnx_map_shape(map, k).dim[axis];
    EX_TRY(put_view(map, &view, k));
    view.offset += view.dim[axis] * view.step[axis];
  }
  return EX_OK;
}

/* A single index, or several at even distance. */
static enum ex_status gather(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0);
  const int64_t *list;
  int64_t n;
  int32_t axis;
  struct view view = view_of(&in);
  if (!ex__onnx_map_depends(map, 0)) return map_fail(map, "an embedding: indices from the input");
  EX_TRY(ex__onnx_list(map->call, 1, &list, &n));
  EX_TRY(ex__onnx_axis(map->call, ex__onnx_int(map->call, "axis", 0), in.rank, &axis));
  if (axis == in.axis) return map_fail(map, "it picks from the batch");
  int64_t size = in.dim[axis], first = list[0] < 0 ? list[0] + size : list[0], by = 0;
  for (int64_t i = 1; i < n; i++) {
    int64_t at = list[i] < 0 ? list[i] + size : list[i];
    if (i == 1) by = at - first;
    if (at != first + i * by) return map_fail(map, "indices at uneven distances");
  }
  view.offset = first * view.step[axis];
  view.step[axis] *= by;
  view.dim[axis] = n;
  return put_view(map, &view, 0);
}

static enum ex_status pad(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0), out = ex__onnx_map_shape(map, 0);
  const int64_t *pads;
  const struct ex_onnx_tensor *constant;
  int64_t n;
  char text[32];
  int32_t count;
  struct ex_pad attr = {.dims.n = in.rank,
                        .before.n = in.rank,
                        .after.n = in.rank,
                        .value = ex__onnx_float(map->call, "value", 0)};
  if (strcmp(ex__onnx_string(map->call, "mode", "constant", text), "constant") != 0)
    return map_fail(map, "mode %s; must be constant", text);
  if (ex__onnx_has(map->call, 1))
    EX_TRY(ex__onnx_list(map->call, 1, &pads, &n));
  else
    pads = ex__onnx_ints(map->call, "pads", &count);
  if (ex__onnx_has(map->call, 2)) {
    EX_TRY(ex__onnx_map_constant(map, 2, &constant));
    attr.value = ex__onnx_at(constant, 0);
  }
  if (pads == NULL || pads[in.axis] != 0 || pads[in.rank + in.axis] != 0)
    return map_fail(map, "it pads the batch");
  for (int32_t i = 0; i < in.rank; i++) {
    attr.dims.value[i] = (double)in.dim[i];
    attr.before.value[i] = (double)pads[i];
    attr.after.value[i] = (double)pads[in.rank + i];
    if (pads[i] < 0 || pads[in.rank + i] < 0) return map_fail(map, "a pad below 0");
  }
  int32_t x = ex__onnx_map_in(map, 0), value;
  EX_TRY(ex__onnx_map_place(map, &out, &attr.shape));
  EX_TRY(ex__onnx_map_add(map, "pad", &attr, -1, &x, 1, &value));
  return ex__onnx_map_out(map, 0, value);
}

static enum ex_status depth_to_space(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0);
  char text[32];
  bool crd = strcmp(ex__onnx_string(map->call, "mode", "DCR", text), "CRD") == 0;
  int64_t b = ex__onnx_int(map->call, "blocksize", 1), c = in.dim[1] / (b * b);
  int64_t plane = in.dim[2] * in.dim[3];
  int64_t row = crd ? b * plane : b * c * plane, column = crd ? plane : c * plane;
  const struct view view = {
      6,
      {in.dim[0], c, in.dim[2], b, in.dim[3], b},
      {in.dim[1] * plane, crd ? b * b * plane : plane, in.dim[3], row, 1, column},
      0};
  return put_view(map, &view, 0);
}

static enum ex_status space_to_depth(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0);
  int64_t b = ex__onnx_int(map->call, "blocksize", 1), plane = in.dim[2] * in.dim[3];
  EX_TRY(ex__onnx_map_first(map));
  const struct view view = {6,
                            {in.dim[0], b, b, in.dim[1], in.dim[2] / b, in.dim[3] / b},
                            {in.dim[1] * plane, in.dim[3], 1, plane, b * in.dim[3], b},
                            0};
  return put_view(map, &view, 0);
}

/* Repeats every dimension as a whole: two dimensions of the view each. */
static enum ex_status tile(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0), out = ex__onnx_map_shape(map, 0);
  struct view own = view_of(&in), view = {.rank = 0};
  if (in.dim[in.axis] != out.dim[in.axis]) return map_fail(map, "it repeats the batch");
  for (int32_t i = 0; i < in.rank; i++) {
    int64_t times = out.dim[i] / in.dim[i];
    if (view.rank + 2 > EX_ONNX_MAX_RANK) return map_fail(map, "too many dimensions");
    if (times > 1) view.dim[view.rank++] = times; /* at step 0 */
    view.dim[view.rank] = own.dim[i];
    view.step[view.rank++] = own.step[i];
  }
  return put_view(map, &view, 0);
}

/* Nearest neighbours by whole factors: every element of a dimension several times. */
static enum ex_status resize(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0), out = ex__onnx_map_shape(map, 0);
  struct view own = view_of(&in), view = {.rank = 0};
  char mode[32], where[32], rounding[32];
  const char *how = ex__onnx_string(map->call, "mode", "nearest", mode);
  const char *coordinates =
      ex__onnx_string(map->call, "coordinate_transformation_mode", "half_pixel", where);
  const char *nearest = ex__onnx_string(map->call, "nearest_mode", "round_prefer_floor", rounding);
  bool old = map->call->opset < 11 || strcmp(map->call->node->op_type, "Upsample") == 0;
  bool from_corner = strcmp(coordinates, "asymmetric") == 0;
  bool from_middle =
      strcmp(coordinates, "half_pixel") == 0 || strcmp(coordinates, "pytorch_half_pixel") == 0;
  bool repeats = old || (from_corner && strcmp(nearest, "floor") == 0) ||
                 (from_middle && strncmp(nearest, "round_prefer", 12) == 0);
  if (strcmp(how, "nearest") != 0 || !repeats || in.axis != 0 || in.dim[0] != out.dim[0])
    return map_fail(map, "it must repeat pixels (mode nearest, by whole factors)");
  for (int32_t i = 0; i < in.rank; i++) {
    int64_t times = out.dim[i] / in.dim[i];
    if (times * in.dim[i] != out.dim[i])
      return map_fail(map, "it must repeat pixels (mode nearest, by whole factors)");
    if (view.rank + 2 > EX_ONNX_MAX_RANK) return map_fail(map, "too many dimensions");
    view.dim[view.rank] = own.dim[i];
    view.step[view.rank++] = own.step[i];
    if (times > 1) view.dim[view.rank++] = times;
  }
  return put_view(map, &view, 0);
}

/* ---- along an axis ------------------------------------------------------------------- */

/* Order in which `axis` comes at place `to` and the others keep theirs. */
static void order_with(int32_t rank, int32_t axis, int32_t to, int32_t *order) {
  for (int32_t i = 0, k = 0; i < rank; i++) {
    if (k == axis) k++;
    order[i] = i == to ? axis : k++;
  }
}

/* Parts are joined along channels, up to eight at a time. */
static enum ex_status join(struct ex_onnx_map *map, int32_t *part, int32_t n, int32_t *value) {
  while (n > 1) {
    int32_t joined = 0;
    for (int32_t i = 0; i < n; i += EX_MAX_INPUTS, joined++) {
      int32_t many = n - i < EX_MAX_INPUTS ? n - i : EX_MAX_INPUTS;
      if (many > 1)
        EX_TRY(ex__onnx_map_add(map, "concat", NULL, -1, part + i, many, &part[joined]));
      else
        part[joined] = part[i];
    }
    n = joined;
  }
  *value = part[0];
  return EX_OK;
}

static enum ex_status concat(struct ex_onnx_map *map) {
  struct ex_onnx_call *call = map->call;
  struct ex_onnx_sample out = ex__onnx_map_shape(map, 0), turned;
  int32_t axis, order[EX_ONNX_MAX_RANK], back[EX_ONNX_MAX_RANK], part[EX_ONNX_MAX_IN] = {0}, value;
  EX_TRY(ex__onnx_axis(call, ex__onnx_int(call, "axis", 1), out.rank, &axis));
  if (axis == out.axis) return map_fail(map, "it joins along the batch");
  order_with(out.rank, axis, 0, order);
  for (int32_t k = 0; k < call->n_in; k++) {
    if (!ex__onnx_map_depends(map, k)) return map_fail(map, "input %d is a constant", (int)k);
    struct ex_onnx_sample in = ex__onnx_map_sample(map, k);
    part[k] = ex__onnx_map_in(map, k);
    EX_TRY(permute(map, &in, order, &part[k], &turned));
    /* [axis][the rest], so that channels are what is joined */
    struct ex_onnx_sample rows = {
        4, 0, {1, turned.dim[0], 1, ex__onnx_product(turned.dim, 1, turned.rank)}};
    bool lies_so = in.axis == 0 && axis == 1 && in.dim[0] == 1;
    if (!lies_so) EX_TRY(ex__onnx_map_reshape(map, &part[k], &rows));
  }
  EX_TRY(join(map, part, call->n_in, &value));
  for (int32_t i = 0; i < out.rank; i++) back[order[i]] = i;
  struct ex_onnx_sample joined = {.rank = out.rank}, again;
  for (int32_t i = 0; i < out.rank; i++) {
    joined.dim[i] = out.dim[order[i]];
    if (order[i] == out.axis) joined.axis = i;
  }
  EX_TRY(permute(map, &joined, back, &value, &again));
  return ex__onnx_map_out(map, 0, value);
}

/* Softmax of graph/ is over channels: the axis comes first. */
static enum ex_status soften(struct ex_onnx_map *map, const char *op) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0), turned, again;
  bool old = map->call->opset < 13;
  int32_t axis, order[EX_ONNX_MAX_RANK], back[EX_ONNX_MAX_RANK], x = ex__onnx_map_in(map, 0);
  EX_TRY(ex__onnx_axis(map->call, ex__onnx_int(map->call, "axis", old ? 1 : -1), in.rank, &axis));
  if (axis == in.axis || (old && axis < in.axis)) return map_fail(map, "it is over the batch");
  if (old) { /* all from the axis on are one */
    in.dim[axis] = ex__onnx_product(in.dim, axis, in.rank);
    in.rank = axis + 1;
  }
  order_with(in.rank, axis, 0, order);
  EX_TRY(permute(map, &in, order, &x, &turned));
  struct ex_onnx_sample rows = {
      4, 0, {1, turned.dim[0], 1, ex__onnx_product(turned.dim, 1, turned.rank)}};
  if (rows.dim[3] == 1) rows.rank = 2;
  EX_TRY(ex__onnx_map_reshape(map, &x, &rows));
  EX_TRY(ex__onnx_map_add(map, op, NULL, -1, &x, 1, &x));
  for (int32_t i = 0; i < in.rank; i++) back[order[i]] = i;
  EX_TRY(permute(map, &turned, back, &x, &again));
  return ex__onnx_map_out(map, 0, x);
}

/* Along the last dimension numbers are neighbours already. */
static enum ex_status softmax(struct ex_onnx_map *map) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0);
  int32_t axis, x = ex__onnx_map_in(map, 0);
  bool old = map->call->opset < 13;
  EX_TRY(ex__onnx_axis(map->call, ex__onnx_int(map->call, "axis", old ? 1 : -1), in.rank, &axis));
  int64_t size = in.dim[in.rank - 1];
  if (axis < in.rank - 1 || axis == in.axis || ex__onnx_product(in.dim, 0, in.rank) == size)
    return soften(map, "softmax");
  const struct ex_row_softmax attr = {(int32_t)size};
  EX_TRY(ex__onnx_map_add(map, "row_softmax", &attr, -1, &x, 1, &x));
  return ex__onnx_map_out(map, 0, x);
}
static enum ex_status log_softmax(struct ex_onnx_map *map) { return soften(map, "log_softmax"); }

/* The axes that are reduced come last. `before` and `after` are functions of single
 * elements, or NULL. */
static enum ex_status reduce(struct ex_onnx_map *map, int32_t kind,
                             const struct ex_function *before, const struct ex_function *after) {
  struct ex_onnx_sample in = ex__onnx_map_sample(map, 0), turned;
  struct ex_onnx_sample out = ex__onnx_map_shape(map, 0);
  const int64_t *axes = NULL;
  int64_t n = 0, size = 1;
  int32_t count, order[EX_ONNX_MAX_RANK], at = 0, x = ex__onnx_map_in(map, 0);
  bool reduced[EX_ONNX_MAX_RANK] = {false};
  if (ex__onnx_has(map->call, 1)) {
    EX_TRY(ex__onnx_list(map->call, 1, &axes, &n));
  } else {
    axes = ex__onnx_ints(map->call, "axes", &count);
    n = count > 0 ? count : 0;
  }
  for (int64_t i = 0; i < n; i++) {
    int32_t axis;
    EX_TRY(ex__onnx_axis(map->call, axes[i], in.rank, &axis));
    reduced[axis] = true;
  }
  if (n == 0 || reduced[in.axis]) return map_fail(map, "it reduces the batch");
  for (int32_t i = 0; i < in.rank; i++)
    if (!reduced[i]) order[at++] = i;
  for (int32_t i = 0; i < in.rank; i++) {
    if (!reduced[i]) continue;
    order[at++] = i;
    size *= in.dim[i];
  }
  if (before != NULL) EX_TRY(ex__onnx_map_add(map, "function", before, -1, &x, 1, &x));
  EX_TRY(permute(map, &in, order, &x, &turned));
  struct ex_reduce attr = {.kind = kind, .size = (int32_t)size};
  EX_TRY(ex__onnx_map_place(map, &out, &attr.shape));
  EX_TRY(ex__onnx_map_add(map, "reduce", &attr, -1, &x, 1, &x));
  if (after != NULL) EX_TRY(ex__onnx_map_add(map, "function", after, -1, &x, 1, &x));
  return ex__onnx_map_out(map, 0, x);
}

static enum ex_status reduction(struct ex_onnx_map *map) {
  static const struct ex_function square = {EX_FUNCTION_POWER, 2, 0},
                                  root = {EX_FUNCTION_SQRT, 1, 0};
  static const struct ex_function size = {EX_FUNCTION_ABS, 1, 0}, log = {EX_FUNCTION_LOG, 1, 0};
  static const struct {
    const char *op;
    int32_t kind;
    const struct ex_function *before, *after;
  } known[] = {{"ReduceSum", EX_REDUCE_SUM, NULL, NULL},
               {"ReduceMean", EX_REDUCE_MEAN, NULL, NULL},
               {"ReduceMax", EX_REDUCE_MAX, NULL, NULL},
               {"ReduceMin", EX_REDUCE_MIN, NULL, NULL},
               {"ReduceL1", EX_REDUCE_SUM, &size, NULL},
               {"ReduceL2", EX_REDUCE_SUM, &square, &root},
               {"ReduceSumSquare", EX_REDUCE_SUM, &square, NULL},
               {"ReduceLogSum", EX_REDUCE_SUM, NULL, &log}};
  size_t i = 0;
  while (strcmp(known[i].op, map->call->node->op_type) != 0) i++; /* the table has it */
  return reduce(map, known[i].kind, known[i].before, known[i].after);
}

const struct ex_onnx_mapping ex__onnx_map_places[] = {
    {"Transpose", transpose},
    {"Expand", expand},
    {"Slice", slice},
    {"Split", split},
    {"Gather", gather},
    {"Pad", pad},
    {"DepthToSpace", depth_to_space},
    {"Concat", concat},
    {"Softmax", softmax},
    {"LogSoftmax", log_softmax},
    {"ReduceSum", reduction},
    {"ReduceMean", reduction},
    {"ReduceMax", reduction},
    {"ReduceMin", reduction},
    {"ReduceL1", reduction},
    {"ReduceL2", reduction},
    {"ReduceSumSquare", reduction},
    {"ReduceLogSum", reduction},
    {"SpaceToDepth", space_to_depth},
    {"Tile", tile},
    {"Resize", resize},
    {"Upsample", resize},
    {NULL, NULL},
};
