/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_infer_plan: from nodes to steps, and where values lie.
 *
 * Fusion. The kind of a step is chosen for its first node; where that kind
 * fuses (a convolution, linear layer, batch-norm or addition by our own loops,
 * never a twin) the chain goes on while its value has one reader in this
 * segment and is no out port: batch-norm folds into weights, an addition
 * becomes the residual, relu clips. The step runs where the chain ends, when
 * every operand is there.
 *
 * Homes. An input of a concat is written straight into the concat's buffer, so
 * that a growing concatenation (MSDNet, DenseNet) copies nothing but what came
 * in through a port. A value has one home; out ports must be dense and have none.
 *
 * Buffers live from the first step that writes to the last that reads; the
 * largest are placed first, each at the lowest address where nothing that
 * lives at the same time is in its way.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/fast_infer.h"
#include "graph/graph_internal.h"
#include "graph/shape.h"

int32_t ex__fast_value(const struct fast *fast, int32_t id) {
  for (int32_t v = 0; v < fast->n_values; v++)
    if (fast->values[v].id == id) return v;
  return -1;
}

static int32_t find(const int32_t *ids, int32_t n, int32_t id) {
  for (int32_t i = 0; i < n; i++)
    if (ids[i] == id) return i;
  return -1;
}

static void count_uses(struct fast *fast) {
  const ex_program *program = fast->program;
  for (int32_t i = 0; i < program->n_nodes; i++) {
    const struct ex_node *node = ex__graph_node(program->graph, program->nodes[i]);
    for (int32_t k = 0; k < node->n_in; k++)
      fast->values[ex__fast_value(fast, node->in[k])].n_uses++;
  }
}

static enum ex_status make_values(struct fast *fast, struct ex_error *err) {
  const ex_program *program = fast->program;
  fast->n_values = program->n_in + program->n_nodes;
  fast->values = ex__calloc((size_t)fast->n_values, sizeof *fast->values);
  if (fast->values == NULL)
    return ex__fail(err, EX_ENOMEM, "program: no memory for %d values", (int)fast->n_values);
  for (int32_t v = 0; v < fast->n_values; v++) {
    struct fast_value *value = &fast->values[v];
    bool is_in = v < program->n_in;
    value->id = is_in ? program->in[v] : program->nodes[v - program->n_in];
    const struct ex_node *node = ex__graph_node(program->graph, value->id);
    value->shape = node->shape;
    value->nhwc = fast->nhwc && node->shape.rank == 3 && !fast->plain[value->id];
    value->in_port = is_in ? v : -1;
    value->out_port = is_in ? -1 : find(program->out, program->n_out, value->id);
    value->home = v;
  }
  count_uses(fast);
  return EX_OK;
}

/* ---- fusion ------------------------------------------------------------------ */

static bool is_op(const struct ex_node *node, const char *name) {
  return node != NULL && strcmp(node->op->name, name) == 0;
}

/* The one node that reads the value; NULL where it is read elsewhere too. */
static const struct ex_node *only_reader(const struct fast *fast, int32_t id, int32_t *reader) {
  const ex_program *program = fast->program;
  const struct fast_value *value = &fast->values[ex__fast_value(fast, id)];
  if (value->n_uses != 1 || value->out_port >= 0) return NULL;
  for (int32_t i = 0; i < program->n_nodes; i++) {
    const struct ex_node *node = ex__graph_node(program->graph, program->nodes[i]);
    for (int32_t k = 0; k < node->n_in; k++)
      if (node->in[k] == id) {
        *reader = i;
        return node;
      }
  }
  return NULL;
}

static bool absorbs(struct fast *fast, struct fast_step *step, const struct ex_node *next,
                    int32_t id) {
  const char *first = step->node->op->name;
  bool is_conv = strcmp(first, "conv2d") == 0, is_linear = strcmp(first, "linear") == 0;
  bool is_norm = strcmp(first, "batch_norm") == 0, is_add = strcmp(first, "add") == 0;
  if (step->kind->absorbs != NULL) return step->kind->absorbs(fast, step, next, id);
  if (step->relu || !step->kind->fuses) return false;
  if (is_op(next, "relu") && (is_conv || is_linear || is_norm || (is_add && step->n_in == 2))) {
    step->relu = true;
    return true;
  }
  if (is_op(next, "batch_norm") && (is_conv || is_linear) && step->norm == NULL &&
      step->residual < 0) {
    step->norm = next;
    return true;
  }
  if (is_op(next, "add") && next->n_in == 2 && is_conv && step->residual < 0) {
    int32_t other = next->in[0] == step->end ? next->in[1] : next->in[0];
    step->residual = ex__fast_value(fast, other);
    return true;
  }
  return false;
}

static int by_end(const void *a, const void *b) {
  int32_t x = ((const struct fast_step *)a)->end, y = ((const struct fast_step *)b)->end;
  return (x > y) - (x < y);
}

static void start_step(struct fast *fast, struct fast_step *step, int32_t id) {
  const ex_graph *graph = fast->program->graph;
  const struct ex_node *node = ex__graph_node(graph, id);
  const struct ex_shape *in_shape[EX_MAX_INPUTS] = {NULL};
  *step = (struct fast_step){.node = node, .end = id, .residual = -1, .n_in = node->n_in};
  for (int32_t k = 0; k < node->n_in; k++) {
    step->in[k] = ex__fast_value(fast, node->in[k]);
    in_shape[k] = &ex__graph_node(graph, node->in[k])->shape;
  }
  step->out = ex__fast_value(fast, id); /* all values of a chain have one shape and layout */
  ex__fast_choose_kind(fast, step);
  step->macs = node->op->macs != NULL ? fast->batch * node->op->macs(node, in_shape) : 0;
}

enum ex_status ex__fast_find_steps(struct fast *fast, struct ex_error *err) {
  const ex_program *program = fast->program;
  EX_TRY(make_values(fast, err));
  fast->steps = ex__calloc((size_t)program->n_nodes, sizeof *fast->steps);
  bool *absorbed = ex__calloc((size_t)program->n_nodes, sizeof *absorbed);
  if (fast->steps == NULL || absorbed == NULL) {
    ex__free(absorbed);
    return ex__fail(err, EX_ENOMEM, "program: no memory for %d steps", (int)program->n_nodes);
  }
  for (int32_t i = 0; i < program->n_nodes; i++) {
    if (absorbed[i]) continue;
    struct fast_step *step = &fast->steps[fast->n_steps++];
    start_step(fast, step, program->nodes[i]);
    int32_t reader = 0;
    const struct ex_node *next;
    while ((next = only_reader(fast, step->end, &reader)) != NULL && !absorbed[reader] &&
           absorbs(fast, step, next, program->nodes[reader])) {
      absorbed[reader] = true;
      step->end = program->nodes[reader];
    }
    step->out = ex__fast_value(fast, step->end);
  }
  ex__free(absorbed);
  qsort(fast->steps, (size_t)fast->n_steps, sizeof *fast->steps, by_end);
  return EX_OK;
}

/* ---- homes --------------------------------------------------------------------- */

static int32_t owner_of(const struct fast *fast, int32_t value) {
  while (fast->values[value].home != value) value = fast->values[value].home;
  return value;
}

struct fast_place ex__fast_place(const struct fast *fast, int32_t value) {
  struct fast_place place = {.offset = 0};
  int32_t v = value;
  for (; fast->values[v].home != v; v = fast->values[v].home)
    place.offset += fast->values[v].home_offset;
  place.owner = v;
  place.sample_step = ex__shape_count(&fast->values[v].shape);
  place.pixel_step = fast->values[v].shape.dim[0];
  return place;
}

/* The same elements in the same order under another name. */
static bool is_alias(const struct fast *fast, const struct fast_step *step) {
  const struct fast_value *in = &fast->values[step->in[0]], *out = &fast->values[step->out];
  if (out->out_port >= 0 || out->home != step->out) return false;
  if (is_op(step->node, "dropout")) return in->nhwc == out->nhwc;
  if (is_op(step->node, "slice")) return in->nhwc == out->nhwc && !in->nhwc;
  bool run = is_op(step->node, "view") && ex__fast_run_of(step->node) >= 0;
  if (!run && !is_op(step->node, "reshape")) return false;
  bool in_plain = !in->nhwc || in->shape.dim[0] == 1 || ex__shape_plane(&in->shape) == 1;
  bool out_plain = !out->nhwc || out->shape.dim[0] == 1 || ex__shape_plane(&out->shape) == 1;
  bool parts = in->nhwc && ex__fast_place(fast, step->in[0]).pixel_step != in->shape.dim[0];
  return in_plain && out_plain && !out->nhwc && !parts;
}

/* Elements before a channel of one sample. */
static int64_t channel_offset(const struct fast_value *value, int32_t channel) {
  return channel * (value->nhwc ? 1 : ex__shape_plane(&value->shape));
}

static void settle_alias(struct fast *fast, struct fast_step *step) {
  step->kind = &ex__fast_nothing;
  struct fast_value *out = &fast->values[step->out];
  out->home = step->in[0];
  if (is_op(step->node, "slice"))
    out->home_offset = channel_offset(&fast->values[step->in[0]],
                                      ((const struct ex_slice *)step->node->attr)->begin);
  if (is_op(step->node, "view")) out->home_offset = ex__fast_run_of(step->node);
}

static const struct fast_step *maker_of(const struct fast *fast, int32_t value) {
  for (int32_t s = 0; s < fast->n_steps; s++)
    if (fast->steps[s].out == value) return &fast->steps[s];
  return NULL;
}

static void settle_concat(struct fast *fast, const struct fast_step *step) {
  int32_t channel = 0;
  for (int32_t k = 0; k < step->n_in; channel += fast->values[step->in[k]].shape.dim[0], k++) {
    struct fast_value *value = &fast->values[step->in[k]];
    const struct fast_step *maker = maker_of(fast, step->in[k]);
    bool free = value->home == step->in[k] && value->in_port < 0 && value->out_port < 0;
    if (!free || maker == NULL || !maker->kind->writes_parts) continue;
    value->home = step->out;
    value->home_offset = channel_offset(&fast->values[step->out], channel);
  }
}

/* ---- buffers --------------------------------------------------------------------- */

static void live(struct fast *fast, int32_t value, int32_t step) {
  struct fast_value *owner = &fast->values[owner_of(fast, value)];
  if (step < owner->first) owner->first = step;
  if (step > owner->last) owner->last = step;
}

static void find_lives(struct fast *fast) {
  for (int32_t v = 0; v < fast->n_values; v++)
    fast->values[v].first = INT32_MAX, fast->values[v].last = -1;
  for (int32_t s = 0; s < fast->n_steps; s++) {
    const struct fast_step *step = &fast->steps[s];
    live(fast, step->out, s);
    for (int32_t k = 0; k < step->n_in; k++) live(fast, step->in[k], s);
    if (step->residual >= 0) live(fast, step->residual, s);
  }
}

static int64_t bytes_of(const struct fast *fast, int32_t value) {
  int64_t n = fast->batch * ex__shape_count(&fast->values[value].shape);
  return (n * (int64_t)sizeof(float) + 64 + 63) & ~(int64_t)63; /* vectors may read past the end */
}

static bool needs_room(const struct fast *fast, int32_t v) {
  const struct fast_value *value = &fast->values[v];
  return value->home == v && value->in_port < 0 && value->out_port < 0 && value->last >= 0;
}

/* The lowest address at which value v meets none of those that were placed. */
static int64_t lowest(const struct fast *fast, int32_t v, const int32_t *placed, int32_t n) {
  int64_t at = 0, size = bytes_of(fast, v);
  for (bool moved = true; moved;) {
    moved = false;
    for (int32_t i = 0; i < n; i++) {
      const struct fast_value *other = &fast->values[placed[i]], *value = &fast->values[v];
      int64_t end = other->at + bytes_of(fast, placed[i]);
      if (other->last < value->first || value->last < other->first) continue;
      if (end <= at || at + size <= other->at) continue;
      at = end;
      moved = true;
    }
  }
  return at;
}

static enum ex_status place_buffers(struct fast *fast, struct ex_error *err) {
  int32_t *order = ex__alloc((size_t)fast->n_values + 1, sizeof *order), n = 0;
  if (order == NULL) return ex__fail(err, EX_ENOMEM, "program: no memory for its plan");
  for (int32_t v = 0; v < fast->n_values; v++) {
    if (!needs_room(fast, v)) continue;
    int32_t i = n++;
    for (; i > 0 && bytes_of(fast, order[i - 1]) < bytes_of(fast, v); i--) order[i] = order[i - 1];
    order[i] = v;
  }
  int64_t top = 0;
  for (int32_t i = 0; i < n; i++) {
    struct fast_value *value = &fast->values[order[i]];
    value->at = lowest(fast, order[i], order, i);
    int64_t end = value->at + bytes_of(fast, order[i]);
    if (end > top) top = end;
  }
  ex__free(order);
  fast->scratch_at = top;
  return EX_OK;
}

enum ex_status ex__fast_place_values(struct fast *fast, struct ex_error *err) {
  for (int32_t s = 0; s < fast->n_steps; s++)
    if (is_op(fast->steps[s].node, "concat")) settle_concat(fast, &fast->steps[s]);
  for (int32_t s = 0; s < fast->n_steps; s++)
    if (is_alias(fast, &fast->steps[s])) settle_alias(fast, &fast->steps[s]);
  find_lives(fast);
  EX_TRY(place_buffers(fast, err));
  for (int32_t s = 0; s < fast->n_steps; s++) {
    struct fast_step *step = &fast->steps[s];
    for (int32_t k = 0; k < step->n_in; k++) step->in_place[k] = ex__fast_place(fast, step->in[k]);
    if (step->residual >= 0) step->residual_place = ex__fast_place(fast, step->residual);
    step->out_place = ex__fast_place(fast, step->out);
  }
  return EX_OK;
}

/* ---- layout ------------------------------------------------------------------------ */

/* Lanes that would work, of those that a convolution's vectors have. */
static double planar_share(const struct ex_node *node) {
  const struct ex_conv2d *attr = node->attr;
  double height = node->shape.dim[1], width = node->shape.dim[2];
  double flat =
      attr->kernel_w > 1 ? (height - 1) * (width + attr->kernel_w - 1) + width : height * width;
  double vectors = (double)(int64_t)((flat + 15) / 16);
  return height * width / (16 * vectors);
}

static double nhwc_share(const struct ex_node *node) {
  const struct ex_conv2d *attr = node->attr;
  int32_t channels = attr->channels / attr->groups;
  int32_t vectors = (channels + 15) / 16;
  return channels / (16.0 * vectors);
}

static int32_t part_of(const int32_t *part, int32_t segment) {
  while (part[segment] != segment) segment = part[segment];
  return segment;
}

/* Segments hang together where one reads what another makes; the graph's input,
 * which is plain for everybody, joins nothing. part [n_segments]: trees to a root. */
static void find_parts(const ex_graph *graph, int32_t *part) {
  for (int32_t s = 0; s < ex__graph_n_segments(graph); s++) part[s] = s;
  for (int32_t id = 0; id < ex__graph_n_nodes(graph); id++) {
    const struct ex_node *node = ex__graph_node(graph, id);
    for (int32_t k = 0; k < node->n_in; k++) {
      const struct ex_node *from = ex__graph_node(graph, node->in[k]);
      if (from->op->max_in == 0) continue;
      int32_t a = part_of(part, node->segment), b = part_of(part, from->segment);
      part[a > b ? a : b] = a > b ? b : a;
    }
  }
}

void ex__fast_find_plain(const ex_graph *graph, bool *plain) {
  for (int32_t id = 0; id < ex__graph_n_nodes(graph); id++) {
    const struct ex_node *node = ex__graph_node(graph, id);
    int32_t images = 0,
            rows = 0; /* inputs whose layout matters, and those that are plain by this */
    for (int32_t k = 0; k < node->n_in; k++) {
      const struct ex_node *in = ex__graph_node(graph, node->in[k]);
      if (ex__shape_plane(&in->shape) == 1) continue;
      images++;
      if (plain[node->in[k]] && (in->op->flags & EX_OP_PLAIN) == 0) rows++;
    }
    bool follows = rows > 0 && rows == images && !is_op(node, "conv2d");
    bool is_rows = (node->op->flags & EX_OP_ROWS) != 0 || follows;
    plain[id] =
        (node->op->flags & EX_OP_PLAIN) != 0 || (is_rows && ex__shape_plane(&node->shape) > 1);
  }
}

bool ex__fast_wants_nhwc(const ex_graph *graph, int32_t segment, enum ex_layout layout) {
  if (layout == EX_LAYOUT_NHWC) return true;
  int32_t part[EX_MAX_SEGMENTS];
  find_parts(graph, part);
  double planar = 0, nhwc = 0; /* work in multiply-adds of whole vectors */
  for (int32_t id = 0; id < ex__graph_n_nodes(graph); id++) {
    const struct ex_node *node = ex__graph_node(graph, id);
    if (!is_op(node, "conv2d") || part_of(part, node->segment) != part_of(part, segment)) continue;
    const struct ex_shape *in = &ex__graph_node(graph, node->in[0])->shape;
    double macs = (double)node->op->macs(node, &in);
    planar += macs / planar_share(node);
    nhwc += macs / nhwc_share(node);
  }
  return nhwc < planar;
}
