/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_window: where the windows of convolutions and pools lie.
 *
 * One to three dimensions of space are held as three, the missing ones of size
 * 1 in front: so everything is written once for three.
 */
#ifndef EX_ONNX_ONNX_WINDOW_H
#define EX_ONNX_ONNX_WINDOW_H

#include "onnx/onnx_eval.h"

struct ex_onnx_window {
  int32_t n_space;       /* 1 to 3 */
  int64_t in[3], out[3]; /* sizes */
  int64_t kernel[3], stride[3], dilation[3];
  int64_t begin[3], end[3]; /* padding before and behind */
  int64_t reach[3];         /* of a kernel: (kernel − 1) · dilation + 1 */
};

/* From input 0, [batch][channels][space…], and the node's attributes. `kernel`
 * [n_space], or NULL: the attribute kernel_shape. Sizes are at most 2^20. */
enum ex_status ex__onnx_window(struct ex_onnx_call *call, const int64_t *kernel,
                               struct ex_onnx_window *out);
/* The same for a transposed convolution, whose output is the larger side. */
enum ex_status ex__onnx_window_transposed(struct ex_onnx_call *call, const int64_t *kernel,
                                          struct ex_onnx_window *out);
/* Shape [batch][channels][out…]; returns its rank. */
int32_t ex__onnx_window_shape(const struct ex_onnx_call *call, const struct ex_onnx_window *window,
                              int64_t channels, int64_t *dim);

/* Outputs [*first, *last) whose element k of the kernel lies inside dimension d. */
void ex__onnx_window_inside(const struct ex_onnx_window *window, int32_t d, int64_t k,
                            int64_t *first, int64_t *last);

#endif
