/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/layout: which layout a network is trained in, where none is asked for.
 *
 * By rule, not by timing: two fresh runs with the same seed must give the same
 * bits, and a clock does not. Blocked layouts win through oneDNN's Winograd in
 * wide 3x3 convolutions (ResNet-18: twice as fast), and are bound to channel
 * counts that fill blocks. Channels last with our own loops is as fast from 16
 * to 64 channels, far ahead below, and makes concatenation nothing at all.
 * A choice that a plan already holds is kept.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "graph/op.h"
#include "graph/plan.h"
#include "graph/program.h"

enum {
  BLOCK = 16, /* channels of a block */
  WIDE = 48   /* mean channels, weighted by work, from which blocks pay */
};

/* Whether blocks hold all of a node's images without padding or turning. */
static bool fits_blocks(const struct ex_node *node) {
  if (node->shape.rank != 3 || node->op->max_in == 0) return true;
  bool joins = strcmp(node->op->name, "concat") == 0 || strcmp(node->op->name, "slice") == 0;
  return node->shape.dim[0] % BLOCK == 0 && !joins;
}

static enum ex_layout by_rule(const ex_graph *graph) {
  double weighted = 0, all = 0;
  for (int32_t id = 0; id < ex__graph_n_nodes(graph); id++) {
    const struct ex_node *node = ex__graph_node(graph, id);
    if (!fits_blocks(node)) return EX_LAYOUT_NHWC;
    if (strcmp(node->op->name, "conv2d") != 0) continue;
    const struct ex_conv2d *attr = node->attr;
    const struct ex_shape *in = &ex__graph_node(graph, node->in[0])->shape;
    if (attr->groups > 1) return EX_LAYOUT_BLOCKED; /* own loops know no groups */
    double macs = (double)node->op->macs(node, &in);
    int32_t narrow = in->dim[0] < attr->channels ? in->dim[0] : attr->channels;
    all += macs;
    weighted += macs * narrow;
  }
  return weighted >= WIDE * all && all > 0 ? EX_LAYOUT_BLOCKED : EX_LAYOUT_NHWC;
}

enum ex_layout ex__layout_choose(const ex_graph *graph, int32_t batch, int32_t threads,
                                 ex_plan *plan) {
  char key[80];
  snprintf(key, sizeof key, "training layout b%" PRId32 " t%" PRId32, batch, threads);
  const char *known = plan != NULL ? ex__plan_find(plan, key) : NULL;
  if (known != NULL && strcmp(known, "nhwc") == 0) return EX_LAYOUT_NHWC;
  if (known != NULL && strcmp(known, "blocked") == 0) return EX_LAYOUT_BLOCKED;
  enum ex_layout layout = by_rule(graph);
  /* A plan that cannot take it (no memory) costs nothing: the rule stays. */
  if (plan != NULL) (void)ex__plan_put(plan, key, layout == EX_LAYOUT_NHWC ? "nhwc" : "blocked", 0);
  return layout;
}
