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
/* The largest probability [batch] of answers. */
const char *ex__onnx_confidence(ex_onnx_graph *graph, const char *answer);
const char *ex__onnx_label(ex_onnx_graph *graph, const char *answer);

#endif
