/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_exits: outputs become exits, and each node gets its stage.
 *
 * Exits come in the order of how much of the graph they need. A node that the
 * k-th exit is the first to need belongs to stage k: to its body where a later
 * exit needs it too, to its head where none does. Of the last exit, which has
 * nobody after it, the head is the last layer and what follows.
 */
#ifndef EX_ONNX_ONNX_EXITS_H
#define EX_ONNX_ONNX_EXITS_H

#include "net/net.h"
#include "onnx/onnx_eval.h"

struct ex_onnx_exits {
  const Onnx__GraphProto *graph;
  const ex_onnx_eval *eval;          /* in which the needed nodes have been run, without numbers */
  bool *needed;                      /* [n_node] */
  int32_t n;                         /* 1 to EX_MAX_POINTS */
  const char *name[EX_MAX_POINTS];   /* of the output that becomes the exit */
  const char *output[EX_MAX_POINTS]; /* the value that the exit gives: that, or before softmax */
  int32_t *stage;                    /* [n_node], once placed; of nodes that depend on the input */
  enum ex_part *part;                /* [n_node] */
};

/* Whether a value depends on the input; whether a node that is needed makes such a one. */
bool ex__onnx_depends(const struct ex_onnx_exits *exits, const char *name);
bool ex__onnx_depends_node(const struct ex_onnx_exits *exits, size_t i);
/* The node before `before` that makes a name; n_node: none. */
size_t ex__onnx_maker(const Onnx__GraphProto *graph, const char *name, size_t before);

/* Leaves a softmax at the very end of an exit out; true where there was one. */
bool ex__onnx_drop_softmax(struct ex_onnx_exits *exits, int32_t exit);
/* Sorts the exits, and allocates and fills stage and part. */
enum ex_status ex__onnx_place(struct ex_onnx_exits *exits, struct ex_error *err);
void ex__onnx_exits_clear(struct ex_onnx_exits *exits);

#endif
