/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op_channels: the passes of an operator that works on one vector of
 * channels after the other: the features of a sample, or the channels of one
 * pixel of it. The operator says what happens to one vector.
 */
#ifndef EX_GRAPH_OP_CHANNELS_H
#define EX_GRAPH_OP_CHANNELS_H

#include "graph/op.h"

/* y from x: n values each, `step` apart. */
typedef void ex_channels_forward(const ex_real *x, ex_real *y, int64_t n, int64_t step);
/* Adds to dx what follows from the output y and its gradient dy. */
typedef void ex_channels_backward(const ex_real *y, const ex_real *dy, ex_real *dx, int64_t n,
                                  int64_t step);

void ex__channels_forward(const struct ex_op_call *call, ex_channels_forward *forward);
void ex__channels_backward(const struct ex_op_call *call, ex_channels_backward *backward);

#endif
