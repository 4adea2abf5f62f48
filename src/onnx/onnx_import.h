/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_import: an ONNX model as a net, whose exits are its outputs.
 *
 * The evaluator runs the graph twice without numbers, for batches of two sizes:
 * what grows with the batch depends on the input, and must grow in its first
 * dimension alone; what does not is a constant. Each node that depends on the
 * input becomes one or more operators of graph/; all else is folded. Stages and
 * heads are found by who needs what (onnx_exits.h); a softmax at the very end is
 * left out, since an exit's outputs are what comes before it.
 */
#ifndef EX_ONNX_ONNX_IMPORT_H
#define EX_ONNX_ONNX_IMPORT_H

#include "net/net.h"
#include "onnx/onnx_file.h"

struct ex_onnx_options {
  const char *output;     /* the only one to become an exit; NULL: all */
  struct ex_shape shape;  /* of one sample, for an input with free dimensions; rank 0: as it says */
  int32_t samples;        /* random inputs on which net and file are compared; 0: none */
  uint64_t seed;          /* of those */
  int64_t elements, work; /* numbers held and multiply-adds made while importing, at most; 0: of a
                             large network */
};

struct ex_onnx_report {
  char input[64], output[160]; /* names; of several outputs, shallow first */
  int64_t opset;
  int32_t n_nodes;  /* of the file that became operators */
  int32_t n_folded; /* that were constants, or nobody's */
  int32_t n_exits;
  bool softmax;               /* left out at the end */
  int32_t samples;            /* compared */
  double largest, difference; /* magnitude of outputs, and most that one was off */
};

/* Errors name node and operator. */
enum ex_status ex__onnx_import(const ex_onnx *onnx, const struct ex_onnx_options *options,
                               ex_net **out, struct ex_onnx_report *report, struct ex_error *err);

#endif
