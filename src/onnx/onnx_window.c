/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_window: strides, dilations, pads, auto_pad and ceil_mode.
 */
#include "onnx/onnx_window.h"

#include <inttypes.h>
#include <string.h>

enum { MOST = 1 << 20 };

/* A list attribute of `n` numbers in [low, MOST] into the last places of three. */
static enum ex_status read_list(struct ex_onnx_call *call, const char *name, int32_t n, int64_t low,
                                int64_t fallback, int64_t out[3]) {
  int32_t given;
  const int64_t *list = ex__onnx_ints(call, name, &given);
  for (int32_t i = 0; i < 3; i++) out[i] = fallback;
  if (given < 0) return EX_OK;
  if (given != n)
    return onnx_fail(call, EX_EFORMAT, "%s has %d numbers; must have %d", name, (int)given, (int)n);
  for (int32_t i = 0; i < n; i++) {
    if (list[i] < low || list[i] > MOST)
      return onnx_fail(call, EX_ESHAPE, "%s holds %" PRId64 "; must be in [%" PRId64 ", %d]", name,
                       list[i], low, MOST);
    out[3 - n + i] = list[i];
  }
  return EX_OK;
}

static enum ex_status read_pads(struct ex_onnx_call *call, struct ex_onnx_window *w) {
  int32_t given, n = w->n_space;
  const int64_t *list = ex__onnx_ints(call, "pads", &given);
  if (given < 0) return EX_OK;
  if (given != 2 * n)
    return onnx_fail(call, EX_EFORMAT, "pads has %d numbers; must have %d", (int)given, 2 * (int)n);
  for (int32_t i = 0; i < n; i++) {
    if (list[i] < 0 || list[i] > MOST || list[n + i] < 0 || list[n + i] > MOST)
      return onnx_fail(call, EX_ESHAPE, "pads holds %" PRId64 ", %" PRId64 "; must be in [0, %d]",
                       list[i], list[n + i], MOST);
    w->begin[3 - n + i] = list[i];
    w->end[3 - n + i] = list[n + i];
  }
  return EX_OK;
}

/* Attributes that both directions share. */
static enum ex_status read_window(struct ex_onnx_call *call, const int64_t *kernel,
                                  struct ex_onnx_window *w) {
  const struct ex_onnx_tensor *in = call->in[0];
  memset(w, 0, sizeof *w);
  w->n_space = in->rank - 2;
  if (w->n_space < 1 || w->n_space > 3)
    return onnx_fail(call, EX_EUNSUPPORTED, "input of %d dimensions; must be of 3 to 5",
                     (int)in->rank);
  for (int32_t d = 0; d < 3; d++) {
    int32_t from = d - (3 - w->n_space);
    w->in[d] = from >= 0 ? in->dim[2 + from] : 1;
    w->kernel[d] = from >= 0 && kernel != NULL ? kernel[from] : 1;
  }
  if (kernel == NULL) {
    if (ex__onnx_attribute(call->node, "kernel_shape") == NULL)
      return onnx_fail(call, EX_EFORMAT, "it has no kernel_shape");
    EX_TRY(read_list(call, "kernel_shape", w->n_space, 1, 1, w->kernel));
  }
  EX_TRY(read_list(call, "strides", w->n_space, 1, 1, w->stride));
  EX_TRY(read_list(call, "dilations", w->n_space, 1, 1, w->dilation));
  for (int32_t d = 0; d < 3; d++) {
    if (w->kernel[d] < 1 || w->kernel[d] > MOST || w->in[d] < 1 || w->in[d] > MOST)
      return onnx_fail(call, EX_ESHAPE, "kernel %" PRId64 " on %" PRId64 "; must be in [1, %d]",
                       w->kernel[d], w->in[d], MOST);
    w->reach[d] = (w->kernel[d] - 1) * w->dilation[d] + 1;
  }
  return EX_OK;
}

enum ex_status ex__onnx_window(struct ex_onnx_call *call, const int64_t *kernel,
                               struct ex_onnx_window *out) {
  char text[32];
  EX_TRY(read_window(call, kernel, out));
  const char *automatic = ex__onnx_string(call, "auto_pad", "NOTSET", text);
  bool same = strncmp(automatic, "SAME", 4) == 0, ceil_mode = ex__onnx_int(call, "ceil_mode", 0);
  if (strcmp(automatic, "NOTSET") == 0) EX_TRY(read_pads(call, out));
  for (int32_t d = 0; d < 3; d++) {
    if (same) {
      out->out[d] = (out->in[d] - 1) / out->stride[d] + 1;
      int64_t pad = (out->out[d] - 1) * out->stride[d] + out->reach[d] - out->in[d];
      pad = pad > 0 ? pad : 0;
      out->begin[d] = strcmp(automatic, "SAME_LOWER") == 0 ? pad - pad / 2 : pad / 2;
      out->end[d] = pad - out->begin[d];
    }
    int64_t room = out->in[d] + out->begin[d] + out->end[d] - out->reach[d];
    if (room < 0)
      return onnx_fail(call, EX_ESHAPE, "a window of %" PRId64 " does not fit in %" PRId64,
                       out->reach[d], room + out->reach[d]);
    out->out[d] = (room + (ceil_mode ? out->stride[d] - 1 : 0)) / out->stride[d] + 1;
    if (ceil_mode && (out->out[d] - 1) * out->stride[d] >= out->in[d] + out->begin[d])
      out->out[d]--; /* no window begins behind the image */
  }
  return call->status;
}

/* output_shape decides the pads, where it is given. */
static enum ex_status wanted_shape(struct ex_onnx_call *call, const int64_t *extra,
                                   const char *automatic, struct ex_onnx_window *w) {
  int64_t wanted[3];
  bool given = ex__onnx_attribute(call->node, "output_shape") != NULL;
  bool same = strncmp(automatic, "SAME", 4) == 0;
  EX_TRY(read_list(call, "output_shape", w->n_space, 1, 1, wanted));
  for (int32_t d = 3 - w->n_space; d < 3; d++) {
    int64_t full = w->stride[d] * (w->in[d] - 1) + extra[d] + w->reach[d];
    if (given || same) {
      int64_t size = given ? wanted[d] : w->in[d] * w->stride[d];
      int64_t pad = full - size > 0 ? full - size : 0;
      bool more_behind = strcmp(automatic, "SAME_UPPER") == 0;
      w->begin[d] = more_behind ? pad / 2 : pad - pad / 2;
      w->end[d] = pad - w->begin[d];
      w->out[d] = size;
    } else {
      w->out[d] = full - w->begin[d] - w->end[d];
    }
  }
  return EX_OK;
}

enum ex_status ex__onnx_window_transposed(struct ex_onnx_call *call, const int64_t *kernel,
                                          struct ex_onnx_window *out) {
  char text[32];
  int64_t extra[3];
  EX_TRY(read_window(call, kernel, out));
  const char *automatic = ex__onnx_string(call, "auto_pad", "NOTSET", text);
  if (strcmp(automatic, "NOTSET") == 0) EX_TRY(read_pads(call, out));
  EX_TRY(read_list(call, "output_padding", out->n_space, 0, 0, extra));
  for (int32_t d = 0; d < 3; d++) out->out[d] = 1;
  EX_TRY(wanted_shape(call, extra, automatic, out));
  for (int32_t d = 0; d < 3; d++)
    if (out->out[d] < 1)
      return onnx_fail(call, EX_ESHAPE, "its output would have size %" PRId64, out->out[d]);
  return call->status;
}

int32_t ex__onnx_window_shape(const struct ex_onnx_call *call, const struct ex_onnx_window *window,
                              int64_t channels, int64_t *dim) {
  dim[0] = call->in[0]->dim[0];
  dim[1] = channels;
  for (int32_t i = 0; i < window->n_space; i++) dim[2 + i] = window->out[3 - window->n_space + i];
  return 2 + window->n_space;
}

void ex__onnx_window_inside(const struct ex_onnx_window *window, int32_t d, int64_t k,
                            int64_t *first, int64_t *last) {
  int64_t at = k * window->dilation[d] - window->begin[d], stride = window->stride[d];
  *first = at >= 0 ? 0 : (-at + stride - 1) / stride;
  int64_t left = window->in[d] - 1 - at;
  *last = left < 0 ? 0 : left / stride + 1;
  if (*last > window->out[d]) *last = window->out[d];
}
