/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_train_calls: the calls of a training step that consists of several
 * of oneDNN's operations. An operation is shared by all runs of a program, a
 * call belongs to one.
 */
#include "base/memory.h"
#include "graph/fast_train.h"

void ex__train_calls_free(void *state, int32_t n) {
  ex_dnn_call **calls = state;
  for (int32_t i = 0; i < n; i++) ex__dnn_call_free(calls[i]);
  ex__free(calls);
}

enum ex_status ex__train_calls_new(const ex_dnn_op *const *op, int32_t n, void **state) {
  ex_dnn_call **calls = ex__calloc((size_t)n, sizeof(ex_dnn_call *));
  if (calls == NULL) return EX_ENOMEM;
  for (int32_t i = 0; i < n; i++) {
    if (op[i] == NULL || ex__dnn_call_new(op[i], &calls[i]) == EX_OK) continue;
    ex__train_calls_free(calls, n);
    return EX_ENOMEM;
  }
  *state = calls;
  return EX_OK;
}

size_t ex__train_calls_scratch(const ex_dnn_op *const *op, int32_t n) {
  size_t most = 0;
  for (int32_t i = 0; i < n; i++)
    if (op[i] != NULL && ex__dnn_op_scratch(op[i]) > most) most = ex__dnn_op_scratch(op[i]);
  return most;
}
