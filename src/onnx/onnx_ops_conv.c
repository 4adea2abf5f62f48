/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_ops_conv: convolutions. For each element of a kernel, a row of the
 * input is added to a row of the output; a transposed convolution goes the
 * other way over the same rows.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "onnx/onnx_window.h"

struct conv {
  struct ex_onnx_window window;
  int64_t batch, groups;
  int64_t in_channels, out_channels; /* of a group */
  int64_t in_plane, out_plane, kernel_plane;
};

/* Element k of the kernel between a plane of the window's small side (`out`) and
 * one of its large side (`in`): out += w · in, or in += w · out. */
static void add_plane(const struct ex_onnx_window *w, const int64_t k[3], double weight, double *in,
                      double *out, bool back) {
  int64_t first[3], last[3], shift[3];
  for (int32_t d = 0; d < 3; d++) {
    ex__onnx_window_inside(w, d, k[d], &first[d], &last[d]);
    shift[d] = k[d] * w->dilation[d] - w->begin[d];
  }
  for (int64_t z = first[0]; z < last[0]; z++)
    for (int64_t y = first[1]; y < last[1]; y++) {
      double *x_in =
          in + ((z * w->stride[0] + shift[0]) * w->in[1] + y * w->stride[1] + shift[1]) * w->in[2];
      double *x_out = out + (z * w->out[1] + y) * w->out[2];
      int64_t stride = w->stride[2], at = first[2] * stride + shift[2];
      if (back)
        for (int64_t x = first[2]; x < last[2]; x++, at += stride) x_in[at] += weight * x_out[x];
      else
        for (int64_t x = first[2]; x < last[2]; x++, at += stride) x_out[x] += weight * x_in[at];
    }
}

static void add_planes(const struct conv *conv, const double *weight, double *in, double *out,
                       bool back) {
  const int64_t *kernel = conv->window.kernel;
  int64_t k[3];
  for (k[0] = 0; k[0] < kernel[0]; k[0]++)
    for (k[1] = 0; k[1] < kernel[1]; k[1]++)
      for (k[2] = 0; k[2] < kernel[2]; k[2]++)
        add_plane(&conv->window, k, *weight++, in, out, back);
}

static double conv_work(const struct conv *conv) {
  return (double)(conv->batch * conv->groups) * (double)(conv->in_channels * conv->out_channels) *
         (double)conv->kernel_plane * (double)conv->out_plane;
}

/* weight [groups · out][in][kernel]. */
static void run_conv(const struct conv *conv, double *in, const double *weight, double *out) {
  for (int64_t b = 0; b < conv->batch * conv->groups; b++)
    for (int64_t o = 0; o < conv->out_channels; o++)
      for (int64_t i = 0; i < conv->in_channels; i++) {
        int64_t of = b % conv->groups * conv->out_channels + o;
        add_planes(conv, weight + (of * conv->in_channels + i) * conv->kernel_plane,
                   in + (b * conv->in_channels + i) * conv->in_plane,
                   out + (b * conv->out_channels + o) * conv->out_plane, false);
      }
}

/* Shapes of input 0 and the weight (input k), [out][in / groups][kernel]. */
static enum ex_status describe(struct ex_onnx_call *call, int32_t k, struct conv *conv) {
  const struct ex_onnx_tensor *in = call->in[0], *weight = call->in[k];
  if (weight->rank != in->rank || in->rank < 3)
    return onnx_fail(call, EX_ESHAPE, "a weight of %d dimensions for an input of %d",
                     (int)weight->rank, (int)in->rank);
  EX_TRY(ex__onnx_window(call, weight->dim + 2, &conv->window));
  conv->batch = in->dim[0];
  conv->groups = ex__onnx_int(call, "group", 1);
  if (conv->groups < 1 || in->dim[1] % conv->groups != 0 || weight->dim[0] % conv->groups != 0 ||
      in->dim[1] / conv->groups != weight->dim[1])
    return onnx_fail(call, EX_ESHAPE,
                     "%" PRId64 " channels in %" PRId64 " groups do not go with a weight of "
                     "[%" PRId64 ", %" PRId64 "]",
                     in->dim[1], conv->groups, weight->dim[0], weight->dim[1]);
  conv->in_channels = weight->dim[1];
  conv->out_channels = weight->dim[0] / conv->groups;
  conv->in_plane = ex__onnx_product(conv->window.in, 0, 3);
  conv->out_plane = ex__onnx_product(conv->window.out, 0, 3);
  conv->kernel_plane = ex__onnx_product(conv->window.kernel, 0, 3);
  return EX_OK;
}

static enum ex_status check_bias(struct ex_onnx_call *call, int32_t k, int64_t channels) {
  if (!ex__onnx_has(call, k)) return EX_OK;
  if (call->in[k]->rank == 1 && call->in[k]->dim[0] == channels) return EX_OK;
  return onnx_fail(call, EX_ESHAPE, "the bias must have %" PRId64 " numbers", channels);
}

static void add_bias(struct ex_onnx_tensor *out, const struct ex_onnx_tensor *bias, int64_t plane) {
  for (int64_t i = 0; i < out->count; i++) out->real[i] += bias->real[i / plane % bias->count];
}

static enum ex_status conv(struct ex_onnx_call *call) {
  struct conv conv;
  int64_t dim[EX_ONNX_MAX_RANK];
  bool numbers;
  EX_TRY(ex__onnx_want_real(call, 0));
  if (call->in[1]->type != call->in[0]->type)
    return onnx_fail(call, EX_EFORMAT, "inputs must be of one type");
  EX_TRY(describe(call, 1, &conv));
  EX_TRY(check_bias(call, 2, call->in[1]->dim[0]));
  int32_t rank = ex__onnx_window_shape(call, &conv.window, call->in[1]->dim[0], dim);
  EX_TRY(ex__onnx_out(call, 0, call->in[0]->type, rank, dim, &numbers));
  if (!numbers) return EX_OK;
  EX_TRY(ex__onnx_spend(call, conv_work(&conv)));
  run_conv(&conv, call->in[0]->real, call->in[1]->real, call->out[0].real);
  if (ex__onnx_has(call, 2)) {
    EX_TRY(ex__onnx_want_real(call, 2));
    add_bias(&call->out[0], call->in[2], conv.out_plane);
  }
  return EX_OK;
}

/* ---- transposed ------------------------------------------------------------------ */

/* weight [groups · in][out][kernel]. What the window calls in is the output here. */
static void run_transposed(const struct conv *conv, double *in, const double *weight, double *out) {
  for (int64_t b = 0; b < conv->batch * conv->groups; b++)
    for (int64_t i = 0; i < conv->in_channels; i++)
      for (int64_t o = 0; o < conv->out_channels; o++) {
        int64_t of = b % conv->groups * conv->in_channels + i;
        add_planes(conv, weight + (of * conv->out_channels + o) * conv->kernel_plane,
                   out + (b * conv->out_channels + o) * conv->out_plane,
                   in + (b * conv->in_channels + i) * conv->in_plane, true);
      }
}

static enum ex_status conv_transpose(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0], *weight = call->in[1];
  struct conv conv;
  int64_t dim[EX_ONNX_MAX_RANK], groups = ex__onnx_int(call, "group", 1);
  bool numbers;
  EX_TRY(ex__onnx_want_real(call, 0));
  if (weight->type != in->type || weight->rank != in->rank || in->rank < 3 || groups < 1 ||
      weight->dim[0] != in->dim[1] || in->dim[1] % groups != 0)
    return onnx_fail(call, EX_ESHAPE, "input and weight do not go together");
  EX_TRY(ex__onnx_window_transposed(call, weight->dim + 2, &conv.window));
  conv.batch = in->dim[0];
  conv.groups = groups;
  conv.in_channels = in->dim[1] / groups;
  conv.out_channels = weight->dim[1];
  conv.in_plane = ex__onnx_product(conv.window.in, 0, 3);
  conv.out_plane = ex__onnx_product(conv.window.out, 0, 3);
  conv.kernel_plane = ex__onnx_product(conv.window.kernel, 0, 3);
  EX_TRY(check_bias(call, 2, weight->dim[1] * groups));
  int32_t rank = ex__onnx_window_shape(call, &conv.window, weight->dim[1] * groups, dim);
  EX_TRY(ex__onnx_out(call, 0, in->type, rank, dim, &numbers));
  if (!numbers) return EX_OK;
  EX_TRY(ex__onnx_spend(call, conv_work(&conv)));
  for (int32_t d = 0; d < 3; d++) { /* for the rows, the output is the large side */
    int64_t size = conv.window.in[d];
    conv.window.in[d] = conv.window.out[d];
    conv.window.out[d] = size;
  }
  run_transposed(&conv, in->real, weight->real, call->out[0].real);
  if (ex__onnx_has(call, 2)) {
    EX_TRY(ex__onnx_want_real(call, 2));
    add_bias(&call->out[0], call->in[2], conv.out_plane);
  }
  return EX_OK;
}

/* ---- whole numbers ------------------------------------------------------------------ */

/* A copy of whole numbers less a zero point; `per` elements share one of several. */
static double *shifted(const struct ex_onnx_tensor *in, const struct ex_onnx_tensor *zero,
                       int64_t per) {
  double *out = ex__alloc((size_t)in->count + 1, sizeof *out);
  for (int64_t i = 0; out != NULL && i < in->count; i++) {
    int64_t at = zero != NULL && zero->count > 1 ? i / per % zero->count : 0;
    out[i] = (double)in->whole[i] - (zero != NULL ? (double)zero->whole[at] : 0);
  }
  return out;
}

static enum ex_status check_zero(struct ex_onnx_call *call, int32_t k, int64_t n) {
  if (!ex__onnx_has(call, k)) return EX_OK;
  EX_TRY(ex__onnx_want_whole(call, k));
  if (call->in[k]->count == 1 || call->in[k]->count == n) return EX_OK;
  return onnx_fail(call, EX_ESHAPE, "input %d: a zero point must be one, or one per channel",
                   (int)k);
}

/* The sums of a convolution of bytes (exact in double) into *sums, [count of out]. */
static enum ex_status whole_conv(struct ex_onnx_call *call, int32_t k_weight, int32_t zero_in,
                                 int32_t zero_weight, int32_t type, double **sums) {
  const struct ex_onnx_tensor *in = call->in[0], *weight = call->in[k_weight];
  struct conv conv;
  int64_t dim[EX_ONNX_MAX_RANK];
  bool numbers;
  *sums = NULL;
  EX_TRY(ex__onnx_want_whole(call, 0));
  EX_TRY(ex__onnx_want_whole(call, k_weight));
  EX_TRY(describe(call, k_weight, &conv));
  EX_TRY(check_zero(call, zero_in, 1));
  EX_TRY(check_zero(call, zero_weight, weight->dim[0]));
  int32_t rank = ex__onnx_window_shape(call, &conv.window, weight->dim[0], dim);
  EX_TRY(ex__onnx_out(call, 0, type, rank, dim, &numbers));
  if (!numbers) return EX_OK;
  EX_TRY(ex__onnx_spend(call, conv_work(&conv)));
  double *x = shifted(in, ex__onnx_has(call, zero_in) ? call->in[zero_in] : NULL, 1);
  double *w = shifted(weight, ex__onnx_has(call, zero_weight) ? call->in[zero_weight] : NULL,
                      conv.in_channels * conv.kernel_plane);
  *sums = ex__calloc((size_t)call->out[0].count + 1, sizeof **sums);
  if (x != NULL && w != NULL && *sums != NULL) run_conv(&conv, x, w, *sums);
  bool ok = x != NULL && w != NULL && *sums != NULL;
  ex__free(x);
  ex__free(w);
  if (ok) return EX_OK;
  ex__free(*sums);
  *sums = NULL;
  return onnx_fail(call, EX_ENOMEM, "no memory");
}

static enum ex_status conv_integer(struct ex_onnx_call *call) {
  double *sums;
  EX_TRY(whole_conv(call, 1, 2, 3, ONNX(INT32), &sums));
  for (int64_t i = 0; sums != NULL && i < call->out[0].count; i++)
    call->out[0].whole[i] = fabs(sums[i]) < 9e18 ? (int64_t)sums[i] : 0;
  ex__free(sums);
  return EX_OK;
}

/* x, its scale and zero; w, its scale and zero; y's scale and zero; bias. */
static enum ex_status quantised_conv(struct ex_onnx_call *call) {
  static const int32_t scales[] = {1, 4, 6};
  for (int32_t i = 0; i < 3; i++) EX_TRY(ex__onnx_want_real(call, scales[i]));
  EX_TRY(ex__onnx_want_whole(call, 7));
  int64_t channels = call->in[3]->rank > 0 ? call->in[3]->dim[0] : 0;
  const struct ex_onnx_tensor *scale = call->in[4], *zero = call->in[7];
  bool fits = channels > 0 && call->in[1]->count == 1 && call->in[6]->count == 1 &&
              zero->count == 1 && (scale->count == 1 || scale->count == channels);
  if (!fits) return onnx_fail(call, EX_ESHAPE, "scales and zero points do not fit");
  EX_TRY(check_bias(call, 8, channels));
  if (ex__onnx_has(call, 8)) EX_TRY(ex__onnx_want_whole(call, 8));
  double *sums;
  EX_TRY(whole_conv(call, 3, 2, 5, zero->type, &sums));
  int64_t plane = 1;
  for (int32_t i = 2; i < call->out[0].rank; i++) plane *= call->out[0].dim[i];
  double low = zero->type == ONNX(INT8) ? -128 : 0, high = zero->type == ONNX(INT8) ? 127 : 255;
  for (int64_t i = 0; sums != NULL && i < call->out[0].count; i++) {
    int64_t channel = i / plane % channels;
    double sum = sums[i] + (ex__onnx_has(call, 8) ? (double)call->in[8]->whole[channel] : 0);
    double factor =
        call->in[1]->real[0] * scale->real[scale->count > 1 ? channel : 0] / call->in[6]->real[0];
    double x = nearbyint(sum * factor) + (double)zero->whole[0];
    call->out[0].whole[i] = (int64_t)(x > high ? high : x >= low ? x : low);
  }
  ex__free(sums);
  return EX_OK;
}

extern const struct ex_onnx_op ex__onnx_ops_conv[];
const struct ex_onnx_op ex__onnx_ops_conv[] = {
    {"Conv", 2, 3, 1, conv},
    {"ConvTranspose", 2, 3, 1, conv_transpose},
    {"ConvInteger", 2, 4, 1, conv_integer},
    {"QLinearConv", 8, 9, 1, quantised_conv},
    {NULL, 0, 0, 0, NULL},
};
