/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_onnx_walk: what the parts of the ONNX export share: where in the
 * network it stands, and what things are called in the graph that is being written.
 */
#ifndef EX_EXPORT_EXPORT_ONNX_WALK_H
#define EX_EXPORT_EXPORT_ONNX_WALK_H

#include "export/export_onnx.h"
#include "export/export_values.h"
#include "graph/op.h"
#include "onnx/onnx_write.h"

struct ex_onnx_walk {
  const struct ex_export_onnx *job;
  const ex_net *net;
  ex_onnx_writer *writer;
  ex_onnx_graph *graph; /* that nodes go into: the file's, or a branch */
  const char **value;   /* [n_nodes] of the network's graph; NULL: not made yet */
  bool *wanted;         /* [n_nodes] scratch */
  struct ex_rule_values values;
  /* What is carried from exit to exit, per input; NULL: nothing yet. */
  const char *sum;           /* additive: the answers so far */
  int32_t n_summed;          /* of how many points */
  const char *label, *equal; /* patience: the label before, and how often it came again */
};

/* ---- operators -------------------------------------------------------------- */

/* One node of the network and what its inputs are called. */
struct ex_onnx_step {
  ex_onnx_graph *graph;
  const ex_net *net;
  const struct ex_node *node;
  const struct ex_shape *in_shape[EX_MAX_INPUTS];
  const char *in[EX_MAX_INPUTS];
};

/* How an operator is written. */
struct ex_onnx_lowering {
  const char *name; /* in the network's graph */
  const char *onnx; /* the operator that takes the same inputs in the same order */
  /* Returns the value's name. */
  const char *(*write)(const struct ex_onnx_step *step, const char *onnx);
  /* NULL: every node. What cannot be written about this one; NULL: nothing. */
  const char *(*refuses)(const struct ex_onnx_step *step);
};

/* Of what imported networks are made of besides; the last has no name. */
extern const struct ex_onnx_lowering ex__onnx_lower_rows[];

/* Parameter or buffer `index` of the node as a constant of these dimensions. */
const char *ex__onnx_tensor_as(const struct ex_onnx_step *step, int32_t index, int32_t rank,
                               const int64_t *dim);
/* A value in other dimensions per sample, n ≤ EX_ONNX_MAX_DIMS, or in the node's. */
enum { EX_ONNX_MAX_DIMS = 9 };
const char *ex__onnx_reshaped(ex_onnx_graph *graph, const char *value, const int64_t *dim,
                              int32_t n);
const char *ex__onnx_as_node(const struct ex_onnx_step *step, const char *value);

/* Writes it and sets *name, of its value. EX_EUNSUPPORTED names what cannot be written. */
enum ex_status ex__onnx_step(const struct ex_onnx_step *step, int32_t id, const char **name,
                             struct ex_error *err);
/* A model's pre-processing of `input`, of this shape per sample. */
enum ex_status ex__onnx_normalise(ex_onnx_graph *graph, const struct ex_preprocess *preprocess,
                                  const struct ex_shape *shape, const char *input,
                                  const char **name, struct ex_error *err);

/* ---- exits ------------------------------------------------------------------ */

struct ex_onnx_rule {
  const char *name; /* of the rule in policies.def */
  /* NULL: any values. Refuses what cannot be written. */
  enum ex_status (*check)(struct ex_rule_values *values, struct ex_error *err);
  /* Of answers [batch][n_outputs] at a point: booleans [batch], whether they leave.
   * NULL: all do, at the first point that the rule does not skip. */
  const char *(*leaves)(struct ex_onnx_walk *walk, int32_t point, const char *answer);
};

enum ex_status ex__onnx_rule_find(struct ex_rule_values *values, const struct ex_onnx_rule **out,
                                  struct ex_error *err);
/* Of answers [batch][n_outputs], each [batch]: the largest probability, that less the
 * second, the entropy in nats, the label. */
const char *ex__onnx_confidence(ex_onnx_graph *graph, const char *answer);
const char *ex__onnx_margin(ex_onnx_graph *graph, int32_t n_outputs, const char *answer);
const char *ex__onnx_entropy(ex_onnx_graph *graph, const char *answer);
const char *ex__onnx_label(ex_onnx_graph *graph, const char *answer);

#endif
