/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_ops_pool: pooling over windows and over all of space; resizing by
 * repeated pixels or between them.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "onnx/onnx_window.h"

/* ---- windows ------------------------------------------------------------------------ */

/* What one window saw. */
struct seen {
  double sum, power, top;
  int64_t top_at, inside, padded; /* top_at: in its plane; padded: with declared padding */
};

static void see(struct seen *seen, double x, double p, int64_t at) {
  seen->sum += x;
  seen->power += pow(fabs(x), p);
  if (seen->top_at < 0 || x > seen->top || isnan(x)) {
    seen->top = x;
    seen->top_at = at;
  }
  seen->inside++;
}

static struct seen look(const struct ex_onnx_window *w, const struct ex_onnx_tensor *in,
                        int64_t base, const int64_t out[3], double p) {
  struct seen seen = {.top_at = -1};
  int64_t k[3];
  for (k[0] = 0; k[0] < w->kernel[0]; k[0]++)
    for (k[1] = 0; k[1] < w->kernel[1]; k[1]++)
      for (k[2] = 0; k[2] < w->kernel[2]; k[2]++) {
        int64_t at[3];
        bool inside = true, padded = true;
        for (int32_t d = 0; d < 3; d++) {
          at[d] = out[d] * w->stride[d] + k[d] * w->dilation[d] - w->begin[d];
          inside = inside && at[d] >= 0 && at[d] < w->in[d];
          padded = padded && at[d] < w->in[d] + w->end[d];
        }
        int64_t place = (at[0] * w->in[1] + at[1]) * w->in[2] + at[2];
        if (inside) see(&seen, ex__onnx_at(in, base + place), p, place);
        seen.padded += padded;
      }
  return seen;
}

enum kind { MAXIMUM, AVERAGE, POWER };

static double result_of(const struct seen *seen, enum kind kind, bool count_padding, double p) {
  double count = (double)(count_padding ? seen->padded : seen->inside);
  if (kind == MAXIMUM) return seen->top_at >= 0 ? seen->top : -INFINITY;
  if (kind == POWER) return pow(seen->power, 1 / p);
  return seen->sum / count;
}

/* Indices count over the whole tensor; columns first with storage_order 1. */
static int64_t index_of(const struct ex_onnx_window *w, int64_t base, int64_t at, bool columns) {
  if (!columns || w->n_space != 2) return base + at;
  return base + at % w->in[2] * w->in[1] + at / w->in[2];
}

static enum ex_status pool(struct ex_onnx_call *call, enum kind kind) {
  const struct ex_onnx_tensor *in = call->in[0];
  struct ex_onnx_window w;
  int64_t dim[EX_ONNX_MAX_RANK], out[3] = {0};
  bool numbers, padding = ex__onnx_int(call, "count_include_pad", 0) != 0;
  bool columns = ex__onnx_int(call, "storage_order", 0) != 0;
  double p = kind == POWER ? (double)ex__onnx_int(call, "p", 2) : 2;
  if (kind != MAXIMUM) EX_TRY(ex__onnx_want_real(call, 0));
  EX_TRY(ex__onnx_window(call, NULL, &w));
  int32_t rank = ex__onnx_window_shape(call, &w, in->dim[1], dim);
  EX_TRY(ex__onnx_out(call, 0, in->type, rank, dim, &numbers));
  if (call->n_out > 1) EX_TRY(ex__onnx_out(call, 1, ONNX(INT64), rank, dim, &numbers));
  if (!numbers) return EX_OK;
  EX_TRY(ex__onnx_spend(call, (double)call->out[0].count * (double)(w.kernel[0] * w.kernel[1]) *
                                  (double)w.kernel[2]));
  int64_t plane = ex__onnx_product(w.in, 0, 3), out_plane = ex__onnx_product(w.out, 0, 3);
  for (int64_t i = 0; i < call->out[0].count; i++) {
    int64_t base = i / out_plane * plane;
    struct seen seen = look(&w, in, base, out, p);
    double x = result_of(&seen, kind, padding, p);
    if (in->real != NULL)
      call->out[0].real[i] = x;
    else
      call->out[0].whole[i] = seen.top_at >= 0 ? in->whole[base + seen.top_at] : 0;
    if (call->n_out > 1)
      call->out[1].whole[i] = seen.top_at >= 0 ? index_of(&w, base, seen.top_at, columns) : -1;
    (void)ex__onnx_next(out, w.out, 3);
  }
  return EX_OK;
}

static enum ex_status max_pool(struct ex_onnx_call *call) { return pool(call, MAXIMUM); }
static enum ex_status average_pool(struct ex_onnx_call *call) { return pool(call, AVERAGE); }
static enum ex_status power_pool(struct ex_onnx_call *call) { return pool(call, POWER); }

static enum ex_status global_pool(struct ex_onnx_call *call, enum kind kind) {
  const struct ex_onnx_tensor *in = call->in[0];
  int64_t dim[EX_ONNX_MAX_RANK];
  double p = kind == POWER ? (double)ex__onnx_int(call, "p", 2) : 2;
  bool numbers;
  EX_TRY(ex__onnx_want_real(call, 0));
  if (in->rank < 2) return onnx_fail(call, EX_ESHAPE, "input of %d dimensions", (int)in->rank);
  for (int32_t i = 0; i < in->rank; i++) dim[i] = i < 2 ? in->dim[i] : 1;
  int64_t plane = ex__onnx_product(in->dim, 2, in->rank);
  if (plane == 0) return onnx_fail(call, EX_ESHAPE, "there is nothing to pool");
  EX_TRY(ex__onnx_out(call, 0, in->type, in->rank, dim, &numbers));
  for (int64_t i = 0; numbers && i < call->out[0].count; i++) {
    struct seen seen = {.top_at = -1};
    for (int64_t k = 0; k < plane; k++) see(&seen, in->real[i * plane + k], p, k);
    call->out[0].real[i] = result_of(&seen, kind, false, p);
  }
  return EX_OK;
}

static enum ex_status global_average(struct ex_onnx_call *call) {
  return global_pool(call, AVERAGE);
}
static enum ex_status global_max(struct ex_onnx_call *call) { return global_pool(call, MAXIMUM); }
static enum ex_status global_power(struct ex_onnx_call *call) { return global_pool(call, POWER); }

/* ---- resizing -------------------------------------------------------------------------- */

enum { MOST_TAPS = 4 };

struct resize {
  double scale[EX_ONNX_MAX_RANK], roi[2 * EX_ONNX_MAX_RANK];
  int64_t in[EX_ONNX_MAX_RANK], out[EX_ONNX_MAX_RANK];
  int32_t rank;
  char mode[32], where[32], nearest[32];
  double a, outside;
  bool exclude;
};

/* Where output index i of dimension d lies in the input. */
static double source_of(const struct resize *r, int32_t d, int64_t i) {
  double x = (double)i, in = (double)r->in[d], scale = r->scale[d];
  double out = strcmp(r->where, "align_corners") == 0 ? scale * in : (double)r->out[d];
  if (strcmp(r->where, "asymmetric") == 0) return x / scale;
  if (strcmp(r->where, "align_corners") == 0) return out > 1 ? x * (in - 1) / (out - 1) : 0;
  if (strcmp(r->where, "tf_half_pixel_for_nn") == 0) return (x + 0.5) / scale;
  if (strcmp(r->where, "pytorch_half_pixel") == 0) return out > 1 ? (x + 0.5) / scale - 0.5 : 0;
  if (strcmp(r->where, "tf_crop_and_resize") == 0) {
    double from = r->roi[d], to = r->roi[r->rank + d];
    return out > 1 ? from * (in - 1) + x * (to - from) * (in - 1) / (out - 1)
                   : 0.5 * (from + to) * (in - 1);
  }
  return (x + 0.5) / scale - 0.5; /* half_pixel */
}

static double round_nearest(const struct resize *r, double x) {
  if (strcmp(r->nearest, "floor") == 0) return floor(x);
  if (strcmp(r->nearest, "ceil") == 0) return ceil(x);
  if (strcmp(r->nearest, "round_prefer_ceil") == 0) return floor(x + 0.5);
  return ceil(x - 0.5); /* round_prefer_floor */
}

static double cubic(double x, double a) {
  x = fabs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* Taps of output index i: places (kept within the input) and weights. */
static int32_t taps_of(const struct resize *r, int32_t d, int64_t i, int64_t *place,
                       double *weight) {
  double x =
      r->in[d] == r->out[d] && r->scale[d] == 1 && strcmp(r->where, "tf_crop_and_resize") != 0
          ? (double)i
          : source_of(r, d, i);
  double last = (double)(r->in[d] - 1), sum = 0;
  if (strcmp(r->mode, "nearest") == 0) {
    double at = round_nearest(r, x);
    place[0] = (int64_t)(at < 0 ? 0 : at > last ? last : at);
    weight[0] = 1;
    return 1;
  }
  bool smooth = strcmp(r->mode, "cubic") == 0;
  int32_t n = smooth ? 4 : 2;
  double first = floor(x) - (smooth ? 1 : 0);
  for (int32_t k = 0; k < n; k++) {
    double at = first + k, away = x - at;
    weight[k] = smooth ? cubic(away, r->a) : 1 - fabs(away);
    if (r->exclude && (at < 0 || at > last)) weight[k] = 0;
    place[k] = (int64_t)(at < 0 ? 0 : at > last ? last : at);
    sum += weight[k];
  }
  for (int32_t k = 0; r->exclude && k < n; k++) weight[k] /= sum;
  return n;
}

static double sample(const struct resize *r, const struct ex_onnx_tensor *in,
                     const int64_t *index) {
  int64_t step[EX_ONNX_MAX_RANK], tap[EX_ONNX_MAX_RANK] = {0}, n[EX_ONNX_MAX_RANK] = {0};
  int64_t place[EX_ONNX_MAX_RANK][MOST_TAPS];
  double weight[EX_ONNX_MAX_RANK][MOST_TAPS], sum = 0;
  ex__onnx_steps(r->in, r->rank, step);
  for (int32_t d = 0; d < r->rank; d++) {
    double x = source_of(r, d, index[d]);
    bool out_of_it = x < 0 || x > (double)(r->in[d] - 1);
    if (out_of_it && strcmp(r->where, "tf_crop_and_resize") == 0) return r->outside;
    n[d] = taps_of(r, d, index[d], place[d], weight[d]);
  }
  do {
    double product = 1;
    int64_t at = 0;
    for (int32_t d = 0; d < r->rank; d++) {
      product *= weight[d][tap[d]];
      at += place[d][tap[d]] * step[d];
    }
    if (product != 0) sum += product * ex__onnx_at(in, at);
  } while (ex__onnx_next(tap, n, r->rank));
  return sum;
}

static enum ex_status known_numbers(struct ex_onnx_call *call, int32_t k, int64_t n, double *out) {
  if (call->in[k]->unknown || call->in[k]->count != n)
    return onnx_fail(call, EX_EUNSUPPORTED, "input %d must be %" PRId64 " constants", (int)k, n);
  EX_TRY(ex__onnx_eval_load(call->eval, call->in[k], call->err));
  for (int64_t i = 0; i < n; i++) out[i] = ex__onnx_at(call->in[k], i);
  return EX_OK;
}

/* Scales or sizes: inputs, or (Upsample before opset 9) an attribute. */
static enum ex_status target_of(struct ex_onnx_call *call, struct resize *r) {
  int32_t k_scale = strcmp(call->node->op_type, "Upsample") == 0 || call->opset < 11 ? 1 : 2;
  const Onnx__AttributeProto *scales = ex__onnx_attribute(call->node, "scales");
  bool sized = ex__onnx_has(call, 3);
  double number[EX_ONNX_MAX_RANK];
  if (scales != NULL && scales->n_floats == (size_t)r->rank)
    for (int32_t d = 0; d < r->rank; d++) number[d] = (double)scales->floats[d];
  else if (sized || ex__onnx_has(call, k_scale))
    EX_TRY(known_numbers(call, sized ? 3 : k_scale, r->rank, number));
  else
    return onnx_fail(call, EX_EFORMAT, "it has neither scales nor sizes");
  for (int32_t d = 0; d < r->rank; d++) {
    double size = sized ? number[d] : floor((double)r->in[d] * number[d]);
    if (!(size >= 1 && size <= EX_ONNX_MAX_COUNT) || r->in[d] < 1)
      return onnx_fail(call, EX_ESHAPE, "size %g of %" PRId64, size, r->in[d]);
    r->out[d] = (int64_t)size;
    r->scale[d] = sized ? size / (double)r->in[d] : number[d];
  }
  return EX_OK;
}

static void choose(struct ex_onnx_call *call, const char *name, const char *fallback,
                   char text[32]) {
  char given[32];
  const char *found = ex__onnx_string(call, name, fallback, given);
  size_t n = strlen(found);
  memcpy(text, found, n + 1);
}

static enum ex_status resize(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  bool old = call->opset < 11 || strcmp(call->node->op_type, "Upsample") == 0, numbers;
  int64_t index[EX_ONNX_MAX_RANK] = {0};
  struct resize r = {.rank = in->rank,
                     .a = ex__onnx_float(call, "cubic_coeff_a", -0.75),
                     .outside = ex__onnx_float(call, "extrapolation_value", 0),
                     .exclude = ex__onnx_int(call, "exclude_outside", 0) != 0};
  memcpy(r.in, in->dim, sizeof r.in);
  choose(call, "mode", "nearest", r.mode);
  choose(call, "coordinate_transformation_mode", old ? "asymmetric" : "half_pixel", r.where);
  choose(call, "nearest_mode", old ? "floor" : "round_prefer_floor", r.nearest);
  if (strcmp(r.where, "tf_crop_and_resize") == 0) {
    if (!ex__onnx_has(call, 1)) return onnx_fail(call, EX_EFORMAT, "it has no region");
    EX_TRY(known_numbers(call, 1, 2 * (int64_t)in->rank, r.roi));
  }
  EX_TRY(target_of(call, &r));
  EX_TRY(ex__onnx_out(call, 0, in->type, in->rank, r.out, &numbers));
  for (int64_t i = 0; numbers && i < call->out[0].count; i++) {
    double x = sample(&r, in, index);
    if (in->real != NULL)
      call->out[0].real[i] = x;
    else
      call->out[0].whole[i] = fabs(x) < 9e18 ? (int64_t)x : 0;
    (void)ex__onnx_next(index, r.out, r.rank);
  }
  return EX_OK;
}

extern const struct ex_onnx_op ex__onnx_ops_pool[];
const struct ex_onnx_op ex__onnx_ops_pool[] = {
    {"MaxPool", 1, 1, 2, max_pool},
    {"AveragePool", 1, 1, 1, average_pool},
    {"LpPool", 1, 1, 1, power_pool},
    {"GlobalMaxPool", 1, 1, 1, global_max},
    {"GlobalAveragePool", 1, 1, 1, global_average},
    {"GlobalLpPool", 1, 1, 1, global_power},
    {"Resize", 1, 4, 1, resize},
    {"Upsample", 1, 2, 1, resize},
    {NULL, 0, 0, 0, NULL},
};
