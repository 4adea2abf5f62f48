/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_compare: an imported net and the evaluator on the same random inputs.
 */
#ifndef EX_ONNX_ONNX_COMPARE_H
#define EX_ONNX_ONNX_COMPARE_H

#include "onnx/onnx_eval.h"
#include "onnx/onnx_import.h"

struct ex_onnx_comparison {
  const ex_onnx *onnx;
  const ex_net *net;
  const bool *needed;                 /* [n_node] nodes to run */
  const char *input;                  /* its name */
  const char *const *output;          /* [net->n_points] of what the exits give */
  const struct ex_onnx_tensor *shape; /* of the input at batch 1 */
  int64_t declared_batch;
  int32_t samples;
  uint64_t seed;
};

/* Fills samples, largest and difference of the report; EX_EBACKEND where they
 * differ by more than 1e-3 of the largest output. */
enum ex_status ex__onnx_compare(const struct ex_onnx_comparison *comparison,
                                struct ex_onnx_report *report, struct ex_error *err);

#endif
