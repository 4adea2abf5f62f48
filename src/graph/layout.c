/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/layout: which layout a network is trained in, where none is asked for.
 *
 * By rule: blocked layouts pad channels to 16 and win through Winograd, so
 * they suit wide convolutions; a network whose multiply-adds lie mostly in
 * convolutions with fewer than 16 channels on either side is faster with
 * channels last and our own loops.
 */
#include <string.h>

#include "graph/op.h"
#include "graph/program.h"

enum { NARROW = 16 };

enum ex_layout ex__layout_choose(const ex_graph *graph, int32_t batch, int32_t threads,
                                 ex_plan *plan) {
  (void)batch, (void)threads, (void)plan; /* the rule looks at the network alone */
  double narrow = 0, all = 0;
  for (int32_t id = 0; id < ex__graph_n_nodes(graph); id++) {
    const struct ex_node *node = ex__graph_node(graph, id);
    if (strcmp(node->op->name, "conv2d") != 0) continue;
    const struct ex_shape *in = &ex__graph_node(graph, node->in[0])->shape;
    double macs = (double)node->op->macs(node, &in);
    all += macs;
    if (in->dim[0] < NARROW || node->shape.dim[0] < NARROW) narrow += macs;
  }
  return 2 * narrow > all ? EX_LAYOUT_NHWC : EX_LAYOUT_BLOCKED;
}
