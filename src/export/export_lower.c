/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_lower: from the nodes of a graph to the steps of generated code.
 *
 * A relu behind a max-pooling is moved in front of it where everybody who reads
 * that value wants it: max(relu) = relu(max), and in 8 bits the value then needs
 * no room for numbers below zero.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "export/export_layer.h"
#include "graph/shape.h"

static bool is_op(const struct ex_node *node, const char *name) {
  return strcmp(node->op->name, name) == 0;
}

static bool is_output(const ex_net *net, int32_t id) {
  for (int32_t p = 0; p < net->n_points; p++)
    if (net->points[p].output == id || net->points[p].gate == id) return true;
  return false;
}

/* How many read each value, and whether the order of its numbers matters to one of
 * them. A linear layer's weights follow any order, and relu and dropout keep it;
 * everybody else must see features as the graph says. Readers come later, so their own
 * readers are known when they are looked at. */
static void find_readers(struct ex_export_plan *plan) {
  const ex_net *net = plan->net;
  for (int32_t id = ex__graph_n_nodes(net->graph) - 1; id >= 0; id--) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    if (!ex__export_runs(plan, node)) continue;
    if (is_output(net, id)) {
      plan->readers[id]++;
      plan->ordered[id] = true;
    }
    bool passes = is_op(node, "dropout") || is_op(node, "relu");
    for (int32_t k = 0; k < node->n_in; k++) {
      plan->readers[node->in[k]]++;
      if (!is_op(node, "linear") && !(passes && !plan->ordered[id]))
        plan->ordered[node->in[k]] = true;
    }
  }
}

/* ---- steps ------------------------------------------------------------------ */

static int32_t new_value(struct ex_export_plan *plan, int32_t node, const struct ex_shape *shape) {
  int32_t segment = ex__graph_node(plan->net->graph, node)->segment;
  plan->values[plan->n_values] = (struct ex_value){.node = node,
                                                   .shape = *shape,
                                                   .stage = segment / EX_N_PARTS,
                                                   .maker = -1,
                                                   .shares = -1,
                                                   .offset = -1};
  return plan->n_values++;
}

/* NULL: it is the network's input. Until steps are sorted. */
static struct ex_layer_step *maker_of(struct ex_export_plan *plan, int32_t value) {
  int32_t maker = plan->values[value].maker;
  return maker >= 0 ? &plan->steps[maker] : NULL;
}

/* An identifier from what a file calls the node: letters, digits and '_' alone, and
 * told apart by the node's number. */
static void name_step(struct ex_layer_step *step, int32_t id) {
  char *to = step->name;
  const char *from = step->node->name;
  if (from[0] == '\0') from = step->node->op->name;
  if (!isalpha((unsigned char)from[0])) *to++ = 'n';
  for (int32_t i = 0; i < EX_NAME_SIZE && from[i] != '\0'; i++)
    *to++ = isalnum((unsigned char)from[i]) ? from[i] : '_';
  snprintf(to, sizeof step->name - (size_t)(to - step->name), "_%d", (int)id);
}

static enum ex_status add_step(struct ex_export_plan *plan, const struct ex_layer *layer,
                               int32_t id, struct ex_error *err) {
  const struct ex_node *node = ex__graph_node(plan->net->graph, id);
  if (layer == NULL || ex__layer_form(plan, layer)->kernel == NULL)
    return ex__fail(err, EX_EUNSUPPORTED, "node %d, operator %s: cannot be written as C%s", (int)id,
                    node->op->name, layer == NULL ? "" : " in int8; leave --int8 out");
  struct ex_layer_step *step = &plan->steps[plan->n_steps++];
  *step = (struct ex_layer_step){
      .layer = layer, .node = node, .segment = node->segment, .n_in = node->n_in};
  for (int32_t k = 0; k < node->n_in; k++) step->in[k] = plan->value_of[node->in[k]];
  /* A relu may stand behind a flattened map, which keeps its order of numbers. */
  const struct ex_shape *shape =
      is_op(node, "relu") ? &plan->values[step->in[0]].shape : &node->shape;
  step->out = new_value(plan, id, shape);
  plan->values[step->out].maker = plan->n_steps - 1;
  plan->value_of[id] = step->out;
  name_step(step, id);
  return layer->check != NULL ? layer->check(plan, step, err) : EX_OK;
}

/* The step that made input k of the node, where it may take this node in: nobody else
 * wants to see what lies between. */
static struct ex_layer_step *absorber(struct ex_export_plan *plan, const struct ex_node *node,
                                      int32_t k, unsigned flag) {
  struct ex_layer_step *maker = maker_of(plan, plan->value_of[node->in[k]]);
  if (maker == NULL || (maker->layer->flags & flag) == 0 || maker->relu) return NULL;
  if (maker->segment != node->segment || plan->readers[node->in[k]] != 1) return NULL;
  return plan->values[maker->out].node == node->in[k] ? maker : NULL;
}

/* Of the two sides of an addition, the one that is made last, when the other is there. */
static struct ex_layer_step *adder(struct ex_export_plan *plan, const struct ex_node *node) {
  for (int32_t k = 0; k < 2; k++) {
    int32_t other = plan->value_of[node->in[1 - k]];
    struct ex_layer_step *maker = absorber(plan, node, k, EX_LAYER_TAKES_ADD);
    const struct ex_layer_step *before = maker_of(plan, other);
    if (maker == NULL || maker->adds || (before != NULL && before >= maker)) continue;
    maker->adds = true;
    maker->in[maker->n_in++] = other;
    return maker;
  }
  return NULL;
}

static void alias(struct ex_export_plan *plan, const struct ex_node *node, int32_t id) {
  plan->value_of[id] = plan->value_of[node->in[0]];
}

static enum ex_status lower_reshape(struct ex_export_plan *plan, const struct ex_node *node,
                                    int32_t id, struct ex_error *err) {
  const struct ex_shape *from = &ex__graph_node(plan->net->graph, node->in[0])->shape;
  bool same = from->dim[0] == 1 || ex__shape_plane(from) == 1;
  if (node->shape.rank != 1 && !ex__shape_equal(from, &node->shape))
    return ex__fail(err, EX_EUNSUPPORTED,
                    "node %d, operator reshape: only to one dimension can be written as C",
                    (int)id);
  if (!same && plan->ordered[id]) return add_step(plan, &ex__layer_flatten, id, err);
  alias(plan, node, id);
  return EX_OK;
}

static enum ex_status lower_node(struct ex_export_plan *plan, int32_t id, struct ex_error *err) {
  const struct ex_node *node = ex__graph_node(plan->net->graph, id);
  struct ex_layer_step *maker = NULL;
  if (is_op(node, "input")) {
    plan->value_of[id] = new_value(plan, id, &node->shape);
    return EX_OK;
  }
  if (is_op(node, "reshape")) return lower_reshape(plan, node, id, err);
  if (is_op(node, "dropout")) {
    alias(plan, node, id);
    /* What follows folds into what is before it. */
    maker = absorber(plan, node, 0, ~0u);
    if (maker != NULL) plan->values[maker->out].node = id;
    return EX_OK;
  }
  if (is_op(node, "batch_norm")) maker = absorber(plan, node, 0, EX_LAYER_TAKES_NORM);
  if (maker != NULL && maker->norm == NULL && !maker->adds) {
    maker->norm = node;
  } else if (is_op(node, "add") && node->n_in == 2 && (maker = adder(plan, node)) != NULL) {
    /* `adds` was set with the other side. */
  } else if (is_op(node, "relu") &&
             (maker = absorber(plan, node, 0, EX_LAYER_TAKES_RELU)) != NULL) {
    maker->relu = true;
  } else {
    return add_step(plan, ex__layer_find(node), id, err);
  }
  plan->value_of[id] = maker->out;
  plan->values[maker->out].node = id;
  return EX_OK;
}

/* ---- afterwards ------------------------------------------------------------- */

static int by_segment(const void *a, const void *b) {
  const struct ex_layer_step *x = a, *y = b;
  if (x->segment != y->segment) return x->segment < y->segment ? -1 : 1;
  return (x->out > y->out) - (x->out < y->out);
}

static void count(struct ex_export_plan *plan) {
  for (int32_t v = 0; v < plan->n_values; v++) plan->values[v].n_readers = 0;
  for (int32_t s = 0; s < plan->n_steps; s++)
    for (int32_t k = 0; k < plan->steps[s].n_in; k++)
      plan->values[plan->steps[s].in[k]].n_readers++;
  for (int32_t p = 0; p < plan->net->n_points; p++) {
    const struct ex_point *point = &plan->net->points[p];
    plan->values[plan->value_of[point->output]].n_readers++;
    if (point->gate >= 0 && plan->value_of[point->gate] >= 0)
      plan->values[plan->value_of[point->gate]].n_readers++;
  }
}

/* MSDNet makes maps that nobody reads. */
static void prune(struct ex_export_plan *plan) {
  for (int32_t s = plan->n_steps - 1; s >= 0; s--) {
    struct ex_layer_step *step = &plan->steps[s];
    if (plan->values[step->out].n_readers > 0) continue;
    for (int32_t k = 0; k < step->n_in; k++) plan->values[step->in[k]].n_readers--;
    memmove(step, step + 1, (size_t)(--plan->n_steps - s) * sizeof *step);
  }
}

static void hoist_relu(struct ex_export_plan *plan, struct ex_layer_step *maker) {
  int32_t wanted = 0;
  if (maker->relu || (maker->layer->flags & EX_LAYER_TAKES_RELU) == 0) return;
  for (int32_t s = 0; s < plan->n_steps; s++) {
    const struct ex_layer_step *step = &plan->steps[s];
    if (strcmp(step->layer->op, "max_pool") == 0 && step->relu && step->in[0] == maker->out)
      wanted++;
  }
  if (wanted == 0 || wanted != plan->values[maker->out].n_readers) return;
  maker->relu = true;
  for (int32_t s = 0; s < plan->n_steps; s++)
    if (plan->steps[s].in[0] == maker->out) plan->steps[s].relu = false;
}

static enum ex_status mark_logits(struct ex_export_plan *plan, struct ex_error *err) {
  for (int32_t p = 0; p < plan->net->n_points; p++) {
    int32_t v = plan->value_of[plan->net->points[p].output];
    struct ex_layer_step *maker = maker_of(plan, v);
    plan->values[v].is_logits = true;
    bool plain = maker != NULL && strcmp(maker->layer->op, "linear") == 0 && !maker->relu &&
                 plan->values[v].n_readers == 1;
    if (plan->job->int8 && !plain)
      return ex__fail(err, EX_EUNSUPPORTED,
                      "exit %d: its head ends otherwise than in a linear layer that nobody "
                      "else reads, which cannot be written in int8; leave --int8 out",
                      (int)p);
    if (plain) maker->layer = &ex__layer_logits;
  }
  return EX_OK;
}

enum ex_status ex__export_lower(struct ex_export_plan *plan, struct ex_error *err) {
  int32_t n = ex__graph_n_nodes(plan->net->graph);
  plan->steps = ex__calloc((size_t)n, sizeof *plan->steps);
  plan->values = ex__calloc((size_t)n, sizeof *plan->values);
  plan->value_of = ex__calloc((size_t)n, sizeof *plan->value_of);
  plan->readers = ex__calloc((size_t)n, sizeof *plan->readers);
  plan->ordered = ex__calloc((size_t)n, sizeof *plan->ordered);
  if (plan->steps == NULL || plan->values == NULL || plan->value_of == NULL ||
      plan->readers == NULL || plan->ordered == NULL)
    return ex__fail(err, EX_ENOMEM, "export: no memory for %d steps", (int)n);
  find_readers(plan);
  for (int32_t id = 0; id < n; id++) {
    plan->value_of[id] = -1;
    if (ex__export_runs(plan, ex__graph_node(plan->net->graph, id)))
      EX_TRY(lower_node(plan, id, err));
  }
  count(plan);
  EX_TRY(mark_logits(plan, err));
  qsort(plan->steps, (size_t)plan->n_steps, sizeof *plan->steps, by_segment);
  prune(plan);
  for (int32_t s = 0; s < plan->n_steps; s++) hoist_relu(plan, &plan->steps[s]);
  return EX_OK;
}
