/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_broadcast: shapes that are brought together: from the right, 1 goes
 * with anything; before opset 7, the second at an axis of the first.
 */
#ifndef EX_ONNX_ONNX_BROADCAST_H
#define EX_ONNX_ONNX_BROADCAST_H

#include "onnx/onnx_eval.h"

struct ex_onnx_broadcast {
  int32_t rank;
  int64_t dim[EX_ONNX_MAX_RANK];
  int64_t step[3][EX_ONNX_MAX_RANK]; /* of up to three tensors; 0 where repeated */
  int64_t index[EX_ONNX_MAX_RANK];
};

/* Of the call's inputs first … first + n, n ≤ 3. */
enum ex_status ex__onnx_broadcast(struct ex_onnx_call *call, int32_t first, int32_t n,
                                  struct ex_onnx_broadcast *out);
/* Of two shapes into dim. */
enum ex_status ex__onnx_broadcast_dims(struct ex_onnx_call *call, int32_t rank_a, const int64_t *a,
                                       int32_t rank_b, const int64_t *b, int32_t *rank,
                                       int64_t *dim);
/* Where the element that `index` names lies in tensor k; and on to the next. */
static inline int64_t ex__onnx_where(const struct ex_onnx_broadcast *at, int32_t k) {
  return ex__onnx_offset(at->index, at->step[k], at->rank);
}
static inline void ex__onnx_advance(struct ex_onnx_broadcast *at) {
  (void)ex__onnx_next(at->index, at->dim, at->rank);
}

#endif
