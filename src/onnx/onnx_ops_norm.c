/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_ops_norm: normalisations, in inference.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "onnx/onnx_eval.h"

/* That inputs [first, last] hold `n` numbers of input 0's type each. */
static enum ex_status want_numbers(struct ex_onnx_call *call, int32_t first, int32_t last,
                                   int64_t n) {
  EX_TRY(ex__onnx_want_real(call, 0));
  for (int32_t k = first; k <= last && k < call->n_in; k++) {
    if (call->in[k] == NULL) continue;
    EX_TRY(ex__onnx_want_real(call, k));
    if (call->in[k]->count != n)
      return onnx_fail(call, EX_ESHAPE, "input %d has %" PRId64 " numbers; must have %" PRId64,
                       (int)k, call->in[k]->count, n);
  }
  return EX_OK;
}

static enum ex_status batch_norm(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  double eps = ex__onnx_float(call, "epsilon", 1e-5);
  int64_t channels = in->rank > 1 ? in->dim[1] : 1;
  bool numbers, training = ex__onnx_int(call, "training_mode", 0) != 0;
  bool training_outputs = call->n_out > 1 && call->opset >= 14;
  if (training || training_outputs)
    return onnx_fail(call, EX_EUNSUPPORTED, "it normalises by its batch, as in training");
  if (call->opset < 9 && ex__onnx_int(call, "spatial", 1) == 0)
    return onnx_fail(call, EX_EUNSUPPORTED, "statistics per pixel (spatial = 0)");
  EX_TRY(want_numbers(call, 1, 4, channels));
  EX_TRY(ex__onnx_out_like(call, 0, &numbers));
  int64_t plane = in->rank > 2 ? ex__onnx_product(in->dim, 2, in->rank) : 1;
  for (int64_t i = 0; numbers && i < in->count; i++) {
    int64_t c = in->rank > 1 ? i / plane % channels : 0;
    call->out[0].real[i] = (in->real[i] - call->in[3]->real[c]) / sqrt(call->in[4]->real[c] + eps) *
                               call->in[1]->real[c] +
                           call->in[2]->real[c];
  }
  return EX_OK;
}

static void moments(const double *x, int64_t n, double *mean, double *variance) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i];
  *mean = sum / (double)n;
  for (int64_t i = 0; i < n; i++) squares += (x[i] - *mean) * (x[i] - *mean);
  *variance = squares / (double)n;
}

static enum ex_status instance_norm(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  double eps = ex__onnx_float(call, "epsilon", 1e-5), mean, variance;
  bool numbers;
  if (in->rank < 3) return onnx_fail(call, EX_ESHAPE, "input of %d dimensions", (int)in->rank);
  EX_TRY(want_numbers(call, 1, 2, in->dim[1]));
  EX_TRY(ex__onnx_out_like(call, 0, &numbers));
  int64_t plane = ex__onnx_product(in->dim, 2, in->rank);
  for (int64_t i = 0; numbers && plane > 0 && i < in->count / plane; i++) {
    moments(in->real + i * plane, plane, &mean, &variance);
    double scale = call->in[1]->real[i % in->dim[1]] / sqrt(variance + eps);
    for (int64_t k = i * plane; k < (i + 1) * plane; k++)
      call->out[0].real[k] = (in->real[k] - mean) * scale + call->in[2]->real[i % in->dim[1]];
  }
  return EX_OK;
}

static enum ex_status layer_norm(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  double eps = ex__onnx_float(call, "epsilon", 1e-5), mean, variance;
  int64_t dim[EX_ONNX_MAX_RANK];
  int32_t axis;
  bool numbers;
  EX_TRY(ex__onnx_axis(call, ex__onnx_int(call, "axis", -1), in->rank, &axis));
  int64_t n = ex__onnx_product(in->dim, axis, in->rank);
  EX_TRY(want_numbers(call, 1, 2, n));
  EX_TRY(ex__onnx_out_like(call, 0, &numbers));
  for (int32_t i = 0; i < in->rank; i++) dim[i] = i < axis ? in->dim[i] : 1;
  for (int32_t k = 1; k < call->n_out; k++)
    EX_TRY(ex__onnx_out(call, k, in->type, in->rank, dim, &numbers));
  for (int64_t i = 0; numbers && n > 0 && i < in->count / n; i++) {
    moments(in->real + i * n, n, &mean, &variance);
    double scale = 1 / sqrt(variance + eps);
    for (int64_t k = 0; k < n; k++)
      call->out[0].real[i * n + k] = (in->real[i * n + k] - mean) * scale * call->in[1]->real[k] +
                                     (ex__onnx_has(call, 2) ? call->in[2]->real[k] : 0);
    if (call->n_out > 1) call->out[1].real[i] = mean;
    if (call->n_out > 2) call->out[2].real[i] = scale;
  }
  return EX_OK;
}

/* Local response: each channel by the squares of those around it. */
static enum ex_status lrn(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  double alpha = ex__onnx_float(call, "alpha", 1e-4), beta = ex__onnx_float(call, "beta", 0.75);
  double bias = ex__onnx_float(call, "bias", 1);
  int64_t size = ex__onnx_int(call, "size", 0);
  bool numbers;
  EX_TRY(ex__onnx_want_real(call, 0));
  if (in->rank < 2 || size < 1 || size > 1 << 16)
    return onnx_fail(call, EX_ESHAPE, "size %" PRId64 " of %d dimensions", size, (int)in->rank);
  EX_TRY(ex__onnx_out_like(call, 0, &numbers));
  int64_t plane = ex__onnx_product(in->dim, 2, in->rank), channels = in->dim[1];
  if (numbers) EX_TRY(ex__onnx_spend(call, (double)in->count * (double)size));
  for (int64_t i = 0; numbers && i < in->count; i++) {
    int64_t c = i / plane % channels, low = c - (size - 1) / 2, high = c + size / 2;
    double sum = 0;
    for (int64_t k = low < 0 ? 0 : low; k <= high && k < channels; k++) {
      double x = in->real[i + (k - c) * plane];
      sum += x * x;
    }
    call->out[0].real[i] = in->real[i] / pow(bias + alpha / (double)size * sum, beta);
  }
  return EX_OK;
}

/* By mean and deviation over axes, [0, 2, 3] where none are named. */
static enum ex_status mean_variance(struct ex_onnx_call *call) {
  static const int64_t usual[] = {0, 2, 3};
  const struct ex_onnx_tensor *in = call->in[0];
  int32_t n;
  const int64_t *axes = ex__onnx_ints(call, "axes", &n);
  int64_t step[EX_ONNX_MAX_RANK] = {0}, own[EX_ONNX_MAX_RANK] = {0}, dim[EX_ONNX_MAX_RANK] = {0};
  int64_t index[EX_ONNX_MAX_RANK] = {0}, inner_dim[EX_ONNX_MAX_RANK] = {0};
  bool numbers;
  EX_TRY(ex__onnx_want_real(call, 0));
  EX_TRY(ex__onnx_out_like(call, 0, &numbers));
  ex__onnx_steps(in->dim, in->rank, own);
  for (int32_t i = 0; i < in->rank; i++) {
    dim[i] = in->dim[i];
    inner_dim[i] = 1;
    step[i] = own[i];
  }
  for (int32_t i = 0; i < (n < 0 ? 3 : n); i++) {
    int32_t axis;
    EX_TRY(ex__onnx_axis(call, n < 0 ? usual[i] : axes[i], in->rank, &axis));
    inner_dim[axis] = in->dim[axis];
    dim[axis] = 1;
  }
  double count = (double)ex__onnx_product(inner_dim, 0, in->rank);
  if (!numbers || in->count == 0) return EX_OK;
  do {
    int64_t base = ex__onnx_offset(index, step, in->rank), inner[EX_ONNX_MAX_RANK] = {0};
    double sum = 0, squares = 0;
    do {
      double x = in->real[base + ex__onnx_offset(inner, own, in->rank)];
      sum += x;
      squares += x * x;
    } while (ex__onnx_next(inner, inner_dim, in->rank));
    double mean = sum / count, deviation = sqrt(squares / count - mean * mean);
    do {
      int64_t at = base + ex__onnx_offset(inner, own, in->rank);
      call->out[0].real[at] = (in->real[at] - mean) / (deviation + 1e-9);
    } while (ex__onnx_next(inner, inner_dim, in->rank));
  } while (ex__onnx_next(index, dim, in->rank));
  return EX_OK;
}

extern const struct ex_onnx_op ex__onnx_ops_norm[];
const struct ex_onnx_op ex__onnx_ops_norm[] = {
    {"BatchNormalization", 5, 5, 5, batch_norm},
    {"InstanceNormalization", 3, 3, 1, instance_norm},
    {"LayerNormalization", 2, 3, 3, layer_norm},
    {"LRN", 1, 1, 1, lrn},
    {"MeanVarianceNormalization", 1, 1, 1, mean_variance},
    {NULL, 0, 0, 0, NULL},
};
