/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_plan: a network as the generated code runs it: steps, the values
 * between them, and where in the work memory those lie.
 *
 * Batch-norm is folded into the convolution or linear layer before it, the addition
 * of a residual block into the last convolution that makes one of its sides, a relu
 * into the step before it; dropout is gone, and what nobody reads is not made.
 * Maps are stored channels last, so that the inner loop of a convolution runs
 * over consecutive numbers; a linear layer that reads a flattened map gets its
 * weights in that order, and flattening costs nothing.
 *
 * Steps stand in the order stage 0 body, stage 0 head, stage 0 gate, stage 1 body, …;
 * gates are there for the rules that read them, and no gate at the last exit.
 */
#ifndef EX_EXPORT_EXPORT_PLAN_H
#define EX_EXPORT_EXPORT_PLAN_H

#include "export/export.h"
#include "export/export_rule.h"
#include "graph/op.h"

struct ex_layer;

/* real = scale · (stored − zero), of 8-bit values. */
struct ex_quantum {
  double scale;
  int32_t zero;
};

struct ex_value {
  int32_t node; /* whose output it is, after what was folded: an alias has none of its own */
  struct ex_shape shape;
  bool is_logits; /* float also in int8: what a head answers */
  struct ex_quantum quantum;
  int32_t stage;        /* that makes it */
  int32_t n_readers;    /* steps, and 1 where a point answers with it */
  int32_t maker;        /* the step; -1: none. Until steps are sorted */
  int32_t shares;       /* the value in whose place it lies; −1: a place of its own */
  int32_t begins, ends; /* positions in the order of steps, from 1; the input is made at 0 */
  int64_t offset;       /* in the work memory, bytes; −1: it is not there */
};

struct ex_layer_step {
  const struct ex_layer *layer;
  const struct ex_node *node; /* that it was made from; NULL: none (a copy that was put in) */
  const struct ex_node *norm; /* folded in; NULL: none */
  bool adds;                  /* in[1], element by element, before the relu */
  bool relu;
  int32_t segment, n_in, in[EX_MAX_INPUTS], out; /* values */
  char name[EX_NAME_SIZE + 24];                  /* what its constants are called */
};

struct ex_export_plan {
  const struct ex_export_c *job;
  const ex_net *net;
  struct ex_rule_values values_of_rule;
  const struct ex_export_rule *rule;
  bool gates;                  /* the rule reads them */
  struct ex_layer_step *steps; /* [n_steps] */
  int32_t n_steps;
  struct ex_value *values; /* [n_values]; [0] is the input */
  int32_t n_values;
  int32_t *readers;  /* [n_nodes] of the graph: how many read it, an exit's answer included */
  bool *ordered;     /* [n_nodes]: somebody wants its numbers in the graph's order */
  int32_t *value_of; /* [n_nodes] of the graph; −1: in a gate that is left out */
  int64_t kept;      /* where in the work memory answers are kept, bytes */
  int64_t reserved;  /* bytes in front of all values: of the exit transform, and what is kept */
  int64_t work[EX_MAX_POINTS]; /* bytes, if no exit behind this one is run */
  uint32_t closure[EX_MAX_POINTS];
  uint32_t bodies[EX_MAX_POINTS];  /* stages whose bodies have run when an exit is looked at */
  int32_t last_use[EX_MAX_POINTS]; /* the last point that may run this one's head */
};

enum ex_status ex__export_plan_new(const struct ex_export_c *job, struct ex_export_plan **out,
                                   struct ex_error *err);
void ex__export_plan_free(struct ex_export_plan *plan); /* accepts NULL */

/* The parts of making one, in this order. */
enum ex_status ex__export_lower(struct ex_export_plan *plan, struct ex_error *err);
enum ex_status ex__export_ranges(struct ex_export_plan *plan, struct ex_error *err); /* int8 */
enum ex_status ex__export_place(struct ex_export_plan *plan, struct ex_error *err);

/* Parameter or buffer `index` of a node, as the operator declares them. */
static inline const ex_real *ex__export_tensor(const struct ex_export_plan *plan,
                                               const struct ex_node *node, int32_t index) {
  const ex_graph *graph = plan->net->graph;
  bool is_buffer = ex__graph_tensor(graph, node->tensor[index])->role == EX_ROLE_BUFFER;
  return ex__slabs_tensor(is_buffer ? plan->net->buffers : plan->net->params, graph,
                          node->tensor[index]);
}

static inline int32_t ex__export_stage(const struct ex_layer_step *step) {
  return step->segment / EX_N_PARTS;
}
/* Whether a node of the graph is to be run. */
static inline bool ex__export_runs(const struct ex_export_plan *plan, const struct ex_node *node) {
  int32_t last = plan->net->points[plan->net->n_points - 1].stage;
  return node->segment % EX_N_PARTS != EX_PART_GATE ||
         (plan->gates && node->segment / EX_N_PARTS != last);
}
static inline bool ex__export_in_head(const struct ex_layer_step *step) {
  return step->segment % EX_N_PARTS == EX_PART_HEAD;
}

#endif
