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

/* What is carried from exit to exit, a row per input. */
enum ex_onnx_carried {
  EX_CARRIED_SUM,                           /* of the exit transform: the answers so far */
  EX_CARRIED_NEXT,                          /* the exit that is looked at next; not before */
  EX_CARRIED_RULE,                          /* of the rule, what it likes */
  EX_CARRIED_OPINION = EX_CARRIED_RULE + 4, /* of the exit transform: what each head said */
  EX_N_CARRIED = EX_CARRIED_OPINION + EX_MAX_POINTS
};

struct ex_onnx_walk {
  const struct ex_export_onnx *job;
  const ex_net *net;
  ex_onnx_writer *writer;
  ex_onnx_graph *graph; /* that nodes go into: the file's, or a branch */
  const char **value;   /* [n_nodes] of the network's graph; NULL: not made yet */
  bool *wanted;         /* [n_nodes] scratch */
  struct ex_rule_values values;
  const char *carried[EX_N_CARRIED]; /* NULL: nothing yet */
  int32_t n_summed;                  /* points that EX_CARRIED_SUM has seen */
  /* At an exit, of the inputs that are here: booleans [batch], whether the rule looks at
   * them, because their answers are finite and they did not jump over this exit; and the
   * score of the gate, where the rule reads it [batch][1]. */
  const char *looks, *gate;
  bool looks_again; /* the rule looks at a later exit, too */
};

/* The first exit after `point` that the rule looks at, or the last. */
int32_t ex__onnx_next_exit(const struct ex_onnx_walk *walk, int32_t point);
/* The value of a node of the network, and what it needs. */
enum ex_status ex__onnx_make(struct ex_onnx_walk *walk, int32_t id, struct ex_error *err);

/* ---- answers ---------------------------------------------------------------- */

/* The answer at a point, [batch][n_outputs]: raw outputs behind the exit transform. */
enum ex_status ex__onnx_answer(struct ex_onnx_walk *walk, int32_t point, const char **answer,
                               struct ex_error *err);
/* Drops what no answer after `point` reads. */
void ex__onnx_forget(struct ex_onnx_walk *walk, int32_t point);
/* Whether all numbers of a row are finite: booleans [batch][1]. */
const char *ex__onnx_finite(ex_onnx_graph *graph, const char *value);

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
/* Of any operator but `input` and `normalise`, which are no nodes by themselves; NULL: none. */
const struct ex_onnx_lowering *ex__onnx_lowering_of(const char *op);

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
  const char *name; /* of the rule in policies.def; several lines may have one */
  /* Whether the line is for these values; the first one that is for them counts. NULL: it is. */
  bool (*suits)(struct ex_rule_values *values);
  /* Of answers [batch][n_outputs] at a point: booleans [batch], whether they leave, if the
   * rule looks at them at all. NULL: all do, at the first point that the rule does not skip. */
  const char *(*leaves)(struct ex_onnx_walk *walk, int32_t point, const char *answer);
  /* Behind the last exit: another answer [batch][n_outputs] and its exit [batch]. NULL: it
   * stays. */
  void (*at_end)(struct ex_onnx_walk *walk, const char **answer, const char **exit);
};

enum ex_status ex__onnx_rule_find(struct ex_rule_values *values, const struct ex_onnx_rule **out,
                                  struct ex_error *err);
/* Of rules that learned from samples; the last has no name. */
extern const struct ex_onnx_rule ex__onnx_learned_rules[];

/* What is carried, or a scalar of this number where nothing is yet. */
const char *ex__onnx_recall(struct ex_onnx_walk *walk, int32_t carried,
                            enum ex_onnx_element element, double otherwise);
/* Carries `value` from here on for inputs that the rule looks at, and for others what was
 * recalled, `before`. Nothing where the rule looks at no later exit. */
void ex__onnx_remember(struct ex_onnx_walk *walk, int32_t carried, const char *value,
                       const char *before);
/* The threshold of an exit, a scalar. */
const char *ex__onnx_threshold(struct ex_onnx_walk *walk, int32_t point, double none);

/* Of answers [batch][n_outputs], each [batch]: the largest probability, that less the
 * second, the entropy in nats, the label. */
const char *ex__onnx_confidence(ex_onnx_graph *graph, const char *answer);
const char *ex__onnx_margin(ex_onnx_graph *graph, int32_t n_outputs, const char *answer);
const char *ex__onnx_entropy(ex_onnx_graph *graph, const char *answer);
const char *ex__onnx_label(ex_onnx_graph *graph, const char *answer);
/* [batch] as [batch][1], and back. */
const char *ex__onnx_column(ex_onnx_graph *graph, const char *value);
const char *ex__onnx_row(ex_onnx_graph *graph, const char *value);
/* An operator along classes: Softmax, LogSoftmax. */
const char *ex__onnx_along_classes(ex_onnx_graph *graph, const char *op, const char *value);

#endif
