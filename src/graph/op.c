/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/op: the registry. A line of ops.def makes an operator known to the
 * graph, its file format, both backends and the conformance tests.
 */
#include "graph/op.h"

#include <string.h>

#define EX_OP(name) extern const struct ex_op ex__op_##name;
#include "graph/ops.def"
#undef EX_OP

static const struct ex_op *const ops[] = {
#define EX_OP(name) &ex__op_##name,
#include "graph/ops.def"
#undef EX_OP
};

const struct ex_op *ex__op_at(int32_t index) {
  return index >= 0 && index < (int32_t)(sizeof ops / sizeof *ops) ? ops[index] : NULL;
}

const struct ex_op *ex__op_find(const char *name) {
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
    if (strcmp(ops[i]->name, name) == 0) return ops[i];
  return NULL;
}
