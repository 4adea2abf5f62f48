/* SPDX-License-Identifier: Apache-2.0
 *
 * attach/taps: nodes are copied in their order, so values keep their ids, and what
 * is added comes behind them. Weights are copied by name.
 */
#include "attach/taps.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "graph/op.h"

/* ---- sizes ----------------------------------------------------------------- */

int64_t ex__tap_macs(const struct ex_tap *tap, int32_t n_outputs) {
  int64_t features = tap->features, hidden = tap->hidden;
  return hidden > 0 ? hidden * (features + n_outputs) : features * n_outputs;
}

/* Of each feature. */
static int32_t n_means(const struct ex_tap *tap, int32_t side) {
  return tap->rows ? side : side * side;
}

static bool is_op(const struct ex_node *node, const char *name) {
  return strcmp(node->op->name, name) == 0;
}

/* Additions and functions of single elements leave dimensions what they are. */
static bool keeps_places(const struct ex_node *node) {
  static const char *const ops[] = {"add", "mul", "arithmetic", "function", "gelu", "relu"};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
    if (is_op(node, ops[i])) return true;
  return false;
}

/* Whether a standardised value goes on with a scale for each number of its rows: layer
 * normalisation. Instance normalisation has one for each row. */
static bool is_scaled_by_column(const ex_net *net, int32_t value, int32_t width) {
  const struct ex_standardise *norm = ex__graph_node(net->graph, value)->attr;
  for (int32_t id = value + 1; norm->size == width && id < ex__graph_n_nodes(net->graph); id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    const struct ex_arithmetic *attr = node->attr;
    if (is_op(node, "arithmetic") && node->n_in == 1 && node->in[0] == value)
      return attr->second_steps.value[attr->second_steps.n - 1] == 1;
  }
  return false;
}

/* Whether the last dimension of a value holds its features, as an encoder's tokens have it, and
 * not the first, as images do. Nothing says so but what is done to it: by the layer that made it,
 * or one that reads it. */
static bool lies_in_rows(const ex_net *net, int32_t value) {
  const struct ex_node *maker = ex__graph_node(net->graph, value);
  if (maker->shape.rank != 3) return false;
  int32_t width = maker->shape.dim[2];
  while (keeps_places(maker)) maker = ex__graph_node(net->graph, maker->in[maker->n_in - 1]);
  if (is_op(maker, "matmul") && ((const struct ex_matmul *)maker->attr)->columns == width)
    return true;
  for (int32_t id = value + 1; id < ex__graph_n_nodes(net->graph); id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    if (node->n_in == 0 || node->in[0] != value) continue;
    if (is_op(node, "matmul") && ((const struct ex_matmul *)node->attr)->depth == width)
      return true;
    if (is_op(node, "standardise") && is_scaled_by_column(net, id, width)) return true;
  }
  return false;
}

struct ex_tap ex__tap_sized(const ex_net *net, const struct ex_cut *cut, double share) {
  static const int32_t sides[] = {4, 3, 2, 1}, hidden[] = {128, 64, 32, 0};
  enum { MOST_FEATURES = 256 }; /* kept of every sample while heads are trained */
  const struct ex_shape *shape = &ex__graph_node(net->graph, cut->value)->shape;
  struct ex_tap tap = {.value = cut->value, .macs = cut->macs, .features = shape->dim[0]};
  if (shape->rank == 3) {
    int32_t i = 0, least = shape->dim[1] < shape->dim[2] ? shape->dim[1] : shape->dim[2];
    tap.rows = lies_in_rows(net, cut->value);
    if (tap.rows) {
      least = shape->dim[0];
      tap.features = shape->dim[2];
    }
    while (sides[i] > 1 &&
           (sides[i] > least || (int64_t)tap.features * n_means(&tap, sides[i]) > MOST_FEATURES))
      i++;
    tap.side = sides[i];
    tap.features *= n_means(&tap, tap.side);
  }
  for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
    tap.hidden = hidden[i];
    if ((double)ex__tap_macs(&tap, net->n_outputs) <= share * (double)cut->macs) break;
  }
  return tap;
}

/* ---- copying ---------------------------------------------------------------- */

/* `cuts` [n]: values behind which a new stage begins; 0: one stage. */
static enum ex_status copy_nodes(const ex_net *net, const int32_t *cuts, int32_t n, ex_graph *graph,
                                 struct ex_error *err) {
  for (int32_t id = 0, stage = 0; id < ex__graph_n_nodes(net->graph); id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    int32_t copy, part = node->segment % EX_N_PARTS;
    if (stage < n && id == cuts[stage] + 1) stage++;
    int32_t owner = part == EX_PART_BODY ? stage : n; /* a head is the last stage's */
    ex__graph_segment(graph, ex__net_segment(owner, (enum ex_part)part), owner);
    if (node->op->max_in == 0)
      EX_TRY(ex__graph_add_input(graph, &node->shape, &copy, err));
    else
      EX_TRY(ex__graph_add(graph, node->op->name, node->name[0] != 0 ? node->name : NULL,
                           node->attr, node->in, node->n_in, &copy, err));
  }
  return EX_OK;
}

static const struct ex_tensor_info *find_tensor(const ex_graph *graph, const char *name) {
  for (int32_t i = 0; i < ex__graph_n_tensors(graph); i++)
    if (strcmp(ex__graph_tensor(graph, i)->name, name) == 0) return ex__graph_tensor(graph, i);
  return NULL;
}

static ex_real *data_of(const ex_net *net, const struct ex_tensor_info *info) {
  const ex_slabs *slabs = info->role == EX_ROLE_BUFFER ? net->buffers : net->params;
  return slabs->data[info->slab] + info->offset;
}

static enum ex_status copy_tensor(const ex_net *from, const struct ex_tensor_info *info, ex_net *to,
                                  const char *name, struct ex_error *err) {
  const struct ex_tensor_info *other = find_tensor(to->graph, name);
  if (other == NULL || !ex__shape_equal(&other->shape, &info->shape))
    return ex__fail(err, EX_ESHAPE, "the copy has no tensor \"%s\" of this shape", name);
  memcpy(data_of(to, other), data_of(from, info),
         (size_t)ex__shape_count(&info->shape) * sizeof(ex_real));
  return EX_OK;
}

/* Tensors whose names begin with `old`, into those that have `new` in its place. */
static enum ex_status copy_weights(const ex_net *from, const char *old, ex_net *to, const char *new,
                                   struct ex_error *err) {
  size_t length = strlen(old);
  for (int32_t i = 0; i < ex__graph_n_tensors(from->graph); i++) {
    const struct ex_tensor_info *info = ex__graph_tensor(from->graph, i);
    char name[2 * EX_NAME_SIZE];
    if (strncmp(info->name, old, length) != 0) continue;
    snprintf(name, sizeof name, "%s%s", new, info->name + length);
    EX_TRY(copy_tensor(from, info, to, name, err));
  }
  return EX_OK;
}

static enum ex_status new_net(const ex_net *like, int32_t n_outputs, int32_t n_stages, ex_net **out,
                              struct ex_error *err) {
  ex_net *net = ex__calloc(1, sizeof *net);
  if (net == NULL || ex__graph_new(&net->graph) != EX_OK) {
    ex__free(net);
    return ex__fail(err, EX_ENOMEM, "no memory");
  }
  net->task = like->task;
  net->input = like->input;
  net->n_outputs = n_outputs;
  net->n_stages = n_stages;
  *out = net;
  return EX_OK;
}

static void add_point(ex_net *net, int32_t stage, int32_t output) {
  ex__graph_keep(net->graph, output);
  net->points[net->n_points++] = (struct ex_point){stage, output, -1, 0};
}

static enum ex_status finish(ex_net *net, struct ex_error *err) {
  EX_TRY(ex__net_check(net, err));
  EX_TRY(ex__net_allocate(net, err));
  ex__net_init(net, 0);
  return EX_OK;
}

/* ---- the network without exits ------------------------------------------------ */

/* One stage of what the last answer depends on; ids close ranks. map [n_nodes] */
static enum ex_status copy_reached(const ex_net *net, const uint32_t *reached, int32_t *map,
                                   ex_net *made, struct ex_error *err) {
  uint32_t last = UINT32_C(1) << (net->n_points - 1);
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    int32_t in[EX_MAX_INPUTS];
    if ((reached[id] & last) == 0) continue;
    enum ex_part part = node->segment % EX_N_PARTS == EX_PART_BODY ? EX_PART_BODY : EX_PART_HEAD;
    ex__graph_segment(made->graph, ex__net_segment(0, part), 0);
    for (int32_t i = 0; i < node->n_in; i++) in[i] = map[node->in[i]];
    if (node->op->max_in == 0)
      EX_TRY(ex__graph_add_input(made->graph, &node->shape, &map[id], err));
    else
      EX_TRY(ex__graph_add(made->graph, node->op->name, node->name[0] != 0 ? node->name : NULL,
                           node->attr, in, node->n_in, &map[id], err));
  }
  add_point(made, 0, map[net->points[net->n_points - 1].output]);
  return finish(made, err);
}

static enum ex_status copy_own_weights(const ex_net *net, ex_net *made, struct ex_error *err) {
  for (int32_t i = 0; i < ex__graph_n_tensors(made->graph); i++) {
    const struct ex_tensor_info *info = ex__graph_tensor(made->graph, i);
    const struct ex_tensor_info *from = find_tensor(net->graph, info->name);
    if (from == NULL) return ex__fail(err, EX_EFORMAT, "no tensor \"%s\"", info->name);
    EX_TRY(copy_tensor(net, from, made, info->name, err));
  }
  return EX_OK;
}

enum ex_status ex__taps_trunk(const ex_net *net, ex_net **out, struct ex_error *err) {
  size_t n = (size_t)ex__graph_n_nodes(net->graph);
  ex_net *made = NULL;
  *out = NULL;
  EX_TRY(new_net(net, net->n_outputs, 1, &made, err));
  uint32_t *reached = ex__calloc(n, sizeof *reached);
  int32_t *map = ex__calloc(n, sizeof *map);
  enum ex_status status = EX_ENOMEM;
  if (reached == NULL || map == NULL) {
    ex__fail(err, EX_ENOMEM, "no memory");
  } else {
    ex__net_reached(net, reached);
    status = copy_reached(net, reached, map, made, err);
  }
  if (status == EX_OK) status = copy_own_weights(net, made, err);
  ex__free(reached);
  ex__free(map);
  if (status == EX_OK)
    *out = made;
  else
    ex_net_free(made);
  return status;
}

/* ---- what heads read -------------------------------------------------------- */

static enum ex_status add_op(ex_graph *graph, const char *op, const void *attr, int32_t *value,
                             struct ex_error *err) {
  return ex__graph_add(graph, op, NULL, attr, value, 1, value, err);
}

/* [rows][1][features] or [a][b][features], as [features][1][rows]. */
static enum ex_status turn_rows(ex_graph *graph, int32_t *value, struct ex_error *err) {
  const struct ex_shape *shape = &ex__graph_node(graph, *value)->shape;
  double features = shape->dim[2], rows = (double)shape->dim[0] * shape->dim[1];
  const struct ex_view turned = {.shape = {3, {features, 1, rows}},
                                 .dims = {2, {features, rows}},
                                 .steps = {2, {1, features}}};
  return add_op(graph, "view", &turned, value, err);
}

static enum ex_status add_features(ex_graph *graph, const struct ex_tap *tap, int32_t *value,
                                   struct ex_error *err) {
  const struct ex_adaptive_pool pool = {tap->rows ? 1 : tap->side, tap->side, 0};
  const struct ex_reshape flat = {{1, {tap->features}}};
  *value = tap->value;
  if (tap->side == 0) return EX_OK;
  if (tap->rows) EX_TRY(turn_rows(graph, value, err));
  if (tap->side == 1) return add_op(graph, "global_avg_pool", NULL, value, err);
  EX_TRY(add_op(graph, "adaptive_pool", &pool, value, err));
  return add_op(graph, "reshape", &flat, value, err);
}

/* All of them and the net's output in one value. */
static enum ex_status join(const ex_net *net, const struct ex_tap *taps, int32_t n, ex_graph *graph,
                           int32_t *joined, struct ex_error *err) {
  int32_t in[EX_MAX_INPUTS], n_in = 0;
  for (int32_t i = 0; i <= n; i++) {
    if (n_in == EX_MAX_INPUTS) {
      EX_TRY(ex__graph_add(graph, "concat", NULL, NULL, in, n_in, &in[0], err));
      n_in = 1;
    }
    if (i < n)
      EX_TRY(add_features(graph, &taps[i], &in[n_in], err));
    else
      in[n_in] = net->points[0].output;
    n_in++;
  }
  return ex__graph_add(graph, "concat", NULL, NULL, in, n_in, joined, err);
}

static int32_t count_features(const struct ex_tap *taps, int32_t n) {
  int32_t features = 0;
  for (int32_t i = 0; i < n; i++) features += taps[i].features;
  return features;
}

static enum ex_status make_features(const ex_net *net, const struct ex_tap *taps, int32_t n,
                                    ex_net *made, struct ex_error *err) {
  int32_t joined;
  const int32_t none[1] = {0};
  EX_TRY(copy_nodes(net, none, 0, made->graph, err));
  ex__graph_segment(made->graph, ex__net_segment(0, EX_PART_HEAD), 0);
  EX_TRY(join(net, taps, n, made->graph, &joined, err));
  add_point(made, 0, joined);
  EX_TRY(finish(made, err));
  return copy_weights(net, "", made, "", err);
}

enum ex_status ex__taps_features(const ex_net *net, const struct ex_tap *taps, int32_t n,
                                 ex_net **out, struct ex_error *err) {
  ex_net *made = NULL;
  *out = NULL;
  EX_TRY(new_net(net, count_features(taps, n) + net->n_outputs, 1, &made, err));
  enum ex_status status = make_features(net, taps, n, made, err);
  if (status == EX_OK)
    *out = made;
  else
    ex_net_free(made);
  return status;
}

/* ---- heads ------------------------------------------------------------------- */

/* Names are "PREFIXi.norm" and so on. */
static enum ex_status add_head(ex_graph *graph, const char *prefix, int32_t i,
                               const struct ex_tap *tap, int32_t n_outputs, int32_t *value,
                               struct ex_error *err) {
  char name[EX_NAME_SIZE];
  const struct ex_linear hidden = {tap->hidden, 1}, linear = {n_outputs, 1};
  snprintf(name, sizeof name, "%s%d.norm", prefix, (int)i);
  EX_TRY(ex__graph_add(graph, "batch_norm", name, NULL, value, 1, value, err));
  if (tap->hidden > 0) {
    snprintf(name, sizeof name, "%s%d.hidden", prefix, (int)i);
    EX_TRY(ex__graph_add(graph, "linear", name, &hidden, value, 1, value, err));
    EX_TRY(add_op(graph, "relu", NULL, value, err));
  }
  snprintf(name, sizeof name, "%s%d.linear", prefix, (int)i);
  return ex__graph_add(graph, "linear", name, &linear, value, 1, value, err);
}

/* Each body cuts what its head reads from the record. */
static enum ex_status cut_record(const struct ex_tap *taps, int32_t n, ex_net *made,
                                 int32_t *values, struct ex_error *err) {
  int32_t input, begin = 0;
  ex__graph_segment(made->graph, ex__net_segment(0, EX_PART_BODY), 0);
  EX_TRY(ex__graph_add_input(made->graph, &made->input, &input, err));
  for (int32_t i = 0; i <= n; i++) {
    int32_t end = begin + (i < n ? taps[i].features : made->n_outputs);
    const struct ex_slice slice = {begin, end};
    ex__graph_segment(made->graph, ex__net_segment(i, EX_PART_BODY), i);
    values[i] = input;
    EX_TRY(add_op(made->graph, "slice", &slice, &values[i], err));
    begin = end;
  }
  return EX_OK;
}

static enum ex_status make_heads(const struct ex_tap *taps, int32_t n, ex_net *made,
                                 struct ex_error *err) {
  int32_t values[EX_MAX_TAPS + 1];
  EX_TRY(cut_record(taps, n, made, values, err));
  for (int32_t i = 0; i <= n; i++) {
    const struct ex_reshape same = {{1, {made->n_outputs}}};
    ex__graph_segment(made->graph, ex__net_segment(i, EX_PART_HEAD), i);
    if (i < n)
      EX_TRY(add_head(made->graph, "head", i, &taps[i], made->n_outputs, &values[i], err));
    else /* an answer is made in a head */
      EX_TRY(add_op(made->graph, "reshape", &same, &values[i], err));
    add_point(made, i, values[i]);
  }
  return finish(made, err);
}

enum ex_status ex__taps_heads(const ex_net *net, const struct ex_tap *taps, int32_t n,
                              uint64_t seed, ex_net **out, struct ex_error *err) {
  ex_net *made = NULL;
  *out = NULL;
  EX_TRY(new_net(net, net->n_outputs, n + 1, &made, err));
  made->input = (struct ex_shape){1, {count_features(taps, n) + net->n_outputs}};
  enum ex_status status = make_heads(taps, n, made, err);
  if (status == EX_OK) {
    ex__net_init(made, seed);
    *out = made;
  } else {
    ex_net_free(made);
  }
  return status;
}

/* ---- the network with its exits ------------------------------------------------ */

static enum ex_status make_attached(const ex_net *net, const struct ex_tap *taps,
                                    const int32_t *kept, int32_t n_kept, ex_net *made,
                                    struct ex_error *err) {
  int32_t cuts[EX_MAX_TAPS] = {0}, value;
  for (int32_t s = 0; s < n_kept; s++) cuts[s] = taps[kept[s]].value;
  EX_TRY(copy_nodes(net, cuts, n_kept, made->graph, err));
  for (int32_t s = 0; s < n_kept; s++) {
    const struct ex_tap *tap = &taps[kept[s]];
    ex__graph_segment(made->graph, ex__net_segment(s, EX_PART_HEAD), s);
    EX_TRY(add_features(made->graph, tap, &value, err));
    EX_TRY(add_head(made->graph, "exit", s, tap, net->n_outputs, &value, err));
    add_point(made, s, value);
  }
  add_point(made, n_kept, net->points[0].output);
  return finish(made, err);
}

enum ex_status ex__taps_attach(const ex_net *net, const struct ex_tap *taps, const int32_t *kept,
                               int32_t n_kept, const ex_net *heads, ex_net **out,
                               struct ex_error *err) {
  ex_net *made = NULL;
  *out = NULL;
  EX_TRY(new_net(net, net->n_outputs, n_kept + 1, &made, err));
  enum ex_status status = make_attached(net, taps, kept, n_kept, made, err);
  if (status == EX_OK) status = copy_weights(net, "", made, "", err);
  for (int32_t s = 0; status == EX_OK && s < n_kept; s++) {
    char old[EX_NAME_SIZE], new[EX_NAME_SIZE];
    snprintf(old, sizeof old, "head%d.", (int)kept[s]);
    snprintf(new, sizeof new, "exit%d.", (int)s);
    status = copy_weights(heads, old, made, new, err);
  }
  if (status == EX_OK)
    *out = made;
  else
    ex_net_free(made);
  return status;
}
