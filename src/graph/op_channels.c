/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_channels: see its header.
 */
#include "graph/op_channels.h"

#include "graph/shape.h"

void ex__channels_forward(const struct ex_op_call *call, ex_channels_forward *forward) {
  int64_t n = call->node->shape.dim[0], plane = ex__shape_plane(&call->node->shape);
  for (int64_t b = 0; b < call->batch; b++)
    for (int64_t p = 0; p < plane; p++) {
      int64_t first = b * n * plane + p;
      forward(call->in[0] + first, call->out + first, n, plane);
    }
}

void ex__channels_backward(const struct ex_op_call *call, ex_channels_backward *backward) {
  if (call->din[0] == NULL) return;
  int64_t n = call->node->shape.dim[0], plane = ex__shape_plane(&call->node->shape);
  for (int64_t b = 0; b < call->batch; b++)
    for (int64_t p = 0; p < plane; p++) {
      int64_t first = b * n * plane + p;
      backward(call->out + first, call->dout + first, call->din[0] + first, n, plane);
    }
}
